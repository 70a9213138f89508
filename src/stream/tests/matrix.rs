//! Every phase x every input, for both sides, against a table: what is done, what is refused, and
//! with which error. A refused input leaves machine and signer equal to before.

use alloc::format;
use alloc::string::String;

use super::*;

const EXPECTED_PAYEE: &str = include_str!("matrix_payee.txt");
const EXPECTED_PAYER: &str = include_str!("matrix_payer.txt");

/// The error's name, without its values.
fn name(error: StreamError) -> String {
    let shown = match error {
        StreamError::Tx(error) => format!("{error:?}"),
        StreamError::Signer(error) => format!("signer {error:?}"),
        error => format!("{error:?}"),
    };
    String::from(shown.split([' ', '(', '{']).next().unwrap_or_default())
}

pub(super) fn cell(result: Result<&'static str, StreamError>) -> String {
    result.map_or_else(name, String::from)
}

/// A payee in each phase, with the settlement and the refund that can follow.
fn payees() -> Vec<(&'static str, Pair, [Transaction; 2])> {
    let mut all = Vec::new();
    for phase in 0..9 {
        let mut pair = Pair::open();
        if phase > 0 {
            pair.pay(20_000_000);
        }
        let best = pair.payee.best();
        // Made on a twin, so that nothing is promised yet.
        let mut twin = Pair::open();
        twin.pay(20_000_000);
        let (settlement, refund) = (twin.settle(1_000).0, twin.refund());
        if (2..=5).contains(&phase) && best.is_some() {
            let _tx = pair.settle(1_000);
        }
        let (tx, confirmed, height) = match phase {
            3 => (Some(&settlement), None, DEEP),
            4 => (Some(&settlement), Some(DEEP), DEEP),
            5 => (Some(&settlement), Some(DEEP), DEEP + 2),
            6 => (Some(&refund), None, DEEP),
            7 => (Some(&refund), Some(DEEP), DEEP),
            8 => (Some(&refund), Some(DEEP), DEEP + 2),
            _ => (None, None, DEEP),
        };
        if let Some(tx) = tx {
            let seen = spent(pair.payee.channel(), tx, confirmed);
            pair.notice(&seen, height);
        }
        let name = [
            "open, nothing paid",
            "open",
            "promised",
            "settling, unconfirmed",
            "settled",
            "settled, buried",
            "refunding, unconfirmed",
            "refunded",
            "refunded, buried",
        ][phase];
        all.push((name, pair, [settlement, refund]));
    }
    all
}

/// Vouchers and proposals that a payee may get, made by a payer that stands at 20,000 sat.
struct Inputs {
    newer: Voucher,
    equal: Voucher,
    stale: Voucher,
    forged: Voucher,
    above: Voucher,
    close: CloseProposal,
    other_close: CloseProposal,
    top_up: TopUpProposal,
}

fn inputs() -> Inputs {
    let mut pair = Pair::open();
    let stale = pair.pay(10_000_000);
    let equal = pair.pay(20_000_000);
    let close = joint::propose_close(&mut pair, sat(300)).unwrap();
    let (top_up, ..) = joint::propose_top_up(&mut pair, true).unwrap();
    let newer = pair.sign(20_500_000).unwrap();
    let other_close = joint::propose_close(&mut pair, sat(300)).unwrap();
    let above = pair.sign(90_000_000).unwrap();
    let forged = Voucher { paid: msat(21_000_000), ..equal };
    Inputs { newer, equal, stale, forged, above, close, other_close, top_up }
}

