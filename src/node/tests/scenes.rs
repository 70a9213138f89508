//! Every state in which a channel and a session can be at a node, and the way to it.

use super::*;
use crate::batch::Sealed;
use crate::batch::item::{Charge, Item, LeafSize};
use crate::ledger::scheme::{FoundBlock, Reach};
use crate::ledger::{Credit, HashPrice};
use crate::signer::PeerId;
use crate::tx::hold::Preimage;
use crate::tx::seen::Spend;
use crate::tx::{FeeInput, payee_script};
use crate::units::{FeeRate, HoldId, ItemId, Lane, Work};

/// One state of both sides. What comes later contains what came before, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scene {
    /// No connection, no channel.
    Apart,
    /// Connected.
    Linked,
    /// The payer has shown its channel; the chain has not answered.
    Shown,
    /// The channel is open, without a session.
    Open,
    /// The seller offers session 7.
    Offered,
    /// The buyer has taken it; its start was lost.
    Taken,
    /// Session 7 is served, and paid up to one reading.
    Running,
    /// Another reading, which the buyer has not heard of.
    Owing,
    /// Unheard readings above the credit.
    Paused,
    /// Running, and the line is cut.
    Parted,
    /// Running, then both restarted and connected anew; nothing is said yet.
    Restarted,
    /// Owing, and both have ended it without hearing each other.
    Ending,
    /// Running, ended, paid and stated.
    Settled,
    /// Settled, and forgotten by both.
    Forgotten,
    /// Settled; the buyer has signed a close that the seller has not answered.
    Leaving,
    /// Running; a top-up is signed by the seller, and waits for the coins.
    ToppingUp,
    /// Running; the seller's settlement is in the mempool.
    RollingOver,
    /// Running; the settlement is buried, the channel goes on at its successor.
    RolledOver,
    /// Settled; the settlement is undone by a reorg.
    Undone,
    /// Open; a window in lane 1 is paid, and another one lost on its way.
    Flying,
    /// The same, and the payer has lost its batches: it has asked for the payee's lanes.
    Asking,
    /// Open; 5,000 sat are held.
    Holding,
    /// Holding; another 2,000 sat are offered, and their voucher is lost.
    Offering,
    /// Holding; the seller has revealed the preimage, and the buyer has not heard it.
    Fulfilled,
    /// Holding; the seller has released the hold, and the buyer has not heard it.
    Released,
    /// Open; it pays the seller's work, and has paid some.
    Working,
    /// The same, and a voucher for more of it is lost.
    Crediting,
    /// Working; a block is found that is to be four deep.
    Mining,
    /// The same, a hundred blocks on.
    Waiting,
}

impl Scene {
    pub(super) const ALL: [Self; 29] = [
        Self::Apart,
        Self::Linked,
        Self::Shown,
        Self::Open,
        Self::Offered,
        Self::Taken,
        Self::Running,
        Self::Owing,
        Self::Paused,
        Self::Parted,
        Self::Restarted,
        Self::Ending,
        Self::Settled,
        Self::Forgotten,
        Self::Leaving,
        Self::ToppingUp,
        Self::RollingOver,
        Self::RolledOver,
        Self::Undone,
        Self::Flying,
        Self::Asking,
        Self::Holding,
        Self::Offering,
        Self::Fulfilled,
        Self::Released,
        Self::Working,
        Self::Crediting,
        Self::Mining,
        Self::Waiting,
    ];

    /// The scene that this one is made from, and nothing that leaves is left behind.
    const fn before(self) -> Option<Self> {
        match self {
            Self::Apart => None,
            Self::Linked => Some(Self::Apart),
            Self::Shown => Some(Self::Linked),
            Self::Open => Some(Self::Shown),
            Self::Offered | Self::Flying | Self::Holding | Self::Working => Some(Self::Open),
            Self::Crediting | Self::Mining => Some(Self::Working),
            Self::Waiting => Some(Self::Mining),
            Self::Offering | Self::Fulfilled | Self::Released => Some(Self::Holding),
            Self::Asking => Some(Self::Flying),
            Self::Taken | Self::Running => Some(Self::Offered),
            Self::Owing
            | Self::Parted
            | Self::Restarted
            | Self::Settled
            | Self::ToppingUp
            | Self::RollingOver => Some(Self::Running),
            Self::Paused | Self::Ending => Some(Self::Owing),
            Self::Forgotten | Self::Leaving => Some(Self::Settled),
            Self::RolledOver | Self::Undone => Some(Self::RollingOver),
        }
    }

    pub(super) fn build(self) -> Stage {
        let mut stage = self.before().map_or_else(Stage::new, Self::build);
        self.play(&mut stage);
        stage.lose_all();
        stage
    }

