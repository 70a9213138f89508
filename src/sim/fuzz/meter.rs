//! Tariffs, statements and sessions against any bytes of a peer or a disk.

use crate::meter::tariff::Tariff;
use crate::meter::{Input, MeterError, Record, Session, State, Statement};
use crate::units::{Msat, Quantity, Seconds, UtcSeconds};

/// Reads `data` as a tariff, as a statement and as the record of a session; then as a session with
/// its tariff, and plays what is left of the bytes on it.
///
/// | bytes of the session | what |
/// | --- | --- |
/// | 167 | the record; the tariff's hash in it is set right |
/// | 2 | length of the tariff, big-endian |
/// | as many | the tariff |
/// | 11 each | input: kind, seconds since the last stamp (2), amount (8) |
///
/// # Panics
/// If a document has a second encoding, or a session breaks its invariants.
pub fn meter(data: &[u8]) {
    documents(data);
    if let Some((session, inputs)) = session(data) {
        story(session, inputs);
    }
}

fn documents(data: &[u8]) {
    if let Ok(tariff) = Tariff::parse(data) {
        assert_eq!(tariff.encode(), data, "{tariff:?} has a second encoding");
    }
    if let Ok(statement) = Statement::decode(data) {
        assert_eq!(statement.encode().as_slice(), data, "{statement:?} has a second encoding");
    }
    if let Ok(record) = Record::decode(data) {
        assert_eq!(record.encode().as_slice(), data, "{record:?} has a second encoding");
    }
}

/// A session and the bytes behind it.
fn session(data: &[u8]) -> Option<(Session, &[u8])> {
    let (record, rest) = data.split_first_chunk::<{ Record::LENGTH }>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (tariff, inputs) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    let tariff = Tariff::parse(tariff).ok()?;
    let mut record = *record;
    // Where the hash stands; a fuzzer would not come by the right one itself.
    record.get_mut(55..87)?.copy_from_slice(&tariff.hash().0);
    let record = Record::decode(&record).ok()?;
    Some((Session::restore(&record, tariff).ok()?, inputs))
}

fn story(mut session: Session, inputs: &[u8]) {
    for chunk in inputs.chunks_exact(11) {
        let Some((input, now)) = input(&session, chunk) else { return };
        if let Ok(step) = session.decide(now, input) {
            let applied = session.apply(&step.record);
            assert_eq!(applied, Ok(()), "{input:?}");
        }
        assert_eq!(session.check_invariants(), Ok(()), "{input:?}");
        let record = session.record();
        assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(record), "{input:?}");
    }
    if session.record().state() == State::Ended {
        let Ok(statement) = session.statement([7; 32], 0) else { return };
        assert_eq!(Statement::decode(&statement.encode()).as_ref(), Ok(&statement));
        // M8: the own statement checks, unless more was paid than the prepayment allows. A buyer
        // refuses that (`PrepayExceeded`); a seller counts what it is told, and the node tells it
        // of no more than is due.
        let ahead = statement.paid.saturating_sub(statement.owed);
        let prepay = session.record().window().prepay;
        let wanted = if ahead > prepay {
            Err(MeterError::StatementDiffers {
                field: "ahead",
                got: ahead.to_msat(),
                own: prepay.to_msat(),
            })
        } else {
            Ok(())
        };
        assert_eq!(session.check_statement(&statement, [7; 32], 0), wanted);
    }
}

/// An input near where the session stands, or anywhere, and the own clock.
fn input(session: &Session, chunk: &[u8]) -> Option<(Input, UtcSeconds)> {
    let (kind, rest) = chunk.split_first()?;
    let (seconds, amount) = rest.split_first_chunk::<2>()?;
    let amount = u64::from_be_bytes(*amount.first_chunk::<8>()?);
    let seconds = Seconds::new(u16::from_be_bytes(*seconds).into()).ok()?;
    let record = session.record();
    let anywhere = kind & 0x80 != 0;
    let at = match UtcSeconds::new(amount) {
        Ok(at) if anywhere && kind & 0x40 != 0 => at,
        _ => record.at().saturating_after(seconds),
    };
    let step = if anywhere { amount } else { amount & 0xffff };
    let total = record.quantity().to_u64().max(record.measured().to_u64());
    let total = Quantity::new(total.saturating_add(step)).ok()?;
    let paid = Msat::new(record.paid().to_msat().saturating_add(step)).ok()?;
    let input = match kind & 7 {
        0 => Input::Start { at, tariff: session.tariff().hash() },
        1 | 2 => Input::Meter { total },
        3 => Input::Claim { at, total, idle: record.idle() },
        4 => {
            Input::Claim { at, total: record.quantity(), idle: record.idle().checked_add(seconds)? }
        }
        5 => Input::Paid { total: if anywhere { paid } else { session.owed() } },
        6 => Input::Change { at, tariff: session.tariff().hash() },
        _ => Input::End { at },
    };
    Some((input, at))
}
