//! A template provider of Stratum V2: enough of it for one pool, without a node behind it.

use std::net::SocketAddr;

use binary_sv2::{GetSize, Serialize, from_bytes};
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Keypair, Secp256k1};
use bitcoin::{Amount, Block, CompactTarget, Transaction, TxMerkleNode, TxOut, consensus, script};
use codec_sv2::{
    Decrypted, Handshake, MessageFrame, NoiseDecoder, NoiseEncoder, TransportDecryptState,
    TransportEncryptState,
};
use common_messages_sv2 as common;
use millstream::chain::template::Template;
use noise_sv2::{ELLSWIFT_ENCODING_SIZE, Responder};
use template_distribution_sv2 as distribution;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// Signs the certificates of the provider, and of the pool.
pub(crate) const SECRET: [u8; 32] = [5; 32];
/// An hour.
const CERTIFICATE: std::time::Duration = std::time::Duration::from_secs(3_600);

/// The key that [`SECRET`] is of.
pub(crate) fn public() -> [u8; 32] {
    let pair = Keypair::from_seckey_slice(&Secp256k1::signing_only(), &SECRET).unwrap();
    pair.x_only_public_key().0.serialize()
}

/// What a pool found for the newest template.
#[derive(Debug)]
pub(crate) struct Solution {
    header: Header,
    coinbase: Transaction,
}

impl Solution {
    /// The block, of a template without transactions.
    pub(crate) fn block(self) -> Block {
        Block { header: self.header, txdata: vec![self.coinbase] }
    }
}

/// Where pools get what they let their miners work on.
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    pub(crate) solutions: mpsc::Receiver<Solution>,
    templates: watch::Sender<Template>,
}

impl Provider {
    /// Serves a template, which has no transactions.
    pub(crate) async fn start(first: Template) -> Self {
        assert!(first.txs.is_empty(), "the provider knows the coinbase only");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (templates, newest) = watch::channel(first);
        let (found, solutions) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = serve(stream, newest.clone(), found.clone());
                tokio::spawn(async move {
                    if let Err(end) = served.await {
                        println!("template provider: {end}");
                    }
                });
            }
        });
        Self { address, solutions, templates }
    }

    /// Goes on to another template, on a tip of its own.
    pub(crate) fn publish(&self, next: Template) {
        assert!(next.txs.is_empty(), "the provider knows the coinbase only");
        self.templates.send_replace(next);
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn named<T, E: std::fmt::Debug>(result: Result<T, E>) -> Result<T, Failed> {
    result.map_err(|error| format!("{error:?}").into())
}

/// One connection of a pool, until it ends.
async fn serve(
    mut stream: TcpStream,
    mut newest: watch::Receiver<Template>,
    found: mpsc::Sender<Solution>,
) -> Result<(), Failed> {
    let mut first = [0; ELLSWIFT_ENCODING_SIZE];
    stream.read_exact(&mut first).await?;
    let role = named(Responder::from_authority_kp(&public(), &SECRET, CERTIFICATE))?;
    let (answer, transport) = named(Handshake::responder(role).step_1(first))?;
    stream.write_all(answer.payload()).await?;
    let (encrypt, decrypt) = transport.split();
    let (reading, half) = stream.into_split();
    let mut to = Writer { half, encoder: NoiseEncoder::new(), state: encrypt };
    let mut frames = read(reading, decrypt);
    let mut last = 0_u64;
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some((kind, mut payload)) = frame else { return Ok(()) };
                match kind {
                    common::MESSAGE_TYPE_SETUP_CONNECTION => {
                        let kind = common::MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS;
                        let welcome = common::SetupConnectionSuccess { used_version: 2, flags: 0 };
                        to.send(welcome, kind).await?;
                    }
                    distribution::MESSAGE_TYPE_COINBASE_OUTPUT_CONSTRAINTS => {
                        last += 1;
                        let template = newest.borrow_and_update().clone();
                        give(&template, last, &mut to).await?;
                    }
                    distribution::MESSAGE_TYPE_SUBMIT_SOLUTION => {
                        let it = named(from_bytes(&mut payload))?;
                        let solution = solved(&it, &newest.borrow().clone())?;
                        found.send(solution).await?;
                    }
                    other => println!("template provider: message {other:#04x} is passed over"),
                }
            }
            changed = newest.changed() => {
                changed?;
                last += 1;
                let template = newest.borrow_and_update().clone();
                give(&template, last, &mut to).await?;
            }
        }
    }
}

