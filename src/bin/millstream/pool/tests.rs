//! What a pool owes when it ends: every share that a miner was told of.

use bitcoin::hashes::Hash;
use bitcoin::{ScriptBuf, WPubkeyHash};
use clap::Parser;
use millstream::chain::ChainSource;
use millstream::chain::remote::RemoteChain;
use millstream::keys::Context;
use millstream::ledger::Account;
use millstream::miner::Search;
use millstream::miner::job::TimeRoll;
use millstream::miner::kernel::Kernel;
use millstream::node::Event;
use millstream::rt::stratum::client::{ClientNews, ClientOptions, StratumClient};
use millstream::stratum::client::{Find, Task};
use millstream::stream::Terms;
use millstream::units::{Blocks, JobId, UtcSeconds};

use super::*;

/// The generator point's x: a key that everybody knows.
const KEY: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
/// Long on a busy machine, short against a hang.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Asked {
    #[command(flatten)]
    args: Args,
}

/// Every share of 2^8 hashes, and each of them a block, if it is the first of its tip.
async fn open(dir: &std::path::Path) -> Pool {
    let (free, dir) = ("127.0.0.1:0", dir.to_str().unwrap());
    let ports = ["pool", "--listen", free, "--channels", free, "--chain", free];
    let bits = ["--share-bits", "8", "--block-bits", "8", "--block-ms", "0", "--dir", dir];
    let asked = Asked::try_parse_from(ports.iter().chain(&bits)).unwrap();
    Pool::open(&asked.args).await.unwrap()
}

async fn next(miner: &mut StratumClient) -> ClientNews {
    timeout(PATIENCE, miner.next()).await.unwrap().unwrap()
}

fn search(task: &Task, count: usize) -> Vec<Find> {
    let job = task.job(JobId::new(1).unwrap(), TimeRoll::Free(0), UtcSeconds::MAX).unwrap();
    let (mut search, mut kernel, mut finds) = (Search::new(), Kernel::best(), Vec::new());
    search.take(&job).unwrap();
    while finds.len() < count {
        let mut found = |found| finds.push(Find::from(found));
        let now = machine::now().unwrap().time;
        let _step = search.step(&job, now, 4_096, &mut kernel, &mut found);
    }
    finds.truncate(count);
    finds
}

#[test]
fn shares_that_were_accepted_before_the_stop_are_credited_after_it_and_a_block_is_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let done = async {
        let mut pool = open(dir.path()).await;
        pool.works.refresh()?;
        let options = ClientOptions::new("127.0.0.1", pool.stratum.port(), KEY);
        let mut miner = StratumClient::start(options);
        let task = first_task(&mut miner).await;
        for find in search(&task, 20) {
            assert!(miner.submit(&task, find));
        }
        // Nobody takes the credits meanwhile, as if the stop had come first.
        let mut accepted = 0;
        while accepted < 20 {
            if let ClientNews::Judged { answer, .. } = next(&mut miner).await {
                answer.unwrap();
                accepted += 1;
            }
        }
        pool.close().await?;
        assert_eq!(pool.works.blocks(), 1, "the others are of the tip before it");
        let shares = |node: &mut millstream::node::Node<MemorySigner>| {
            node.ledger().accounts().map(Account::shares).collect::<Vec<_>>()
        };
        assert_eq!(pool.driver.look(shares).await?, [20]);
        Ok(pool.driver.stop().await?)
    };
    machine::block_on(done).unwrap();
}

async fn first_task(miner: &mut StratumClient) -> std::sync::Arc<Task> {
    loop {
        if let ClientNews::Task(task) = next(miner).await {
            return task;
        }
    }
}

#[test]
fn block_of_a_job_that_many_followed_on_its_tip_is_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let done = async {
        let mut pool = open(dir.path()).await;
        let mut chain = RemoteChain::connect(pool.chain.address())?;
        // Coins for as many transactions.
        chain.mine(Blocks::new(40)?).unwrap();
        pool.works.refresh()?;
        let options = ClientOptions::new("127.0.0.1", pool.stratum.port(), KEY);
        let mut miner = StratumClient::start(options);
        let task = first_task(&mut miner).await;
        let anybody = ScriptBuf::new_p2wpkh(&WPubkeyHash::all_zeros());
        for _ in 0..20 {
            let tx = chain.fund(anybody.clone(), Sat::new(10_000)?).unwrap();
            chain.broadcast(&[tx]).unwrap();
            pool.works.refresh()?;
            first_task(&mut miner).await;
        }
        assert!(miner.submit(&task, search(&task, 1)[0]));
        let credit = timeout(PATIENCE, pool.credits.next()).await.unwrap().unwrap();
        assert!(credit.good.is_block());
        pool.take(credit).await?;
        assert_eq!(pool.works.blocks(), 1);
        pool.close().await?;
        Ok(pool.driver.stop().await?)
    };
    machine::block_on(done).unwrap();
}

#[test]
fn payee_whose_coming_was_missed_is_asked_for_its_terms() {
    let (dir, rig) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let done = async {
        let mut pool = open(dir.path()).await;
        let mut told = pool.driver.news();
        let network = Network::Regtest;
        let (seed, store) = (machine::seed_or_new(rig.path())?, machine::store(rig.path())?);
        let terms = Terms::new(network, seed.base_key(&Context::new(), network)?.public())?;
        let (source, options) =
            (RemoteChain::connect(pool.chain.address())?, Options::new(network));
        let payee =
            machine::start(seed, Some(terms.clone()), store, false, source, options).await?;
        payee.connect(pool.driver.address().unwrap()).await?;
        let missed = async { while !matches!(told.next().await, Some(Told::LinkUp { .. })) {} };
        timeout(PATIENCE, missed).await.unwrap();
        pool.told(Told::Missed(1)).await?;
        let asked = async {
            loop {
                if let Some(Told::Node(Event::TermsReceived { terms, .. })) = told.next().await {
                    return terms;
                }
            }
        };
        assert_eq!(timeout(PATIENCE, asked).await.unwrap(), terms);
        payee.stop().await?;
        pool.close().await?;
        Ok(pool.driver.stop().await?)
    };
    machine::block_on(done).unwrap();
}
