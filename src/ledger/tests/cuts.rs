//! A pool and a worker over power cuts at every commit: paid neither twice nor never.

use super::*;
use crate::store::fault::{Cut, FaultStore};

/// What stands for the payer machine's record, under one of the application's keys.
fn payer_key() -> Key {
    Key::new(&[0xf0]).unwrap()
}

struct Pool {
    ledger: Ledger,
    /// The channel's cumulative amount, as its record has it.
    signed: Msat,
}

impl Pool {
    fn load(store: &FaultStore) -> Self {
        let ledger = Ledger::load(ledger().limits(), store).unwrap();
        let signed = store.get(&payer_key()).unwrap();
        let signed = signed.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
        Self { ledger, signed: msat(signed) }
    }

    fn stage(&mut self, input: &Input, batch: &mut Batch) {
        let staged = self.ledger.decide(input).unwrap().stage(batch).unwrap();
        self.ledger.apply(&staged).unwrap();
    }

    /// On reconnect: the channel is bound if it is not, and the worker's voucher is looked at.
    fn resume(&mut self, shown: Msat, batch: &mut Batch) {
        self.stage(&bind(1, 1, 0), batch);
        if shown > self.signed {
            self.signed = shown;
            batch.put(payer_key(), &shown.to_msat().to_be_bytes()).unwrap();
            let shown = Input::Shown { worker: worker(1), channel: channel(1), paid: shown };
            self.stage(&shown, batch);
        }
    }

    /// A drain: the credits of some shares, and the voucher that pays them. Both records are in
    /// the one batch.
    fn drain(&mut self, shares: &[u128], batch: &mut Batch) -> Msat {
        let sum =
            shares.iter().fold(Credit::NONE, |sum, work| sum.plus(&credit(*work, 9)).unwrap());
        self.stage(&Input::Credit { worker: worker(1), credit: sum }, batch);
        let (at, paid) = self.ledger.account(worker(1)).and_then(Account::pay_to).unwrap();
        if paid > self.signed {
            self.signed = paid;
            batch.put(payer_key(), &paid.to_msat().to_be_bytes()).unwrap();
            self.stage(&Input::Paid { worker: worker(1), channel: at, paid }, batch);
        }
        self.signed
    }
}

/// Shares in drains of three; those that were not acknowledged are submitted again.
const SHARES: [u128; 12] = [4_000, 1, 90_000, 7, 65_536, 3, 12, 800_000, 5, 1, 1, 123_456];

/// What the shares are worth in whole millisatoshis.
fn worth(shares: &[u128]) -> Msat {
    msat(u64::try_from((shares.iter().sum::<u128>() * 9) >> 16).unwrap())
}

/// Runs all shares with one cut; returns the best voucher of the worker, and the commits made.
fn run(cut: Option<(u64, Cut)>, durability: Durability, kept: usize) -> (Msat, Msat, u64) {
    let mut store = FaultStore::default();
    if let Some((at, side)) = cut {
        store.cut_at(at, side);
    }
    let (mut best, mut done) = (Msat::ZERO, 0);
    let mut lost = 0_u128;
    let mut acknowledged: alloc::vec::Vec<usize> = alloc::vec::Vec::new();
    let mut pool = Pool::load(&store);
    let mut batch = Batch::default();
    pool.resume(best, &mut batch);
    let mut commit = |pool: &mut Pool, batch: &mut Batch, best: Msat| {
        if store.commit(batch, durability).is_ok() {
            batch.clear();
            return true;
        }
        store.restart(kept);
        *pool = Pool::load(&store);
        batch.clear();
        pool.resume(best, batch);
        store.commit(batch, Durability::Barrier).unwrap();
        batch.clear();
        false
    };
    commit(&mut pool, &mut batch, best);
    while done < SHARES.len() {
        let shares = &SHARES[done..done + 3];
        let had = pool.ledger.account(worker(1)).map_or(0, Account::shares);
        let voucher = pool.drain(shares, &mut batch);
        if commit(&mut pool, &mut batch, best) {
            (best, done) = (best.max(voucher), done + 3);
            acknowledged.push(done);
        } else {
            // The worker submits again what was not acknowledged; the pool, whose duplicate set is
            // part of the same commit, knows it if the credit is there.
            let has = pool.ledger.account(worker(1)).map_or(0, Account::shares);
            if has > had {
                done += 3;
            }
            // Lazy commits are lost together with what was acknowledged on them.
            lost += u128::from(had.saturating_sub(has));
        }
        pool.ledger.holds_together().unwrap();
    }
    let last = pool.drain(&[], &mut batch);
    commit(&mut pool, &mut batch, best);
    assert!(lost == 0 || durability == Durability::Lazy);
    (best.max(last), pool.ledger.due(worker(1)), store.commits())
}

#[test]
fn cut_at_every_barrier_pays_neither_twice_nor_never() {
    let (whole, _, commits) = run(None, Durability::Barrier, 0);
    assert_eq!(whole, worth(&SHARES));
    assert!(commits >= 6);
    for at in 1..=commits {
        for side in [Cut::Before, Cut::After] {
            let (paid, due, _) = run(Some((at, side)), Durability::Barrier, 0);
            assert_eq!((paid, due), (whole, Msat::ZERO), "commit {at}, {side:?}");
        }
    }
}

#[test]
fn cut_that_takes_lazy_commits_never_pays_twice() {
    let (whole, _, commits) = run(None, Durability::Lazy, 0);
    assert_eq!(whole, worth(&SHARES));
    for at in 1..=commits {
        for side in [Cut::Before, Cut::After] {
            for kept in 0..4 {
                let (paid, due, _) = run(Some((at, side)), Durability::Lazy, kept);
                assert!(paid <= whole, "commit {at}, {side:?}, {kept} kept: {paid}");
                assert_eq!(due, Msat::ZERO);
            }
        }
    }
}
