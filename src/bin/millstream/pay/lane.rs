//! Payments on a lane: items of windows, one voucher each, several of them in flight.

use std::time::Duration;

use bitcoin::OutPoint;
use millstream::batch::Sealed;
use millstream::batch::item::{Charge, Item, LeafSize};
use millstream::node::{Command, Node, NodeError};
use millstream::signer::MemorySigner;
use millstream::units::{ItemId, Lane, Msat, SessionId};
use tokio::time::{Instant, sleep};

use super::Paying;
use crate::failure::Failure;

/// How often it is asked whether there is room for one more window.
const ROOM: Duration = Duration::from_millis(5);

/// On which lane, and how many a window.
#[derive(Debug, clap::Args)]
pub(super) struct LaneArgs {
    /// Pay as items on this lane, many of them a voucher; the payee shows each, and can give
    /// receipts
    #[arg(long, requires = "amount")]
    pub(super) lane: Option<u16>,
    /// Items a window
    #[arg(long, default_value_t = 1_000, requires = "lane")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    window: u32,
    /// Items a leaf of the windows' trees: 1 for receipts that show nothing else, 16 for speed
    #[arg(long, default_value_t = 1, requires = "lane")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    leaf: u8,
}

/// What is still to be paid on a lane.
#[derive(Debug, Clone, Copy)]
struct Rest {
    lane: Lane,
    amount: Msat,
    items: u32,
    leaf: LeafSize,
}

impl Paying<'_> {
    /// Pays `times` items of `amount` on the lane, out of `session`'s budget.
    pub(super) async fn items(
        &mut self,
        outpoint: OutPoint,
        amount: Msat,
        session: SessionId,
    ) -> Result<(), Failure> {
        let args = &self.args.lanes;
        let lane = Lane::new(args.lane.unwrap_or_default())?;
        self.limit(outpoint, lane, session).await?;
        let leaf = LeafSize::new(args.leaf)?;
        let (mut left, window) = (self.args.times, args.window);
        let patience = Duration::from_secs(self.args.patience);
        let mut until = Instant::now() + patience;
        while left > 0 {
            let rest = Rest { lane, amount, items: left.min(window), leaf };
            let build = move |node: &mut Node<MemorySigner>| build(node, outpoint, rest);
            let Some(batch) = self.driver.look(build).await?? else {
                // Not every answer that makes room is told: what the payee holds of each lane is
                // not.
                self.talk.drain()?;
                if Instant::now() > until {
                    let (what, seconds) = ("room for a window", self.args.patience);
                    return Err(Failure::TooSlow { what, seconds });
                }
                sleep(ROOM).await;
                continue;
            };
            until = Instant::now() + patience;
            let batch = Box::new(batch);
            self.driver.command(Command::PayBatch { outpoint, batch, session }).await?;
            left -= rest.items;
        }
        Ok(())
    }

    /// The lane may pay all that the channel holds: the session's budget bounds it.
    async fn limit(
        &self,
        outpoint: OutPoint,
        lane: Lane,
        session: SessionId,
    ) -> Result<(), Failure> {
        let find = move |node: &mut Node<MemorySigner>| {
            let room = node.payer(outpoint).map(|payer| payer.channel().capacity().to_msat());
            let open = node.lanes(outpoint).is_some_and(|lanes| lanes.state(lane).is_some());
            (room.unwrap_or(Msat::ZERO), open)
        };
        let (limit, open) = self.driver.look(find).await?;
        let command = if open {
            Command::LimitLane { outpoint, lane, limit }
        } else {
            Command::OpenLane { outpoint, lane, limit, session }
        };
        Ok(self.driver.command(command).await?)
    }
}

/// The next window; none while what is in flight leaves no room for it.
fn build(
    node: &Node<MemorySigner>,
    outpoint: OutPoint,
    rest: Rest,
) -> Result<Option<Sealed>, Failure> {
    let Rest { lane, amount, items, leaf } = rest;
    let front = match node.front(outpoint) {
        Ok(front) => front,
        // What was lost is being asked for, or a budget reserved.
        Err(NodeError::InFlight { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let last = front.lanes().state(lane).and_then(|state| state.last);
    let mut builder = front.build(leaf)?;
    let mut id = last.map_or(0, ItemId::to_u64);
    for _ in 0..items {
        id += 1;
        let (id, charge) = (ItemId::new(id)?, Charge::Amount(amount));
        builder.push(&Item { lane, id, charge, hash: None })?;
    }
    let batch = builder.seal()?;
    let sum = Msat::new(amount.to_msat().saturating_mul(items.into()))?;
    let flight = node.flight(outpoint);
    // Alone it must fit: else nothing would ever make room.
    let waits = flight.is_some_and(|flight| {
        flight.batches() > 0 && flight.check_room(sum, batch.bytes.len()).is_err()
    });
    Ok((!waits).then_some(batch))
}
