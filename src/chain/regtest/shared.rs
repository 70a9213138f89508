//! The chain in the hands of several endpoints, each with its own place in the events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::{OutPoint, Script, Transaction};

use crate::chain::regtest::{Cursor, Regtest};
use crate::chain::{ChainError, ChainSource, Reason};
use crate::tx::seen::{ChainEvent, OutputStatus, Tip};
use crate::units::{Blocks, FeeRate};

/// One chain for several owners; a clone is another handle of the same chain.
#[derive(Debug, Clone)]
pub struct Shared {
    chain: Arc<Mutex<Regtest>>,
}

impl Shared {
    pub(super) fn new(chain: Regtest) -> Self {
        Self { chain: Arc::new(Mutex::new(chain)) }
    }

    /// Works on the chain itself: mines, reorganises, changes its weather.
    pub fn with<T>(&self, work: impl FnOnce(&mut Regtest) -> T) -> T {
        work(&mut self.lock())
    }

    /// A source that hands out every event from the first block on.
    pub fn source(&self) -> Source {
        self.source_at(Cursor::default())
    }

    /// A source that hands out the events from now on; look-ups reach back before it.
    pub fn source_from_now(&self) -> Source {
        let cursor = self.lock().cursor();
        self.source_at(cursor)
    }

    fn source_at(&self, cursor: Cursor) -> Source {
        Source { chain: self.clone(), cursor, cut_off: false }
    }

    fn lock(&self) -> MutexGuard<'_, Regtest> {
        // A panic elsewhere while it held the lock must not spread: every change of the chain
        // stands as a whole or not at all.
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One endpoint's view of a shared chain.
#[derive(Debug)]
pub struct Source {
    chain: Shared,
    cursor: Cursor,
    cut_off: bool,
}

impl Source {
    /// Cuts the endpoint off from the network, or connects it again: a stalled or eclipsed tip.
    /// Events wait meanwhile.
    pub fn set_cut_off(&mut self, cut_off: bool) {
        self.cut_off = cut_off;
    }

    /// Passes over every event without a copy of its transactions: whether there were any, and the
    /// tip if it changed. For a world of thousands of endpoints, which look at outpoints instead.
    pub(crate) fn pass_events(&mut self) -> Result<(bool, Option<Tip>), ChainError> {
        let mut cursor = self.cursor;
        let passed = self.ask(|chain| chain.pass_events(&mut cursor))?;
        self.cursor = cursor;
        Ok(passed)
    }

    fn ask<T>(&self, question: impl FnOnce(&Regtest) -> T) -> Result<T, ChainError> {
        if self.cut_off {
            return Err(ChainError::Unavailable);
        }
        Ok(question(&self.chain.lock()))
    }
}

impl ChainSource for Source {
    fn next_event(&mut self) -> Result<Option<ChainEvent>, ChainError> {
        let mut cursor = self.cursor;
        let event = self.ask(|chain| chain.next_event(&mut cursor))?;
        self.cursor = cursor;
        Ok(event)
    }

    fn broadcast(&mut self, package: &[Transaction]) -> Result<(), ChainError> {
        if self.cut_off {
            return Err(ChainError::Unavailable);
        }
        let mut chain = self.chain.lock();
        let outcome = match package {
            [] => Err(Reason::BadPackage),
            [tx] => chain.submit(tx),
            txs => chain.submit_package(txs),
        };
        match outcome {
            // Repeating what the network has is no fault.
            Ok(()) | Err(Reason::AlreadyKnown) => Ok(()),
            Err(reason) => Err(ChainError::Refused(reason)),
        }
    }

    fn tip(&self) -> Result<Tip, ChainError> {
        self.ask(Regtest::tip)
    }

    fn fee_rate(&self, _target: Blocks) -> Result<FeeRate, ChainError> {
        self.ask(Regtest::fee_rate)
    }

    fn output(&self, outpoint: OutPoint) -> Result<Option<OutputStatus>, ChainError> {
        self.ask(|chain| chain.output(outpoint))
    }

    fn outputs_of(&self, script: &Script) -> Result<Vec<(OutPoint, OutputStatus)>, ChainError> {
        self.ask(|chain| chain.outputs_of(script))
    }
}
