//! Lanes: totals, limits, closing, the record.

use super::*;
use crate::batch::lanes::LanesError;

#[test]
fn lane_is_drained_but_never_overdrawn() {
    let mut lanes = Lanes::new(Msat::ZERO);
    lanes.open(lane(0), msat(1_000)).unwrap();
    lanes.open(lane(1), msat(500)).unwrap();
    let other = |number, value| Item { lane: lane(1), ..amount(number, value) };
    let mut builder = Builder::new(&channel(0), &lanes, size(1)).unwrap();
    builder.push(&amount(1, 600)).unwrap();
    builder.push(&other(1, 500)).unwrap();
    let error = |number, by| Err(ItemError::Overdrawn { lane: lane(number), by: msat(by) });
    assert_eq!(builder.push(&amount(2, 401)), error(0, 1));
    assert_eq!(builder.push(&other(2, 1)), error(1, 1));
    builder.push(&amount(2, 400)).unwrap();
    builder.push(&amount(3, 0)).unwrap();
    assert_eq!(builder.push(&amount(4, 1)), error(0, 1));
    let sealed = builder.seal().unwrap();
    let after = &sealed.credited.lanes;
    assert_eq!(after.state(lane(0)).unwrap().total, msat(1_000));
    assert_eq!(after.paid(), Ok(msat(1_500)));
    // The payee's limit counts, not the payer's.
    let mut narrow = lanes.clone();
    narrow.set_limit(lane(0), msat(999)).unwrap();
    let batch = Batch::parse(&sealed.bytes).unwrap();
    let refused = batch.check(&channel(0), &narrow, &sealed.credited.claim, |_, _| {});
    let error = ItemError::Overdrawn { lane: lane(0), by: msat(1) };
    assert_eq!(refused, Err(BatchError::Item { at: 2, error }));
}

#[test]
fn sum_of_the_lanes_is_what_the_channel_paid() {
    let stands = channel(5_000);
    let differ = BatchError::Lanes(LanesError::SumDiffers);
    for paid in [4_999, 5_001] {
        let lanes = open_lanes(paid);
        assert_eq!(Builder::new(&stands, &lanes, size(1)).err(), Some(differ));
    }
    let mut lanes = open_lanes(4_999);
    lanes.pay_plain(msat(1)).unwrap();
    assert!(Builder::new(&stands, &lanes, size(1)).is_ok());
    let before = lanes.clone();
    assert_eq!(lanes.pay_plain(Msat::MAX), Err(LanesError::SumDiffers));
    assert_eq!(lanes, before);
    let sealed = sealed(&[amount(1, 1)], 1);
    let batch = Batch::parse(&sealed.bytes).unwrap();
    let claim = sealed.credited.claim;
    assert_eq!(batch.check(&stands, &open_lanes(1), &claim, |_, _| {}), Err(differ));
}

#[test]
fn lanes_open_close_and_move_their_limits() {
    let mut lanes = open_lanes(0);
    assert_eq!(lanes.open(lane(1), Msat::MAX), Err(LanesError::Open { lane: lane(1) }));
    assert_eq!(lanes.close(lane(9)), Err(LanesError::NotOpen { lane: lane(9) }));
    assert_eq!(lanes.set_limit(lane(9), Msat::MAX), Err(LanesError::NotOpen { lane: lane(9) }));
    let sealed = sealed(&[amount(7, 100)], 1);
    let mut paid = sealed.credited.lanes.clone();
    let (limit, total) = (msat(99), msat(100));
    let below = LanesError::BelowTotal { lane: lane(0), limit, total };
    assert_eq!(paid.set_limit(lane(0), limit), Err(below));
    paid.set_limit(lane(0), total).unwrap();
    assert_eq!(paid.close(lane(0)), Ok(total));
    assert_eq!(paid.paid(), Ok(total));
    assert_eq!(paid.state(lane(0)), None);
    // Every lane that opens from now on is above its ids.
    paid.open(lane(5), Msat::MAX).unwrap();
    assert_eq!(paid.state(lane(5)).unwrap().last, Some(id(7)));
    assert_eq!(paid.iter().map(|(lane, _)| lane.to_u16()).collect::<Vec<_>>(), [1, 2, 5, 300]);
    // 64 at once.
    for number in 1_000..1_060 {
        paid.open(lane(number), Msat::MAX).unwrap();
    }
    assert_eq!(paid.open(lane(2_000), Msat::MAX), Err(LanesError::TooMany { max: 64 }));
    assert_eq!(paid.encode().len(), 1_682);
    assert_eq!(Lanes::decode(&paid.encode()), Ok(paid));
}

#[test]
fn record_of_lanes_is_read_as_written_and_in_no_other_form() {
    let lanes = sealed(&[amount(7, 100)], 1).credited.lanes;
    let bytes = lanes.encode();
    assert_eq!(Lanes::decode(&bytes).as_ref(), Ok(&lanes));
    for end in 0..bytes.len() {
        assert_eq!(Lanes::decode(&bytes[..end]), Err(LanesError::Malformed));
    }
    assert_eq!(Lanes::decode(&[&bytes[..], &[0]].concat()), Err(LanesError::Malformed));
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = Lanes::decode(&changed) {
            assert_ne!(other, lanes);
            assert_eq!(other.encode(), changed);
        }
    }
    // Version, order of lanes, a total above its limit or all money.
    let change = |at: usize, to: &[u8]| {
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to);
        Lanes::decode(&changed)
    };
    assert_eq!(change(0, &[2]), Err(LanesError::Malformed));
    assert_eq!(change(18, &[0, 1]), Err(LanesError::Malformed));
    assert_eq!(change(28 + 8, &[0; 8]), Err(LanesError::Malformed));
    let all = Msat::MAX.to_msat().to_be_bytes();
    assert_eq!(change(1, &all), Err(LanesError::SumDiffers));
}
