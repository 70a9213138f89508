//! The border to the shim, and the only unsafe code here.
//!
//! `shim/judge.cpp` holds the other side. [`Node`] is the safe face of it: every pointer that it
//! passes is made from a live slice or array within the same call, and the node's own pointer lives
//! exactly as long as the `Node`. Used by `core` only.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int};
use std::ptr::NonNull;

// Links the static library that the shim's symbols come from.
use libbitcoinkernel_sys as _;

/// The longest text of one answer: a package of 25 transactions with a reason of 160 bytes each.
const TEXT_BYTES_MAX: usize = 4096;

/// What the shim answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Core agrees.
    Yes,
    /// Core refuses, for this reason.
    No(String),
    /// The judge itself failed: this is no verdict.
    Broken(String),
}

/// Core's view of its tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawTip {
    pub(crate) hash: [u8; 32],
    pub(crate) height: u32,
    pub(crate) time: u32,
}

#[repr(C)]
struct RawNode {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn judge_new(dir: *const c_char, reason: *mut c_char, cap: usize) -> *mut RawNode;
    fn judge_free(node: *mut RawNode);
    fn judge_mock_time(seconds: i64);
    fn judge_tip(
        node: *mut RawNode,
        hash32: *mut u8,
        height: *mut i32,
        time: *mut u32,
        reason: *mut c_char,
        cap: usize,
    ) -> c_int;
    fn judge_block(
        node: *mut RawNode,
        bytes: *const u8,
        len: usize,
        reason: *mut c_char,
        cap: usize,
    ) -> c_int;
    fn judge_block_test(
        node: *mut RawNode,
        bytes: *const u8,
        len: usize,
        reason: *mut c_char,
        cap: usize,
    ) -> c_int;
    fn judge_invalidate(
        node: *mut RawNode,
        hash32: *const u8,
        reason: *mut c_char,
        cap: usize,
    ) -> c_int;
    fn judge_tx(
        node: *mut RawNode,
        bytes: *const u8,
        len: usize,
        test_only: c_int,
        reason: *mut c_char,
        cap: usize,
    ) -> c_int;
    fn judge_package(
        node: *mut RawNode,
        bytes: *const u8,
        len: usize,
        count: usize,
        reason: *mut c_char,
        cap: usize,
    ) -> c_int;
    fn judge_mempool(node: *mut RawNode, ids: *mut u8, cap_ids: usize) -> usize;
}

/// One node of Core. Neither `Send` nor `Sync`: the pointer keeps it on the thread that made it.
#[derive(Debug)]
pub(crate) struct Node(NonNull<RawNode>);

impl Node {
    /// Makes a regtest node whose block files stand in `dir`; its databases are in memory.
    pub(crate) fn new(dir: &str) -> Result<Self, String> {
        let dir = CString::new(dir).map_err(|nul| nul.to_string())?;
        let mut text = Text::new();
        // SAFETY: `dir` ends with a zero byte and outlives the call; the buffer is writable for
        // its stated size. The shim catches every exception and keeps neither pointer.
        let node = unsafe { judge_new(dir.as_ptr(), text.pointer(), TEXT_BYTES_MAX) };
        NonNull::new(node).map(Self).ok_or_else(|| text.read())
    }

    /// Sets the clock that every node of this process sees.
    #[expect(clippy::unused_self, reason = "only who has the process's node may set its clock")]
    pub(crate) fn mock_time(&mut self, seconds: i64) {
        // SAFETY: no pointer; the shim stores the number in Core's atomic.
        unsafe { judge_mock_time(seconds) }
    }

    pub(crate) fn tip(&self) -> Result<RawTip, String> {
        let (mut hash, mut height, mut time) = ([0_u8; 32], 0_i32, 0_u32);
        let mut text = Text::new();
        // SAFETY: the node is alive until `drop`; the out pointers are of live locals of exactly
        // the types that the shim writes, 32 bytes for the hash.
        let code = unsafe {
            judge_tip(
                self.0.as_ptr(),
                hash.as_mut_ptr(),
                &raw mut height,
                &raw mut time,
                text.pointer(),
                TEXT_BYTES_MAX,
            )
        };
        match (text.answer(code), u32::try_from(height)) {
            (Answer::Yes, Ok(height)) => Ok(RawTip { hash, height, time }),
            (answer, _) => Err(format!("tip at {height}: {answer:?}")),
        }
    }

