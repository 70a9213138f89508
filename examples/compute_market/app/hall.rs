//! The hall: every requester has a channel to every provider, and a session for each contract.

use bitcoin::{OutPoint, ScriptBuf};
use millstream::keys::Context;
use millstream::meter::tariff::{Measure, Tariff};
use millstream::meter::{Session, Window};
use millstream::node::{Command, LinkId};
use millstream::sim::world::{EndId, Machine, World};
use millstream::stream::Terms;
use millstream::units::{FeeRate, Msat, Ppm, Price, Quantity, Seconds, SessionId};

use crate::common::Error;
use crate::common::books::Books;
use crate::common::dice::Dice;
use crate::common::stage::{self, DEPTH, Payer, Size, settle, till};

/// 100 sat: about three units. All that a provider risks with a requester.
pub(crate) const CREDIT: u64 = 100_000;
/// What a requester puts into each of its channels, for four days.
const SIZE: Size = Size { delay: 576, capacity: 100_000 };
/// A minute: how long a reading may have waited for its line.
const SKEW: u64 = 60;

/// A channel from a requester to a provider.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) requester: usize,
    pub(crate) provider: usize,
    pub(crate) outpoint: OutPoint,
    script: ScriptBuf,
    /// Its connection, while it has one.
    pub(crate) link: Option<LinkId>,
}

/// Who sells: a machine and where its money goes.
#[derive(Debug)]
struct Seller {
    end: EndId,
    terms: Terms,
    till: ScriptBuf,
}

/// All machines, their channels, and the chain.
#[derive(Debug)]
pub(crate) struct Hall {
    pub(crate) world: World,
    sellers: Vec<Seller>,
    buyers: Vec<EndId>,
    pub(crate) channels: Vec<Channel>,
    context: Context,
    credit: Msat,
}

impl Hall {
    /// Opens all channels, so that they are buried when the clock shows `start`.
    pub(crate) fn open(
        start: u64,
        seed: u64,
        (requesters, providers): (usize, usize),
        credit: u64,
    ) -> Result<Self, Error> {
        let world = stage::set(start)?;
        let (context, credit) = (Context::new(), Msat::new(credit)?);
        let (sellers, buyers, channels) = (Vec::new(), Vec::new(), Vec::new());
        let mut hall = Self { world, sellers, buyers, channels, context, credit };
        let mut dice = Dice::new(seed, "seeds");
        for _ in 0..providers {
            hall.add_seller(dice.secret())?;
        }
        for requester in 0..requesters {
            hall.add_buyer(requester, dice.secret())?;
        }
        stage::bury(&mut hall.world, DEPTH)?;
        for at in 0..hall.channels.len() {
            hall.connect(at)?;
        }
        hall.world.settle_down()?;
        stage::wait_for(&mut hall.world, start)?;
        Ok(hall)
    }

    fn add_seller(&mut self, secret: [u8; 32]) -> Result<(), Error> {
        let mut terms = SIZE.terms(&self.context, &secret)?;
        terms.credit = self.credit;
        let end = self.world.add(Machine::payee("provider", secret, terms.clone()))?;
        let till = till(&self.context, &secret)?;
        self.sellers.push(Seller { end, terms, till });
        Ok(())
    }

    /// A requester, and one transaction that funds its channels to all providers.
    fn add_buyer(&mut self, requester: usize, seed: [u8; 32]) -> Result<(), Error> {
        let end = self.world.add(SIZE.paying(Machine::payer("requester", seed))?)?;
        self.buyers.push(end);
        let (payer, capacity) = (Payer { end, seed: &seed }, SIZE.capacity()?);
        let mut openings = Vec::new();
        for (provider, seller) in (0..).zip(&self.sellers) {
            let terms = &seller.terms;
            openings.push(SIZE.opening(&self.world, &self.context, payer, terms, provider)?);
        }
        let outputs = openings.iter().map(|opening| (opening.script().clone(), capacity)).collect();
        let (funding, outpoints) = self.world.fundings(outputs)?;
        for (provider, (opening, outpoint)) in openings.into_iter().zip(outpoints).enumerate() {
            let script = stage::fund(&mut self.world, payer, opening, &funding, outpoint)?;
            self.channels.push(Channel { requester, provider, outpoint, script, link: None });
        }
        Ok(())
    }

    /// The clock, seconds UTC.
    pub(crate) fn utc(&self) -> u64 {
        self.world.now().time.to_u64()
    }

    /// The machine of a requester.
    pub(crate) fn requester(&self, requester: usize) -> Result<EndId, Error> {
        Ok(*self.buyers.get(requester).ok_or("no requester")?)
    }

    /// The machine of a provider.
    pub(crate) fn provider(&self, provider: usize) -> Result<EndId, Error> {
        Ok(self.sellers.get(provider).ok_or("no provider")?.end)
    }

    /// The channel between two.
    pub(crate) fn between(&self, requester: usize, provider: usize) -> Result<usize, Error> {
        let found = |c: &Channel| c.requester == requester && c.provider == provider;
        Ok(self.channels.iter().position(found).ok_or("no channel")?)
    }

