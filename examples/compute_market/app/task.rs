//! What is computed: each kind of work, how a unit of it is done, and how one believes it.

use millstream::sha256::{Engine, State, last_block};

/// How a requester comes to believe a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verifier {
    /// The result proves itself, for much less than it took to find.
    Proof,
    /// `agree` of the `of` providers that did the same say the same.
    Replicas { agree: usize, of: usize },
}

impl Verifier {
    /// How many providers do each unit.
    pub(crate) const fn providers(self) -> usize {
        match self {
            Self::Proof => 1,
            Self::Replicas { of, .. } => of,
        }
    }
}

/// A kind of work that is sold by the unit.
pub(crate) trait Task {
    /// What it is called in the book.
    fn what(&self) -> &'static str;
    /// How its results are believed.
    fn verifier(&self) -> Verifier;
    /// Does a unit: the same unit has the same result on every machine.
    fn work(&self, unit: u64) -> u64;
    /// Whether a result proves itself; none if nothing short of doing it again tells.
    fn proves(&self, unit: u64, result: u64) -> Option<bool>;
}

/// How many primes there are among a hundred numbers.
pub(crate) struct Primes;
/// The longest Collatz chain that begins at one of a hundred numbers.
pub(crate) struct Chains;
/// A share of proof of work: a number whose hash with the unit's is small.
pub(crate) struct Shares;

/// All that is traded, in the order of the book's columns.
pub(crate) const KINDS: [&dyn Task; 3] = [&Primes, &Chains, &Shares];
/// Two of three.
const MAJORITY: Verifier = Verifier::Replicas { agree: 2, of: 3 };
/// A hundred numbers are one unit.
const NUMBERS: u64 = 100;
/// 2^10 hashes are a share on average: what a simulation has time for.
const SHARE_BITS: u32 = 10;

impl Task for Primes {
    fn what(&self) -> &'static str {
        "primes"
    }

    fn verifier(&self) -> Verifier {
        MAJORITY
    }

    fn work(&self, unit: u64) -> u64 {
        let prime = |n: u64| n > 1 && (2..=n.isqrt()).all(|d| !n.is_multiple_of(d));
        (unit * NUMBERS..(unit + 1) * NUMBERS).filter(|n| prime(*n)).count() as u64
    }

    fn proves(&self, _unit: u64, _result: u64) -> Option<bool> {
        None
    }
}

impl Task for Chains {
    fn what(&self) -> &'static str {
        "chains"
    }

    fn verifier(&self) -> Verifier {
        MAJORITY
    }

    fn work(&self, unit: u64) -> u64 {
        let length = |mut n: u64| {
            let mut steps = 0;
            while n > 1 {
                n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
                steps += 1;
            }
            steps
        };
        (unit * NUMBERS..(unit + 1) * NUMBERS).map(length).max().unwrap_or(0)
    }

    fn proves(&self, _unit: u64, _result: u64) -> Option<bool> {
        None
    }
}

impl Task for Shares {
    fn what(&self) -> &'static str {
        "shares"
    }

    fn verifier(&self) -> Verifier {
        Verifier::Proof
    }

    fn work(&self, unit: u64) -> u64 {
        (0..u64::MAX).find(|nonce| is_share(unit, *nonce)).unwrap_or(0)
    }

    fn proves(&self, unit: u64, result: u64) -> Option<bool> {
        Some(is_share(unit, result))
    }
}

/// Whether the double hash of the unit and the nonce begins with enough zeros.
fn is_share(unit: u64, nonce: u64) -> bool {
    let mut message = [0; 16];
    message[..8].copy_from_slice(&unit.to_be_bytes());
    message[8..].copy_from_slice(&nonce.to_be_bytes());
    let twice = hash(&hash(&message));
    u32::from_be_bytes([twice[0], twice[1], twice[2], twice[3]]).leading_zeros() >= SHARE_BITS
}

/// SHA-256 of fewer than 56 bytes.
fn hash(message: &[u8]) -> [u8; 32] {
    let mut state = State::INITIAL;
    if let Some(block) = last_block(message.len() as u64, message) {
        Engine::best().absorb_one(&mut state, &[block]);
    }
    state.to_bytes()
}
