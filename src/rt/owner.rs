//! The one owner of the node: takes what has arrived, flushes once, then lets it out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bitcoin::OutPoint;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::clock::Clock;
use super::driver::Shows;
use super::link::{Frames, Out, Peer};
use super::{LinkEnd, Options, Parts, RtError, Told};
use crate::node::{Command, Event, Input, LinkId, Node, NodeError, Now, Outbox};
use crate::signer::Signer;
use crate::store::{Batch, Durability};
use crate::tx::seen::ChainEvent;
use crate::wire::{Message, write_frame};

/// 1,024 inputs share one barrier at most: about 35 ms of verifying, so that the first one's
/// acknowledgement does not wait longer than that.
const GROUP_MAX: usize = 1_024;
/// 64 refused messages in a row: an honest peer after a restart of either side has a handful.
const REFUSED_MAX: u32 = 64;
/// An answer to a look-up may lead to another; 64 in a row lead nowhere.
const ROUNDS_MAX: usize = 64;
/// Events of the chain that are taken at one poll; the rest waits for the next.
const CHAIN_EVENTS_MAX: usize = 10_000;
/// Look-ups without an answer in one poll: a source that stalls is not waited for once an outpoint,
/// and one outpoint that it does not answer holds up no other.
const SILENT_LOOK_UPS_MAX: usize = 3;

/// What links tell the owner.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a message is the common case")]
pub(super) enum Arrival {
    Up { peer: Peer, out: Out, known: Option<oneshot::Sender<()>> },
    Message(LinkId, Message),
    Down(LinkId, LinkEnd),
}

/// What the caller wants of the owner.
#[expect(clippy::type_complexity, reason = "a name would hide that it is a closure")]
pub(super) enum Ask<S> {
    Do(Command, oneshot::Sender<Result<(), NodeError>>),
    Look(Box<dyn FnOnce(&mut Node<S>) + Send>),
    Cut(LinkId),
    Stop(oneshot::Sender<Result<(), RtError>>),
}

/// How the owner ended, and who waits to hear of it once everything is dropped.
pub(super) struct Ending {
    pub(super) result: Result<(), RtError>,
    pub(super) waiting: Option<oneshot::Sender<Result<(), RtError>>>,
}

/// The node and all that it acts on.
pub(super) struct Owner<S> {
    parts: Parts<S>,
    options: Arc<Options>,
    clock: Clock,
    links: BTreeMap<LinkId, Linked>,
    told: broadcast::Sender<Told>,
    shown: Shows,
    /// Everything must be looked up again: at the start, and after the chain was cut off.
    stale: bool,
    /// Look-ups that the chain could not answer yet.
    unanswered: BTreeSet<OutPoint>,
    replies: Vec<Reply>,
}

/// What a command came to, told to its caller only after the flush.
struct Reply {
    to: oneshot::Sender<Result<(), NodeError>>,
    done: Result<(), NodeError>,
}

struct Linked {
    out: Out,
    /// Refused messages in a row.
    run: u32,
    /// Refused messages in all.
    refused: u32,
    /// How often the node said that it misbehaved.
    misbehaved: u32,
}

impl<S: Signer> Owner<S> {
    pub(super) fn new(
        parts: Parts<S>,
        options: Arc<Options>,
        told: broadcast::Sender<Told>,
        shown: Shows,
    ) -> Self {
        Self {
            parts,
            options,
            clock: Clock::new(),
            links: BTreeMap::new(),
            told,
            shown,
            stale: true,
            unanswered: BTreeSet::new(),
            replies: Vec::new(),
        }
    }

    /// Runs until it is told to stop, every handle is gone, or the store fails.
    pub(super) async fn run(
        mut self,
        mut asks: mpsc::Receiver<Ask<S>>,
        mut arrivals: mpsc::Receiver<Arrival>,
    ) -> Ending {
        let mut waiting = None;
        let mut result = self.serve(&mut asks, &mut arrivals, &mut waiting).await;
        if let Err(RtError::Node(error)) = &result {
            self.tell(Told::Failed { error: *error });
        } else if result.is_ok() {
            // P4: what was committed lazily rides on this last barrier.
            let last = self.parts.store.commit(&Batch::default(), Durability::Barrier);
            result = last.map_err(|error| NodeError::from(error).into());
        }
        // Nothing arrives any more, so links that wait to tell something end as well.
        drop((asks, arrivals, self));
        Ending { result, waiting }
    }

