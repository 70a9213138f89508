//! A connection: bytes both ways, and the weather that they travel through.

use core::fmt::Debug;
use std::collections::VecDeque;

use super::EndId;
use crate::node::LinkId;
use crate::wire::Message;

/// What happens to one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Arrives,
    /// It is lost.
    Lost,
    /// It arrives twice.
    Twice,
    /// It arrives before the message sent before it.
    Overtakes,
    /// A byte of it is changed by this mask.
    Corrupted {
        /// Which byte, from the start, modulo the length.
        at: usize,
        /// The bits that flip.
        mask: u8,
    },
}

/// Decides each message's fate.
pub trait Weather: Debug {
    /// The fate of a message of `bytes` bytes from `from`.
    fn fate(&mut self, from: EndId, bytes: usize) -> Fate;

    /// Looks at a message before it travels, for oracles.
    fn sees(&mut self, _from: EndId, _message: &Message) {}
}

/// Every message arrives, in order, once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clear;

impl Weather for Clear {
    fn fate(&mut self, _from: EndId, _bytes: usize) -> Fate {
        Fate::Arrives
    }
}

/// How many messages were sent, and their bytes without the frames' two bytes of length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Sent {
    pub(super) const fn count(&mut self, bytes: u64) {
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// A connection between two machines.
#[derive(Debug)]
pub struct Link {
    id: LinkId,
    ends: [EndId; 2],
    on_the_way: VecDeque<(EndId, Vec<u8>)>,
    bytes: u64,
}

impl Link {
    pub(super) fn new(id: LinkId, from: EndId, to: EndId) -> Self {
        Self { id, ends: [from, to], on_the_way: VecDeque::new(), bytes: 0 }
    }

    pub(super) const fn id(&self) -> LinkId {
        self.id
    }

    pub(super) const fn ends(&self) -> [EndId; 2] {
        self.ends
    }

    /// How many bytes were sent, without their frames' two bytes of length.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sends a message into the weather. Returns its length.
    pub(super) fn push(
        &mut self,
        from: EndId,
        message: &Message,
        weather: &mut dyn Weather,
    ) -> u64 {
        let [a, b] = self.ends;
        let to = if from == a { b } else { a };
        let mut bytes = Vec::with_capacity(96);
        message.encode(&mut bytes);
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(length);
        match weather.fate(from, bytes.len()) {
            Fate::Arrives => self.on_the_way.push_back((to, bytes)),
            Fate::Lost => {}
            Fate::Twice => {
                self.on_the_way.push_back((to, bytes.clone()));
                self.on_the_way.push_back((to, bytes));
            }
            Fate::Overtakes => {
                let last = self.on_the_way.iter().rposition(|(end, _)| *end == to);
                self.on_the_way.insert(last.unwrap_or(0), (to, bytes));
            }
            Fate::Corrupted { at, mask } => {
                let at = at.checked_rem(bytes.len()).unwrap_or(0);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= mask;
                }
                self.on_the_way.push_back((to, bytes));
            }
        }
        length
    }

    /// The next message that can be read; garbage is dropped, as a transport drops it.
    pub(super) fn pop(&mut self) -> Option<(EndId, LinkId, Message)> {
        while let Some((to, bytes)) = self.on_the_way.pop_front() {
            if let Ok(Some(message)) = Message::decode(&bytes) {
                return Some((to, self.id, message));
            }
        }
        None
    }
}
