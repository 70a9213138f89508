//! Tests of close and top-up, from both sides.

use super::*;
use crate::tx::TxError;

/// Closes at what is paid; returns the transaction with both signatures.
pub(super) fn close(pair: &mut Pair) -> Transaction {
    let payee_script = wallet(9);
    let proposal = propose_close(pair, sat(300)).unwrap();
    let answer =
        pair.payee.answer_close(&pair.context, &proposal, payee_script, &view(DEEP)).unwrap();
    pair.payee.apply(answer.record()).unwrap();
    let request = Request::Close { spend: answer.spend() };
    let now = UtcSeconds::new(NOW).unwrap();
    let signature = pair.payee_signer.sign(&request, now, &AUX).unwrap();
    finish_joint(answer.spend(), answer.payer(), &signature)
}

pub(super) fn propose_close(pair: &mut Pair, fee: Sat) -> Result<CloseProposal, StreamError> {
    let (signer, view) = (&mut pair.payer_signer, view(DEEP));
    let step = pair.payer.propose_close(signer, wallet(8), wallet(9), fee, &view, &AUX)?;
    pair.payer.apply(step.record())?;
    Ok(step.proposal().clone())
}

pub(super) fn propose_top_up(
    pair: &mut Pair,
    carries: bool,
) -> Result<(TopUpProposal, PayerRecord, JointSpend), StreamError> {
    let (signer, view, inputs) = (&mut pair.payer_signer, view(DEEP), Vec::from([coin(80_000)]));
    let carries = carries.then_some(session());
    let step =
        pair.payer.propose_top_up(signer, inputs, sat(150_000), carries, wallet(9), &view, &AUX)?;
    pair.payer.apply(step.record())?;
    Ok((step.proposal().clone(), step.successor().clone(), step.spend().clone()))
}

/// Tops up to 150,000 sat; returns the transaction and both successors.
pub(super) fn top_up(pair: &mut Pair, carries: bool) -> (Transaction, (PayerRecord, PayeeRecord)) {
    let (proposal, payer_next, spend) = propose_top_up(pair, carries).unwrap();
    let answer =
        pair.payee.answer_top_up(&pair.context, &proposal, wallet(9), &view(DEEP)).unwrap();
    assert_eq!(answer.spend(), &spend);
    pair.payee.apply(answer.record()).unwrap();
    let request = Request::TopUp { spend: answer.spend() };
    let now = UtcSeconds::new(NOW).unwrap();
    let payee = pair.payee_signer.sign(&request, now, &AUX).unwrap();
    let (payer, signer) = (&pair.payer, &mut pair.payer_signer);
    let payer =
        payer.sign_top_up(&pair.context, signer, &spend, &payee, &view(DEEP), &AUX).unwrap();
    (finish_joint(&spend, &payer, &payee), (payer_next, answer.successor().clone()))
}

fn answer_close(pair: &Pair, proposal: &CloseProposal) -> Result<(), StreamError> {
    pair.payee.answer_close(&pair.context, proposal, wallet(9), &view(DEEP)).map(|_| ())
}

fn answer_top_up(pair: &Pair, proposal: &TopUpProposal) -> Result<(), StreamError> {
    pair.payee.answer_top_up(&pair.context, proposal, wallet(9), &view(DEEP)).map(|_| ())
}

