//! The stage of a story with channels: a simulated world some hours before its start, machines with
//! their seeds, channels by one funding transaction, and the night in which payees settle.
//!
//! ```text
//!  set ---> openings ---> fund (one transaction) ---> bury ---> wait_for(start) ... settle ---> night
//! ```

use bitcoin::{Network, OutPoint, ScriptBuf, Transaction};
use millstream::keys::{Context, Seed};
use millstream::node::Command;
use millstream::node::plan::{Forecast, Plan, Policy};
use millstream::sim::world::{EndId, Endpoint, Machine, World, WorldError};
use millstream::stream::Terms;
use millstream::stream::payer::Opening;
use millstream::tx::{ChangeScript, Delay};
use millstream::units::{Blocks, FeeRate, KeyIndex, Sat, UtcSeconds};

use super::books::Books;
use super::{Error, Sabotage};

/// The chain of every example.
pub(crate) const NETWORK: Network = Network::Regtest;
/// How deep fundings and spends are buried.
pub(crate) const DEPTH: u32 = 3;
/// 40 restarts leave half of a budget of all that is in the channel.
const SLICES: u64 = 80;
/// Before the start: time for the fundings' blocks.
const EARLY: u64 = 14_400;
/// Six hours: how long before a deadline a payee settles.
const SETTLE_MARGIN: u32 = 36;

/// A world whose clock is still before `start`, seconds UTC.
pub(crate) fn set(start: u64) -> Result<World, Error> {
    let mut world = World::new()?;
    let early = UtcSeconds::new(start - EARLY)?;
    world.chain().with(|chain| chain.mine_at(early))?;
    world.pass(early.saturating_since(world.now().time))?;
    Ok(world)
}

/// The clock shows `start`.
pub(crate) fn wait_for(world: &mut World, start: u64) -> Result<(), Error> {
    let now = world.now().time;
    Ok(world.pass(UtcSeconds::new(start)?.saturating_since(now))?)
}

/// What is on its way arrives, what is in the mempool confirms, and `depth` blocks bury it.
pub(crate) fn bury(world: &mut World, depth: u32) -> Result<(), Error> {
    world.settle_down()?;
    world.mine(Blocks::new(depth)?);
    world.settle_down()?;
    Ok(())
}

/// How every channel to a payee is: its delay, and what is put into it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// The refund delay, in blocks.
    pub(crate) delay: u16,
    /// The capacity, sat.
    pub(crate) capacity: u64,
}

impl Size {
    pub(crate) fn delay(self) -> Result<Delay, Error> {
        Ok(Delay::new(self.delay)?)
    }

    pub(crate) fn capacity(self) -> Result<Sat, Error> {
        Ok(Sat::new(self.capacity)?)
    }

    /// What a payee with this seed publishes.
    pub(crate) fn terms(self, context: &Context, seed: &[u8; 32]) -> Result<Terms, Error> {
        let base = Seed::new(*seed).base_key(context, NETWORK)?.public();
        let mut terms = Terms::new(NETWORK, base)?;
        let (delay, capacity) = (self.delay()?, self.capacity()?);
        (terms.delay, terms.capacity) = ((delay, delay), (capacity, capacity));
        terms.confirmation_depth = Blocks::new(DEPTH)?;
        terms.settle_margin = Blocks::new(SETTLE_MARGIN)?;
        Ok(terms)
    }

    /// A machine that pays: a restart costs a slice of each budget, and there can be many.
    pub(crate) fn paying(self, mut machine: Machine) -> Result<Machine, Error> {
        machine.policy.slice = Sat::new(self.capacity / SLICES)?.to_msat();
        Ok(machine)
    }

    /// A payer's channel to whoever published `terms`, not funded yet.
    pub(crate) fn opening(
        self,
        world: &World,
        context: &Context,
        payer: Payer<'_>,
        terms: &Terms,
        index: u32,
    ) -> Result<Opening, Error> {
        let index = KeyIndex::new(index)?;
        let key = Seed::new(*payer.seed).payer_key(context, NETWORK, index)?.public();
        let view = world.end(payer.end).ok_or("no payer")?.node().view(world.now().time)?;
        let (delay, capacity, own) = (self.delay()?, self.capacity()?, ChangeScript::Own);
        Ok(Opening::new(context, terms, index, key, delay, capacity, own, &view)?)
    }
}

