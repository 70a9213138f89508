//! Tests of the wire: both directions of every message, the limits, the frames.

use alloc::string::ToString;
use alloc::vec::Vec;
use alloc::{format, vec};

use bitcoin::constants::ChainHash;
use proptest::prelude::*;

use super::*;
use crate::units::{ChannelAlias, Height, HoldId, Msat, Sat};
use dice::Dice;

mod dice;
mod golden;

fn any_message() -> impl Strategy<Value = Message> {
    let supply = prop::collection::vec(any::<u8>(), 0..700);
    (0..Message::NAMES.len(), supply)
        .prop_map(|(index, supply)| Dice::new(&supply).message(Message::NAMES[index]))
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

/// One message of each kind, of middling size.
fn one_of_each() -> Vec<Message> {
    let supply: Vec<u8> = (1..=250).cycle().take(2_000).collect();
    Message::NAMES.iter().map(|name| Dice::new(&supply).message(name)).collect()
}

fn voucher() -> Voucher {
    let supply = [7; 100];
    match Dice::new(&supply).message("Voucher") {
        Message::Voucher(voucher) => voucher,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn any_message_encoded_decodes_to_itself(message in any_message()) {
        prop_assert_eq!(Message::decode(&encoded(&message)), Ok(Some(message)));
    }

    /// From bytes: a valid message with one byte changed, cut or doubled. What decodes has one
    /// encoding, which is no longer than the input.
    #[test]
    fn any_bytes_that_decode_encode_to_one_encoding(
        message in any_message(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(&message);
        let at = at.index(bytes.len());
        bytes[at] = to;
        bytes.truncate(bytes.len() - cut.index(bytes.len()) % 3);
        if let Ok(Some(decoded)) = Message::decode(&bytes) {
            let again = encoded(&decoded);
            prop_assert!(again.len() <= bytes.len());
            prop_assert_eq!(Message::decode(&again), Ok(Some(decoded)));
        }
    }

    #[test]
    fn frames_in_any_chunks_give_the_messages_that_were_written(
        messages in prop::collection::vec(any_message(), 1..6),
        chunks in prop::collection::vec(1_usize..400, 1..20),
    ) {
        let mut stream = Vec::new();
        for message in &messages {
            write_frame(message, &mut stream).unwrap();
        }
        let mut sizes = chunks.iter().cycle();
        let (mut reader, mut read) = (FrameReader::new(), Vec::new());
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let (mut input, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            while let Some(bytes) = reader.read(&mut input).unwrap() {
                read.push(Message::decode(bytes).unwrap().unwrap());
            }
            prop_assert!(input.is_empty());
            rest = after;
        }
        prop_assert_eq!(read, messages);
        prop_assert_eq!(reader.read(&mut &[][..]), Ok(None));
        prop_assert_eq!(reader.held_bytes(), 0);
    }

    #[test]
    fn numbers_written_are_read_back(value in any::<u64>(), shift in 0_u32..64) {
        let value = value >> shift;
        let mut out = Vec::new();
        put_bigsize(value, &mut out);
        prop_assert_eq!(Reader::new(&out).bigsize(), Ok(value));
        out.clear();
        put_truncated(value, &mut out);
        prop_assert_eq!(Reader::new(&out).truncated_number(8), Ok(value));
        out.clear();
        put_signed(value.cast_signed(), &mut out);
        prop_assert_eq!(Reader::new(&out).signed(), Ok(value.cast_signed()));
    }
}

#[test]
fn message_types_are_all_different_and_ours_are_odd_and_experimental() {
    let kinds: Vec<u16> = one_of_each().iter().map(Message::kind).collect();
    for (index, kind) in kinds.iter().enumerate() {
        assert!(!kinds[..index].contains(kind), "{kind} twice");
        assert!(*kind < 20 || (*kind >= 0x8000 && kind % 2 == 1), "{kind}");
    }
    assert_eq!(kinds.len(), Message::NAMES.len());
}

#[test]
fn message_cut_anywhere_is_refused_or_another() {
    for message in one_of_each() {
        let bytes = encoded(&message);
        for end in 0..bytes.len() {
            let cut = Message::decode(&bytes[..end]);
            assert_ne!(cut, Ok(Some(message.clone())), "{} cut at {end}", message.name());
        }
    }
}

#[test]
fn unknown_odd_record_is_skipped_and_even_one_refused_by_its_type() {
    for message in one_of_each() {
        let (mut odd, mut even) = (encoded(&message), encoded(&message));
        put_record(1_001, b"later", &mut odd);
        put_record(1_002, b"later", &mut even);
        assert_eq!(Message::decode(&odd), Ok(Some(message.clone())));
        let refused = Err(WireError::UnknownEvenRecord { kind: 1_002 });
        assert_eq!(Message::decode(&even), refused, "{}", message.name());
    }
}

#[test]
fn key_off_the_curve_is_refused() {
    let open = one_of_each().into_iter().find_map(|message| match message {
        Message::Open(open) => Some(open),
        _ => None,
    });
    let open = open.unwrap();
    let mut bytes = encoded(&Message::Open(open.clone()));
    let key = open.payer.serialize();
    let at = bytes.windows(32).position(|window| window == key).unwrap();
    bytes[at..at + 32].fill(0xff);
    assert_eq!(Message::decode(&bytes), Err(WireError::BadKey));
    bytes[at..at + 32].copy_from_slice(&key);
    assert_eq!(Message::decode(&bytes), Ok(Some(Message::Open(open))));
}

#[test]
fn unknown_message_types_are_ignored_if_odd_and_refused_if_even() {
    assert_eq!(Message::decode(&[0x91, 0xff, 1, 2, 3]), Ok(None));
    let refused = Err(WireError::UnknownEvenMessage { kind: 0x91fe });
    assert_eq!(Message::decode(&[0x91, 0xfe, 1, 2, 3]), refused);
    assert_eq!(Message::decode(&[0x91]), Err(WireError::Truncated { need: 2, have: 1 }));
}

/// As many holds as a count can say, each with its bundle.
fn most_held() -> (HeldAmounts, Option<HeldBundles>) {
    let id = |number| HoldId::new(number).unwrap();
    let (amount, expiry) = (Sat::MAX, Height::new(1).unwrap());
    let hold = |number| HeldAmount { id: id(number), amount, hash: [1; 32], expiry };
    let (root, items, total) = ([2; 32], u32::MAX, Msat::MAX);
    let bundle = |number| HeldBundle { id: id(number), root, items, total };
    let holds = HeldAmounts::new((1..=255).map(hold).collect()).unwrap();
    (holds, HeldBundles::new((1..=255).map(bundle).collect()).unwrap())
}

#[test]
fn more_holds_than_a_count_says_are_refused_and_no_bundles_are_no_record() {
    let (held, bundled) = most_held();
    let mut holds = held.as_slice().to_vec();
    holds.push(holds[0]);
    let refused = |what| WireError::TooLong { what, got: 256, max: 255 };
    assert_eq!(HeldAmounts::new(holds), Err(refused("holds")));
    let mut bundles = bundled.unwrap().as_slice().to_vec();
    bundles.push(bundles[0]);
    assert_eq!(HeldBundles::new(bundles), Err(refused("bundles")));
    assert_eq!(HeldBundles::new(Vec::new()), Ok(None));
}

#[test]
fn state_of_a_voucher_with_holds_is_of_everything_but_the_signature() {
    let Message::HoldVoucher(one) = Dice::new(&[1; 200]).message("HoldVoucher") else { panic!() };
    let (holds, bundles) = most_held();
    let one = HoldVoucher { holds, bundles, ..one };
    let signed = HoldVoucher { signature: voucher().signature, ..one.clone() };
    assert_ne!(signed, one);
    assert_eq!(signed.state(), one.state());
    let paid = HoldVoucher { paid: Msat::ZERO, ..one.clone() };
    let empty = HoldVoucher { holds: HeldAmounts::default(), ..one.clone() };
    let plain = HoldVoucher { bundles: None, ..one.clone() };
    for other in [paid, empty, plain] {
        assert_ne!(other.state(), one.state());
    }
}

#[test]
fn preimage_is_not_shown_by_debug() {
    let (alias, id) = (ChannelAlias::MIN, HoldId::MIN);
    let shown = format!("{:?}", HoldFulfilled { alias, id, preimage: [0xab; 32] });
    assert!(shown.starts_with("HoldFulfilled") && !shown.contains("171"), "{shown}");
}

#[test]
fn largest_message_of_each_kind_fits_a_frame() {
    let supply = vec![0xff; 70_000];
    // Odd numbers choose what is optional, and 0xffff the whole of a blob where the supply allows.
    for name in Message::NAMES {
        let mut message = Dice::new(&supply).message(name);
        match &mut message {
            Message::Terms(m) => m.terms = full(),
            Message::BatchVoucher(m) => {
                (m.part, m.length, m.lanes) = (full(), Some(u32::MAX), Some(full()));
            }
            Message::BatchPart(m) => m.part = full(),
            Message::LanesTold(m) => m.lanes = full(),
            Message::HoldItems(m) => m.part = full(),
            Message::HoldVoucher(m) => (m.holds, m.bundles) = most_held(),
            Message::BestHeld(m) => (m.holds, m.bundles) = most_held(),
            Message::CloseRequest(m) => m.script = full(),
            Message::TopUpRequest(m) => m.coins = full(),
            Message::SessionOffer(m) => m.tariff = Some(full()),
            Message::Statement(m) => m.statement = full(),
            Message::Init(m) => (m.global_features, m.features) = (full(), full()),
            Message::PeerError(m) => m.text = PeerText::new(vec![b'!'; TEXT_MAX]).unwrap(),
            Message::PeerWarning(m) => m.text = PeerText::new(vec![b'!'; TEXT_MAX]).unwrap(),
            Message::Ping(m) => m.padding = Padding::new(65_529).unwrap(),
            Message::Pong(m) => m.padding = Padding::new(65_531).unwrap(),
            _ => {}
        }
        let mut frame = Vec::new();
        write_frame(&message, &mut frame).unwrap();
        assert!(frame.len() <= 2 + MESSAGE_MAX);
        assert_eq!(Message::decode(&frame[2..]), Ok(Some(message)));
    }
}

fn full<const MAX: usize>() -> Bytes<MAX> {
    Bytes::new(vec![0xaa; MAX]).unwrap()
}

#[test]
fn field_limits_take_the_last_good_value_and_refuse_the_next() {
    assert!(Bytes::<TERMS_MAX>::new(vec![0; TERMS_MAX]).is_ok());
    let refused = WireError::TooLong { what: "bytes", got: TERMS_MAX + 1, max: TERMS_MAX };
    assert_eq!(Bytes::<TERMS_MAX>::new(vec![0; TERMS_MAX + 1]), Err(refused));
    // A limit above what two bytes state is not a limit.
    assert!(Bytes::<100_000>::new(vec![0; 65_535]).is_ok());
    assert!(Bytes::<100_000>::new(vec![0; 65_536]).is_err());
    assert!(PeerText::new(vec![0; TEXT_MAX]).is_ok());
    assert!(PeerText::new(vec![0; TEXT_MAX + 1]).is_err());
    let chains = |count| Networks::new(vec![ChainHash::REGTEST; count]);
    assert!(chains(0).is_err() && chains(1).is_ok());
    assert!(chains(NETWORKS_MAX).is_ok() && chains(NETWORKS_MAX + 1).is_err());
    assert!(Padding::<9>::new(9).is_ok() && Padding::<9>::new(10).is_err());
}

#[test]
fn ping_asking_for_too_much_gets_no_pong() {
    let ping = |wanted| Ping { wanted, padding: Padding::default() };
    assert_eq!(ping(65_531).pong().map(|pong| pong.padding.length()), Some(65_531));
    assert_eq!(ping(65_532).pong(), None);
}

#[test]
fn init_without_networks_may_serve_any_chain_and_with_them_only_those() {
    let mut init = Init::default();
    assert!(init.may_serve(ChainHash::BITCOIN));
    init.networks = Some(Networks::new(vec![ChainHash::REGTEST]).unwrap());
    assert!(init.may_serve(ChainHash::REGTEST) && !init.may_serve(ChainHash::BITCOIN));
}

#[test]
fn peer_text_is_shown_escaped_and_cut() {
    let text = PeerText::new(b"\x1b]0;owned\x07\r\n\xc3\xa9".to_vec()).unwrap();
    assert_eq!(text.to_string(), ".]0;owned.....");
    assert_eq!(format!("{text:?}"), "\".]0;owned.....\"");
    let long = PeerText::new(vec![b'x'; 1_000]).unwrap();
    assert_eq!(long.to_string().len(), 256);
}

#[test]
fn refusal_codes_are_kept_also_when_unknown() {
    let mut known = 0;
    for code in 0..=u16::MAX {
        let refusal = Refusal::from_code(code);
        assert_eq!(refusal.code(), code);
        known += u32::from(!matches!(refusal, Refusal::Other(_)));
    }
    assert_eq!(known, 20);
}

#[test]
fn voucher_frame_is_80_bytes_and_needs_no_allocation_in_a_buffer_with_room() {
    let mut out = Vec::with_capacity(Voucher::FRAME_BYTES);
    let before = (out.as_ptr(), out.capacity());
    write_frame(&voucher().into(), &mut out).unwrap();
    assert_eq!(out.len(), Voucher::FRAME_BYTES);
    assert!(out.len() <= 112);
    assert_eq!((out.as_ptr(), out.capacity()), before);
}

#[test]
fn frame_reader_holds_no_more_than_what_arrived() {
    let mut reader = FrameReader::new();
    // The header promises 65,535 bytes, and the peer sends them one at a time.
    assert_eq!(reader.read(&mut &[0xff, 0xff][..]), Ok(None));
    for count in 3..=65_536 {
        assert_eq!(reader.read(&mut &[1][..]), Ok(None));
        assert_eq!(reader.held_bytes(), count);
        assert!(reader.capacity() <= (2 * count).min(65_537), "{} at {count}", reader.capacity());
    }
    assert_eq!(reader.read(&mut &[1][..]).unwrap().map(<[u8]>::len), Some(65_535));
    // The large buffer is given back with the next message.
    assert_eq!(reader.read(&mut &[0][..]), Ok(None));
    assert!(reader.capacity() <= 8, "{}", reader.capacity());
}

#[test]
fn frame_too_short_for_a_type_is_refused_and_stays_refused() {
    for got in 0..2_u8 {
        for split in [0, 1, 2] {
            let bytes = [0, got, 9, 9];
            let (mut first, mut second) = bytes.split_at(split);
            let mut reader = FrameReader::new();
            let refused = Err(WireError::FrameTooShort { got: got.into() });
            let earlier = reader.read(&mut first);
            assert!(matches!(earlier, Ok(None) | Err(WireError::FrameTooShort { .. })));
            assert_eq!(reader.read(&mut second), refused);
            assert_eq!(reader.read(&mut second), refused);
        }
    }
    let mut reader = FrameReader::new();
    assert_eq!(reader.read(&mut &[0, 2, 0, 19][..]), Ok(Some(&[0, 19][..])));
}

#[test]
fn tlv_record_length_beyond_the_input_is_refused_without_allocating() {
    let mut bytes = encoded(&voucher().into());
    put_bigsize(1, &mut bytes);
    put_bigsize(u64::MAX, &mut bytes);
    let refused = Err(WireError::Truncated { need: u64::MAX, have: 0 });
    assert_eq!(Message::decode(&bytes), refused);
}
