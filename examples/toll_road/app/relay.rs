//! Gantry, hub and owners: what they say to each other about bundles, over lines that lose it, with
//! power cuts at any write.

use bitcoin::{OutPoint, ScriptBuf};
use millstream::hub::{Duty, Hub, Policy};
use millstream::keys::Context;
use millstream::signer::Past;
use millstream::sim::world::World;
use millstream::store::fault::Cut;
use millstream::stream::payee::Payee;
use millstream::stream::payer::{Opening, Payer};
use millstream::stream::{HoldRules, HoldVoucher, Terms, View};
use millstream::tx::hold::{ClaimDelay, PaymentHash, Preimage};
use millstream::tx::{ChangeScript, Delay};
use millstream::units::{Blocks, FeeRate, Height, KeyIndex, Msat, Ppm, Sat, Seconds};

use super::desk::{Desk, Toll, seal};
use super::hub::{Middle, Order};
use super::owner::Owner;
use super::road::OWNERS;
use super::sender::Sender;
use crate::common::Error;
use crate::common::dice::Dice;
use crate::common::stage::{DEPTH, NETWORK};

/// A day and a half to claim a hold after its settlement: more than the hub's reaction and depth.
const K: u16 = 12;
const MARGIN: u32 = 36;
const DELAY: u16 = 1_008;
/// The smallest bundle, sat: what is below waits for the next minute.
pub(crate) const LEAST: u64 = 1_000;
/// How long an owner has for a bundle, blocks: it must be worth settling for it, k and the margin.
const EXPIRY: u32 = 72;

/// The four channels and who they are between.
pub(crate) struct Relay {
    /// The gantry.
    pub(crate) sender: Sender,
    /// The hub.
    pub(crate) middle: Middle,
    /// The owners.
    pub(crate) owners: [Owner; OWNERS.len()],
    /// Bundles that were offered.
    pub(crate) bundles: u64,
    /// Their bytes, on both ways.
    pub(crate) bytes: u64,
    /// What was lost on the way.
    pub(crate) lost: u64,
    /// How many of a million messages are.
    pub(crate) ppm: u64,
    /// Where the channels were funded, and their scripts.
    pub(crate) fundings: Vec<(OutPoint, ScriptBuf)>,
    context: Context,
    dice: Dice,
    /// The hub has said that it has the order of each owner's bundle.
    ordered: [bool; OWNERS.len()],
    /// The gantry's last fold, and the hub's to each owner, have been answered.
    answered: (bool, [bool; OWNERS.len()]),
    /// The hub's power goes at one of its next writes.
    cutting: bool,
}

impl Relay {
    /// Opens the channels; they are deep when this is done.
    pub(crate) fn open(world: &mut World, seed: u64, capacity: u64) -> Result<Self, Error> {
        let (context, mut dice) = (Context::new(), Dice::new(seed, "relay"));
        let now = world.now().time;
        let desks = [(); OWNERS.len()].map(|()| Desk::new(&mut dice, Vec::new(), now));
        let [motorway, bridge, tunnel] = desks;
        let desks = [motorway?, bridge?, tunnel?];
        let mut bases = Vec::new();
        for desk in &desks {
            bases.push(desk.base(&context)?);
        }
        let hub = Desk::new(&mut dice, bases.clone(), now)?;
        let base = hub.base(&context)?;
        let gantry = Desk::new(&mut dice, vec![base], now)?;
        let mut openings = vec![opening(&context, world, &gantry, 0, base, capacity)?];
        for (index, base) in (0..).zip(&bases) {
            openings.push(opening(&context, world, &hub, index, *base, capacity)?);
        }
        let outpoints = fund(world, &openings)?;
        let scripts = openings.iter().map(|(_, opening)| opening.script().clone());
        let fundings = outpoints.iter().copied().zip(scripts).collect();
        let mut desks = desks.into_iter();
        let mut ends = openings.into_iter().zip(outpoints);
        let (first, at) = ends.next().ok_or("no channel")?;
        let (mut gantry, mut hub) = (gantry, hub);
        let (payer, payee) = opened(&context, world, (&mut gantry, &mut hub), first, at, 0)?;
        let (gone, flying) = Default::default();
        let sender = Sender { desk: gantry, payer, hub: base, gone, flying, round: 0 };
        let mut next = |index: u32| -> Result<(Payer, Owner), Error> {
            let mut desk = desks.next().ok_or("no owner")?;
            let (one, at) = ends.next().ok_or("no channel")?;
            let ends = (&mut hub, &mut desk);
            let (payer, payee) = opened(&context, world, ends, one, at, index)?;
            let tolls = std::collections::BTreeMap::new();
            Ok((payer, Owner { desk, payee, tolls, items: 0 }))
        };
        let ((a, motorway), (b, bridge), (c, tunnel)) = (next(0)?, next(1)?, next(2)?);
        let (margin, delay, table) =
            (Blocks::new(MARGIN)?, ClaimDelay::new(K)?, Hub::new(policy()?)?);
        let middle = Middle { desk: hub, hub: table, payee, payers: [a, b, c], margin, delay };
        let (owners, answered) = ([motorway, bridge, tunnel], (true, [true; OWNERS.len()]));
        let (bundles, bytes, lost, ppm) = (0, 0, 0, 0);
        let (ordered, cutting) = ([false; OWNERS.len()], false);
        Ok(Self {
            sender,
            middle,
            owners,
            bundles,
            bytes,
            lost,
            ppm,
            fundings,
            context,
            dice,
            ordered,
            answered,
            cutting,
        })
    }

