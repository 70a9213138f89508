//! The settlement planner through the node: a batch, a raise against the deadline, coins that pay
//! the fee, a restart in between; each on the simulated chain with its relay policy.

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut};
use millstream::keys::{Context, Seed};
use millstream::node::plan::{Cause, Forecast, Plan, Policy};
use millstream::node::{Command, NodeError};
use millstream::signer::{PeerId, Signer};
use millstream::sim::world::{EndId, Machine, World, WorldError};
use millstream::stream::payee::PayeePhase;
use millstream::stream::payer::{Ending, Opening};
use millstream::stream::{StreamError, Terms};
use millstream::tx::{ChangeScript, Delay, FeeInput};
use millstream::units::{Blocks, FeeRate, KeyIndex, Msat, Sat, SessionId, UtcSeconds};

const NETWORK: Network = Network::Regtest;
const CAPACITY: u64 = 40_000;
const DELAY: u16 = 144;
const MARGIN: u32 = 20;

fn sat(sat: u64) -> Sat {
    Sat::new(sat).unwrap()
}

fn blocks(blocks: u32) -> Blocks {
    Blocks::new(blocks).unwrap()
}

fn rate(rate: u64) -> FeeRate {
    FeeRate::new(rate).unwrap()
}

fn terms() -> Terms {
    let base = Seed::new([2; 32]).base_key(&Context::new(), NETWORK).unwrap().public();
    let mut terms = Terms::new(NETWORK, base).unwrap();
    terms.delay = (Delay::new(100).unwrap(), Delay::new(1_000).unwrap());
    terms.capacity = (sat(10_000), sat(10_000_000));
    terms.confirmation_depth = blocks(3);
    terms.settle_margin = blocks(MARGIN);
    terms.zero_conf_limit = sat(10_000);
    terms.expiry = UtcSeconds::new(u64::MAX).unwrap();
    terms
}

fn till() -> ScriptBuf {
    let context = Context::new();
    let key = Seed::new([2; 32]).coin_key(&context, NETWORK, KeyIndex::new(0).unwrap()).unwrap();
    ScriptBuf::new_p2tr(context.secp(), key.public(), None)
}

/// A station and a car for each channel, funded by one transaction and buried.
struct Lot {
    world: World,
    station: EndId,
    cars: Vec<(EndId, OutPoint)>,
    policy: Policy,
}

impl Lot {
    fn open(cars: u8) -> Self {
        let mut lot = Self::unconfirmed(cars);
        lot.mine(3);
        lot
    }

    /// The same before a block has the funding.
    fn unconfirmed(cars: u8) -> Self {
        let mut world = World::new().unwrap();
        let station = world.add(Machine::payee("station", [2; 32], terms())).unwrap();
        let context = Context::new();
        let mut openings = Vec::new();
        for car in 0..cars {
            let seed = [car + 10; 32];
            let end = world.add(Machine::payer("car", seed)).unwrap();
            let (seed, index) = (Seed::new(seed), KeyIndex::new(0).unwrap());
            let key = seed.payer_key(&context, NETWORK, index).unwrap().public();
            let view = world.end(end).unwrap().node().view(world.now().time).unwrap();
            let (delay, own) = (Delay::new(DELAY).unwrap(), ChangeScript::Own);
            let opening =
                Opening::new(&context, &terms(), index, key, delay, sat(CAPACITY), own, &view);
            openings.push((end, seed, opening.unwrap()));
        }
        let outputs =
            openings.iter().map(|(_, _, o)| (o.script().clone(), sat(CAPACITY))).collect();
        let (funding, outpoints) = world.fundings(outputs).unwrap();
        let mut lot = Self { world, station, cars: Vec::new(), policy: Policy::new(till()) };
        for ((end, seed, opening), outpoint) in openings.into_iter().zip(outpoints) {
            let link = lot.world.connect(end, station).unwrap();
            let (_, backup, _) = opening.funded(outpoint);
            let backup = backup.seal(&seed.backup_key(NETWORK));
            let (opening, funding, vout) = (Box::new(opening), funding.clone(), outpoint.vout);
            let fund = Command::Fund { link: Some(link), opening, funding, vout, backup };
            lot.world.command(end, fund).unwrap();
            lot.cars.push((end, outpoint));
        }
        lot.world.settle_down().unwrap();
        lot
    }

    fn mine(&mut self, count: u32) {
        self.world.settle_down().unwrap();
        self.world.mine(blocks(count));
        self.world.settle_down().unwrap();
    }