#[test]
fn machine_beside_another_is_the_loaded_one_and_stands_on_the_same_script_only() {
    let mut pair = Pair::open();
    let context = Context::new();
    let opening = opening(ChangeScript::Own, CAPACITY);
    let (record, ..) = opening.funded(outpoint(1));
    let key = payer_key(pair.payer.record().index.to_u32());
    assert_eq!(opening.machine(outpoint(1)), Payer::load(&context, key, record));

    pair.pay(20_000_500);
    let (_, (payer, payee)) = top_up(&mut pair, true);
    let loaded = Payer::load(&context, key, payer.clone());
    assert_eq!(pair.payer.beside(payer.clone()), loaded);
    let loaded = Payee::load(&context, base(2), payee.clone());
    assert_eq!(pair.payee.beside(&context, payee.clone()), loaded);

    let broken = StreamError::BrokenRecord { at: 0 };
    let delay = Delay::new(DELAY + 1).unwrap();
    let index = KeyIndex::new(payer.index.to_u32() + 1).unwrap();
    let others = [
        PayerRecord { index, ..payer.clone() },
        PayerRecord { base: base(3), ..payer.clone() },
        PayerRecord { delay, ..payer },
    ];
    for other in others {
        assert_eq!(pair.payer.beside(other), Err(broken));
    }
    let others = [
        PayeeRecord { payer: payer_key(9), ..payee.clone() },
        PayeeRecord { delay, ..payee.clone() },
    ];
    for other in others {
        assert_eq!(pair.payee.beside(&context, other), Err(broken));
    }
    // S2: its voucher is verified, as of any record that is read.
    let mut forged = payee;
    forged.best = pair.payee.best();
    let paid = forged.paid();
    let refused = StreamError::ForgedRecord { outpoint: forged.outpoint, paid };
    assert_eq!(pair.payee.beside(&context, forged), Err(refused));
}

#[test]
fn close_pays_both_to_the_satoshi_and_the_payer_bears_the_fee() {
    let mut pair = Pair::open();
    pair.pay(20_000_999);
    let tx = close(&mut pair);
    let values: Vec<u64> = tx.output.iter().map(|output| output.value.to_sat()).collect();
    assert_eq!(values, [CAPACITY - 20_000 - 300, 20_000]);
    assert_eq!(pair.payee.phase(), payee::PayeePhase::Promised { stated: msat(20_000_999) });
}

#[test]
fn close_leaves_dust_out_and_never_gives_it_to_the_other_side() {
    // 329 sat are dust to a P2TR script: they go to the miner, not to the payer.
    let mut pair = Pair::open();
    pair.pay(329_000);
    let tx = close(&mut pair);
    let values: Vec<u64> = tx.output.iter().map(|output| output.value.to_sat()).collect();
    assert_eq!(values, [CAPACITY - 329]);
    let mut pair = Pair::open();
    pair.pay(330_000);
    assert_eq!(close(&mut pair).output.len(), 2);
}

#[test]
fn close_whose_rest_does_not_cover_the_fee_is_refused() {
    let mut pair = Pair::open();
    pair.pay(99_000_000);
    assert!(propose_close(&mut pair, sat(1_000)).is_ok());
    let refused = propose_close(&mut pair, sat(1_001)).unwrap_err();
    assert!(matches!(refused, StreamError::Tx(TxError::NotWorthIt { .. })), "{refused:?}");
}

#[test]
fn close_at_another_amount_than_held_is_refused() {
    let mut pair = Pair::open();
    pair.pay(20_000);
    let _lost = pair.sign(25_000).unwrap();
    let proposal = propose_close(&mut pair, sat(300)).unwrap();
    let refused = StreamError::WrongProposal { want: msat(20_000), got: msat(25_000) };
    assert_eq!(answer_close(&pair, &proposal), Err(refused));
    // An older proposal, after a newer voucher came.
    let mut pair = Pair::open();
    pair.pay(20_000);
    let proposal = propose_close(&mut pair, sat(300)).unwrap();
    pair.pay(21_000);
    let refused = StreamError::WrongProposal { want: msat(21_000), got: msat(20_000) };
    assert_eq!(answer_close(&pair, &proposal), Err(refused));
}

#[test]
fn close_with_another_fee_script_or_amount_than_signed_is_refused() {
    let mut pair = Pair::open();
    pair.pay(20_000);
    let proposal = propose_close(&mut pair, sat(300)).unwrap();
    let bad = StreamError::Tx(TxError::BadSignature { paid: msat(20_000) });
    let fee = CloseProposal { fee: sat(301), ..proposal.clone() };
    assert_eq!(answer_close(&pair, &fee), Err(bad));
    let script = CloseProposal { script: wallet(7), ..proposal.clone() };
    assert_eq!(answer_close(&pair, &script), Err(bad));
    assert_eq!(answer_close(&pair, &proposal), Ok(()));
}