    /// The hub's power will go around one of its next writes.
    pub(crate) fn cut_hub(&mut self, writes: u64) {
        let side = if writes.is_multiple_of(2) { Cut::Before } else { Cut::After };
        let store = &mut self.middle.desk.store;
        store.cut_at(store.commits() + writes, side);
        self.cutting = true;
    }

    /// The gantry loses power.
    pub(crate) fn restart_sender(&mut self, world: &World) -> Result<(), Error> {
        let now = world.now().time;
        self.sender.restart(&self.context, now)?;
        self.sender.desk.reserve(now)?;
        let Sender { desk, payer, .. } = &mut self.sender;
        desk.resume(&self.context, payer, &self.middle.payee)?;
        self.ordered = [false; OWNERS.len()];
        // Whether its last word was heard is forgotten too.
        self.answered.0 = false;
        Ok(())
    }

    /// Offers what is due to each owner, and does whatever can be done about what is on its way.
    pub(crate) fn pump(
        &mut self,
        world: &World,
        due: &[Vec<Toll>; OWNERS.len()],
    ) -> Result<(), Error> {
        let view = view(world)?;
        self.sender.desk.reserve(view.now)?;
        self.middle.desk.reserve(view.now)?;
        for (owner, due) in due.iter().enumerate() {
            let done = self.send(owner, due, &view).and_then(|()| self.work(owner, &view));
            match done {
                Err(_) if self.cutting => self.restart_hub(world)?,
                done => done?,
            }
        }
        if self.cutting { self.restart_hub(world) } else { Ok(()) }
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        let flying = self.sender.flying.iter().any(Option::is_some);
        let answered = self.answered == (true, [true; OWNERS.len()]);
        !flying && answered && self.middle.hub.forwards().next().is_none()
    }

    fn restart_hub(&mut self, world: &World) -> Result<(), Error> {
        self.cutting = false;
        self.answered.1 = [false; OWNERS.len()];
        let Self { middle, owners, context, .. } = self;
        middle.restart(context, owners, world.now().time)
    }

    /// The gantry's part.
    fn send(&mut self, owner: usize, due: &[Toll], view: &View) -> Result<(), Error> {
        let flying = self.sender.flying.get(owner).and_then(Option::as_ref).cloned();
        let total: u64 = due.iter().map(|(_, toll)| toll).sum();
        let mut voucher = None;
        let flying = match flying {
            None if total >= LEAST * 1_000 => {
                voucher = Some(self.offer(owner, due, total, view)?);
                self.sender.flying.get(owner).and_then(Option::as_ref).cloned()
            }
            flying => flying,
        };
        if let Some(flying) = flying.filter(|_| !self.is_ordered(owner)) {
            let voucher = match voucher {
                Some(voucher) => voucher,
                None => self.repeat_sender(view)?,
            };
            let (round, hash, bytes) = (flying.round, flying.hash, &flying.bytes[..]);
            let order = Order { owner, round, hash, expiry: flying.expiry, bytes };
            if let Some(answered) = self.tell_hub(&voucher, Some(&order), view)? {
                set(&mut self.ordered, owner, answered);
            }
        }
        if !self.answered.0 {
            let voucher = self.repeat_sender(view)?;
            self.answered.0 = self.tell_hub(&voucher, None, view)? == Some(true);
        }
        Ok(())
    }

    fn is_ordered(&self, owner: usize) -> bool {
        self.ordered.get(owner) == Some(&true)
    }