/// Who pays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payer<'a> {
    /// Its machine.
    pub(crate) end: EndId,
    /// Its secret.
    pub(crate) seed: &'a [u8; 32],
}

/// The payer funds what it opened by output `vout` of `funding`. Returns the channel's script.
pub(crate) fn fund(
    world: &mut World,
    payer: Payer<'_>,
    opening: Opening,
    funding: &Transaction,
    outpoint: OutPoint,
) -> Result<ScriptBuf, Error> {
    let (_, backup, _) = opening.funded(outpoint);
    let backup = backup.seal(&Seed::new(*payer.seed).backup_key(NETWORK));
    let script = opening.script().clone();
    let (opening, funding, vout) = (Box::new(opening), funding.clone(), outpoint.vout);
    world.command(payer.end, Command::Fund { link: None, opening, funding, vout, backup })?;
    Ok(script)
}

/// False if the machine cannot do that now: it waits for its peer.
pub(crate) fn run(world: &mut World, end: EndId, command: Command) -> Result<bool, Error> {
    match world.command(end, command) {
        Ok(()) => Ok(true),
        Err(WorldError::Node(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What a payee holds of a channel by its best voucher, msat.
pub(crate) fn held(world: &World, payee: EndId, outpoint: OutPoint) -> u64 {
    let node = world.end(payee).map(Endpoint::node);
    let payee = node.and_then(|node| node.payee(outpoint));
    payee.map_or(0, |payee| payee.paid().to_msat())
}

/// A key of the seed's own, whose coins are the payee's.
pub(crate) fn till(context: &Context, seed: &[u8; 32]) -> Result<ScriptBuf, Error> {
    let coin = Seed::new(*seed).coin_key(context, NETWORK, KeyIndex::new(0)?)?;
    Ok(ScriptBuf::new_p2tr(context.secp(), coin.public(), None))
}

/// A payee settles what now is cheap enough for, by its own plan, in `most` transactions at most.
pub(crate) fn settle(
    world: &mut World,
    payee: EndId,
    till: &ScriptBuf,
    rate: FeeRate,
    most: usize,
) -> Result<Plan, Error> {
    let mut policy = Policy::new(till.clone());
    // Whatever the deadline: it is night, and no cheaper time is known.
    policy.early = Blocks::MAX;
    let from = world.chain().with(|chain| chain.tip()).height;
    let night = Some(Forecast { from, rate });
    let node = world.end(payee).ok_or("no payee")?.node();
    let mut plan = node.plan(rate, night, &[], &policy)?;
    plan.groups.truncate(most);
    for group in &plan.groups {
        let (outpoints, script) = (group.outpoints.clone(), till.clone());
        world.command(payee, Command::Settle { outpoints, script, rate: group.rate })?;
    }
    Ok(plan)
}

/// The night after the settlements: they confirm, are undone once by a reorg if anything goes wrong
/// (`reorg`), confirm again, and are buried.
pub(crate) fn night(world: &mut World, reorg: bool) -> Result<(), Error> {
    bury(world, 1)?;
    if reorg {
        let depth = Blocks::new(1)?;
        world.chain().with(|chain| chain.reorg(depth, &[vec![], vec![]]))?;
        world.settle_down()?;
    }
    world.mine(Blocks::new(DEPTH + 1)?);
    world.settle_down()?;
    Ok(())
}

/// What is wrong in the end, a check for each of the `books` and one for the world: the chain paid
/// the sellers what their vouchers say, in whole satoshis, and its invariants hold. Nothing, in a
/// good run.
pub(crate) fn wrong(
    world: &World,
    books: &[(&Books, u64)],
    sabotage: Option<Sabotage>,
) -> Vec<String> {
    let (mut wrong, mut stolen) = (Vec::new(), u64::from(sabotage == Some(Sabotage::Conservation)));
    for (books, due) in books {
        let (kept, due) = (books.to_payee + books.payee_fees(), due + stolen);
        if kept != due || !books.balance() {
            wrong.push(format!("the chain paid {kept} sat, the vouchers say {due}: {books:?}"));
        }
        stolen = 0;
    }
    if let Err(error) = world.check_invariants() {
        wrong.push(format!("in the end: {error}"));
    }
    wrong
}
