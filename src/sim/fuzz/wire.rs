//! The wire against any bytes of a peer.

use crate::wire::{
    FrameReader, Message, Reader, TlvStream, WireError, put_bigsize, put_record, put_signed,
    put_truncated, write_frame,
};

/// Reads `data` as a message, as a TLV stream, as numbers, and as frames in two cuttings.
///
/// # Panics
/// If a message or number has a second encoding, if a TLV stream is not what it is written as, or
/// if frames depend on how the stream was cut.
pub fn wire(data: &[u8]) {
    one_message(data);
    tlv_stream(data);
    numbers(data);
    frames(data);
}

fn one_message(data: &[u8]) {
    let Ok(Some(message)) = Message::decode(data) else { return };
    let mut again = Vec::new();
    message.encode(&mut again);
    // Shorter where unknown odd records were left out, never longer.
    assert!(again.len() <= data.len(), "{message:?} grew");
    assert_eq!(Message::decode(&again).as_ref(), Ok(&Some(message.clone())));
    let mut frame = Vec::new();
    assert_eq!(write_frame(&message, &mut frame).is_ok(), again.len() <= 65_535);
}

fn tlv_stream(data: &[u8]) {
    let mut stream = TlvStream::new(data);
    let mut written = Vec::new();
    let ended = loop {
        match stream.next_record() {
            Ok(Some(record)) => put_record(record.kind(), record.value(), &mut written),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(data.starts_with(&written), "a record has a second encoding");
    assert!(!ended || written.len() == data.len(), "bytes of a stream were lost");
}

fn numbers(data: &[u8]) {
    let mut written = Vec::new();
    if let Ok(value) = Reader::new(data).bigsize() {
        put_bigsize(value, &mut written);
        assert!(data.starts_with(&written), "{value} has a second BigSize");
    }
    if let Ok(value) = Reader::new(data).truncated_number(8) {
        written.clear();
        put_truncated(value, &mut written);
        assert_eq!(data, written, "{value} has a second truncated form");
    }
    if let Ok(value) = Reader::new(data).signed() {
        written.clear();
        put_signed(value, &mut written);
        assert_eq!(data, written, "{value} has a second signed form");
    }
}

/// The messages of `data` when it arrives in chunks of at most `chunk` bytes, and the error that
/// ended them.
fn read_in_chunks(data: &[u8], chunk: usize) -> (Vec<Vec<u8>>, Option<WireError>) {
    let (mut reader, mut messages) = (FrameReader::new(), Vec::new());
    for mut input in data.chunks(chunk) {
        loop {
            match reader.read(&mut input) {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(input.is_empty(), "input was left over");
        assert!(reader.held_bytes() <= data.len(), "more is held than came");
    }
    (messages, None)
}

fn frames(data: &[u8]) {
    let whole = read_in_chunks(data, data.len().max(1));
    let chunk = data.first().map_or(1, |first| usize::from(*first % 16).saturating_add(1));
    assert_eq!(whole, read_in_chunks(data, chunk), "frames depend on the cutting");
}
