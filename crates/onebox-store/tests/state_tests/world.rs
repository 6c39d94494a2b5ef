//! What the tests share: rows as a plain map, the digest and the chain computed from their definition, full reads.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use onebox_service::{Fault, Keyspace, KeyspaceMut, Time};
use onebox_store::memory::MemoryDisk;
use onebox_store::state::{Applied, BaseFacts, ScrubJob, ScrubProgress, State, StateOptions};
use onebox_store::{LogIndex, NodeId, Term};
use xxhash_rust::xxh3::xxh3_128;

/// Key and value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// One committed entry: its writes in order.
pub(crate) type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

pub(crate) const NODE: NodeId = NodeId(0x1234);

pub(crate) fn options(flush_bytes_target: usize) -> StateOptions {
    StateOptions { cache_bytes: 1 << 20, hash_seed: 7, flush_bytes_target, node: NODE }
}

pub(crate) fn open(disk: &MemoryDisk, flush_bytes_target: usize) -> Result<(State, BaseFacts), Fault> {
    State::open(Arc::new(disk.clone()), options(flush_bytes_target))
}

/// FORMAT.md: key length, key, value.
pub(crate) fn row_hash(key: &[u8], value: &[u8]) -> u128 {
    xxh3_128(&[&(key.len() as u32).to_le_bytes(), key, value].concat())
}

/// FORMAT.md: key length with the highest bit set, key.
pub(crate) fn removal_hash(key: &[u8]) -> u128 {
    xxh3_128(&[&(key.len() as u32 | 1 << 31).to_le_bytes(), key].concat())
}

pub(crate) fn digest_of(rows: &Rows) -> u128 {
    rows.iter().fold(0u128, |sum, (key, value)| sum.wrapping_add(row_hash(key, value)))
}

/// FORMAT.md: the hash of the chain before and of every write's hash.
pub(crate) fn chain_after(chain: u128, writes: &Writes) -> u128 {
    let hashes = writes.iter().map(|(key, value)| value.as_ref().map_or_else(|| removal_hash(key), |value| row_hash(key, value)));
    let mut input = chain.to_le_bytes().to_vec();
    hashes.for_each(|hash| input.extend_from_slice(&hash.to_le_bytes()));
    xxh3_128(&input)
}

pub(crate) fn apply(rows: &mut Rows, writes: &Writes) {
    for (key, value) in writes {
        match value {
            Some(value) => rows.insert(key.clone(), value.clone()),
            None => rows.remove(key),
        };
    }
}

/// Makes the writes, and seals and commits them at `index`.
pub(crate) fn commit(state: &mut State, writes: &Writes, index: u64) {
    for (key, value) in writes {
        match value {
            Some(value) => state.put(key, value).expect("puts"),
            None => state.delete(key).expect("deletes"),
        }
    }
    state.seal_entry();
    let at = position(index);
    state.commit_entry(at.index, at.term, at.time);
}

pub(crate) fn position(index: u64) -> Applied {
    Applied { index: LogIndex(index), term: Term(1 + index / 10), time: Time(index * 1000) }
}

pub(crate) fn scan(space: &dyn Keyspace, from: &[u8], to: &[u8]) -> Result<Vec<Row>, Fault> {
    let mut found = Vec::new();
    space.scan(from, to, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Asserts that a keyspace holds exactly these rows, by scan and by point.
pub(crate) fn assert_holds(space: &dyn Keyspace, rows: &Rows, what: &str) {
    let expected: Vec<_> = rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(scan(space, &[], &[0xff; 8]).expect("scans"), expected, "{what}");
    for (key, value) in rows {
        assert_eq!(space.get(key).expect("reads").as_deref(), Some(&value[..]), "{what}: key {key:?}");
    }
}

pub(crate) fn flush_all(state: &mut State) -> Result<(), Fault> {
    state.request_flush();
    while let Some(job) = state.begin_flush() {
        drop(state.flushed(job.run()?));
    }
    Ok(())
}

pub(crate) fn scrub(mut job: ScrubJob, rows_max: usize) -> Result<u64, Fault> {
    loop {
        match job.step(rows_max)? {
            ScrubProgress::Ongoing { .. } => {}
            ScrubProgress::Sound { rows } => return Ok(rows),
        }
    }
}
