//! Unit tests of templates: real blocks built again, and what is refused.

use std::sync::Arc;

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, ScriptBuf, TxMerkleNode};

use super::*;
use crate::chain::regtest::Regtest;
use crate::shares::{Desk, JobError, Policy, Share, Space};
use crate::units::{JobId, Seconds};

/// Block 926,485 of testnet3: four transactions, one of them with a witness, mined through a pool
/// that lays its coinbase out as we do. From BIP158's `testnet-19.json`.
const BLOCK_926485: &str = include_str!("../../../tests/vectors/block_926485.hex");
/// Block 1,263,442 of testnet3, from the same file.
const BLOCK_1263442: &str = include_str!("../../../tests/vectors/block_1263442.hex");

fn block(hex: &str) -> Block {
    deserialize_hex(hex.trim()).unwrap()
}

fn utc(time: u64) -> UtcSeconds {
    UtcSeconds::new(time).unwrap()
}

/// The template that the block was made of.
fn template_of(block: &Block) -> Template {
    let height = u32::try_from(block.bip34_block_height().unwrap()).unwrap();
    let value = block.txdata[0].output.iter().map(|output| output.value).sum::<Amount>();
    let mut template = Template::empty(
        block.header.prev_blockhash,
        Height::new(height).unwrap(),
        block.header.bits,
        utc(block.header.time.into()),
        Sat::new(value.to_sat()).unwrap(),
    );
    template.version = block.header.version.to_consensus().cast_unsigned();
    template.txs = block.txdata[1..].iter().map(|tx| TemplateTx::new(tx.clone(), None)).collect();
    template
}

/// The layout of the block's coinbase, whose script has the extranonce at `at`.
fn layout_of(block: &Block, sizes: (usize, usize), at: usize) -> (Layout, Vec<u8>) {
    let coinbase = &block.txdata[0];
    let script = coinbase.input[0].script_sig.as_bytes();
    let size = sizes.0 + sizes.1;
    let mut layout = Layout::new(coinbase.output[0].script_pubkey.clone());
    (layout.extranonce1_size, layout.extranonce2_size) = sizes;
    // Three bytes of height with their length before it, and the extranonce's own length behind.
    layout.before = script[4..at - 1].to_vec();
    layout.tag = script[at + size..].to_vec();
    layout.markers =
        coinbase.output[2..].iter().map(|output| output.script_pubkey.clone()).collect();
    layout.version = coinbase.version;
    (layout, script[at..at + size].to_vec())
}

fn solution_of(block: &Block, sizes: (usize, usize), extranonce: &[u8]) -> Solution {
    Solution {
        extranonce1: extranonce[..sizes.0].to_vec(),
        extranonce2: extranonce[sizes.0..].to_vec(),
        version: block.header.version.to_consensus().cast_unsigned(),
        time: block.header.time,
        nonce: block.header.nonce,
    }
}

fn plan_926485() -> (BlockPlan, Solution, Block) {
    let real = block(BLOCK_926485);
    let (layout, extranonce) = layout_of(&real, (4, 8), 16);
    let plan = BlockPlan::new(template_of(&real), &layout).unwrap();
    let solution = solution_of(&real, (4, 8), &extranonce);
    (plan, solution, real)
}

/// A template of `count` different transactions with witnesses.
fn template(count: u32) -> Template {
    let mut tx = block(BLOCK_926485).txdata[1].clone();
    let bits = CompactTarget::from_consensus(0x207f_ffff);
    let value = Sat::new(5_000_000_000).unwrap();
    let height = Height::new(700_000).unwrap();
    let mut template =
        Template::empty(BlockHash::all_zeros(), height, bits, utc(1_600_000_000), value);
    template.txs = (0..count)
        .map(|number| {
            tx.input[0].previous_output.vout = number;
            TemplateTx::new(tx.clone(), None)
        })
        .collect();
    template
}