fn payee_row(pair: &Pair, [settlement, refund]: &[Transaction; 2], inputs: &Inputs) -> Vec<String> {
    let (payee, context, view) = (&pair.payee, &pair.context, view(DEEP));
    let accept = |voucher| {
        payee
            .accept(context, voucher, &view)
            .map(|step| if step.is_new() { "newer" } else { "repeated" })
    };
    let notice = |status: Option<OutputStatus>, height| {
        payee.notice(status.as_ref(), &tip(height)).map(|step| match step.news() {
            [] => "same",
            [payee::PayeeNews::Spent { .. }] => "spent",
            [payee::PayeeNews::Spent { .. }, payee::PayeeNews::Closed { .. }] => "spent, closed",
            [payee::PayeeNews::Closed { .. }] => "closed",
            [payee::PayeeNews::SpendUndone] => "undone",
            [payee::PayeeNews::Confirmed { .. }, rest @ ..] => {
                if rest.is_empty() {
                    "moved"
                } else {
                    "moved, undone"
                }
            }
            [payee::PayeeNews::Unconfirmed, rest @ ..] => {
                if rest.is_empty() {
                    "unconfirmed"
                } else {
                    "unconfirmed, undone"
                }
            }
            _ => "other",
        })
    };
    let unspent = status(payee.channel(), Some(CONFIRMED));
    let twin = {
        let mut twin = Pair::open();
        twin.pay(20_000_000);
        twin.settlement(1_000)
    };
    let foreign = OutputStatus { script: wallet(3), ..unspent.clone() };
    let smaller = OutputStatus { value: sat(CAPACITY - 1), ..unspent.clone() };
    let mut row = Vec::new();
    for voucher in [inputs.newer, inputs.equal, inputs.stale, inputs.forged, inputs.above] {
        row.push(cell(accept(voucher)));
    }
    for close in [&inputs.close, &inputs.other_close] {
        let answer = payee.answer_close(context, close, wallet(9), &view);
        row.push(cell(answer.map(|_| "agreed")));
    }
    let answer = payee.answer_top_up(context, &inputs.top_up, wallet(9), &view);
    row.push(cell(answer.map(|_| "agreed")));
    row.push(cell(SettlementPlan::new(context, [payee]).map(|_| "planned")));
    row.push(cell(payee.promise(&twin).map(|_| "promised")));
    row.push(cell(notice(Some(unspent.clone()), DEEP)));
    row.push(cell(notice(Some(OutputStatus { confirmed: Some(at(101)), ..unspent }), DEEP)));
    row.push(cell(notice(None, DEEP)));
    for (tx, height) in [(settlement, DEEP), (settlement, DEEP + 2), (refund, DEEP + 2)] {
        row.push(cell(notice(Some(spent(payee.channel(), tx, Some(DEEP))), height)));
    }
    row.push(cell(notice(Some(foreign), DEEP)));
    row.push(cell(notice(Some(smaller), DEEP)));
    row
}

const PAYEE_INPUTS: [&str; 18] = [
    "newer voucher",
    "equal voucher",
    "stale voucher",
    "forged voucher",
    "voucher above credit",
    "close",
    "close at another amount",
    "top-up",
    "plan",
    "promise",
    "unspent",
    "moved",
    "unknown",
    "settlement",
    "settlement, buried",
    "refund, buried",
    "foreign script",
    "other value",
];

const PAYER_INPUTS: [&str; 17] = [
    "pay",
    "pay the same",
    "pay less",
    "pay all",
    "pay, late",
    "resume at best",
    "resume without",
    "resume forged",
    "close",
    "top-up",
    "sign top-up",
    "refund",
    "refund, early",
    "unspent",
    "unknown",
    "settlement",
    "refund, buried",
];