    /// Mines until a channel of the first funding is late by `blocks`.
    fn mine_to_late(&mut self, late: u32) {
        let payee = self.world.end(self.station).unwrap().node().payees().next().unwrap();
        let by = payee.last_call().unwrap().to_u32();
        let tip = self.world.chain().with(|chain| chain.tip()).height.to_u32();
        self.mine(by - 6 + late - tip);
    }

    /// A car pays outside the meter.
    fn pay(&mut self, car: usize, more_sat: u64) {
        let (end, outpoint) = self.cars[car];
        let session = SessionId::new(1_000).unwrap();
        let base = self.world.end(end).unwrap().node().payer(outpoint).unwrap().record().base();
        let signer = self.world.end_mut(end).unwrap().node_mut().signer_mut();
        let budget = Msat::new(CAPACITY * 1_000).unwrap();
        let _again = signer.open_session(PeerId::new(base), session, budget);
        let (more, ending) = (Msat::new(more_sat * 1_000).unwrap(), Ending::KeepsChange);
        self.world.command(end, Command::Pay { outpoint, more, session, ending }).unwrap();
        self.world.settle_down().unwrap();
    }

    fn plan(&self, at: u64, forecast: Option<Forecast>, coins: &[FeeInput]) -> Plan {
        let node = self.world.end(self.station).unwrap().node();
        node.plan(rate(at), forecast, coins, &self.policy).unwrap()
    }

    /// Does what the plan says, and gives the transactions that it made.
    fn settle(&mut self, plan: &Plan) -> Vec<Transaction> {
        // What was replaced is sent again at each tip, and refused.
        let _replaced = self.world.end_mut(self.station).unwrap().take_unsent();
        for group in &plan.groups {
            let (outpoints, script) = (group.outpoints.clone(), till());
            let settle = Command::Settle { outpoints, script, rate: group.rate };
            self.world.command(self.station, settle).unwrap();
            self.world.settle_down().unwrap();
        }
        assert_eq!(self.world.end_mut(self.station).unwrap().take_unsent(), []);
        self.mempool()
    }

    fn mempool(&self) -> Vec<Transaction> {
        self.world.chain().with(|chain| chain.mempool().cloned().collect())
    }

    fn night(&self, at: u64) -> Forecast {
        let from = self.world.chain().with(|chain| chain.tip()).height;
        Forecast { from, rate: rate(at) }
    }

    fn phase(&self, outpoint: OutPoint) -> Option<PayeePhase> {
        let node = self.world.end(self.station).unwrap().node();
        node.payee(outpoint).map(millstream::stream::Payee::phase)
    }
}

#[test]
fn night_settles_what_the_day_has_paid_in_one_transaction_and_the_rest_waits() {
    let mut lot = Lot::open(4);
    lot.pay(0, 9_000);
    lot.pay(1, 400);
    lot.pay(2, 160);
    // By day nothing is settled: the night is cheaper, and before every latest height.
    let by_day = lot.plan(5_000, Some(lot.night(1_000)), &[]);
    assert_eq!((by_day.groups.len(), by_day.waiting.len()), (0, 3));
    let plan = lot.plan(1_000, Some(lot.night(1_000)), &[]);
    // 160 sat are below the 205 of a settlement alone, and above the 151 of a place in it.
    assert_eq!(plan.groups.len(), 1);
    assert_eq!(plan.groups[0].outpoints.len(), 3);
    assert!(plan.waiting.is_empty() && plan.unworthy.is_empty());
    let unsecured = plan.risks.iter().filter(|risk| risk.cause == Cause::Fee);
    let mut amounts: Vec<_> = unsecured.map(|risk| risk.amount).collect();
    amounts.sort_unstable();
    assert_eq!(amounts, [sat(160), sat(400)]);
    let sent = lot.settle(&plan);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].weight(), plan.groups[0].weight);
    let paid_out = sent[0].output.last().unwrap();
    assert_eq!(
        (paid_out.value.to_sat(), &paid_out.script_pubkey),
        (plan.groups[0].brings.to_sat(), &till())
    );
    assert_eq!(plan.groups[0].brings.to_sat() + plan.groups[0].fee.to_sat(), 9_560);
    // Then it flies, and the channel without a voucher is not asked about.
    let again = lot.plan(1_000, Some(lot.night(1_000)), &[]);
    assert_eq!((again.groups.len(), again.in_flight.len()), (0, 3));
    lot.mine(4);
    for (car, (_, outpoint)) in lot.cars.iter().enumerate() {
        assert_eq!(lot.phase(*outpoint).is_none(), car < 3, "{car}");
    }
    assert_eq!(lot.plan(1_000, None, &[]), Plan::default());
}