    fn play(self, stage: &mut Stage) {
        let outpoint = stage.outpoint;
        match self {
            Self::Apart => {}
            Self::Linked => stage.connect(),
            Self::Shown => {
                stage.run(BUYER, stage.fund(Some(LINK)));
                let left = stage.flush(BUYER);
                for (link, message) in left.sends {
                    stage.handle(SELLER, Input::Received(link, message)).unwrap();
                }
            }
            // The chain shows the funding alone: at first, or after what spent it was undone.
            Self::Open | Self::Undone => {
                let status = stage.status();
                stage.show(outpoint, &status);
                stage.settle_down();
            }
            Self::Offered => {
                stage.run(SELLER, offer(7));
                stage.settle_down();
            }
            Self::Flying => stage.fly(),
            Self::Asking => stage.lose_batches(),
            Self::Holding | Self::Offering | Self::Fulfilled | Self::Released => self.hold(stage),
            Self::Taken => stage.run(BUYER, accept(7, outpoint)),
            Self::Working | Self::Crediting | Self::Mining | Self::Waiting => self.work(stage),
            Self::Running => {
                stage.run(BUYER, accept(7, outpoint));
                stage.settle_down();
                stage.meter();
                stage.settle_down();
            }
            Self::Owing => stage.meter(),
            Self::Paused => (0..4).for_each(|_| stage.meter()),
            Self::Parted => {
                for side in [BUYER, SELLER] {
                    stage.handle(side, Input::Disconnected(LINK)).unwrap();
                }
            }
            Self::Restarted => {
                stage.reboot();
                stage.connect();
            }
            Self::Ending => stage.run_both(Command::EndSession),
            Self::Settled => {
                stage.run(BUYER, Command::EndSession(id(7)));
                stage.settle_down();
            }
            Self::Forgotten => stage.run_both(Command::ForgetSession),
            Self::Leaving => stage.run(BUYER, close(outpoint)),
            Self::ToppingUp => {
                stage.run(BUYER, top_up(outpoint));
                stage.settle_down();
            }
            Self::RollingOver => {
                stage.run(SELLER, settle(outpoint));
                let tx = stage.flush(SELLER).broadcasts.remove(0).remove(0);
                stage.spend(&tx, None);
                stage.settle_down();
            }
            Self::RolledOver => {
                let spend = stage.chain[&outpoint].spent.clone().unwrap();
                stage.spend(&spend.tx, Some(DEEP - 3));
                stage.settle_down();
            }
        }
    }
}

impl Scene {
    fn hold(self, stage: &mut Stage) {
        let outpoint = stage.outpoint;
        match self {
            Self::Offering => stage.run(BUYER, offer_hold(outpoint, 2_000)),
            Self::Fulfilled => stage.run(SELLER, fulfil_hold(outpoint)),
            Self::Released => stage.run(SELLER, release_hold(outpoint)),
            _ => {
                stage.open_budget();
                stage.run(BUYER, offer_hold(outpoint, 5_000));
                stage.settle_down();
            }
        }
    }
}

impl Scene {
    fn work(self, stage: &mut Stage) {
        match self {
            Self::Mining => {
                stage.run(BUYER, log_work());
                stage.run(BUYER, find_block());
            }
            Self::Waiting => {
                stage.handle(BUYER, Input::Tip(tip(DEEP + 100))).unwrap();
            }
            Self::Crediting => stage.run(BUYER, credit_work()),
            _ => {
                stage.run(BUYER, bind_worker(stage.outpoint));
                stage.run(BUYER, credit_work());
                stage.settle_down();
            }
        }
    }
}

impl Stage {
    pub(super) fn connect(&mut self) {
        for side in [BUYER, SELLER] {
            self.handle(side, Input::Connected(LINK)).unwrap();
        }
    }

    /// Budget 3 pays for windows and holds.
    pub(super) fn open_budget(&mut self) {
        let signer = self.nodes[BUYER].signer_mut();
        signer.open_session(PeerId::new(base()), id(3), msat(500_000_000)).unwrap();
    }

    /// A window is paid and acknowledged, and the next one is on its way.
    fn fly(&mut self) {
        let outpoint = self.outpoint;
        self.open_budget();
        self.run(BUYER, open_lane(outpoint));
        for amount in [1_000, 500] {
            self.lose_all();
            let batch = self.sealed(amount);
            self.run(BUYER, pay_batch(outpoint, batch));
            if amount == 1_000 {
                self.settle_down();
            }
        }
    }

    /// Both restart and connect; the payee has said what it holds.
    fn lose_batches(&mut self) {
        let outpoint = self.outpoint;
        self.reboot();
        self.open_budget();
        self.connect();
        self.run(BUYER, Command::Attach { link: LINK, outpoint });
        for side in [BUYER, SELLER] {
            for (link, message) in self.flush(side).sends {
                self.handle(1 - side, Input::Received(link, message)).unwrap();
            }
        }
    }

