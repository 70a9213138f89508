//! The reference pool and its translator as processes, and the template provider that they need.

mod provider;

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use bitcoin::base58;
pub(crate) use provider::{Provider, public};

/// The pool acknowledges so many shares at once.
pub(crate) const BATCH: u32 = 10;
/// A share a second for a miner that says it does as many hashes: 2^14.
pub(crate) const HASHES_PER_SECOND: u32 = 16_384;

/// The program that a variable names, or nothing, said aloud.
pub(crate) fn program(variable: &str) -> Option<PathBuf> {
    let Some(path) = std::env::var_os(variable) else {
        println!("SKIPPED: NO PEER. SET {variable} TO ITS PATH TO RUN THIS TEST.");
        return None;
    };
    let path = PathBuf::from(path);
    assert!(path.is_file(), "{variable}={} is no file", path.display());
    Some(path)
}

/// A port that was free a moment ago.
fn port() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// A program that runs until this is dropped, and what it has said.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        if std::thread::panicking() {
            for line in self.said.lock().unwrap().iter().rev().take(40).rev() {
                println!("| {line}");
            }
        }
    }
}

impl Peer {
    fn start(program: &Path, address: SocketAddr, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new(program)
            .arg("-c")
            .arg(&file)
            .env("RUST_LOG", "info")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the peer does not start");
        let said = Arc::default();
        listen(child.stdout.take().unwrap(), &said);
        listen(child.stderr.take().unwrap(), &said);
        Self { address, child, said, _folder: folder }
    }

    /// The reference pool, on a template provider: shares of 2^14 hashes for an honest miner.
    pub(crate) fn pool(program: &Path, provider: &Provider) -> Self {
        let address = port();
        let secret = base58::encode_check(&provider::SECRET);
        let config = format!(
            "authority_public_key = \"{key}\"\nauthority_secret_key = \"{secret}\"\n\
             cert_validity_sec = 3600\nlisten_address = \"{address}\"\n\
             coinbase_reward_script = \"raw(51)\"\nserver_id = 1\n\
             pool_signature = \"a test\"\nshares_per_minute = 60.0\n\
             share_batch_size = {BATCH}\n\
             [template_provider_type.Sv2Tp]\naddress = \"{provider}\"\npublic_key = \"{key}\"\n",
            key = key(),
            provider = provider.address,
        );
        Self::start(program, address, &config)
    }

    /// The translator before a pool, for miners of Stratum V1.
    pub(crate) fn translator(program: &Path, pool: &Self) -> Self {
        let address = port();
        let config = format!(
            "downstream_address = \"{host}\"\ndownstream_port = {port}\n\
             max_supported_version = 2\nmin_supported_version = 2\n\
             downstream_extranonce2_size = 4\naggregate_channels = false\n\
             [downstream_difficulty_config]\n\
             min_individual_miner_hashrate = {HASHES_PER_SECOND}.0\nshares_per_minute = 60.0\n\
             enable_vardiff = false\njob_keepalive_interval_secs = 60\n\
             [[upstreams]]\naddress = \"{pool_host}\"\nport = {pool_port}\n\
             authority_pubkey = \"{key}\"\nuser_identity = \"roof\"\n",
            host = address.ip(),
            port = address.port(),
            pool_host = pool.address.ip(),
            pool_port = pool.address.port(),
            key = key(),
        );
        Self::start(program, address, &config)
    }

    /// How many lines it has said that hold all of these words.
    pub(crate) fn count(&self, words: &[&str]) -> usize {
        let said = self.said.lock().unwrap();
        said.iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }
}

fn listen(from: impl Read + Send + 'static, said: &Arc<Mutex<Vec<String>>>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            said.lock().unwrap().push(line);
        }
    });
}

/// The public key as the programs' configurations have it.
fn key() -> String {
    base58::encode_check(&[&[1, 0], &public()[..]].concat())
}
