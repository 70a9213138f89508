//! `pay`: pays a payee over TCP, on the simulated chain that it offers.
//!
//! ```text
//!   connect -> terms -> an open channel with this payee? -- yes --> attach
//!                                       '-- no --> fund, wait until it is buried
//!   -> pay an amount (each alone, or as items of a lane), hold one until its delivery, or take the
//!      offered session -> close, or leave it open for the next time
//! ```

mod hold;
mod lane;
mod talk;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::{Network, OutPoint};
use indicatif::{ProgressBar, ProgressStyle};
use millstream::chain::ChainSource;
use millstream::chain::remote::RemoteChain;
use millstream::meter::State;
use millstream::monitor::Policy;
use millstream::node::{Command, LinkId, Node, NodeError};
use millstream::rt::{Driver, RtError};
use millstream::signer::{MemorySigner, PeerId, Signer};
use millstream::stream::payer::Ending;
use millstream::stream::{HoldRules, Payer, Terms};
use millstream::tx::Delay;
use millstream::units::{Blocks, FeeRate, Msat, Quantity, Sat, SessionId};
use tokio::time::{Instant, interval, sleep};

use crate::failure::Failure;
use crate::funding::{Funded, NewChannel};
use crate::machine::{self, NetworkArgs};
use crate::standing;
use hold::HoldArgs;
use lane::LaneArgs;
use talk::Talk;

/// How often the demo's own meter is read.
const READING: Duration = Duration::from_millis(200);
/// Weight units of a cooperative close with two P2TR outputs, rounded up.
const CLOSE_WEIGHT: u64 = 900;

/// Whom, what and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of its seed and its store; made if it does not exist
    #[arg(long)]
    dir: PathBuf,
    /// The payee's address, as serve prints it
    #[arg(long, default_value = "127.0.0.1:9736")]
    to: SocketAddr,
    /// Where the simulated chain is offered, as serve prints it
    #[arg(long, default_value = "127.0.0.1:9737")]
    chain: SocketAddr,
    /// The terms that the payee must have, as text; else its own word is taken
    #[arg(long)]
    terms: Option<String>,
    /// What a new channel holds, in sat
    #[arg(long, default_value_t = 1_000_000)]
    capacity: u64,
    /// After how many blocks a new channel can be refunded
    #[arg(long, default_value_t = 144)]
    delay: u16,
    /// One payment, in msat: thousandths of a satoshi
    #[arg(long, required_unless_present_any = ["session_seconds", "hold"])]
    amount: Option<u64>,
    /// How many of them
    #[arg(long, default_value_t = 1, requires = "amount")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    #[command(flatten)]
    lanes: LaneArgs,
    #[command(flatten)]
    holding: HoldArgs,
    /// Take the offered metered session for so many seconds, instead
    #[arg(long, conflicts_with = "amount")]
    session_seconds: Option<u64>,
    /// The most that this call may pay, in msat; else the payments' sum, or the channel
    #[arg(long)]
    budget: Option<u64>,
    /// The watts that the own meter counts in a session: not less than serve delivers
    #[arg(long, default_value_t = 11_000)]
    watts: u64,
    /// Close the channel in the end; else it stays open for the next call
    #[arg(long)]
    close: bool,
    /// Use today's budget although nobody knows what was spent of it: after a restore
    #[arg(long)]
    release_day_budget: bool,
    /// Seconds to wait for each answer
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Allow a payee beyond this machine, although nothing encrypts or authenticates the link
    #[arg(long)]
    expose_unencrypted_beyond_loopback: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    machine::block_on(pay(args))
}

async fn pay(args: &Args) -> Result<(), Failure> {
    let network = args.network.with_chain()?;
    let wanted = args.terms.as_deref().map(Terms::from_text).transpose()?;
    let seed = machine::seed_or_new(&args.dir)?;
    let script = machine::coin_script(&seed, network)?;
    let store = machine::store(&args.dir)?;
    let funded = Funded::load(&store, &seed, network)?;
    let chain = RemoteChain::connect(args.chain)?;
    let rate = chain.fee_rate(Blocks::MIN)?.max(FeeRate::new(1_000)?);
    let bank = RemoteChain::connect(args.chain)?;
    let options = machine::options(network, args.expose_unencrypted_beyond_loopback);
    let driver = machine::start(seed, None, store, args.release_day_budget, chain, options).await?;
    let talk = Talk::new(driver.news(), args.to, Duration::from_secs(args.patience));
    let mut payer = Paying { args, network, driver: driver.clone(), talk, bank, funded };
    let done = payer.all(wanted, script, rate).await;
    machine::stop(driver, done).await
}

