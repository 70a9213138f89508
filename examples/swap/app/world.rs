//! Two chains, two parties, a line between them, and one plan of what goes wrong.

use millstream::keys::Context;
use millstream::store::MemoryStore;
use millstream::stream::payer::Opening;
use millstream::stream::{Payee, Payer};
use millstream::swap::{Deal, Leg, Policy, Role, Stage};
use millstream::tx::ChangeScript;
use millstream::tx::hold::{ClaimDelay, Preimage};
use millstream::units::{Blocks, Height, KeyIndex, Msat, Sat, Seconds, UtcSeconds};

use super::chains::{BEFORE, BEGIN, CAPACITY, Chain, FIRST, Kind, SECOND, Weather, till};
use super::ends::{AUX, In, Out, base_key, payer_key, session};
use super::party::{Cut, Lie, Message, Parts, Party, Sky, Stop};
use super::purse::{self, Purse};
use crate::common::Error;

/// The initiator, who pays on the first chain.
pub(crate) const ALICE: usize = 0;
/// The responder, who pays on the second one.
pub(crate) const BOB: usize = 1;
const NAMES: [&str; 2] = ["Alice", "Bob"];
/// Blocks of the second chain that are left to tell the secret, when the deal is made.
const PATIENCE: u32 = 24;
/// Blocks of the first chain that the offers may take.
const SPARE: u32 = 3;
/// Blocks of each chain after which everything is over.
const LAST: u32 = 40;

/// When a party whose power has gone is there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// At the next block.
    Soon,
    /// When its settlement on the chain that it is paid on has six blocks left: its policy counts
    /// on it there.
    InTime,
    /// When its settlement and its claim would be in the last blocks that there are.
    Last,
    /// Not any more.
    Never,
}

/// One party's power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vanish {
    pub(crate) who: usize,
    /// At which of its commits.
    pub(crate) at: u32,
    pub(crate) cut: Cut,
    pub(crate) back: Back,
}

/// What goes wrong in one swap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) weather: Weather,
    pub(crate) vanish: Option<Vanish>,
    /// By whom, and what.
    pub(crate) lies: [Option<Lie>; 2],
    /// The line breaks for good as soon as both holds stand.
    pub(crate) deaf: bool,
    /// How many blocks of each chain are replaced as often as its block count is a multiple of 9.
    pub(crate) reorg: u32,
}

impl Plan {
    pub(crate) const fn calm() -> Self {
        let lies = [None, None];
        Self { weather: Weather::Calm, vanish: None, lies, deaf: false, reorg: 0 }
    }
}

/// One height of the plot, or something that happened.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// Seconds since the deal.
    pub(crate) t: u64,
    pub(crate) heights: [u32; 2],
    pub(crate) what: Option<String>,
}

/// How it ended.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) purses: [Purse; 2],
    pub(crate) moments: Vec<Moment>,
    pub(crate) deal: Deal,
    /// Commits of each party.
    pub(crate) commits: [u32; 2],
    /// Whether the planned power cut happened, and after how much of the swap it was over.
    pub(crate) cut: bool,
    pub(crate) broken: Vec<String>,
    pub(crate) checks: u64,
}

/// Both channels open, deep and used; copied for each swap.
pub(crate) struct Stage0 {
    chains: [Chain; 2],
    payers: [Payer; 2],
    payees: [Payee; 2],
}

impl Stage0 {
    /// Opens both channels: payer and payee of channel n meet on chain n.
    pub(crate) fn new() -> Result<Self, Error> {
        let context = Context::new();
        let mut chains = [Chain::new(FIRST)?, Chain::new(SECOND)?];
        let (first, payer, payee) = open(&context, &mut chains[0], ALICE)?;
        let (second, other, its) = open(&context, &mut chains[1], BOB)?;
        debug_assert!(first == ALICE && second == BOB);
        Ok(Self { chains, payers: [payer, other], payees: [payee, its] })
    }
}

/// What a party's keys grow from.
pub(crate) const fn seed(who: usize) -> u8 {
    if who == ALICE { 1 } else { 2 }
}

