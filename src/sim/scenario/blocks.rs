//! Whole blocks as a pool makes them of a template: the right one, and one wrong in each way.

use bitcoin::block::Version;
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, ScriptBuf, Transaction, TxMerkleNode, Witness,
};

use crate::chain::Reason;
use crate::chain::regtest::Regtest;
use crate::chain::template::{BlockPlan, Layout, Template};
use crate::miner::job::{Parts, TimeRoll};
use crate::miner::kernel::Kernel;
use crate::miner::{Found, Job, Search};
use crate::shares::{Share, Space};
use crate::sim::scenario::lab::{Draft, FEE, Lab, START, Tale, output_of};
use crate::sim::scenario::{BuildError, Scenario};
use crate::units::{Blocks, JobId, Sat, Target, UtcSeconds};

/// What the search of a block rolls of the version: sixteen values.
const ROLLED: u32 = 0x00c0_6000;

pub(super) fn scenarios(lab: &Lab) -> Result<Vec<Scenario>, BuildError> {
    Ok(vec![mined_from_templates(lab)?, wrong_in_one_way(lab)?])
}

/// A chain on which the blocks of a scenario are made, with what they hold.
struct Pool {
    chain: Regtest,
    layout: Layout,
    parent: Transaction,
    child: Transaction,
    other: Transaction,
}

impl Pool {
    fn new(lab: &Lab) -> Result<Self, BuildError> {
        let key = lab.key("anna")?;
        let script = lab.p2tr(&key);
        let parent = lab.sign(Draft::sweep(&lab.coin(1)?, &script, FEE))?;
        let child = lab.sign(Draft::sweep(&output_of(&parent, 0, &key), &script, FEE * 5))?;
        let other = lab.sign(Draft::sweep(&lab.coin(2)?, &script, FEE * 2))?;
        let mut chain = Regtest::unchecked_scripts();
        chain.mine(Blocks::new(START)?);
        for tx in [&parent, &child, &other] {
            chain.submit(tx).map_err(|_| BuildError::Block)?;
        }
        let mut layout = Layout::new(lab.p2tr(&lab.key("pool")?));
        layout.tag = b"/millstream/".to_vec();
        layout.shared_with = vec![(script, Sat::new(1_000_000_000)?)];
        Ok(Self { chain, layout, parent, child, other })
    }

    /// The next block, found as a miner finds it, added to the chain.
    fn mine(&mut self) -> Result<Block, BuildError> {
        let block = self.find()?;
        self.chain.connect_block(&block).map_err(|_| BuildError::Block)?;
        Ok(block)
    }

    fn find(&self) -> Result<Block, BuildError> {
        self.find_for(self.chain.block_template())
    }

    /// The block that the search finds with a rolled version and beyond its first extranonces.
    fn find_for(&self, template: Template) -> Result<Block, BuildError> {
        let (time, bits) = (template.current_time, template.bits.to_consensus());
        let plan = BlockPlan::new(template, &self.layout)?;
        let space = Space::numbered(0x00a1_0203, 4).map_err(|_| BuildError::Block)?;
        let template = plan.template();
        let job = Job::new(Parts {
            id: JobId::new(1)?,
            version: template.version,
            version_mask: ROLLED,
            previous: template.previous.to_byte_array(),
            root: plan.search_root(&space).map_err(|_| BuildError::Block)?,
            bits,
            time: u32::try_from(time.to_u64()).map_err(|_| BuildError::Block)?,
            roll: TimeRoll::Free(0),
            // One nonce a version, so that versions and extranonces are walked.
            nonce_first: 0,
            nonce_last: 0,
            target: Target::from_compact(bits).map_err(|_| BuildError::Block)?,
            expires: UtcSeconds::MAX,
        })
        .map_err(|_| BuildError::Block)?;
        let mut search = Search::new();
        let _start = search.take(&job).map_err(|_| BuildError::Block)?;
        let mut found = Vec::new();
        let _step = search.step(&job, time, 256, &mut Kernel::best(), &mut |it| found.push(it));
        let rolled = |it: &&Found| it.version != job.parts().version && it.extranonce > 2;
        let it = found.iter().find(rolled).ok_or(BuildError::Block)?;
        let Found { job, extranonce, version, time, nonce, .. } = *it;
        Ok(plan.block(&space, &Share { job, extranonce, version, time, nonce })?)
    }
}

fn mined_from_templates(lab: &Lab) -> Result<Scenario, BuildError> {
    let mut pool = Pool::new(lab)?;
    let first = pool.mine()?;
    let empty = pool.mine()?;
    Ok(Tale::new("blocks_mined_from_templates_extend_the_chain")?
        .submit("parent", &pool.parent)
        .submit("child", &pool.child)
        .submit("other", &pool.other)
        .block("block of three with a rolled version", &first)
        .absent("mined parent", &pool.parent)
        .absent("mined child", &pool.child)
        .absent("mined other", &pool.other)
        .block("block of nothing but its coinbase", &empty)
        .mine(1)?
        .wrong("the same block again", &first, Reason::StaleBlock)
        .end())
}

fn wrong_in_one_way(lab: &Lab) -> Result<Scenario, BuildError> {
    let mut pool = Pool::new(lab)?;
    let right = pool.find()?;
    let right = Right(right);
    let mut tale = Tale::new("block_wrong_in_one_way_is_refused_by_that_name")?;
    for (what, tx) in [("parent", &pool.parent), ("child", &pool.child), ("other", &pool.other)] {
        tale = tale.submit(what, tx);
    }
    let tale = coinbases(headers(tale, &right), &right);
    let mut reversed = pool.chain.block_template();
    reversed.txs.reverse();
    let reversed = pool.find_for(reversed)?;
    let tale = transactions(tale, &right)
        .wrong("child before its parent", &reversed, Reason::MissingInputs)
        .block("the right block", &right.0);
    let second = pool.mine().and_then(|_| pool.mine())?;
    Ok(tale.block("the next one", &second).end())
}

