//! Columns: round trips, the cheapest widths by brute force, and one encoding only.

use proptest::prelude::*;

use super::*;

fn written(values: &[u64]) -> Vec<u8> {
    let mut writer = ColumnWriter::default();
    for value in values {
        writer.push(*value);
    }
    let mut out = Vec::new();
    writer.finish(&mut out);
    out
}

fn read(bytes: &[u8], count: usize) -> Result<Vec<u64>, BatchError> {
    let mut from = bytes;
    let mut reader = Column::take(&mut from)?.read(u64::try_from(count).unwrap());
    let mut values = Vec::new();
    while values.len() < count {
        // By slices and by single numbers in turn.
        if values.len() % 3 == 0 {
            values.push(reader.next()?);
        } else {
            let range = reader.grab((count - values.len()).min(64))?;
            values.extend(reader.taken(range));
        }
    }
    reader.finish()?;
    if from.is_empty() { Ok(values) } else { Err(BatchError::Trailing { bytes: from.len() }) }
}

/// Values around several levels and widths, with a few far above.
fn values() -> impl Strategy<Value = Vec<u64>> {
    let value = (0_u32..=64, 0_u32..100, any::<u64>());
    (any::<u64>(), 0_u32..=64, 0_u32..=100, proptest::collection::vec(value, 1..1_200)).prop_map(
        |(base, common, often, raw)| {
            let narrow = |value: u64, bits: u32| value.checked_shr(64 - bits).unwrap_or(0);
            let base = narrow(base, common);
            let number = |(bits, chance, value)| {
                base.saturating_add(narrow(value, if chance < often { common } else { bits }))
            };
            raw.into_iter().map(number).collect()
        },
    )
}

