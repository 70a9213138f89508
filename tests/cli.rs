//! The command line, driven as users drive it: processes, ports, signals and files.

mod cli_support;

use std::fs;
use std::net::TcpListener;

use cli_support::{Dirs, Shop, bad, channel_of, good, millstream, path, text};

use millstream::chain::ChainSource;
use millstream::chain::remote::RemoteChain;
use millstream::units::Blocks;

#[test]
fn payer_pays_on_in_one_channel_after_both_processes_restart() {
    let dirs = Dirs::new();
    let (car, house) = (dirs.at("car"), dirs.at("house"));
    let shop = Shop::open(&house);
    let terms = shop.terms.clone();
    let first = shop.pay(&car, &["--terms", &terms, "--amount", "1001", "--times", "50"]);
    assert!(first.contains("paid 50050 msat in 50 payments, in all 50050 msat"), "{first}");
    let channel = channel_of(&first);
    let second = shop.pay(&car, &["--amount", "950"]);
    assert!(second.contains(&format!("channel {channel} taken up")), "{second}");
    assert!(second.contains("in all 51000 msat"), "{second}");
    shop.close();

    let shop = Shop::open(&house);
    assert_eq!(shop.terms, terms, "the seed and the prices are the same, and so are the terms");
    let third = shop.pay(&car, &["--terms", &terms, "--amount", "9000", "--close"]);
    assert!(third.contains(&format!("channel {channel} taken up")), "{third}");
    assert!(third.contains("in all 60000 msat"), "{third}");
    assert!(third.contains(&format!("channel {channel} closing")), "{third}");
    // Another channel, with another key: the first one is gone.
    let fourth = shop.pay(&car, &["--amount", "5"]);
    assert_ne!(channel_of(&fourth), channel);
    let printed = shop.close();
    assert!(printed.contains("received 9000 msat"), "{printed}");

    let records = good(&["inspect", "--dir", path(&house), "--json"]);
    let records: Vec<serde_json::Value> =
        records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let payee = |record: &&serde_json::Value| record["record"] == "payee";
    let open = records.iter().filter(payee).find(|record| record["phase"] == "open").unwrap();
    assert_eq!(open["paid_msat"], 5);
    let shown = good(&["inspect", "--dir", path(&car)]);
    for kind in ["payer  ", "budget  ", "backup  "] {
        assert!(shown.lines().any(|line| line.starts_with(kind)), "no {kind}: {shown}");
    }
    assert!(!shown.contains("unknown"), "{shown}");
}

#[test]
fn new_channel_says_once_what_it_waits_for_and_no_error() {
    let dirs = Dirs::new();
    let shop = Shop::open(&dirs.at("house"));
    let base = ["pay", "--to", &shop.address, "--chain", &shop.chain];
    let car = dirs.at("car");
    let paid = millstream(&[&base[..], &["--dir", path(&car), "--amount", "9"]].concat());
    let stderr = text(&paid.stderr);
    assert!(paid.status.success(), "{stderr}");
    let command = format!("millstream generate --chain {} 3", shop.chain);
    let waits = stderr.lines().filter(|line| line.contains("waiting for the funding")).count();
    assert!(waits == 1 && stderr.contains(&command), "{stderr}");
    assert!(!stderr.contains("refused"), "{stderr}");
    assert!(stderr.contains("stays open"), "{stderr}");
}