/// The right block, of which the wrong ones are made.
struct Right(Block);

impl Right {
    /// A changed copy with the work done again.
    fn made(&self, change: impl Fn(&mut Block)) -> Block {
        let mut block = self.0.clone();
        change(&mut block);
        worked(block)
    }

    /// The same, with the merkle root of what it then holds.
    fn rooted(&self, change: impl Fn(&mut Block)) -> Block {
        self.made(|block| {
            change(block);
            block.header.merkle_root =
                block.compute_merkle_root().unwrap_or_else(TxMerkleNode::all_zeros);
        })
    }
}

fn headers(tale: Tale, right: &Right) -> Tale {
    let mut lazy = right.0.clone();
    while lazy.header.target().is_met_by(lazy.block_hash()) {
        lazy.header.nonce = lazy.header.nonce.wrapping_add(1);
    }
    let early = right.0.header.time.saturating_sub(600 * 6);
    tale.wrong("hash above the target", &lazy, Reason::HighHash)
        .wrong(
            "another root",
            &right.made(|block| block.header.merkle_root = TxMerkleNode::all_zeros()),
            Reason::BadMerkleRoot,
        )
        .wrong(
            "another block below",
            &right.made(|block| block.header.prev_blockhash = BlockHash::all_zeros()),
            Reason::StaleBlock,
        )
        .wrong(
            "another target",
            &right.made(|block| block.header.bits = CompactTarget::from_consensus(0x207f_fffe)),
            Reason::BadBlock,
        )
        .wrong(
            "time of the median",
            &right.made(|block| block.header.time = early),
            Reason::BadBlock,
        )
        .wrong(
            "old version",
            &right.made(|block| block.header.version = Version::from_consensus(3)),
            Reason::BadBlock,
        )
}

fn coinbases(tale: Tale, right: &Right) -> Tale {
    tale.wrong(
        "one satoshi too much",
        &right.rooted(|block| {
            output(block, 0, |value| value.checked_add(Amount::ONE_SAT));
        }),
        Reason::Overspend,
    )
    .wrong(
        "another height",
        &right.rooted(|block| script(block, |bytes| bytes.first_mut().map(|push| *push = 0x02))),
        Reason::BadBlock,
    )
    .wrong(
        "script of 101 bytes",
        &right.rooted(|block| {
            script(block, |bytes| {
                bytes.resize(101, 0);
                Some(())
            });
        }),
        Reason::BadBlock,
    )
    .wrong(
        "another reserved value",
        &right.made(|block| witness(block, 0, &Witness::from_slice(&[[1_u8; 32]]))),
        Reason::BadCommitment,
    )
    .wrong(
        "no reserved value",
        &right.made(|block| witness(block, 0, &Witness::new())),
        Reason::BadCommitment,
    )
    .wrong(
        "no commitment",
        &right.rooted(|block| {
            if let Some(coinbase) = block.txdata.first_mut() {
                coinbase.output.truncate(2);
            }
        }),
        Reason::BadCommitment,
    )
}

fn transactions(tale: Tale, right: &Right) -> Tale {
    tale.wrong(
        "one transaction left out",
        &right.made(|block| drop(block.txdata.pop())),
        Reason::BadMerkleRoot,
    )
    .wrong(
        "one witness left out",
        &right.made(|block| witness(block, 1, &Witness::new())),
        Reason::BadCommitment,
    )
    .wrong("no coinbase", &right.rooted(|block| drop(block.txdata.remove(0))), Reason::BadBlock)
    .wrong(
        "two coinbases",
        &right.rooted(|block| {
            let first = block.txdata.first().cloned();
            block.txdata.extend(first);
        }),
        Reason::BadBlock,
    )
    .wrong(
        "the last one doubled under the same root",
        &right.rooted(|block| {
            block.txdata.truncate(3);
            let last = block.txdata.last().cloned();
            block.txdata.extend(last);
        }),
        Reason::BadBlock,
    )
}

/// The first nonce with which the hash meets regtest's target.
fn worked(mut block: Block) -> Block {
    while !block.header.target().is_met_by(block.block_hash()) {
        block.header.nonce = block.header.nonce.wrapping_add(1);
    }
    block
}

fn output(block: &mut Block, vout: usize, change: impl Fn(Amount) -> Option<Amount>) {
    let coinbase = block.txdata.first_mut();
    if let Some(output) = coinbase.and_then(|tx| tx.output.get_mut(vout)) {
        output.value = change(output.value).unwrap_or(output.value);
    }
}

fn script(block: &mut Block, change: impl Fn(&mut Vec<u8>) -> Option<()>) {
    let coinbase = block.txdata.first_mut();
    if let Some(input) = coinbase.and_then(|tx| tx.input.first_mut()) {
        let mut bytes = input.script_sig.to_bytes();
        let _ = change(&mut bytes);
        input.script_sig = ScriptBuf::from_bytes(bytes);
    }
}

fn witness(block: &mut Block, position: usize, witness: &Witness) {
    let tx = block.txdata.get_mut(position);
    if let Some(input) = tx.and_then(|tx| tx.input.first_mut()) {
        input.witness = witness.clone();
    }
}
