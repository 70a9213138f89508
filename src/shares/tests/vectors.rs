//! Headers that Bitcoin's chain has, and bytes that never change.

use super::*;

fn reversed<const N: usize>(hex: &str) -> [u8; N] {
    let mut bytes: [u8; N] = hex::FromHex::from_hex(hex).unwrap();
    bytes.reverse();
    bytes
}

#[test]
fn genesis_is_a_block_and_one_nonce_beside_it_is_low() {
    let head = Head {
        version: 1,
        version_mask: 0,
        previous: [0; 32],
        bits: 0x1d00_ffff,
        min_time: 1_231_006_505,
        start: 1_231_006_505,
        roll_max: Seconds::MIN,
    };
    let root = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b";
    let job = Arc::new(PoolJob::header_only(head, reversed(root)).unwrap());
    let now = utc(1_231_006_505);
    let mut desk = Desk::new(Space::new(&[]).unwrap(), policy(), [0; 32], now);
    // A target below the network's is not assigned.
    assert_eq!(desk.assign(id(1), job, bits(60)), Ok(Target::DIFFICULTY_ONE));
    let share =
        Share { job: id(1), extranonce: 0, version: 1, time: 1_231_006_505, nonce: 2_083_236_893 };
    let good = desk.check(now, &share).unwrap();
    let hash = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
    assert_eq!(*good.hash(), reversed(hash));
    assert!(good.is_block());
    assert_eq!(good.work(), Work::new(0x1_0001_0001));
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).header;
    assert_eq!(desk.header(&good).unwrap()[..], bitcoin::consensus::serialize(&genesis));
    let beside = Share { nonce: share.nonce + 1, ..share };
    assert!(matches!(refused(&desk, now, &beside), Refused::Low { .. }));
}

#[test]
fn share_is_24_bytes_in_the_order_of_its_table() {
    let share = Share {
        job: id(0x0102_0304),
        extranonce: 0x0506_0708_090a_0b0c,
        version: 0x0d0e_0f10,
        time: 0x1112_1314,
        nonce: 0x1516_1718,
    };
    let bytes: [u8; Share::LENGTH] = core::array::from_fn(|at| u8::try_from(at + 1).unwrap());
    assert_eq!(share.encode(), bytes);
    assert_eq!(Share::decode(&bytes), share);
}

#[test]
fn root_of_a_coinbase_is_the_one_of_the_bitcoin_crate_at_every_place_of_the_hole() {
    use bitcoin::hashes::{Hash, HashEngine, sha256d};
    let space = Space::new(&[0xaa; 5]).unwrap();
    for length in 0..200 {
        let (prefix, suffix) = (alloc::vec![1; length], alloc::vec![2; 130 - length % 130]);
        let branches = [[3; 32], [4; 32]];
        let coinbase = Coinbase {
            prefix: &prefix,
            suffix: &suffix,
            space_size: 5,
            extranonce_size: 3,
            branches: &branches,
        };
        let job = PoolJob::with_coinbase(head(0), &coinbase).unwrap();
        let text = [&prefix[..], &[0xaa; 5], &[0x01, 0x02, 0x03], &suffix].concat();
        let leaf = sha256d::Hash::hash(&text).to_byte_array();
        let root = branches.iter().fold(leaf, |left, right| {
            let mut engine = sha256d::Hash::engine();
            engine.input(&left);
            engine.input(right);
            sha256d::Hash::from_engine(engine).to_byte_array()
        });
        assert_eq!(job.root(&space, 0x01_0203), Some(root), "{length}");
    }
}
