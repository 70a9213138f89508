//! The golden file, field by field.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bitcoin::hashes::Hash as _;

use crate::wire::{Change, HeldAmounts, HeldBundles, Message, PeerText, Standing};

/// The golden file names its fields; round trips alone would not see two fields that changed
/// places.
#[test]
fn golden_messages_hold_the_fields_that_the_file_names() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/wire_v1.json")).unwrap();
    let mut checked = 0;
    for case in file["cases"].as_array().unwrap() {
        let Some(fields) = case["fields"].as_object() else { continue };
        let bytes: Vec<u8> = hex::FromHex::from_hex(case["bytes"].as_str().unwrap()).unwrap();
        let message = Message::decode(&bytes).unwrap().unwrap();
        for (name, want) in fields {
            let got = shown_field(&message, name);
            let want = want.as_str().map_or_else(|| want.to_string(), ToString::to_string);
            assert_eq!(got, want, "{name} of {case}");
            checked += 1;
        }
    }
    std::println!("wire_v1: {checked} fields");
    assert!(checked > 100);
}

fn hex(bytes: &[u8]) -> String {
    hex::DisplayHex::to_lower_hex_string(bytes)
}

fn change(change: Change) -> String {
    match change {
        Change::Own => "own".into(),
        Change::P2tr(program) => format!("p2tr {}", hex(&program)),
        Change::P2wpkh(program) => format!("p2wpkh {}", hex(&program)),
        Change::P2wsh(program) => format!("p2wsh {}", hex(&program)),
    }
}

fn text(text: &PeerText) -> String {
    String::from_utf8(text.as_untrusted_bytes().to_vec()).unwrap()
}

/// Shows the field called `$name` as the file writes it; hands other messages to `$next`.
macro_rules! show {
    (
        $message:ident, $name:ident, $next:expr;
        $($kind:ident($m:ident) { $($field:ident: $shown:expr),* $(,)? })+
    ) => {
        match $message {
            $(Message::$kind($m) => match $name {
                $(stringify!($field) => $shown,)*
                other => panic!("{} has no {other}", $message.name()),
            },)+
            _ => $next,
        }
    };
}

fn shown_field(message: &Message, name: &str) -> String {
    show! {
        message, name, shown_spend_field(message, name);
        Terms(m) { terms: hex(m.terms.as_slice()) }
        Open(m) {
            alias: m.alias.to_string(), chain: hex(&m.chain.to_bytes()),
            payer: m.payer.to_string(), delay: m.delay.to_string(),
            txid_as_hashed: hex(&m.outpoint.txid.to_byte_array()),
            vout: m.outpoint.vout.to_string(), change: change(m.change),
            paid: m.paid.to_msat().to_string(), payee_base: m.payee_base.to_string(),
            terms_hash: hex(&m.terms_hash),
        }
        Accepted(m) {
            alias: m.alias.to_string(), paid: m.paid.to_msat().to_string(),
            standing: match m.standing {
                Standing::Waiting => "0", Standing::ZeroConf => "1", Standing::Ready => "2",
            }.into(),
        }
        Voucher(m) {
            alias: m.alias.to_string(), paid: m.paid.to_msat().to_string(),
            signature: hex(m.signature.as_ref()),
        }
        Ack(m) { alias: m.alias.to_string(), paid: m.paid.to_msat().to_string() }
        Refused(m) {
            alias: m.alias.to_string(), code: m.code.code().to_string(),
            best: m.best.to_msat().to_string(), session: m.session.unwrap().to_string(),
        }
        Resume(m) {
            alias: m.alias.to_string(),
            txid_as_hashed: hex(&m.outpoint.unwrap().txid.to_byte_array()),
            vout: m.outpoint.unwrap().vout.to_string(),
        }
        Best(m) {
            txid_as_hashed: hex(&m.outpoint.txid.to_byte_array()),
            vout: m.outpoint.vout.to_string(), paid: m.paid.to_msat().to_string(),
            signature: hex(m.signature.as_ref()), change: change(m.change),
        }
        BatchVoucher(m) {
            alias: m.alias.to_string(), paid: m.paid.to_msat().to_string(),
            signature: hex(m.signature.as_ref()), start: m.start.to_msat().to_string(),
            root: hex(&m.root), part: hex(m.part.as_slice()),
            length: m.length.unwrap().to_string(),
            lanes: hex(m.lanes.as_ref().unwrap().as_slice()),
        }
        BatchPart(m) {
            alias: m.alias.to_string(), paid: m.paid.to_msat().to_string(),
            offset: m.offset.to_string(), part: hex(m.part.as_slice()),
        }
        LanesQuery(m) {
            alias: m.alias.to_string(), paid: m.paid.to_msat().to_string(),
            signature: hex(m.signature.as_ref()),
        }
        LanesTold(m) {
            alias: m.alias.to_string(), paid: m.paid.to_msat().to_string(),
            lanes: hex(m.lanes.as_slice()),
        }
    }
}

