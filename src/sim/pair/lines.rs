//! The payer's channels: each a line of outpoints of one script, funded once, or again in place of
//! a funding that had not confirmed.

use bitcoin::hashes::Hash;
use bitcoin::{Network, OutPoint, Script, ScriptBuf, Transaction, WPubkeyHash, WScriptHash};

use super::Flaw;
use super::counters::Count;
use super::stage::{PAYER_SEED, Pair};
use crate::keys::Seed;
use crate::node::{Command, NodeError};
use crate::sim::world::WorldError;
use crate::stream::Payer;
use crate::stream::payer::{Opening, PayerPhase};
use crate::tx::{ChangeScript, WalletScript};
use crate::units::{KeyIndex, Sat};

/// 4 channels at once: enough for batches, few enough that each is used.
const LINES_MAX: usize = 4;
/// 3 tries: a power cut at the commit takes the channel back, and its owner tries again.
const TRIES: usize = 3;

/// One channel, whatever its outpoint.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) script: ScriptBuf,
    opening: Opening,
    /// The first, and what replaced it.
    fundings: Vec<(Transaction, OutPoint)>,
}

impl Pair {
    /// Funds a channel from the published terms and shows it; in half of the cases it is used at
    /// once, in the others it is buried first.
    pub(super) fn open(&mut self) -> Result<(), Flaw> {
        if self.lines.len() >= LINES_MAX {
            return self.pay();
        }
        let opening = self.opening()?;
        let (script, capacity) = (opening.script().clone(), opening.capacity());
        let version2 = self.is_wide() && self.dice.chance(250);
        let (funding, outpoint) = if version2 {
            self.world.funding_v2(script.clone(), capacity)?
        } else {
            self.world.funding(script.clone(), capacity)?
        };
        self.index = self.index.saturating_add(1);
        if !self.fund(&opening, &funding, outpoint)? {
            return Ok(());
        }
        if version2 {
            self.counters.count(Count::Version2);
        }
        self.lines.push(Line { script, opening, fundings: vec![(funding, outpoint)] });
        self.focus = self.lines.len().saturating_sub(1);
        if self.dice.chance(500) {
            self.mine(self.terms.confirmation_depth.to_u32())?;
        }
        Ok(())
    }

    /// Gives the payer a funding; whether it has taken it for good.
    fn fund(
        &mut self,
        opening: &Opening,
        funding: &Transaction,
        outpoint: OutPoint,
    ) -> Result<bool, Flaw> {
        let (_, backup, _) = opening.funded(outpoint);
        let key = Seed::new(PAYER_SEED).backup_key(Network::Regtest);
        for _ in 0..TRIES {
            if self.payer_of(outpoint).is_some() {
                break;
            }
            let command = Command::Fund {
                link: self.link,
                opening: Box::new(opening.clone()),
                funding: funding.clone(),
                vout: outpoint.vout,
                backup: backup.seal(&key),
            };
            self.command(self.payer, command)?;
        }
        Ok(self.payer_of(outpoint).is_some())
    }

    fn opening(&mut self) -> Result<Opening, Flaw> {
        let capacity = Sat::new(self.dice.within(20_000, 400_000))?;
        let change = if self.is_wide() { self.change()? } else { ChangeScript::Own };
        let node = self.world.end(self.payer).ok_or(WorldError::NoSuchEnd)?.node();
        let index = KeyIndex::new(self.index)?;
        let seed = Seed::new(PAYER_SEED);
        let key = seed.payer_key(node.context(), Network::Regtest, index);
        let key = key.map_err(|_| Flaw::Wedged { what: "the payer's key" })?.public();
        let view = node.view(self.world.now().time)?;
        let (terms, delay) = (&self.terms, self.delay);
        Opening::new(node.context(), terms, index, key, delay, capacity, change, &view)
            .map_err(|error| NodeError::from(error).into())
    }

    /// In half of the channels the own script, else a wallet's of one of the three kinds.
    fn change(&mut self) -> Result<ChangeScript, Flaw> {
        let (count, script) = match self.dice.below(6) {
            0 => (Count::ChangeP2tr, self.payers_script()),
            1 => {
                let hash = WPubkeyHash::from_byte_array([3; 20]);
                (Count::ChangeP2wpkh, ScriptBuf::new_p2wpkh(&hash))
            }
            2 => {
                let hash = WScriptHash::from_byte_array([4; 32]);
                (Count::ChangeP2wsh, ScriptBuf::new_p2wsh(&hash))
            }
            _ => return Ok(ChangeScript::Own),
        };
        self.counters.count(count);
        let script = WalletScript::parse(script).map_err(NodeError::from)?;
        Ok(ChangeScript::Wallet(script))
    }

