//! Frozen vectors of batches and receipts: our own, for a second implementation.
//!
//! Each case has its items as [lane, id, count, msat, per, amount, hash]: count, msat and per are 0
//! for an item without a price, amount is what it costs, hash is null or hex. From these the bytes,
//! the root and what is paid follow. Its receipts are signed by the base key of the seed of 32
//! bytes 2 on regtest with auxiliary randomness of zeros, and name the items by their place; all
//! say the case's tariff. Documents are the bytes that an item's hash is of: a tariff, or the
//! meter's statement of a session, whose hash is the digest that the seller signs.
//!
//! `MILLSTREAM_VECTORS=DIR` reads a file of the same name and format from DIR instead; if it is not
//! there that is printed. `MILLSTREAM_BLESS=1 cargo test --test batch_vectors` writes the file anew
//! from the items of `cases`.

mod vector_support;

use bitcoin::hashes::Hash;
use bitcoin::{Network, OutPoint, Txid, XOnlyPublicKey};
use hex::{DisplayHex, FromHex};
use millstream::batch::item::{Charge, Item, LeafSize};
use millstream::batch::lanes::Lanes;
use millstream::batch::receipt::{Receipt, Statement};
use millstream::batch::{Batch, Builder, Channel, Sealed};
use millstream::keys::{BaseKey, Context, Entropy, Seed};
use millstream::meter::{self, Tariff, tariff};
use millstream::units::{ItemId, Lane, Msat, Price, Quantity};
use serde_json::{Value, json};
use vector_support::{directory, document};

const FILE: &str = "batch_v1";
const TARIFF: [u8; 32] = [0x5a; 32];

/// A channel that has paid `start`.
struct At {
    start: Msat,
    payee: XOnlyPublicKey,
}

impl Channel for At {
    fn outpoint(&self) -> OutPoint {
        OutPoint { txid: Txid::from_byte_array([7; 32]), vout: 1 }
    }

    fn payee(&self) -> XOnlyPublicKey {
        self.payee
    }

    fn paid(&self) -> Msat {
        self.start
    }

    fn room(&self) -> Msat {
        Msat::MAX.saturating_sub(self.start)
    }
}

fn key(context: &Context) -> BaseKey {
    Seed::new([2; 32]).base_key(context, Network::Regtest).unwrap()
}

fn lanes(start: Msat, items: &[Item]) -> Lanes {
    let mut lanes = Lanes::new(start);
    for item in items {
        if lanes.state(item.lane).is_none() {
            lanes.open(item.lane, Msat::MAX).unwrap();
        }
    }
    lanes
}

fn build(channel: &At, items: &[Item], leaf_size: u8) -> Sealed {
    let lanes = lanes(channel.start, items);
    let size = LeafSize::new(leaf_size).unwrap();
    let mut builder = Builder::new(channel, &lanes, size).unwrap();
    for item in items {
        builder.push(item).unwrap();
    }
    builder.seal().unwrap()
}

fn receipt(context: &Context, channel: &At, sealed: &Sealed, tariff: [u8; 32], at: u32) -> Receipt {
    let statement = Statement::new(channel, &sealed.credited.claim, tariff);
    let signature = key(context).pair().sign(context, statement.digest(), &Entropy::new([0; 32]));
    let batch = Batch::parse(&sealed.bytes).unwrap();
    Receipt::new(&batch, at, statement, channel.payee, signature).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} in {case}"))
}

fn from_json(row: &Value) -> (Item, u64) {
    let at = |place: usize| number(&row[place]);
    let charge = if at(2) == 0 {
        Charge::Amount(Msat::new(at(5)).unwrap())
    } else {
        let price = Price::new(Msat::new(at(3)).unwrap(), at(4)).unwrap();
        Charge::Metered { count: Quantity::new(at(2)).unwrap(), price }
    };
    let hash = row[6].as_str().map(|hex| <[u8; 32]>::from_hex(hex).unwrap());
    let lane = Lane::try_from(at(0)).unwrap();
    (Item { lane, id: ItemId::new(at(1)).unwrap(), charge, hash }, at(5))
}

fn to_json(item: &Item) -> Value {
    let (count, msat, per) = match item.charge {
        Charge::Amount(_) => (0, 0, 0),
        Charge::Metered { count, price } => {
            (count.to_u64(), price.msat().to_msat(), price.per().get())
        }
    };
    let amount = item.charge.amount().unwrap().to_msat();
    let hash = item.hash.map(|hash| hash.to_lower_hex_string());
    json!([item.lane.to_u16(), item.id.to_u64(), count, msat, per, amount, hash])
}

/// The hash of a document that an item refers to, by the room that the document is of.
fn hash_of(kind: &str, bytes: &[u8]) -> [u8; 32] {
    match kind {
        "tariff" => Tariff::parse(bytes).unwrap().hash().0,
        "statement" => meter::Statement::decode(bytes).unwrap().digest(),
        other => panic!("a document of kind {other}"),
    }
}

