//! Every input in every state: what it leads to, or why it is refused.

use alloc::format;
use alloc::string::String;

use super::*;

const EXPECTED: &str = include_str!("matrix.txt");

const STATES: [&str; 11] = [
    "none",
    "ready",
    "ready, paid upstream",
    "offered",
    "offered, paid upstream",
    "offered, past upstream",
    "won",
    "won, paid upstream",
    "won, past upstream",
    "won, settled",
    "dead",
];

fn state(number: usize) -> Hub {
    if number == 0 {
        return hub();
    }
    let mut hub = if number < 3 || number == 10 { hub() } else { offered() };
    if number < 3 || number == 10 {
        hub.take(ordered(order())).unwrap();
    }
    let incoming = incoming();
    match number {
        2 | 4 => hub.take(Input::Paid { incoming }).unwrap(),
        5 => hub.take(Input::Past { incoming }).unwrap(),
        6..=9 => {
            hub.take(Input::Preimage(preimage(7))).unwrap();
            match number {
                7 => hub.take(Input::Paid { incoming }).unwrap(),
                8 => hub.take(Input::Past { incoming }).unwrap(),
                9 => hub.take(Input::Folded { outgoing: outgoing() }).unwrap(),
                _ => {}
            }
        }
        10 => hub.take(Input::Declined { incoming }).unwrap(),
        _ => {}
    }
    hub
}

fn inputs() -> [(&'static str, Input); 21] {
    let (incoming, outgoing) = (incoming(), outgoing());
    let (channel, over) = (outgoing.channel, |end| Input::Over { outgoing, end });
    let mut other = order();
    other.1.channel = super::channel(3);
    [
        ("order", ordered(order())),
        ("order to another", ordered(other)),
        ("offered", Input::Offered { incoming, id: outgoing.id }),
        ("declined", Input::Declined { incoming }),
        ("preimage", Input::Preimage(preimage(7))),
        ("preimage of another", Input::Preimage(preimage(8))),
        ("folded", Input::Folded { outgoing }),
        ("folded, another", Input::Folded { outgoing: hold_of(2, 1) }),
        ("unspent", Input::Unspent { channel, tip: at(OUT + 2) }),
        ("unspent after its time", Input::Unspent { channel, tip: at(OUT + 3) }),
        ("unspent, another", Input::Unspent { channel: super::channel(3), tip: at(OUT + 3) }),
        ("over, absent", over(End::Absent)),
        ("over, timed out", over(End::TimedOut)),
        ("over, covered", over(End::Covered)),
        ("over, claimed", over(End::Claimed)),
        ("released", Input::Released { incoming }),
        ("paid", Input::Paid { incoming }),
        ("past", Input::Past { incoming }),
        ("past, another", Input::Past { incoming: hold_of(1, 1) }),
        ("tip", Input::Tip(at(OUT - 1))),
        ("tip after its time", Input::Tip(at(OUT))),
    ]
}

fn show(hub: &Hub) -> String {
    let Some(forward) = hub.forward(incoming()) else { return "none".into() };
    let settled = matches!(forward.stage(), Stage::Won { settled: true, .. });
    let upstream = match forward.upstream() {
        Upstream::Held => "",
        Upstream::Paid => ", paid",
        Upstream::Past => ", past",
    };
    let settled = if settled { ", settled" } else { "" };
    format!("{}{settled}{upstream}", forward.stage().name())
}

#[test]
fn hub_does_or_refuses_every_input_in_every_state_by_the_table() {
    let mut lines = alloc::vec::Vec::new();
    for (number, name) in STATES.into_iter().enumerate() {
        lines.push(format!("[{name}]"));
        for (input_name, input) in inputs() {
            let mut hub = state(number);
            let before = hub.clone();
            let cell = match hub.take(input) {
                Ok(()) if hub == before => "nothing".into(),
                Ok(()) => show(&hub),
                Err(error) => {
                    assert_eq!(hub, before);
                    let error = format!("{error:?}");
                    error.split([' ', '(']).next().map(String::from).unwrap()
                }
            };
            lines.push(format!("{input_name}: {cell}"));
        }
    }
    let table = lines.join("\n") + "\n";
    std::println!("{table}{} cells", STATES.len() * inputs().len());
    assert_eq!(table, EXPECTED);
}
