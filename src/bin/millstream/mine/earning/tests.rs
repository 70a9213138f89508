//! The link to the pool, as it comes and goes.

use std::net::Ipv4Addr;
use std::sync::Arc;

use clap::Parser;
use millstream::chain::remote::{ChainHost, ChainServer};

use super::*;

/// Long on a busy machine, short against a hang.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Asked {
    #[command(flatten)]
    args: EarningArgs,
}

#[test]
fn link_that_ended_before_its_name_was_known_does_not_count_as_one() {
    let (rig, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let done = async {
        let (network, free) = (Network::Regtest, (Ipv4Addr::LOCALHOST, 0).into());
        let host = Arc::new(ChainHost::kept_in(&dir.path().join("chain.txt"))?);
        let chain = ChainServer::start(Arc::clone(&host), free)?;
        let (seed, store) = (machine::seed_or_new(dir.path())?, machine::store(dir.path())?);
        let mut options = machine::options(network, false);
        options.listen = Some(free);
        let source = host.chain().source_from_now();
        let pool = machine::start(seed, None, store, false, source, options).await?;
        let [channels, chain_at] =
            [pool.address().unwrap(), chain.address()].map(|at| at.to_string());
        let dir = rig.path().to_str().unwrap();
        let words = ["mine", "--dir", dir, "--channels", &channels, "--chain", &chain_at];
        let args = Asked::try_parse_from(words).unwrap().args;
        let mut earning = Earning::start(&args).await?.unwrap();
        let mut told = earning.driver.news();
        let made = async {
            while !matches!(&earning.link, Link::Trying(trying) if trying.is_finished()) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, made).await.unwrap();
        pool.stop().await?;
        let ended = async { while !matches!(told.next().await, Some(Told::LinkDown { .. })) {} };
        timeout(PATIENCE, ended).await.unwrap();
        earning.tend().await?;
        assert!(!matches!(earning.link, Link::Up(_)), "it would never connect again");
        Ok(earning.driver.stop().await?)
    };
    machine::block_on(done).unwrap();
}
