//! Stored records against any bytes: reading never panics, and what is read is written the same.

use crate::meter::tariff::Tariff;
use crate::meter::{Record, Statement};
use crate::store::{Key, envelope};
use crate::stream::payee::PayeeRecord;
use crate::stream::payer::PayerRecord;

/// The format that all records have so far.
const VERSION: u8 = 1;

/// Reads `data` as each kind of record: bare, and sealed under the key that it would have.
///
/// # Panics
/// If a record is read from bytes that it is not written as.
pub fn records(data: &[u8]) {
    let (key, body) = data.split_at(data.len().min(37));
    let Ok(key) = Key::new(key) else { return };
    // Behind a right checksum, where a fuzzer would not come by itself.
    for bytes in [envelope::seal(&key, VERSION, body), body.to_vec()] {
        if let Ok(record) = PayeeRecord::decode(&key, &bytes) {
            assert_eq!(record.encode().ok(), Some(bytes.clone()), "{record:?}");
        }
        if let Ok(record) = PayerRecord::decode(&key, &bytes) {
            let again = record.encode().ok();
            let again = again.and_then(|again| PayerRecord::decode(&key, &again).ok());
            assert_eq!(again, Some(record));
        }
        if let Ok(opened) = envelope::open(&key, VERSION, &bytes) {
            assert_eq!(envelope::seal(&key, VERSION, opened), bytes);
        }
    }
    if let Ok(record) = Record::decode(data) {
        assert_eq!(record.encode().as_slice(), data, "{record:?}");
    }
    if let Ok(statement) = Statement::decode(data) {
        assert_eq!(statement.encode().as_slice(), data, "{statement:?}");
    }
    if let Ok(tariff) = Tariff::parse(data) {
        assert_eq!(tariff.encode(), data, "{tariff:?}");
    }
}