#[test]
fn settlement_that_no_block_takes_is_raised_until_one_does() {
    let mut lot = Lot::open(2);
    lot.pay(0, 20_000);
    lot.pay(1, 20_000);
    lot.world.chain().with(|chain| chain.set_mining_rate(rate(4_000)));
    lot.mine_to_late(0);
    let first = lot.plan(1_000, None, &[]);
    assert_eq!((first.groups.len(), first.groups[0].rate), (1, rate(1_000)));
    let mut sent = lot.settle(&first);
    let mut rates = vec![1_000];
    for _ in 0..MARGIN {
        lot.mine(1);
        if lot.mempool().is_empty() {
            break;
        }
        let plan = lot.plan(1_000, None, &[]);
        let Some(group) = plan.groups.first() else {
            assert_eq!(plan.in_flight.len(), 2);
            continue;
        };
        assert_eq!(group.replaces, Some(sent[0].compute_txid()));
        rates.push(group.rate.to_sat_per_kvb());
        if rates.len() == 3 {
            // What is pending is known after a restart too.
            lot.world.reboot(lot.station).unwrap();
            lot.world.settle_down().unwrap();
        }
        sent = lot.settle(&plan);
        assert_eq!(sent.len(), 1, "replaced, not doubled");
    }
    assert_eq!(rates, [1_000, 1_500, 2_250, 3_375, 5_062]);
    let deadline = lot.world.end(lot.station).unwrap().node().payee(lot.cars[0].1);
    let deadline = deadline.unwrap().deadline().unwrap();
    let at = lot.world.chain().with(|chain| chain.tip()).height;
    assert!(at.saturating_after(blocks(6)) < deadline, "{at} of {deadline}");
    assert!(matches!(lot.phase(lot.cars[0].1), Some(PayeePhase::Spent { at: Some(_), .. })));
}

/// Signs the coins of a settlement of `outpoints` at the station's node, and sends it.
fn settle_with(
    lot: &mut Lot,
    outpoints: &[OutPoint],
    coins: &[FeeInput],
    at: FeeRate,
    between: impl FnOnce(&mut Lot),
) -> Result<(), WorldError> {
    let node = lot.world.end(lot.station).unwrap().node();
    let settlement = node.draft_settlement(outpoints, coins, till(), at).unwrap();
    let spent: Vec<TxOut> = settlement.spent().to_vec();
    let signed = lot.world.sign_coins(settlement.transaction(), &spent).unwrap();
    between(lot);
    let witnesses = signed.into_iter().rev().take(coins.len()).rev().collect();
    let settlement = Box::new(settlement);
    lot.world.command(lot.station, Command::SettleDrafted { settlement, witnesses })
}

/// Confirmed coins of the station's.
fn coins(lot: &mut Lot, values: &[u64]) -> Vec<FeeInput> {
    let mut coins = Vec::new();
    for value in values {
        let (tx, coin) = lot.world.coin(sat(*value)).unwrap();
        lot.world.chain().with(|chain| chain.submit(&tx)).unwrap();
        coins.push(coin);
    }
    lot.mine(1);
    coins
}

#[test]
fn batch_of_65_channels_with_two_coins_is_at_the_limit_of_version_3() {
    let mut lot = Lot::open(66);
    for car in 0..66 {
        lot.pay(car, 1_000 + car as u64);
    }
    let coins = coins(&mut lot, &[10_000, 5_000]);
    let plan = lot.plan(1_000, Some(lot.night(1_000)), &coins);
    let sizes: Vec<_> = plan.groups.iter().map(|group| group.outpoints.len()).collect();
    assert_eq!(sizes, [65, 1]);
    let full = plan.groups[0].clone();
    settle_with(&mut lot, &full.outpoints, &coins, full.rate, |_| ()).unwrap();
    lot.world.settle_down().unwrap();
    assert_eq!(lot.world.end_mut(lot.station).unwrap().take_unsent(), []);
    let sent = lot.mempool();
    // 214 + 65 x 603 + 2 x 230 weight units.
    assert_eq!((sent.len(), sent[0].weight().to_wu()), (1, 39_869));
    assert_eq!(sent[0].vsize(), 9_968);
    let brings: u64 = full.brings.to_sat() + full.fee.to_sat() + 15_000;
    let fee = rate(1_000).ceil_fee(39_869).unwrap().to_sat();
    assert_eq!(sent[0].output.last().unwrap().value.to_sat(), brings - fee);
    // Its coins are known to be spent, and the other channel does not wait for it.
    let next = lot.plan(1_000, Some(lot.night(1_000)), &coins);
    assert_eq!((next.groups.len(), next.in_flight.len()), (1, 65));
    lot.mine(4);
    assert!(full.outpoints.iter().all(|outpoint| lot.phase(*outpoint).is_none()));
}

