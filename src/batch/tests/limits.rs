//! Each limit at its last good and its first bad value.

use super::*;
use crate::batch::item::Run;

/// The claim of any batch; the parse comes first.
fn any_claim(items: u32) -> Claim {
    Claim { start: Msat::ZERO, paid: msat(1), items, root: [0; 32] }
}

#[test]
fn constant_batch_is_a_few_bytes() {
    let list: Vec<Item> = (1..=100_000).map(|n| amount(n + 5_000_000, 1_000)).collect();
    let batch = sealed(&list, 16);
    // With 120 bytes of voucher, root and start below 135.
    assert_eq!(batch.bytes.len(), 13);
    let list: Vec<Item> = (1..=100_000).map(|n| metered(n, 22_000, (450_000, 3_600_000))).collect();
    assert_eq!(sealed(&list, 16).bytes.len(), 20);
}

#[test]
fn million_items_in_a_few_bytes_are_shown_one_by_one() {
    let mut builder = Builder::new(&channel(0), &open_lanes(0), size(64)).unwrap();
    for n in 1..=1_u64 << 20 {
        builder.push(&amount(n, 3)).unwrap();
    }
    let error = ItemError::Full { what: "items", max: 1 << 20 };
    assert_eq!(builder.push(&amount((1 << 20) + 1, 3)), Err(error));
    let sealed = builder.seal().unwrap();
    assert_eq!(sealed.bytes.len(), 9);
    let batch = Batch::parse(&sealed.bytes).unwrap();
    let (mut visits, claim) = (0_u64, sealed.credited.claim);
    let credited = batch.check(&channel(0), &open_lanes(0), &claim, |_, _| visits += 1).unwrap();
    assert_eq!((visits, credited), (1 << 20, sealed.credited.clone()));
    // One more than there may be is refused before anything is shown.
    let mut more = sealed.bytes.clone();
    more[2] = 0x81;
    let error = BatchError::TooManyItems { got: (1 << 20) + 1, max: 1 << 20 };
    assert_eq!(Batch::parse(&more).unwrap_err(), error);
}

#[test]
fn empty_batch_and_one_that_pays_nothing_are_refused() {
    let empty = Builder::new(&channel(0), &open_lanes(0), size(1)).unwrap().seal();
    assert_eq!(empty, Err(BatchError::Empty));
    assert_eq!(Batch::parse(&[0x10, 1, 0, 0, 1, 0, 1]).unwrap_err(), BatchError::Empty);
    let mut builder = Builder::new(&channel(0), &open_lanes(0), size(1)).unwrap();
    builder.push(&Item { hash: Some([9; 32]), ..amount(1, 0) }).unwrap();
    assert_eq!(builder.seal(), Err(BatchError::PaysNothing));
    let nothing = Claim { paid: Msat::ZERO, ..any_claim(1) };
    let refused = check(&[0x10, 1, 1, 0, 1, 0, 0], &nothing).unwrap_err();
    assert_eq!(refused, BatchError::PaysNothing);
    // Beside an item that pays, a document may cost nothing.
    let list = [Item { hash: Some([9; 32]), ..amount(1, 0) }, amount(2, 1)];
    let sealed = sealed(&list, 1);
    assert_eq!(check(&sealed.bytes, &sealed.credited.claim).unwrap().1[0].0, list[0]);
}

#[test]
fn leaf_size_is_one_to_sixty_four() {
    for (items, good) in [(0, false), (1, true), (64, true), (65, false)] {
        assert_eq!(LeafSize::new(items).is_ok(), good);
        let parsed = Batch::parse(&[0x10, items, 1, 0, 1, 0, 1]).map(|batch| batch.items());
        assert_eq!(parsed, if good { Ok(1) } else { Err(BatchError::LeafSize { got: items }) });
    }
}

#[test]
fn prices_are_at_most_sixty_four() {
    let mut builder = Builder::new(&channel(0), &open_lanes(0), size(1)).unwrap();
    for n in 1..=64 {
        builder.push(&metered(n, 1, (n, 1))).unwrap();
    }
    let error = ItemError::Full { what: "prices", max: 64 };
    assert_eq!(builder.push(&metered(65, 1, (65, 1))), Err(error));
    builder.push(&metered(65, 1, (64, 1))).unwrap();
    let sealed = builder.seal().unwrap();
    assert!(check(&sealed.bytes, &sealed.credited.claim).is_ok());
}

