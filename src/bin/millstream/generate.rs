//! `generate`: has the simulated chain mine blocks at once, which nobody can on a real one.

use std::net::SocketAddr;

use millstream::chain::remote::RemoteChain;
use millstream::units::Blocks;

use crate::failure::Failure;

/// Where, and how many.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the simulated chain is offered, as serve prints it
    #[arg(long, default_value = "127.0.0.1:9737")]
    chain: SocketAddr,
    /// How many blocks, at most 2016
    blocks: u32,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let chain = RemoteChain::connect(args.chain)?;
    println!("height {}", chain.mine(Blocks::new(args.blocks)?)?.to_u32());
    Ok(())
}
