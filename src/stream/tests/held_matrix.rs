//! Every state of a hold x every input, for both sides, against a table: what is done, what is
//! refused, and with which error. A refused input leaves machine and signer equal to before.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::held::{EXPIRY, RULES, SETTLE_BY, hold, id, preimage};
use super::matrix::{cell, table};
use super::*;
use crate::stream::payer::HoldStep;
use crate::tx::hold::{Hold, HoldCoin, HoldSettlement};

const EXPECTED_PAYEE: &str = include_str!("matrix_held_payee.txt");
const EXPECTED_PAYER: &str = include_str!("matrix_held_payer.txt");

const PAID: u64 = 20_000_000;
const NEXT: u8 = 7;

/// The settlement of a twin that holds number 1, and the output of the hold.
fn settlement() -> (HoldSettlement, Transaction, HoldCoin) {
    let mut twin = Pair::holding();
    twin.pay(PAID);
    twin.held(1, 5_000);
    let settlement = twin.payee.hold_settlement(&twin.context, &[]).unwrap();
    let request = Request::HoldSettlement { settlement: &settlement };
    let now = UtcSeconds::new(NOW).unwrap();
    let signature = twin.payee_signer.sign(&request, now, &AUX).unwrap();
    let tx = settlement.clone().finish(&signature, Vec::new()).unwrap();
    let (_, coin) = twin.payer.published(&twin.context, &tx).unwrap().remove(0);
    (settlement, tx, coin)
}

const PAYEE_STATES: [&str; 8] = [
    "nothing held",
    "held",
    "fulfilled",
    "released",
    "promised",
    "settling, unconfirmed",
    "settled",
    "settled, buried",
];

/// A payee at 20,000 sat in one of the states.
fn payee_in(state: usize) -> Pair {
    let mut pair = Pair::holding();
    pair.pay(PAID);
    if state > 0 {
        pair.held(1, 5_000);
    }
    match state {
        2 => pair.fulfil(1),
        3 => pair.release(1),
        4.. => {
            let (settlement, tx, _) = settlement();
            let (record, _) = pair.payee.promise_held(&settlement).unwrap();
            pair.payee.apply(&record).unwrap();
            let seen = [None, None, Some((None, DEEP)), Some((Some(DEEP), DEEP))];
            let buried = Some((Some(DEEP), DEEP + 2));
            if let Some((confirmed, height)) = seen.get(state - 3).copied().unwrap_or(buried) {
                let seen = spent(pair.payee.channel(), &tx, confirmed);
                pair.notice(&seen, height);
            }
        }
        _ => {}
    }
    pair
}

const PAYEE_INPUTS: [&str; 25] = [
    "one more hold",
    "one more hold, late",
    "same holds",
    "same holds, more paid",
    "same holds, less paid",
    "hold grown",
    "hold shrunk",
    "hold folded",
    "hold folded for less",
    "hold dropped",
    "hold dropped after its expiry",
    "used id",
    "two holds out of order",
    "hold forged",
    "plain voucher, folding",
    "plain voucher, dropping",
    "fulfil",
    "fulfil with another preimage",
    "fulfil late",
    "release",
    "hold settlement",
    "promise",
    "plan",
    "claimable",
    "hold settlement seen",
];

