//! What a voucher costs beside the two operations of the curve that it cannot do without.

use std::error::Error;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::{Keypair, Message, Secp256k1};

use super::Args;
use super::clock::{Clock, Plan, compare};
use super::row::{Goal, Row};
use super::stage::{STEP, Stage};

/// What this file gives.
pub(crate) const NAMES: &[&str] =
    &["voucher_cpu_ratio", "voucher_cpu_us", "vouchers_per_cpu_s", "sha256_compression_ns"];

/// A signature and its verification, bare.
const BARE: &str = "libsecp256k1 Schnorr sign + verify, us";

/// From `pay()` to the accepted record against bare sign + verify; key pairs are cached on both
/// sides, both contexts are blinded once.
pub(crate) fn rows(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut stage = Stage::own(1)?;
    let mut secp = Secp256k1::new();
    secp.seeded_randomize(&[1; 32]);
    let pair = Keypair::from_seckey_slice(&secp, &[1; 32])?;
    let key = pair.x_only_public_key().0;
    let aux = [3; 32];
    let (mut submitted, mut verified) = (0_u64, 0_u64);
    let plan = Plan { clock: Clock::Cpu, rounds: args.rounds, turns: 16, operations: 16 };
    let voucher = compare(
        plan,
        &mut || {
            submitted += 1;
            stage.pay(0, STEP).map(drop)
        },
        &mut || {
            let mut digest = [7; 32];
            digest[..8].copy_from_slice(&verified.to_le_bytes());
            let message = Message::from_digest(digest);
            let signature = secp.sign_schnorr_with_aux_rand(&message, &pair, &aux);
            secp.verify_schnorr(&signature, &message, &key)?;
            verified += 1;
            Ok(())
        },
    )?;
    stage.check(submitted)?;
    assert_eq!(submitted, verified);
    let micros = |seconds: f64| seconds * 1e6;
    Ok(vec![
        Row::new("voucher_cpu_ratio", voucher.ratio, "x")
            .goal(Goal::AtMost(1.15))
            .against(BARE, micros(voucher.bare))
            .note("pay(), policy, frame, decoding, accept(), encoded record; without the store"),
        Row::new("voucher_cpu_us", micros(voucher.ours), "us").against(BARE, micros(voucher.bare)),
        Row::new("vouchers_per_cpu_s", 1.0 / voucher.ours, "1/s")
            .against("libsecp256k1 Schnorr sign + verify, 1/s", 1.0 / voucher.bare),
        compression(args)?,
    ])
}

/// One compression of SHA-256 as the digests use it: what a figure of another machine is scaled by.
fn compression(args: &Args) -> Result<Row, Box<dyn Error>> {
    /// Compressions of one operation.
    const BLOCKS: u32 = 1_024;
    let input = vec![0x5a; 64 * usize::try_from(BLOCKS)?];
    let mut last = sha256::Hash::all_zeros();
    let mut operation = || {
        let mut engine = sha256::Hash::engine();
        engine.input(&input);
        last = sha256::Hash::from_engine(engine);
        Ok(())
    };
    let plan = Plan { clock: Clock::Cpu, rounds: args.rounds, turns: 2, operations: 4 };
    let cost = compare(plan, &mut operation, &mut || Ok(()))?;
    assert_ne!(last, sha256::Hash::all_zeros());
    Ok(Row::new("sha256_compression_ns", cost.ours * 1e9 / f64::from(BLOCKS), "ns").note(kernel()))
}

/// Which code of `bitcoin_hashes` runs here.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn kernel() -> &'static str {
    if std::arch::is_x86_feature_detected!("sha") { "kernel: SHA-NI" } else { "kernel: portable" }
}

/// Which code of `bitcoin_hashes` runs here.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
const fn kernel() -> &'static str {
    "kernel: portable"
}