fn shown_held(holds: &HeldAmounts) -> String {
    let shown = holds.as_slice().iter().map(|hold| {
        let (id, amount) = (hold.id, hold.amount.to_sat());
        format!("{id} {amount} {} {}", hex(&hold.hash), hold.expiry)
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn shown_bundles(bundles: Option<&HeldBundles>) -> String {
    let shown = bundles.map_or(&[][..], HeldBundles::as_slice).iter().map(|bundle| {
        let (id, total) = (bundle.id, bundle.total.to_msat());
        format!("{id} {} {} {total}", hex(&bundle.root), bundle.items)
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn shown_hold_field(message: &Message, name: &str) -> String {
    show! {
        message, name, shown_session_field(message, name);
        HoldVoucher(m) {
            alias: m.alias.to_string(), paid: m.paid.to_msat().to_string(),
            signature: hex(m.signature.as_ref()), holds: shown_held(&m.holds),
            bundles: shown_bundles(m.bundles.as_ref()), state: hex(&m.state()),
        }
        BestHeld(m) {
            txid_as_hashed: hex(&m.outpoint.txid.to_byte_array()),
            vout: m.outpoint.vout.to_string(), paid: m.paid.to_msat().to_string(),
            signature: hex(m.signature.as_ref()), holds: shown_held(&m.holds),
            bundles: shown_bundles(m.bundles.as_ref()),
        }
        HoldItems(m) {
            alias: m.alias.to_string(), id: m.id.to_string(), length: m.length.to_string(),
            offset: m.offset.to_string(), part: hex(m.part.as_slice()),
        }
        HoldAck(m) {
            alias: m.alias.to_string(), paid: m.paid.to_msat().to_string(), state: hex(&m.state),
        }
        HoldFulfilled(m) {
            alias: m.alias.to_string(), id: m.id.to_string(), preimage: hex(&m.preimage),
        }
        HoldReleased(m) { alias: m.alias.to_string(), id: m.id.to_string() }
    }
}

fn shown_spend_field(message: &Message, name: &str) -> String {
    show! {
        message, name, shown_hold_field(message, name);
        CloseRequest(m) {
            alias: m.alias.to_string(), paid: m.paid.to_msat().to_string(),
            fee: m.fee.to_sat().to_string(), script: hex(m.script.as_slice()),
            signature: hex(m.signature.as_ref()),
        }
        CloseSigned(m) {
            alias: m.alias.to_string(), paid: m.paid.to_msat().to_string(),
            txid_as_hashed: hex(&m.txid.to_byte_array()), signature: hex(m.signature.as_ref()),
        }
        TopUpRequest(m) {
            alias: m.alias.to_string(), paid: m.paid.to_msat().to_string(),
            capacity: m.capacity.to_sat().to_string(), coins: hex(m.coins.as_slice()),
            carried_paid: m.carried.unwrap().paid.to_msat().to_string(),
            carried_signature: hex(m.carried.unwrap().signature.as_ref()),
        }
        TopUpSigned(m) {
            alias: m.alias.to_string(), paid: m.paid.to_msat().to_string(),
            txid_as_hashed: hex(&m.txid.to_byte_array()), signature: hex(m.signature.as_ref()),
        }
    }
}

fn shown_session_field(message: &Message, name: &str) -> String {
    show! {
        message, name, panic!("{message:?} has no fields");
        SessionOffer(m) {
            session: m.session.to_string(), tariff_hash: hex(&m.tariff_hash),
            credit: m.credit.to_msat().to_string(), prepay: m.prepay.to_msat().to_string(),
            skew: m.skew.to_u64().to_string(), tolerance: m.tolerance.to_ppm().to_string(),
            tariff: hex(m.tariff.as_ref().unwrap().as_slice()),
        }
        SessionStart(m) {
            session: m.session.to_string(), alias: m.alias.to_string(),
            offer: m.offer.to_string(), time: m.time.to_u64().to_string(),
        }
        Reading(m) {
            session: m.session.to_string(), time: m.time.to_u64().to_string(),
            quantity: m.quantity.to_string(), idle: m.idle.unwrap().to_u64().to_string(),
        }
        SessionPause(m) {
            session: m.session.to_string(), time: m.time.to_u64().to_string(),
            owed: m.owed.to_msat().to_string(),
        }
        SessionEnd(m) {
            session: m.session.to_string(), time: m.time.to_u64().to_string(),
            quantity: m.quantity.to_string(),
        }
        Statement(m) {
            session: m.session.to_string(), statement: hex(m.statement.as_slice()),
        }
        Init(m) {
            global_features: hex(m.global_features.as_slice()),
            features: hex(m.features.as_slice()),
            networks: format!(
                "[\"{}\"]", hex(&m.networks.as_ref().unwrap().as_slice()[0].to_bytes())
            ),
        }
        PeerWarning(m) { channel: hex(&m.channel), text: text(&m.text) }
        PeerError(m) { channel: hex(&m.channel), text: text(&m.text) }
        Ping(m) { wanted: m.wanted.to_string(), padding: m.padding.length().to_string() }
        Pong(m) { padding: m.padding.length().to_string() }
    }
}

/// The golden start takes the golden offer: its hash was made outside of this crate.
#[test]
fn offer_is_named_by_the_hash_of_its_bytes_before_the_tlvs() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/wire_v1.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let named = |name: &str| cases.iter().find(|case| case["name"] == name).unwrap();
    let bytes = named("session_offer_with_tariff")["bytes"].as_str().unwrap();
    let bytes: Vec<u8> = hex::FromHex::from_hex(bytes).unwrap();
    let Some(Message::SessionOffer(offer)) = Message::decode(&bytes).unwrap() else { panic!() };
    let taken = &named("session_start")["fields"]["offer"];
    assert_eq!(*taken, offer.hash().to_string());
    // The tariff's hash stands for it.
    assert_eq!(*taken, crate::wire::SessionOffer { tariff: None, ..offer }.hash().to_string());
}
