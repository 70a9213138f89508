//! Holds on the chain as a source shows them, one look at a time.

use super::scenes::{fulfil_hold, offer_hold, preimage, tend_holds};
use super::*;
use crate::stream::payer::PayerPhase;
use crate::tx::hold::HoldCoin;
use crate::tx::seen::Spend;

impl Stage {
    /// The seller's settlement of what it holds, and the output of its first hold.
    fn settle_held(&mut self) -> (Transaction, HoldCoin) {
        let draft = self.nodes[SELLER].draft_hold_settlement(self.outpoint, &[]).unwrap();
        let coin = draft.coins().unwrap().remove(0);
        let settlement = Box::new(draft);
        self.run(SELLER, Command::SettleHeld { settlement, witnesses: Vec::new() });
        (self.flush(SELLER).broadcasts.remove(0).remove(0), coin)
    }

    /// A side looks at the hold's output.
    fn look_at(&mut self, side: usize, coin: &HoldCoin, spent: Option<Spend>) -> Outbox {
        let (value, script) = (coin.value(), coin.scripts().script().clone());
        let confirmed = Some(height(DEEP));
        let status = OutputStatus { value, script, confirmed, truc: true, spent };
        self.handle(side, Input::Output(coin.outpoint(), Some(status))).unwrap();
        self.flush(side)
    }

    fn see(&mut self, side: usize, at: u32) {
        self.handle(side, Input::Tip(tip(at))).unwrap();
        let status = self.chain[&self.outpoint].clone();
        self.handle(side, Input::Output(self.outpoint, Some(status))).unwrap();
    }
}

/// A preimage that the chain has shown is owed. Where a reorg has taken both the claim and the
/// settlement back, the channel lives, and its payer pays what it has the proof of.
#[test]
fn preimage_that_a_reorg_left_behind_is_folded_where_the_channel_lives_on() {
    let mut stage = Scene::Fulfilled.build();
    let outpoint = stage.outpoint;
    for side in [BUYER, SELLER] {
        stage.run(side, tend_holds());
    }
    let (settlement, coin) = stage.settle_held();
    stage.spend(&settlement, Some(DEEP));
    let _settled = stage.flush(BUYER);
    stage.lose_all();
    stage.see(SELLER, DEEP + 4);
    let _settlement_again = stage.flush(SELLER);
    let sent = stage.look_at(SELLER, &coin, None).broadcasts;
    let [[claim]] = sent.iter().map(|package| &package[..]).collect::<Vec<_>>()[..] else {
        panic!("{sent:?}")
    };
    // Not in a block yet, and known all the same; the payer is some blocks behind.
    stage.see(BUYER, DEEP + 1);
    let spent = Some(Spend { tx: claim.clone(), confirmed: None });
    let told = stage.look_at(BUYER, &coin, spent).events;
    let shown =
        |event: &Event| matches!(event, Event::HoldShown { preimage: p, .. } if *p == preimage());
    assert!(told.iter().any(shown), "{told:?}");
    assert_eq!(stage.nodes[BUYER].payer(outpoint).unwrap().signed(), Msat::ZERO);
    // The power goes; the line and the preimage's only other witness are gone for good.
    stage.lose_all();
    stage.reboot();
    stage.open_budget();
    let unspent = stage.status();
    stage.show(outpoint, &unspent);
    stage.connect();
    stage.run(BUYER, Command::Attach { link: LINK, outpoint });
    let (_, resume) = stage.flush(BUYER).sends.remove(0);
    stage.handle(SELLER, Input::Received(LINK, resume)).unwrap();
    let (_, best) = stage.flush(SELLER).sends.remove(0);
    stage.handle(BUYER, Input::Received(LINK, best)).unwrap();
    let _folded = stage.flush(BUYER);
    let payer = stage.nodes[BUYER].payer(outpoint).unwrap();
    assert_eq!((payer.phase(), payer.signed()), (PayerPhase::Open, msat(5_000_000)));
    assert!(payer.holds().iter().all(|kept| !kept.state.is_present()));
}

/// What is due is sent once between two tips, and again at each of them until the chain has it.
#[test]
fn claim_is_sent_once_a_tip_until_the_chain_shows_it() {
    let mut stage = Scene::Fulfilled.build();
    stage.run(SELLER, tend_holds());
    let (settlement, coin) = stage.settle_held();
    stage.spend(&settlement, Some(DEEP));
    stage.lose_all();
    // In a block from DEEP + 4 on, so that mempools take it at DEEP + 3.
    for (at, want) in [(DEEP + 2, 0), (DEEP + 3, 1), (DEEP + 4, 1)] {
        stage.see(SELLER, at);
        let _settlement_again = stage.flush(SELLER);
        let claims = stage.look_at(SELLER, &coin, None).broadcasts;
        assert_eq!(claims.len(), want, "at {at}");
        assert_eq!(stage.look_at(SELLER, &coin, None).broadcasts.len(), 0, "again at {at}");
    }
    stage.see(SELLER, DEEP + 5);
    let _settlement_again = stage.flush(SELLER);
    let claim = stage.look_at(SELLER, &coin, None).broadcasts.remove(0).remove(0);
    stage.see(SELLER, DEEP + 6);
    let _settlement_again = stage.flush(SELLER);
    let spent = Some(Spend { tx: claim, confirmed: None });
    assert_eq!(stage.look_at(SELLER, &coin, spent).broadcasts.len(), 0);
}

/// A store of a release that knew no watches: they are made at the start, and stored.
#[test]
fn store_without_watches_is_watched_from_its_first_start_on() {
    let mut stage = Scene::Fulfilled.build();
    for side in [BUYER, SELLER] {
        let mut batch = crate::store::Batch::default();
        let keys: Vec<_> = stage.nodes[side].watches().map(|watch| watch.key().unwrap()).collect();
        assert_eq!(keys.len(), 1);
        batch.delete(keys[0]).unwrap();
        stage.stores[side].commit(&batch, crate::store::Durability::Barrier).unwrap();
        assert_eq!(stage.stores[side].get(&keys[0]).unwrap(), None);
        stage.nodes[side] = load(side, &stage.stores[side], &stage.now);
        stage.nodes[side].check_invariants().unwrap();
        let _first = stage.flush(side);
        assert!(stage.stores[side].get(&keys[0]).unwrap().is_some());
        let watch = stage.nodes[side].watches().next().unwrap();
        let known = watch.holds()[0].preimage;
        assert_eq!(known, (side == SELLER).then(preimage));
    }
}

/// The record of the watch is in the commit of the channel's: neither is ever without the other.
#[test]
fn watch_is_written_with_the_step_that_holds() {
    let mut stage = Scene::Open.build();
    stage.open_budget();
    stage.run(BUYER, offer_hold(stage.outpoint, 5_000));
    stage.settle_down();
    stage.run(SELLER, fulfil_hold(stage.outpoint));
    stage.settle_down();
    for side in [BUYER, SELLER] {
        let again = load(side, &stage.stores[side], &stage.now);
        again.check_invariants().unwrap();
        assert!(again.watches().eq(stage.nodes[side].watches()));
    }
    // Folded: the payee's voucher has it no more; the payer's older one has, for ever.
    assert!(stage.nodes[SELLER].watches().all(|watch| watch.holds().is_empty()));
}