#[cfg(unix)]
#[test]
fn payment_that_goes_wrong_on_the_way_ends_with_another_code_than_a_refused_input() {
    let dirs = Dirs::new();
    let mut shop = Shop::open(&dirs.at("house"));
    let mut child = shop.paying(&dirs.at("car"), &["--session-seconds", "60"]);
    shop.until("received");
    shop.close();
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn inspect_shows_where_a_channel_comes_from_and_the_keys_that_it_does_not_know() {
    use millstream::db::RedbStore;
    use millstream::store::{Batch, Durability, Key, Store, envelope};
    let dirs = Dirs::new();
    let house = dirs.at("house");
    fs::create_dir(&house).unwrap();
    // A payee's channel at output 1 of a transaction of ones, out of output 2 of one of twos.
    let outpoint = |byte, vout| [&[byte; 32][..], &[0, 0, 0, vout]].concat();
    let lineage = Key::new(&[&[0x01, 0x04, 0][..], &outpoint(0x11, 1)].concat()).unwrap();
    let foreign = Key::new(&[0xf0, 0xab]).unwrap();
    let mut batch = Batch::default();
    batch.put(lineage, &envelope::seal(&lineage, 1, &outpoint(0x22, 2))).unwrap();
    batch.put(foreign, b"the application's own").unwrap();
    let mut store = RedbStore::open(&house.join("store.redb")).unwrap();
    store.commit(&batch, Durability::Barrier).unwrap();
    drop(store);
    let shown = good(&["inspect", "--dir", path(&house), "--json"]);
    let records: Vec<serde_json::Value> =
        shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [lineage, foreign] = &records[..] else { panic!("{shown}") };
    assert_eq!((&lineage["record"], &lineage["side"]), (&"lineage".into(), &"payee".into()));
    assert_eq!(lineage["channel"], format!("{}:1", "11".repeat(32)));
    assert_eq!(lineage["descends_from"], format!("{}:2", "22".repeat(32)));
    assert_eq!((&foreign["record"], &foreign["key"]), (&"unknown".into(), &"f0ab".into()));
}

#[test]
fn metered_session_is_agreed_by_both_and_paid_in_full() {
    let dirs = Dirs::new();
    let shop = Shop::open(&dirs.at("house"));
    let printed = shop.pay(&dirs.at("car"), &["--session-seconds", "2"]);
    let agreed = printed.lines().find(|line| line.contains(" agreed: ")).unwrap();
    // 11 kW for about two seconds, at 1.25 msat a watt-second.
    let owed = agreed.split(" agreed: ").nth(1).unwrap().split(" msat").next().unwrap();
    let owed: u64 = owed.parse().unwrap();
    assert!((10_000..60_000).contains(&owed), "{agreed}");
    let told = shop.close();
    assert!(told.contains("service on") && told.contains("ended, session"), "{told}");
    let record = good(&["inspect", "--dir", path(&dirs.at("house"))]);
    assert!(record.contains("state ended"), "{record}");
}

#[test]
fn restored_from_seed_and_backup_it_pays_on_and_refunds() {
    let dirs = Dirs::new();
    let (car, again, file) = (dirs.at("car"), dirs.at("again"), dirs.at("channel.backup"));
    let shop = Shop::open(&dirs.at("house"));
    let opened = shop.pay(&car, &["--amount", "7000"]);
    let channel = channel_of(&opened);
    let (car_dir, out) = (path(&car), path(&file));
    assert!(good(&["backup", "--dir", car_dir, "--out", out]).contains("136 bytes"));
    let sealed = good(&["backup", "--dir", car_dir, "--channel", &channel]);
    assert!(sealed.starts_with("MILLBACKUP1"), "{sealed}");

    // Everything but seed and backup is lost.
    let seed = car.join("seed");
    let (seed, chain) = (path(&seed), shop.chain.as_str());
    let from = ["--seed-file", seed, "--chain", chain];
    let restore = ["restore", "--dir", path(&again), "--backup", out, "--terms", &shop.terms];
    let restored = good(&[&restore[..], &from].concat());
    assert!(restored.contains(&format!("restored {channel}, 1000000 sat")), "{restored}");
    let refused = bad(&[&restore[..], &from].concat());
    assert!(refused.contains("exists already"), "{refused}");
    // Nobody knows what was spent today, until the owner says so.
    let paying = ["--amount", "500", "--patience", "20"];
    let base = ["pay", "--to", &shop.address, "--chain", chain, "--dir", path(&again)];
    let refused = millstream(&[&base[..], &paying].concat());
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("budget record is missing"));
    let paid = shop.pay(&again, &["--amount", "500", "--release-day-budget"]);
    assert!(paid.contains(&format!("channel {channel} taken up")), "{paid}");
    assert!(paid.contains("in all 7500 msat"), "{paid}");

    // The payee is gone; another process offers the same chain to the payer.
    let refund = ["refund", "--text", sealed.trim()];
    let early = bad(&[&refund[..], &from].concat());
    assert!(early.contains("can confirm at height"), "{early}");
    let chain = RemoteChain::connect(shop.chain.parse().unwrap()).unwrap();
    // The payee settles in time: its voucher is worth less than a settlement costs, so it does not.
    chain.mine(Blocks::new(144).unwrap()).unwrap();
    let done = good(&[&refund[..], &from].concat());
    assert!(done.contains(&format!("of {channel}: ")), "{done}");
    chain.mine(Blocks::new(1).unwrap()).unwrap();
    let at = channel.parse().unwrap();
    let spend = chain.output(at).unwrap().unwrap().spent.unwrap();
    assert!(spend.confirmed.is_some());
    let gone = bad(&[&refund[..], &from].concat());
    assert!(gone.contains("no unspent output"), "{gone}");
}