#[test]
fn batches_and_receipts_are_the_frozen_ones() {
    let (dir, brought) = directory();
    if std::env::var_os("MILLSTREAM_BLESS").is_some_and(|value| value == "1") && !brought {
        std::fs::write(dir.join(FILE).with_extension("json"), blessed()).unwrap();
        println!("{FILE} written");
    }
    let Some(document) = document(FILE) else { return };
    let cases = document["cases"].as_array().unwrap();
    let context = Context::new();
    let (mut receipts, mut documents) = (0, 0);
    for case in cases {
        let start = Msat::new(number(&case["start"])).unwrap();
        let channel = At { start, payee: key(&context).public() };
        let rows: Vec<_> = case["items"].as_array().unwrap().iter().map(from_json).collect();
        let items: Vec<Item> = rows.iter().map(|(item, _)| *item).collect();
        let leaf_size = u8::try_from(number(&case["leaf_size"])).unwrap();
        let sealed = build(&channel, &items, leaf_size);
        let (name, claim) = (text(case, "name"), &sealed.credited.claim);
        assert_eq!(sealed.bytes.to_lower_hex_string(), text(case, "bytes"), "{name}");
        assert_eq!(claim.root.to_lower_hex_string(), text(case, "root"), "{name}");
        assert_eq!(claim.paid.to_msat(), number(&case["paid"]), "{name}");
        let mut seen = Vec::new();
        let lanes = lanes(start, &items);
        let batch = Batch::parse(&sealed.bytes).unwrap();
        let credited = batch.check(&channel, &lanes, claim, |item, amount| {
            seen.push((*item, amount.to_msat()));
        });
        assert_eq!(credited.as_ref(), Ok(&sealed.credited), "{name}");
        assert_eq!(seen, rows, "{name}");
        for row in case["documents"].as_array().unwrap() {
            let at = usize::try_from(number(&row["at"])).unwrap();
            let bytes = Vec::from_hex(text(row, "bytes")).unwrap();
            let hash = hash_of(text(row, "kind"), &bytes);
            assert_eq!(items[at].hash, Some(hash), "{name}, document of item {at}");
            documents += 1;
        }
        let tariff = <[u8; 32]>::from_hex(text(case, "tariff")).unwrap();
        for row in case["receipts"].as_array().unwrap() {
            let at = number(&row["at"]);
            let bytes = Vec::from_hex(text(row, "bytes")).unwrap();
            let made = receipt(&context, &channel, &sealed, tariff, u32::try_from(at).unwrap());
            assert_eq!(made.encode(), bytes, "{name}, item {at}");
            let proven = Receipt::decode(&bytes).unwrap().verify(&context, channel.payee).unwrap();
            assert_eq!(proven.item, items[usize::try_from(at).unwrap()], "{name}");
            assert_eq!(proven.statement.tariff, tariff, "{name}");
            receipts += 1;
        }
    }
    println!("{FILE}: {} cases, {receipts} receipts, {documents} documents", cases.len());
    assert!(receipts > 0, "no receipts");
    assert!(documents > 0, "no documents");
}

