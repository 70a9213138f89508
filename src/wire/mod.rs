//! The wire: BOLT-1 framing, TLV streams and the messages of stream channels.
//!
//! ```text
//!  bytes of a stream --FrameReader--> message bytes --Message::decode--> Message --> stream, node
//!  Message --write_frame--> length (u16 BE) | type (u16 BE) | fixed fields | TLV extension
//! ```
//!
//! Every number is big-endian, every identifier is its plain bytes (a txid in the order in which it
//! is hashed), every signature is the 64 bytes of BIP340: the type byte that a witness needs is
//! implied by the voucher's kind. A message is its fixed fields and then a TLV stream to the end:
//! unknown odd records are skipped, unknown even ones refuse the message, and the same holds for
//! message types (BOLT-1, "It's OK to be odd").
//!
//! | type | message | fixed fields (bytes) | TLV records |
//! | --- | --- | --- | --- |
//! | 1, 17 | [`PeerWarning`], [`PeerError`] | channel id 32, length 2, text | |
//! | 16 | [`Init`] | length 2, global features, length 2, features | 1: networks |
//! | 18 | [`Ping`] | wanted 2, length 2, padding | |
//! | 19 | [`Pong`] | length 2, padding | |
//! | 0x9101 | [`TermsQuery`] | | |
//! | 0x9103 | [`Terms`] | length 2, terms | |
//! | 0x9105 | [`Open`] | alias 4, chain 32, payer 32, delay 2, outpoint 36, change 1 + 0/20/32, paid 8, payee base 32, terms hash 32 | |
//! | 0x9107 | [`Accepted`] | alias 4, paid 8, standing 1 | |
//! | 0x9109 | [`Voucher`] | alias 4, paid 8, signature 64 | |
//! | 0x910b | [`Ack`] | alias 4, paid 8 | |
//! | 0x910d | [`Refused`] | alias 4, code 2, best 8 | 1: session 8 |
//! | 0x910f | [`Resume`] | alias 4 | 0: outpoint |
//! | 0x9111 | [`Best`] | outpoint 36, paid 8, signature 64, change 1 + 0/20/32 | |
//! | 0x9113 | [`CloseRequest`] | alias 4, paid 8, fee 8, length 2, script, signature 64 | |
//! | 0x9115 | [`CloseSigned`] | alias 4, paid 8, txid 32, signature 64 | |
//! | 0x9117 | [`TopUpRequest`] | alias 4, paid 8, capacity 8, length 2, coins | 0: carried |
//! | 0x9119 | [`TopUpSigned`] | alias 4, paid 8, txid 32, signature 64 | |
//! | 0x911b | [`BatchVoucher`] | alias 4, paid 8, signature 64, start 8, root 32, length 2, part | 1: length 4, 3: lanes |
//! | 0x911d | [`BatchPart`] | alias 4, paid 8, offset 4, length 2, part | |
//! | 0x911f | [`LanesQuery`] | alias 4, paid 8, signature 64 | |
//! | 0x9121 | [`LanesTold`] | alias 4, paid 8, length 2, lanes | |
//! | 0x9123 | [`HoldVoucher`] | alias 4, paid 8, signature 64, count 1, holds 52 each | 0: bundles |
//! | 0x9125 | [`HoldItems`] | alias 4, id 8, length 4, offset 4, length 2, part | |
//! | 0x9127 | [`HoldAck`] | alias 4, paid 8, state 32 | |
//! | 0x9129 | [`HoldFulfilled`] | alias 4, id 8, preimage 32 | |
//! | 0x912b | [`HoldReleased`] | alias 4, id 8 | |
//! | 0x912d | [`BestHeld`] | outpoint 36, paid 8, signature 64, count 1, holds 52 each | 0: bundles |
//! | 0x9141 | [`SessionOffer`] | session 8, tariff hash 32, credit 8, prepay 8, skew 8, tolerance 4 | 1: tariff |
//! | 0x9143 | [`SessionStart`] | session 8, alias 4, offer hash 32, time 8 | |
//! | 0x9145 | [`Reading`] | session 8, time 8, quantity 8 | 1: idle 8 |
//! | 0x9147 | [`SessionPause`] | session 8, time 8, owed 8 | |
//! | 0x9149 | [`SessionEnd`] | session 8, time 8, quantity 8 | |
//! | 0x914b | [`Statement`] | session 8, length 2, statement | |
//!
//! Decoding never panics and never allocates more than the input; every list and blob has a limit
//! that keeps each message of ours below the 65,535 bytes of a frame. Texts of a peer are shown
//! escaped and cut, never raw.
//!
//! Rank 1: imports `units` and the types of `bitcoin`. Used by `stream` and `node` (messages), by
//! `rt` (frames), and by whoever stores TLVs.
//!
//! ```
//! use millstream::units::{ChannelAlias, Msat};
//! use millstream::wire::{Ack, FrameReader, Message, write_frame};
//!
//! let ack = Ack { alias: ChannelAlias::new(7)?, paid: Msat::new(1_250)? };
//! let mut bytes = Vec::new();
//! write_frame(&ack.into(), &mut bytes)?;
//!
//! let (mut reader, mut input) = (FrameReader::new(), bytes.as_slice());
//! let message = reader.read(&mut input)?.ok_or("incomplete")?;
//! assert_eq!(Message::decode(message)?, Some(Message::Ack(ack)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod blob;
mod channel;
mod close;
mod error;
mod field;
mod frame;
mod hold;
mod message;
mod number;
mod reader;
mod session;
mod setup;
mod tlv;

pub use batch::{BATCH_PART_MAX, BatchPart, BatchVoucher, LANES_MAX, LanesQuery, LanesTold};
pub use blob::{Bytes, Padding, PeerText};
pub use channel::{
    Accepted, Ack, Best, Change, Open, OtherCode, Refusal, Refused, Resume, Standing, TERMS_MAX,
    Terms, TermsQuery, Voucher,
};
pub use close::{
    COINS_MAX, Carried, CloseRequest, CloseSigned, SCRIPT_MAX, TopUpRequest, TopUpSigned,
};
pub use error::WireError;
pub use field::Payload;
pub use frame::{FrameReader, MESSAGE_MAX, write_frame};
pub use hold::{
    BestHeld, HeldAmount, HeldAmounts, HeldBundle, HeldBundles, HoldAck, HoldFulfilled, HoldItems,
    HoldReleased, HoldVoucher,
};
pub use message::Message;
pub use number::{put_bigsize, put_signed, put_truncated};
pub use reader::Reader;
pub use session::{
    OfferHash, Reading, STATEMENT_MAX, SessionEnd, SessionOffer, SessionPause, SessionStart,
    Statement, TARIFF_MAX,
};
pub use setup::{
    FEATURES_MAX, Init, NETWORKS_MAX, Networks, PeerError, PeerWarning, Ping, Pong, TEXT_MAX,
};
pub use tlv::{TlvRecord, TlvStream, put_record};

#[cfg(test)]
mod tests;