fn open(context: &Context, chain: &mut Chain, pays: usize) -> Result<(usize, Payer, Payee), Error> {
    let kind = chain.kind;
    let (payer_seed, payee_seed) = (seed(pays), seed(1 - pays));
    let terms = kind.terms(base_key(context, kind.network, payee_seed)?)?;
    let key = payer_key(context, kind.network, payer_seed)?;
    let view = chain.view(BEGIN)?;
    let (delay, capacity, own) = (kind.refund()?, Sat::new(CAPACITY)?, ChangeScript::Own);
    let opening = Opening::new(context, &terms, KeyIndex::MIN, key, delay, capacity, own, &view)?;
    let outpoint = chain.fund(opening.script().clone(), CAPACITY)?;
    let (record, _, request) = opening.funded(outpoint);
    let mut payer = Payer::load(context, key, record)?;
    for _ in 0..=kind.depth {
        chain.mine()?;
    }
    let status = chain.output(outpoint).ok_or("the funding is gone")?;
    let now = chain.tip().time.to_u64();
    let view = chain.view(now)?;
    let mut payee = Payee::open(context, &terms, &request, Some(&status), &view)?;
    let seen = payer.notice(Some(&status), &view.tip)?;
    payer.apply(seen.record())?;
    // Something was paid before, so that settlements have an output of the payee's.
    let mut out = Out::first(context, payer, (payer_seed, &kind), UtcSeconds::new(now)?)?;
    let paid = Msat::new(BEFORE * 1_000)?;
    let step = out.payer.pay_held(context, &mut out.signer, paid, session(), &view, &AUX)?;
    let record = step.record().clone();
    let voucher = step.commit(&mut MemoryStore::default())?;
    out.payer.apply(&record)?;
    let accepted = payee.accept_held(context, &voucher, &view)?;
    payee.apply(accepted.record())?;
    Ok((pays, out.payer, payee))
}

/// The running swap.
pub(crate) struct World {
    plan: Plan,
    chains: [Chain; 2],
    parties: [Party; 2],
    here: [bool; 2],
    /// Messages on the line, with who gets them.
    line: Vec<(usize, Message)>,
    now: u64,
    deal: Deal,
    moments: Vec<Moment>,
    blocks: [u32; 2],
    cut: bool,
    checks: u64,
    broken: Vec<String>,
}

fn policy() -> Result<Policy, Error> {
    let lock_max = Seconds::new(3 * 86_400)?;
    Ok(Policy { first: FIRST.pace()?, second: SECOND.pace()?, lock_max })
}

impl World {
    /// Both channels stand; nothing is agreed.
    pub(crate) fn new(stage: &Stage0, plan: Plan, seed: u64) -> Result<Self, Error> {
        let context = Context::new();
        let mut chains = stage.chains.clone();
        for chain in &mut chains {
            chain.reseed(seed, plan.weather);
        }
        let now = chains.iter().map(|chain| chain.tip().time.to_u64()).max().unwrap_or(BEGIN);
        for chain in &mut chains {
            chain.next = now + chain.kind.spacing;
        }
        let deal = deal(stage, &chains, now, seed)?;
        let (alice, bob) = (party(&context, stage, ALICE, now)?, party(&context, stage, BOB, now)?);
        let mut parties = [alice, bob];
        for (party, lie) in parties.iter_mut().zip(plan.lies) {
            party.lie = lie;
        }
        if let Some(Vanish { who, at, cut, .. }) = plan.vanish {
            parties[who].cut = Some((at, cut));
        }
        Ok(Self {
            plan,
            chains,
            parties,
            here: [true; 2],
            line: Vec::new(),
            now,
            deal,
            moments: Vec::new(),
            blocks: [0; 2],
            cut: false,
            checks: 0,
            broken: Vec::new(),
        })
    }

    /// From the deal to the last block, and the money is counted.
    pub(crate) fn play(mut self, secret: Preimage) -> Result<Outcome, Error> {
        let began = self.now;
        let deal = self.deal;
        for who in [BOB, ALICE] {
            let secret = (who == ALICE).then_some(secret);
            self.run(who, |party, sky| party.begin(deal, secret, sky))?;
        }
        self.note(began);
        self.run(ALICE, Party::act)?;
        self.talk(began)?;
        while !self.is_over() {
            self.block()?;
            for who in [ALICE, BOB] {
                self.come_back(who)?;
                self.run(who, Party::watch)?;
                self.talk(began)?;
            }
            // Every machine's own check costs a signature's verification.
            if self.blocks.iter().sum::<u32>().is_multiple_of(16) {
                self.check();
            }
            self.note(began);
        }
        self.check();
        self.finish(began)
    }

