//! A ledger under any inputs, power cuts and lost commits, and its records and receipts as bytes.

use std::collections::BTreeMap;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Txid};

use crate::ledger::receipt::ShareReceipt;
use crate::ledger::scheme::{FoundBlock, Reach};
use crate::ledger::{
    Account, Credit, Exact, HashPrice, Input, Ledger, LedgerError, Limits, WorkerKey,
};
use crate::store::fault::FaultStore;
use crate::store::{Batch, Durability, Store, envelope};
use crate::units::{Blocks, Height, Msat, Ppm, Work};

/// 2,048: 512 inputs.
const BYTES_MAX: usize = 2_048;

/// The first byte says what: 0 the body of an account, 1 a receipt of a share, else a story of
/// inputs, four bytes each: what, of which worker, and two amounts.
///
/// # Panics
/// If bytes have a second form, if the ledger does not add up, or if a worker holds vouchers of
/// more than its accepted work was worth.
pub fn ledger_ops(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind {
        0 => account(rest),
        1 => {
            if let Ok(receipt) = ShareReceipt::decode(rest) {
                assert_eq!(receipt.encode(), rest, "a second encoding");
            }
        }
        _ => story(rest.get(..rest.len().min(BYTES_MAX)).unwrap_or_default()),
    }
}

fn account(body: &[u8]) {
    let Ok(key) = Account::key(WorkerKey::new([1; 32])) else { return };
    let bytes = envelope::seal(&key, 1, body);
    if let Ok(account) = Account::decode(&key, &bytes) {
        assert_eq!(account.encode(), Ok(bytes), "a second encoding");
    }
}

fn story(data: &[u8]) {
    let Ok(mut pool) = Pool::new() else { return };
    for step in data.chunks_exact(4) {
        let &[what, who, a, b] = step else { return };
        let result = pool.step(what, WorkerKey::new([who & 3; 32]), a, b);
        match result {
            Ok(())
            | Err(
                LedgerError::UnpaidLimit { .. }
                | LedgerError::NobodyWorked
                | LedgerError::NoBlock { .. }
                | LedgerError::TooManyBlocks { .. }
                | LedgerError::NotIdle { .. }
                | LedgerError::NoWorker { .. }
                | LedgerError::NotBound { .. }
                | LedgerError::TooManyWorkers { .. },
            ) => {}
            Err(error) => assert_eq!(Some(error), None, "an input that is in order"),
        }
        pool.check();
    }
}

/// A pool, and what its workers hold.
struct Pool {
    ledger: Ledger,
    store: FaultStore,
    channels: u32,
    /// The best voucher of the channel that is bound, and what it began at.
    vouchers: BTreeMap<WorkerKey, (Msat, Msat)>,
    /// What they hold of channels before.
    received: BTreeMap<WorkerKey, Msat>,
    /// What was accepted of them, lost commits included.
    worth: BTreeMap<WorkerKey, Exact>,
}

impl Pool {
    fn new() -> Result<Self, LedgerError> {
        Ok(Self {
            ledger: Ledger::new(limits())?,
            store: FaultStore::default(),
            channels: 0,
            vouchers: BTreeMap::new(),
            received: BTreeMap::new(),
            worth: BTreeMap::new(),
        })
    }

    fn step(&mut self, what: u8, worker: WorkerKey, a: u8, b: u8) -> Result<(), LedgerError> {
        match what % 11 {
            0 => {
                let price = HashPrice::from_q96((u128::from(b) + 1) << 82)?;
                let credit = Credit::priced(Work::new(u128::from(a) * 257), price)?;
                self.take(Input::Credit { worker, credit }, Durability::Lazy)
            }
            1 => {
                let credit = Credit::unpriced(Work::new(u128::from(a)));
                self.take(Input::Log { worker, credit, reach: reach(b) }, Durability::Lazy)
            }
            2 => {
                let fee = Ppm::new(u32::from(a) * 1_000).unwrap_or(Ppm::MAX);
                let reward = msat(u64::from(b) * 1_001);
                let input = Input::Block { id: [a; 32], reward, fee, reach: reach(b) };
                self.take(input, Durability::Barrier)
            }
            3 => self.pay(worker, a),
            4 => {
                self.unbind(worker)?;
                self.bind(worker, msat(b.into()))
            }
            5 => {
                self.unbind(worker)?;
                self.take(Input::Forget { worker }, Durability::Barrier)?;
                self.received.remove(&worker);
                self.worth.remove(&worker);
                Ok(())
            }
            6 => self.restart(usize::from(a & 3)),
            7 => self.repeat(worker, a),
            9 => self.find(a, b),
            10 => {
                let id = [a; 32];
                let fate = if b & 1 == 0 { Input::Buried { id } } else { Input::Lost { id } };
                self.take(fate, Durability::Barrier)
            }
            _ => {
                self.overpay(worker, b);
                Ok(())
            }
        }
    }

    fn take(&mut self, input: Input, durability: Durability) -> Result<(), LedgerError> {
        let step = self.ledger.decide(&input)?;
        let earned: Vec<(WorkerKey, Exact)> = step
            .accounts()
            .filter_map(|after| {
                let before = self.ledger.account(after.worker()).map(Account::owed);
                let more = after.owed().checked_sub(before.unwrap_or(Exact::ZERO));
                more.map(|more| (after.worker(), more))
            })
            .collect();
        let mut batch = Batch::default();
        let staged = step.stage(&mut batch)?;
        self.store.commit(&batch, durability)?;
        self.ledger.apply(&staged)?;
        for (worker, more) in earned {
            let worth = self.worth.entry(worker).or_insert(Exact::ZERO);
            *worth = worth.plus(more)?;
        }
        Ok(())
    }

