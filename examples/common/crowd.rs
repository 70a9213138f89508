//! Many payers with a channel each to one payee, on a simulated chain.

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use millstream::chain::regtest::coinbase;
use millstream::keys::Context;
use millstream::node::{Command, LinkId};
use millstream::sim::world::{EndId, Fate, Machine, Weather, World};
use millstream::stream::Terms;
use millstream::units::{Blocks, Height, Sat};

use super::Error;
use super::books::Books;
use super::dice::Dice;
use super::stage::{self, DEPTH, Payer, Size, till};

/// 200 channels a funding transaction: 8,700 vB, below the 10,000 of version 3.
const FUNDED_AT_ONCE: usize = 200;
/// 1,000 channels are shown to the payee at once, so that no line is looked for among many more.
const SHOWN_AT_ONCE: usize = 1_000;
/// What a funding pays for each of its outputs, and for the rest of it: above 1 sat/vB.
const FEE: (u64, u64) = (50, 200);

/// Who meets where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// The payee, and each of its payers, in logs.
    pub(crate) names: (&'static str, &'static str),
    /// When the clock starts, seconds UTC.
    pub(crate) start: u64,
    /// How many payers.
    pub(crate) count: u64,
    /// Their channels.
    pub(crate) size: Size,
    /// What the payee's terms are beside what the setting says.
    pub(crate) terms: fn(&mut Terms) -> Result<(), Error>,
}

/// Loses single messages, and all of one machine's.
#[derive(Debug)]
pub(crate) struct Lossy {
    /// Which.
    pub(crate) dice: Dice,
    /// Of a million.
    pub(crate) ppm: u64,
    /// Whose messages never arrive.
    pub(crate) mute: Option<EndId>,
}

impl Weather for Lossy {
    fn fate(&mut self, from: EndId, _bytes: usize) -> Fate {
        let lost = self.dice.chance(self.ppm);
        if lost || self.mute == Some(from) { Fate::Lost } else { Fate::Arrives }
    }
}

/// A payer and its channel.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its machine.
    pub(crate) end: EndId,
    /// Its connection, while it has one.
    pub(crate) link: Option<LinkId>,
    /// Where its channel is.
    pub(crate) outpoint: OutPoint,
    /// Its channel's script.
    pub(crate) script: ScriptBuf,
}

/// All of them, and the chain.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// Machines, links, chain, time.
    pub(crate) world: World,
    /// Who is paid.
    pub(crate) payee: EndId,
    /// What it published.
    pub(crate) terms: Terms,
    /// Who pays.
    pub(crate) members: Vec<Member>,
    /// Where the channels were funded.
    pub(crate) fundings: Vec<OutPoint>,
    /// Where the payee's money goes.
    pub(crate) till: ScriptBuf,
    context: Context,
}

impl Crowd {
    /// Opens a channel for each payer, so that all are buried when the clock shows the start.
    pub(crate) fn open(setting: &Setting, seed: u64) -> Result<Self, Error> {
        let mut world = stage::set(setting.start)?;
        let (context, mut dice) = (Context::new(), Dice::new(seed, "seeds"));
        let secret = dice.secret();
        let mut terms = setting.size.terms(&context, &secret)?;
        (setting.terms)(&mut terms)?;
        let payee = world.add(Machine::payee(setting.names.0, secret, terms.clone()))?;
        let till = till(&context, &secret)?;
        let (members, fundings) = (Vec::new(), Vec::new());
        let mut crowd = Self { world, payee, terms, members, fundings, till, context };
        let seeds: Vec<[u8; 32]> = (0..setting.count).map(|_| dice.secret()).collect();
        crowd.open_all(setting, &seeds)?;
        stage::wait_for(&mut crowd.world, setting.start)?;
        Ok(crowd)
    }

    fn open_all(&mut self, setting: &Setting, seeds: &[[u8; 32]]) -> Result<(), Error> {
        let groups: Vec<&[[u8; 32]]> = seeds.chunks(FUNDED_AT_ONCE).collect();
        let value = |group: &[[u8; 32]]| -> Result<Sat, Error> {
            let outputs = u64::try_from(group.len())?;
            Ok(Sat::new(outputs * (setting.size.capacity + FEE.0) + FEE.1)?)
        };
        let values = groups.iter().map(|group| value(group)).collect::<Result<Vec<_>, Error>>()?;
        let coins = self.coins(&values)?;
        for (group, coin) in groups.into_iter().zip(coins) {
            self.open_some(setting, group, coin)?;
        }
        stage::bury(&mut self.world, DEPTH)?;
        self.show_all()
    }

    /// The payee takes up every channel once it is deep: it keeps few that are in no block.
    fn show_all(&mut self) -> Result<(), Error> {
        let all: Vec<usize> = (0..self.members.len()).collect();
        for some in all.chunks(SHOWN_AT_ONCE) {
            for member in some {
                self.connect(*member)?;
            }
            self.world.settle_down()?;
            for member in some {
                self.disconnect(*member)?;
            }
        }
        let open = self.world.end(self.payee).ok_or("no payee")?.node().payees().count();
        let all = all.len();
        if open == all { Ok(()) } else { Err(format!("{open} of {all} channels are open").into()) }
    }

