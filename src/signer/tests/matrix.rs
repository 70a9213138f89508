//! Every request in every state of a channel: the whole table, refusals included.

use alloc::string::String;
use alloc::vec::Vec;

use bitcoin::key::TapTweak;

use super::*;

const PAID: u64 = 1_000_000;

const STATES: [&str; 7] = [
    "payer unregistered",
    "payer unknown",
    "payer new",
    "payer vouched",
    "payee unregistered",
    "payee new",
    "payee stated",
];
const REQUESTS: [&str; 15] = [
    "voucher",
    "lower voucher",
    "settlement",
    "lower settlement",
    "refund",
    "close",
    "top-up",
    "statement",
    "held",
    "held, lower",
    "held, unconfirmed",
    "hold settlement",
    "claim",
    "timeout",
    "payee's output",
];

/// Signs nothing for a stranger, only refunds for the forgetful, and each side its own.
#[test]
fn request_in_each_state_is_signed_or_refused_as_the_table_says() {
    let want = [
        // voucher, lower, settlement, lower, refund, close, top-up, statement;
        // held, held lower, held unconfirmed, hold settlement, claim, timeout, payee's output
        "unknown unknown unknown unknown unknown unknown unknown signed \
         unknown unknown unknown unknown unknown unknown unknown",
        "resume resume role role signed resume resume signed \
         resume resume unconfirmed role role signed role",
        "signed signed role role signed exposure exposure signed \
         signed signed unconfirmed role role signed role",
        "signed backwards role role signed signed signed signed \
         signed backwards unconfirmed role role signed role",
        "unknown unknown unknown unknown unknown unknown unknown signed \
         unknown unknown unknown unknown unknown unknown unknown",
        "role role signed signed role signed signed signed \
         role role role signed signed role signed",
        "role role signed backwards role signed signed signed \
         role role role signed signed role signed",
    ];
    let mut cells = 0;
    for (state, want) in STATES.iter().zip(want) {
        let mut got = Vec::new();
        for request in REQUESTS {
            got.push(String::from(verdict(state, request)));
            cells += 1;
        }
        assert_eq!(got.join(" "), want, "{state}");
    }
    assert_eq!(cells, STATES.len() * REQUESTS.len());
}

fn in_state(state: &str) -> MemorySigner {
    let mut signer = signer(if state.starts_with("payer") { 1 } else { 2 }, open_policy());
    let channel = channel(0, 1);
    signer.open_session(peer(2), session(1), Msat::MAX).unwrap();
    reserve(&mut signer, &mut MemoryStore::default(), NOON);
    match state {
        "payer unknown" => {
            signer.register(&channel, payer_role(0, Past::Unknown { from: None })).unwrap();
        }
        "payer new" => signer.register(&channel, payer_role(0, Past::New)).unwrap(),
        "payer vouched" => {
            signer.register(&channel, payer_role(0, Past::New)).unwrap();
            pay(&mut signer, &channel, PAID).unwrap();
        }
        "payee new" => signer.register(&channel, Role::Payee { stated: None }).unwrap(),
        "payee stated" => {
            signer.register(&channel, Role::Payee { stated: Some(msat(PAID)) }).unwrap();
        }
        _ => {}
    }
    signer
}

