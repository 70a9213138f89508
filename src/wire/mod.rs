//! The wire: BOLT-1 framing, TLV streams and the messages of stream channels.
