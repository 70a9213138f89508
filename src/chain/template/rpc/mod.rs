//! Templates from a node and blocks to it: `getblocktemplate` (BIP22, BIP23, BIP145) and
//! `submitblock` over JSON-RPC.
//!
//! ```text
//!   template_request() --text--> [node] --text--> read_template()  -> Offer {template, long poll}
//!   submit_request()   --text--> [node] --text--> read_submitted() -> Submitted
//!                            NodeRpc: HTTP, basic auth, limits
//! ```
//!
//! Requests and replies are text in and values out, so that another transport than [`NodeRpc`]'s
//! blocking one can carry them. Nothing of a reply is believed that can be computed: ids, witness
//! commitment, target.
//!
//! Used by the command line's pool, and by whoever mines with a node of its own.

mod error;
mod http;
mod reply;
mod request;

pub use error::RpcError;
pub use http::{Login, NodeRpc};
pub use reply::{read_submitted, read_template};
pub use request::{submit_request, template_request};

use crate::chain::Reason;
use crate::chain::template::Template;

/// What a node offers to mine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offer {
    /// The template.
    pub template: Template,
    /// Asked with it, the node answers when there is something better; not every node can.
    pub long_poll: Option<LongPollId>,
}

/// A node's name for a template, at most 128 bytes of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongPollId(Box<str>);

impl LongPollId {
    /// 128: Bitcoin Core's has 64 digits of a hash and a counter.
    const BYTES_MAX: usize = 128;

    /// Takes the node's name for a template; `None` if it is longer than 128 bytes.
    pub fn new(name: &str) -> Option<Self> {
        (name.len() <= Self::BYTES_MAX).then(|| Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a node says of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Submitted {
    /// It is the new tip, or may become it.
    Accepted,
    /// The node has it already.
    Duplicate,
    /// It is well formed, but not on the best chain: another block was first.
    Inconclusive,
    /// It breaks a rule; the class is `None` for words that this crate does not know.
    Refused(Option<Reason>),
}
