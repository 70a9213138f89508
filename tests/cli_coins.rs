//! What the command line makes of coins on the chain: strangers' dust, other seeds, old channels.

mod cli_support;

use std::path::Path;

use cli_support::{Dirs, Shop, bad, channel_of, good, millstream, path, text};

use bitcoin::{Network, OutPoint, ScriptBuf};
use millstream::chain::ChainSource;
use millstream::chain::remote::RemoteChain;
use millstream::db::seed_file;
use millstream::keys::Context;
use millstream::tx::seen::OutputStatus;
use millstream::units::{Blocks, KeyIndex, Sat};

fn chain_of(shop: &Shop) -> RemoteChain {
    RemoteChain::connect(shop.chain.parse().unwrap()).unwrap()
}

fn mine(chain: &RemoteChain, blocks: u32) {
    chain.mine(Blocks::new(blocks).unwrap()).unwrap();
}

/// A stranger pays to the script of the channel at `to`, in a block.
fn dust(chain: &mut RemoteChain, to: OutPoint, value: u64) -> OutPoint {
    let script = chain.output(to).unwrap().unwrap().script;
    let tx = chain.fund(script, Sat::new(value).unwrap()).unwrap();
    chain.broadcast(std::slice::from_ref(&tx)).unwrap();
    mine(chain, 1);
    OutPoint { txid: tx.compute_txid(), vout: 0 }
}

#[test]
fn dust_of_a_stranger_on_the_channels_script_hides_its_coin_from_neither_restore_nor_refund() {
    let dirs = Dirs::new();
    let (car, again, other) = (dirs.at("car"), dirs.at("again"), dirs.at("other"));
    let shop = Shop::open(&dirs.at("house"));
    let channel: OutPoint = channel_of(&shop.pay(&car, &["--amount", "7000"])).parse().unwrap();
    let sealed = good(&["backup", "--dir", path(&car)]);
    let mut chain = chain_of(&shop);
    let dust = dust(&mut chain, channel, 1_000);

    let seed = car.join("seed");
    let from = ["--seed-file", path(&seed), "--chain", &shop.chain, "--text", sealed.trim()];
    let restored = good(&[&["restore", "--dir", path(&again)][..], &from].concat());
    assert!(restored.contains(&format!("restored {channel}, 1000000 sat")), "{restored}");
    assert!(restored.contains(&format!("found {dust}, 1000 sat")), "{restored}");
    // The owner may say otherwise, but not what is not there.
    let dust_text = dust.to_string();
    let chosen = ["restore", "--dir", path(&other), "--outpoint", &dust_text];
    let restored = good(&[&chosen[..], &from].concat());
    assert!(restored.contains(&format!("restored {dust}, 1000 sat")), "{restored}");
    let nowhere = format!("{}:7", channel.txid);
    let refused = bad(&[&["refund", "--outpoint", &nowhere][..], &from].concat());
    assert!(refused.contains(&nowhere) && refused.contains("no unspent output"), "{refused}");

    mine(&chain, 150);
    let done = good(&[&["refund"][..], &from].concat());
    for coin in [channel, dust] {
        assert!(done.contains(&format!("of {coin}: ")), "{coin}: {done}");
    }
    mine(&chain, 1);
    for coin in [channel, dust] {
        let spend = chain.output(coin).unwrap().unwrap().spent.unwrap();
        assert!(spend.confirmed.is_some(), "{coin}");
    }
}

#[test]
fn two_real_channels_of_one_script_are_both_refunded() {
    let dirs = Dirs::new();
    let car = dirs.at("car");
    let shop = Shop::open(&dirs.at("house"));
    let channel: OutPoint = channel_of(&shop.pay(&car, &["--amount", "7000"])).parse().unwrap();
    let sealed = good(&["backup", "--dir", path(&car)]);
    let mut chain = chain_of(&shop);
    let second = dust(&mut chain, channel, 2_000_000);
    mine(&chain, 150);
    let seed = car.join("seed");
    let from = ["--seed-file", path(&seed), "--chain", &shop.chain, "--text", sealed.trim()];
    let done = good(&[&["refund"][..], &from].concat());
    for coin in [channel, second] {
        assert!(done.contains(&format!("of {coin}: ")), "{coin}: {done}");
    }
}

#[test]
fn restore_into_the_folder_of_another_seed_is_refused_and_leaves_it_as_it_was() {
    let dirs = Dirs::new();
    let (car, other) = (dirs.at("car"), dirs.at("other"));
    let shop = Shop::open(&dirs.at("house"));
    shop.pay(&car, &["--amount", "7000"]);
    shop.pay(&other, &["--amount", "1"]);
    std::fs::remove_file(other.join("store.redb")).unwrap();
    let sealed = good(&["backup", "--dir", path(&car)]);
    let (seed, theirs) = (car.join("seed"), other.join("seed"));
    let from = ["--seed-file", path(&seed), "--chain", &shop.chain, "--text", sealed.trim()];
    let refused = bad(&[&["restore", "--dir", path(&other)][..], &from].concat());
    assert!(refused.contains(path(&theirs)) && refused.contains(path(&seed)), "{refused}");
    assert!(!other.join("store.redb").exists(), "it was written to");
}

