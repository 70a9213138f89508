//! What the chain shows, compared with what the record says: fates, preimages, news.

use alloc::vec::Vec;

use bitcoin::{OutPoint, Transaction};

use super::record::{Stage, Subject};
use super::{Fate, Monitor, MonitorError, News, Side, Sight, Watch, Watched, coin};
use crate::keys::Context;
use crate::tx::hold::HoldCoin;
use crate::tx::seen::{OutputStatus, Spend};
use crate::tx::{PayeeSpend, dust_limit};
use crate::units::{Blocks, Height, Sat};

/// What was seen.
pub(super) struct Seen<'a> {
    pub(super) watch: Watch,
    pub(super) news: Vec<News>,
    /// The holds that are on the chain.
    pub(super) coins: Vec<Placed<'a>>,
}

/// One hold's output, and what spends it.
pub(super) struct Placed<'a> {
    /// As the next record has it.
    pub(super) held: Watched,
    pub(super) coin: HoldCoin,
    /// None before it was looked up.
    status: Option<&'a OutputStatus>,
}

impl<'a> Sight<'a> {
    pub(super) fn of(&self, outpoint: OutPoint) -> Option<&'a OutputStatus> {
        self.outputs.iter().find(|(at, _)| *at == outpoint).map(|(_, status)| status)
    }
}

pub(super) fn see<'a>(
    monitor: &Monitor,
    context: &Context,
    sight: &Sight<'a>,
) -> Result<Seen<'a>, MonitorError> {
    let mut seen = Seen { watch: monitor.watch.clone(), news: Vec::new(), coins: Vec::new() };
    if seen.watch.is_over() {
        return Ok(seen);
    }
    for held in seen.watch.holds.iter_mut().filter(|held| held.preimage.is_none()) {
        let fits = sight.preimages.iter().find(|known| known.hash() == held.hold.hash);
        held.preimage = fits.copied();
    }
    let status = sight.of(monitor.outpoint());
    if let Some(status) = status {
        check(monitor, status)?;
    }
    seen.watch.confirmed = status.and_then(|status| status.confirmed);
    let spend = status.and_then(|status| status.spent.as_ref());
    seen.stage(monitor, context, spend)?;
    if let Some(spend) = spend {
        seen.fates(monitor, context, sight, spend)?;
    } else {
        seen.unspent();
    }
    if seen.is_over(sight.tip) {
        seen.watch.stage = Stage::Over;
        seen.news.push(News::Over);
    }
    Ok(seen)
}

fn check(monitor: &Monitor, status: &OutputStatus) -> Result<(), MonitorError> {
    let channel = &monitor.channel;
    let same = status.script == *channel.output().script() && status.value == channel.capacity();
    let outpoint = channel.outpoint();
    if same { Ok(()) } else { Err(MonitorError::OtherOutput { outpoint }) }
}

impl<'a> Seen<'a> {
    fn stage(
        &mut self,
        monitor: &Monitor,
        context: &Context,
        spend: Option<&Spend>,
    ) -> Result<(), MonitorError> {
        let stage = match spend {
            None => Stage::Unspent,
            Some(spend) => {
                let (txid, at) = (spend.tx.compute_txid(), spend.confirmed);
                let own = match self.watch.stage {
                    Stage::Spent { by, own, .. } if by == txid => own,
                    _ if self.watch.subject.side == Side::Payer => None,
                    _ => {
                        let own = PayeeSpend::coin(context, &monitor.channel, &spend.tx)?;
                        own.map(|(outpoint, _)| outpoint.vout)
                    }
                };
                Stage::Spent { by: txid, at, own }
            }
        };
        if stage == self.watch.stage {
            return Ok(());
        }
        self.watch.stage = stage;
        self.news.push(match stage {
            Stage::Spent { by, at, .. } => News::Spent { by, at },
            Stage::Unspent | Stage::Over => News::SpendUndone,
        });
        Ok(())
    }

    /// What was on the chain is not there any more; what it showed stays known (W1).
    fn unspent(&mut self) {
        for held in &mut self.watch.holds {
            held.fate = Fate::Held;
        }
    }