fn payee_cell(state: usize, input: usize) -> String {
    let pair = payee_in(state);
    let (settlement, tx, _) = settlement();
    let before = pair.payee.clone();
    let (payee, context, deep) = (&pair.payee, &pair.context, view(DEEP));
    let one = hold(1, 5_000);
    let hear = |paid, holds: Vec<Hold>, height| {
        let voucher = pair.forge(paid, holds);
        let step = payee.accept_held(context, &voucher, &view(height));
        step.map(|step| if step.is_new() { "newer" } else { "repeated" })
    };
    let plain = |paid| {
        let voucher = pair.forge(paid, Vec::new()).voucher();
        let step = payee.accept(context, voucher, &deep);
        step.map(|step| if step.is_new() { "newer" } else { "repeated" })
    };
    let known = if state == 0 { Vec::new() } else { vec![one] };
    let more = || known.iter().copied().chain([hold(NEXT, 5_000)]).collect::<Vec<_>>();
    let result = match input {
        0 => hear(PAID, more(), DEEP),
        1 => hear(PAID, more(), SETTLE_BY),
        2 => hear(PAID, known, DEEP),
        3 => hear(PAID + 1, known, DEEP),
        4 => hear(PAID - 1, known, DEEP),
        5 => hear(PAID, vec![hold(1, 6_000)], DEEP),
        6 => hear(PAID, vec![hold(1, 4_000)], DEEP),
        7 => hear(PAID + 5_000_000, Vec::new(), DEEP),
        8 => hear(PAID + 4_999_999, Vec::new(), DEEP),
        9 => hear(PAID, Vec::new(), DEEP),
        10 => hear(PAID, Vec::new(), EXPIRY),
        11 => hear(PAID + 5_000_000, vec![Hold { hash: preimage(9).hash(), ..one }], DEEP),
        12 => {
            let mut voucher = pair.forge(PAID, vec![one, hold(NEXT, 5_000)]);
            voucher.holds.reverse();
            payee.accept_held(context, &voucher, &deep).map(|_| "accepted")
        }
        13 => {
            let mut voucher = pair.forge(PAID, more());
            voucher.paid = msat(PAID + 1);
            payee.accept_held(context, &voucher, &deep).map(|_| "accepted")
        }
        14 => plain(PAID + 5_000_000),
        15 => plain(PAID),
        16 => payee.fulfil(id(1), preimage(1), &deep).map(|_| "fulfilled"),
        17 => payee.fulfil(id(1), preimage(2), &deep).map(|_| "fulfilled"),
        18 => payee.fulfil(id(1), preimage(1), &view(SETTLE_BY)).map(|_| "fulfilled"),
        19 => payee.release(id(1)).map(|_| "released"),
        20 => payee.hold_settlement(context, &[]).map(|_| "built"),
        21 => payee.promise_held(&settlement).map(|_| "promised"),
        22 => SettlementPlan::new(context, [payee]).map(|_| "planned"),
        23 => payee.claimable(context, &tx).map(|found| ["none", "one"][found.len()]),
        _ => {
            let seen = spent(payee.channel(), &tx, Some(DEEP));
            payee.notice(Some(&seen), &tip(DEEP)).map(|step| match step.news() {
                [] => "same",
                [payee::PayeeNews::Spent { .. }] => "spent",
                [payee::PayeeNews::Confirmed { .. }, ..] => "confirmed",
                _ => "other",
            })
        }
    };
    assert_eq!(pair.payee, before);
    cell(result)
}

#[test]
fn payee_does_or_refuses_every_input_in_every_state_of_a_hold_by_the_table() {
    let rows: Vec<_> = PAYEE_STATES
        .iter()
        .enumerate()
        .map(|(state, name)| {
            (*name, (0..PAYEE_INPUTS.len()).map(|input| payee_cell(state, input)).collect())
        })
        .collect();
    let table = table(&PAYEE_INPUTS, &rows);
    std::println!("{table}{} cells", rows.len() * PAYEE_INPUTS.len());
    assert_eq!(table, EXPECTED_PAYEE);
}

const PAYER_STATES: [&str; 10] = [
    "nothing held",
    "open",
    "released",
    "given up",
    "expired",
    "unsure",
    "leaving",
    "settling, unconfirmed",
    "settled",
    "settled, buried",
];

/// A payer at 20,000 sat in one of the states.
fn payer_in(state: usize) -> Pair {
    let mut pair = Pair::holding();
    pair.pay(PAID);
    if !matches!(state, 0 | 6) {
        pair.held(1, 5_000);
    }
    match state {
        2 => pair.release(1),
        3 => {
            pair.release(1);
            let _dropped = pair.drop_holds(DEEP).unwrap();
        }
        4 => {
            let _dropped = pair.drop_holds(EXPIRY + 1).unwrap();
        }
        5 => {
            pair.restart_payer();
            pair.payer.register(&mut pair.payer_signer, Past::Unknown { from: None }).unwrap();
        }
        6 => {
            let _proposal = joint::propose_close(&mut pair, sat(300)).unwrap();
        }
        7.. => {
            let (_, tx, _) = settlement();
            let (confirmed, height) =
                [(None, DEEP), (Some(DEEP), DEEP), (Some(DEEP), DEEP + 2)][state - 7];
            let seen = spent(pair.payer.channel(), &tx, confirmed);
            pair.notice(&seen, height);
        }
        _ => {}
    }
    pair
}

const PAYER_INPUTS: [&str; 22] = [
    "offer",
    "offer, too near",
    "offer, too far",
    "offer below dust",
    "offer, shallow",
    "grow",
    "grow by less",
    "fold",
    "fold with another preimage",
    "fold after the expiry",
    "pay beside",
    "pay less",
    "plain payment",
    "drop",
    "drop after the expiry",
    "released",
    "resume",
    "resume, forged",
    "close",
    "published",
    "time out",
    "time out, early",
];

