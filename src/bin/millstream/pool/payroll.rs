//! A channel to each worker that has earned something: its terms, its funding, its binding.
//!
//! ```text
//!   link --> terms --> credit under this key? --> fund --> shown, deep --> bind: the node pays it
//!                           a channel stands already --> attach ---------'
//! ```
//!
//! Nobody to whom too little is owed is given a channel: a stranger costs a link. Links are not
//! authenticated in this release: whoever presents another's terms gets vouchers that it cannot
//! use, and the other stops until it connects again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::{Network, OutPoint};
use millstream::chain::remote::ChainHost;
use millstream::ledger::{Account, WorkerKey};
use millstream::node::{Command, Event, LinkId, Node, NodeError, Now};
use millstream::rt::{Driver, Told};
use millstream::signer::MemorySigner;
use millstream::stream::{Payer, Terms};
use millstream::tx::Delay;
use millstream::units::{Msat, Sat};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::funding::{Funded, NewChannel};
use crate::machine;
use crate::standing;
use crate::told;

/// How long it waits before it shows a channel again, or tries again what was refused.
const AGAIN: Duration = Duration::from_millis(500);

/// What every worker is offered.
pub(super) struct Offer {
    pub(super) network: Network,
    pub(super) capacity: Sat,
    pub(super) delay: Delay,
    /// What must be owed to it: a channel costs fees, and locks coins.
    pub(super) due_min: Msat,
}

/// Whoever is connected to be paid.
pub(super) struct Payroll {
    driver: Driver<MemorySigner>,
    host: Arc<ChainHost>,
    offer: Offer,
    funded: Funded,
    payees: BTreeMap<WorkerKey, Payee>,
}

/// A worker's payee.
#[derive(Debug, Clone)]
struct Payee {
    link: LinkId,
    terms: Terms,
    /// Channels that may be paid on over this link.
    ready: BTreeSet<OutPoint>,
    /// When something was tried last, and what was said of it.
    tried: Option<Instant>,
    said: String,
}

/// What is to be done for a worker.
#[derive(Debug)]
enum Act {
    Fund,
    Attach(OutPoint),
    Bind(OutPoint),
}

impl Payroll {
    pub(super) fn new(
        driver: Driver<MemorySigner>,
        host: Arc<ChainHost>,
        offer: Offer,
        funded: Funded,
    ) -> Self {
        Self { driver, host, offer, funded, payees: BTreeMap::new() }
    }

    /// Takes what was told; lines for whoever watches.
    pub(super) async fn hear(&mut self, told: &Told) -> Result<Vec<String>, Failure> {
        Ok(match told {
            Told::LinkUp { link, inbound: true, .. } => {
                // It may be gone already.
                let _gone = self.driver.command(Command::AskTerms(*link)).await;
                Vec::new()
            }
            Told::LinkDown { link, .. } => {
                self.payees.retain(|_, payee| payee.link != *link);
                Vec::new()
            }
            Told::Node(event) => self.event(event),
            Told::Missed(_) => {
                self.meet_all().await?;
                told::line(told)?.into_iter().collect()
            }
            _ => told::line(told)?.into_iter().collect(),
        })
    }

