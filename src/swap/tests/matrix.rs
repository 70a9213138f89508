//! Every input in every stage: what it leads to, or why it is refused; and what is due in each.

use alloc::format;
use alloc::string::String;

use super::*;

const EXPECTED: &str = include_str!("matrix.txt");

fn inputs() -> [(&'static str, Input); 20] {
    let over = Input::Over;
    let other = Hold { hash: secret(8).hash(), ..first_hold() };
    [
        ("first hold", held(first_hold())),
        ("second hold", held(second_hold())),
        ("hold of another hash", held(other)),
        ("second hold too late", Input::Held { hold: second_hold(), tips: tips(FIRST, REVEAL_BY) }),
        ("offered", Input::Offered { id: id(3) }),
        ("call off", Input::CallOff),
        ("preimage", Input::Preimage(secret(7))),
        ("another preimage", Input::Preimage(secret(8))),
        ("unspent before its end", Input::Unspent { tip: at(FIRST) }),
        ("unspent after both ends", Input::Unspent { tip: at(T2 + 4) }),
        ("folded", over(End::Folded)),
        ("claimed", over(End::Claimed)),
        ("timed out", over(End::TimedOut)),
        ("absent", over(End::Absent)),
        ("covered", over(End::Covered)),
        ("released", Input::Released),
        ("paid", Input::Paid),
        ("past", Input::Past),
        ("tips in time", Input::Tips(tips(FIRST + 1, REVEAL_BY - 1))),
        ("tips too late", Input::Tips(tips(FIRST + 1, REVEAL_BY))),
    ]
}

fn show(swap: &Swap) -> String {
    let incoming = match swap.stage.upstream() {
        None => "",
        Some(Incoming::Held { .. }) => ", held",
        Some(Incoming::Paid) => ", paid",
        Some(Incoming::Past) => ", past",
    };
    let own = if swap.stage.outgoing().is_some() { ", own" } else { "" };
    let over = if swap.is_over() { ", over" } else { "" };
    format!("{}{incoming}{own}{over}", swap.stage.name())
}

fn names(duties: &[Duty]) -> String {
    let names: alloc::vec::Vec<_> = duties
        .iter()
        .map(|duty| match duty {
            Duty::Offer { .. } => "offer",
            Duty::Fulfil { .. } => "fulfil",
            Duty::Settle { .. } => "settle",
            Duty::Fold { .. } => "fold",
            Duty::Release { .. } => "release",
        })
        .collect();
    if names.is_empty() { "-".into() } else { names.join(" ") }
}

#[test]
fn swap_does_or_refuses_every_input_in_every_stage_by_the_table() {
    let mut lines = alloc::vec::Vec::new();
    for (name, swap) in states() {
        lines.push(format!("[{name}: {}]", show(&swap)));
        let late = tips(T1 - 26, REVEAL_BY);
        let (now, later) = (names(&swap.due(start())), names(&swap.due(late)));
        lines.push(format!("due: {now}; where time is up: {later}"));
        for (input_name, input) in inputs() {
            let mut after = swap;
            let cell = match after.take(input) {
                Ok(()) if after == swap => "nothing".into(),
                Ok(()) => show(&after),
                Err(error) => {
                    assert_eq!(after, swap);
                    let error = format!("{error:?}");
                    error.split([' ', '(']).next().map(String::from).unwrap()
                }
            };
            lines.push(format!("{input_name}: {cell}"));
        }
    }
    let table = lines.join("\n") + "\n";
    std::println!("{table}{} cells", states().len() * inputs().len());
    assert_eq!(table, EXPECTED);
}

/// Every swap that any order of inputs leads to, each once.
fn reachable() -> alloc::vec::Vec<Swap> {
    let mut found = alloc::vec![initiator(), responder()];
    let mut next = 0;
    while let Some(swap) = found.get(next).copied() {
        for (_, input) in inputs() {
            let mut after = swap;
            if after.take(input).is_ok() && !found.contains(&after) {
                found.push(after);
            }
        }
        next += 1;
    }
    found
}

#[test]
fn no_order_of_inputs_breaks_a_rule() {
    let all = reachable();
    std::println!("{} swaps can be reached", all.len());
    assert_eq!(all.len(), 23);
    for swap in all {
        let stopped = matches!(swap.stage, Stage::Stopped { .. });
        for now in [start(), tips(T1 - 26, REVEAL_BY - 1), tips(FIRST, REVEAL_BY), tips(T1, T2)] {
            for duty in swap.due(now) {
                match (duty, swap.role) {
                    (Duty::Offer { .. }, Role::Initiator { .. }) => {
                        assert_eq!(swap.stage, Stage::Agreed);
                    }
                    (Duty::Offer { .. }, Role::Responder) => {
                        assert_eq!(swap.stage.name(), "taken");
                    }
                    // X3: not where the second hold cannot be enforced.
                    (Duty::Fulfil { .. }, Role::Initiator { .. }) => {
                        assert!(!stopped && now.second.height < at(REVEAL_BY), "{swap:?}");
                    }
                    // X7, X8.
                    (Duty::Fold { .. }, Role::Initiator { .. }) => {
                        assert_eq!(swap.stage.upstream(), Some(Incoming::Paid));
                    }
                    (Duty::Fulfil { .. } | Duty::Fold { .. } | Duty::Settle { .. }, _) => {
                        assert_eq!(swap.stage.name(), "won");
                    }
                    // X6: nothing is given up while the own hold can still be claimed.
                    (Duty::Release { .. }, role) => {
                        assert!(stopped && swap.stage.outgoing().is_none(), "{role:?} {swap:?}");
                    }
                }
            }
        }
        if !swap.is_over() {
            let (key, bytes) = (swap.key().unwrap(), swap.encode().unwrap());
            assert_eq!(Swap::decode(&key, &bytes), Ok(swap));
        }
    }
}

#[test]
fn secret_of_a_swap_that_was_stopped_is_never_shown() {
    let waiting = initiator().after(&[Input::Offered { id: id(5) }]);
    let late = Input::Tips(tips(FIRST, REVEAL_BY));
    for stop in [Input::CallOff, late] {
        let mut stopped = waiting.after(&[stop]);
        assert!(stopped.take(held(second_hold())).is_err());
        for (_, input) in inputs() {
            let mut after = stopped;
            // Refused or not, nothing leads back.
            let _ = after.take(input);
            assert!(matches!(after.stage(), Stage::Stopped { .. }), "{input:?}");
            let shows = |duty: &Duty| matches!(duty, Duty::Fulfil { .. } | Duty::Fold { .. });
            assert!(!after.due(start()).iter().any(shows), "{input:?}");
        }
    }
}

#[test]
fn initiator_pays_only_after_it_was_paid() {
    let (mut won, fold) = (states()[2].1, Duty::Fold { outgoing: id(5), preimage: secret(7) });
    assert!(!won.due(start()).contains(&fold));
    // The other side's own fulfilment of the first leg brings no money.
    won.take(Input::Preimage(secret(7))).unwrap();
    assert!(!won.due(start()).contains(&fold));
    won.take(Input::Paid).unwrap();
    assert_eq!(won.due(start()), [fold]);
}

#[test]
fn initiators_word_never_releases_the_first_hold() {
    let mut open = states()[9].1;
    assert_eq!(open.name_and_role(), ("open", Role::Responder));
    assert!(open.due(tips(T1, T2)).is_empty());
    let before = open;
    for refused in [Input::Released, Input::CallOff, Input::Over(End::Claimed)] {
        assert!(open.take(refused).is_err());
        assert_eq!(open, before);
    }
    // One block before the output is dead for sure, and then.
    open.take(Input::Unspent { tip: at(T2 + 3) }).unwrap();
    assert_eq!(open, before);
    open.take(Input::Unspent { tip: at(T2 + 4) }).unwrap();
    assert_eq!(open.due(start()), [Duty::Release { incoming: id(5) }]);
}

impl Swap {
    fn name_and_role(&self) -> (&'static str, Role) {
        (self.stage.name(), self.role)
    }
}
