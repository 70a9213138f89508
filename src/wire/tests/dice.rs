//! Messages made from a supply of bytes.

use core::num::NonZeroU16;

use bitcoin::constants::ChainHash;
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::{OutPoint, Txid, XOnlyPublicKey};

use crate::units::{
    ChannelAlias, Height, HoldId, Msat, Ppm, Quantity, Sat, Seconds, SessionId, UtcSeconds,
};
use crate::wire::{
    Accepted, Ack, BatchPart, BatchVoucher, Best, BestHeld, Bytes, Carried, Change, CloseRequest,
    CloseSigned, HeldAmount, HeldAmounts, HeldBundle, HeldBundles, HoldAck, HoldFulfilled,
    HoldItems, HoldReleased, HoldVoucher, Init, LanesQuery, LanesTold, Message, NETWORKS_MAX,
    Networks, Open, Padding, PeerError, PeerText, PeerWarning, Ping, Pong, Reader, Reading,
    Refusal, Refused, Resume, SessionEnd, SessionOffer, SessionPause, SessionStart, Standing,
    Statement, TEXT_MAX, Terms, TermsQuery, TopUpRequest, TopUpSigned, Voucher,
};

/// Values of every field, made from a supply of bytes; zeros when it is used up.
pub(super) struct Dice<'a>(Reader<'a>);

impl<'a> Dice<'a> {
    pub(super) const fn new(supply: &'a [u8]) -> Self {
        Self(Reader::new(supply))
    }
}

