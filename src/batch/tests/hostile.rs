//! Encodings that a hostile peer makes: overlong, out of range, larger than their bytes.

use super::*;
use crate::batch::receipt::{Receipt, ReceiptError};
use crate::merkle::MerkleError;
use crate::units::Overflow;
use bitcoin::secp256k1::constants::GENERATOR_X;

/// The parts of a receipt as bytes, each of which a test may set to anything.
#[derive(Clone)]
struct Raw {
    paid: Vec<u8>,
    payee: [u8; 32],
    items: Vec<u8>,
    leaf_size: u8,
    total: Vec<u8>,
    index: Vec<u8>,
    place: u8,
    length: Vec<u8>,
    leaf: Vec<u8>,
    path: Vec<u8>,
}

fn number(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint::put(value, &mut out);
    out
}

/// One item of `value` in lane 0.
fn leaf(value: u8) -> Vec<u8> {
    vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, value]
}

impl Raw {
    /// A batch of one item of 7 msat; its root is left zero, so that it is read to the end and
    /// refused only there.
    fn one() -> Self {
        Self {
            paid: number(7),
            payee: GENERATOR_X,
            items: number(1),
            leaf_size: 1,
            total: number(7),
            index: number(0),
            place: 0,
            length: number(13),
            leaf: leaf(7),
            path: Vec::new(),
        }
    }

    fn refused(&self) -> ReceiptError {
        let leaf_size = [self.leaf_size];
        let place = [self.place];
        let parts: [&[u8]; 15] = [
            &[1],
            &[7; 36],
            &self.paid,
            &[0; 32],
            &[0; 32],
            &self.payee,
            &[1; 64],
            &self.items,
            &leaf_size,
            &self.total,
            &self.index,
            &place,
            &self.length,
            &self.leaf,
            &self.path,
        ];
        Receipt::decode(&parts.concat()).unwrap_err()
    }
}

fn form(error: BatchError) -> ReceiptError {
    ReceiptError::Form(error)
}

#[test]
fn receipt_is_read_to_its_root_before_it_is_refused() {
    assert_eq!(Raw::one().refused(), ReceiptError::RootDiffers);
}

#[test]
fn receipt_that_says_more_than_its_bytes_is_refused() {
    let one = Raw::one();
    let truncated = form(BatchError::Truncated);
    for length in [14, 1 << 20, u64::MAX] {
        assert_eq!(Raw { length: number(length), ..one.clone() }.refused(), truncated);
    }
    // A million items without their path, and with a step too many.
    let million = Raw { items: number(1 << 20), ..one.clone() };
    assert_eq!(million.refused(), truncated);
    let longer = Raw { path: vec![0; 33], ..one.clone() };
    assert_eq!(longer.refused(), form(BatchError::Trailing { bytes: 33 }));
    // More items than a batch has, or none.
    for got in [0, (1 << 20) + 1, u32::MAX] {
        let refused = Raw { items: number(got.into()), ..one.clone() }.refused();
        assert_eq!(refused, form(BatchError::Tree(MerkleError::Items { got })));
    }
    let wide = Raw { items: number(1 << 32), ..one }.refused();
    assert_eq!(wide, form(BatchError::Range { what: "items" }));
}

#[test]
fn receipt_with_a_number_out_of_range_is_refused() {
    let one = Raw::one();
    let range = |what| form(BatchError::Range { what });
    let above = number(Msat::MAX.to_msat() + 1);
    assert_eq!(Raw { paid: above.clone(), ..one.clone() }.refused(), range("amount"));
    assert_eq!(Raw { total: above, ..one.clone() }.refused(), range("amount"));
    assert_eq!(Raw { index: number(1), ..one.clone() }.refused(), range("leaf"));
    assert_eq!(Raw { payee: [0xff; 32], ..one.clone() }.refused(), range("payee key"));
    for got in [0, 65, 255] {
        let refused = Raw { leaf_size: got, ..one.clone() }.refused();
        assert_eq!(refused, form(BatchError::LeafSize { got }));
    }
    // Place 1 of a leaf of one; a place without its parity.
    let beyond = Raw { place: 0x81, ..one.clone() }.refused();
    assert_eq!(beyond, form(BatchError::NoItem { at: 1 }));
    let bare = Raw { place: 1, ..one }.refused();
    assert_eq!(bare, form(BatchError::NotMinimal { what: "place" }));
}