/// Width and outliers of the cheapest shape, tried one by one; of equal ones the widest packing.
fn cheapest(block: &[u64]) -> (u8, bool) {
    let base = block.iter().min().unwrap();
    let bits = |value: &u64| 64 - (value - base).leading_zeros();
    let top = block.iter().map(bits).max().unwrap();
    let cost = |width: u32| {
        let outliers = block.iter().filter(|value| bits(value) > width).count();
        let each = usize::try_from(9 + top - width).unwrap();
        let packed = block.len() * usize::try_from(width).unwrap();
        packed + if outliers == 0 { 0 } else { 16 + outliers * each }
    };
    let width = (0..=top).rev().min_by_key(|width| cost(*width)).unwrap();
    (u8::try_from(width).unwrap(), width < top)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn column_is_read_as_it_was_written(values in values()) {
        prop_assert_eq!(read(&written(&values), values.len()), Ok(values));
    }

    #[test]
    fn block_takes_the_cheapest_width(values in values()) {
        for block in values.chunks(BLOCK) {
            let (width, outliers) = cheapest(block);
            let mut out = Vec::new();
            block::put(&mut block.to_vec(), &mut out);
            prop_assert_eq!(out[0], width | if outliers { 0x80 } else { 0 });
        }
    }

    #[test]
    fn column_that_is_read_from_changed_bytes_is_written_the_same(
        values in values(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
    ) {
        let mut bytes = written(&values);
        for (at, change) in changes {
            let at = at.index(bytes.len());
            bytes[at] ^= change;
        }
        if let Ok(changed) = read(&bytes, values.len()) {
            prop_assert_eq!(written(&changed), bytes);
        }
    }

    #[test]
    fn runs_and_slices_are_written_as_single_numbers_are(
        runs in proptest::collection::vec((0_u64..3, 0_usize..700), 1..6),
    ) {
        let (mut by_run, mut by_slice) = (ColumnWriter::default(), ColumnWriter::default());
        let mut values = Vec::new();
        for (value, times) in runs {
            by_run.push_run(value, times);
            by_slice.extend(&vec![value; times]);
            values.resize(values.len() + times, value);
        }
        let (mut runs, mut slices) = (Vec::new(), Vec::new());
        by_run.finish(&mut runs);
        by_slice.finish(&mut slices);
        prop_assert_eq!(&runs, &written(&values));
        prop_assert_eq!(&slices, &runs);
    }
}

#[test]
fn column_of_equal_numbers_is_one_number() {
    assert_eq!(written(&vec![7; 100_000]), [0, 7]);
    assert_eq!(read(&[0, 7], 100_000).unwrap().len(), 100_000);
    assert_eq!(written(&[u64::MAX]).len(), 11);
}

#[test]
fn equal_numbers_written_one_by_one_are_refused() {
    let mut bytes = Vec::new();
    block::put(&mut [7; 5], &mut bytes);
    assert_eq!(bytes, [0, 7]);
    let column = [&[2], &bytes[..]].concat();
    assert_eq!(read(&column, 5), Err(BatchError::NotMinimal { what: "column" }));
}

#[test]
fn column_with_a_number_or_byte_too_many_or_too_few_is_refused() {
    let values: Vec<u64> = (0..600).collect();
    let bytes = written(&values);
    assert!(read(&bytes, 601).is_err());
    assert!(read(&bytes, 599).is_err());
    for end in 0..bytes.len() {
        assert!(read(&bytes[..end], 600).is_err(), "{end}");
    }
    assert_eq!(read(&[&bytes[..], &[0]].concat(), 600), Err(BatchError::Trailing { bytes: 1 }));
}

#[test]
fn block_in_any_other_shape_is_refused() {
    let minimal = |what| Err(BatchError::NotMinimal { what });
    // 0, 1, 2, 3 as two bits each above a base of 4: 0xe4.
    assert_eq!(read(&[3, 2, 4, 0xe4], 4), Ok(vec![4, 5, 6, 7]));
    // Three bits each: 0, 1, 2, 3 = 0x688.
    assert_eq!(read(&[4, 3, 4, 0x88, 0x06], 4), minimal("width"));
    // A lower base: 1, 2, 3, 4 above 3.
    assert_eq!(read(&[4, 3, 3, 0xd1, 0x08], 4), minimal("base"));
    assert_eq!(read(&[3, 65, 4, 0xe4], 4), minimal("width"));
    // A number of 65 bits.
    let mut over = vec![12, 2];
    varint::put(u64::MAX - 2, &mut over);
    over.push(0xe4);
    over[0] = u8::try_from(over.len() - 1).unwrap();
    assert_eq!(read(&over, 4), Err(BatchError::Range { what: "number" }));
}

#[test]
fn outliers_in_any_other_form_are_refused() {
    // 64 numbers of one bit and one outlier of 40 bits at place 9.
    let mut values: Vec<u64> = (0..64).map(|n| n & 1).collect();
    values[9] = 1 << 39;
    let bytes = written(&values);
    // Length, width with mark, base, 8 bytes packed, one outlier, 39 bits high, 48 bits.
    assert_eq!(bytes[..3], [18, 0x81, 0]);
    assert_eq!(bytes[11..13], [1, 39]);
    assert_eq!(bytes.len(), 19);
    let minimal = |what| Err(BatchError::NotMinimal { what });
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        read(&bytes, 64)
    };
    assert_eq!(changed(11, 1), Ok(values));
    assert_eq!(changed(11, 0), minimal("outliers"));
    assert_eq!(changed(11, 65), minimal("outliers"));
    assert_eq!(changed(12, 0), minimal("outlier width"));
    assert_eq!(changed(12, 64), minimal("outlier width"));
    // Place 73 of 64.
    assert_eq!(changed(13, 73), minimal("outlier place"));
    // Without its highest bit nothing is left of it.
    assert_eq!(changed(18, 0), minimal("outlier"));
}

#[test]
fn bytes_a_number_are_near_the_entropy() {
    // xorshift64*, so that the sizes are the same everywhere.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let uniform: Vec<u64> = (0..100_000).map(|_| random(1_001)).collect();
    assert!(written(&uniform).len() < 125_500);
    let wide: Vec<u64> = (0..100_000).map(|_| random(1_000_001)).collect();
    assert!(written(&wide).len() < 250_700);
    let mut skewed = || if random(100) == 0 { random(1_000_001) } else { random(101) };
    let skewed: Vec<u64> = (0..100_000).map(|_| skewed()).collect();
    assert!(written(&skewed).len() < 92_000);
}
