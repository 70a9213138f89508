//! What a worker sends for a header that it found.

use crate::units::JobId;

/// A claim: this header, built from this job, meets the job's target.
///
/// | bytes | what, big-endian |
/// | --- | --- |
/// | 4 | the job |
/// | 8 | the extranonce, the worker's part |
/// | 4 | the version, whole |
/// | 4 | the time |
/// | 4 | the nonce |
///
/// The worker's channel is not in it, because it stands in the message: with a
/// [`ChannelAlias`](crate::units::ChannelAlias) it makes 28 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    /// The job as the desk numbered it.
    pub job: JobId,
    /// The worker's part of the coinbase: a big-endian number in as many bytes as the job has room
    /// for; zero where the root is fixed.
    pub extranonce: u64,
    /// The header's version, rolled bits included.
    pub version: u32,
    /// The header's time, in seconds since 1970.
    pub time: u32,
    /// The header's nonce.
    pub nonce: u32,
}

impl Share {
    /// Bytes of an encoded share.
    pub const LENGTH: usize = 24;

    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let (job, rest) = bytes.split_at_mut(4);
        let (extranonce, rest) = rest.split_at_mut(8);
        let (version, rest) = rest.split_at_mut(4);
        let (time, nonce) = rest.split_at_mut(4);
        job.copy_from_slice(&self.job.to_u32().to_be_bytes());
        extranonce.copy_from_slice(&self.extranonce.to_be_bytes());
        version.copy_from_slice(&self.version.to_be_bytes());
        time.copy_from_slice(&self.time.to_be_bytes());
        nonce.copy_from_slice(&self.nonce.to_be_bytes());
        bytes
    }

    /// Reads the bytes; every 24 of them are a share, and no two the same one.
    #[must_use]
    pub const fn decode(bytes: &[u8; Self::LENGTH]) -> Self {
        let [
            j0,
            j1,
            j2,
            j3, // job
            e0,
            e1,
            e2,
            e3,
            e4,
            e5,
            e6,
            e7, // extranonce
            v0,
            v1,
            v2,
            v3, // version
            t0,
            t1,
            t2,
            t3, // time
            n0,
            n1,
            n2,
            n3, // nonce
        ] = *bytes;
        let job = match JobId::new(u32::from_be_bytes([j0, j1, j2, j3])) {
            Ok(job) => job,
            // Every number is a job's.
            Err(_) => JobId::MAX,
        };
        Self {
            job,
            extranonce: u64::from_be_bytes([e0, e1, e2, e3, e4, e5, e6, e7]),
            version: u32::from_be_bytes([v0, v1, v2, v3]),
            time: u32::from_be_bytes([t0, t1, t2, t3]),
            nonce: u32::from_be_bytes([n0, n1, n2, n3]),
        }
    }
}
