//! Settlements of many channels: the largest of each kind, a byte or a channel more, conflicts.

use bitcoin::TxOut;
use bitcoin::script::PushBytesBuf;

use crate::chain::Reason;
use crate::sim::scenario::lab::{Lab, LabCoin, Tale, output};
use crate::sim::scenario::stream_kinds::{forged_payer, mined_undone_redone, p2wpkh};
use crate::sim::scenario::stream_lab::{CAPACITY, PAID, RATE, Stream, StreamLab};
use crate::sim::scenario::{BuildError, Scenario};
use crate::tx::{ChangeScript, WalletScript};

pub(super) fn scenarios(lab: &Lab) -> Result<Vec<Scenario>, BuildError> {
    let streams = StreamLab::new(lab)?;
    let wallet = |script| Ok::<_, BuildError>(ChangeScript::Wallet(WalletScript::parse(script)?));
    let kinds = [
        Kind {
            name: "batch_of_65_channels_with_p2tr_change_is_relayed_and_of_66_is_not",
            change: wallet(streams.wallet()?)?,
            paid: PAID,
            count: 65,
            coins: 2,
        },
        Kind {
            name: "batch_of_71_channels_with_p2wpkh_change_is_relayed_and_of_72_is_not",
            change: wallet(p2wpkh())?,
            paid: PAID,
            count: 71,
            coins: 1,
        },
        Kind {
            name: "batch_of_92_full_channels_is_relayed_and_of_93_is_not",
            change: ChangeScript::Own,
            paid: CAPACITY.saturating_mul(1_000),
            count: 92,
            coins: 0,
        },
    ];
    let mut scenarios =
        kinds.iter().map(|kind| limit(&streams, kind)).collect::<Result<Vec<_>, _>>()?;
    scenarios.push(exact_limit(&streams)?);
    scenarios.push(conflict(&streams)?);
    Ok(scenarios)
}

/// A largest settlement: how many channels of one kind, and fee inputs beside them.
struct Kind {
    name: &'static str,
    change: ChangeScript,
    paid: u64,
    count: usize,
    coins: u32,
}

/// Fees far above every minimum for 10,000 vB.
const BATCH_FEE: u64 = 20_000;

fn channels(
    streams: &StreamLab<'_>,
    count: usize,
    change: &ChangeScript,
) -> Result<(bitcoin::Transaction, Vec<Stream>), BuildError> {
    let names: Vec<String> = (0..count).map(|number| format!("payer {number}")).collect();
    let payers: Vec<_> = names.iter().map(|name| (name.as_str(), change.clone())).collect();
    streams.fund(1, 3, &payers)
}

/// The coinbases 2, 3, ...
fn coins(streams: &StreamLab<'_>, count: u32) -> Result<Vec<LabCoin>, BuildError> {
    (0..count).map(|number| streams.lab.coin(number.saturating_add(2))).collect()
}

fn limit(streams: &StreamLab<'_>, kind: &Kind) -> Result<Scenario, BuildError> {
    let (funding, channels) = channels(streams, kind.count.saturating_add(1), &kind.change)?;
    let coins = coins(streams, kind.coins)?;
    let vouchers: Vec<_> = channels.iter().map(|stream| (stream, kind.paid)).collect();
    let most = vouchers.get(..kind.count).unwrap_or_default();
    let largest = streams.settle(most, &coins, RATE)?;
    let more = streams.merged(&vouchers, &[], &[], BATCH_FEE)?;
    let tale = Tale::new(kind.name)?
        .submit("funding", &funding)
        .mine(1)?
        .refuse("one channel more", &more, Reason::Truc)
        .refuse("forged by one payer", &forged_payer(&largest), Reason::BadScript);
    // The limit is policy alone, and what returns from a block is not asked for it again.
    Ok(mined_undone_redone(tale, "the largest", &largest)?
        .reorg(1, &[&[&more], &[]])?
        .absent("the largest, voided by one channel more in a block", &largest)
        .reorg(2, &[&[], &[], &[]])?
        .present("one channel more, undone", &more)
        .end())
}

/// TRUC's limit to the virtual byte, by data behind the payee's output.
fn exact_limit(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, channels) = channels(streams, 65, &ChangeScript::Own)?;
    let (two, three) = (coins(streams, 2)?, coins(streams, 3)?);
    let vouchers: Vec<_> = channels.iter().map(|stream| (stream, PAID)).collect();
    let padded = |bytes| streams.merged(&vouchers, &two, &[data(bytes)], BATCH_FEE);
    // 9,967.25 vB without data, which adds 11 bytes to its own.
    let (exact, above) = (padded(21)?, padded(22)?);
    let third = streams.merged(&vouchers, &three, &[], BATCH_FEE)?;
    let tale = Tale::new("settlement_of_10_000_vbytes_is_relayed_and_of_10_001_is_not")?
        .submit("funding", &funding)
        .mine(1)?
        .refuse("10,001 vB", &above, Reason::Truc)
        .refuse("a third fee input", &third, Reason::Truc);
    Ok(mined_undone_redone(tale, "10,000 vB", &exact)?.end())
}

/// An output of so many bytes of data.
fn data(bytes: usize) -> TxOut {
    let push = PushBytesBuf::try_from(vec![0; bytes]).unwrap_or_default();
    output(0, &bitcoin::ScriptBuf::new_op_return(push))
}

fn conflict(streams: &StreamLab<'_>) -> Result<Scenario, BuildError> {
    let (funding, channels) = channels(streams, 65, &ChangeScript::Own)?;
    let coins = coins(streams, 2)?;
    let vouchers: Vec<_> = (0..)
        .zip(&channels)
        .map(|(number, stream)| (stream, PAID.saturating_add(number)))
        .collect();
    let batch = streams.settle(&vouchers, &coins, RATE)?;
    let first = channels.first().ok_or(BuildError::Taproot)?;
    let single = streams.settle(&[(first, PAID)], &[], RATE.saturating_mul(10))?;
    Ok(Tale::new("batch_and_one_of_its_channels_settled_alone_void_each_other")?
        .submit("funding of 65 channels", &funding)
        .mine(1)?
        .submit("batch of 65 channels and two fee inputs", &batch)
        .refuse("one alone in conflict", &single, Reason::InsufficientReplacement)
        .connect("one alone in a block", &[&single])
        .absent("batch voided by it", &batch)
        .reorg(1, &[&[], &[]])?
        .present("single back", &single)
        .mine(1)?
        .refuse("batch with a spent channel", &batch, Reason::MissingInputs)
        .reorg(1, &[&[&batch], &[]])?
        .absent("single voided by the batch", &single)
        .end())
}