    /// A new bundle: the tolls, and what the hub asks.
    fn offer(
        &mut self,
        owner: usize,
        due: &[Toll],
        total: u64,
        view: &View,
    ) -> Result<HoldVoucher, Error> {
        let round = self.sender.round;
        let hash = self.owners.get(owner).ok_or("no such owner")?.hash(round);
        let policy = self.middle.hub.policy();
        let fee = policy.fee(Msat::new(total)?)?.to_msat();
        let channel = (self.sender.payer.outpoint(), self.sender.hub);
        let sealed = seal(channel, round, due, Some(fee))?;
        let (k, margin) = (self.middle.delay, self.middle.margin);
        let expiry = Height::new(view.tip.height.to_u32() + EXPIRY)?;
        let until = policy.expiry(expiry, k, margin)?;
        set(&mut self.ordered, owner, false);
        self.bundles += 1;
        self.sender.offer(&self.context, owner, (hash, until, expiry), &sealed, view)
    }

    fn repeat_sender(&mut self, view: &View) -> Result<HoldVoucher, Error> {
        let Sender { desk, payer, .. } = &mut self.sender;
        desk.repeat(&self.context, payer, super::desk::session(0)?, view)
    }

    /// Whether the gantry heard the answer; none if the hub heard nothing.
    fn tell_hub(
        &mut self,
        voucher: &HoldVoucher,
        order: Option<&Order<'_>>,
        view: &View,
    ) -> Result<Option<bool>, Error> {
        if self.is_lost() {
            return Ok(None);
        }
        self.bytes += order.map_or(0, |order| order.bytes.len() as u64);
        self.middle.take(&self.context, voucher, order, view)?;
        Ok(Some(!self.is_lost()))
    }

    /// The hub's part, for one owner and for the gantry.
    fn work(&mut self, owner: usize, view: &View) -> Result<(), Error> {
        if let Some(hash) = self.middle.offered(owner) {
            let voucher = self.middle.repeat(&self.context, owner, view)?;
            self.tell_owner(owner, &voucher, hash, view)?;
        }
        // A preimage makes duties of its own.
        for _ in 0..2 {
            for duty in self.middle.duties(view) {
                self.do_one(&duty, view)?;
            }
        }
        if self.answered.1.get(owner) == Some(&false) {
            let voucher = self.middle.repeat(&self.context, owner, view)?;
            self.fold_to_owner(owner, &voucher, view)?;
        }
        Ok(())
    }

    fn do_one(&mut self, duty: &Duty, view: &View) -> Result<(), Error> {
        match *duty {
            Duty::Offer { incoming, hash, onward } => {
                let owner = self.middle.owner_of(onward.channel)?;
                let voucher = self.middle.offer(&self.context, (incoming, hash, onward), view)?;
                self.tell_owner(owner, &voucher, hash, view)
            }
            Duty::Fulfil { incoming, preimage } => {
                self.middle.fulfil(incoming.id, preimage, view)?;
                if self.is_lost() { Ok(()) } else { self.fold_to_hub(&preimage, view) }
            }
            Duty::Fold { outgoing, preimage } => {
                let (owner, voucher) =
                    self.middle.fold(&self.context, outgoing, &preimage, view)?;
                self.fold_to_owner(owner, &voucher, view)
            }
            // Nobody here keeps a preimage or money back until a deadline comes.
            _ => Err(format!("the hub must {duty:?}").into()),
        }
    }

    fn tell_owner(
        &mut self,
        owner: usize,
        voucher: &HoldVoucher,
        hash: PaymentHash,
        view: &View,
    ) -> Result<(), Error> {
        if self.is_lost() {
            return Ok(());
        }
        let (round, bytes) = self.middle.bundle(hash)?;
        self.bytes += bytes.len() as u64;
        let at = self.owners.get_mut(owner).ok_or("no such owner")?;
        let preimage = at.take(&self.context, voucher, (round, &bytes), view)?;
        match preimage.filter(|_| !self.is_lost()) {
            Some(preimage) => self.middle.learn(preimage),
            None => Ok(()),
        }
    }

    fn fold_to_owner(
        &mut self,
        owner: usize,
        voucher: &HoldVoucher,
        view: &View,
    ) -> Result<(), Error> {
        set(&mut self.answered.1, owner, false);
        if !self.is_lost() {
            let at = self.owners.get_mut(owner).ok_or("no such owner")?;
            let _paid = at.take(&self.context, voucher, (u64::MAX, &[]), view)?;
            let heard = !self.is_lost();
            set(&mut self.answered.1, owner, heard);
        }
        Ok(())
    }

