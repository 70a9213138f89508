//! Jobs of the simulated chain's templates, and blocks of shares that are hard enough.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::{BlockHash, ScriptBuf};
use millstream::chain::remote::{ChainHost, RemoteError};
use millstream::chain::template::{BlockPlan, Layout};
use millstream::rt::stratum::{Credit, Job, StratumServer};
use millstream::shares::{Desk, PoolJob};
use millstream::units::{Blocks, Seconds, Target};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::machine;

/// Bytes that a miner has in the coinbase.
pub(super) const EXTRANONCE2_SIZE: u8 = 8;
/// How far a header's time may be above its job's: two hours, the tolerance of Bitcoin's nodes.
const ROLL_S: u64 = 7_200;
/// Jobs of which a block may come: all whose shares any desk takes. Of one tip there are as many as
/// there were new transactions.
const PLANS_MAX: usize = Desk::JOBS_MAX;

/// The chain's next block, as its miners have it.
pub(super) struct Works {
    host: Arc<ChainHost>,
    /// `None` once it is closed: what was found before still becomes a block.
    server: Option<StratumServer>,
    layout: Layout,
    /// What makes a block here: by the header of the test chain nearly every hash would.
    house: Target,
    /// The newest last.
    plans: VecDeque<(PoolJob, BlockPlan)>,
    /// On which tip the newest job builds, and how many transactions waited then.
    built_on: Option<(BlockHash, usize)>,
    last_block: Instant,
    block_every: Option<Duration>,
    blocks: u64,
}

impl Works {
    /// Its blocks pay to `script`.
    pub(super) fn new(
        host: Arc<ChainHost>,
        server: StratumServer,
        script: ScriptBuf,
        house: Target,
        block_every: Option<Duration>,
    ) -> Self {
        let mut layout = Layout::new(script);
        layout.extranonce1_size = usize::from(Job::EXTRANONCE1_SIZE);
        layout.extranonce2_size = usize::from(EXTRANONCE2_SIZE);
        layout.tag = b"/millstream/".to_vec();
        let (plans, built_on) = (VecDeque::new(), None);
        let (server, last_block) = (Some(server), Instant::now());
        Self { host, server, layout, house, plans, built_on, last_block, block_every, blocks: 0 }
    }

    /// Gives out a job where tip or mempool have changed, or after a while a block without one.
    pub(super) fn refresh(&mut self) -> Result<(), Failure> {
        let Some(server) = &self.server else { return Ok(()) };
        if self.block_every.is_some_and(|every| self.last_block.elapsed() >= every) {
            self.host.mine(Blocks::new(1)?)?;
        }
        let look = self.host.chain().with(|chain| (chain.tip().hash, chain.mempool().count()));
        if self.built_on == Some(look) {
            return Ok(());
        }
        let (waiting, now) = (look.1, machine::now()?.time);
        let mut template = self.host.chain().with(|chain| chain.block_template());
        // The chain's first blocks were ten minutes apart; from here on it is the present.
        template.current_time = now.max(template.min_time);
        if self.built_on.is_none_or(|(tip, _)| tip != template.previous) {
            self.last_block = Instant::now();
        }
        self.built_on = Some((template.previous, waiting));
        let plan = BlockPlan::new(template, &self.layout)?;
        let head = plan.head(Seconds::new(ROLL_S)?);
        let (prefix, suffix) = (plan.prefix(), plan.suffix());
        let job = Job::new(head, prefix, suffix, plan.branches(), EXTRANONCE2_SIZE)?;
        let job = job.with_harder_blocks(self.house);
        self.plans.push_back((job.pool().clone(), plan));
        while self.plans.len() > PLANS_MAX {
            self.plans.pop_front();
        }
        Ok(server.publish(job)?)
    }

    /// Extends the chain by the block of a share, and gives out the next job at once.
    pub(super) fn found(&mut self, credit: &Credit) -> Result<Option<String>, Failure> {
        let plan = self.plans.iter().rev().find(|(job, _)| job == credit.job.pool());
        let Some((_, plan)) = plan else { return Ok(None) };
        let block = plan.block(&credit.extranonce1, credit.good.share())?;
        let line = match self.host.connect(&block) {
            Ok(tip) => {
                self.blocks += 1;
                format!("block {} at height {} by {}", tip.hash, tip.height, credit.worker)
            }
            // Another block was there first.
            Err(RemoteError::Refused(reason)) => format!("a block too late: {reason}"),
            Err(error) => return Err(error.into()),
        };
        self.refresh()?;
        Ok(Some(line))
    }

    /// Ends all connections, and gives out nothing from here on.
    pub(super) fn close(&mut self) {
        self.server = None;
    }

    /// How many blocks its miners found.
    pub(super) const fn blocks(&self) -> u64 {
        self.blocks
    }
}