fn payer_cell(state: usize, input: usize) -> String {
    let (_, tx, coin) = settlement();
    let mut pair = payer_in(state);
    let best = {
        let mut twin = Pair::holding();
        twin.pay(PAID);
        twin.held(1, 5_000)
    };
    let (before, snapshot) = (pair.payer.clone(), pair.payer_signer.snapshot());
    let (payer, context, signer) = (&pair.payer, &pair.context, &mut pair.payer_signer);
    let signed = |step: Result<HoldStep, StreamError>| {
        step.map(|step| match step.record().holds.open().len() {
            0 => "plain",
            1 => "with one hold",
            _ => "with two holds",
        })
    };
    let mut offer = |amount, expiry, height| {
        let (hash, amount, view) = (preimage(NEXT).hash(), sat(amount), view(height));
        let (signer, expiry) = (&mut *signer, at(expiry));
        signed(payer.offer(context, signer, hash, amount, expiry, session(), &view, &AUX))
    };
    let deep = view(DEEP);
    let result = match input {
        0 => offer(5_000, EXPIRY, DEEP),
        1 => offer(5_000, EXPIRY, SETTLE_BY),
        2 => offer(5_000, LAST_CALL, DEEP),
        3 => offer(RULES.dust.to_sat() - 1, EXPIRY, DEEP),
        4 => offer(5_000, EXPIRY, CONFIRMED),
        5 => signed(payer.grow(context, signer, id(1), sat(6_000), session(), &deep, &AUX)),
        6 => signed(payer.grow(context, signer, id(1), sat(4_999), session(), &deep, &AUX)),
        7 => signed(payer.fold(context, signer, id(1), &preimage(1), session(), &deep, &AUX)),
        8 => signed(payer.fold(context, signer, id(1), &preimage(2), session(), &deep, &AUX)),
        9 => {
            let late = view(EXPIRY + 1);
            signed(payer.fold(context, signer, id(1), &preimage(1), session(), &late, &AUX))
        }
        10 => signed(payer.pay_held(context, signer, msat(PAID + 1), session(), &deep, &AUX)),
        11 => signed(payer.pay_held(context, signer, msat(PAID - 1), session(), &deep, &AUX)),
        12 => {
            let ending = Ending::KeepsChange;
            let paid = payer.pay(signer, msat(PAID + 1), ending, session(), &deep, &AUX);
            paid.map(|_| "paid")
        }
        13 => signed(payer.drop_holds(context, signer, session(), &deep, &AUX)),
        14 => signed(payer.drop_holds(context, signer, session(), &view(EXPIRY + 1), &AUX)),
        15 => payer
            .released(id(1))
            .map(|record| if record == *payer.record() { "same" } else { "released" }),
        16 => payer.resume_held(context, signer, &best).map(|_| "resumed"),
        17 => {
            let forged = HoldVoucher { paid: msat(PAID + 1), ..best };
            payer.resume_held(context, signer, &forged).map(|_| "resumed")
        }
        18 => payer
            .propose_close(signer, wallet(8), wallet(9), sat(300), &deep, &AUX)
            .map(|_| "proposed"),
        19 => payer.published(context, &tx).map(|found| ["none", "one"][found.len()]),
        _ => {
            let (height, to) = (if input == 20 { EXPIRY } else { EXPIRY - 1 }, wallet(8));
            let (settled, rate, view) = (at(DEEP), rate(1_000), view(height));
            payer.time_out(signer, coin, settled, to, rate, &view, &AUX).map(|_| "signed")
        }
    };
    if result.is_err() {
        assert_eq!(pair.payer_signer.snapshot(), snapshot);
    }
    assert_eq!(pair.payer, before);
    cell(result)
}

#[test]
fn payer_does_or_refuses_every_input_in_every_state_of_a_hold_by_the_table() {
    let rows: Vec<_> = PAYER_STATES
        .iter()
        .enumerate()
        .map(|(state, name)| {
            (*name, (0..PAYER_INPUTS.len()).map(|input| payer_cell(state, input)).collect())
        })
        .collect();
    let table = table(&PAYER_INPUTS, &rows);
    std::println!("{table}{} cells", rows.len() * PAYER_INPUTS.len());
    assert_eq!(table, EXPECTED_PAYER);
}