#[test]
fn coin_lifts_an_output_that_would_be_dust_and_is_asked_for_only_then() {
    let mut lot = Lot::open(1);
    // 205 sat of fee and 330 of dust: 500 are not enough alone, and more than 262.
    lot.pay(0, 500);
    let coins = coins(&mut lot, &[1_000]);
    lot.mine_to_late(0);
    let without = lot.plan(1_000, None, &[]);
    assert_eq!((without.groups.len(), &without.unworthy[..]), (0, &[lot.cars[0].1][..]));
    let plan = lot.plan(1_000, None, &coins);
    let group = plan.groups[0].clone();
    assert_eq!(group.coin, Some(coins[0].outpoint()));
    assert_eq!((group.fee, group.brings), (sat(262), sat(1_238)));
    settle_with(&mut lot, &group.outpoints, &coins, group.rate, |_| ()).unwrap();
    lot.world.settle_down().unwrap();
    let sent = lot.mempool();
    assert_eq!(sent[0].weight(), group.weight);
    assert_eq!(sent[0].output.last().unwrap().value.to_sat(), 1_238);
    lot.mine(4);
    assert_eq!(lot.phase(lot.cars[0].1), None);
}

#[test]
fn settlement_whose_coin_is_spent_elsewhere_keeps_no_channel_in_flight() {
    let mut lot = Lot::open(1);
    lot.pay(0, 20_000);
    let coins = coins(&mut lot, &[1_000, 50_000]);
    lot.mine_to_late(0);
    let outpoint = lot.cars[0].1;
    // In a spike of fees: 262 vB for 10,480 sat, of which the coin bears 1,000.
    settle_with(&mut lot, &[outpoint], &coins[..1], rate(40_000), |_| ()).unwrap();
    lot.world.settle_down().unwrap();
    assert!(matches!(lot.phase(outpoint), Some(PayeePhase::Spent { at: None, .. })));
    let flies = lot.plan(1_000, None, &[]);
    assert_eq!((flies.groups.len(), &flies.in_flight[..]), (0, &[outpoint][..]));
    // The coin's owner spends it, for more.
    let spend = spend_of(&lot, &coins, 20_000);
    lot.world.chain().with(|chain| chain.submit(&spend)).unwrap();
    lot.mine(1);
    assert!(matches!(lot.phase(outpoint), Some(PayeePhase::Promised { .. })));
    let plan = lot.plan(1_000, None, &[]);
    assert_eq!((plan.groups.len(), plan.in_flight.len()), (1, 0), "{plan:?}");
    assert_eq!((plan.groups[0].rate, plan.groups[0].replaces), (rate(1_000), None));
    lot.settle(&plan);
    lot.mine(4);
    assert_eq!(lot.phase(outpoint), None);
}

/// All of these coins to the till, less `fee`.
fn spend_of(lot: &Lot, coins: &[FeeInput], fee: u64) -> Transaction {
    let spent: Vec<TxOut> = coins.iter().map(|coin| coin.output().clone()).collect();
    let input = coins.iter().map(|coin| TxIn {
        previous_output: coin.outpoint(),
        sequence: Sequence::MAX,
        ..TxIn::default()
    });
    let value = spent.iter().map(|output| output.value).sum::<Amount>() - Amount::from_sat(fee);
    let output = vec![TxOut { value, script_pubkey: till() }];
    let (version, lock_time) = (Version::TWO, LockTime::ZERO);
    let mut tx = Transaction { version, lock_time, input: input.collect(), output };
    for (at, witness) in lot.world.sign_coins(&tx, &spent).unwrap().into_iter().enumerate() {
        tx.input[at].witness = witness;
    }
    tx
}

