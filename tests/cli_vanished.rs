//! Buyers that vanish in the middle of a session do not fill the shop: real processes, a real store.

mod cli_support;

use std::path::Path;
use std::process::{Child, Command};

use cli_support::{Dirs, Shop, good, path};
use millstream::db::RedbStore;
use millstream::store::{Batch, Durability, Key, Store, envelope};

/// What a node holds of sessions.
const SESSIONS_MAX: u64 = 1_024;
/// Where a session's name stands in its record: behind a time, version, role and state.
const NAME_AT: usize = 8 + 3;

/// Has a car vanish without a word, once it is served and owes all that it may.
fn vanish(shop: &mut Shop, car: &Path) {
    let child = Gone(shop.paying(car, &["--session-seconds", "60"]));
    shop.until("service on");
    let pid = child.0.id().to_string();
    assert!(Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
    shop.until("service off");
}

/// A process that does not outlive its test: stopped for ever, it would keep the runner's pipe.
struct Gone(Child);

impl Drop for Gone {
    fn drop(&mut self) {
        // Either fails only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Copies the one session of a store under other names until the node is full of it.
fn fill(file: &Path) {
    let mut store = RedbStore::open(file).unwrap();
    let mut found = Vec::new();
    store
        .scan(&[0x05], &mut |key, value| {
            found.push((*key, value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    let [(key, record)] = &found[..] else { panic!("{} sessions", found.len()) };
    let body = envelope::open(key, 1, record).unwrap();
    let name = u64::from_be_bytes(body[NAME_AT..NAME_AT + 8].try_into().unwrap());
    let mut batch = Batch::default();
    for n in 1..SESSIONS_MAX {
        let name = (name ^ n).to_be_bytes();
        let key = Key::from_parts(&[&[0x05], &name]).unwrap();
        let mut body = body.to_vec();
        body[NAME_AT..NAME_AT + 8].copy_from_slice(&name);
        batch.put(key, &envelope::seal(&key, 1, &body)).unwrap();
    }
    store.commit(&batch, Durability::Barrier).unwrap();
}

fn sessions(house: &Path) -> (usize, String) {
    let shown = good(&["inspect", "--dir", path(house)]);
    (shown.lines().filter(|line| line.starts_with("session ")).count(), shown)
}

#[test]
fn session_of_a_buyer_that_vanished_is_ended_and_then_forgotten() {
    let dirs = Dirs::new();
    let house = dirs.at("house");
    let mut shop =
        Shop::with(&house, &["--credit-msat", "10000", "--end-after", "1", "--forget-after", "3"]);
    vanish(&mut shop, &dirs.at("car"));
    shop.until("ended: its buyer is gone");
    // Another car is served meanwhile, and stays.
    let printed = shop.pay(&dirs.at("other"), &["--session-seconds", "1"]);
    assert!(printed.contains(" agreed: "), "{printed}");
    shop.until("written off");
    shop.close();
    let (count, shown) = sessions(&house);
    assert_eq!(count, 1, "the one that was paid is kept to be shown: {shown}");
    assert!(shown.contains("state ended"), "{shown}");
}

#[test]
fn shop_full_of_buyers_that_vanished_serves_the_next_one_again() {
    let dirs = Dirs::new();
    let house = dirs.at("house");
    let mut shop = Shop::with(&house, &["--credit-msat", "10000"]);
    vanish(&mut shop, &dirs.at("car"));
    shop.close();
    fill(&house.join("store.redb"));
    assert_eq!(sessions(&house).0, 1_024);

    // As they are, they leave no room; and the debt of a crowd is not kept for an hour.
    let mut shop = Shop::with(&house, &["--credit-msat", "10000", "--end-after", "4"]);
    let mut early = shop.paying(&dirs.at("early"), &["--session-seconds", "1", "--patience", "2"]);
    shop.until("no session offered: more than 1024 sessions");
    early.kill().unwrap();
    early.wait().unwrap();
    shop.until("written off");
    let printed = shop.pay(&dirs.at("late"), &["--session-seconds", "1"]);
    assert!(printed.contains(" agreed: "), "{printed}");
    shop.close();
}