    /// A line comes up, and its channel is taken up on it.
    pub(crate) fn connect(&mut self, at: usize) -> Result<(), Error> {
        let channel = self.channels.get(at).ok_or("no channel")?;
        if channel.link.is_some() {
            return Ok(());
        }
        let (outpoint, from) = (channel.outpoint, self.requester(channel.requester)?);
        let link = self.world.connect(from, self.provider(channel.provider)?)?;
        if let Some(channel) = self.channels.get_mut(at) {
            channel.link = Some(link);
        }
        Ok(self.world.command(from, Command::Attach { link, outpoint })?)
    }

    /// A line breaks.
    pub(crate) fn disconnect(&mut self, at: usize) -> Result<(), Error> {
        match self.channels.get_mut(at).and_then(|channel| channel.link.take()) {
            Some(link) => Ok(self.world.disconnect(link)?),
            None => Ok(()),
        }
    }

    /// A requester, or a provider, loses power, and with it all its lines.
    pub(crate) fn reboot(&mut self, who: Who) -> Result<(), Error> {
        let end = match who {
            Who::Requester(requester) => self.requester(requester)?,
            Who::Provider(provider) => self.provider(provider)?,
        };
        for channel in &mut self.channels {
            let hit = match who {
                Who::Requester(requester) => channel.requester == requester,
                Who::Provider(provider) => channel.provider == provider,
            };
            if hit {
                channel.link = None;
            }
        }
        Ok(self.world.reboot(end)?)
    }

    /// The provider offers a contract's session; whether it could.
    pub(crate) fn offer(&mut self, contract: usize, at: usize, price: u64) -> Result<bool, Error> {
        let channel = self.channels.get(at).ok_or("no channel")?;
        let Some(link) = channel.link else { return Ok(false) };
        let (end, session) = (self.provider(channel.provider)?, session_id(contract)?);
        let tariff = Tariff::flat(Measure::Item, Price::new(Msat::new(price)?, 1)?)?;
        let window = Window { credit: self.credit, prepay: Msat::ZERO };
        let (skew, tolerance) = (Seconds::new(SKEW)?, Ppm::new(0)?);
        stage::run(
            &mut self.world,
            end,
            Command::OfferSession { link, session, tariff, window, skew, tolerance },
        )
    }

    /// The requester takes it, if it costs what was agreed; whether it could.
    pub(crate) fn accept(
        &mut self,
        contract: usize,
        at: usize,
        (price, budget): (u64, u64),
    ) -> Result<bool, Error> {
        let channel = self.channels.get(at).ok_or("no channel")?;
        let (end, outpoint) = (self.requester(channel.requester)?, channel.outpoint);
        let session = session_id(contract)?;
        let node = self.world.end(end).ok_or("no requester")?.node();
        let Some(link) = channel.link else { return Ok(false) };
        let (Some(seen), Some(offer)) = (node.offer(link, session), node.offer_hash(link, session))
        else {
            return Ok(false);
        };
        let one = seen.owed_after(self.world.now().time, Quantity::new(1)?)?.to_msat();
        if one != price {
            return Ok(false);
        }
        let (budget, slack) = (Msat::new(budget)?, Quantity::new(0)?);
        stage::run(
            &mut self.world,
            end,
            Command::AcceptSession { session, offer, outpoint, budget, slack },
        )
    }

    /// Reads a meter: the requester's verified units, or the provider's debit note.
    pub(crate) fn read(&mut self, contract: usize, end: EndId, units: u64) -> Result<bool, Error> {
        let (session, total) = (session_id(contract)?, Quantity::new(units)?);
        stage::run(&mut self.world, end, Command::Meter { session, total })
    }

    /// One side ends a contract's session.
    pub(crate) fn end(&mut self, contract: usize, end: EndId) -> Result<bool, Error> {
        stage::run(&mut self.world, end, Command::EndSession(session_id(contract)?))
    }

    /// A machine's view of a contract's session.
    pub(crate) fn session(&self, contract: usize, end: EndId) -> Option<&Session> {
        self.world.end(end)?.node().session(session_id(contract).ok()?)
    }

    /// What a provider holds of a channel, msat, by its best voucher.
    pub(crate) fn paid(&self, at: usize) -> u64 {
        let Some(channel) = self.channels.get(at) else { return 0 };
        let seller = self.sellers.get(channel.provider);
        seller.map_or(0, |seller| stage::held(&self.world, seller.end, channel.outpoint))
    }

    /// All providers settle what is worth it. Returns the channels that they settled.
    pub(crate) fn settle(&mut self, rate: FeeRate) -> Result<Vec<OutPoint>, Error> {
        let mut settled = Vec::new();
        for seller in &self.sellers {
            let plan = settle(&mut self.world, seller.end, &seller.till, rate, usize::MAX)?;
            settled.extend(plan.groups.into_iter().flat_map(|group| group.outpoints));
        }
        Ok(settled)
    }

    /// What the chain did with the channels' money.
    pub(crate) fn books(&self) -> Books {
        let channels =
            self.channels.iter().map(|channel| (channel.outpoint, channel.script.clone()));
        Books::of(&self.world, channels, self.sellers.iter().map(|seller| seller.till.clone()))
    }
}

/// Whose machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Who {
    Requester(usize),
    Provider(usize),
}

/// The session of a contract.
pub(crate) fn session_id(contract: usize) -> Result<SessionId, Error> {
    Ok(SessionId::new(u64::try_from(contract)? + 1)?)
}

/// The contract of a session.
pub(crate) fn contract_of(session: SessionId) -> usize {
    usize::try_from(session.to_u64() - 1).unwrap_or(usize::MAX)
}