/// A case as it is made.
struct Made {
    name: &'static str,
    start: u64,
    leaf_size: u8,
    tariff: [u8; 32],
    items: Vec<Item>,
    /// Place of the item, kind, bytes.
    documents: Vec<(usize, &'static str, Vec<u8>)>,
    /// Items that a receipt is made of.
    shown: &'static [u32],
}

/// The file's text.
fn blessed() -> String {
    let context = Context::new();
    let one = |case: Made| {
        let start = Msat::new(case.start).unwrap();
        let channel = At { start, payee: key(&context).public() };
        let sealed = build(&channel, &case.items, case.leaf_size);
        let receipt = |at: &u32| {
            let bytes = receipt(&context, &channel, &sealed, case.tariff, *at).encode();
            json!({ "at": at, "bytes": bytes.to_lower_hex_string() })
        };
        let document = |(at, kind, bytes): &(usize, &str, Vec<u8>)| json!({ "at": at, "kind": kind, "bytes": bytes.to_lower_hex_string() });
        let fields = [
            ("name", json!(case.name)),
            ("start", json!(start.to_msat())),
            ("leaf_size", json!(case.leaf_size)),
            ("tariff", json!(case.tariff.to_lower_hex_string())),
            ("paid", json!(sealed.credited.claim.paid.to_msat())),
            ("root", json!(sealed.credited.claim.root.to_lower_hex_string())),
            ("bytes", json!(sealed.bytes.to_lower_hex_string())),
            ("documents", json!(case.documents.iter().map(document).collect::<Vec<_>>())),
            ("receipts", json!(case.shown.iter().map(receipt).collect::<Vec<_>>())),
        ];
        let fields = fields.map(|(field, value)| format!("      \"{field}\": {value},\n")).concat();
        let items: Vec<_> = case.items.iter().map(|item| format!("{}", to_json(item))).collect();
        // Several rows a line: the file is read by people, too.
        let items: Vec<_> = items.chunks(4).map(|rows| rows.join(", ")).collect();
        let items = items.join(",\n        ");
        format!("    {{\n{fields}      \"items\": [\n        {items}\n      ]\n    }}")
    };
    let mut cases: Vec<_> = cases().into_iter().map(one).collect();
    cases.push(one(documents()));
    let source = "millstream, our own; read, hashed and verified by an independent Python program \
                  from the tables in src/batch/mod.rs, column, leaf.rs and receipt.rs";
    let head = format!("  \"source\": \"{source}\",\n  \"license\": \"MIT OR Apache-2.0\",\n");
    format!("{{\n{head}  \"cases\": [\n{}\n  ]\n}}\n", cases.join(",\n"))
}

fn item(lane: u16, id: u64, charge: Charge) -> Item {
    Item { lane: Lane::new(lane).unwrap(), id: ItemId::new(id).unwrap(), charge, hash: None }
}

fn amount(msat: u64) -> Charge {
    Charge::Amount(Msat::new(msat).unwrap())
}

fn metered(count: u64, msat: u64, per: u64) -> Charge {
    let price = Price::new(Msat::new(msat).unwrap(), per).unwrap();
    Charge::Metered { count: Quantity::new(count).unwrap(), price }
}

/// A session whole: the tariff first, then what was delivered, then the signed end.
fn documents() -> Made {
    let price = Price::new(Msat::new(450_000).unwrap(), 3_600_000).unwrap();
    let tariff = Tariff::flat(tariff::Measure::WattSecond, price).unwrap();
    let number = |value: u64| value.to_be_bytes().to_vec();
    let statement = [
        vec![1],
        number(77),
        vec![7; 32],
        vec![0, 0, 0, 1],
        tariff.hash().0.to_vec(),
        // Start, end, quantity, idle seconds, owed, paid.
        [1_800_000_000, 1_800_000_003, 66_000, 0, 8_250, 8_250].map(number).concat(),
    ]
    .concat();
    let (opened, closed) = (hash_of("tariff", &tariff.encode()), hash_of("statement", &statement));
    let mut items = vec![Item { hash: Some(opened), ..item(4, 1, amount(0)) }];
    items.extend((2..5).map(|id| item(4, id, metered(22_000, 450_000, 3_600_000))));
    items.push(Item { hash: Some(closed), ..item(4, 5, amount(0)) });
    Made {
        name: "tariff and signed meter statement",
        start: 1_000_000,
        leaf_size: 1,
        tariff: opened,
        items,
        documents: vec![(0, "tariff", tariff.encode()), (4, "statement", statement)],
        shown: &[0, 1, 4],
    }
}

fn cases() -> Vec<Made> {
    // xorshift64*, so that anybody can make the same numbers.
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20) % below
    };
    let uniform = (1..=600).map(|id| item(0, id, amount(random(1_001)))).collect();
    let skewed = |random: &mut dyn FnMut(u64) -> u64| {
        if random(100) == 0 { random(1_000_001) } else { random(101) }
    };
    let skewed = (1..=600).map(|id| item(0, id, amount(skewed(&mut random)))).collect();
    let mut mixed: Vec<Item> = Vec::new();
    for round in 0..9_u64 {
        let id = 10 + round * 7;
        mixed.push(item(2, id, metered(22_000 + round % 2, 450_000, 3_600_000)));
        mixed.push(item(300, id + 1, amount(round * round)));
        mixed.push(Item {
            hash: Some([u8::try_from(round).unwrap(); 32]),
            ..item(2, id + 1, amount(5))
        });
        mixed.push(item(0, 1 + round, metered(1, 3, 1)));
    }
    let wide = [u64::from(u8::MAX), 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32];
    let wide = (1..).zip(wide).map(|(id, value)| item(0, id, amount(value))).collect();
    let plain = |(name, start, leaf_size, items, shown)| Made {
        name,
        start,
        leaf_size,
        tariff: TARIFF,
        items,
        documents: Vec::new(),
        shown,
    };
    let list: [(_, _, _, _, &[u32]); 8] = [
        ("one item", 0, 1, vec![item(0, 1, amount(1))], &[0]),
        ("last id of a lane", 0, 1, vec![item(65_535, u64::MAX, amount(7))], &[0]),
        ("constant", 1_000, 16, (1..=100).map(|id| item(3, id, amount(10))).collect(), &[0, 99]),
        ("one price", 5, 64, (1..=70).map(|id| item(3, id, metered(9, 1, 2))).collect(), &[64]),
        ("every width", 0, 1, wide, &[0, 1, 2, 3, 4, 5]),
        ("uniform to 1000", 0, 1, uniform, &[599]),
        ("skewed", 0, 16, skewed, &[511, 512]),
        ("lanes, gaps, prices, hashes", 123_456, 4, mixed, &[0, 1, 2, 35]),
    ];
    list.map(plain).into()
}
