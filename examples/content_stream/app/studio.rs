//! The studio and its viewers: qualities, prices, and the sessions that they are paid in.

use millstream::meter::tariff::{Measure, Tariff};
use millstream::meter::{Session, State, Window};
use millstream::node::Command;
use millstream::stream::Terms;
use millstream::units::{Msat, Ppm, Price, Quantity, Seconds, SessionId};

use crate::common::Error;
use crate::common::crowd::{Crowd, Setting};
use crate::common::stage::{self, Size};

/// What can be seen, from the cheapest on.
pub(crate) const QUALITIES: [&str; 3] = ["SD", "HD", "UHD"];
/// 5 sat: three seconds of the dearest, and a part of another. All that the studio risks.
pub(crate) const CREDIT: u64 = 5_000;
/// What a viewer puts into its channel, for four days.
const SIZE: Size = Size { delay: 576, capacity: 20_000 };
/// A minute: how long a reading may have waited for its line.
const SKEW: u64 = 60;
/// 1,000 sessions a viewer: their ids must differ.
const SESSIONS: u64 = 1_000;

/// What a minute costs, msat, by quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prices(pub(crate) [u64; QUALITIES.len()]);

impl Prices {
    /// Until eight.
    pub(crate) const AFTERNOON: Self = Self([10_000, 25_000, 60_000]);
    /// From eight on.
    pub(crate) const EVENING: Self = Self([14_000, 37_500, 90_000]);

    /// A minute of a quality, msat.
    pub(crate) fn of(self, quality: usize) -> u64 {
        self.0.get(quality).copied().unwrap_or(u64::MAX)
    }
}

/// `seconds` at `minute` msat a minute; counted without the library, to check it.
pub(crate) const fn worth(seconds: u64, minute: u64) -> u64 {
    seconds * minute / 60
}

/// The world of the example.
#[derive(Debug)]
pub(crate) struct Studio {
    /// The studio, its viewers, their channels, the chain.
    pub(crate) crowd: Crowd,
    credit: Msat,
}

impl Studio {
    /// Opens a channel for each viewer, so that all are buried when the clock shows `start`.
    pub(crate) fn open(start: u64, seed: u64, count: u64, credit: u64) -> Result<Self, Error> {
        let (names, size) = (("studio", "viewer"), SIZE);
        let setting = Setting { names, start, count, size, terms };
        Ok(Self { crowd: Crowd::open(&setting, seed)?, credit: Msat::new(credit)? })
    }

    /// The studio offers the viewer's session of this number, at `minute` msat a minute: in the
    /// place of the one before, if that has not ended. Whether it could.
    pub(crate) fn offer(&mut self, viewer: usize, number: u64, minute: u64) -> Result<bool, Error> {
        let Some(link) = self.crowd.members.get(viewer).and_then(|member| member.link) else {
            return Ok(false);
        };
        let (tariff, skew) = (tariff(minute)?, Seconds::new(SKEW)?);
        let (tolerance, next) = (Ppm::new(10_000)?, session_id(viewer, number)?);
        let before = number.checked_sub(1).map(|number| session_id(viewer, number)).transpose()?;
        let studio = self.crowd.world.end(self.crowd.payee).ok_or("no studio")?.node();
        let runs = before.filter(|before| {
            let session = studio.session(*before);
            session.is_some_and(|session| session.record().state() != State::Ended)
        });
        let command = if let Some(session) = runs {
            Command::ChangeTariff { session, next, tariff, skew, tolerance }
        } else {
            let window = Window { credit: self.credit, prepay: Msat::ZERO };
            Command::OfferSession { link, session: next, tariff, window, skew, tolerance }
        };
        stage::run(&mut self.crowd.world, self.crowd.payee, command)
    }

    /// What a minute of the offered session would cost; none if the viewer has no such offer.
    pub(crate) fn offered(&self, viewer: usize, number: u64) -> Result<Option<u64>, Error> {
        let member = self.crowd.members.get(viewer).ok_or("no viewer")?;
        let node = self.crowd.world.end(member.end).ok_or("no viewer")?.node();
        let session = session_id(viewer, number)?;
        let Some(offer) = member.link.and_then(|link| node.offer(link, session)) else {
            return Ok(None);
        };
        let (now, minute) = (self.crowd.world.now().time, Quantity::new(60)?);
        Ok(Some(offer.owed_after(now, minute)?.to_msat()))
    }

