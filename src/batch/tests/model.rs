//! Batches against a naive model, and bytes that were changed on the way.

use alloc::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// An item as it is drawn.
#[derive(Debug, Clone, Copy)]
struct Raw {
    /// Place in [`LANES`].
    lane: usize,
    /// Ids left out before it.
    gap: u64,
    /// Place in [`PRICES`] from 1; 0 for none.
    price: usize,
    value: u64,
    hash: bool,
}

const LANES: [u16; 3] = [2, 300, 0];
const PRICES: [(u64, u64); 4] = [(1, 1), (450_000, 3_600_000), (0, 7), (999, 1_000)];

fn raw() -> impl Strategy<Value = Vec<Raw>> {
    let gap = prop_oneof![9 => Just(0_u64), 1 => 0_u64..1_000_000];
    let price = prop_oneof![3 => Just(0_usize), 2 => 1_usize..=4];
    let value = prop_oneof![8 => 0_u64..1_000, 1 => 0_u64..1_000_000_000];
    let hash = proptest::bool::weighted(0.02);
    let lane = prop_oneof![9 => Just(0_usize), 1 => 0_usize..3];
    let one = (lane, gap, price, value, hash);
    let one = one.prop_map(|(lane, gap, price, value, hash)| Raw { lane, gap, price, value, hash });
    // Stretches: an item is often repeated with the next id.
    proptest::collection::vec((one, 1_usize..80), 1..30).prop_map(|runs| {
        let spread = |(one, times): (Raw, usize)| {
            (0..times).map(move |n| {
                let again = u64::try_from(n).unwrap();
                let (gap, hash) = if n == 0 { (one.gap, one.hash) } else { (0, false) };
                Raw { gap, value: one.value + again % 7, hash, ..one }
            })
        };
        runs.into_iter().flat_map(spread).collect()
    })
}

/// The items and, by the plainest means, what each costs.
fn items(raw: &[Raw]) -> Vec<(Item, u64)> {
    let mut next: BTreeMap<u16, u64> = BTreeMap::new();
    let one = |Raw { lane: place, gap, price, value, hash: hashed }: &Raw| {
        let number = LANES[*place];
        let last = next.entry(number).or_insert(0);
        *last += gap + 1;
        let hash = if *hashed { Some([u8::try_from(value % 251).unwrap(); 32]) } else { None };
        let (charge, cost) = match price.checked_sub(1) {
            None => (Charge::Amount(msat(*value)), *value),
            Some(at) => {
                let (amount, per) = PRICES[at];
                let count = Quantity::new(value + 1).unwrap();
                let price = Price::new(msat(amount), per).unwrap();
                (Charge::Metered { count, price }, (value + 1) * amount / per)
            }
        };
        (Item { lane: lane(number), id: id(*last), charge, hash }, cost)
    };
    raw.iter().map(one).collect()
}