    fn fates(
        &mut self,
        monitor: &Monitor,
        context: &Context,
        sight: &Sight<'a>,
        spend: &Spend,
    ) -> Result<(), MonitorError> {
        let found = coin::coins(context, &monitor.channel, &self.watch.holds, &spend.tx)?;
        let mut found = found.into_iter().peekable();
        let by = spend.tx.compute_txid();
        let by_before = match monitor.watch.stage {
            Stage::Spent { by, .. } => Some(by),
            Stage::Unspent | Stage::Over => None,
        };
        for (index, held) in self.watch.holds.iter_mut().enumerate() {
            let Some((_, coin)) = found.next_if(|(at, _)| *at == index) else {
                held.fate = Fate::Held;
                continue;
            };
            let status = sight.of(coin.outpoint());
            let same = held.fate.vout() == Some(coin.outpoint().vout) && by_before == Some(by);
            // What was not looked up has not changed.
            if status.is_some() || !same {
                let spend = status.and_then(|status| status.spent.as_ref());
                Self::fate(held, &coin, spend, &mut self.news);
            }
            self.coins.push(Placed { held: *held, coin, status });
        }
        Ok(())
    }

    fn fate(held: &mut Watched, coin: &HoldCoin, spend: Option<&Spend>, news: &mut Vec<News>) {
        let (id, vout, before) = (held.hold.id, coin.outpoint().vout, held.fate);
        let revealed = spend.and_then(|spend| coin.preimage_in(&spend.tx));
        held.fate = match spend {
            None => Fate::Published { vout },
            Some(spend) => {
                let (by, at) = (spend.tx.compute_txid(), spend.confirmed);
                match revealed {
                    Some(_) => Fate::Claimed { vout, by, at },
                    None => Fate::TimedOut { vout, by, at },
                }
            }
        };
        if let Some(preimage) = revealed.filter(|_| held.preimage.is_none()) {
            held.preimage = revealed;
            news.push(News::Revealed { id, preimage });
        }
        if held.fate == before {
            return;
        }
        news.push(match held.fate {
            Fate::Held | Fate::Published { .. } => News::Published { id, amount: coin.value() },
            Fate::Claimed { at, .. } => {
                News::Claimed { id, at, after_release: held.standing.is_released() }
            }
            Fate::TimedOut { at, .. } => {
                let lost = held.preimage.is_some() && !held.standing.is_released();
                News::TimedOut { id, at, lost }
            }
        });
    }

    /// W6: whether the spend is buried, and every end of a hold that matters to this side.
    fn is_over(&self, tip: Height) -> bool {
        let Subject { side, depth, .. } = self.watch.subject;
        let buried = |at: Option<Height>| at.is_some_and(|at| is_deep(at, tip, depth));
        let Stage::Spent { at, .. } = self.watch.stage else { return false };
        buried(at)
            && self.coins.iter().all(|Placed { held, coin, .. }| {
                // The payer's, whenever it fetches it.
                let left = side == Side::Payee
                    && (held.preimage.is_none() || held.standing.is_released())
                    && is_deep(held.hold.expiry, tip, depth);
                // Nobody relays a spend of it.
                let dust = coin.value() <= dust_limit(coin.scripts().script());
                buried(held.fate.ended()) || left || dust
            })
    }
}

fn is_deep(at: Height, tip: Height, depth: Blocks) -> bool {
    at.depth_at(tip) >= depth
}

impl Placed<'_> {
    /// Whether it was looked up, and no block holds a spend of it.
    pub(super) fn is_open(&self) -> bool {
        self.status.is_some() && self.held.fate.ended().is_none()
    }

    pub(super) fn spend(&self) -> Option<&Spend> {
        self.status?.spent.as_ref()
    }

    /// What its own spend has to pay from.
    pub(super) const fn value(&self) -> Sat {
        self.coin.value()
    }

    /// The value of all that `tx` spends, if it spends nothing else.
    pub(super) fn value_in(&self, tx: &Transaction) -> Option<Sat> {
        (tx.input.len() == 1).then_some(self.value())
    }
}
