//! Bytes of each message on the wire, its frame included.

use std::error::Error;
use std::num::NonZeroU16;

use bitcoin::Txid;
use bitcoin::constants::ChainHash;
use bitcoin::hashes::Hash;
use millstream::meter::tariff::{Measure, Tariff};
use millstream::units::{ChannelAlias, Msat, Ppm, Price, Quantity, Sat, Seconds};
use millstream::wire::{
    Accepted, Ack, Best, Bytes, Change, CloseRequest, CloseSigned, FrameReader, Message, OfferHash,
    Open, Reading, Refusal, Refused, Resume, SessionEnd, SessionOffer, SessionPause, SessionStart,
    Standing, Statement, Terms, TermsQuery, TopUpRequest, TopUpSigned, Voucher, write_frame,
};

use super::Args;
use super::row::Row;
use super::stage::{STEP, Stage, figure};

/// What this file gives, in the order of a session's life.
pub(crate) const NAMES: &[&str] = &[
    "message_bytes_terms_query",
    "message_bytes_terms",
    "message_bytes_open",
    "message_bytes_accepted",
    "message_bytes_session_offer",
    "message_bytes_session_start",
    "message_bytes_reading",
    "message_bytes_voucher",
    "message_bytes_ack",
    "message_bytes_refused",
    "message_bytes_session_pause",
    "message_bytes_session_end",
    "message_bytes_statement",
    "message_bytes_resume",
    "message_bytes_best",
    "message_bytes_close_request",
    "message_bytes_close_signed",
    "message_bytes_top_up_request",
    "message_bytes_top_up_signed",
    "payment_wire_bytes",
];

pub(crate) fn rows(_: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    let mut sizes = Vec::new();
    for (name, message) in NAMES.iter().zip(samples()?) {
        let mut frame = Vec::new();
        write_frame(&message, &mut frame)?;
        let (mut reader, mut input) = (FrameReader::new(), frame.as_slice());
        let bytes = reader.read(&mut input)?.ok_or("half a frame")?;
        assert_eq!(Message::decode(bytes)?.as_ref(), Some(&message));
        assert_eq!(name.replace('_', ""), format!("messagebytes{}", message.name().to_lowercase()));
        sizes.push((message.name(), frame.len()));
        rows.push(Row::new(name, figure(frame.len())?, "B"));
    }
    let of = |name| sizes.iter().find(|(known, _)| *known == name).map_or(0, |(_, size)| *size);
    rows.push(
        Row::new("payment_wire_bytes", figure(of("Voucher") + of("Ack"))?, "B")
            .against("a Lightning payment, 10 messages (lightning 0.2.7)", 2_798.0)
            .note("voucher and acknowledgement"),
    );
    Ok(rows)
}

/// One of each kind as a usual session sends it: tariff inline, change to the channel's own
/// script, closing to P2TR, one coin of P2TR.
fn samples() -> Result<Vec<Message>, Box<dyn Error>> {
    let mut stage = Stage::own(1)?;
    let signature = stage.sign(0, STEP)?.signature;
    let payer = &stage.lanes.first().ok_or("no channel")?.payer;
    let (alias, session) = (ChannelAlias::new(7)?, stage.session);
    let (paid, outpoint, time) = (payer.signed(), payer.outpoint(), stage.view.now);
    let capacity = payer.channel().capacity();
    let price = Price::new(Msat::new(450_000)?, 3_600_000)?;
    let tariff = Tariff::flat(Measure::WattSecond, price)?;
    let (quantity, txid) = (Quantity::new(80_000_000)?, Txid::from_byte_array([4; 32]));
    Ok(vec![
        TermsQuery {}.into(),
        Terms { terms: Bytes::new(stage.terms.encode())? }.into(),
        Open {
            alias,
            chain: ChainHash::REGTEST,
            payer: payer.channel().output().payer(),
            delay: NonZeroU16::new(payer.channel().output().delay().to_u16()).ok_or("no delay")?,
            outpoint,
            change: Change::Own,
            paid: Msat::ZERO,
            payee_base: stage.terms.base,
            terms_hash: stage.terms.hash(),
        }
        .into(),
        Accepted { alias, paid, standing: Standing::Ready }.into(),
        SessionOffer {
            session,
            tariff_hash: tariff.hash().0,
            credit: paid,
            prepay: paid,
            skew: Seconds::new(5)?,
            tolerance: Ppm::new(25_000)?,
            tariff: Some(Bytes::new(tariff.encode())?),
        }
        .into(),
        SessionStart { session, alias, offer: OfferHash(tariff.hash().0), time }.into(),
        Reading { session, time, quantity, idle: None }.into(),
        Voucher { alias, paid, signature }.into(),
        Ack { alias, paid }.into(),
        Refused { alias, code: Refusal::Stale, best: paid, session: None }.into(),
        SessionPause { session, time, owed: paid }.into(),
        SessionEnd { session, time, quantity }.into(),
        // The statement and the seller's signature.
        Statement { session, statement: Bytes::new(vec![1; 125 + 64])? }.into(),
        Resume { alias, outpoint: Some(outpoint) }.into(),
        Best { outpoint, paid, signature, change: Change::Own }.into(),
        CloseRequest {
            alias,
            paid,
            fee: Sat::new(300)?,
            script: Bytes::new(payer.channel().output().script().to_bytes())?,
            signature,
        }
        .into(),
        CloseSigned { alias, paid, txid, signature }.into(),
        TopUpRequest { alias, paid, capacity, coins: Bytes::new(vec![0; 79])?, carried: None }
            .into(),
        TopUpSigned { alias, paid, txid, signature }.into(),
    ])
}