/// Pays from `dir`; what was printed, on both outputs.
fn pay(shop: &Shop, dir: &Path, more: &[&str]) -> (String, String) {
    let base = ["pay", "--to", &shop.address, "--chain", &shop.chain, "--dir", path(dir)];
    let out = millstream(&[&base[..], more].concat());
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{stdout}{stderr}");
    (stdout, stderr)
}

#[test]
fn channel_past_its_last_call_is_left_for_a_refund_and_another_is_paid_on() {
    let dirs = Dirs::new();
    let car = dirs.at("car");
    let shop = Shop::open(&dirs.at("house"));
    let (first, _) = pay(&shop, &car, &["--amount", "7", "--delay", "100"]);
    let old = channel_of(&first);
    let chain = chain_of(&shop);
    mine(&chain, 100);
    let (second, hints) = pay(&shop, &car, &["--amount", "8"]);
    assert_ne!(channel_of(&second), old);
    assert!(second.contains("in all 8 msat"), "{second}");
    assert!(hints.contains(&old) && hints.contains("last call"), "{hints}");
    // The hint is a command that works.
    let line = hints.lines().find(|line| line.contains("millstream backup")).unwrap();
    let words: Vec<&str> = line.split('`').collect();
    let args: Vec<&str> = words[1].split_whitespace().skip(1).collect();
    let sealed = good(&args);
    let seed = car.join("seed");
    let from = ["--seed-file", path(&seed), "--chain", &shop.chain, "--text", sealed.trim()];
    let done = good(&[&["refund"][..], &from].concat());
    assert!(done.contains(&format!("of {old}: ")), "{done}");
}

#[test]
fn channel_that_is_due_is_settled_at_the_chains_rate_or_as_much_more_as_it_is_late() {
    let dirs = Dirs::new();
    let mut shop = Shop::open(&dirs.at("house"));
    let chain = chain_of(&shop);
    let market = chain.fee_rate(Blocks::MIN).unwrap().to_sat_per_kvb();
    let paid = shop.pay(&dirs.at("car"), &["--amount", "50000000", "--delay", "100"]);
    let channel: OutPoint = channel_of(&paid).parse().unwrap();
    // 100 blocks to the deadline, the last call 20 before it, 6 more to settle in time. Here a
    // second has 20 blocks: the shop looks when some of them are gone, and each three cost a half.
    mine(&chain, 73);
    let printed = shop.until(&format!("settling {channel} at "));
    assert!(!printed.contains("not settled"), "{printed}");
    let rate = printed.lines().last().and_then(|line| line.split(" at ").nth(1)).unwrap();
    let rate: u64 = rate.split(' ').next().unwrap().parse().unwrap();
    let steps = std::iter::successors(Some(market), |rate| Some(rate + rate / 2));
    assert!(steps.take(20).any(|step| step == rate), "{rate} at {market}");
    shop.until(&format!("rolled over {channel}"));
    assert_eq!(till(&dirs.at("house"), &chain).len(), 1, "the till has its money");
}

/// The outputs that a shop's seed alone finds.
fn till(dir: &Path, chain: &RemoteChain) -> Vec<(OutPoint, OutputStatus)> {
    let (seed, context) = (seed_file::load(&dir.join("seed")).unwrap(), Context::new());
    let key = seed.coin_key(&context, Network::Regtest, KeyIndex::MIN).unwrap().public();
    chain.outputs_of(&ScriptBuf::new_p2tr(context.secp(), key, None)).unwrap()
}

#[test]
fn balance_below_its_fee_and_dust_is_settled_with_a_coin_of_the_till() {
    let dirs = Dirs::new();
    let mut shop = Shop::open(&dirs.at("house"));
    let chain = chain_of(&shop);
    let market = chain.fee_rate(Blocks::MIN).unwrap().to_sat_per_kvb();
    // A part of the dust limit above its own fee: with a coin's 58 vB it still brings something.
    let small = (205 * market / 1_000 + 200) * 1_000;
    let small = ["--amount", &small.to_string(), "--delay", "700"];
    let small: OutPoint = channel_of(&shop.pay(&dirs.at("small"), &small)).parse().unwrap();
    let large = ["--amount", "50000000", "--delay", "100"];
    let large: OutPoint = channel_of(&shop.pay(&dirs.at("large"), &large)).parse().unwrap();
    mine(&chain, 73);
    shop.until(&format!("rolled over {large}"));
    let coin = till(&dirs.at("house"), &chain)[0].0;
    mine(&chain, 590);
    shop.until(&format!("rolled over {small}"));
    let with = chain.output(coin).unwrap().unwrap().spent.unwrap().tx;
    assert!(with.input.iter().any(|input| input.previous_output == small), "{with:?}");
}