impl Dice<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.0.array().unwrap_or([0; N])
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    fn blob<const MAX: usize>(&mut self) -> Bytes<MAX> {
        let length = usize::from(self.u16()) % (MAX.min(self.0.rest().len()) + 1);
        Bytes::new(self.0.take(length).unwrap().to_vec()).unwrap()
    }

    fn alias(&mut self) -> ChannelAlias {
        ChannelAlias::new(u32::from_be_bytes(self.array())).unwrap()
    }

    fn msat(&mut self) -> Msat {
        Msat::new(self.u64() % (Msat::MAX.to_msat() + 1)).unwrap()
    }

    fn session(&mut self) -> SessionId {
        SessionId::new(self.u64()).unwrap()
    }

    fn time(&mut self) -> UtcSeconds {
        UtcSeconds::new(self.u64()).unwrap()
    }

    fn signature(&mut self) -> Signature {
        Signature::from_slice(&self.array::<64>()).unwrap()
    }

    fn txid(&mut self) -> Txid {
        Txid::from_byte_array(self.array())
    }

    fn outpoint(&mut self) -> OutPoint {
        OutPoint { txid: self.txid(), vout: u32::from_be_bytes(self.array()) }
    }

    fn key(&mut self) -> XOnlyPublicKey {
        // The x coordinates of G and 2 G.
        let keys = [
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            "c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5",
        ];
        keys[usize::from(self.u16() % 2)].parse().unwrap()
    }

    fn change(&mut self) -> Change {
        match self.u16() % 4 {
            0 => Change::Own,
            1 => Change::P2tr(self.array()),
            2 => Change::P2wpkh(self.array()),
            _ => Change::P2wsh(self.array()),
        }
    }

    fn sat(&mut self) -> Sat {
        Sat::new(self.u64() % (Sat::MAX.to_sat() + 1)).unwrap()
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.u16() % 2 == 1).then(|| value(self))
    }

    /// The message called `name`, see [`Message::NAMES`].
    pub(super) fn message(&mut self, name: &str) -> Message {
        match name {
            "TermsQuery" | "Terms" | "Open" | "Accepted" | "Resume" => self.opening(name),
            "Voucher" | "Ack" | "Refused" | "Best" => self.paying(name),
            "BatchVoucher" | "BatchPart" | "LanesQuery" | "LanesTold" => self.batch(name),
            "HoldVoucher" | "BestHeld" | "HoldItems" | "HoldAck" | "HoldFulfilled"
            | "HoldReleased" => self.hold(name),
            "CloseRequest" | "CloseSigned" | "TopUpRequest" | "TopUpSigned" => self.closing(name),
            "Init" | "PeerWarning" | "PeerError" | "Ping" | "Pong" => self.setup(name),
            _ => self.metering(name),
        }
    }

    fn opening(&mut self, name: &str) -> Message {
        match name {
            "TermsQuery" => TermsQuery {}.into(),
            "Terms" => Terms { terms: self.blob() }.into(),
            "Resume" => Resume { alias: self.alias(), outpoint: self.maybe(Self::outpoint) }.into(),
            "Accepted" => {
                let standing = match self.u16() % 3 {
                    0 => Standing::Waiting,
                    1 => Standing::ZeroConf,
                    _ => Standing::Ready,
                };
                Accepted { alias: self.alias(), paid: self.msat(), standing }.into()
            }
            _ => Open {
                alias: self.alias(),
                chain: ChainHash::from(self.array::<32>()),
                payer: self.key(),
                delay: NonZeroU16::new(self.u16().max(1)).unwrap(),
                outpoint: self.outpoint(),
                change: self.change(),
                paid: self.msat(),
                payee_base: self.key(),
                terms_hash: self.array(),
            }
            .into(),
        }
    }

    fn paying(&mut self, name: &str) -> Message {
        match name {
            "Voucher" => {
                Voucher { alias: self.alias(), paid: self.msat(), signature: self.signature() }
                    .into()
            }
            "Ack" => Ack { alias: self.alias(), paid: self.msat() }.into(),
            "Refused" => Refused {
                alias: self.alias(),
                code: Refusal::from_code(self.u16() % 40),
                best: self.msat(),
                session: self.maybe(|dice| SessionId::new(dice.u64()).unwrap()),
            }
            .into(),
            _ => Best {
                outpoint: self.outpoint(),
                paid: self.msat(),
                signature: self.signature(),
                change: self.change(),
            }
            .into(),
        }
    }

    fn batch(&mut self, name: &str) -> Message {
        let (alias, paid) = (self.alias(), self.msat());
        match name {
            "BatchVoucher" => BatchVoucher {
                alias,
                paid,
                signature: self.signature(),
                start: self.msat(),
                root: self.array(),
                part: self.blob(),
                length: self.maybe(|dice| u32::from_be_bytes(dice.array())),
                lanes: self.maybe(Self::blob),
            }
            .into(),
            "BatchPart" => {
                let offset = u32::from_be_bytes(self.array());
                BatchPart { alias, paid, offset, part: self.blob() }.into()
            }
            "LanesQuery" => LanesQuery { alias, paid, signature: self.signature() }.into(),
            _ => LanesTold { alias, paid, lanes: self.blob() }.into(),
        }
    }

    fn id(&mut self) -> HoldId {
        HoldId::new(self.u64()).unwrap()
    }

    fn holds(&mut self) -> HeldAmounts {
        let hold = |dice: &mut Self| HeldAmount {
            id: dice.id(),
            amount: dice.sat(),
            hash: dice.array(),
            expiry: Height::new(u32::from(dice.u16())).unwrap(),
        };
        let count = usize::from(self.u16()) % 256;
        HeldAmounts::new((0..count).map(|_| hold(self)).collect()).unwrap()
    }

    fn bundles(&mut self) -> Option<HeldBundles> {
        let bundle = |dice: &mut Self| HeldBundle {
            id: dice.id(),
            root: dice.array(),
            items: u32::from_be_bytes(dice.array()),
            total: dice.msat(),
        };
        let count = usize::from(self.u16()) % 256;
        HeldBundles::new((0..count).map(|_| bundle(self)).collect()).unwrap()
    }

    fn hold(&mut self, name: &str) -> Message {
        let (alias, id, paid) = (self.alias(), self.id(), self.msat());
        match name {
            "HoldItems" => {
                let length = u32::from_be_bytes(self.array());
                let offset = u32::from_be_bytes(self.array());
                HoldItems { alias, id, length, offset, part: self.blob() }.into()
            }
            "HoldAck" => HoldAck { alias, paid, state: self.array() }.into(),
            "HoldFulfilled" => HoldFulfilled { alias, id, preimage: self.array() }.into(),
            "HoldReleased" => HoldReleased { alias, id }.into(),
            _ => {
                let (outpoint, signature) = (self.outpoint(), self.signature());
                let (holds, bundles) = (self.holds(), self.bundles());
                if name == "BestHeld" {
                    BestHeld { outpoint, paid, signature, holds, bundles }.into()
                } else {
                    HoldVoucher { alias, paid, signature, holds, bundles }.into()
                }
            }
        }
    }

    fn closing(&mut self, name: &str) -> Message {
        let (alias, paid, signature) = (self.alias(), self.msat(), self.signature());
        match name {
            "CloseRequest" => {
                let (fee, script) = (self.sat(), self.blob());
                CloseRequest { alias, paid, fee, script, signature }.into()
            }
            "CloseSigned" => CloseSigned { alias, paid, txid: self.txid(), signature }.into(),
            "TopUpSigned" => TopUpSigned { alias, paid, txid: self.txid(), signature }.into(),
            _ => TopUpRequest {
                alias,
                paid,
                capacity: self.sat(),
                coins: self.blob(),
                carried: self
                    .maybe(|dice| Carried { paid: dice.msat(), signature: dice.signature() }),
            }
            .into(),
        }
    }

    fn metering(&mut self, name: &str) -> Message {
        let session = self.session();
        match name {
            "SessionOffer" => SessionOffer {
                session,
                tariff_hash: self.array(),
                credit: self.msat(),
                prepay: self.msat(),
                skew: Seconds::new(self.u64()).unwrap(),
                tolerance: Ppm::new(u32::from(self.u16())).unwrap(),
                tariff: self.maybe(Self::blob),
            }
            .into(),
            "SessionStart" => SessionStart {
                session,
                alias: self.alias(),
                offer: crate::wire::OfferHash(self.array()),
                time: self.time(),
            }
            .into(),
            "SessionPause" => SessionPause { session, time: self.time(), owed: self.msat() }.into(),
            "Statement" => Statement { session, statement: self.blob() }.into(),
            "SessionEnd" | "Reading" => {
                let (time, quantity) = (self.time(), Quantity::new(self.u64()).unwrap());
                if name == "Reading" {
                    let idle = self.maybe(|dice| Seconds::new(dice.u64()).unwrap());
                    Reading { session, time, quantity, idle }.into()
                } else {
                    SessionEnd { session, time, quantity }.into()
                }
            }
            other => panic!("no values of {other}"),
        }
    }

    fn setup(&mut self, name: &str) -> Message {
        match name {
            "Init" => Init {
                global_features: self.blob(),
                features: self.blob(),
                networks: self.maybe(|dice| {
                    let count = usize::from(dice.u16()) % NETWORKS_MAX + 1;
                    let chains = (0..count).map(|_| ChainHash::from(dice.array::<32>()));
                    Networks::new(chains.collect()).unwrap()
                }),
            }
            .into(),
            "Ping" => {
                Ping { wanted: self.u16(), padding: Padding::new(self.u16().min(65_529)).unwrap() }
                    .into()
            }
            "Pong" => Pong { padding: Padding::new(self.u16().min(65_531)).unwrap() }.into(),
            _ => {
                let channel = self.array();
                let text = PeerText::new(self.blob::<TEXT_MAX>().into_vec()).unwrap();
                if name == "PeerError" {
                    PeerError { channel, text }.into()
                } else {
                    PeerWarning { channel, text }.into()
                }
            }
        }
    }
}
