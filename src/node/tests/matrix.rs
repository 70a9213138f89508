//! Every state x every input, for both sides, against a table: what leaves, or which error it is.
//! A refused input leaves the node, its signer and its store equal to before.
//!
//! `MILLSTREAM_BLESS=1 cargo test --lib node::tests` rewrites the table.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use super::inputs::{self, COMMANDS, INPUTS, Words};
use super::*;
use crate::meter::{MeterError, State};
use crate::stream::StreamError;
use crate::stream::payee::PayeePhase;
use crate::stream::payer::PayerPhase;

const EXPECTED: &str = include_str!("matrix.txt");

/// The word of an error: the innermost variant that says why.
fn word(error: NodeError) -> String {
    let shown = match error {
        NodeError::Stream(StreamError::Signer(error)) | NodeError::Signer(error) => {
            format!("{error:?}")
        }
        NodeError::Stream(StreamError::Tx(error)) | NodeError::Tx(error) => format!("{error:?}"),
        NodeError::Stream(StreamError::Batch(error)) | NodeError::Batch(error) => {
            format!("{error:?}")
        }
        NodeError::Flight(error) => format!("{error:?}"),
        NodeError::Lanes(error) => format!("{error:?}"),
        NodeError::Stream(error) => format!("{error:?}"),
        NodeError::Meter(error) => format!("{error:?}"),
        error => format!("{error:?}"),
    };
    first(&shown)
}

fn first(shown: &str) -> String {
    String::from(shown.split([' ', '(', '{']).next().unwrap_or_default())
}

/// Everything that a node knows: its machines, its names and its signer, secrets left out.
fn views(node: &Node<MemorySigner>) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        node.payees,
        node.payers,
        node.asked,
        node.offers,
        node.links,
        node.aliases,
        node.sessions,
        node.unconfirmed,
        node.waiting,
        node.assemblies,
        node.waiting_holds,
        node.pending_holds,
        node.watches,
        node.works,
        node.tip,
        node.signer.snapshot(),
    )
}

/// What was let out, in one line: transactions, messages, look-ups, events.
fn told(left: &Outbox) -> String {
    let mut told = vec![String::from("ok")];
    told.push(format!("^{}", left.broadcasts.len()));
    told.extend(left.sends.iter().map(|(_, message)| format!(">{}", message.name())));
    told.push(format!("?{}", left.look_ups.len()));
    told.extend(left.events.iter().map(|event| format!("!{}", first(&format!("{event:?}")))));
    told.retain(|word| word != "^0" && word != "?0");
    told.join(" ")
}

/// What a refusal leaves behind, which should be nothing but the word of it.
fn left_behind(before: &str, stage: &mut Stage, side: usize) -> Vec<&'static str> {
    let decided = views(&stage.nodes[side]);
    let stored = stage.stores[side].clone();
    let left = stage.flush(side);
    // What is refused for good is released, too.
    let says_so = |m: &Message| matches!(m, Message::Refused(_) | Message::HoldReleased(_));
    let only_refused = left.sends.iter().all(|(_, m)| says_so(m));
    let only_misbehaved = left.events.iter().all(|e| matches!(e, Event::Misbehaved { .. }));
    let rules = [
        (before == decided, "the node has changed"),
        (before == views(&stage.nodes[side]), "the node has changed by the flush"),
        (stored == stage.stores[side], "the store was written"),
        (left.broadcasts.is_empty(), "a transaction left"),
        (left.look_ups.is_empty(), "a look-up left"),
        (only_refused, "a message left"),
        (only_misbehaved, "an event left"),
    ];
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what).collect()
}