fn layout() -> Layout {
    Layout::new(ScriptBuf::from_bytes(vec![0x51]))
}

/// The first block of a plan with these extranonces, by counting nonces: the target must be easy.
pub(in crate::chain) fn mined(plan: &BlockPlan, extranonce1: &[u8], extranonce2: &[u8]) -> Block {
    let mut solution = plan.first_solution(extranonce1, extranonce2);
    loop {
        match plan.solve(&solution) {
            Ok(block) => return block,
            Err(TemplateError::HighHash { .. }) => solution.nonce += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn real_blocks_are_built_again_to_the_byte_from_their_templates() {
    for (hex, sizes, at, id) in [
        (
            BLOCK_926485,
            (4, 8),
            16,
            "000000000000015d6077a411a8f5cc95caf775ccf11c54e27df75ce58d187313",
        ),
        (
            BLOCK_1263442,
            (4, 4),
            26,
            "000000006f27ddfe1dd680044a34548f41bed47eba9e6f0b310da21423bc5f33",
        ),
    ] {
        let real = block(hex);
        let (layout, extranonce) = layout_of(&real, sizes, at);
        let plan = BlockPlan::new(template_of(&real), &layout).unwrap();
        let built = plan.solve(&solution_of(&real, sizes, &extranonce)).unwrap();
        assert_eq!(built, real);
        assert_eq!(built.block_hash().to_string(), id);
    }
}

#[test]
fn every_choice_of_a_solution_is_in_the_hash() {
    let (plan, solution, _) = plan_926485();
    let changed = |change: fn(&mut Solution)| {
        let mut other = solution.clone();
        change(&mut other);
        plan.solve(&other).unwrap_err()
    };
    for error in [
        changed(|it| it.nonce ^= 1),
        changed(|it| it.time += 1),
        changed(|it| it.version ^= 0x2000),
        changed(|it| it.extranonce1[0] ^= 1),
        changed(|it| it.extranonce2[7] ^= 1),
    ] {
        assert!(matches!(error, TemplateError::HighHash { .. }), "{error}");
    }
}

#[test]
fn choices_that_are_not_the_miners_are_refused_on_both_sides_of_their_limits() {
    let (plan, solution, real) = plan_926485();
    let time = u64::from(real.header.time);
    let changed = |change: &dyn Fn(&mut Solution)| {
        let mut other = solution.clone();
        change(&mut other);
        plan.solve(&other).unwrap_err()
    };
    let version = solution.version;
    for bit in 0..32 {
        let error = changed(&|it| it.version ^= 1 << bit);
        let got = version ^ (1 << bit);
        if (13..29).contains(&bit) {
            assert!(matches!(error, TemplateError::HighHash { .. }), "bit {bit}");
        } else {
            assert_eq!(error, TemplateError::Version { got, mask: VERSION_ROLLING }, "bit {bit}");
        }
    }
    let early = changed(&|it| it.time -= 1);
    let (min, max) = (time, time + 7_200);
    assert_eq!(early, TemplateError::Time { got: real.header.time - 1, min, max });
    assert!(matches!(changed(&|it| it.time += 7_200), TemplateError::HighHash { .. }));
    let late = changed(&|it| it.time += 7_201);
    assert_eq!(late, TemplateError::Time { got: real.header.time + 7_201, min, max });
    let short = changed(&|it| it.extranonce2.truncate(7));
    assert_eq!(short, TemplateError::ExtranonceSize { got: 7, want: 8 });
    let shifted = changed(&|it| {
        let first = it.extranonce2.remove(0);
        it.extranonce1.push(first);
    });
    assert_eq!(shifted, TemplateError::ExtranonceSize { got: 5, want: 4 });
}

#[test]
fn branches_and_commitment_hold_for_any_number_of_transactions() {
    for count in 0..=17 {
        let plan = BlockPlan::new(template(count), &layout()).unwrap();
        let block = mined(&plan, &[1, 2, 3, 4], &[5; 8]);
        // The crate `bitcoin` computes both trees from all transactions.
        assert!(block.check_merkle_root(), "{count} transactions");
        assert!(block.check_witness_commitment(), "{count} transactions");
        let root = TxMerkleNode::from_byte_array(plan.merkle_root(&[1, 2, 3, 4], &[5; 8]));
        assert_eq!(block.header.merkle_root, root);
        assert_eq!(block.bip34_block_height(), Ok(700_000));
    }
}

#[test]
fn coinbase_pays_the_shares_and_the_rest_to_the_first_output() {
    let mut layout = layout();
    let part = |sat| (ScriptBuf::from_bytes(vec![0x52]), Sat::new(sat).unwrap());
    layout.shared_with = vec![part(3_000_000_000), part(1_999_999_999)];
    let plan = BlockPlan::new(template(1), &layout).unwrap();
    let block = mined(&plan, &[0; 4], &[0; 8]);
    let values: Vec<u64> =
        block.txdata[0].output.iter().map(|output| output.value.to_sat()).collect();
    assert_eq!(values, [1, 3_000_000_000, 1_999_999_999, 0]);
    layout.shared_with.push(part(2));
    let value = Sat::new(5_000_000_000).unwrap();
    assert_eq!(BlockPlan::new(template(1), &layout), Err(TemplateError::Overspend { value }));
}

#[test]
fn coinbase_scripts_are_taken_up_to_their_limits() {
    let with = |tag: usize, size: usize| {
        let mut layout = layout();
        layout.tag = vec![0x6a; tag];
        (layout.extranonce1_size, layout.extranonce2_size) = (0, size);
        let mut low = template(0);
        low.height = Height::new(7).unwrap();
        BlockPlan::new(low, &layout)
    };
    // The height is one byte here, and the extranonce's length another.
    assert!(with(90, 8).is_ok());
    assert_eq!(with(91, 8), Err(TemplateError::CoinbaseScript { got: 101 }));
    assert!(with(0, 75).is_ok());
    assert_eq!(with(0, 76), Err(TemplateError::ExtranonceSize { got: 76, want: 75 }));
    assert!(with(0, 0).is_ok());
}

#[test]
fn template_without_a_target_or_beyond_the_weight_is_refused() {
    let mut none = template(0);
    none.bits = CompactTarget::from_consensus(0x2080_0000);
    let refused = BlockPlan::new(none, &layout());
    assert_eq!(refused, Err(TemplateError::NoTarget { bits: 0x2080_0000 }));
    let mut heavy = template(1);
    let mut tx = heavy.txs[0].tx().clone();
    tx.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0; 1_000_000]);
    heavy.txs = vec![TemplateTx::new(tx.clone(), None)];
    let Err(TemplateError::TooHeavy { got }) = BlockPlan::new(heavy.clone(), &layout()) else {
        panic!("too heavy a block is planned");
    };
    // Four weight units a byte: the largest that fits, and one byte more.
    let over = usize::try_from((got - 4_000_000).div_ceil(4)).unwrap();
    for (bytes, fits) in [(1_000_000 - over, true), (1_000_001 - over, false)] {
        tx.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0; bytes]);
        heavy.txs = vec![TemplateTx::new(tx.clone(), None)];
        assert_eq!(BlockPlan::new(heavy.clone(), &layout()).is_ok(), fits, "{bytes}");
    }
}