    /// A funding that waits in the mempool is replaced by another of the same script.
    pub(super) fn replace_funding(&mut self) -> Result<(), Flaw> {
        let waits = |outpoint: OutPoint| {
            let status = self.world.chain().with(|chain| chain.output(outpoint));
            status.is_some_and(|status| status.confirmed.is_none())
        };
        let at = self.lines.iter().position(|line| {
            line.fundings.len() < TRIES && line.fundings.last().is_some_and(|(_, at)| waits(*at))
        });
        let Some((at, line)) = at.and_then(|at| Some((at, self.lines.get(at)?))) else {
            return self.open();
        };
        let Some((before, _)) = line.fundings.last().cloned() else { return Ok(()) };
        let (opening, script) = (line.opening.clone(), line.script.clone());
        let capacity = opening.capacity();
        let (funding, outpoint) = self.world.replacing_funding(&before, script, capacity)?;
        if before == funding {
            return Ok(());
        }
        if !self.fund(&opening, &funding, outpoint)? {
            return Ok(());
        }
        if let Some(line) = self.lines.get_mut(at) {
            line.fundings.push((funding, outpoint));
        }
        let gone = self.world.chain().with(|chain| {
            !chain.in_mempool(before.compute_txid()) && chain.in_mempool(outpoint.txid)
        });
        if gone {
            self.counters.count(Count::FundingReplaced);
        }
        Ok(())
    }

    /// Both owners forget a channel whose funding was replaced by one that is buried.
    pub(super) fn forget_unfunded(&mut self) -> Result<(), Flaw> {
        let depth = self.terms.confirmation_depth;
        let (tip, mut void) = (self.world.chain().with(|chain| chain.tip().height), Vec::new());
        for line in self.lines.iter().filter(|line| line.fundings.len() > 1) {
            let confirmed = |at: OutPoint| {
                let status = self.world.chain().with(|chain| chain.output(at));
                status.and_then(|status| status.confirmed)
            };
            let buried =
                |at: &OutPoint| confirmed(*at).is_some_and(|height| height.depth_at(tip) >= depth);
            let outpoints = line.fundings.iter().map(|(_, at)| *at);
            if outpoints.clone().any(|at| buried(&at)) {
                void.extend(outpoints.filter(|at| !buried(at)));
            }
        }
        for outpoint in void {
            for end in [self.payer, self.payee] {
                let node = self.world.end(end).ok_or(WorldError::NoSuchEnd)?.node();
                let known = node.payer(outpoint).is_some() || node.payee(outpoint).is_some();
                if known && self.command(end, Command::Abandon { outpoint })? {
                    self.counters.count(Count::Unfunded);
                }
            }
        }
        Ok(())
    }

    /// Whether the outpoint is that of a funding which replaced another.
    pub(super) fn is_replacing(&self, outpoint: OutPoint) -> bool {
        let mut replacing = self.lines.iter().flat_map(|line| line.fundings.iter().skip(1));
        replacing.any(|(_, at)| *at == outpoint)
    }

    /// Whether another funding replaced a channel's first, with all that had come out of that.
    pub(super) fn is_funded_again(&self, script: &Script) -> bool {
        self.lines.iter().any(|line| *line.script == *script && line.fundings.len() > 1)
    }

    /// Whether the channel's first transaction is of version 2.
    pub(super) fn is_version2(&self, outpoint: OutPoint) -> bool {
        let mut fundings = self.lines.iter().flat_map(|line| &line.fundings);
        let funding = fundings.find(|(_, at)| *at == outpoint);
        funding.is_some_and(|(tx, _)| tx.version == bitcoin::transaction::Version::TWO)
    }

    /// The fundings of one script that the payer signed vouchers on in this life.
    pub(super) fn check_one_outpoint(&self) -> Result<(), Flaw> {
        let seen = self.observer.seen();
        for line in &self.lines {
            let vouched = |at: &OutPoint| seen.is_vouched(*at) && self.payer_of(*at).is_some();
            let mut vouched = line.fundings.iter().map(|(_, at)| *at).filter(vouched);
            if let (Some(first), Some(second)) = (vouched.next(), vouched.next()) {
                return Err(Flaw::SecondOutpoint { first, second });
            }
        }
        Ok(())
    }

    /// Another channel comes to be the one that is used, if there is one.
    pub(super) fn turn(&mut self) {
        if self.lines.len() > 1 && self.dice.chance(300) {
            let lines = u64::try_from(self.lines.len()).unwrap_or(1);
            self.focus = usize::try_from(self.dice.below(lines)).unwrap_or(0);
        }
    }

    /// The channel that the payer pays on: unspent on the chain, and open.
    pub(super) fn current(&self) -> Option<OutPoint> {
        let here = self.lines.get(self.focus);
        here.and_then(|line| self.current_on(&line.script)).or_else(|| self.currents().next())
    }

    /// The outpoint of each channel that can be paid on.
    pub(super) fn currents(&self) -> impl Iterator<Item = OutPoint> + '_ {
        self.lines.iter().filter_map(|line| self.current_on(&line.script))
    }

    pub(super) fn current_on(&self, script: &Script) -> Option<OutPoint> {
        let open = |payer: &&Payer| {
            matches!(
                payer.phase(),
                PayerPhase::Open | PayerPhase::Unsure | PayerPhase::Leaving { .. }
            ) && **payer.channel().output().script() == *script
        };
        let node = self.world.end(self.payer)?.node();
        node.payers().filter(open).map(Payer::outpoint).find(|outpoint| {
            let status = self.world.chain().with(|chain| chain.output(*outpoint));
            status.is_some_and(|status| status.spent.is_none())
        })
    }

    pub(super) fn script_of(&self, outpoint: OutPoint) -> ScriptBuf {
        let channel = self.channels.get(&outpoint);
        channel.map(|channel| channel.output().script().clone()).unwrap_or_default()
    }
}