    /// Confirmed coins of the faucet: one of each value.
    fn coins(&mut self, values: &[Sat]) -> Result<Vec<(OutPoint, TxOut)>, Error> {
        let miner = coinbase(Height::MIN).output.into_iter().next().ok_or("no coinbase")?;
        let script = miner.script_pubkey;
        let outputs = values.iter().map(|value| (script.clone(), *value)).collect();
        let (tx, outpoints) = self.world.fundings(outputs)?;
        self.world.chain().with(|chain| chain.submit(&tx))?;
        self.world.mine(Blocks::new(1)?);
        Ok(outpoints.into_iter().zip(tx.output).collect())
    }

    /// One funding transaction for all of these payers.
    fn open_some(
        &mut self,
        setting: &Setting,
        seeds: &[[u8; 32]],
        coin: (OutPoint, TxOut),
    ) -> Result<(), Error> {
        let capacity = setting.size.capacity()?;
        let mut openings = Vec::with_capacity(seeds.len());
        for seed in seeds {
            let machine = setting.size.paying(Machine::payer(setting.names.1, *seed))?;
            let end = self.world.add(machine)?;
            let payer = Payer { end, seed };
            let size = setting.size;
            openings
                .push((payer, size.opening(&self.world, &self.context, payer, &self.terms, 0)?));
        }
        let scripts = openings.iter().map(|(_, opening)| opening.script().clone());
        let funding = self.fund(coin, scripts, capacity)?;
        let txid = funding.compute_txid();
        for ((payer, opening), vout) in openings.into_iter().zip(0..) {
            let outpoint = OutPoint { txid, vout };
            let script = stage::fund(&mut self.world, payer, opening, &funding, outpoint)?;
            self.members.push(Member { end: payer.end, link: None, outpoint, script });
            self.fundings.push(outpoint);
        }
        Ok(())
    }

    /// All of `coin` but the fee, to the channels' scripts.
    fn fund(
        &self,
        (previous_output, coin): (OutPoint, TxOut),
        scripts: impl Iterator<Item = ScriptBuf>,
        capacity: Sat,
    ) -> Result<Transaction, Error> {
        let value = Amount::from_sat(capacity.to_sat());
        let output = scripts.map(|script_pubkey| TxOut { value, script_pubkey }).collect();
        let sequence = Sequence::ENABLE_RBF_NO_LOCKTIME;
        let (script_sig, witness) = (ScriptBuf::new(), Witness::new());
        let input = vec![TxIn { previous_output, script_sig, sequence, witness }];
        let mut tx = Transaction { version: Version(3), lock_time: LockTime::ZERO, input, output };
        let witnesses = self.world.sign_coins(&tx, &[coin])?;
        for (input, witness) in tx.input.iter_mut().zip(witnesses) {
            input.witness = witness;
        }
        Ok(tx)
    }

    /// The clock, seconds UTC.
    pub(crate) fn utc(&self) -> u64 {
        self.world.now().time.to_u64()
    }

    /// A payer comes, or is back, and takes up its channel.
    pub(crate) fn connect(&mut self, member: usize) -> Result<(), Error> {
        let payee = self.payee;
        let member = self.members.get_mut(member).ok_or("no payer")?;
        let link = self.world.connect(member.end, payee)?;
        member.link = Some(link);
        let attach = Command::Attach { link, outpoint: member.outpoint };
        Ok(self.world.command(member.end, attach)?)
    }

    /// A payer's line is gone.
    pub(crate) fn disconnect(&mut self, member: usize) -> Result<(), Error> {
        let member = self.members.get_mut(member).ok_or("no payer")?;
        match member.link.take() {
            Some(link) => Ok(self.world.disconnect(link)?),
            None => Ok(()),
        }
    }

    /// A machine loses power, the payee's if no member's; its connections are gone.
    pub(crate) fn reboot(&mut self, member: Option<usize>) -> Result<(), Error> {
        let end = if let Some(member) = member {
            let member = self.members.get_mut(member).ok_or("no payer")?;
            member.link = None;
            member.end
        } else {
            for member in &mut self.members {
                member.link = None;
            }
            self.payee
        };
        Ok(self.world.reboot(end)?)
    }

    /// What the chain did with the channels' money.
    pub(crate) fn books(&self) -> Books {
        let channels = self.members.iter().map(|member| (member.outpoint, member.script.clone()));
        Books::of(&self.world, channels, [self.till.clone()])
    }

    /// Commits and barriers of every store.
    pub(crate) fn commits(&self) -> (u64, u64) {
        let ends = self.members.iter().map(|member| member.end).chain([self.payee]);
        ends.filter_map(|end| self.world.end(end)).fold((0, 0), |sum, end| {
            (sum.0 + end.store().commits(), sum.1 + end.store().barriers())
        })
    }

    /// All messages that were sent, and their bytes with their frames.
    pub(crate) fn wire(&self) -> (u64, u64) {
        let sent = self.world.sent().values();
        sent.fold((0, 0), |sum, sent| {
            (sum.0 + sent.messages, sum.1 + sent.bytes + 2 * sent.messages)
        })
    }
}
