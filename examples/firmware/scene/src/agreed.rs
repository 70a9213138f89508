//! What a gateway would tell both ends, and what they would have agreed on: all of it constants.

use bitcoin::constants::ChainHash;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Network, OutPoint, ScriptBuf, Txid};
use millstream::keys::Entropy;
use millstream::meter::tariff::{Measure, Tariff};
use millstream::meter::{Role, Window};
use millstream::stream::{OpenRequest, View};
use millstream::tx::seen::{OutputStatus, Tip};
use millstream::tx::{ChangeScript, Delay};
use millstream::units::{
    ChannelAlias, Height, KeyIndex, Msat, Ppm, Price, Quantity, Sat, Seconds, SessionId, UtcSeconds,
};
use millstream::wire;

use crate::{Done, Failed, Or};

/// The chain of the scene.
pub const NETWORK: Network = Network::Regtest;
/// The channel in which the device buys.
pub const BOUGHT: u8 = 0xb0;
/// The channel in which the device sells.
pub const SOLD: u8 = 0x50;
/// Readings of each session.
pub const TICKS: u64 = 4;
/// What is paid in one step after the restart, msat.
pub const AFTER_RESTART: u64 = 5_000;
/// The clock when the scene starts.
const START: u64 = 1_800_000_000;

/// The outpoint of a channel.
pub fn outpoint(channel: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([channel; 32]), 0)
}

/// The capacity of a channel.
pub fn capacity() -> Done<Sat> {
    Sat::new(50_000).or_fail("a capacity")
}

/// The refund's delay.
pub fn delay() -> Done<Delay> {
    Delay::new(1_008).or_fail("a delay")
}

/// The payer's key.
pub fn index() -> Done<KeyIndex> {
    KeyIndex::new(0).or_fail("an index")
}

/// The only channel of a line.
pub fn alias() -> Done<ChannelAlias> {
    ChannelAlias::new(1).or_fail("an alias")
}

/// The only session of a line.
pub fn session() -> Done<SessionId> {
    SessionId::new(1).or_fail("a session")
}

/// Zeros, so that a run is like the one before; a product takes its random numbers here.
pub const fn entropy() -> Entropy {
    Entropy::new([0; 32])
}

/// The clock at second `second` of the scene.
pub fn clock(second: u64) -> Done<UtcSeconds> {
    UtcSeconds::new(START + second).or_fail("a time")
}

/// The chain at second `second`: deep enough for every channel.
pub fn view(second: u64) -> Done<View> {
    let (height, time) = (Height::new(120).or_fail("a height")?, clock(0)?);
    let tip = Tip { height, hash: BlockHash::all_zeros(), time };
    Ok(View { tip, now: clock(second)?, tip_age_max: Seconds::new(7_200).or_fail("an age")? })
}

/// What the chain shows of a channel's output.
pub fn status(script: ScriptBuf) -> Done<OutputStatus> {
    let confirmed = Some(Height::new(100).or_fail("a height")?);
    Ok(OutputStatus { value: capacity()?, script, confirmed, truc: true, spent: None })
}

/// 450 msat for a thousand watt-seconds.
pub fn tariff() -> Done<Tariff> {
    let price = Msat::new(450).and_then(|msat| Price::new(msat, 1_000)).or_fail("a price")?;
    Tariff::flat(Measure::WattSecond, price).or_fail("a tariff")
}

/// What is delivered in a second.
pub fn delivered() -> Done<Quantity> {
    Quantity::new(11_000).or_fail("a quantity")
}

/// Paid after each reading, so that neither side is ever ahead by more.
pub fn window() -> Done<Window> {
    Ok(Window { credit: Msat::new(5_000).or_fail("a credit")?, prepay: Msat::ZERO })
}

/// The most that a session may cost.
pub fn budget() -> Done<Msat> {
    Msat::new(1_000_000).or_fail("a budget")
}

/// The buyer's side of a session; its own meter is the seller's here.
pub fn buyer() -> Done<Role> {
    Ok(Role::Buyer {
        meter_ppm: Ppm::new(10_000).or_fail("a tolerance")?,
        meter_slack: Quantity::ZERO,
        skew: Seconds::new(30).or_fail("a skew")?,
        budget: budget()?,
    })
}

/// The offer of a session by [`tariff`].
pub fn offer() -> Done<wire::SessionOffer> {
    let (tariff, window) = (tariff()?, window()?);
    Ok(wire::SessionOffer {
        session: session()?,
        tariff_hash: tariff.hash().0,
        credit: window.credit,
        prepay: window.prepay,
        skew: Seconds::new(30).or_fail("a skew")?,
        tolerance: Ppm::new(10_000).or_fail("a tolerance")?,
        tariff: Some(wire::Bytes::new(tariff.encode()).or_fail("a tariff")?),
    })
}

/// The message that shows a channel.
pub fn open_message(request: &OpenRequest) -> Done<wire::Open> {
    Ok(wire::Open {
        alias: alias()?,
        chain: ChainHash::using_genesis_block_const(request.network),
        payer: request.payer,
        delay: core::num::NonZeroU16::new(request.delay.to_u16()).or_fail("a delay")?,
        outpoint: request.outpoint,
        change: wire::Change::Own,
        paid: Msat::ZERO,
        payee_base: request.base,
        terms_hash: request.terms,
    })
}

/// What such a message asks for; channels of the scene have their own script as change.
pub fn open_request(open: &wire::Open) -> Done<OpenRequest> {
    if open.chain != ChainHash::using_genesis_block_const(NETWORK) {
        return Err(Failed("another chain"));
    }
    Ok(OpenRequest {
        network: NETWORK,
        base: open.payee_base,
        payer: open.payer,
        delay: Delay::new(open.delay.get()).or_fail("a delay")?,
        outpoint: open.outpoint,
        change: ChangeScript::Own,
        terms: open.terms_hash,
    })
}