#[test]
fn close_to_a_junk_oversized_or_own_script_is_refused() {
    let mut pair = Pair::open();
    pair.pay(20_000);
    let proposal = propose_close(&mut pair, sat(300)).unwrap();
    let own = pair.payee.channel().output().script().clone();
    let data = ScriptBuf::from(alloc::vec![0x6a, 1, 1]);
    let future = ScriptBuf::from([&[0x60, 32][..], &[1; 32]].concat());
    let junk = [ScriptBuf::new(), data, future, ScriptBuf::from(alloc::vec![0; 10_000]), own];
    for script in junk {
        let refused = StreamError::CloseScript { bytes: script.len() };
        let proposal = CloseProposal { script: script.clone(), ..proposal.clone() };
        assert_eq!(answer_close(&pair, &proposal), Err(refused));
        let (payer, signer) = (&pair.payer, &mut pair.payer_signer);
        let step = payer.propose_close(signer, script, wallet(9), sat(300), &view(DEEP), &AUX);
        assert_eq!(step, Err(refused));
    }
}

#[test]
fn close_and_top_up_of_an_unconfirmed_output_are_refused() {
    let mut pair = Pair::open();
    pair.pay(20_000);
    let proposal = propose_close(&mut pair, sat(300)).unwrap();
    let (top_up, ..) = propose_top_up(&mut pair, true).unwrap();
    let unconfirmed = status(pair.payee.channel(), None);
    pair.notice(&unconfirmed, DEEP);
    let refused = StreamError::Unconfirmed { outpoint: outpoint(1) };
    assert_eq!(answer_close(&pair, &proposal), Err(refused));
    assert_eq!(answer_top_up(&pair, &top_up), Err(refused));
    assert_eq!(propose_close(&mut pair, sat(300)).err(), Some(refused));
    assert_eq!(propose_top_up(&mut pair, true).err(), Some(refused));
}

#[test]
fn close_after_another_statement_is_refused() {
    // The settlement that left states 20,000; the credit above it is in no other spend.
    let mut pair = Pair::open();
    pair.pay(20_000_000);
    let _tx = pair.settle(1_000);
    pair.pay(20_500_000);
    let proposal = propose_close(&mut pair, sat(300)).unwrap();
    let refused = StreamError::WrongProposal { want: msat(20_500_000), got: msat(20_500_000) };
    assert_eq!(answer_close(&pair, &proposal), Err(refused));
}

#[test]
fn top_up_carries_the_balance_with_its_first_voucher() {
    let mut pair = Pair::open();
    pair.pay(20_000_500);
    let (tx, (payer, payee)) = top_up(&mut pair, true);
    let values: Vec<u64> = tx.output.iter().map(|output| output.value.to_sat()).collect();
    assert_eq!(values, [150_000]);
    assert_eq!((payer.signed(), payee.paid()), (msat(20_000_500), msat(20_000_500)));
    let next = Payee::load(&pair.context, base(2), payee).unwrap();
    next.check_invariants(&pair.context).unwrap();
    assert_eq!((next.start(), next.earned()), (msat(20_000_500), Msat::ZERO));
    assert!(next.best().is_some());
}

#[test]
fn top_up_that_pays_out_starts_from_the_sub_satoshi_part() {
    let mut pair = Pair::open();
    pair.pay(20_000_500);
    let (tx, (payer, payee)) = top_up(&mut pair, false);
    let values: Vec<u64> = tx.output.iter().map(|output| output.value.to_sat()).collect();
    assert_eq!(values, [150_000, 20_000]);
    assert_eq!((payer.signed(), payee.paid()), (msat(500), msat(500)));
    // Conservation: what was paid out and what is owed on are what was paid.
    assert_eq!(20_000 * 1_000 + payee.paid().to_msat(), 20_000_500);
}

