//! What the log's tests share: batches from a seed, a model of what the log must hold, and the comparison of the two.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::sync::Arc;

use onebox_service::Fault;
use onebox_store::log::{Batch, HardState, LogEntry, LogOptions, LogReader, Opened, open};
use onebox_store::memory::MemoryDisk;
use onebox_store::{LogIndex, NodeId, Term};

pub const NODE: NodeId = NodeId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

pub fn options(segment_bytes: u64) -> LogOptions {
    LogOptions { segment_bytes, node: NODE }
}

pub fn open_all(disk: &MemoryDisk, segment_bytes: u64) -> Result<Opened, Fault> {
    open(Arc::new(disk.clone()), options(segment_bytes), LogIndex(0), Term(0), None)
}

/// Splitmix64.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// What the acknowledged batches add up to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    pub entries: Vec<LogEntry>,
    pub hard_state: HardState,
    pub membership: Option<Vec<u8>>,
}

impl Model {
    pub fn last(&self) -> LogIndex {
        LogIndex(self.entries.len() as u64)
    }

    pub fn term(&self, index: LogIndex) -> Term {
        index.0.checked_sub(1).map_or(Term(0), |at| self.entries[at as usize].term)
    }

    pub fn take(&mut self, batch: &Batch) {
        if let Some(first) = batch.entries.first() {
            self.entries.truncate(first.index.0 as usize - 1);
            self.entries.extend(batch.entries.iter().cloned());
        }
        self.hard_state = batch.hard_state.unwrap_or(self.hard_state);
        if batch.membership.is_some() {
            self.membership = batch.membership.clone();
        }
    }

    /// A batch that may come next: entries, truncations, state changes, markers.
    pub fn next_batch(&self, chance: &mut Chance, data_bytes_max: u64) -> Batch {
        let mut batch = Batch::default();
        if chance.one_in(8) {
            return batch;
        }
        let mut last = self.last();
        if !chance.one_in(5) {
            let commit = self.hard_state.commit.0;
            let first = if chance.one_in(6) { commit + 1 + chance.below(last.0 + 1 - commit) } else { last.0 + 1 };
            let term = Term(self.hard_state.term.0.max(self.term(last).0) + u64::from(chance.one_in(4)));
            for index in first..=first + chance.below(6) {
                let data = vec![chance.next() as u8; chance.below(data_bytes_max + 1) as usize];
                batch.entries.push(LogEntry { index: LogIndex(index), term, kind: chance.below(3) as u8, data });
                last = LogIndex(index);
            }
        }
        if chance.one_in(3) {
            let commit = self.hard_state.commit.0;
            let commit = LogIndex(commit + chance.below(last.0 + 1 - commit));
            batch.hard_state = Some(HardState { term: Term(self.hard_state.term.0 + 1), vote: chance.below(4), commit });
        }
        if chance.one_in(10) {
            batch.membership = Some(vec![chance.next() as u8; 1 + chance.below(90) as usize]);
        }
        batch
    }
}

/// Everything that an opened log holds, read in pieces of sizes drawn from `chance`.
pub fn held(opened: &mut Opened, chance: &mut Chance) -> Result<Model, Fault> {
    assert_eq!(opened.writer.last(), opened.reader.last());
    let entries = read_all(&mut opened.reader, chance)?;
    Ok(Model { entries, hard_state: opened.hard_state, membership: opened.membership.clone() })
}

pub fn read_all(reader: &mut LogReader, chance: &mut Chance) -> Result<Vec<LogEntry>, Fault> {
    let mut entries: Vec<LogEntry> = Vec::new();
    let mut next = reader.first();
    assert_eq!(next, LogIndex(1));
    while next <= reader.last() {
        let read = reader.read(next, reader.last().next(), chance.below(20_000))?;
        assert!(!read.is_empty());
        for entry in &read {
            assert_eq!(entry.index, next);
            assert_eq!(reader.term(next), Some(entry.term));
            next = next.next();
        }
        entries.extend(read);
    }
    Ok(entries)
}

/// Offset and padded size of each frame in a segment's bytes.
pub fn frames(segment: &[u8]) -> Vec<(u64, u64)> {
    let mut frames = Vec::new();
    let mut at = 4096;
    while at + 64 <= segment.len() && segment[at..at + 4] == *b"frm1" {
        let length = u32::from_le_bytes(segment[at + 8..at + 12].try_into().expect("4 bytes"));
        let padded = length.next_multiple_of(4096) as usize;
        frames.push((at as u64, padded as u64));
        at += padded;
    }
    frames
}
