//! Why a node refuses an input, and who is to blame.

use bitcoin::OutPoint;

use super::LinkId;
use crate::batch::BatchError;
use crate::batch::flight::FlightError;
use crate::batch::lanes::LanesError;
use crate::ledger::LedgerError;
use crate::meter::MeterError;
use crate::meter::tariff::TariffError;
use crate::monitor::MonitorError;
use crate::signer::SignerError;
use crate::signer::budget::Budget;
use crate::store::{Key, StoreError};
use crate::stream::StreamError;
use crate::tx::TxError;
use crate::units::{Blame, ChannelAlias, Msat, Sat, SessionId};
use crate::wire::WireError;

/// Why an input had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// No tip was told yet.
    #[error("the chain's tip is not known yet")]
    NoTip,
    /// No such connection.
    #[error("link {} is not connected", link.0)]
    NoLink {
        /// Which.
        link: LinkId,
    },
    /// No such channel, or it is on the other side.
    #[error("channel {outpoint} is not known here")]
    NoChannel {
        /// Which.
        outpoint: OutPoint,
    },
    /// The peer names a channel that it has not shown.
    #[error("channel {alias} is not known on this link")]
    NoAlias {
        /// Which.
        alias: ChannelAlias,
    },
    /// No such session.
    #[error("session {session} is not known here")]
    NoSession {
        /// Which.
        session: SessionId,
    },
    /// The session, or the channel that pays it, has another line, or has not been shown on this.
    #[error("session {session} is not spoken of on this line")]
    NotHere {
        /// Which.
        session: SessionId,
    },
    /// The session's id is taken.
    #[error("session {session} exists already")]
    SessionExists {
        /// Which.
        session: SessionId,
    },
    /// What is accepted is not what is offered, or no more: the two have crossed.
    #[error("session {session} is offered on other terms than were accepted")]
    OtherOffer {
        /// Which.
        session: SessionId,
    },
    /// The session is not over, or its channel pays another one that is not.
    #[error("session {session} is not over")]
    Busy {
        /// Which.
        session: SessionId,
    },
    /// The channel is here already.
    #[error("channel {outpoint} is known already")]
    ChannelExists {
        /// Which.
        outpoint: OutPoint,
    },
    /// This node offers no terms.
    #[error("this node is no payee")]
    NotAPayee,
    /// A limit of the node.
    #[error("more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The funding transaction does not pay the channel's script with its capacity.
    #[error("output {vout} of the funding transaction is not the channel's")]
    WrongFunding {
        /// Which output.
        vout: u32,
    },
    /// The funding may still confirm, and the payee holds vouchers that count then.
    #[error("the funding of {outpoint} may still confirm, with {signed} signed on it")]
    MayConfirm {
        /// The channel.
        outpoint: OutPoint,
        /// What is signed.
        signed: Msat,
    },
    /// A close that mempools would not take, or not in the place of the one before.
    #[error("close for a fee of {got}, not {want}")]
    CloseFee {
        /// What it pays.
        got: Sat,
        /// The least that it must pay.
        want: Sat,
    },
    /// The answer belongs to no question of ours.
    #[error("{what} was not asked for")]
    NotAsked {
        /// What.
        what: &'static str,
    },
    /// No lane was opened on the channel.
    #[error("channel {outpoint} has no lanes")]
    NoLanes {
        /// Which.
        outpoint: OutPoint,
    },
    /// Payments on the channel are not acknowledged, or batches of it are to be billed anew.
    #[error("payments on {outpoint} are not acknowledged")]
    InFlight {
        /// Which.
        outpoint: OutPoint,
    },
    /// A window that is larger than one may be.
    #[error("a window of {got} {what}, {max} may be")]
    WindowTooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// The channel does not pay this worker's key.
    #[error("channel {outpoint} pays another key")]
    OtherPayee {
        /// Which.
        outpoint: OutPoint,
    },
    /// The channel pays work, or is to, and something else: nobody could tell which was paid.
    #[error("channel {outpoint} pays something else")]
    Taken {
        /// Which.
        outpoint: OutPoint,
    },
    /// More is due than the channel can pay.
    #[error("channel {outpoint} has room for {room} only")]
    NoRoom {
        /// Which.
        outpoint: OutPoint,
        /// What it can still pay.
        room: Msat,
    },
    /// A batch does not check, or the lanes that it pays in.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// What is in flight, or acknowledged, does not fit.
    #[error(transparent)]
    Flight(#[from] FlightError),
    /// Lanes do not allow it.
    #[error(transparent)]
    Lanes(#[from] LanesError),
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A stored record has the right version and checksum, and is not what its key says or what
    /// was ever written.
    #[error("record under {key:?} has a wrong {what}")]
    BrokenRecord {
        /// Where it is stored.
        key: Key,
        /// Which value.
        what: &'static str,
    },
    /// A channel machine refused.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The watch over a channel's holds refused.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// A session refused.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// A tariff cannot be read.
    #[error(transparent)]
    Tariff(#[from] TariffError),
    /// The signer refused.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// A transaction does not check.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A message cannot be made.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl NodeError {
    /// What only a message can name or answer is the peer's; what a command or the driver names is
    /// ours, and so are the node's limits. A machine's refusal is whose that machine says.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::NoTip
            | Self::NoLink { .. }
            | Self::NoChannel { .. }
            | Self::NoSession { .. }
            | Self::NotHere { .. }
            | Self::OtherOffer { .. }
            | Self::TooMany { .. }
            | Self::Busy { .. }
            | Self::ChannelExists { .. }
            | Self::WrongFunding { .. }
            | Self::MayConfirm { .. }
            | Self::NoLanes { .. }
            | Self::InFlight { .. }
            | Self::OtherPayee { .. }
            | Self::Taken { .. }
            | Self::NoRoom { .. }
            | Self::BrokenRecord { .. } => Blame::Us,
            Self::NoAlias { .. }
            | Self::SessionExists { .. }
            | Self::NotAPayee
            | Self::CloseFee { .. }
            | Self::WindowTooLarge { .. }
            | Self::NotAsked { .. } => Blame::Peer,
            Self::Batch(error) => error.blame(),
            Self::Flight(error) => error.blame(),
            Self::Lanes(error) => error.blame(),
            Self::Ledger(error) => error.blame(),
            Self::Stream(error) => error.blame(),
            Self::Monitor(error) => error.blame(),
            Self::Meter(error) => error.blame(),
            Self::Tariff(error) => error.blame(),
            Self::Signer(error) => error.blame(),
            Self::Tx(error) => error.blame(),
            Self::Store(error) => error.blame(),
            Self::Wire(error) => error.blame(),
        }
    }

    /// Whether the same may go well later, without anybody's doing.
    pub(super) const fn heals(&self) -> bool {
        let (Self::Signer(error) | Self::Stream(StreamError::Signer(error))) = self else {
            return matches!(self, Self::NoTip | Self::InFlight { .. });
        };
        match error {
            SignerError::ClockBackwards { .. } => true,
            SignerError::OverBudget { budget, .. } => !matches!(budget, Budget::Session),
            _ => false,
        }
    }

    /// Whether items are not those that the peer has signed for: nobody does that by accident, and
    /// everything had to be counted to find out.
    #[cfg_attr(not(feature = "rt"), allow(dead_code, reason = "asked by the driver"))]
    pub(crate) const fn is_lie(&self) -> bool {
        let (Self::Batch(error) | Self::Stream(StreamError::Batch(error))) = self else {
            return false;
        };
        matches!(
            error,
            BatchError::ItemsDiffer { .. }
                | BatchError::SumDiffers { .. }
                | BatchError::RootDiffers
        )
    }

    /// Whether a peer's message failed by this node's own limits, and not by what it said.
    pub(super) const fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::NoTip
                | Self::InFlight { .. }
                | Self::Store(_)
                | Self::Signer(_)
                | Self::Monitor(_)
                | Self::Stream(
                    StreamError::Signer(_)
                        | StreamError::Store(_)
                        | StreamError::MustResume { .. }
                        | StreamError::WrongPhase { .. }
                )
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::UtcSeconds;

    #[test]
    fn blame_of_wrapped_errors_follows_the_way_they_came() {
        let above = TxError::AboveCapacity { paid: Msat::MAX, limit: Msat::ZERO };
        let received = NodeError::Stream(StreamError::Tx(above));
        assert_eq!(received.blame(), Blame::Peer);
        let asked = NodeError::Stream(StreamError::Signer(SignerError::Tx(above)));
        assert_eq!(asked.blame(), Blame::Us);
        let clock = SignerError::ClockBackwards { last: UtcSeconds::MAX, now: UtcSeconds::MIN };
        assert_eq!(NodeError::Signer(clock).blame(), Blame::World);
        assert_eq!(NodeError::Store(StoreError::Full).blame(), Blame::Us);
    }
}