/// Reads bytes as a batch, and writes what was read again.
///
/// `None` if they are no batch, or one that a builder may not make for its sum.
fn again(bytes: &[u8]) -> Option<Vec<u8>> {
    let batch = Batch::parse(bytes).ok()?;
    let mut lanes = Lanes::new(Msat::ZERO);
    for (lane, _) in &batch.head.lanes {
        lanes.open(*lane, Msat::MAX).unwrap();
    }
    let mut builder = Builder::new(&channel(0), &lanes, batch.leaf_size()).unwrap();
    let mut refused = None;
    batch.visit(|item, _| refused = refused.or(builder.push(item).err())).ok()?;
    match refused {
        Some(ItemError::Overdrawn { .. } | ItemError::OverRoom { .. }) => None,
        Some(other) => panic!("an item that was read is refused: {other}"),
        None => builder.seal().ok().map(|sealed| sealed.bytes),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn batch_is_what_the_model_says(raw in raw(), leaf in 1_u8..=64) {
        let model = items(&raw);
        let total: u64 = model.iter().map(|(_, cost)| cost).sum();
        prop_assume!(total > 0);
        let list: Vec<Item> = model.iter().map(|(item, _)| *item).collect();
        let sealed = sealed(&list, leaf);
        let claim = sealed.credited.claim;
        prop_assert_eq!(claim.paid, msat(total));
        prop_assert_eq!(usize::try_from(claim.items).unwrap(), model.len());
        let (credited, seen) = check(&sealed.bytes, &claim).unwrap();
        prop_assert_eq!(&credited, &sealed.credited);
        let seen: Vec<_> = seen.iter().map(|(item, cost)| (*item, cost.to_msat())).collect();
        prop_assert_eq!(&seen, &model);
        let mut sums: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
        for (item, cost) in &model {
            let lane = sums.entry(item.lane.to_u16()).or_default();
            *lane = (lane.0 + cost, item.id.to_u64());
        }
        for (number, (sum, last)) in sums {
            let state = credited.lanes.state(lane(number)).unwrap();
            prop_assert_eq!((state.total, state.last), (msat(sum), Some(id(last))));
        }
        prop_assert_eq!(credited.lanes.paid(), Ok(msat(total)));
        prop_assert_eq!(again(&sealed.bytes), Some(sealed.bytes));
    }

    #[test]
    fn batch_read_from_changed_bytes_is_written_the_same(
        raw in raw(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0_u32..8), 1..4),
        in_head in any::<bool>(),
    ) {
        let list: Vec<Item> = items(&raw).iter().map(|(item, _)| *item).collect();
        prop_assume!(items(&raw).iter().any(|(_, cost)| *cost > 0));
        let sealed = sealed(&list, 16);
        let mut bytes = sealed.bytes.clone();
        let length = if in_head { bytes.len().min(24) } else { bytes.len() };
        for (at, bit) in changes {
            bytes[at.index(length)] ^= 1 << bit;
        }
        if let Some(again) = again(&bytes) {
            prop_assert_eq!(&again, &bytes);
        }
        if bytes != sealed.bytes {
            prop_assert!(check(&bytes, &sealed.credited.claim).is_err(), "changed bytes counted");
        }
    }

    #[test]
    fn refused_item_leaves_the_batch_as_it_was(raw in raw(), at in any::<prop::sample::Index>()) {
        let list: Vec<Item> = items(&raw).iter().map(|(item, _)| *item).collect();
        prop_assume!(items(&raw).iter().any(|(_, cost)| *cost > 0));
        let at = at.index(list.len());
        let mut builder = Builder::new(&channel(0), &open_lanes(0), size(16)).unwrap();
        for (place, item) in list.iter().enumerate() {
            builder.push(item).unwrap();
            if place == at {
                let before = (builder.items(), builder.total());
                let unknown = Item { lane: lane(9), ..*item };
                let (free, next) = (Charge::Amount(Msat::MAX), id(item.id.to_u64() + 1));
                let too_much = Item { id: next, charge: free, hash: None, ..*item };
                for wrong in [*item, unknown, too_much] {
                    // All money is too much only once something was paid.
                    if wrong != too_much || before.1 > Msat::ZERO {
                        let refused = builder.push(&wrong);
                        prop_assert!(refused.is_err());
                    }
                }
                prop_assert_eq!((builder.items(), builder.total()), before);
            }
        }
        prop_assert_eq!(builder.seal().unwrap(), sealed(&list, 16));
    }
}

#[test]
fn batch_cut_short_or_with_more_bytes_is_refused() {
    let mut list: Vec<Item> = (1..=700).map(|n| amount(n, n * n % 1_001)).collect();
    list[600].hash = Some([3; 32]);
    let sealed = sealed(&list, 16);
    let claim = sealed.credited.claim;
    assert!(check(&sealed.bytes, &claim).is_ok());
    for end in 0..sealed.bytes.len() {
        assert!(check(&sealed.bytes[..end], &claim).is_err(), "{end} bytes");
    }
    let longer = [&sealed.bytes[..], &[0]].concat();
    assert_eq!(check(&longer, &claim).unwrap_err(), BatchError::Trailing { bytes: 1 });
}

#[test]
fn stretches_of_any_kind_have_the_same_leaves_one_by_one() {
    // The path of a receipt is built by another way through the code than the root.
    for leaf_size in [1, 3, 16, 64] {
        let mut list: Vec<Item> = (1..=150).map(|n| amount(n, n << (n % 40))).collect();
        list.extend((151..=300).map(|n| metered(n, n << (n % 40), (2, 3))));
        list[77].hash = Some([1; 32]);
        list[277].hash = Some([2; 32]);
        let sealed = sealed(&list, leaf_size);
        let batch = Batch::parse(&sealed.bytes).unwrap();
        for at in [0, 63, 77, 150, 277, 299] {
            assert_eq!(batch.prove(at).unwrap().root.hash, sealed.credited.claim.root, "{at}");
        }
    }
}