    /// The viewer takes the offered session; false while its last payment is not acknowledged.
    pub(crate) fn accept(&mut self, viewer: usize, number: u64) -> Result<bool, Error> {
        let member = self.crowd.members.get(viewer).ok_or("no viewer")?;
        let (end, outpoint, session) = (member.end, member.outpoint, session_id(viewer, number)?);
        let node = self.crowd.world.end(end).ok_or("no viewer")?.node();
        let Some(offer) = member.link.and_then(|link| node.offer_hash(link, session)) else {
            return Ok(false);
        };
        let (budget, slack) = (SIZE.capacity()?.to_msat(), Quantity::new(1)?);
        stage::run(
            &mut self.crowd.world,
            end,
            Command::AcceptSession { session, offer, outpoint, budget, slack },
        )
    }

    /// The meters of both sides, or of the viewer alone. Whether the studio's counts.
    pub(crate) fn read(
        &mut self,
        viewer: usize,
        number: u64,
        total: u64,
        studio: bool,
    ) -> Result<bool, Error> {
        let (session, total) = (session_id(viewer, number)?, Quantity::new(total)?);
        let end = self.crowd.members.get(viewer).ok_or("no viewer")?.end;
        let _own = stage::run(&mut self.crowd.world, end, Command::Meter { session, total })?;
        Ok(studio
            && stage::run(
                &mut self.crowd.world,
                self.crowd.payee,
                Command::Meter { session, total },
            )?)
    }

    /// The studio is back, and looks at its own meter: what it had not been paid for, it may have
    /// forgotten with its power.
    pub(crate) fn read_again(
        &mut self,
        viewer: usize,
        number: u64,
        total: u64,
    ) -> Result<(), Error> {
        let (session, total) = (session_id(viewer, number)?, Quantity::new(total)?);
        let _known =
            stage::run(&mut self.crowd.world, self.crowd.payee, Command::Meter { session, total })?;
        Ok(())
    }

    /// One side ends a session: the studio, or the viewer.
    pub(crate) fn end(&mut self, viewer: usize, number: u64, studio: bool) -> Result<(), Error> {
        let end = self.crowd.members.get(viewer).ok_or("no viewer")?.end;
        let end = if studio { self.crowd.payee } else { end };
        let _ended = stage::run(
            &mut self.crowd.world,
            end,
            Command::EndSession(session_id(viewer, number)?),
        )?;
        Ok(())
    }

    /// The studio's view of a session, or the viewer's own.
    pub(crate) fn session(&self, viewer: usize, number: u64, own: bool) -> Option<&Session> {
        let end = if own { self.crowd.members.get(viewer)?.end } else { self.crowd.payee };
        self.crowd.world.end(end)?.node().session(session_id(viewer, number).ok()?)
    }

    /// What the viewer has paid in all, msat, by its voucher.
    pub(crate) fn paid(&self, viewer: usize) -> u64 {
        let member = self.crowd.members.get(viewer);
        member.map_or(0, |at| stage::held(&self.crowd.world, self.crowd.payee, at.outpoint))
    }
}

/// A viewer's session of this number.
pub(crate) fn session_id(viewer: usize, number: u64) -> Result<SessionId, Error> {
    Ok(SessionId::new((u64::try_from(viewer)? + 1) * SESSIONS + number)?)
}

/// The number of a viewer's session.
pub(crate) fn number_of(session: SessionId) -> (u64, u64) {
    (session.to_u64() / SESSIONS - 1, session.to_u64() % SESSIONS)
}

/// The document that both sides hash.
fn tariff(minute: u64) -> Result<Tariff, Error> {
    Ok(Tariff::flat(Measure::Second, Price::new(Msat::new(minute)?, 60)?)?)
}

fn terms(terms: &mut Terms) -> Result<(), Error> {
    terms.credit = Msat::new(CREDIT)?;
    Ok(())
}