pub(super) fn table(inputs: &[&str], rows: &[(&'static str, Vec<String>)]) -> String {
    let mut lines = Vec::new();
    for (phase, row) in rows {
        assert_eq!(row.len(), inputs.len());
        lines.push(format!("[{phase}]"));
        lines.extend(inputs.iter().zip(row).map(|(input, cell)| format!("{input}: {cell}")));
    }
    lines.join("\n") + "\n"
}

#[test]
fn payee_does_or_refuses_every_input_in_every_phase_by_the_table() {
    let inputs = inputs();
    let mut rows = Vec::new();
    for (name, pair, txs) in payees() {
        let before = pair.payee.clone();
        rows.push((name, payee_row(&pair, &txs, &inputs)));
        assert_eq!(pair.payee, before);
    }
    let table = table(&PAYEE_INPUTS, &rows);
    std::println!("{table}{} cells", rows.len() * PAYEE_INPUTS.len());
    assert_eq!(table, EXPECTED_PAYEE);
}

/// A payer in phase number `phase`, the payee at 20,000 sat, and what can spend the output.
fn payer_in(phase: usize) -> (&'static str, Pair, [Transaction; 2]) {
    let mut pair = Pair::open();
    pair.pay(20_000_000);
    let mut twin = Pair::open();
    twin.pay(20_000_000);
    let (settlement, refund) = (twin.settle(1_000).0, twin.refund());
    match phase {
        1 => {
            pair.restart_payer();
        }
        2 => {
            let _proposal = joint::propose_close(&mut pair, sat(300)).unwrap();
        }
        3..=5 => {
            let (confirmed, height) =
                [(None, DEEP), (Some(DEEP), DEEP), (Some(DEEP), DEEP + 2)][phase - 3];
            let seen = spent(pair.payer.channel(), &settlement, confirmed);
            pair.notice(&seen, height);
        }
        _ => {}
    }
    let name = ["open", "unsure", "leaving", "spent, unconfirmed", "spent", "closed"][phase];
    (name, pair, [settlement, refund])
}

/// One input to a fresh payer of `phase`; a refusal must leave machine and signer as they were.
fn payer_cell(phase: usize, input: usize) -> String {
    let (_, mut pair, [settlement, refund]) = payer_in(phase);
    if phase == 1 {
        pair.payer.register(&mut pair.payer_signer, Past::Unknown { from: None }).unwrap();
    }
    let (spend, payee_signature) = signed_top_up();
    let (before, snapshot) = (pair.payer.clone(), pair.payer_signer.snapshot());
    let best = pair.payee.best().unwrap();
    let forged = Voucher { paid: msat(19_000_000), ..best };
    let (payer, context, signer) = (&pair.payer, &pair.context, &mut pair.payer_signer);
    let (own, deep) = (ChangeScript::Own, view(DEEP));
    let late = view(CONFIRMED + u32::from(DELAY));
    let mut pay = |paid, height| {
        let (ending, view) = (Ending::KeepsChange, view(height));
        payer.pay(signer, msat(paid), ending, session(), &view, &AUX).map(|_| "signed")
    };
    let result = match input {
        0 => pay(20_500_000, DEEP),
        1 => pay(20_000_000, DEEP),
        2 => pay(19_999_999, DEEP),
        3 => pay(CAPACITY * 1_000, DEEP),
        4 => pay(20_500_000, LAST_CALL),
        5 => payer.resume(context, signer, Some((best, &own))).map(|_| "resumed"),
        6 => payer.resume(context, signer, None).map(|_| "resumed"),
        7 => payer.resume(context, signer, Some((forged, &own))).map(|_| "resumed"),
        8 => payer
            .propose_close(signer, wallet(8), wallet(9), sat(300), &deep, &AUX)
            .map(|_| "proposed"),
        9 => {
            let (coins, new, session) = (alloc::vec![coin(80_000)], sat(150_000), Some(session()));
            payer
                .propose_top_up(signer, coins, new, session, wallet(9), &deep, &AUX)
                .map(|_| "proposed")
        }
        10 => payer
            .sign_top_up(context, signer, &spend, &payee_signature, &deep, &AUX)
            .map(|_| "signed"),
        11 => payer.refund(signer, wallet(8), rate(1_000), &late, &AUX).map(|_| "signed"),
        12 => payer.refund(signer, wallet(8), rate(1_000), &deep, &AUX).map(|_| "signed"),
        _ => payer_notice(payer, input, &settlement, &refund),
    };
    if result.is_err() {
        assert_eq!((&pair.payer, pair.payer_signer.snapshot()), (&before, snapshot));
    }
    assert_eq!(pair.payer, before);
    cell(result)
}

fn payer_notice(
    payer: &Payer,
    input: usize,
    settlement: &Transaction,
    refund: &Transaction,
) -> Result<&'static str, StreamError> {
    use super::payer::PayerNews;
    let (status, height) = match input {
        13 => (Some(status(payer.channel(), Some(CONFIRMED))), DEEP),
        14 => (None, DEEP),
        15 => (Some(spent(payer.channel(), settlement, Some(DEEP))), DEEP),
        _ => (Some(spent(payer.channel(), refund, Some(DEEP))), DEEP + 2),
    };
    payer.notice(status.as_ref(), &tip(height)).map(|step| match step.news() {
        [] => "same",
        [PayerNews::Spent { .. }] => "spent",
        [PayerNews::Spent { .. }, PayerNews::Closed] => "spent, closed",
        [PayerNews::SpendUndone] => "undone",
        [PayerNews::Unconfirmed] => "unconfirmed",
        [PayerNews::Unconfirmed, PayerNews::SpendUndone] => "unconfirmed, undone",
        _ => "other",
    })
}

/// A top-up that the payee has signed.
fn signed_top_up() -> (JointSpend, bitcoin::secp256k1::schnorr::Signature) {
    let mut pair = Pair::open();
    pair.pay(20_000_000);
    let (_, _, spend) = joint::propose_top_up(&mut pair, true).unwrap();
    let request = Request::TopUp { spend: &spend };
    let now = UtcSeconds::new(NOW).unwrap();
    let signature = pair.payee_signer.sign(&request, now, &AUX).unwrap();
    (spend, signature)
}

#[test]
fn payer_does_or_refuses_every_input_in_every_phase_by_the_table() {
    let mut rows = Vec::new();
    for phase in 0..6 {
        let (name, pair, _) = payer_in(phase);
        assert!(name.starts_with(pair.payer.phase().name()), "{name}");
        let row = (0..PAYER_INPUTS.len()).map(|input| payer_cell(phase, input));
        rows.push((name, row.collect()));
    }
    let table = table(&PAYER_INPUTS, &rows);
    std::println!("{table}{} cells", rows.len() * PAYER_INPUTS.len());
    assert_eq!(table, EXPECTED_PAYER);
}
