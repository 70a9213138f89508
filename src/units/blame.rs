//! Who caused an error: the one word that every room's errors answer with.

/// Who caused an error; each error says it of itself by `blame()`.
///
/// A driver drops or slows a link for what is the peer's, reports what is ours to its operator, and
/// tries again later what is the world's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Our own caller, configuration or disk.
    Us,
    /// The other side of the channel.
    Peer,
    /// The chain, the time or chance.
    World,
}