#[test]
fn top_up_goes_on_paying_on_the_new_outpoint() {
    for carries in [true, false] {
        let mut pair = Pair::open();
        pair.pay(20_000_500);
        let (_, (payer, payee)) = top_up(&mut pair, carries);
        let start = payee.paid().to_msat();
        pair.payer = Payer::load(&pair.context, payer_key(0), payer).unwrap();
        pair.payee = Payee::load(&pair.context, base(2), payee).unwrap();
        // Unconfirmed: credit up to the limit, not more.
        pair.pay(start + ZERO_CONF_SAT * 1_000);
        let above = pair.sign(start + ZERO_CONF_SAT * 1_000 + 1).unwrap();
        let refused = pair.accept(above).unwrap_err();
        assert!(matches!(refused, StreamError::NotDeepEnough { .. }));
    }
}

#[test]
fn top_up_without_the_carried_voucher_is_refused() {
    let mut pair = Pair::open();
    pair.pay(20_000_500);
    for carries in [true, false] {
        let (proposal, ..) = propose_top_up(&mut pair, carries).unwrap();
        let without = TopUpProposal { carried: None, ..proposal.clone() };
        assert_eq!(answer_top_up(&pair, &without), Err(StreamError::NoFirstVoucher));
        let mut other = proposal.clone();
        other.carried = Some(Voucher { paid: msat(19_000_000), ..proposal.carried.unwrap() });
        let refused = StreamError::WrongProposal { want: msat(20_000_500), got: msat(19_000_000) };
        assert_eq!(answer_top_up(&pair, &other), Err(refused));
        // Signed for another capacity, that is, for another outpoint.
        let larger = TopUpProposal { capacity: sat(150_001), ..proposal.clone() };
        let refused = answer_top_up(&pair, &larger).unwrap_err();
        assert!(matches!(refused, StreamError::Tx(TxError::BadSignature { .. })), "{refused:?}");
        assert_eq!(answer_top_up(&pair, &proposal), Ok(()));
    }
}

#[test]
fn top_up_by_a_stranger_is_refused() {
    // Whoever knows the outpoint can ask; without the payer's key nothing is promised.
    let mut pair = Pair::open();
    let best = pair.pay(20_000_500);
    let (mut proposal, ..) = propose_top_up(&mut pair, false).unwrap();
    proposal.carried = Some(Voucher { paid: msat(500), ..best });
    let refused = answer_top_up(&pair, &proposal).unwrap_err();
    assert!(matches!(refused, StreamError::Tx(TxError::BadSignature { .. })));
}

#[test]
fn top_up_with_a_dust_payout_is_refused() {
    let mut pair = Pair::open();
    pair.pay(329_999);
    let refused = propose_top_up(&mut pair, false).unwrap_err();
    assert!(matches!(refused, StreamError::Tx(TxError::OutputBelowDust { .. })), "{refused:?}");
    assert!(propose_top_up(&mut pair, true).is_ok());
}

#[test]
fn top_up_of_too_many_coins_is_refused() {
    let mut pair = Pair::open();
    pair.pay(20_000_500);
    let (mut proposal, ..) = propose_top_up(&mut pair, true).unwrap();
    proposal.inputs = alloc::vec![coin(80_000); 9];
    let refused = answer_top_up(&pair, &proposal).unwrap_err();
    assert!(matches!(refused, StreamError::Tx(TxError::WitnessCount { want: 8, got: 9 })));
    proposal.inputs.truncate(2);
    let refused = answer_top_up(&pair, &proposal).unwrap_err();
    assert!(matches!(refused, StreamError::Tx(TxError::SpentTwice { .. })));
}

#[test]
fn top_up_signed_by_another_than_the_payee_is_refused() {
    let mut pair = Pair::open();
    pair.pay(20_000_500);
    let (proposal, _, spend) = propose_top_up(&mut pair, true).unwrap();
    let foreign = proposal.carried.unwrap().signature;
    let (payer, signer) = (&pair.payer, &mut pair.payer_signer);
    let before = signer.snapshot();
    let refused = payer.sign_top_up(&pair.context, signer, &spend, &foreign, &view(DEEP), &AUX);
    let bad = TxError::BadSignature { paid: msat(20_000_500) };
    assert_eq!(refused, Err(StreamError::Tx(bad)));
    assert_eq!(pair.payer_signer.snapshot(), before);
}