    /// The next window of lane 1: one item of `amount`.
    pub(super) fn sealed(&self, amount: u64) -> Sealed {
        let front = self.nodes[BUYER].front(self.outpoint).unwrap();
        let lane = Lane::new(1).unwrap();
        let last = front.lanes().state(lane).unwrap().last.map_or(0, ItemId::to_u64);
        let (id, charge) = (ItemId::new(last + 1).unwrap(), Charge::Amount(msat(amount)));
        let mut builder = front.build(LeafSize::ONE).unwrap();
        builder.push(&Item { lane, id, charge, hash: None }).unwrap();
        builder.seal().unwrap()
    }

    /// The chain shows a spend of the channel, and the first output of it if it is the channel's.
    pub(super) fn spend(&mut self, tx: &Transaction, confirmed: Option<u32>) {
        let confirmed = confirmed.map(height);
        let spent = Some(Spend { tx: tx.clone(), confirmed });
        let outpoint = self.outpoint;
        let next = OutPoint { txid: tx.compute_txid(), vout: 0 };
        let output = &tx.output[0];
        let status = OutputStatus {
            value: sat(output.value.to_sat()),
            script: output.script_pubkey.clone(),
            confirmed,
            ..self.status()
        };
        self.chain.insert(next, status.clone());
        let old = OutputStatus { spent, ..self.status() };
        self.show(outpoint, &old);
        self.show(next, &status);
    }
}

pub(super) fn close(outpoint: OutPoint) -> Command {
    Command::Close { outpoint, script: wallet(8), fee: sat(300) }
}

pub(super) fn preimage() -> Preimage {
    Preimage::new([0xab; 32])
}

pub(super) fn hold(number: u64) -> HoldId {
    HoldId::new(number).unwrap()
}

/// Until a height at which the seller has time to settle, and 34 blocks before the last call.
pub(super) fn offer_hold(outpoint: OutPoint, amount: u64) -> Command {
    let (hash, amount, expiry) = (preimage().hash(), sat(amount), height(200));
    Command::OfferHold { outpoint, hash, amount, expiry, session: id(3) }
}

pub(super) fn fulfil_hold(outpoint: OutPoint) -> Command {
    Command::FulfilHold { outpoint, id: hold(1), preimage: preimage() }
}

pub(super) fn release_hold(outpoint: OutPoint) -> Command {
    Command::ReleaseHold { outpoint, id: hold(1) }
}

/// 1,000 msat of work by the seller.
pub(super) fn credit_work() -> Command {
    let price = HashPrice::from_q96(1 << 96).unwrap();
    let credit = Credit::priced(Work::new(1_000), price).unwrap();
    Command::CreditWork { worker: base().into(), credit }
}

/// Work of the seller that a block pays.
pub(super) fn log_work() -> Command {
    let (credit, reach) = (Credit::unpriced(Work::new(1_000)), Reach::Round);
    Command::LogWork { worker: base().into(), credit, reach }
}

pub(super) fn coinbase() -> OutPoint {
    OutPoint { txid: Txid::from_byte_array([0xcb; 32]), vout: 0 }
}

/// In the newest block there is.
pub(super) fn find_block() -> Command {
    let (coinbase, height, reach) = (coinbase(), height(DEEP), Reach::Round);
    let (depth, reward, fee) = (Blocks::new(4).unwrap(), msat(50_000), Ppm::new(10_000).unwrap());
    let id = [0xb1; 32];
    Command::FindBlock(FoundBlock { id, coinbase, height, depth, reward, fee, reach })
}

pub(super) fn bind_worker(outpoint: OutPoint) -> Command {
    let (session, budget) = (id(4), msat(500_000_000));
    Command::BindWorker { worker: base().into(), outpoint, session, budget }
}

pub(super) fn tend_holds() -> Command {
    let policy = Box::new(crate::monitor::Policy::new(wallet(8)));
    Command::TendHolds { policy, rate: FeeRate::new(1_000).unwrap(), coins: Vec::new() }
}

pub(super) fn open_lane(outpoint: OutPoint) -> Command {
    let (lane, limit, session) = (Lane::new(1).unwrap(), msat(100_000), id(3));
    Command::OpenLane { outpoint, lane, limit, session }
}

pub(super) fn pay_batch(outpoint: OutPoint, batch: Sealed) -> Command {
    Command::PayBatch { outpoint, batch: Box::new(batch), session: id(3) }
}

pub(super) fn top_up(outpoint: OutPoint) -> Command {
    let output = TxOut { value: Amount::from_sat(501_000), script_pubkey: wallet(7) };
    let coin = OutPoint { txid: Txid::from_byte_array([0xcc; 32]), vout: 1 };
    let inputs = Vec::from([FeeInput::new(coin, output).unwrap()]);
    Command::TopUp { outpoint, inputs, capacity: sat(1_500_000), carries: Some(id(7)) }
}

pub(super) fn settle(outpoint: OutPoint) -> Command {
    let script = payee_script(&Context::new(), base()).unwrap();
    Command::Settle { outpoints: Vec::from([outpoint]), script, rate: FeeRate::new(1_000).unwrap() }
}
