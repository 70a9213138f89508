//! The parent: builds windows on a thread, sends them while the flight has room, and counts what is
//! acknowledged.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::process::{Child, ChildStdout, Command as Process, Stdio};
use std::time::{Duration, Instant};

use bitcoin::OutPoint;
use cpu_time::ProcessTime;
use millstream::batch::Sealed;
use millstream::batch::flight::{FlightLimits, Front};
use millstream::batch::item::{Charge, Item, LeafSize};
use millstream::node::{Command, Event, LinkId};
use millstream::rt::{Driver, News, Told};
use millstream::signer::{MemorySigner, PeerId, Signer};
use millstream::stream::Payer;
use millstream::units::{ItemId, Lane, Msat, SessionId};
use tokio::sync::mpsc;

use super::delay;
use super::ends::{self, Funded, PAYER};
use super::payee::Said;
use crate::bench::Args;
use crate::bench::windows::Mix;

/// Windows of a round: long enough that where in a group of acknowledgements it ends is nothing.
const ROUND: u32 = 40;
/// Items of a round of smaller windows.
const ROUND_ITEMS: u32 = 400_000;
/// Windows that are built ahead.
const AHEAD: usize = 3;

/// What is measured.
pub(super) struct Plan {
    pub(super) leaf_size: LeafSize,
    pub(super) mix: Mix,
    /// Items of a window.
    pub(super) window: u32,
    /// How long each byte takes one way; `None`: as long as loopback takes.
    pub(super) one_way: Option<Duration>,
    pub(super) rounds: u32,
    pub(super) flight: u8,
}

impl Plan {
    /// Windows of a round.
    fn round(&self) -> u32 {
        ROUND.max(ROUND_ITEMS / self.window)
    }
}

/// What came out.
pub(super) struct Measured {
    /// The median round.
    pub(super) items_per_s: f64,
    /// Items of all rounds, the first included.
    pub(super) items: u32,
    /// Seconds of processor time.
    pub(super) payer_cpu: f64,
    pub(super) payee_cpu: f64,
    /// The most that was sent and not acknowledged.
    pub(super) at_risk: Msat,
}

