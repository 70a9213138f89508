//! A worker's name: the key that its work is paid to, and which of its machines it is.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use bitcoin::Network;
use bitcoin::hex::FromHex;
use bitcoin::secp256k1::XOnlyPublicKey;

use super::StratumError;
use crate::stream::Terms;

/// 64 hexadecimal digits of an x-only key.
const KEY_DIGITS: usize = 64;
/// 32 characters: a host name's first label rarely has more.
const RIG_MAX: usize = 32;
/// The text of terms (224), a dot, and a rig; with room for terms that grow.
const NAME_MAX: usize = 320;

/// Who a share is credited to: what a miner gives as its user name.
///
/// | form | example |
/// | --- | --- |
/// | the payout key, 64 hexadecimal digits | `79be667e..f81798` |
/// | the payee's terms as text, whose base key it is | `mill1q..` |
/// | either with the name of a machine behind it | `79be667e..f81798.roof2` |
///
/// ```
/// use millstream::stratum::WorkerName;
///
/// let key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
/// let name = WorkerName::parse(&format!("{key}.roof2"))?;
/// assert_eq!((name.key.to_string().as_str(), name.rig()), (key, "roof2"));
/// # Ok::<(), millstream::stratum::StratumError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerName {
    /// Where its pay goes.
    pub key: XOnlyPublicKey,
    /// The chain that its terms are for, if it gave terms.
    pub network: Option<Network>,
    rig: String,
}

impl WorkerName {
    /// Reads a user name.
    ///
    /// # Errors
    /// [`StratumError::NoWorkerName`].
    pub fn parse(text: &str) -> Result<Self, StratumError> {
        let (owner, rig) = text.split_once('.').unwrap_or((text, ""));
        let is_plain = rig.bytes().all(|byte| byte.is_ascii_graphic());
        if text.len() > NAME_MAX || rig.len() > RIG_MAX || !is_plain {
            return Err(StratumError::NoWorkerName);
        }
        let (key, network) = if owner.len() == KEY_DIGITS {
            let bytes = <[u8; 32]>::from_hex(owner).map_err(|_| StratumError::NoWorkerName)?;
            (XOnlyPublicKey::from_slice(&bytes).map_err(|_| StratumError::NoWorkerName)?, None)
        } else {
            let terms = Terms::from_text(owner).map_err(|_| StratumError::NoWorkerName)?;
            (terms.base, Some(terms.network))
        };
        Ok(Self { key, network, rig: rig.to_owned() })
    }

    /// Which of the owner's machines: printable ASCII, at most 32 characters; may be empty.
    pub fn rig(&self) -> &str {
        &self.rig
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if self.rig.is_empty() { Ok(()) } else { write!(f, ".{}", self.rig) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;
    use crate::keys::{Context, Seed};

    fn base() -> XOnlyPublicKey {
        let context = Context::new();
        Seed::new([7; 32]).base_key(&context, Network::Regtest).unwrap().public()
    }

    #[test]
    fn key_and_terms_name_the_same_owner_with_and_without_a_rig() {
        let key = base();
        let terms = Terms::new(Network::Regtest, key).unwrap().to_text();
        for (text, network) in [
            (key.to_string(), None),
            (key.to_string().to_uppercase(), None),
            (terms.clone(), Some(Network::Regtest)),
            (terms.to_uppercase(), Some(Network::Regtest)),
        ] {
            for (suffix, rig) in [("", ""), (".", ""), (".roof", "roof"), (".a.b", "a.b")] {
                let name = WorkerName::parse(&format!("{text}{suffix}")).unwrap();
                assert_eq!((name.key, name.network, name.rig()), (key, network, rig), "{text}");
                assert_eq!(WorkerName::parse(&name.to_string()).unwrap().key, key);
            }
        }
    }

    #[test]
    fn what_is_no_key_and_no_terms_is_refused() {
        let key = base().to_string();
        let terms = Terms::new(Network::Regtest, base()).unwrap().to_text();
        let good = format!("{key}.{}", "r".repeat(32));
        assert!(WorkerName::parse(&good).is_ok());
        for text in [
            "",
            ".",
            "x",
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
            &key[1..],
            &format!("0{key}"),
            // Not on the curve: x above the field.
            &"f".repeat(64),
            &format!("{}zz", &key[2..]),
            &terms[..terms.len() - 1],
            &format!("{key}.{}", "r".repeat(33)),
            &format!("{key}.a b"),
            &format!("{key}.\u{1b}[2J"),
            &"1".repeat(100_000),
        ] {
            assert_eq!(WorkerName::parse(text), Err(StratumError::NoWorkerName), "{text}");
        }
    }
}
