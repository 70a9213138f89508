//! What the driver has told so far, and waiting for the rest.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use millstream::meter::Statement;
use millstream::meter::tariff::TariffHash;
use millstream::node::{Event, LinkId};
use millstream::rt::{News, Told};
use millstream::stream::Terms;
use millstream::units::{HoldId, Msat, SessionId};
use millstream::wire::{OfferHash, Refusal};
use tokio::time::timeout;

use super::hold::Ended;
use crate::failure::Failure;
use crate::told;

/// The state of one conversation with one payee.
pub(super) struct Talk {
    news: News,
    address: SocketAddr,
    patience: Duration,
    pub(super) link: Option<LinkId>,
    pub(super) terms: Option<Terms>,
    /// The channel may be paid on; what the payee is behind.
    pub(super) ready: Option<Msat>,
    pub(super) refused: Option<String>,
    pub(super) acked: Msat,
    pub(super) offered: Option<(SessionId, OfferHash, TariffHash)>,
    pub(super) service: Option<()>,
    pub(super) agreed: Option<Statement>,
    pub(super) spent: Option<()>,
    /// The hold that was signed last, and how others ended.
    pub(super) held: Option<HoldId>,
    pub(super) hold_ended: BTreeMap<HoldId, Ended>,
    /// Whether the payee said of a session that it does not know it.
    pub(super) unknown: bool,
    /// Whether it was said that the payee does not see the funding yet.
    said: bool,
    ended: Option<String>,
}

impl Talk {
    pub(super) fn new(news: News, address: SocketAddr, patience: Duration) -> Self {
        Self {
            news,
            address,
            patience,
            link: None,
            terms: None,
            ready: None,
            refused: None,
            acked: Msat::ZERO,
            offered: None,
            service: None,
            agreed: None,
            spent: None,
            held: None,
            hold_ended: BTreeMap::new(),
            unknown: false,
            said: false,
            ended: None,
        }
    }

    /// The link, while it is up.
    pub(super) fn up(&self) -> Result<LinkId, Failure> {
        match (&self.ended, self.link) {
            (None, Some(link)) => Ok(link),
            (why, _) => {
                let why = why.clone().unwrap_or_default();
                Err(Failure::LinkDown { address: self.address, why })
            }
        }
    }

    /// Waits until `found` finds what it looks for, at most as long as each answer may take.
    pub(super) async fn until<T>(
        &mut self,
        what: &'static str,
        found: impl Fn(&Self) -> Option<T>,
    ) -> Result<T, Failure> {
        loop {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            self.up()?;
            let seconds = self.patience.as_secs();
            let told = timeout(self.patience, self.news.next()).await;
            match told.map_err(|_| Failure::TooSlow { what, seconds })? {
                Some(told) => self.note(told)?,
                None => return Err(millstream::rt::RtError::Ended.into()),
            }
        }
    }

    /// Takes what was told meanwhile, and fails if the link is gone.
    pub(super) fn drain(&mut self) -> Result<(), Failure> {
        while let Some(told) = self.news.now() {
            self.note(told)?;
        }
        self.up().map(|_| ())
    }

    fn note(&mut self, told: Told) -> Result<(), Failure> {
        match told {
            Told::LinkDown { link, why } if self.link == Some(link) => {
                self.ended = Some(why.to_string());
            }
            Told::Node(event) => self.event(event),
            _ => {
                if let Some(line) = told::line(&told)? {
                    eprintln!("{line}");
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::TermsReceived { terms, .. } => self.terms = Some(terms),
            Event::Ready { behind, .. } => self.ready = Some(behind),
            Event::Refused { code, .. } => {
                match code {
                    // Its look at the chain is a little behind ours: what it refused is sent again.
                    Refusal::NotConfirmed | Refusal::UnknownChannel => {
                        if !std::mem::replace(&mut self.said, true) {
                            eprintln!("waiting for the payee to see the funding confirm");
                        }
                    }
                    // The node has ended it; another one is accepted in its place.
                    Refusal::UnknownSession => {
                        eprintln!("the payee does not know the last session");
                        self.unknown = true;
                    }
                    _ => eprintln!("the payee refused: {code:?}"),
                }
                self.refused = Some(format!("{code:?}"));
            }
            Event::Acknowledged { paid, .. } => self.acked = self.acked.max(paid),
            Event::SessionOffered { session, offer, tariff, .. } => {
                self.offered = Some((session, offer, tariff));
            }
            Event::ServiceOn { .. } => self.service = Some(()),
            Event::ServiceOff { debt, .. } => eprintln!("service is off, {debt} is owed"),
            Event::StatementAgreed { statement } => self.agreed = Some(statement),
            Event::Spent { .. } => self.spent = Some(()),
            Event::HoldSigned { id, .. } => self.held = Some(id),
            Event::HoldRevealed { id, .. } => {
                self.hold_ended.insert(id, Ended::Paid);
            }
            Event::HoldReleased { id, at_risk_until, .. } => {
                self.hold_ended.insert(id, Ended::Released { at_risk_until });
            }
            _ => {}
        }
    }
}