/// Measures in a child and here.
pub(super) fn run(args: &Args, plan: &Plan) -> Result<Measured, Box<dyn Error>> {
    let scratch = tempfile::tempdir_in(&args.dir)?;
    let mut child = Process::new(std::env::current_exe()?)
        .args(["bench", "--payee", "--dir"])
        .arg(scratch.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut says = BufReader::new(child.stdout.take().ok_or("no output")?);
    let measured = with_child(plan, scratch.path(), &mut child, &mut says);
    if measured.is_err() {
        let _gone = child.kill();
    }
    child.wait()?;
    measured
}

fn with_child(
    plan: &Plan,
    dir: &std::path::Path,
    child: &mut Child,
    says: &mut BufReader<ChildStdout>,
) -> Result<Measured, Box<dyn Error>> {
    let mut line = String::new();
    says.read_line(&mut line)?;
    let address: SocketAddr = line.trim().parse()?;
    let address = match plan.one_way {
        Some(one_way) => delay::line(address, one_way)?,
        None => address,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut measured, sum) = runtime.block_on(pay(plan, dir, address))?;
    // Its input ends, so it says what it saw.
    drop(child.stdin.take());
    line.clear();
    says.read_line(&mut line)?;
    let said: Said = serde_json::from_str(&line)?;
    if (said.visited, said.sum) != (u64::from(measured.items), sum.to_msat()) {
        return Err(format!("the payee saw {said:?} of {} items", measured.items).into());
    }
    measured.payee_cpu = said.cpu;
    Ok(measured)
}

async fn pay(
    plan: &Plan,
    dir: &std::path::Path,
    address: SocketAddr,
) -> Result<(Measured, Msat), Box<dyn Error>> {
    let funded = ends::funded()?;
    let outpoint = funded.outpoint;
    let driver = Driver::start(ends::parts(PAYER, &funded, dir)?, ends::options(false)).await?;
    let mut news = driver.news();
    let link = driver.connect(address).await?;
    open(&driver, &mut news, link, funded).await?;
    let flight = NonZeroU8::new(plan.flight).ok_or("no flight")?;
    let limits = FlightLimits { windows: flight, amount: Msat::MAX };
    let (lane, limit, session) = (Lane::MIN, Msat::MAX, SessionId::MIN);
    driver.command(Command::OpenLane { outpoint, lane, limit, session }).await?;
    driver.command(Command::LimitFlight { outpoint, limits }).await?;
    let front = driver.look(move |node| node.front(outpoint)).await??;
    let total = (plan.rounds + 1) * plan.round();
    let (out, sealed) = mpsc::channel(AHEAD);
    let (leaf_size, charges) = (plan.leaf_size, plan.mix.charges(plan.window));
    let building = std::thread::spawn(move || build(front, leaf_size, &charges, total, &out));
    let began = ProcessTime::now();
    let mut flying = Flying::new(plan);
    let sent = flying.send_all(&driver, &mut news, outpoint, sealed, total).await;
    let payer_cpu = began.elapsed().as_secs_f64();
    building.join().map_err(|_| "the building thread died")??;
    sent?;
    let paid = driver.look(move |node| node.payer(outpoint).map(Payer::signed)).await?;
    driver.stop().await?;
    let (items, at_risk) = (total * plan.window, flying.at_risk);
    let items_per_s = flying.median(plan)?;
    let measured = Measured { items_per_s, items, payer_cpu, payee_cpu: 0.0, at_risk };
    Ok((measured, paid.ok_or("no channel")?))
}

/// Shows the channel, and opens a budget.
async fn open(
    driver: &Driver<MemorySigner>,
    news: &mut News,
    link: LinkId,
    funded: Funded,
) -> Result<(), Box<dyn Error>> {
    let Funded { opening, funding, outpoint } = funded;
    let fund = Command::Fund {
        link: Some(link),
        opening: Box::new(opening),
        funding,
        vout: outpoint.vout,
        backup: Vec::new(),
    };
    driver.command(fund).await?;
    while !matches!(news.next().await, Some(Told::Node(Event::Ready { .. }))) {}
    let opened = driver
        .look(move |node| {
            let peer = node.payer(outpoint).map(|payer| PeerId::new(payer.record().base()));
            let session = SessionId::MIN;
            peer.map(|peer| node.signer_mut().open_session(peer, session, Msat::MAX))
        })
        .await?;
    Ok(opened.ok_or("no channel")??)
}

/// Every item is pushed by a call of its own.
fn build(
    mut front: Front,
    leaf_size: LeafSize,
    charges: &[Charge],
    total: u32,
    out: &mpsc::Sender<Box<Sealed>>,
) -> Result<(), String> {
    let mut next = 1_u64;
    for _ in 0..total {
        let mut builder = front.build(leaf_size).map_err(|error| error.to_string())?;
        for charge in charges {
            let id = ItemId::new(next).map_err(|error| error.to_string())?;
            let item = Item { lane: Lane::MIN, id, charge: *charge, hash: None };
            builder.push(&item).map_err(|error| error.to_string())?;
            next += 1;
        }
        let sealed = builder.seal().map_err(|error| error.to_string())?;
        front = front.after(&sealed).map_err(|error| error.to_string())?;
        if out.blocking_send(Box::new(sealed)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// What is under way, and when each round ended.
struct Flying {
    most: usize,
    /// Windows of a round.
    round: u32,
    /// Where each window in flight starts and ends.
    windows: VecDeque<(Msat, Msat)>,
    acknowledged: u32,
    marks: Vec<Instant>,
    at_risk: Msat,
}

impl Flying {
    fn new(plan: &Plan) -> Self {
        let (windows, marks) = (VecDeque::new(), Vec::new());
        let (most, round) = (usize::from(plan.flight), plan.round());
        Self { most, round, windows, acknowledged: 0, marks, at_risk: Msat::ZERO }
    }

    async fn send_all(
        &mut self,
        driver: &Driver<MemorySigner>,
        news: &mut News,
        outpoint: OutPoint,
        mut sealed: mpsc::Receiver<Box<Sealed>>,
        total: u32,
    ) -> Result<(), Box<dyn Error>> {
        let mut sent = 0;
        while self.acknowledged < total {
            while let Some(told) = news.now() {
                self.hear(&told)?;
            }
            // The last one may have been among them, and then nothing is left to wait for.
            if self.acknowledged == total {
                break;
            }
            if sent == total || self.windows.len() >= self.most {
                let told = news.next().await.ok_or("the driver ended")?;
                self.hear(&told)?;
                continue;
            }
            let batch = sealed.recv().await.ok_or("no more windows")?;
            let claim = batch.credited.claim;
            let session = SessionId::MIN;
            driver.command(Command::PayBatch { outpoint, batch, session }).await?;
            self.windows.push_back((claim.start, claim.paid));
            let first = self.windows.front().map_or(claim.start, |(start, _)| *start);
            self.at_risk = self.at_risk.max(claim.paid.saturating_sub(first));
            sent += 1;
        }
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a bench needs the clock; the rule is the core's"
    )]
    fn hear(&mut self, told: &Told) -> Result<(), Box<dyn Error>> {
        match told {
            Told::Node(Event::Acknowledged { paid, .. }) => {
                while self.windows.front().is_some_and(|(_, end)| end <= paid) {
                    self.windows.pop_front();
                    self.acknowledged += 1;
                    if self.acknowledged.is_multiple_of(self.round) {
                        self.marks.push(Instant::now());
                    }
                }
                Ok(())
            }
            Told::Node(Event::Refused { .. }) | Told::Refused { .. } | Told::LinkDown { .. } => {
                Err(format!("{told:?}").into())
            }
            _ => Ok(()),
        }
    }

    /// Items a second of the median round; the first one warms up.
    fn median(&self, plan: &Plan) -> Result<f64, Box<dyn Error>> {
        let mut times: Vec<f64> = self
            .marks
            .windows(2)
            .filter_map(|pair| Some(pair.last()?.duration_since(*pair.first()?).as_secs_f64()))
            .collect();
        if times.len() != usize::try_from(plan.rounds)? {
            return Err(format!("{} rounds, {} were meant", times.len(), plan.rounds).into());
        }
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).ok_or("no rounds")?;
        Ok(f64::from(self.round) * f64::from(plan.window) / median)
    }
}