    /// One party does something, unless it is off; and may be off after it.
    fn run(
        &mut self,
        who: usize,
        deed: impl FnOnce(&mut Party, &mut Sky<'_>) -> Result<(), Stop>,
    ) -> Result<(), Error> {
        if !self.here[who] {
            return Ok(());
        }
        let mut sky = Sky { chains: &mut self.chains, now: self.now };
        let party = &mut self.parties[who];
        match deed(party, &mut sky) {
            Ok(()) => {
                let to = 1 - who;
                self.line.extend(party.outbox.drain(..).map(|message| (to, message)));
                Ok(())
            }
            Err(Stop::Gone) => {
                party.outbox.clear();
                party.lines.push(format!("{} is gone", party.name));
                self.here[who] = false;
                self.cut = true;
                // What was on its way to it is lost, and what it had sent as well.
                self.line.clear();
                Ok(())
            }
            Err(Stop::Broken(error)) => Err(error),
        }
    }

    /// Messages go to and fro until nobody has anything to say.
    fn talk(&mut self, began: u64) -> Result<(), Error> {
        while let Some((to, message)) = (!self.line.is_empty()).then(|| self.line.remove(0)) {
            if self.here[to] && !self.is_deaf() {
                self.run(to, |party, sky| party.hear(&message, sky))?;
            }
            self.note(began);
        }
        Ok(())
    }

    /// Whether the line is broken: both holds stand, and the plan says so.
    fn is_deaf(&self) -> bool {
        let open = |who: usize| {
            let stage = self.parties[who].swap.map(|swap| swap.stage());
            matches!(stage, None | Some(Stage::Won { .. } | Stage::Stopped { .. }))
        };
        self.plan.deaf && (open(ALICE) || open(BOB))
    }

    /// The next block of either chain.
    fn block(&mut self) -> Result<(), Error> {
        let number = usize::from(self.chains[1].next < self.chains[0].next);
        self.now = self.chains[number].next;
        self.chains[number].mine()?;
        self.blocks[number] += 1;
        if self.plan.reorg > 0 && self.blocks[number].is_multiple_of(9) {
            self.chains[number].reorg(self.plan.reorg.min(self.chains[number].kind.depth - 1))?;
        }
        Ok(())
    }

    fn come_back(&mut self, who: usize) -> Result<(), Error> {
        let Some(Vanish { back, .. }) = self.plan.vanish else { return Ok(()) };
        let paid_on = 1 - self.parties[who].pays_on;
        let leg = if who == ALICE { &self.deal.second } else { &self.deal.first };
        let height = self.chains[paid_on].height();
        let back = match back {
            Back::Soon => true,
            Back::Never => false,
            Back::InTime => height >= leg.settle_by().saturating_before(Blocks::new(6)?),
            Back::Last => {
                let (k, one) = (leg.delay.to_blocks(), Blocks::new(1)?);
                height >= leg.expiry.saturating_before(k).saturating_before(one)
            }
        };
        if self.here[who] || !back {
            return Ok(());
        }
        self.here[who] = true;
        let kinds: [&Kind; 2] = [&FIRST, &SECOND];
        self.parties[who].restart(kinds, self.now)?;
        self.parties[who].lines.push(format!("{} is back", NAMES[who]));
        self.parties[1 - who].connected();
        Ok(())
    }

    fn is_over(&self) -> bool {
        if self.here == [true; 2] && self.parties.iter().all(|party| party.swap.is_none()) {
            return true;
        }
        let legs = [&self.deal.first, &self.deal.second];
        legs.into_iter()
            .zip(&self.chains)
            .all(|(leg, chain)| chain.height().to_u32() >= leg.expiry.to_u32() + LAST)
    }

    /// What must hold at any block.
    fn check(&mut self) {
        for who in [ALICE, BOB] {
            let party = &self.parties[who];
            self.checks += 1;
            let lost = party
                .swap
                .is_some_and(|swap| swap.is_lost() && matches!(swap.role(), Role::Responder));
            if lost && self.here[who] && !self.cut {
                self.broken.push(format!("{} has lost its leg", NAMES[who]));
            }
            self.checks += 2;
            let same = party.out.payer.check_invariants().is_ok();
            if !same || party.inn.payee.check_invariants(&party.context).is_err() {
                self.broken.push(format!("{}'s machines do not hold together", NAMES[who]));
            }
        }
    }

    fn note(&mut self, began: u64) {
        let heights = [0, 1].map(|number| self.chains[number].height().to_u32());
        let t = self.now - began;
        let lines = self.parties.iter_mut().flat_map(|party| party.lines.drain(..));
        let said: Vec<_> = lines.collect();
        if said.is_empty() {
            self.moments.push(Moment { t, heights, what: None });
        }
        self.moments.extend(said.into_iter().map(|what| Moment { t, heights, what: Some(what) }));
    }

    fn finish(mut self, began: u64) -> Result<Outcome, Error> {
        for who in [ALICE, BOB] {
            self.checks += 1;
            if let Some(swap) = self.parties[who].swap
                && self.here[who]
            {
                let stage = swap.stage().name();
                self.broken.push(format!("{} is still {stage}", NAMES[who]));
            }
        }
        // What is still in the channels is settled, by whoever is there.
        for payee in [ALICE, BOB] {
            if self.here[payee] {
                let now = self.now;
                purse::settle(&mut self.parties[payee], &mut self.chains, now)?;
            }
        }
        for chain in &mut self.chains {
            chain.mine()?;
        }
        self.note(began);
        let purses = [0, 1].map(|number| {
            let (payer, payee) = (&self.parties[number], &self.parties[1 - number]);
            purse::count(&self.chains[number], payer, payee)
        });
        let [first, second] = purses;
        Ok(Outcome {
            purses: [first?, second?],
            moments: self.moments,
            deal: self.deal,
            commits: [ALICE, BOB].map(|who| self.parties[who].commits),
            cut: self.cut,
            broken: self.broken,
            checks: self.checks,
        })
    }
}

/// What the two agree on.
fn deal(stage: &Stage0, chains: &[Chain; 2], now: u64, seed: u64) -> Result<Deal, Error> {
    let tips = millstream::swap::Tips {
        first: chains[0].tip(),
        second: chains[1].tip(),
        now: UtcSeconds::new(now)?,
    };
    let leg = |number: usize, expiry: Height| -> Result<Leg, Error> {
        let kind = chains[number].kind;
        let channel = stage.payers[number].outpoint();
        let (amount, delay) = (Sat::new(kind.amount)?, ClaimDelay::new(kind.k)?);
        Ok(Leg { channel, amount, expiry, delay, margin: Blocks::new(kind.margin)? })
    };
    let (policy, k) = (policy()?, u32::from(SECOND.k));
    let settling = policy.second.settling.to_u32();
    let second = chains[1].height().to_u32() + k + SECOND.margin + settling + PATIENCE;
    let second = leg(1, Height::new(second)?)?;
    let (delay, margin) = (ClaimDelay::new(FIRST.k)?, Blocks::new(FIRST.margin)?);
    let least = policy.first_expiry(second.expiry, delay, margin, &tips)?;
    let first = leg(0, least.saturating_after(Blocks::new(SPARE)?))?;
    Ok(Deal { hash: secret(seed).hash(), first, second })
}

/// Alice's secret; a real one is drawn by her operating system.
pub(crate) fn secret(seed: u64) -> Preimage {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    Preimage::new(bytes)
}

fn party(context: &Context, stage: &Stage0, who: usize, now: u64) -> Result<Party, Error> {
    let (seed, now) = (seed(who), UtcSeconds::new(now)?);
    let kinds = [FIRST, SECOND];
    let (pays, paid) = (&kinds[who], &kinds[1 - who]);
    let past = millstream::signer::Past::Unknown { from: None };
    let payer = stage.payers[who].clone();
    let first = Out::first(context, payer.clone(), (seed, pays), now)?;
    let mut out = Out::new(context, payer, first.monitor, (seed, pays), past, now)?;
    // This signer is new, and is shown what was paid before.
    let best = stage.payees[who].best_held().ok_or("nothing was paid")?;
    let resumed = out.payer.resume_held(context, &mut out.signer, &best)?;
    out.payer.apply(resumed.record())?;
    let inn = In::first(context, stage.payees[1 - who].clone(), (seed, paid), now)?;
    let tills = [till(context, &FIRST, seed)?, till(context, &SECOND, seed)?];
    let name = NAMES[who];
    Party::new(Parts { name, seed, pays_on: who, policy: policy()?, out, inn, tills })
}