#[test]
fn receipt_in_a_longer_form_is_refused() {
    let one = Raw::one();
    let overlong = form(BatchError::NotMinimal { what: "number" });
    assert_eq!(Raw { paid: vec![0x87, 0], ..one.clone() }.refused(), overlong);
    assert_eq!(Raw { items: vec![0x81, 0x80, 0], ..one.clone() }.refused(), overlong);
    assert_eq!(Raw { total: vec![0xff; 11], ..one.clone() }.refused(), overlong);
    // The leaf's only item in two bytes, in two stretches, or none at all.
    let minimal = form(BatchError::NotMinimal { what: "leaf" });
    let mut wide = leaf(0);
    wide[0] = 1;
    wide.push(7);
    let wide = Raw { length: number(14), leaf: wide, ..one.clone() };
    assert_eq!(wide.refused(), minimal);
    let mut second = leaf(7);
    second[11] = 2;
    let leaf = [leaf(7), second].concat();
    let split = Raw { items: number(2), leaf_size: 2, length: number(26), leaf, ..one.clone() };
    assert_eq!(split.refused(), minimal);
    let empty = Raw { length: number(0), leaf: Vec::new(), ..one };
    assert_eq!(empty.refused(), minimal);
}

#[test]
fn receipt_whose_sums_overflow_or_differ_is_refused() {
    let one = Raw::one();
    let step = |sum: u64| [vec![0; 32], number(sum)].concat();
    let two = Raw { items: number(2), ..one.clone() };
    let all = Raw { path: step(Msat::MAX.to_msat()), ..two.clone() };
    let overflow = MerkleError::Overflow(Overflow { unit: "Msat" });
    assert_eq!(all.refused(), ReceiptError::Path(overflow));
    let differs = Raw { path: step(5), ..two.clone() };
    let (got, stated) = (msat(12), msat(7));
    assert_eq!(differs.refused(), ReceiptError::TotalDiffers { got, stated });
    let right = Raw { path: step(5), total: number(12), ..two };
    assert_eq!(right.refused(), ReceiptError::RootDiffers);
    // The leaf's own sum: two items of all money.
    let mut leaf = vec![3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    leaf.extend(Msat::MAX.to_msat().to_be_bytes().repeat(2));
    let length = number(28);
    let sums = Raw { items: number(2), leaf_size: 2, length, leaf, ..one };
    assert_eq!(sums.refused(), form(BatchError::Range { what: "sum of the leaf" }));
}

#[test]
fn hashes_that_do_not_fit_their_items_are_refused() {
    let hash = [9; 32];
    let batch = |hashed: &[u8], places: &[u8], hashes: &[[u8; 32]]| {
        // Three items of 5 msat.
        let mut bytes = vec![0x18, 1, 3, 0, 1];
        bytes.extend(hashed);
        bytes.extend([0, 5]);
        bytes.extend(places);
        bytes.extend(hashes.concat());
        Batch::parse(&bytes).and_then(|batch| batch.visit(|_, _| {}))
    };
    assert_eq!(batch(&[1], &[0, 2], &[hash]), Ok(()));
    let beyond = BatchError::Range { what: "place of a hash" };
    assert_eq!(batch(&[1], &[0, 3], &[hash]), Err(beyond));
    assert_eq!(batch(&[2], &[0, 2], &[hash; 2]), Err(beyond));
    assert_eq!(batch(&[2], &[0, 0], &[hash]), Err(BatchError::Truncated));
    let trailing = BatchError::Trailing { bytes: 32 };
    assert_eq!(batch(&[1], &[0, 0], &[hash; 2]), Err(trailing));
}
