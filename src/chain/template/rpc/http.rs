//! The blocking transport: one HTTP request a call, with a name, a password and limits.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bitcoin::Block;
use zeroize::Zeroizing;

use crate::chain::template::rpc::{
    LongPollId, Offer, RpcError, Submitted, read_submitted, read_template, submit_request,
    template_request,
};

/// 32 MiB: a block of 4 MB is 8 MB of hex, and its ids and dependences are less than that again.
const REPLY_BYTES_MAX: usize = 32 << 20;
/// A node's headers are a few hundred bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// What a call may take that the node answers at once. Checking a full block takes seconds.
const CALL: Duration = Duration::from_secs(60);
const UNAUTHORIZED: i32 = 401;

/// A node's JSON-RPC interface, asked from this thread.
///
/// Each call is a connection of its own. An async program calls it from a thread that may block.
///
/// ```
/// use millstream::chain::template::rpc::{Login, NodeRpc};
///
/// let login = Login::CookieFile("/var/lib/bitcoind/.cookie".into());
/// let node = NodeRpc::new("http://127.0.0.1:8332/", login);
/// // No node is here.
/// assert!(node.template().is_err());
/// ```
#[derive(Debug, Clone)]
pub struct NodeRpc {
    url: String,
    login: Login,
}

/// How a node knows us. Shows no password.
#[derive(Clone)]
#[non_exhaustive]
pub enum Login {
    /// The file that the node writes anew at each start; read at each call.
    CookieFile(PathBuf),
    /// A name and a password.
    Password {
        /// The name.
        name: String,
        /// The password.
        password: Zeroizing<String>,
    },
}

impl NodeRpc {
    /// A node at an `http` URL. Nothing is sent yet.
    ///
    /// The password travels in the clear: over anything but loopback, tunnel it.
    pub fn new(url: &str, login: Login) -> Self {
        Self { url: url.into(), login }
    }

    /// What the node would mine now.
    ///
    /// # Errors
    /// [`RpcError`].
    pub fn template(&self) -> Result<Offer, RpcError> {
        read_template(&self.call(template_request(None), CALL)?)
    }

    /// What the node would mine once it is better than the offer of that name; `None` if it is not
    /// within `wait`.
    ///
    /// # Errors
    /// [`RpcError`].
    pub fn template_after(
        &self,
        offer: &LongPollId,
        wait: Duration,
    ) -> Result<Option<Offer>, RpcError> {
        match self.call(template_request(Some(offer)), wait) {
            Err(RpcError::Http(bitreq::Error::IoError(error))) if is_time_out(&error) => Ok(None),
            reply => read_template(&reply?).map(Some),
        }
    }

    /// Hands a block to the node.
    ///
    /// # Errors
    /// [`RpcError`]; whether the node has the block is then not known.
    pub fn submit(&self, block: &Block) -> Result<Submitted, RpcError> {
        read_submitted(&self.call(submit_request(block), CALL)?)
    }

    fn call(&self, request: String, wait: Duration) -> Result<String, RpcError> {
        let reply = bitreq::post(self.url.as_str())
            .with_header("Authorization", self.login.header()?.as_str())
            .with_header("Content-Type", "application/json")
            .with_body(request)
            .with_timeout(wait)
            // The password is for this node alone.
            .with_max_redirects(0)
            .with_max_headers_size(HEAD_BYTES_MAX)
            .with_max_status_line_length(HEAD_BYTES_MAX)
            .with_max_body_size(REPLY_BYTES_MAX)
            .send()?;
        match reply.status_code {
            UNAUTHORIZED => Err(RpcError::Unauthorized),
            // Refused calls come with a status of their own, and the reply says more.
            status => match reply.as_str() {
                Ok(text) if text.trim_start().starts_with('{') => Ok(text.to_owned()),
                _ => Err(RpcError::Status { status }),
            },
        }
    }
}

impl Login {
    fn header(&self) -> Result<Zeroizing<String>, RpcError> {
        let pair = match self {
            Self::CookieFile(path) => {
                Zeroizing::new(std::fs::read_to_string(path)?.trim_end().to_owned())
            }
            Self::Password { name, password } => {
                Zeroizing::new(format!("{name}:{}", password.as_str()))
            }
        };
        let coded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        Ok(Zeroizing::new(format!("Basic {}", coded.as_str())))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CookieFile(path) => f.debug_tuple("CookieFile").field(path).finish(),
            Self::Password { name, .. } => {
                f.debug_struct("Password").field("name", name).finish_non_exhaustive()
            }
        }
    }
}

fn is_time_out(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock)
}