    /// Begins anew with whoever is connected: who came or left meanwhile was not told.
    async fn meet_all(&mut self) -> Result<(), Failure> {
        self.payees.clear();
        let links = |node: &mut Node<MemorySigner>| node.links().collect::<Vec<_>>();
        for link in self.driver.look(links).await? {
            let _gone = self.driver.command(Command::AskTerms(link)).await;
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Vec<String> {
        match event {
            Event::TermsReceived { link, terms } if terms.network == self.offer.network => {
                let payee = Payee {
                    link: *link,
                    terms: terms.clone(),
                    ready: BTreeSet::new(),
                    tried: None,
                    said: String::new(),
                };
                self.payees.insert(terms.base.into(), payee);
                Vec::new()
            }
            Event::Ready { outpoint, .. } => {
                for payee in self.payees.values_mut() {
                    payee.ready.insert(*outpoint);
                }
                Vec::new()
            }
            // The next channel follows.
            Event::WorkUnpaid { why: NodeError::NoRoom { .. }, .. } => Vec::new(),
            Event::WorkUnpaid { worker, due, why } => {
                vec![format!("{due} of {worker} not paid: {why}")]
            }
            Event::RolledOver { from, to, capacity } => {
                vec![format!("channel {from} goes on at {to}, {capacity}")]
            }
            Event::Closed { outpoint } => vec![format!("channel {outpoint} closed")],
            _ => Vec::new(),
        }
    }

    /// Does the next thing for each worker; lines for whoever watches.
    pub(super) async fn tend(&mut self) -> Result<Vec<String>, Failure> {
        let now = machine::now()?;
        let may_try = |payee: &Payee| payee.tried.is_none_or(|at| at.elapsed() >= AGAIN);
        let payees: Vec<(WorkerKey, Payee)> = self
            .payees
            .iter()
            .filter(|(_, payee)| may_try(payee))
            .map(|(worker, payee)| (*worker, payee.clone()))
            .collect();
        let due_min = self.offer.due_min;
        let look = move |node: &mut Node<MemorySigner>| {
            let due = payees.iter().filter_map(|(worker, payee)| {
                Some((*worker, payee.next(node, *worker, &now, due_min)?))
            });
            due.collect::<Vec<_>>()
        };
        let mut lines = Vec::new();
        for (worker, act) in self.driver.look(look).await? {
            let done = self.act(worker, &act).await?;
            let Some(payee) = self.payees.get_mut(&worker) else { continue };
            payee.tried = Some(Instant::now());
            match done {
                Ok(line) => lines.extend(line),
                // The same reason again says nothing new.
                Err(why) if why == payee.said => {}
                Err(why) => {
                    lines.push(format!("{worker}: {why}"));
                    payee.said = why;
                }
            }
        }
        Ok(lines)
    }

    /// What was done, in words; or why not.
    async fn act(
        &mut self,
        worker: WorkerKey,
        act: &Act,
    ) -> Result<Result<Option<String>, String>, Failure> {
        let Some(payee) = self.payees.get(&worker) else { return Ok(Ok(None)) };
        let (command, line) = match act {
            Act::Fund => {
                let Offer { capacity, delay, .. } = self.offer;
                let (link, terms) = (payee.link, payee.terms.clone());
                let channel = NewChannel { link, terms, capacity, delay };
                let pays = |script, value| self.host.fund(script, value);
                match self.funded.fund(&self.driver, channel, pays).await {
                    Ok((command, outpoint)) => {
                        (command, Some(format!("channel {outpoint} for {worker}, {capacity}")))
                    }
                    Err(why) => return Ok(Err(why.to_string())),
                }
            }
            Act::Attach(outpoint) => {
                (Command::Attach { link: payee.link, outpoint: *outpoint }, None)
            }
            Act::Bind(outpoint) => {
                let (session, outpoint) = (machine::fresh_session()?, *outpoint);
                let budget = self.offer.capacity.to_msat();
                let bind = Command::BindWorker { worker, outpoint, session, budget };
                (bind, Some(format!("channel {outpoint} pays {worker}")))
            }
        };
        let done = self.driver.command(command).await;
        Ok(done.map(|()| line).map_err(|error| error.to_string()))
    }
}

impl Payee {
    /// What comes next, if anything does.
    fn next(
        &self,
        node: &Node<MemorySigner>,
        worker: WorkerKey,
        now: &Now,
        due_min: Msat,
    ) -> Option<Act> {
        let tip = node.view(now.time).ok()?.tip.height;
        let is_open = |payer: &&Payer| {
            let full = payer.signed() >= payer.channel().largest_with_change();
            let mine = standing::is_open_to(payer, self.terms.base);
            mine && !standing::is_late(payer, tip) && !full
        };
        let bound = node.ledger().account(worker).and_then(Account::channel);
        let standing = node.payers().filter(is_open);
        // The one that is bound comes before one that was funded to follow it.
        let standing = standing.max_by_key(|payer| bound == Some(payer.outpoint()));
        let Some(payer) = standing else {
            let due = node.work_due(worker);
            return (due > Msat::ZERO && due >= due_min).then_some(Act::Fund);
        };
        let outpoint = payer.outpoint();
        if !self.ready.contains(&outpoint) {
            return Some(Act::Attach(outpoint));
        }
        if bound == Some(outpoint) {
            return None;
        }
        let is_deep = standing::depth(payer, tip)? >= self.terms.confirmation_depth;
        is_deep.then_some(Act::Bind(outpoint))
    }
}
