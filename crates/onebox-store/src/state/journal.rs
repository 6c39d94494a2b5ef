//! What it takes to take writes back: the journal of the open entry, and those of the sealed ones in flight.

use onebox_service::Bytes;

use super::digest::{Chain, Sums};
use super::generation::Slot;

/// A point in the open entry to which its writes can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a mark is for taking writes back"]
pub struct Mark {
    /// How many entries were sealed before.
    pub(crate) entry: u64,
    pub(crate) writes: usize,
}

/// One write, and what was before it.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) key: Bytes,
    /// What the generation held at the key: nothing, or a slot.
    pub(crate) before: Option<Slot>,
    pub(crate) after: Slot,
    pub(crate) sums_before: Sums,
}

/// The writes since the last seal.
#[derive(Debug, Default)]
pub(crate) struct OpenEntry {
    /// How many entries were sealed before.
    pub(crate) number: u64,
    /// Empty while replaying, when nothing is ever taken back.
    pub(crate) writes: Vec<Write>,
    /// The hash of every write, 16 bytes each.
    pub(crate) hashes: Vec<u8>,
}

impl OpenEntry {
    pub(crate) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    pub(crate) fn note(&mut self, write_hash: u128) {
        self.hashes.extend_from_slice(&write_hash.to_le_bytes());
    }

    /// Takes the newest write off.
    pub(crate) fn pop(&mut self) -> Option<Write> {
        let write = self.writes.pop()?;
        self.hashes.truncate(self.hashes.len() - 16);
        Some(write)
    }
}

/// A sealed entry that is not committed yet.
#[derive(Debug)]
pub(crate) struct SealedEntry {
    /// The generation that its writes are in.
    pub(crate) generation: u64,
    pub(crate) writes: Vec<Write>,
    pub(crate) chain_before: Chain,
    pub(crate) sums_before: Sums,
    pub(crate) chain: Chain,
    pub(crate) sums: Sums,
}