fn verdict(state: &str, request: &str) -> &'static str {
    let mut signer = in_state(state);
    let channel = channel(0, 1);
    let voucher =
        |paid| Request::Voucher { channel: &channel, paid: msat(paid), session: session(1) };
    let settle = |paid| settlement(&channel, old_voucher(&channel, 0, paid), 300);
    let settlements = [settle(PAID), settle(PAID - 1)];
    let (close, top_up) = (close(&channel, PAID, 300), top_up(&channel, PAID));
    let refund = refund(&channel);
    let (held, lower) = (held_of(&channel, PAID), held_of(&channel, PAID - 1));
    let hold_settlement = hold_settlement(&channel, PAID);
    let [claim, timeout] = hold_spends(&hold_settlement);
    let payee_spend = payee_spend(&channel, &hold_settlement);
    let held_request = |held, confirmed| Request::Held {
        held,
        session: session(1),
        tip: Height::new(110).unwrap(),
        confirmed,
    };
    let confirmed = Height::new(100).ok();
    let request = match request {
        "held" => held_request(&held, confirmed),
        "held, lower" => held_request(&lower, confirmed),
        "held, unconfirmed" => held_request(&held, None),
        "hold settlement" => Request::HoldSettlement { settlement: &hold_settlement },
        "claim" => Request::HoldSpend { channel: &channel, spend: &claim },
        "timeout" => Request::HoldSpend { channel: &channel, spend: &timeout },
        "payee's output" => Request::PayeeSpend { channel: &channel, spend: &payee_spend },
        "voucher" => voucher(PAID),
        "lower voucher" => voucher(PAID - 1),
        "settlement" => Request::Settlement { settlement: &settlements[0], index: 0 },
        "lower settlement" => Request::Settlement { settlement: &settlements[1], index: 0 },
        "refund" => Request::Refund { refund: &refund },
        "close" => Request::Close { spend: &close },
        "top-up" => Request::TopUp { spend: &top_up },
        _ => Request::Attest { kind: Attest::Statement, bytes: b"statement" },
    };
    let before = signer.snapshot();
    match signer.sign(&request, at(NOON), &AUX) {
        Ok(signature) => {
            check(&signer, &request, &signature);
            "signed"
        }
        Err(refused) => {
            assert_eq!(signer.snapshot(), before, "{refused}");
            match refused {
                SignerError::UnknownChannel { .. } => "unknown",
                SignerError::MustResume { .. } => "resume",
                SignerError::OtherRole { .. } => "role",
                SignerError::Backwards { .. } => "backwards",
                SignerError::AboveExposure { .. } => "exposure",
                SignerError::Unconfirmed { .. } => "unconfirmed",
                _ => "other",
            }
        }
    }
}

/// Every signature fits the template's digest and the right key of the channel.
fn check(signer: &MemorySigner, request: &Request<'_>, signature: &Signature) {
    let channel = channel(0, 1);
    let (payer, payee) = (channel.output().payer(), channel.output().payee());
    let own = if signer.public(KeyName::Base).unwrap() == base(1) { payer } else { payee };
    let (digest, key) = match *request {
        Request::Voucher { channel, paid, .. } => (channel.digest(paid).unwrap(), payer),
        Request::Settlement { settlement, index } => (settlement.digest(index).unwrap(), payee),
        Request::Refund { refund } => (refund.digest().unwrap(), payer),
        Request::Held { held, .. } => (held.digest().unwrap(), payer),
        Request::HoldSettlement { settlement } => (settlement.digest().unwrap(), payee),
        Request::HoldSpend { spend, .. } => (spend.digest().unwrap(), own),
        Request::PayeeSpend { spend, .. } => {
            let (output, _) = payee.tap_tweak(signer.context().secp(), None);
            (spend.digest().unwrap(), output.to_x_only_public_key())
        }
        Request::Close { spend } | Request::TopUp { spend } => (spend.digest().unwrap(), own),
        Request::Attest { kind, bytes } => {
            let digest = crate::keys::tagged_hash(kind.tag(), &[bytes]);
            (digest, signer.public(KeyName::Base).unwrap())
        }
    };
    let message = Message::from_digest(digest);
    signer.context().secp().verify_schnorr(signature, &message, &key).unwrap();
}

#[test]
fn statement_and_receipt_of_the_same_bytes_have_different_digests() {
    let mut signer = signer(2, open_policy());
    let mut sign =
        |kind| signer.sign(&Request::Attest { kind, bytes: b"same" }, at(NOON), &AUX).unwrap();
    assert_ne!(sign(Attest::Statement), sign(Attest::Receipt));
    assert_ne!(sign(Attest::Shares), sign(Attest::Receipt));
}

#[test]
fn signer_behind_a_reference_to_the_trait_signs() {
    let (mut signer, channel) = paying(open_policy());
    let any: &mut dyn Signer = &mut signer;
    let request = Request::Voucher { channel: &channel, paid: msat(1), session: session(1) };
    any.sign(&request, at(NOON), &AUX).unwrap();
}