    async fn serve(
        &mut self,
        asks: &mut mpsc::Receiver<Ask<S>>,
        arrivals: &mut mpsc::Receiver<Arrival>,
        waiting: &mut Option<oneshot::Sender<Result<(), RtError>>>,
    ) -> Result<(), RtError> {
        let mut poll = interval(self.options.chain_interval);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Before anything is asked of it, the node knows the tip: a command that came with the
        // first tick of the poll would else be refused for want of one.
        self.hear_chain()?;
        self.flush()?;
        let mut stopping = false;
        while !stopping {
            let wake = self.wake();
            // In this order: a flood of arrivals must not keep the caller, the chain or a
            // time-out from being served.
            tokio::select! {
                biased;
                ask = asks.recv() => stopping = self.asked(ask, waiting)?,
                _ = poll.tick() => self.hear_chain()?,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    self.handle(None, Input::Woken)?;
                }
                Some(arrival) = arrivals.recv() => self.arrived(arrival)?,
            }
            // What came meanwhile shares the barrier.
            for _ in 1..GROUP_MAX {
                if let Ok(ask) = asks.try_recv() {
                    stopping |= self.asked(Some(ask), waiting)?;
                } else if self.parts.node.holds_window() {
                    // Its payer waits, and the next window takes milliseconds.
                    break;
                } else if let Ok(arrival) = arrivals.try_recv() {
                    self.arrived(arrival)?;
                } else {
                    break;
                }
            }
            self.flush()?;
        }
        Ok(())
    }

    /// When the node wants to be woken.
    fn wake(&self) -> Option<Instant> {
        let wake = self.parts.node.wake()?;
        Instant::now().checked_add(self.clock.until(wake.at))
    }

    /// Whether to stop: asked to, or nobody could ask anything any more.
    fn asked(
        &mut self,
        ask: Option<Ask<S>>,
        waiting: &mut Option<oneshot::Sender<Result<(), RtError>>>,
    ) -> Result<bool, RtError> {
        match ask {
            None => return Ok(true),
            Some(Ask::Stop(sender)) => {
                *waiting = Some(sender);
                return Ok(true);
            }
            Some(Ask::Do(command, to)) => {
                let now = self.clock.now()?;
                let done = self.parts.node.handle(&now, Input::Do(command));
                self.replies.push(Reply { to, done });
            }
            Some(Ask::Look(look)) => look(&mut self.parts.node),
            Some(Ask::Cut(link)) => self.cut(link, LinkEnd::Cut)?,
        }
        Ok(false)
    }

    fn arrived(&mut self, arrival: Arrival) -> Result<(), RtError> {
        match arrival {
            Arrival::Up { peer, out, known } => {
                let Peer { link, address, inbound } = peer;
                self.links.insert(link, Linked { out, run: 0, refused: 0, misbehaved: 0 });
                self.handle(None, Input::Connected(link))?;
                self.tell(Told::LinkUp { link, address, inbound });
                if let Some(known) = known {
                    // The caller may have given up waiting.
                    let _gone = known.send(());
                }
                Ok(())
            }
            // What was under way when the link was cut is dropped here.
            Arrival::Message(link, message) if self.links.contains_key(&link) => {
                self.handle(Some(link), Input::Received(link, message))
            }
            Arrival::Down(link, why) => self.cut(link, why),
            Arrival::Message(..) => Ok(()),
        }
    }

    /// Lets the node decide on an input. A refusal costs a peer its link in the end.
    fn handle(&mut self, from: Option<LinkId>, input: Input) -> Result<(), RtError> {
        let now = self.clock.now()?;
        let counts = matches!(&input, Input::Received(_, message) if !is_free(message));
        let done = self.parts.node.handle(&now, input);
        let Some(linked) = from.and_then(|link| self.links.get_mut(&link)) else {
            if let Err(error) = done {
                self.tell(Told::Refused { link: None, count: 1, error });
            }
            return Ok(());
        };
        match done {
            Ok(()) if counts => linked.run = 0,
            Ok(()) => {}
            Err(error) => {
                linked.run = linked.run.saturating_add(1);
                linked.refused = linked.refused.saturating_add(1);
                let (run, count) = (linked.run, linked.refused);
                let is_lie = error.is_lie();
                // Told as their number doubles: a flood must not push other news out.
                if count.is_power_of_two() {
                    self.tell(Told::Refused { link: from, count, error });
                }
                if let Some(link) = from.filter(|_| run >= REFUSED_MAX || is_lie) {
                    self.cut(link, LinkEnd::Refused)?;
                }
            }
        }
        Ok(())
    }

    /// Whether to tell it: what a stranger can cause at will is told as its number doubles.
    fn is_news(&mut self, event: &Event) -> bool {
        let Event::Misbehaved { link, .. } = event else { return true };
        // Of a link that is gone, its end was told.
        self.links.get_mut(link).is_some_and(|linked| {
            linked.misbehaved = linked.misbehaved.saturating_add(1);
            linked.misbehaved.is_power_of_two()
        })
    }

    /// Ends a link: what is queued for it is still written.
    fn cut(&mut self, link: LinkId, why: LinkEnd) -> Result<(), RtError> {
        if self.links.remove(&link).is_some() {
            self.handle(None, Input::Disconnected(link))?;
            self.tell(Told::LinkDown { link, why });
        }
        Ok(())
    }

    /// Takes the chain's news, and shows the node all that it watches if there were any.
    fn hear_chain(&mut self) -> Result<(), RtError> {
        let mut news = false;
        let mut moved = false;
        for _ in 0..CHAIN_EVENTS_MAX {
            match self.parts.chain.next_event() {
                Ok(None) => break,
                Ok(Some(event)) => {
                    news = true;
                    moved |= !matches!(event, ChainEvent::TxSeen { .. });
                }
                Err(_) => {
                    // Cut off: what happens meanwhile is not told one by one later.
                    self.stale = true;
                    return Ok(());
                }
            }
        }
        if !news && !self.stale && self.unanswered.is_empty() {
            return Ok(());
        }
        if moved || self.stale {
            let Ok(tip) = self.parts.chain.tip() else {
                self.stale = true;
                return Ok(());
            };
            self.handle(None, Input::Tip(tip))?;
        }
        let mut outpoints = std::mem::take(&mut self.unanswered);
        if news || self.stale {
            self.stale = false;
            outpoints.extend(self.parts.node.watched());
        }
        self.look_up(outpoints)
    }

    fn look_up(&mut self, outpoints: impl IntoIterator<Item = OutPoint>) -> Result<(), RtError> {
        let mut outpoints = outpoints.into_iter();
        let mut failed: usize = 0;
        for outpoint in outpoints.by_ref() {
            if let Ok(status) = self.parts.chain.output(outpoint) {
                self.handle(None, Input::Output(outpoint, status))?;
                continue;
            }
            // Asked again at the next poll. The node bounds how many it asks for.
            self.unanswered.insert(outpoint);
            failed = failed.saturating_add(1);
            if failed >= SILENT_LOOK_UPS_MAX {
                break;
            }
        }
        self.unanswered.extend(outpoints);
        Ok(())
    }

    /// One barrier for everything so far; then it leaves. Look-ups are answered at once.
    fn flush(&mut self) -> Result<(), RtError> {
        for _ in 0..ROUNDS_MAX {
            let now = self.clock.now()?;
            let Some(outbox) = self.commit(&now)? else { break };
            let Outbox { broadcasts, sends, look_ups, events, batches, bundles } = outbox;
            // P4: committed, so it may leave. To the chain first: a payee that is shown a channel
            // looks for its funding at once.
            for package in broadcasts {
                // The node offers it again with every block until it is final.
                if let Err(error) = self.parts.chain.broadcast(&package) {
                    self.tell(Told::Unsent { error });
                }
            }
            self.send(sends)?;
            for event in events {
                if self.is_news(&event) {
                    self.tell(Told::Node(event));
                }
            }
            // Nobody may be listening.
            for batch in batches {
                let _nobody = self.shown.batches.send(batch);
            }
            for bundle in bundles {
                let _nobody = self.shown.bundles.send(bundle);
            }
            if look_ups.is_empty() {
                break;
            }
            self.look_up(look_ups)?;
        }
        for Reply { to, done } in std::mem::take(&mut self.replies) {
            // The caller may have given up waiting.
            let _gone = to.send(done);
        }
        Ok(())
    }

    /// Flushes the node. Only the store's failure ends the driver; a budget that cannot be reserved
    /// is told, and tried again with the next input.
    fn commit(&mut self, now: &Now) -> Result<Option<Outbox>, RtError> {
        match self.parts.node.flush(now, &mut *self.parts.store) {
            Ok(outbox) => Ok(Some(outbox)),
            Err(error @ NodeError::Store(_)) => Err(error.into()),
            Err(error) => {
                self.tell(Told::Refused { link: None, count: 1, error });
                Ok(None)
            }
        }
    }

    fn send(&mut self, sends: Vec<(LinkId, Message)>) -> Result<(), RtError> {
        let mut frames: BTreeMap<LinkId, Frames> = BTreeMap::new();
        for (link, message) in sends {
            let frames = frames.entry(link).or_default();
            let before = frames.bytes.len();
            // The limits of the messages' fields keep every one of ours within a frame.
            let _fits = write_frame(&message, &mut frames.bytes);
            if !matches!(message, Message::BatchVoucher(_) | Message::BatchPart(_)) {
                let written = frames.bytes.len().saturating_sub(before);
                frames.counted = frames.counted.saturating_add(written);
            }
        }
        for (link, frames) in frames {
            if let Some(linked) = self.links.get(&link)
                && linked.out.push(frames).is_err()
            {
                self.cut(link, LinkEnd::Slow)?;
            }
        }
        Ok(())
    }

    fn tell(&self, told: Told) {
        // Nobody may be listening.
        let _nobody = self.told.send(told);
    }
}

/// Whether a stranger may send it as often as it likes, so that it makes up for no refusal.
const fn is_free(message: &Message) -> bool {
    matches!(
        message,
        Message::Ping(_)
            | Message::TermsQuery(_)
            | Message::Open(_)
            | Message::Resume(_)
            | Message::BatchPart(_)
            | Message::HoldItems(_)
    )
}
