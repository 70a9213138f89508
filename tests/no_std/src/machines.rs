//! Two nodes without an operating system: terms, funding, payments, a restart, a settlement.

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{Amount, BlockHash, Network, OutPoint, Transaction, TxOut};
use millstream::keys::{Context, Entropy, Seed};
use millstream::meter::tariff::{Measure, Tariff};
use millstream::node::{Command, Config, Event, Input, LinkId, Node, Now, Outbox};
use millstream::signer::budget::{BudgetRecord, Policy};
use millstream::signer::{MemorySigner, PeerId, Signer};
use millstream::store::{MemoryStore, Store};
use millstream::stream::Terms;
use millstream::stream::payer::{Ending, Opening};
use millstream::tx::seen::{OutputStatus, Tip};
use millstream::tx::{ChangeScript, Delay, payee_script};
use millstream::units::{
    FeeRate, Height, KeyIndex, Msat, Price, Quantity, Sat, Seconds, SessionId, UtcSeconds,
};
use millstream::wire::{FrameReader, Message, write_frame};

const NET: Network = Network::Regtest;
const LINK: LinkId = LinkId(1);

type Done<T> = Result<T, Box<dyn Error>>;

/// A node, its store, and what it is told.
struct Machine {
    seed: [u8; 32],
    terms: Option<Terms>,
    node: Node<MemorySigner>,
    store: MemoryStore,
    events: Vec<Event>,
    broadcasts: usize,
}

impl Machine {
    fn new(seed: [u8; 32], terms: Option<Terms>) -> Done<Self> {
        let store = MemoryStore::default();
        let node = node(seed, terms.clone(), &store)?;
        Ok(Self { seed, terms, node, store, events: Vec::new(), broadcasts: 0 })
    }

    /// A power cut: nothing is left but the seed and the store.
    fn restart(&mut self) -> Done<()> {
        self.node = node(self.seed, self.terms.clone(), &self.store)?;
        Ok(())
    }

    fn tell(&mut self, input: Input) -> Done<()> {
        Ok(self.node.handle(&now()?, input)?)
    }

    /// Commits, answers what the node wants to know of the chain, and gives its frames.
    fn flush(&mut self, status: Option<&(OutPoint, OutputStatus)>) -> Done<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            let Outbox { broadcasts, sends, look_ups, events, .. } =
                self.node.flush(&now()?, &mut self.store)?;
            self.broadcasts += broadcasts.len();
            for (_, message) in sends {
                write_frame(&message, &mut frames)?;
            }
            self.events.extend(events);
            if look_ups.is_empty() {
                return Ok(frames);
            }
            for outpoint in look_ups {
                let seen = status.filter(|(at, _)| *at == outpoint).map(|(_, seen)| seen.clone());
                self.tell(Input::Output(outpoint, seen))?;
            }
        }
    }
}

fn node(seed: [u8; 32], terms: Option<Terms>, store: &dyn Store) -> Done<Node<MemorySigner>> {
    let all = Msat::new(100_000_000)?;
    let policy = Policy { hour: all, day: all, peer: all, slice: Msat::new(10_000_000)? };
    let (now, record) = (now()?, BudgetRecord::load(store)?);
    let mut signer = MemorySigner::new(Seed::new(seed), NET, policy, record.as_ref(), &now.aux)?;
    if record.is_none() {
        signer.release_day_budget_without_record(now.time)?;
    }
    let config = Config {
        network: NET,
        terms,
        tip_age_max: Seconds::new(7_200)?,
        resend_after: Seconds::new(1)?,
        pay_step: Msat::ZERO,
        relay_floor: FeeRate::new(100)?,
    };
    let mut node = Node::load(config, Context::new(), signer, store)?;
    node.handle(&now, Input::Tip(tip()?))?;
    Ok(node)
}

fn now() -> Done<Now> {
    Ok(Now { time: UtcSeconds::new(1_800_000_000)?, aux: Entropy::new([7; 32]) })
}

fn tip() -> Done<Tip> {
    let (height, time) = (Height::new(120)?, UtcSeconds::new(1_800_000_000)?);
    Ok(Tip { height, hash: BlockHash::all_zeros(), time })
}

/// Carries frames to and fro until both are silent.
fn talk(a: &mut Machine, b: &mut Machine, status: Option<&(OutPoint, OutputStatus)>) -> Done<()> {
    loop {
        let (to_b, to_a) = (a.flush(status)?, b.flush(status)?);
        if to_a.is_empty() && to_b.is_empty() {
            return Ok(());
        }
        for (frames, machine) in [(to_a, &mut *a), (to_b, &mut *b)] {
            let (mut reader, mut left) = (FrameReader::new(), &frames[..]);
            while let Some(bytes) = reader.read(&mut left)? {
                let message = Message::decode(bytes)?.ok_or("an unknown message")?;
                machine.tell(Input::Received(LINK, message))?;
            }
        }
    }
}

