//! The rules as data. ARCHITECTURE.md and the reasons beside each row say why.

/// Lines of a file.
pub(crate) const FILE_MAX: usize = 600;
/// Lines of a function, from its name to its last brace.
pub(crate) const FUNCTION_MAX: usize = 70;
/// Characters of a line in `src`.
pub(crate) const COLUMNS_MAX: usize = 100;
/// Public items of a folder.
pub(crate) const PUBLIC_MAX: usize = 10;

/// Each room's rank: it imports from lower ranks only. A room that is not here is refused.
pub(crate) const RANKS: &[(&str, u8)] = &[
    ("units", 0),
    ("sha256", 0),
    ("keys", 1),
    ("wire", 1),
    ("merkle", 1),
    ("miner", 1),
    ("store", 1),
    ("tx", 2),
    ("batch", 2),
    ("ledger", 2),
    ("meter", 2),
    ("shares", 2),
    ("signer", 3),
    ("stream", 4),
    ("duplex", 4),
    ("monitor", 4),
    ("hub", 4),
    ("swap", 4),
    ("node", 5),
    ("stratum", 5),
    ("chain", 6),
    ("db", 6),
    ("rt", 7),
    ("sim", 7),
];

/// What the crate's root itself has, for rooms of any rank.
pub(crate) const ROOT: &[&str] = &["Arc"];

/// The highest rank of the pure core, which the bans are for.
pub(crate) const CORE_RANK_MAX: u8 = 5;

/// A sequence of tokens that the core must not contain outside its tests.
pub(crate) struct Ban {
    /// The tokens.
    pub(crate) tokens: &'static [&'static str],
    /// What it would bring in.
    pub(crate) brings: &'static str,
}

/// What the core must not contain. `std` covers files, sockets, threads and locks.
pub(crate) const BANS: &[Ban] = &[
    Ban { tokens: &["std", "::"], brings: "the operating system" },
    Ban { tokens: &["alloc", "::", "sync"], brings: "compare-and-swap; name `crate::Arc`" },
    Ban { tokens: &["sync", "::", "Arc"], brings: "compare-and-swap; name `crate::Arc`" },
    Ban { tokens: &["SystemTime"], brings: "a clock" },
    Ban { tokens: &["Instant"], brings: "a clock" },
    Ban { tokens: &["OsRng"], brings: "randomness" },
    Ban { tokens: &["thread_rng"], brings: "randomness" },
    Ban { tokens: &["getrandom"], brings: "randomness" },
    Ban { tokens: &["from_entropy"], brings: "randomness" },
    Ban { tokens: &["from_os_rng"], brings: "randomness" },
    Ban { tokens: &["rand", "::"], brings: "randomness" },
    Ban { tokens: &["HashMap"], brings: "a random order" },
    Ban { tokens: &["HashSet"], brings: "a random order" },
    Ban { tokens: &["f32"], brings: "floating point" },
    Ban { tokens: &["f64"], brings: "floating point" },
    Ban { tokens: &["print", "!"], brings: "output" },
    Ban { tokens: &["println", "!"], brings: "output" },
    Ban { tokens: &["eprint", "!"], brings: "output" },
    Ban { tokens: &["eprintln", "!"], brings: "output" },
    Ban { tokens: &["dbg", "!"], brings: "output" },
    Ban { tokens: &["log", "::"], brings: "logging" },
    Ban { tokens: &["tracing", "::"], brings: "logging" },
    Ban { tokens: &["panic", "!"], brings: "a panic" },
    Ban { tokens: &["unreachable", "!"], brings: "a panic" },
    Ban { tokens: &["todo", "!"], brings: "a panic" },
    Ban { tokens: &["unimplemented", "!"], brings: "a panic" },
    Ban { tokens: &["assert", "!"], brings: "a panic" },
    Ban { tokens: &["assert_eq", "!"], brings: "a panic" },
    Ban { tokens: &["assert_ne", "!"], brings: "a panic" },
    Ban { tokens: &[".", "unwrap", "("], brings: "a panic" },
    Ban { tokens: &[".", "expect", "("], brings: "a panic" },
];

