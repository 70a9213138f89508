//! A device that earns by shares on one channel and spends on another: both are outputs of one
//! transaction. And the worker's side of the risk, against pools that stop paying.

#[path = "node_work/pool.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod pool;

use bitcoin::OutPoint;
use millstream::keys::{Context, Seed};
use millstream::ledger::WorkWindow;
use millstream::node::{Command, LinkId};
use millstream::signer::{PeerId, Signer};
use millstream::sim::world::{EndId, Machine, World};
use millstream::stream::Payee;
use millstream::stream::payer::{Ending, Opening};
use millstream::tx::{ChangeScript, Delay};
use millstream::units::{FeeRate, KeyIndex, Msat};
use pool::{NETWORK, Stage, Worker, base, msat, sat, session, terms, worth};

const SELLER: u8 = 50;
const DEVICE: u8 = 10;
const CAPACITY: u64 = 100_000;

/// A pool that pays a device, a device that pays a seller, and who is where.
struct Device {
    stage: Stage,
    seller: EndId,
    line: LinkId,
    spends_on: OutPoint,
    spent: u64,
}

fn opening(world: &World, payer: EndId, seed: u8, payee: u8) -> Opening {
    let (context, index) = (Context::new(), KeyIndex::new(0).unwrap());
    let key = Seed::new([seed; 32]).payer_key(&context, NETWORK, index).unwrap().public();
    let view = world.end(payer).unwrap().node().view(world.now().time).unwrap();
    let (delay, own) = (Delay::new(144).unwrap(), ChangeScript::Own);
    Opening::new(&context, &terms(payee), index, key, delay, sat(CAPACITY), own, &view).unwrap()
}

impl Device {
    /// Both channels in one funding transaction, which the operator's coin pays for; buried.
    fn open() -> Self {
        let mut stage = Stage::open(0);
        let pool = stage.pool;
        let machine = Machine::payee("device", [DEVICE; 32], terms(DEVICE));
        let device = stage.world.add(machine).unwrap();
        let machine = Machine::payee("seller", [SELLER; 32], terms(SELLER));
        let seller = stage.world.add(machine).unwrap();
        let link = stage.world.connect(pool, device).unwrap();
        let line = stage.world.connect(device, seller).unwrap();
        let earns = opening(&stage.world, pool, 1, DEVICE);
        let spends = opening(&stage.world, device, DEVICE, SELLER);
        let outputs = [&earns, &spends].map(|o| (o.script().clone(), o.capacity()));
        let (funding, outpoints) = stage.world.fundings(outputs.to_vec()).unwrap();
        let sides = [(pool, 1, link, earns), (device, DEVICE, line, spends)];
        for ((end, seed, link, opening), outpoint) in sides.into_iter().zip(&outpoints) {
            let key = Seed::new([seed; 32]).backup_key(NETWORK);
            let backup = opening.funded(*outpoint).1.seal(&key);
            let (funding, vout) = (funding.clone(), outpoint.vout);
            let (link, opening) = (Some(link), Box::new(opening));
            let fund = Command::Fund { link, opening, funding, vout, backup };
            stage.world.command(end, fund).unwrap();
        }
        stage.settle_down();
        stage.mine(3);
        let (key, outpoint) = (base(DEVICE).into(), outpoints[0]);
        stage.workers.push(Worker { end: device, key, seed: DEVICE, link, outpoint });
        stage.bind(0).unwrap();
        stage.settle_down();
        Self { stage, seller, line, spends_on: outpoints[1], spent: 0 }
    }

    fn device(&self) -> EndId {
        self.stage.workers[0].end
    }

    fn spend(&mut self, more: u64) {
        let (end, peer) = (self.device(), PeerId::new(base(SELLER)));
        let signer = self.stage.world.end_mut(end).unwrap().node_mut().signer_mut();
        signer.open_session(peer, session(), msat(CAPACITY * 1_000)).unwrap();
        let (outpoint, ending) = (self.spends_on, Ending::KeepsChange);
        let pay = Command::Pay { outpoint, more: msat(more), session: session(), ending };
        self.stage.world.command(end, pay).unwrap();
        self.stage.settle_down();
        self.spent += more;
    }