    /// A block that waits, or that was told before: then nothing changes.
    fn find(&mut self, a: u8, b: u8) -> Result<(), LedgerError> {
        let block = FoundBlock {
            id: [a; 32],
            coinbase: OutPoint::null(),
            height: Height::MIN,
            depth: Blocks::MIN,
            reward: msat(u64::from(b) * 1_001),
            fee: Ppm::new(u32::from(a) * 1_000).unwrap_or(Ppm::MAX),
            reach: reach(b),
        };
        let waits = self.ledger.pending().any(|pending| pending.id == block.id);
        let step = self.ledger.decide(&Input::Found(block));
        assert!(!waits || step.is_ok_and(|step| step.is_empty()), "a block that waits");
        self.take(Input::Found(block), Durability::Barrier)
    }

    /// A part of what is due: a channel may have less room.
    fn pay(&mut self, worker: WorkerKey, part: u8) -> Result<(), LedgerError> {
        let Some((channel, all)) = self.ledger.account(worker).and_then(Account::pay_to) else {
            return Ok(());
        };
        // Up to an eighth of it stays.
        let due = self.ledger.due(worker).to_msat();
        let paid = all.saturating_sub(msat(due >> 3 >> (part & 7)));
        self.take(Input::Paid { worker, channel, paid }, Durability::Lazy)?;
        if let Some((best, _)) = self.vouchers.get_mut(&worker) {
            *best = paid.max(*best);
        }
        Ok(())
    }

    fn bind(&mut self, worker: WorkerKey, paid: Msat) -> Result<(), LedgerError> {
        self.channels = self.channels.saturating_add(1);
        let channel = OutPoint::new(Txid::all_zeros(), self.channels);
        self.take(Input::Bind { worker, channel, paid }, Durability::Barrier)?;
        self.vouchers.insert(worker, (paid, paid));
        Ok(())
    }

    fn unbind(&mut self, worker: WorkerKey) -> Result<(), LedgerError> {
        let bound = self.ledger.account(worker).and_then(Account::channel);
        let (Some(channel), Some((best, base))) = (bound, self.vouchers.get(&worker).copied())
        else {
            return Ok(());
        };
        self.take(Input::Unbind { worker, channel, paid: best }, Durability::Barrier)?;
        let received = self.received.entry(worker).or_insert(Msat::ZERO);
        *received = received.saturating_add(best.saturating_sub(base));
        self.vouchers.remove(&worker);
        Ok(())
    }

    /// The power is cut, some lazy commits are lost, and the workers show their vouchers.
    fn restart(&mut self, kept: usize) -> Result<(), LedgerError> {
        self.store.cut();
        self.store.restart(kept);
        self.ledger = Ledger::load(limits(), &self.store)?;
        let bound: Vec<_> = self.ledger.accounts().filter_map(of_channel).collect();
        for (worker, channel) in bound {
            let Some((paid, _)) = self.vouchers.get(&worker).copied() else { continue };
            self.take(Input::Shown { worker, channel, paid }, Durability::Barrier)?;
        }
        Ok(())
    }

    /// What was told before changes nothing.
    fn repeat(&self, worker: WorkerKey, a: u8) -> Result<(), LedgerError> {
        let bound = self.ledger.account(worker).and_then(Account::channel);
        let (Some(channel), Some((best, _))) = (bound, self.vouchers.get(&worker).copied()) else {
            return Ok(());
        };
        let paid = best.saturating_sub(msat(a.into()));
        for again in [
            Input::Paid { worker, channel, paid },
            Input::Shown { worker, channel, paid },
            Input::Bind { worker, channel, paid },
        ] {
            assert!(self.ledger.decide(&again)?.is_empty(), "{again:?}");
        }
        Ok(())
    }

    fn overpay(&self, worker: WorkerKey, by: u8) {
        let pay_to = self.ledger.account(worker).and_then(Account::pay_to);
        let Some((channel, all)) = pay_to else { return };
        let paid = all.saturating_add(msat(u64::from(by) + 1));
        let refused = self.ledger.decide(&Input::Paid { worker, channel, paid });
        assert!(matches!(refused, Err(LedgerError::AboveOwed { .. })), "{refused:?}");
    }

    fn check(&self) {
        assert_eq!(self.ledger.holds_together(), Ok(()));
        for account in self.ledger.accounts() {
            let worker = account.worker();
            let here =
                self.vouchers.get(&worker).map_or(Msat::ZERO, |at| at.0.saturating_sub(at.1));
            let before = self.received.get(&worker).copied().unwrap_or(Msat::ZERO);
            let held = before.saturating_add(here);
            // The ledger knows every voucher that left, and none is above the work that there was.
            assert_eq!(account.paid(), held, "{worker}");
            let worth = self.worth.get(&worker).copied().unwrap_or(Exact::ZERO);
            assert!(held <= worth.floor_msat(), "{worker}: {held} for {worth}");
        }
    }
}

fn of_channel(account: &Account) -> Option<(WorkerKey, OutPoint)> {
    account.channel().map(|channel| (account.worker(), channel))
}

fn limits() -> Limits {
    Limits { unpaid_max: msat(100_000), workers_max: 4 }
}

fn reach(b: u8) -> Reach {
    if b & 1 == 0 { Reach::Round } else { Reach::Last(Work::new(u128::from(b) * 16)) }
}

fn msat(value: u64) -> Msat {
    Msat::new(value).unwrap_or(Msat::MAX)
}