/// Files of `src` that may say `unsafe`: kernels in vector registers, and nothing else.
pub(crate) const UNSAFE_FILES: &[&str] = &[
    "src/miner/kernel/avx2.rs",
    "src/miner/kernel/avx512.rs",
    "src/miner/kernel/shani.rs",
    "src/sha256/avx2.rs",
    "src/sha256/avx512.rs",
    "src/sha256/shani.rs",
];

/// Errors without a `blame`, each with its reason.
pub(crate) const BLAMELESS: &[(&str, &str)] = &[
    ("Flaw", "a broken promise of this crate, found by its own simulation"),
    ("Failure", "the step at which such a flaw was found"),
    ("Mismatch", "a step of a scenario that came out otherwise: a defect of the chain that ran it"),
];

/// A folder that shows more than [`PUBLIC_MAX`] items.
pub(crate) struct Exception {
    /// The folder.
    pub(crate) folder: &'static str,
    /// How many it may show.
    pub(crate) limit: usize,
    /// Why it may.
    pub(crate) reason: &'static str,
}

/// The folders that may show more.
pub(crate) const PUBLIC_EXCEPTIONS: &[Exception] = &[
    Exception {
        folder: "src/units",
        limit: usize::MAX,
        reason: "one newtype for each thing that is counted",
    },
    Exception { folder: "src/wire", limit: usize::MAX, reason: "one struct for each message" },
    Exception {
        folder: "src/stratum/message",
        limit: usize::MAX,
        reason: "one type for each message, and what they are made of",
    },
    Exception { folder: "src/sim/fuzz", limit: 20, reason: "one body for each fuzz target" },
    Exception {
        folder: "src/tx",
        limit: 24,
        reason: "the on-chain format whole: one type for each script and transaction kind",
    },
    Exception {
        folder: "src/stream",
        limit: 20,
        reason: "two machines, what both speak of, and the heads of the folders of each",
    },
    Exception {
        folder: "src/stream/payer",
        limit: 16,
        reason: "each answer of the machine is a type of its own",
    },
    Exception {
        folder: "src/stream/payee",
        limit: 15,
        reason: "each answer of the machine is a type of its own",
    },
    Exception {
        folder: "src/chain",
        limit: 12,
        reason: "a source and coins, each with its errors, and the heads of the simulated chain",
    },
    Exception {
        folder: "src/node",
        limit: 18,
        reason: "one input and one drain with all that they hold, the heads of two folders, \
                 receipts, and when work is paid",
    },
    Exception {
        folder: "src/signer",
        limit: 12,
        reason: "a request names its key, peer, role and past by types of their own",
    },
    Exception {
        folder: "src/monitor",
        limit: 13,
        reason: "the record with what it says of each hold, the one sight, and each answer to it",
    },
    Exception {
        folder: "src/hub",
        limit: 15,
        reason: "the two sides of an order, the one input, and each answer of the table",
    },
    Exception {
        folder: "src/swap",
        limit: 15,
        reason: "the deal and what is counted on of two chains, the one input, and each answer",
    },
    Exception {
        folder: "src/ledger",
        limit: 17,
        reason: "exact amounts and prices, the account with its key, the one input, each answer, \
                 and the heads of schemes and receipts",
    },
    Exception {
        folder: "src/shares",
        limit: 15,
        reason: "a job and its parts, the desk with what it takes and gives, two reckoners, a seat",
    },
    Exception {
        folder: "src/meter",
        limit: 12,
        reason: "the tariff is a part of its own, and the session shows the head of it",
    },
];

/// How many public items `folder` may show.
pub(crate) fn public_limit(folder: &str) -> usize {
    PUBLIC_EXCEPTIONS
        .iter()
        .find(|exception| exception.folder == folder)
        .map_or(PUBLIC_MAX, |exception| exception.limit)
}