#[test]
fn backup_of_another_seed_or_network_or_text_is_refused() {
    let dirs = Dirs::new();
    let (car, other) = (dirs.at("car"), dirs.at("other"));
    let shop = Shop::open(&dirs.at("house"));
    shop.pay(&car, &["--amount", "1"]);
    shop.pay(&other, &["--amount", "1"]);
    let sealed = good(&["backup", "--dir", path(&car)]);
    let (sealed, seed) = (sealed.trim(), other.join("seed"));
    let refund = ["refund", "--chain", &shop.chain, "--seed-file", path(&seed), "--text"];
    let refused = bad(&[&refund[..], &[sealed]].concat());
    assert!(refused.contains("another seed") || refused.contains("authentic"), "{refused}");
    let refused = bad(&["backup", "--dir", path(&car), "--network", "signet"]);
    assert!(refused.contains("regtest") && refused.contains("signet"), "{refused}");
    let mut wrong = sealed.to_owned();
    wrong.pop();
    let refused = bad(&[&refund[..], &[&wrong]].concat());
    assert!(refused.contains("millbackup"), "{refused}");
    let refused = bad(&refund[..5]);
    assert!(refused.contains("--backup or by --text"), "{refused}");
}

#[test]
fn payment_of_no_times_is_refused_at_once() {
    let dirs = Dirs::new();
    let car = dirs.at("car");
    let refused = millstream(&["pay", "--dir", path(&car), "--amount", "1", "--times", "0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--times"), "{}", text(&refused.stderr));
    assert!(!car.exists());
}

#[cfg(unix)]
#[test]
fn seed_file_that_others_can_read_is_refused_with_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let dirs = Dirs::new();
    let house = dirs.at("house");
    Shop::open(&house).close();
    let seed = house.join("seed");
    assert_eq!(fs::metadata(&seed).unwrap().permissions().mode() & 0o7777, 0o600);
    fs::set_permissions(&seed, fs::Permissions::from_mode(0o640)).unwrap();
    for command in ["serve", "backup"] {
        let refused = bad(&[command, "--dir", path(&house)]);
        assert!(refused.contains(path(&seed)) && refused.contains("0640"), "{refused}");
    }
    let refused = bad(&["pay", "--dir", path(&house), "--amount", "1"]);
    assert!(refused.contains("0640"), "{refused}");
}

#[test]
fn port_in_use_is_named() {
    let dirs = Dirs::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, free) = (taken.local_addr().unwrap().to_string(), "127.0.0.1:0");
    for (n, [listen, chain]) in [[&taken, free], [free, &taken]].into_iter().enumerate() {
        let house = dirs.at(&n.to_string());
        let args = ["serve", "--listen", listen, "--chain", chain, "--dir", path(&house)];
        let refused = bad(&args);
        let option = ["--listen", "--chain"][n];
        let words = format!(
            "{taken} is in use by another program; end that one, or give {option} another port, \
             0 for any free one"
        );
        assert_eq!(refused, words);
        assert!(!house.exists(), "a start that fails leaves nothing behind");
    }
}

