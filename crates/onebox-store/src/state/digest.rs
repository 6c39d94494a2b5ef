//! What proves that two states are the same: an additive digest of all rows, and a chain over the writes in order.
//!
//! Both are defined byte by byte in FORMAT.md, section 'The base', because replicas and versions compare them. The digest
//! depends only on the rows that are there; the chain on every write that was ever made, entry by entry.

use std::fmt;

use xxhash_rust::xxh3::xxh3_128;

/// Sum, modulo 2^128, of the XXH3-128 of every row's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateDigest(pub u128);

/// The hash chain over the ordered row writes of every entry so far. It starts at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain(pub u128);

impl Chain {
    /// The chain after an entry whose writes have these hashes, 16 bytes each, little-endian, in order.
    pub(crate) fn after(self, write_hashes: &[u8]) -> Chain {
        let mut input = Vec::with_capacity(16 + write_hashes.len());
        input.extend_from_slice(&self.0.to_le_bytes());
        input.extend_from_slice(write_hashes);
        Chain(xxh3_128(&input))
    }
}

/// Digest and number of the rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    pub(crate) digest: StateDigest,
    pub(crate) rows: u64,
}

impl Sums {
    pub(crate) fn add(&mut self, row_hash: u128) {
        self.digest.0 = self.digest.0.wrapping_add(row_hash);
        self.rows += 1;
    }

    pub(crate) fn remove(&mut self, row_hash: u128) {
        self.digest.0 = self.digest.0.wrapping_sub(row_hash);
        self.rows = self.rows.checked_sub(1).expect("a row that is removed was counted");
    }
}

/// The longest key; the bit above it marks a removal.
const KEY_BYTES_MAX: u32 = (1 << 31) - 1;

/// What is hashed and checksummed of a row: the key's length (u32, little-endian), the key, the value.
pub(crate) fn row_image(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&key_len(key).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// The hash of a row. `scratch` is reused.
pub(crate) fn row_hash(key: &[u8], value: &[u8], scratch: &mut Vec<u8>) -> u128 {
    row_image(key, value, scratch);
    xxh3_128(scratch)
}

/// The hash of a row's removal: of its length with the highest bit set, and the key.
pub(crate) fn removal_hash(key: &[u8], scratch: &mut Vec<u8>) -> u128 {
    scratch.clear();
    scratch.extend_from_slice(&(key_len(key) | !KEY_BYTES_MAX).to_le_bytes());
    scratch.extend_from_slice(key);
    xxh3_128(scratch)
}

fn key_len(key: &[u8]) -> u32 {
    let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
    assert!(len <= KEY_BYTES_MAX, "a key of {} bytes is longer than any budget", key.len());
    len
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
