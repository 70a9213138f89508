//! The classes of refusal, one for all sources, and their reading from Bitcoin Core's own words.

use crate::units::Blame;

/// Why a transaction, package or block was refused.
///
/// A class without numbers, because a node tells no more than a short text over its interfaces;
/// whoever needs the missing fee computes it from the rule that the class names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// It is no well-formed transaction: no inputs or outputs, an amount out of range, one input
    /// twice, a loose coinbase.
    #[error("malformed")]
    Malformed,
    /// It is valid, but no node relays its kind: version, size, script, witness.
    #[error("not standard")]
    NonStandard,
    /// An output is below its dust limit, or the dust of a parent is left unspent.
    #[error("dust")]
    Dust,
    /// Its lock time or one of its relative locks has not passed.
    #[error("not final")]
    NotFinal,
    /// It is already in the mempool or in the chain.
    #[error("already known")]
    AlreadyKnown,
    /// An input does not exist or is spent in the chain.
    #[error("missing inputs")]
    MissingInputs,
    /// It spends a coinbase younger than 100 blocks.
    #[error("immature coinbase")]
    Immature,
    /// Its outputs are worth more than its inputs, or a coinbase claims too much.
    #[error("spends more than it has")]
    Overspend,
    /// Its fee is below the smallest that is relayed now.
    #[error("fee below the relay minimum")]
    MinRelayFee,
    /// It conflicts with the mempool and does not pay enough to replace what stands there.
    #[error("pays too little to replace")]
    InsufficientReplacement,
    /// It breaks the topology or size rules of version-3 transactions.
    #[error("version-3 topology")]
    Truc,
    /// Too many unconfirmed transactions would hang together.
    #[error("cluster too large")]
    ClusterLimit,
    /// A script or signature fails.
    #[error("script failed")]
    BadScript,
    /// The package is not sorted, conflicts with itself, or is not one child with its parents.
    #[error("malformed package")]
    BadPackage,
    /// The block itself is wrong: header, coinbase, weight.
    #[error("bad block")]
    BadBlock,
    /// The block's hash is above its target.
    #[error("hash above the target")]
    HighHash,
    /// The header's merkle root is not that of the block's transactions.
    #[error("wrong merkle root")]
    BadMerkleRoot,
    /// The coinbase does not commit to the witnesses of the block.
    #[error("wrong witness commitment")]
    BadCommitment,
    /// The block does not follow the tip.
    #[error("stale block")]
    StaleBlock,
}

impl Reason {
    /// Every class, in the order of their declaration.
    pub const ALL: &[Self] = &[
        Self::Malformed,
        Self::NonStandard,
        Self::Dust,
        Self::NotFinal,
        Self::AlreadyKnown,
        Self::MissingInputs,
        Self::Immature,
        Self::Overspend,
        Self::MinRelayFee,
        Self::InsufficientReplacement,
        Self::Truc,
        Self::ClusterLimit,
        Self::BadScript,
        Self::BadPackage,
        Self::BadBlock,
        Self::HighHash,
        Self::BadMerkleRoot,
        Self::BadCommitment,
        Self::StaleBlock,
    ];

    /// A transaction that breaks a rule is ours, who built it; what fees, other transactions and
    /// blocks forbid is the world's.
    #[must_use]
    pub const fn blame(self) -> Blame {
        match self {
            Self::Malformed
            | Self::NonStandard
            | Self::Dust
            | Self::NotFinal
            | Self::Immature
            | Self::Overspend
            | Self::BadScript
            | Self::BadPackage => Blame::Us,
            Self::AlreadyKnown
            | Self::MissingInputs
            | Self::MinRelayFee
            | Self::InsufficientReplacement
            | Self::Truc
            | Self::ClusterLimit
            | Self::BadBlock
            | Self::HighHash
            | Self::BadMerkleRoot
            | Self::BadCommitment
            | Self::StaleBlock => Blame::World,
        }
    }

    /// Reads the class from a reject reason of Bitcoin Core's mempool or block validation; `None`
    /// for words that it does not know.
    ///
    /// ```
    /// use millstream::chain::Reason;
    ///
    /// assert_eq!(Reason::from_core("non-BIP68-final"), Some(Reason::NotFinal));
    /// assert_eq!(Reason::from_core("a new rule"), None);
    /// ```
    pub fn from_core(words: &str) -> Option<Self> {
        CORE_WORDS.iter().find(|(prefix, _)| words.starts_with(prefix)).map(|(_, reason)| *reason)
    }
}

