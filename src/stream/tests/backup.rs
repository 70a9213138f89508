//! Tests of the backup: round trip, frozen bytes, other seeds and networks, every flipped bit.

use super::*;

/// The backup of `opening(Own)`, version 1.
const GOLDEN: &str = include_str!("../../../tests/vectors/stream_backup_v1.txt");

fn backup() -> Backup {
    opening(ChangeScript::Own, CAPACITY).funded(outpoint(1)).1
}

fn sealed() -> Vec<u8> {
    backup().seal(&seed(1).backup_key(Network::Regtest))
}

#[test]
fn backup_sealed_and_opened_is_the_same_and_rebuilds_the_script() {
    let bytes = sealed();
    assert_eq!(bytes.len(), Backup::BYTES);
    assert!(bytes.len() <= 160, "{}", bytes.len());
    let opened = Backup::open(&bytes, &seed(1), Network::Regtest).unwrap();
    assert_eq!(opened, backup());
    let output = opened.output(&Context::new(), &seed(1)).unwrap();
    assert_eq!(output.script(), opening(ChangeScript::Own, CAPACITY).script());
}

#[test]
fn backup_of_version_one_is_frozen() {
    let hex: alloc::string::String = hex::DisplayHex::to_lower_hex_string(&sealed()[..]);
    assert_eq!(GOLDEN.trim(), hex);
}

#[test]
fn backup_of_another_seed_is_refused() {
    let refused = Backup::open(&sealed(), &seed(2), Network::Regtest);
    assert_eq!(refused, Err(BackupError::NotAuthentic));
}

#[test]
fn backup_of_another_network_is_refused_with_both() {
    let refused = Backup::open(&sealed(), &seed(1), Network::Bitcoin);
    let (want, got) = (Network::Bitcoin, Network::Regtest);
    assert_eq!(refused, Err(BackupError::WrongNetwork { want, got }));
    // Its network byte changed to pass: the tag covers it.
    let mut bytes = sealed();
    bytes[1] = 0;
    let refused = Backup::open(&bytes, &seed(1), Network::Bitcoin);
    assert_eq!(refused, Err(BackupError::NotAuthentic));
}

#[test]
fn backup_with_any_bit_flipped_or_any_length_changed_is_refused() {
    let bytes = sealed();
    let open = |bytes: &[u8]| Backup::open(bytes, &seed(1), Network::Regtest);
    for bit in 0..bytes.len() * 8 {
        let mut other = bytes.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        let refused = open(&other).unwrap_err();
        match bit / 8 {
            0 => assert_eq!(refused, BackupError::UnknownVersion { got: other[0] }),
            1 => assert!(matches!(
                refused,
                BackupError::WrongNetwork { .. } | BackupError::Malformed { .. }
            )),
            _ => assert_eq!(refused, BackupError::NotAuthentic, "{bit}"),
        }
    }
    for got in 0..bytes.len() {
        assert_eq!(open(&bytes[..got]), Err(BackupError::Malformed { got }));
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(open(&longer), Err(BackupError::Malformed { got: 137 }));
}

#[test]
fn backup_shows_nothing_of_its_content() {
    let (bytes, backup) = (sealed(), backup());
    let txid = backup.outpoint.txid.to_byte_array();
    for secret in [&backup.base.serialize()[..8], &backup.terms[..8], &txid[..8]] {
        assert!(!bytes.windows(8).any(|window| window == secret));
    }
}