    pub(crate) fn block(&mut self, bytes: &[u8]) -> Answer {
        let mut text = Text::new();
        // SAFETY: the node is alive until `drop`; `bytes` is readable for its length, and the shim
        // copies what it needs before it returns.
        let code = unsafe {
            judge_block(
                self.0.as_ptr(),
                bytes.as_ptr(),
                bytes.len(),
                text.pointer(),
                TEXT_BYTES_MAX,
            )
        };
        text.answer(code)
    }

    pub(crate) fn block_test(&mut self, bytes: &[u8]) -> Answer {
        let mut text = Text::new();
        // SAFETY: as in `block`.
        let code = unsafe {
            judge_block_test(
                self.0.as_ptr(),
                bytes.as_ptr(),
                bytes.len(),
                text.pointer(),
                TEXT_BYTES_MAX,
            )
        };
        text.answer(code)
    }

    pub(crate) fn invalidate(&mut self, hash: &[u8; 32]) -> Answer {
        let mut text = Text::new();
        // SAFETY: the node is alive until `drop`; the shim reads exactly 32 bytes of `hash`.
        let code = unsafe {
            judge_invalidate(self.0.as_ptr(), hash.as_ptr(), text.pointer(), TEXT_BYTES_MAX)
        };
        text.answer(code)
    }

    pub(crate) fn tx(&mut self, bytes: &[u8], test_only: bool) -> Answer {
        let mut text = Text::new();
        // SAFETY: as in `block`.
        let code = unsafe {
            judge_tx(
                self.0.as_ptr(),
                bytes.as_ptr(),
                bytes.len(),
                c_int::from(test_only),
                text.pointer(),
                TEXT_BYTES_MAX,
            )
        };
        text.answer(code)
    }

    /// `bytes`: `count` transactions, one after another.
    pub(crate) fn package(&mut self, bytes: &[u8], count: usize) -> Answer {
        let mut text = Text::new();
        // SAFETY: as in `block`; a `count` that the bytes do not hold ends in an exception, which
        // the shim turns into `Broken`.
        let code = unsafe {
            judge_package(
                self.0.as_ptr(),
                bytes.as_ptr(),
                bytes.len(),
                count,
                text.pointer(),
                TEXT_BYTES_MAX,
            )
        };
        text.answer(code)
    }

    /// The transaction ids in the mempool, parents before children.
    pub(crate) fn mempool(&self) -> Vec<[u8; 32]> {
        let mut ids: Vec<[u8; 32]> = Vec::new();
        loop {
            // SAFETY: the node is alive until `drop`; `ids` is writable for 32 bytes times its
            // length, and the shim writes no more than that many ids.
            let count =
                unsafe { judge_mempool(self.0.as_ptr(), ids.as_mut_ptr().cast::<u8>(), ids.len()) };
            if count <= ids.len() {
                ids.truncate(count);
                return ids;
            }
            ids.resize(count, [0; 32]);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `judge_new`, is freed nowhere else, and is not used again.
        unsafe { judge_free(self.0.as_ptr()) }
    }
}

/// A buffer for the shim's text.
struct Text([u8; TEXT_BYTES_MAX]);

impl Text {
    fn new() -> Self {
        Self([0; TEXT_BYTES_MAX])
    }

    fn pointer(&mut self) -> *mut c_char {
        self.0.as_mut_ptr().cast()
    }

    fn read(&self) -> String {
        let until_zero = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(until_zero).into_owned()
    }

    fn answer(&self, code: c_int) -> Answer {
        match code {
            0 => Answer::Yes,
            1 => Answer::No(self.read()),
            _ => Answer::Broken(self.read()),
        }
    }
}