fn meet(car: &mut Machine, station: &mut Machine) -> Done<()> {
    car.tell(Input::Connected(LINK))?;
    station.tell(Input::Connected(LINK))
}

/// Pays `times` times what 150 kW cost in a second; what the payee holds at the end, in msat.
fn run(times: u64) -> Done<u64> {
    let context = Context::new();
    let base = Seed::new([1; 32]).base_key(&context, NET)?.public();
    let terms = Terms::from_text(&Terms::new(NET, base)?.to_text())?;
    let mut car = Machine::new([2; 32], None)?;
    let mut station = Machine::new([1; 32], Some(terms))?;
    meet(&mut car, &mut station)?;
    car.tell(Input::Do(Command::AskTerms(LINK)))?;
    talk(&mut car, &mut station, None)?;
    let terms = car.events.iter().find_map(|event| match event {
        Event::TermsReceived { terms, .. } => Some(terms.clone()),
        _ => None,
    });
    let terms = terms.ok_or("no terms")?;

    let (index, seed) = (KeyIndex::new(0)?, Seed::new([2; 32]));
    let key = seed.payer_key(&context, NET, index)?.public();
    let (delay, value, own) = (Delay::new(144)?, Sat::new(50_000)?, ChangeScript::Own);
    let view = car.node.view(now()?.time)?;
    let opening = Opening::new(&context, &terms, index, key, delay, value, own, &view)?;
    let script = opening.script().clone();
    let output = TxOut { value: Amount::from_sat(value.to_sat()), script_pubkey: script.clone() };
    let funding = Transaction {
        version: Version::non_standard(3),
        lock_time: LockTime::ZERO,
        input: Vec::new(),
        output: Vec::from([output]),
    };
    let outpoint = OutPoint { txid: funding.compute_txid(), vout: 0 };
    let backup = opening.funded(outpoint).1.seal(&seed.backup_key(NET));
    let (link, opening) = (Some(LINK), Box::new(opening));
    car.tell(Input::Do(Command::Fund { link, opening, funding, vout: 0, backup }))?;
    let confirmed = Some(Height::new(110)?);
    let status = OutputStatus { value, script, confirmed, truc: true, spent: None };
    car.tell(Input::Output(outpoint, Some(status.clone())))?;
    let status = (outpoint, status);
    talk(&mut car, &mut station, Some(&status))?;

    // A meter's price, by a tariff whose bytes travel.
    let price = Price::new(Msat::new(1)?, 8)?;
    let tariff = Tariff::flat(Measure::WattSecond, price)?;
    let tariff = Tariff::parse(&tariff.encode())?;
    let second = price.ceil_msat(Quantity::new(150_000)?)?;
    if tariff.hash().0 == [0; 32] || second != Msat::new(18_750)? {
        return Err("another price".into());
    }
    let session = SessionId::new(1)?;
    let budget = Msat::new(40_000_000)?;
    for time in 0..times {
        if time == times / 2 {
            car.restart()?;
            station.restart()?;
            meet(&mut car, &mut station)?;
            car.tell(Input::Output(outpoint, Some(status.1.clone())))?;
            station.tell(Input::Output(outpoint, Some(status.1.clone())))?;
            car.tell(Input::Do(Command::Attach { link: LINK, outpoint }))?;
            talk(&mut car, &mut station, Some(&status))?;
        }
        if time == 0 || time == times / 2 {
            car.node.signer_mut().open_session(PeerId::new(base), session, budget)?;
        }
        let ending = Ending::KeepsChange;
        car.tell(Input::Do(Command::Pay { outpoint, more: second, session, ending }))?;
        talk(&mut car, &mut station, Some(&status))?;
    }
    let (script, rate) = (payee_script(&context, base)?, FeeRate::new(1_000)?);
    let before = station.broadcasts;
    station.tell(Input::Do(Command::Settle { outpoints: Vec::from([outpoint]), script, rate }))?;
    talk(&mut car, &mut station, Some(&status))?;
    if car.broadcasts == 0 || station.broadcasts == before {
        return Err("nothing was broadcast".into());
    }
    car.node.check_invariants()?;
    station.node.check_invariants()?;
    let payee = station.node.payee(outpoint).ok_or("no channel")?;
    Ok(payee.paid().to_msat())
}

/// What a payee holds after so many payments, in msat; `u64::MAX` if anything was refused.
#[unsafe(no_mangle)]
pub extern "C" fn millstream_pays(times: u64) -> u64 {
    run(times).unwrap_or(u64::MAX)
}