    fn sold(&self) -> Msat {
        let node = self.stage.world.end(self.seller).unwrap().node();
        node.payee(self.spends_on).map_or(Msat::ZERO, Payee::paid)
    }

    /// The device's power goes, and both of its lines come back.
    fn reboot(&mut self) {
        let end = self.device();
        self.stage.world.reboot(end).unwrap();
        self.stage.reconnect(0);
        self.line = self.stage.world.connect(end, self.seller).unwrap();
        let attach = Command::Attach { link: self.line, outpoint: self.spends_on };
        self.stage.world.command(end, attach).unwrap();
        self.stage.settle_down();
    }
}

#[test]
fn device_earns_by_shares_on_one_channel_and_spends_on_another_of_one_funding() {
    let mut device = Device::open();
    assert_eq!(device.stage.workers[0].outpoint.txid, device.spends_on.txid);
    let mut earned = 0;
    for round in 1..=8_u64 {
        device.stage.earn(0, 2_000_001 * round);
        earned += 2_000_001 * round;
        device.spend(1_000_000 * round);
        assert_eq!(device.stage.held(0), msat(earned));
        assert_eq!(device.sold(), msat(device.spent));
        if round % 3 == 0 {
            device.reboot();
        }
    }
    // Each side settles its own, and the two do not meet on the chain again.
    device.stage.settle(0, 1_000);
    let (outpoints, rate) = (vec![device.spends_on], FeeRate::new(1_000).unwrap());
    let script = millstream::tx::payee_script(&Context::new(), base(SELLER)).unwrap();
    let settle = Command::Settle { outpoints, script: script.clone(), rate };
    device.stage.world.command(device.seller, settle).unwrap();
    device.stage.settle_down();
    let sent: Vec<_> = device.stage.world.chain().with(|chain| chain.mempool().cloned().collect());
    assert_eq!(sent.len(), 2);
    for (payee, paid) in [(device.stage.till(0), earned), (script, device.spent)] {
        let tx = sent.iter().find(|tx| tx.output.iter().any(|o| o.script_pubkey == payee)).unwrap();
        let value: u64 = tx.output.iter().map(|output| output.value.to_sat()).sum();
        let to = tx.output.iter().find(|o| o.script_pubkey == payee).unwrap().value.to_sat();
        let (fee, rest) = (CAPACITY - value, value - to);
        assert_eq!((to + fee, rest), (paid / 1_000, CAPACITY - paid / 1_000));
    }
    device.stage.follow(0);
    device.stage.mine(4);
    device.stage.earn(0, 999);
    assert_eq!(device.stage.paid(0), msat(earned + 999));
}

/// The worker's own rule: it works while its risk is within what it allows.
#[test]
fn worker_whose_pool_stops_paying_loses_no_more_than_its_window() {
    let mut device = Device::open();
    let (share, risk) = (worth(700), msat(5_000));
    let mut window = WorkWindow::new(risk, device.stage.held(0));
    for _ in 0..20 {
        window.done(&share).unwrap();
        device.stage.credit(0, share);
        device.stage.settle_down();
        window.paid(device.stage.held(0));
        assert_eq!(window.at_risk(), Msat::ZERO);
    }
    // Its line is cut, or it pays no more: both look the same from here.
    let mut unpaid = 0;
    while window.may_work() {
        window.done(&share).unwrap();
        unpaid += 700;
    }
    assert_eq!(window.at_risk(), msat(unpaid));
    assert!(unpaid > 5_000 && unpaid <= 5_700);
    // A restart of the device does not open it again.
    let stored = window.to_bytes();
    device.reboot();
    let mut window = WorkWindow::from_bytes(risk, &stored).unwrap();
    window.paid(device.stage.held(0));
    assert!(!window.may_work());
    // The pool had the work, and pays: it goes on.
    device.stage.earn(0, unpaid);
    window.paid(device.stage.held(0));
    assert!(window.may_work());
    assert_eq!(window.at_risk(), Msat::ZERO);
}