    /// The gantry has the preimage, and pays the hub.
    fn fold_to_hub(&mut self, preimage: &Preimage, view: &View) -> Result<(), Error> {
        let hash = preimage.hash();
        let flying = |at: &Option<super::sender::Flying>| at.as_ref().map(|f| f.hash) == Some(hash);
        let owner = self.sender.flying.iter().position(flying);
        let voucher = match owner {
            Some(owner) => self.sender.fold(&self.context, owner, preimage, view)?,
            None => Some(self.repeat_sender(view)?),
        };
        let Some(voucher) = voucher else { return Ok(()) };
        self.answered.0 = self.tell_hub(&voucher, None, view)? == Some(true);
        Ok(())
    }

    fn is_lost(&mut self) -> bool {
        let lost = self.dice.chance(self.ppm);
        self.lost += u64::from(lost);
        lost
    }
}

fn set(of: &mut [bool; OWNERS.len()], owner: usize, to: bool) {
    if let Some(place) = of.get_mut(owner) {
        *place = to;
    }
}

fn view(world: &World) -> Result<View, Error> {
    let tip = world.chain().with(|chain| chain.tip());
    Ok(View { tip, now: world.now().time, tip_age_max: Seconds::new(86_400)? })
}

fn policy() -> Result<Policy, Error> {
    Ok(Policy {
        base: Msat::new(1_000)?,
        rate: Ppm::new(500)?,
        least: Sat::new(LEAST)?,
        lock_max: Blocks::new(144)?,
        reaction: Blocks::new(6)?,
        settling: Blocks::new(6)?,
        depth: Blocks::new(DEPTH)?,
        forwards_max: 64,
    })
}

/// The terms of the hub and of the owners.
pub(crate) fn terms(base: bitcoin::XOnlyPublicKey) -> Result<Terms, Error> {
    let mut terms = Terms::new(NETWORK, base)?;
    terms.delay = (Delay::new(DELAY)?, Delay::new(DELAY)?);
    terms.capacity = (Sat::new(LEAST)?, Sat::MAX);
    terms.confirmation_depth = Blocks::new(DEPTH)?;
    terms.settle_margin = Blocks::new(MARGIN)?;
    terms.holds = HoldRules { k: K, fee: Sat::new(600)?, dust: Sat::new(LEAST)?, count: 8 };
    Ok(terms)
}

fn opening(
    context: &Context,
    world: &World,
    payer: &Desk,
    index: u32,
    base: bitcoin::XOnlyPublicKey,
    capacity: u64,
) -> Result<(Terms, Opening), Error> {
    let (terms, key) = (terms(base)?, payer.key(context, index)?);
    let (index, delay, capacity) = (KeyIndex::new(index)?, Delay::new(DELAY)?, Sat::new(capacity)?);
    let (own, view) = (ChangeScript::Own, view(world)?);
    let opening = Opening::new(context, &terms, index, key, delay, capacity, own, &view)?;
    Ok((terms, opening))
}

/// One transaction for all of them, and the blocks above it.
fn fund(world: &mut World, openings: &[(Terms, Opening)]) -> Result<Vec<OutPoint>, Error> {
    let outputs = openings.iter().map(|(_, o)| (o.script().clone(), o.capacity())).collect();
    let (funding, outpoints) = world.fundings(outputs)?;
    world.chain().with(|chain| chain.submit(&funding))?;
    world.mine(Blocks::new(DEPTH)?);
    Ok(outpoints)
}

/// Both machines of a channel that the chain has buried, and their first records.
fn opened(
    context: &Context,
    world: &World,
    (payer_desk, payee_desk): (&mut Desk, &mut Desk),
    (terms, opening): (Terms, Opening),
    at: OutPoint,
    index: u32,
) -> Result<(Payer, Payee), Error> {
    let (status, view) = (world.chain().with(|chain| chain.output(at)), view(world)?);
    let (record, _backup, request) = opening.funded(at);
    let mut payer = Payer::load(context, payer_desk.key(context, index)?, record)?;
    let mut payee = Payee::open(context, &terms, &request, status.as_ref(), &view)?;
    payer.register(&mut payer_desk.signer, Past::New)?;
    let seen = payer.notice(status.as_ref(), &view.tip)?;
    payer.apply(seen.record())?;
    let mut batch = millstream::store::Batch::default();
    batch.put(payer.record().key()?, &payer.record().encode()?)?;
    payer_desk.commit(&batch)?;
    let record = payee.record().clone();
    payee_desk.commit_payee(&mut payee, &record, millstream::store::Batch::default())?;
    payer_desk.reserve(view.now)?;
    Ok((payer, payee))
}

/// 1 sat a virtual byte: the night is cheap.
pub(crate) fn night_rate() -> Result<FeeRate, Error> {
    Ok(FeeRate::new(1_000)?)
}
