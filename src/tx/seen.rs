//! What a party sees of the chain: the plain values that chain events and look-ups are made of.
//!
//! They live here, below `stream`, so that the channel machines take them as arguments, and above
//! the chain sources (`chain`, rank 6), which fill them. Nothing in them is trusted more than the
//! source it came from; the machines judge amounts, scripts and depths themselves.
//!
//! ```text
//!   chain source --ChainEvent--> node --Tip, OutputStatus, Spend--> stream
//! ```

use alloc::vec::Vec;

use bitcoin::{BlockHash, ScriptBuf, Transaction};

use crate::units::{Height, Sat, UtcSeconds};

/// The last block of the best chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tip {
    /// Its height; the genesis block has height 0.
    pub height: Height,
    /// Its hash.
    pub hash: BlockHash,
    /// The time in its header: what its miner claimed, at most two hours ahead of the network's
    /// time, and later than the median of the eleven headers before it.
    pub time: UtcSeconds,
}

/// One transaction output as the chain and the mempool show it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutputStatus {
    /// Its value.
    pub value: Sat,
    /// Its script.
    pub script: ScriptBuf,
    /// Height of the block that holds its transaction; `None` while that is in the mempool only.
    pub confirmed: Option<Height>,
    /// Whether its transaction is version 3 (TRUC, BIP431): settlements of an unconfirmed output
    /// can be relayed and replaced only then.
    pub truc: bool,
    /// The transaction that spends it, if one is known.
    pub spent: Option<Spend>,
}

/// A transaction that spends an output.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spend {
    /// The spending transaction, witnesses included (they tell a settlement from a refund).
    pub tx: Transaction,
    /// Height of the block that holds it; `None` while it is in the mempool only.
    pub confirmed: Option<Height>,
}

/// One change of the chain or of the mempool, in the order in which it happened.
///
/// A reorganisation of depth d comes as d disconnections, the newest block first, and then the
/// connections of the new branch. Between two events the chain is always one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainEvent {
    /// A block was added on top of the last tip.
    BlockConnected {
        /// The block itself, now the tip.
        tip: Tip,
        /// Its transactions in block order, the coinbase first. A filtering source may leave out
        /// those that touch nothing that was asked for.
        txs: Vec<Transaction>,
    },
    /// The last tip was taken off the chain.
    BlockDisconnected {
        /// The block that is no longer part of the chain.
        block: Tip,
        /// The block below it, now the tip.
        tip: Tip,
    },
    /// A transaction entered the mempool. It may be replaced, and may never confirm.
    TxSeen {
        /// The transaction.
        tx: Transaction,
    },
}