#[test]
fn addresses_beyond_loopback_and_mainnet_need_their_switches() {
    let dirs = Dirs::new();
    let house = dirs.at("house");
    let (open, free) = ("0.0.0.0:0", "127.0.0.1:0");
    let refused = bad(&["serve", "--listen", open, "--chain", free, "--dir", path(&house)]);
    assert!(refused.contains(open) && refused.contains("not encrypted"), "{refused}");
    let refused = bad(&["serve", "--listen", free, "--chain", open, "--dir", path(&house)]);
    assert!(refused.contains(open) && refused.contains("one machine"), "{refused}");

    let mainnet = ["--network", "bitcoin", "--dir", path(&house)];
    let switch = "--mainnet-i-accept-the-risk";
    for command in [&["serve"][..], &["pay", "--amount", "1"], &["backup"]] {
        let refused = bad(&[command, &mainnet].concat());
        assert!(refused.contains(switch), "{refused}");
    }
    // With its switch there is still no mainnet to speak to in this release.
    let refused = bad(&[&["serve", switch][..], &mainnet].concat());
    assert!(refused.contains("network bitcoin has no chain source"), "{refused}");
}

#[test]
fn second_process_on_one_store_is_refused() {
    let dirs = Dirs::new();
    let house = dirs.at("house");
    let shop = Shop::open(&house);
    let free = "127.0.0.1:0";
    let refused = bad(&["serve", "--listen", free, "--chain", free, "--dir", path(&house)]);
    assert!(refused.contains("store.redb is open in another process"), "{refused}");
    let refused = bad(&["inspect", "--dir", path(&house)]);
    assert!(refused.contains("store.redb is open in another process"), "{refused}");
    shop.close();
    let before = fs::read(house.join("store.redb")).unwrap();
    good(&["inspect", "--dir", path(&house)]);
    assert_eq!(fs::read(house.join("store.redb")).unwrap(), before, "inspect wrote");
    let refused = bad(&["inspect", "--dir", path(&dirs.at("nowhere"))]);
    assert!(refused.contains("nowhere/store.redb holds no store"), "{refused}");
}

#[test]
fn record_of_an_unknown_version_is_refused_and_left_as_it_is() {
    use millstream::db::RedbStore;
    use millstream::store::{Batch, Durability, Key, Store, envelope};
    let dirs = Dirs::new();
    let house = dirs.at("house");
    Shop::open(&house).close();
    let file = house.join("store.redb");
    let key = Key::new(&[0x04, 1, 2, 3]).unwrap();
    let record = envelope::seal(&key, 9, b"of the future");
    let mut batch = Batch::default();
    batch.put(key, &record).unwrap();
    let mut store = RedbStore::open(&file).unwrap();
    store.commit(&batch, Durability::Barrier).unwrap();
    drop(store);
    let free = "127.0.0.1:0";
    let refused = bad(&["serve", "--listen", free, "--chain", free, "--dir", path(&house)]);
    assert!(refused.contains("format version 9"), "{refused}");
    let refused = bad(&["inspect", "--dir", path(&house)]);
    assert!(refused.contains("1 records cannot be read") && refused.contains("version 9"));
    let store = RedbStore::open(&file).unwrap();
    assert_eq!(store.get(&key).unwrap(), Some(record));
}

#[test]
fn payee_with_other_terms_or_no_payee_at_all_is_refused() {
    let dirs = Dirs::new();
    let shop = Shop::open(&dirs.at("house"));
    let other = Shop::open(&dirs.at("other"));
    let car = dirs.at("car");
    let base = ["pay", "--dir", path(&car), "--chain", &shop.chain, "--amount", "1"];
    let wrong = ["--to", &shop.address, "--terms", &other.terms];
    let refused = bad(&[&base[..], &wrong].concat());
    assert!(refused.contains("not the ones of --terms"), "{refused}");
    let refused = bad(&[&base[..], &["--to", &shop.address, "--terms", "MILL1QQ"]].concat());
    assert!(refused.contains("Bech32m"), "{refused}");
    let gone = other.address.clone();
    other.close();
    // Nobody is there: the address may be right all the same.
    let out = millstream(&[&base[..], &["--to", &gone]].concat());
    let failed = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{failed}");
    assert!(failed.contains(&format!("cannot connect to {gone}")), "{failed}");
}