/// One input, number `nth`, to one side of a fresh scene.
fn cell(scene: Scene, side: usize, nth: usize, words: &Words) -> (String, String, usize) {
    let mut stage = scene.build();
    let (name, input) = inputs::all(&stage, words).swap_remove(nth);
    let kind = inputs::input_index(&input);
    let cell = format!("{scene:?}, side {side}, {name}");
    if matches!(input, Input::Woken) {
        stage.pass(1_000);
    }
    let before = views(&stage.nodes[side]);
    let result = stage.handle(side, input);
    stage.nodes[side].check_invariants().unwrap();
    let outcome = match result {
        Ok(()) => told(&stage.flush(side)),
        // The first error of several channels or askers: each of them is judged for itself.
        Err(error) if kind == 4 || kind == 5 => word(error) + " of one",
        // Not refused, but disputed: the caller has the signed proof.
        Err(error @ NodeError::Meter(MeterError::StatementDiffers { .. })) => {
            let left = stage.flush(side);
            let [Event::StatementDisputed { .. }, ..] = left.events[..] else {
                panic!("{cell}: {left:?}")
            };
            word(error) + ", disputed"
        }
        Err(error) => {
            let left = left_behind(&before, &mut stage, side);
            if left.is_empty() { word(error) } else { format!("{} BUT {left:?}", word(error)) }
        }
    };
    // What is durable makes the same node again.
    let _lost = stage.flush(side);
    let again = load(side, &stage.stores[side], &stage.now);
    again.check_invariants().unwrap();
    let channels = |node: &Node<MemorySigner>| {
        let payees = node.payees().map(crate::stream::Payee::outpoint);
        payees.chain(node.payers().map(crate::stream::Payer::outpoint)).collect::<Vec<_>>()
    };
    assert_eq!(channels(&again), channels(&stage.nodes[side]), "{cell}, restarted");
    (name, outcome, kind)
}

#[test]
fn node_does_or_refuses_every_input_in_every_state_by_the_table() {
    let words = Words::new();
    let (mut table, mut cells) = (String::new(), 0);
    for scene in Scene::ALL {
        for (side, who) in [(BUYER, "buyer"), (SELLER, "seller")] {
            let count = inputs::all(&scene.build(), &words).len();
            let mut outcomes: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let (mut seen, mut kinds) = (BTreeSet::new(), BTreeSet::new());
            for nth in 0..count {
                let (name, outcome, kind) = cell(scene, side, nth, &words);
                seen.insert(String::from(name.split(' ').next().unwrap_or_default()));
                kinds.insert(kind);
                outcomes.entry(outcome).or_default().push(name);
            }
            // The row is complete.
            assert!(COMMANDS.iter().chain(Message::NAMES).all(|name| seen.contains(*name)));
            assert_eq!(kinds.len(), INPUTS.len());
            cells += count;
            writeln!(table, "[{scene:?}, {who}]").unwrap();
            for (outcome, names) in outcomes {
                writeln!(table, "{outcome}: {}", names.join(", ")).unwrap();
            }
        }
    }
    std::println!("{table}{cells} cells");
    let left: Vec<_> = table.lines().filter(|line| line.contains(" BUT ")).collect();
    assert!(left.is_empty(), "{left:#?}");
    if std::env::var_os("MILLSTREAM_BLESS").is_some_and(|value| value == "1") {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/node/tests/matrix.txt");
        std::fs::write(file, &table).unwrap();
        return;
    }
    for (line, (got, want)) in table.lines().zip(EXPECTED.lines()).enumerate() {
        assert_eq!(got, want, "line {}", line + 1);
    }
    assert_eq!(table, EXPECTED);
}

/// New states of the machines do not compile here: give them an index, and a scene that shows them.
#[test]
fn scenes_show_every_state_of_sessions_and_channels() {
    let (mut sessions, mut payees, mut payers) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for scene in Scene::ALL {
        let stage = scene.build();
        for (side, node) in stage.nodes.iter().enumerate() {
            sessions.extend(node.sessions().map(|(meter, _)| {
                let state = match meter.record().state() {
                    State::Offered => 0,
                    State::Active => 1,
                    State::Paused => 2,
                    State::Ended => 3,
                };
                (side, state)
            }));
            payees.extend(node.payees().map(|payee| match payee.phase() {
                PayeePhase::Open => 0,
                PayeePhase::Promised { .. } => 1,
                PayeePhase::Spent { .. } => 2,
                // With the record of it the machine goes, too.
                PayeePhase::Closed { .. } => 3,
            }));
            payers.extend(node.payers().map(|payer| match payer.phase() {
                PayerPhase::Open => 0,
                PayerPhase::Unsure => 1,
                PayerPhase::Leaving { .. } => 2,
                PayerPhase::Spent { .. } => 3,
                // As the payee's.
                PayerPhase::Closed => 4,
            }));
        }
    }
    // A buyer does not pause by itself: it pays what it hears of.
    let sides = [(0, 0), (0, 1), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3)];
    assert_eq!(sessions, BTreeSet::from(sides));
    assert_eq!(payees, BTreeSet::from([0, 1, 2]));
    assert_eq!(payers, BTreeSet::from([0, 1, 2, 3]));
}
