//! Every session that has ended comes to a statement, and leaves its channel free.

use super::Flaw;
use super::metered::Sold;
use super::stage::Pair;
use super::standing::Standing;
use crate::meter::{Role, Session, State};
use crate::sim::world::{EndId, Endpoint};
use crate::units::SessionId;

/// 4 times 11 seconds: the buyer asks again after 10, then after 20.
const PATIENCE: usize = 4;

impl Pair {
    /// In calm weather each session that both sides know is ended by one of them, paid, and stated.
    pub(super) fn state_sessions(
        &mut self,
        tell: &mut dyn FnMut(&dyn core::fmt::Display),
    ) -> Result<(), Flaw> {
        let open = self.known_to_both();
        for session in open.iter().copied() {
            // Whoever was off reads its meter again.
            let total = self.metered.sold.get(&session).map_or(0, |sold| sold.total);
            if self.metered.now == Some(session) {
                self.price_late_reading(session)?;
            }
            self.read_meters(session, total)?;
            let buyer_ends = session.to_u64().checked_rem(2) == Some(0);
            let end = if buyer_ends { self.payer } else { self.payee };
            self.command(end, crate::node::Command::EndSession(session))?;
        }
        for _ in 0..PATIENCE {
            self.pass(11)?;
        }
        tell(&Standing(self));
        for session in open {
            if self.is_due(session) && !self.metered.stated.contains(&session) {
                return Err(Flaw::Unstated { session });
            }
        }
        Ok(())
    }

    fn known_to_both(&self) -> Vec<SessionId> {
        let both = |session: &SessionId| {
            self.meter_of(self.payer, *session).is_some()
                && self.meter_of(self.payee, *session).is_some()
        };
        self.known_sessions().into_iter().filter(both).collect()
    }

    fn meter_of(&self, end: EndId, session: SessionId) -> Option<&Session> {
        self.world.end(end).map(Endpoint::node).and_then(|node| node.session(session))
    }

    /// Whether the session has begun, and has ended on both sides, on a channel that can pay what
    /// it owes.
    fn is_due(&self, session: SessionId) -> bool {
        let sides = [self.payer, self.payee].map(|end| self.meter_of(end, session));
        let [Some(buyer), Some(seller)] = sides else { return false };
        let ended = |meter: &Session| meter.record().state() == State::Ended;
        let Some(sold) = self.metered.sold.get(&session) else { return false };
        // What began on a funding that was replaced is written off with it. A settlement or top-up
        // that is replaced, or undone, takes no session with it (P3).
        let gone = self.world.chain().with(|chain| chain.output(sold.outpoint).is_none());
        let void = gone && self.is_funded_again(&sold.script);
        // A reading that was lost, and is paid by hand as far as the seller knows, is not sent
        // again: the statement says more than the buyer counted.
        let disputed = sold.beside && self.metered.disputed.contains(&session);
        // A reading that was lost before a border of two prices comes again too late to be
        // believed: the buyer counts what it said at the price of the next.
        let repriced = sold.timed && seller.owed() > buyer.owed();
        let garbled = self.observer.seen().is_garbled(session);
        // A buyer takes the next session of a channel once the last one is stated: a power cut then
        // took its word of that, and it does not ask again.
        let stated = self.observer.seen().is_stated(session) && self.is_followed(session, sold);
        // A seller that had not heard of the end served on: SECURITY.md gives up what it read as
        // idle time later than the buyer's end and the skew.
        let served_on = match buyer.record().role() {
            Role::Buyer { skew, .. } => {
                seller.record().idle() > buyer.record().idle()
                    && seller.record().at() > buyer.record().at().saturating_after(skew)
            }
            Role::Seller => false,
        };
        let excused = void || disputed || repriced || garbled || stated || served_on;
        let here = self.current_on(&sold.script).filter(|_| !excused);
        let open = here.is_some_and(|outpoint| {
            let owed = seller.debt();
            self.may_be_paid(outpoint, owed)
        });
        self.link.is_some() && ended(buyer) && ended(seller) && seller.record().has_begun() && open
    }

    /// Whether the buyer has begun a later session of the same channel.
    fn is_followed(&self, session: SessionId, sold: &Sold) -> bool {
        self.metered.sold.iter().any(|(later, other)| {
            let begun = self.meter_of(self.payer, *later).map(Session::record);
            *later > session
                && other.script == sold.script
                && begun.is_some_and(crate::meter::Record::has_begun)
        })
    }
}