#[test]
fn share_that_meets_the_network_is_the_block_that_extends_its_chain() {
    let mut chain = Regtest::unchecked_scripts();
    let space = Space::numbered(77, 4).unwrap();
    let roll = Seconds::new(600).unwrap();
    for fixed in [false, true, false] {
        let template = chain.block_template();
        let now = template.current_time;
        let plan = BlockPlan::new(template.clone(), &layout()).unwrap();
        let job = if fixed { plan.fixed_job(&space, 9, roll) } else { plan.job(roll) }.unwrap();
        let previous = template.previous.to_byte_array();
        let policy = Policy::for_aim(Seconds::new(1).unwrap());
        let mut desk = Desk::new(space, policy, previous, now);
        let id = JobId::new(5).unwrap();
        let network = job.network();
        desk.assign(id, Arc::new(job), network).unwrap();
        let share = |nonce| Share {
            job: id,
            extranonce: if fixed { 0 } else { 0x0102_0304_0506_0708 },
            version: template.version ^ 0x0001_6000,
            time: u32::try_from(now.to_u64()).unwrap() + 600,
            nonce,
        };
        let good = (0..).find_map(|nonce| desk.check(now, &share(nonce)).ok()).unwrap();
        assert!(good.is_block());
        let extranonce = if fixed { 9 } else { good.share().extranonce };
        let block = plan.block(&space, &Share { extranonce, ..*good.share() }).unwrap();
        assert_eq!(block.block_hash().to_byte_array(), *good.hash());
        assert_eq!(chain.connect_block(&block).unwrap().hash, block.block_hash());
    }
}

