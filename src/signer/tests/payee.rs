//! The payee's signatures: none can be revoked.

use super::*;

fn payee() -> (MemorySigner, Channel) {
    let mut signer = signer(2, open_policy());
    let channel = channel(0, 1);
    signer.register(&channel, Role::Payee { stated: None }).unwrap();
    (signer, channel)
}

/// Signs, or refuses without a trace.
fn sign(signer: &mut MemorySigner, request: &Request<'_>) -> Result<(), SignerError> {
    let before = signer.snapshot();
    let result = signer.sign(request, at(NOON), &AUX).map(|_| ());
    if result.is_err() {
        assert_eq!(signer.snapshot(), before);
    }
    result
}

fn sign_close(signer: &mut MemorySigner, spend: &JointSpend) -> Result<(), SignerError> {
    sign(signer, &Request::Close { spend })
}

fn settle(signer: &mut MemorySigner, channel: &Channel, paid: u64) -> Result<(), SignerError> {
    let settlement = settlement(channel, old_voucher(channel, 0, paid), 300);
    sign(signer, &Request::Settlement { settlement: &settlement, index: 0 })
}

fn more_than_the_fee(stated: u64, asked: u64) -> Result<(), SignerError> {
    Err(SignerError::MoreThanTheFee { stated: msat(stated), asked: msat(asked) })
}

fn backwards(signed: u64, asked: u64) -> Result<(), SignerError> {
    Err(SignerError::Backwards { signed: msat(signed), asked: msat(asked) })
}

#[test]
fn close_is_replaced_by_another_fee_and_by_nothing_else() {
    let (mut signer, channel) = payee();
    let paid = 5_000_000;
    sign_close(&mut signer, &close(&channel, paid, 300)).unwrap();
    sign_close(&mut signer, &close(&channel, paid, 900)).unwrap();
    // Without the payer's output, which became dust.
    sign_close(&mut signer, &close(&channel, paid, 94_900)).unwrap();
    let lower = close(&channel, paid - 1, 900);
    assert_eq!(sign_close(&mut signer, &lower), backwards(paid, paid - 1));
    let higher = close(&channel, paid + 1, 900);
    assert_eq!(sign_close(&mut signer, &higher), more_than_the_fee(paid, paid + 1));

    let fee = Sat::new(300).unwrap();
    let elsewhere = JointSpend::close(channel.clone(), msat(paid), wallet(7), wallet(9), fee);
    let elsewhere = elsewhere.unwrap();
    assert_eq!(sign_close(&mut signer, &elsewhere), more_than_the_fee(paid, paid));
    let other_kind = top_up(&channel, paid);
    let other_kind = Request::TopUp { spend: &other_kind };
    assert_eq!(sign(&mut signer, &other_kind), more_than_the_fee(paid, paid));
}

#[test]
fn settlement_may_follow_a_close_but_never_state_less() {
    let (mut signer, channel) = payee();
    sign_close(&mut signer, &close(&channel, 5_000_000, 300)).unwrap();
    assert_eq!(settle(&mut signer, &channel, 4_999_999), backwards(5_000_000, 4_999_999));
    settle(&mut signer, &channel, 5_000_000).unwrap();
    settle(&mut signer, &channel, 5_000_001).unwrap();
    assert_eq!(settle(&mut signer, &channel, 5_000_000), backwards(5_000_001, 5_000_000));
    let lower = close(&channel, 5_000_000, 300);
    assert_eq!(sign_close(&mut signer, &lower), backwards(5_000_001, 5_000_000));
    sign_close(&mut signer, &close(&channel, 5_000_001, 300)).unwrap();
}

#[test]
fn payee_after_a_restart_keeps_to_what_its_record_says_it_stated() {
    let (_, channel) = payee();
    let mut signer = signer(2, open_policy());
    let stated = Some(msat(5_000_000));
    signer.register(&channel, Role::Payee { stated }).unwrap();
    let lower = close(&channel, 4_999_999, 300);
    assert_eq!(sign_close(&mut signer, &lower), backwards(5_000_000, 4_999_999));
    let higher = close(&channel, 5_000_001, 300);
    assert_eq!(sign_close(&mut signer, &higher), more_than_the_fee(5_000_000, 5_000_001));
    sign_close(&mut signer, &close(&channel, 5_000_000, 300)).unwrap();
}

#[test]
fn forgotten_payee_channel_remembers_what_it_stated() {
    let (mut signer, channel) = payee();
    settle(&mut signer, &channel, 5_000_000).unwrap();
    signer.forget(channel.outpoint()).unwrap();
    signer.register(&channel, Role::Payee { stated: None }).unwrap();
    assert_eq!(settle(&mut signer, &channel, 4_999_999), backwards(5_000_000, 4_999_999));
}

#[test]
fn input_that_a_settlement_does_not_have_is_refused() {
    let (mut signer, channel) = payee();
    let settlement = settlement(&channel, old_voucher(&channel, 0, 5_000_000), 300);
    let request = Request::Settlement { settlement: &settlement, index: 1 };
    let refused = SignerError::Tx(TxError::NoSuchInput { index: 1, inputs: 1 });
    assert_eq!(sign(&mut signer, &request), Err(refused));
}

#[test]
fn lock_of_a_clock_that_ran_ahead_does_not_stop_a_settlement_or_refund() {
    // Money must reach the chain in time, whatever the clock says.
    let (mut payer, channel) = paying(open_policy());
    reserve(&mut payer, &mut MemoryStore::default(), NOON * 2);
    pay_at(&mut payer, &channel, 1, NOON * 2).unwrap();
    let spend = refund(&channel);
    payer.sign(&Request::Refund { refund: &spend }, at(NOON), &AUX).unwrap();
    let request = Request::Voucher { channel: &channel, paid: msat(1), session: session(1) };
    let refused = SignerError::ClockBackwards { last: at(NOON * 2), now: at(NOON) };
    assert_eq!(payer.sign(&request, at(NOON), &AUX), Err(refused));
}