#[test]
fn head_in_any_other_form_is_refused() {
    let minimal = |what| BatchError::NotMinimal { what };
    let range = |what| BatchError::Range { what };
    let samples: &[(&[u8], BatchError)] = &[
        (&[], BatchError::Truncated),
        (&[0x20, 1, 1, 0, 1, 0, 1], BatchError::UnknownVersion { got: 0x20 }),
        (&[0x30, 1, 1, 0, 1, 0, 1], BatchError::UnknownVersion { got: 0x30 }),
        // Gaps, where one item has none; and gaps that are all none.
        (&[0x11, 1, 1, 0, 1, 0, 0, 0, 1], minimal("gaps")),
        (&[0x11, 1, 2, 0, 1, 0, 0, 0, 1], minimal("gaps")),
        // Several lanes that are one, too many, or twice the same.
        (&[0x12, 1, 2, 1, 0, 1, 0, 0, 0, 1], range("lanes")),
        (&[0x12, 1, 2, 65, 0, 1, 0, 0, 0, 1], range("lanes")),
        (&[0x12, 1, 2, 2, 0, 1, 0, 1, 2, 0, 0, 1], minimal("lanes")),
        // An item 0.
        (&[0x10, 1, 1, 0, 0, 0, 1], range("item id")),
        // Prices: none, twice the same, per 0, more bare items than there are.
        (&[0x14, 1, 1, 0, 1, 0, 0, 0, 1], range("prices")),
        (&[0x14, 1, 2, 0, 1, 2, 5, 1, 5, 1, 0, 0, 1], minimal("prices")),
        (&[0x14, 1, 1, 0, 1, 1, 5, 0, 0, 0, 1], range("price")),
        (&[0x14, 1, 2, 0, 1, 1, 5, 1, 2, 0, 1, 0, 1], range("items without a price")),
        // Hashes: none, more than items.
        (&[0x18, 1, 1, 0, 1, 0, 0, 1, 0, 0], range("hashes")),
        (&[0x18, 1, 1, 0, 1, 2, 0, 1, 0, 0], range("hashes")),
        (&[0x10, 1, 1, 0, 1, 0, 1, 9], BatchError::Trailing { bytes: 1 }),
        (&[0x10, 1, 0x81, 0, 0, 1, 0, 1], minimal("number")),
    ];
    for (bytes, error) in samples {
        assert_eq!(Batch::parse(bytes).unwrap_err(), *error, "{bytes:?}");
    }
    // What only the columns show: a lane or a price of the table that no item uses.
    let unused: &[(&[u8], BatchError)] = &[
        (&[0x12, 1, 2, 2, 0, 1, 1, 1, 0, 0, 0, 1], BatchError::Miscounted),
        (&[0x12, 1, 3, 2, 0, 1, 1, 1, 0, 0, 0, 1], BatchError::Miscounted),
        (&[0x12, 1, 2, 2, 0, 1, 1, 1, 0, 1, 0, 1], minimal("lanes")),
        (&[0x14, 1, 2, 0, 1, 2, 5, 1, 6, 1, 0, 0, 1, 0, 1], minimal("prices")),
        // Count zero.
        (
            &[0x14, 1, 1, 0, 1, 1, 5, 1, 0, 0, 0],
            BatchError::Item { at: 0, error: ItemError::ZeroCount },
        ),
    ];
    for (bytes, error) in unused {
        let mut visits = 0;
        let visited = Batch::parse(bytes).unwrap().visit(|_, _| visits += 1);
        assert_eq!(visited.unwrap_err(), *error, "{bytes:?}");
    }
}

#[test]
fn last_id_of_all_ends_a_lane() {
    let last = sealed(&[amount(u64::MAX - 1, 1), amount(u64::MAX, 1)], 64);
    let (credited, _) = check(&last.bytes, &last.credited.claim).unwrap();
    let mut builder = Builder::new(&channel(2), &credited.lanes, size(1)).unwrap();
    assert!(matches!(builder.push(&amount(1, 1)), Err(ItemError::NotRising { .. })));
    // Bytes that go on behind it.
    let mut bytes = last.bytes;
    bytes[2] = 3;
    let batch = Batch::parse(&bytes).unwrap();
    let range = BatchError::Range { what: "item id" };
    assert_eq!(batch.visit(|_, _| {}), Err(range));
}

#[test]
fn amount_is_the_price_rounded_down_in_every_width() {
    for (count, price, want) in [
        (1, (1, 2), 0),
        (2, (1, 2), 1),
        (3, (1, 2), 1),
        (u64::MAX, (1, u64::MAX), 1),
        (u64::MAX, (2_000_000, u64::MAX), 2_000_000),
        (4_000_000_000, (3_000_000_000, 6), 2_000_000_000_000_000_000),
    ] {
        let item = metered(1, count, price);
        assert_eq!(item.charge.amount(), Ok(msat(want)));
        let Charge::Metered { count, price } = item.charge else { panic!("metered") };
        assert_eq!(price.floor_msat(count), Ok(msat(want)));
    }
    assert_eq!(metered(1, 0, (1, 1)).charge.amount(), Err(ItemError::ZeroCount));
}

#[test]
fn run_counts_up_to_its_cap_and_no_further() {
    for (amount, per, cap) in [(1, 1, 5), (1, 2, 3), (7, 3, 100), (450_000, 3_600_000, 2_750)] {
        let price = Price::new(msat(amount), per).unwrap();
        let mut run = Run::new(price, msat(cap));
        let one = Quantity::new(1).unwrap();
        while run.tick(one).is_ok() {}
        let Charge::Metered { count, .. } = run.charge() else { panic!("metered") };
        assert!(price.floor_msat(count).unwrap() <= msat(cap));
        let more = count.checked_add(one).unwrap();
        assert!(price.floor_msat(more).unwrap() > msat(cap), "{amount} / {per}");
    }
    // A free service has no end but the counter's.
    let mut free = Run::new(Price::new(Msat::ZERO, 1).unwrap(), Msat::ZERO);
    free.tick(Quantity::MAX).unwrap();
    assert!(free.tick(Quantity::new(1).unwrap()).is_err());
}
