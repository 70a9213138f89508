//! Lanes, receipts and holds on the command line, driven as users drive it.

mod cli_support;

use std::fs;

use cli_support::{Dirs, Shop, bad, good, path};

#[test]
fn items_of_a_lane_have_receipts_that_another_process_verifies() {
    let dirs = Dirs::new();
    let (car, slips) = (dirs.at("car"), dirs.at("slips"));
    let mut shop = Shop::with(&dirs.at("house"), &["--receipts", path(&slips)]);
    let hash = shop.until("hash ").trim().strip_prefix("hash ").unwrap().to_owned();
    // What was paid in no lane, by an earlier process, comes first.
    shop.pay(&car, &["--amount", "3000"]);
    let items = ["--amount", "1250", "--times", "25", "--lane", "3", "--window", "10"];
    let paid = shop.pay(&car, &items);
    assert!(paid.contains("paid 31250 msat in 25 payments, in all 34250 msat"), "{paid}");
    // The ids of the lane go on, whoever restarted; a plain payment in between is in no lane.
    shop.pay(&car, &["--amount", "7"]);
    let more = shop.pay(&car, &["--amount", "100", "--times", "2", "--lane", "3"]);
    assert!(more.contains("in all 34457 msat"), "{more}");
    // Nothing of lanes keeps a later call from holding.
    let held = shop.pay(&car, &["--hold", &hash]);
    assert!(held.contains("delivered, and 2000 sat paid"), "{held}");
    let terms = dirs.at("terms");
    fs::write(&terms, &shop.terms).unwrap();
    let told = shop.close();
    let windows = told.lines().filter(|line| line.starts_with("lane 3: "));
    let windows: Vec<&str> = windows.map(|line| line.split(", on").next().unwrap()).collect();
    let expected = ["10 items, 12500 msat", "10 items, 12500 msat", "5 items, 6250 msat"];
    assert_eq!(windows[..3], expected.map(|window| format!("lane 3: {window}")));
    assert_eq!(windows[3..], ["lane 3: 2 items, 200 msat"]);

    let mut files: Vec<_> =
        fs::read_dir(&slips).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 27);
    for file in &files {
        let sentence = good(&["verify-receipt", path(file), "--terms", path(&terms)]);
        assert!(sentence.contains("of lane 3") && sentence.contains("by tariff"), "{sentence}");
    }
    let last = files.iter().find(|file| path(file).ends_with("-3-25.receipt")).unwrap();
    let sentence = good(&["verify-receipt", path(last), "--terms", path(&terms)]);
    assert!(sentence.starts_with("1250 msat were paid for item 25 of lane 3"), "{sentence}");
    assert!(sentence.contains("one of 5 items of 6250 msat together"), "{sentence}");
    let mut bytes = fs::read(last).unwrap();
    bytes[40] ^= 1;
    fs::write(last, bytes).unwrap();
    bad(&["verify-receipt", path(last), "--terms", path(&terms)]);
}

#[test]
fn hold_is_paid_by_its_delivery_and_released_where_nothing_is_sold() {
    let dirs = Dirs::new();
    let (car, house) = (dirs.at("car"), dirs.at("house"));
    let mut shop = Shop::open(&house);
    let hash = shop.until("hash ").trim().strip_prefix("hash ").unwrap().to_owned();
    let paid = shop.pay(&car, &["--hold", &hash, "--hold-sat", "3000"]);
    assert!(paid.contains(&format!("held 3000 sat for {hash}")), "{paid}");
    assert!(paid.contains("delivered, and 3000 sat paid"), "{paid}");
    let told = shop.until("is paid");
    assert!(told.contains("delivered for 3000 sat"), "{told}");
    let released = shop.pay(&car, &["--hold", &"ab".repeat(32), "--hold-sat", "1500"]);
    assert!(released.contains("released; at risk until height "), "{released}");
    // The channel pays on; what was held and released is not in it.
    let after = shop.pay(&car, &["--amount", "5"]);
    assert!(after.contains("in all 3000005 msat"), "{after}");
    // A thing that was for sale before a restart is still delivered.
    let next = told.lines().find_map(|line| line.strip_prefix("hash ")).unwrap().to_owned();
    shop.close();
    let shop = Shop::open(&house);
    let paid = shop.pay(&car, &["--hold", &next]);
    assert!(paid.contains("delivered, and 2000 sat paid"), "{paid}");
    shop.close();
}

#[test]
fn hold_at_a_shop_without_them_is_refused_before_anything_is_funded() {
    let dirs = Dirs::new();
    let shop = Shop::with(&dirs.at("house"), &["--holds", "0"]);
    let base = ["pay", "--to", &shop.address, "--chain", &shop.chain];
    let car = dirs.at("car");
    let hold = |hash: &str| bad(&[&base[..], &["--dir", path(&car), "--hold", hash]].concat());
    assert_eq!(hold(&"ab".repeat(32)), "the payee takes no holds");
    shop.close();
}
