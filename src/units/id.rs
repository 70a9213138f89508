//! Ids: small integers that name things, one type each.

pub use alias::ChannelAlias;
pub use hold::HoldId;
pub use item::ItemId;
pub use key::KeyIndex;
pub use lane::Lane;
pub use session::SessionId;

mod alias {
    use crate::units::bounded;

    bounded! {
        /// A channel's short name on one connection. The channel's identity is its full outpoint;
        /// the alias is agreed per connection and means nothing elsewhere.
        ChannelAlias(u32), 0, u32::MAX, "", to_u32
    }
}

mod hold {
    use crate::units::bounded;

    bounded! {
        /// One conditional payment of a channel: ids rise and are never used again.
        HoldId(u64), 0, u64::MAX, "", to_u64
    }
}

mod item {
    use crate::units::bounded;

    bounded! {
        /// One payment of a lane; rises strictly within the lane for the channel's life. Starts at
        /// 1, so that 0 can stand for none yet.
        ItemId(u64), 1, u64::MAX, "", to_u64
    }
}

mod key {
    use crate::units::bounded;

    bounded! {
        /// Which of a seed's payer keys, 0 ..= 2^31 - 1 (the hardened indices of BIP32).
        KeyIndex(u32), 0, 0x7fff_ffff, "", to_u32
    }
}

mod lane {
    use crate::units::bounded;

    bounded! {
        /// One of the concurrent sessions of a channel.
        Lane(u16), 0, u16::MAX, "", to_u16
    }
}

mod session {
    use crate::units::bounded;

    bounded! {
        /// One metered session; unique per pair of machines.
        SessionId(u64), 0, u64::MAX, "", to_u64
    }
}