#[test]
fn jobs_that_do_not_fit_are_refused() {
    let roll = Seconds::new(600).unwrap();
    let with = |size1, size2| {
        let mut layout = layout();
        (layout.extranonce1_size, layout.extranonce2_size) = (size1, size2);
        BlockPlan::new(template(1), &layout).unwrap()
    };
    assert!(with(16, 8).job(roll).is_ok());
    assert!(matches!(with(17, 8).job(roll), Err(JobError::TooMany { got: 17, .. })));
    assert!(matches!(with(16, 9).job(roll), Err(JobError::TooMany { got: 9, .. })));
    let space = Space::numbered(1, 5).unwrap();
    let misfit = with(4, 8).fixed_job(&space, 0, roll);
    assert_eq!(misfit, Err(JobError::SpaceMisfit { got: 5, room: 4 }));
    let mut late = template(0);
    late.min_time = utc(1_600_000_001);
    let late = BlockPlan::new(late, &layout()).unwrap().job(roll);
    assert!(matches!(late, Err(JobError::BadWindow { .. })));
    // An extranonce that needs more bytes than there are.
    let share = Share {
        job: JobId::new(1).unwrap(),
        extranonce: 0x1_0000,
        version: 0x2000_0000,
        time: 1_600_000_000,
        nonce: 0,
    };
    let block = with(4, 2).block(&Space::numbered(1, 4).unwrap(), &share);
    assert_eq!(block, Err(TemplateError::ExtranonceSize { got: 8, want: 2 }));
}

#[test]
fn coinbase_with_more_signature_operations_than_the_block_has_left_is_refused() {
    let block = block(BLOCK_926485);
    let template = template_of(&block);
    let old = ScriptBuf::new_p2pkh(&bitcoin::PubkeyHash::from_byte_array([7; 20]));
    let layout = |outputs: usize| {
        let mut layout = Layout::new(old.clone());
        layout.shared_with = vec![(old.clone(), Sat::ZERO); outputs - 1];
        layout
    };
    let plan = |template: &Template, outputs| BlockPlan::new(template.clone(), &layout(outputs));
    // The node has left room for a hundred.
    assert!(plan(&template, 100).is_ok());
    let (got, left) = (404, 400);
    assert_eq!(plan(&template, 101), Err(TemplateError::TooManySigops { got, left }));
    // It says what they cost: 79,592 of 80,000.
    let mut full = template;
    full.txs = full.txs.into_iter().take(2).map(|tx| tx.with_sigops(39_796)).collect();
    assert!(plan(&full, 102).is_ok());
    let (got, left) = (412, 408);
    assert_eq!(plan(&full, 103), Err(TemplateError::TooManySigops { got, left }));
    full.txs.clear();
    assert!(plan(&full, 103).is_ok());
}