struct Paying<'a> {
    args: &'a Args,
    network: Network,
    driver: Driver<MemorySigner>,
    talk: Talk,
    bank: RemoteChain,
    funded: Funded,
}

impl Paying<'_> {
    async fn all(
        &mut self,
        wanted: Option<Terms>,
        script: bitcoin::ScriptBuf,
        rate: FeeRate,
    ) -> Result<(), Failure> {
        // What an earlier call held may have to come back from the chain.
        let policy = Box::new(Policy::new(script.clone()));
        self.driver.command(Command::TendHolds { policy, rate, coins: Vec::new() }).await?;
        let link = self.driver.connect(self.args.to).await?;
        self.talk.link = Some(link);
        self.driver.command(Command::AskTerms(link)).await?;
        let terms = self.talk.until("its terms", |talk| talk.terms.clone()).await?;
        if wanted.is_some_and(|wanted| wanted != terms) {
            return Err(Failure::OtherTerms);
        }
        if terms.network != self.network {
            return Err(Failure::WrongNetwork { want: self.network, got: terms.network });
        }
        if self.args.holding.hold.is_some() && terms.holds == HoldRules::NONE {
            return Err(Failure::NoHolds);
        }
        let outpoint = match self.standing(&terms).await? {
            Some(outpoint) => {
                println!("channel {outpoint} taken up");
                self.driver.command(Command::Attach { link, outpoint }).await?;
                outpoint
            }
            None => self.fund(link, &terms).await?,
        };
        self.ready(outpoint).await?;
        self.buried(outpoint, &terms).await?;
        match (self.args.session_seconds, self.args.holding.hold) {
            (Some(seconds), _) => self.session(outpoint, &terms, seconds).await?,
            (None, Some(hash)) => self.hold(outpoint, &terms, hash).await?,
            (None, None) => self.payments(outpoint, &terms).await?,
        }
        if self.args.close {
            let fee = rate.ceil_fee(CLOSE_WEIGHT).unwrap_or(Sat::MAX);
            self.driver.command(Command::Close { outpoint, script, fee }).await?;
            self.talk.until("the close on the chain", |talk| talk.spent).await?;
            println!("channel {outpoint} closing");
            eprintln!("the next block gives each side its part");
        } else {
            eprintln!("the channel stays open: the next call pays on in it, --close ends it");
        }
        Ok(())
    }

    /// The channel with this payee that may be paid on. One past its last call never may be again:
    /// its payer is told how to take it back.
    async fn standing(&self, terms: &Terms) -> Result<Option<OutPoint>, Failure> {
        let (base, now) = (terms.base, machine::now()?.time);
        let find = move |node: &mut Node<MemorySigner>| {
            let tip = node.view(now).ok().map(|view| view.tip.height);
            let late = |payer: &&Payer| tip.is_some_and(|tip| standing::is_late(payer, tip));
            let mine = node.payers().filter(|payer| standing::is_open_to(payer, base));
            let (late, standing): (Vec<&Payer>, Vec<_>) = mine.partition(late);
            let late = late.into_iter().map(|payer| (payer.record().index(), payer.deadline()));
            (late.collect::<Vec<_>>(), standing.first().map(|payer| payer.outpoint()))
        };
        let (late, standing) = self.driver.look(find).await?;
        for (index, deadline) in late {
            let (Some(funding), Some(deadline)) = (self.funded.outpoint(index), deadline) else {
                continue;
            };
            let dir = self.args.dir.display();
            eprintln!(
                "channel {funding} is past its last call; from height {deadline} on, `millstream \
                 backup --dir {dir} --channel {funding}` and refund --seed-file {dir}/seed --text \
                 take its coin back"
            );
        }
        Ok(standing)
    }

    async fn fund(&mut self, link: LinkId, terms: &Terms) -> Result<OutPoint, Failure> {
        let (delay, capacity) = (Delay::new(self.args.delay)?, Sat::new(self.args.capacity)?);
        let channel = NewChannel { link, terms: terms.clone(), capacity, delay };
        let pays = |script, value| self.bank.fund(script, value);
        let (command, outpoint) = self.funded.fund(&self.driver, channel, pays).await?;
        self.driver.command(command).await?;
        println!("channel {outpoint} funded, {capacity}");
        Ok(outpoint)
    }

    /// The payee may not have seen the funding yet: it is shown again until it has.
    async fn ready(&mut self, outpoint: OutPoint) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(self.args.patience);
        loop {
            let answer = |talk: &Talk| talk.ready.map(Ok).or(talk.refused.clone().map(Err));
            match self.talk.until("word of the channel", answer).await? {
                Ok(behind) => {
                    if behind > Msat::ZERO {
                        println!("the payee is behind by {behind}; it is sent again");
                    }
                    return Ok(());
                }
                Err(code) if Instant::now() > deadline => return Err(Failure::Refused { code }),
                Err(_) => {
                    sleep(Duration::from_millis(300)).await;
                    self.talk.refused = None;
                    let link = self.talk.up()?;
                    self.driver.command(Command::Attach { link, outpoint }).await?;
                }
            }
        }
    }

    /// Vouchers count only once the output is as deep as the terms say.
    async fn buried(&self, outpoint: OutPoint, terms: &Terms) -> Result<(), Failure> {
        let want = terms.confirmation_depth;
        let bar = bar(u64::from(want.to_u32()), "blocks above the channel");
        let until = Instant::now() + Duration::from_secs(self.args.patience);
        let mut said = false;
        loop {
            let now = machine::now()?.time;
            let depth = move |node: &mut Node<MemorySigner>| {
                let (payer, tip) = (node.payer(outpoint)?, node.view(now).ok()?.tip);
                standing::depth(payer, tip.height)
            };
            let depth = self.driver.look(depth).await?.unwrap_or(Blocks::MIN);
            bar.set_position(u64::from(depth.to_u32()));
            if depth >= want {
                bar.finish_and_clear();
                return Ok(());
            }
            if !std::mem::replace(&mut said, true) {
                let (chain, blocks) = (self.args.chain, want.to_u32());
                eprintln!(
                    "waiting for the funding to confirm, {blocks} blocks deep: serve mines them, \
                     or at once `millstream generate --chain {chain} {blocks}`",
                );
            }
            if Instant::now() > until {
                let seconds = self.args.patience;
                return Err(Failure::TooSlow { what: "blocks above the channel", seconds });
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn payments(&mut self, outpoint: OutPoint, terms: &Terms) -> Result<(), Failure> {
        let amount = Msat::new(self.args.amount.unwrap_or_default())?;
        let times = u64::from(self.args.times);
        let sum = Msat::new(amount.to_msat().saturating_mul(times))?;
        let budget = self.args.budget.map(Msat::new).transpose()?.unwrap_or(sum);
        // One a call: what was open at a restart counts as spent of it.
        let session = machine::fresh_session()?;
        let peer = PeerId::new(terms.base);
        let begin = move |node: &mut Node<MemorySigner>| {
            node.signer_mut().open_session(peer, session, budget)?;
            Ok::<_, Failure>(node.payer(outpoint).map_or(Msat::ZERO, Payer::signed))
        };
        let before = self.driver.look(begin).await??;
        let target = before.saturating_add(sum);
        let bar = bar(times, "payments");
        let start = Instant::now();
        if self.args.lanes.lane.is_some() {
            self.items(outpoint, amount, session).await?;
        } else {
            for _ in 0..times {
                let ending = Ending::KeepsChange;
                let pay = Command::Pay { outpoint, more: amount, session, ending };
                self.driver.command(pay).await?;
                bar.inc(1);
            }
        }
        let acked = |talk: &Talk| (talk.acked >= target).then_some(());
        self.talk.until("the acknowledgement", acked).await?;
        bar.finish_and_clear();
        let elapsed = start.elapsed();
        self.driver.look(move |node| node.signer_mut().end_session(peer, session)).await?;
        println!("paid {sum} in {times} payments, in all {target}");
        eprintln!("{times} payments acknowledged in {} ms", elapsed.as_millis());
        Ok(())
    }

    async fn session(
        &mut self,
        outpoint: OutPoint,
        terms: &Terms,
        seconds: u64,
    ) -> Result<(), Failure> {
        let mut session = match self.running(outpoint).await? {
            Some(session) => session,
            None => self.accept(outpoint, terms).await?,
        };
        println!("session {session}");
        let bar = bar(seconds, "seconds of service");
        let mut ticks = interval(READING);
        let (start, mut last) = (Instant::now(), Instant::now());
        let mut total = self.measured(session).await? * 1_000;
        while start.elapsed() < Duration::from_secs(seconds) {
            ticks.tick().await;
            total += u128::from(self.args.watts) * last.elapsed().as_millis();
            last = Instant::now();
            bar.set_position(start.elapsed().as_secs());
            let whole = Quantity::new(u64::try_from(total / 1_000).unwrap_or(u64::MAX))?;
            let metered = self.driver.command(Command::Meter { session, total: whole }).await;
            self.talk.drain()?;
            if metered.is_err() && std::mem::take(&mut self.talk.unknown) {
                // It went on after a restart, and the payee has lost it or written it off.
                session = self.accept(outpoint, terms).await?;
                println!("session {session}");
                total = 0;
                last = Instant::now();
                continue;
            }
            metered?;
        }
        bar.finish_and_clear();
        self.driver.command(Command::EndSession(session)).await?;
        let statement = self.talk.until("the statement", |talk| talk.agreed).await?;
        let (owed, paid) = (statement.owed, statement.paid);
        println!("session {session} agreed: {owed}, paid {paid}");
        if owed == paid { Ok(()) } else { Err(Failure::NotPaid { owed, paid }) }
    }

    /// The session that this channel pays already: a restart in the middle.
    async fn running(&self, outpoint: OutPoint) -> Result<Option<SessionId>, Failure> {
        let find = move |node: &mut Node<MemorySigner>| {
            let going = |state| matches!(state, State::Active | State::Paused);
            let mut sessions = node.sessions().filter(|(_, link)| link.is_some());
            let found = sessions.find(|(meter, _)| going(meter.record().state()));
            node.payer(outpoint)?;
            found.map(|(meter, _)| meter.record().id())
        };
        Ok(self.driver.look(find).await?)
    }

    async fn accept(&mut self, outpoint: OutPoint, terms: &Terms) -> Result<SessionId, Failure> {
        let (session, offer, tariff) = self.talk.until("an offer", |talk| talk.offered).await?;
        if tariff.0 != terms.tariff {
            return Err(Failure::OtherTerms);
        }
        let whole = Sat::new(self.args.capacity)?.to_msat();
        let budget = self.args.budget.map(Msat::new).transpose()?.unwrap_or(whole);
        // Ten seconds of service: what the two clocks and meters of a demo may be apart.
        let slack = Quantity::new(self.args.watts.saturating_mul(10))?;
        let deadline = Instant::now() + Duration::from_secs(self.args.patience);
        loop {
            let accept = Command::AcceptSession { session, offer, outpoint, budget, slack };
            match self.driver.command(accept).await {
                Ok(()) => break,
                // One that was taken before a restart: the payee begins it, or says that it does
                // not know it.
                Err(RtError::Node(NodeError::Busy { .. })) if Instant::now() < deadline => {
                    self.talk.drain()?;
                    if let Some(session) = self.running(outpoint).await? {
                        return Ok(session);
                    }
                    sleep(Duration::from_millis(300)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.talk.until("the start of service", |talk| talk.service).await?;
        Ok(session)
    }

    async fn measured(&self, session: SessionId) -> Result<u128, Failure> {
        let look = move |node: &mut Node<MemorySigner>| {
            let record = node.session(session)?.record();
            Some(record.measured().max(record.quantity()).to_u64())
        };
        Ok(self.driver.look(look).await?.unwrap_or_default().into())
    }
}

/// A bar on a terminal, nothing elsewhere.
fn bar(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}");
    let bar = ProgressBar::new(length).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