/// The first entry that the words start with decides, so that the special stand before the general.
const CORE_WORDS: &[(&str, Reason)] = &[
    ("non-final", Reason::NotFinal),
    ("non-BIP68-final", Reason::NotFinal),
    ("bad-txns-nonfinal", Reason::NotFinal),
    ("txn-already", Reason::AlreadyKnown),
    ("txn-same-nonwitness-data-in-mempool", Reason::AlreadyKnown),
    ("bad-txns-BIP30", Reason::AlreadyKnown),
    ("bad-txns-inputs-missingorspent", Reason::MissingInputs),
    ("missing-inputs", Reason::MissingInputs),
    ("bad-txns-premature-spend-of-coinbase", Reason::Immature),
    ("bad-txns-in-belowout", Reason::Overspend),
    ("bad-cb-amount", Reason::Overspend),
    ("min relay fee not met", Reason::MinRelayFee),
    ("mempool min fee not met", Reason::MinRelayFee),
    ("mempool full", Reason::MinRelayFee),
    ("insufficient fee", Reason::InsufficientReplacement),
    ("replacement-failed", Reason::InsufficientReplacement),
    ("too many potential replacements", Reason::InsufficientReplacement),
    ("package RBF failed", Reason::InsufficientReplacement),
    ("bip125-replacement-disallowed", Reason::InsufficientReplacement),
    ("bad-txns-spends-conflicting-tx", Reason::InsufficientReplacement),
    ("TRUC-violation", Reason::Truc),
    ("too-large-cluster", Reason::ClusterLimit),
    ("mempool-script-verify-flag-failed", Reason::BadScript),
    ("mandatory-script-verify-flag-failed", Reason::BadScript),
    ("non-mandatory-script-verify-flag", Reason::BadScript),
    ("block-script-verify-flag-failed", Reason::BadScript),
    ("dust", Reason::Dust),
    ("unspent-dust", Reason::Dust),
    ("missing-ephemeral-spends", Reason::Dust),
    ("version", Reason::NonStandard),
    ("tx-size", Reason::NonStandard),
    ("scriptsig", Reason::NonStandard),
    ("scriptpubkey", Reason::NonStandard),
    ("datacarrier", Reason::NonStandard),
    ("bare-multisig", Reason::NonStandard),
    ("bad-txns-nonstandard-inputs", Reason::NonStandard),
    ("bad-witness-nonstandard", Reason::NonStandard),
    ("bad-txns-too-many-sigops", Reason::NonStandard),
    ("bad-txnmrklroot", Reason::BadMerkleRoot),
    ("bad-txns-duplicate", Reason::BadBlock),
    ("bad-txns", Reason::Malformed),
    ("coinbase", Reason::Malformed),
    ("package-", Reason::BadPackage),
    ("conflict-in-package", Reason::BadPackage),
    ("bad-witness-nonce-size", Reason::BadCommitment),
    ("bad-witness-merkle-match", Reason::BadCommitment),
    ("unexpected-witness", Reason::BadCommitment),
    ("inconclusive-not-best-prevblk", Reason::StaleBlock),
    ("stale-prevblk", Reason::StaleBlock),
    ("bad-prevblk", Reason::StaleBlock),
    ("prev-blk-not-found", Reason::StaleBlock),
    ("high-hash", Reason::HighHash),
    ("bad-", Reason::BadBlock),
    ("time-", Reason::BadBlock),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The class that is declared after this one. Without `_`, so that the compiler asks for the
    /// place of a new class.
    fn declared_after(reason: Reason) -> Option<Reason> {
        Some(match reason {
            Reason::Malformed => Reason::NonStandard,
            Reason::NonStandard => Reason::Dust,
            Reason::Dust => Reason::NotFinal,
            Reason::NotFinal => Reason::AlreadyKnown,
            Reason::AlreadyKnown => Reason::MissingInputs,
            Reason::MissingInputs => Reason::Immature,
            Reason::Immature => Reason::Overspend,
            Reason::Overspend => Reason::MinRelayFee,
            Reason::MinRelayFee => Reason::InsufficientReplacement,
            Reason::InsufficientReplacement => Reason::Truc,
            Reason::Truc => Reason::ClusterLimit,
            Reason::ClusterLimit => Reason::BadScript,
            Reason::BadScript => Reason::BadPackage,
            Reason::BadPackage => Reason::BadBlock,
            Reason::BadBlock => Reason::HighHash,
            Reason::HighHash => Reason::BadMerkleRoot,
            Reason::BadMerkleRoot => Reason::BadCommitment,
            Reason::BadCommitment => Reason::StaleBlock,
            Reason::StaleBlock => return None,
        })
    }

    #[test]
    fn list_of_all_classes_is_every_class_once() {
        let chain = std::iter::successors(Some(Reason::Malformed), |last| declared_after(*last));
        assert_eq!(Reason::ALL, chain.collect::<Vec<_>>());
        // No class stands between two of the list.
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place, "{reason}");
        }
    }

    #[test]
    fn core_words_are_read_with_the_special_before_the_general() {
        for (words, reason) in [
            ("bad-txns-inputs-missingorspent", Reason::MissingInputs),
            ("bad-txns-inputs-duplicate", Reason::Malformed),
            ("bad-txns-nonfinal", Reason::NotFinal),
            ("bad-txns-nonstandard-inputs", Reason::NonStandard),
            ("bad-cb-amount", Reason::Overspend),
            ("bad-cb-height", Reason::BadBlock),
            ("bad-witness-merkle-match", Reason::BadCommitment),
            ("bad-witness-nonstandard", Reason::NonStandard),
            ("insufficient fee (including sibling eviction)", Reason::InsufficientReplacement),
            ("package RBF failed: insufficient anti-DoS fees", Reason::InsufficientReplacement),
            ("package-not-sorted", Reason::BadPackage),
        ] {
            assert_eq!(Reason::from_core(words), Some(reason), "{words}");
        }
        assert_eq!(Reason::from_core(""), None);
    }

    #[test]
    fn no_entry_of_the_table_is_hidden_by_an_earlier_one() {
        for (words, reason) in CORE_WORDS {
            assert_eq!(Reason::from_core(words), Some(*reason), "{words}");
        }
    }
}