/// A template for a tip that is to come, and the tip.
async fn give(template: &Template, id: u64, to: &mut Writer) -> Result<(), Failed> {
    let mut commitment = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    commitment.extend(template.witness_commitment());
    let output = TxOut { value: Amount::ZERO, script_pubkey: commitment.into() };
    let height = script::Builder::new().push_int(template.height.to_u32().into()).into_script();
    let message = distribution::NewTemplateOwned {
        template_id: id,
        future_template: true,
        version: template.version,
        coinbase_tx_version: 2,
        coinbase_prefix: named(height.into_bytes().try_into())?,
        coinbase_tx_input_sequence: u32::MAX,
        coinbase_tx_value_remaining: template.coinbase_value.to_sat(),
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: named(consensus::serialize(&output).try_into())?,
        coinbase_tx_locktime: 0,
        merkle_path: named(Vec::new().try_into())?,
    };
    to.send(message, distribution::MESSAGE_TYPE_NEW_TEMPLATE).await?;
    let target = bitcoin::Target::from_compact(template.bits).to_le_bytes();
    let message = distribution::SetNewPrevHashOwned {
        template_id: id,
        prev_hash: named(template.previous.to_byte_array().to_vec().try_into())?,
        header_timestamp: u32::try_from(template.current_time.to_u64())?,
        n_bits: template.bits.to_consensus(),
        target: named(target.to_vec().try_into())?,
    };
    to.send(message, distribution::MESSAGE_TYPE_SET_NEW_PREV_HASH).await
}

fn solved(it: &distribution::SubmitSolution<'_>, template: &Template) -> Result<Solution, Failed> {
    let mut coinbase: Transaction = consensus::deserialize(it.coinbase_tx.as_bytes())?;
    let input = coinbase.input.first_mut().ok_or("a coinbase without an input")?;
    if input.witness.is_empty() {
        input.witness.push([0; 32]);
    }
    let header = Header {
        version: Version::from_consensus(i32::from_ne_bytes(it.version.to_ne_bytes())),
        prev_blockhash: template.previous,
        merkle_root: TxMerkleNode::from_raw_hash(coinbase.compute_txid().to_raw_hash()),
        time: it.header_timestamp,
        bits: CompactTarget::from_consensus(template.bits.to_consensus()),
        nonce: it.header_nonce,
    };
    Ok(Solution { header, coinbase })
}

struct Writer {
    half: OwnedWriteHalf,
    encoder: NoiseEncoder,
    state: TransportEncryptState,
}

impl Writer {
    async fn send<T: Serialize + GetSize>(&mut self, message: T, kind: u8) -> Result<(), Failed> {
        let frame = named(MessageFrame::from_message(message, kind, 0, false))?;
        let bytes = named(self.encoder.encode_transport(frame, &mut self.state))?;
        Ok(self.half.write_all(bytes.as_ref()).await?)
    }
}

/// Frames as they come, in a task of its own: a read that is given up would lose bytes.
fn read(
    mut from: OwnedReadHalf,
    mut state: TransportDecryptState,
) -> mpsc::Receiver<(u8, Vec<u8>)> {
    let (sender, frames) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut decoder = NoiseDecoder::new();
        while from.read_exact(decoder.writable()).await.is_ok() {
            match decoder.next_transport_frame(state) {
                Ok(Decrypted::Incomplete(_, next)) => state = next,
                Ok(Decrypted::Frame(mut frame, next)) => {
                    state = next;
                    let kind = frame.header().msg_type();
                    if sender.send((kind, frame.payload().to_vec())).await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    });
    frames
}