#[test]
fn draft_that_a_payment_has_overtaken_is_refused_and_leaves_nothing() {
    let mut lot = Lot::open(1);
    lot.pay(0, 5_000);
    let coins = coins(&mut lot, &[1_000]);
    let outpoint = lot.cars[0].1;
    let late = |lot: &mut Lot| lot.pay(0, 1);
    let refused = settle_with(&mut lot, &[outpoint], &coins, rate(1_000), late);
    let (want, got) = (Msat::new(5_001_000).unwrap(), Msat::new(5_000_000).unwrap());
    let wrong = NodeError::Stream(StreamError::WrongProposal { want, got });
    assert!(matches!(&refused, Err(WorldError::Node(error)) if *error == wrong), "{refused:?}");
    let node = lot.world.end(lot.station).unwrap().node();
    let settlement = node.draft_settlement(&[outpoint], &coins, till(), rate(1_000)).unwrap();
    let command = Command::SettleDrafted { settlement: Box::new(settlement), witnesses: vec![] };
    assert!(lot.world.command(lot.station, command).is_err(), "without its witnesses");
    lot.world.settle_down().unwrap();
    assert_eq!(lot.phase(outpoint), Some(PayeePhase::Open));
    assert_eq!(lot.mempool(), []);
    // It is paid on as if nothing had been.
    lot.pay(0, 1);
    let refused = lot.world.end(lot.station).unwrap().refusals().count();
    assert_eq!(refused, 0);
    settle_with(&mut lot, &[outpoint], &coins, rate(1_000), |_| ()).unwrap();
    lot.world.settle_down().unwrap();
    assert_eq!(lot.mempool().len(), 1);
}

#[test]
fn channel_that_its_payer_refunds_settles_alone_and_voids_no_batch() {
    let mut lot = Lot::open(3);
    for car in 0..3 {
        lot.pay(car, 20_000);
    }
    // The payee slept over the deadline, and the first car's refund is in the mempool.
    let payee = lot.world.end(lot.station).unwrap().node().payee(lot.cars[0].1).unwrap();
    let deadline = payee.deadline().unwrap();
    let tip = lot.world.chain().with(|chain| chain.tip()).height;
    lot.mine(deadline.saturating_since(tip).to_u32());
    let (end, outpoint) = lot.cars[0];
    let refund = Command::Refund { outpoint, script: till(), rate: rate(1_000) };
    lot.world.command(end, refund).unwrap();
    lot.world.settle_down().unwrap();
    let plan = lot.plan(1_000, None, &[]);
    let mut groups: Vec<_> = plan.groups.iter().map(|group| group.outpoints.clone()).collect();
    groups.sort_by_key(Vec::len);
    assert_eq!(groups[0], [outpoint]);
    assert_eq!(groups[1].len(), 2);
    // Late by 26 blocks, which is all six steps: dearer than the refund, so that it is replaced.
    let sent = lot.settle(&plan);
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|tx| tx.version.0 == 3));
    assert_eq!(plan.groups[0].confirm_by, Some(deadline.saturating_before(blocks(MARGIN))));
}

#[test]
fn large_balances_on_an_unconfirmed_funding_settle_as_its_one_child() {
    let mut lot = Lot::unconfirmed(8);
    for car in 0..7 {
        lot.pay(car, 5_000);
    }
    lot.pay(7, 4_999);
    assert_eq!(lot.plan(1_000, None, &[]).groups, []);
    lot.policy.balance_max = sat(5_000);
    let plan = lot.plan(1_000, None, &[]);
    let sizes: Vec<_> = plan.groups.iter().map(|group| group.outpoints.len()).collect();
    assert_eq!((&sizes[..], plan.waiting.len()), (&[6][..], 2));
    assert!(plan.risks.iter().all(|risk| risk.cause == Cause::ZeroConf && risk.until.is_none()));
    let sent = lot.settle(&plan);
    assert_eq!((sent.len(), sent[1].vsize()), (2, 958));
    // The slot is taken.
    let next = lot.plan(1_000, None, &[]);
    assert_eq!((next.groups.len(), next.in_flight.len(), next.waiting.len()), (0, 6, 2));
    lot.mine(1);
    let then = lot.plan(1_000, None, &[]);
    // In a block the small one has time, and goes along.
    assert_eq!((then.groups.len(), then.groups[0].outpoints.len()), (1, 2));
    lot.settle(&then);
    lot.mine(4);
    assert!(lot.cars.iter().all(|(_, outpoint)| lot.phase(*outpoint).is_none()));
}
