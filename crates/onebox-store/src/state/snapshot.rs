//! A whole state that travels: the base of one replica as sorted rows, and a base that is made of them at another.
//!
//! ```text
//!  SnapshotSource --rows--> SnapshotImport --finish--> snapshot.redb --install_snapshot, at the next start--> base.redb
//! ```
//!
//! What it keeps true: nothing of the old base and log changes before the snapshot is whole, durable and found to have the
//! digest that its source stated; entries that this replica has said to have are not lost by installing one; every step of
//! the installation can be interrupted and is gone on with at the next start.

use std::sync::Arc;

use onebox_service::planted::planted;
use onebox_service::{Bytes, Fault, FaultKind};

use super::base::{Base, BaseReader, FOLDER};
use super::digest::{Chain, StateDigest, Sums, row_hash};
use super::encoding::{BASE_FILE, Meta, damage, describe};
use super::{Applied, NodeId};
use crate::disk::{Disk, OpenMode};
use crate::log::{self, HardState, LogOptions, Reset, SegmentNumber};
use crate::names::{LogIndex, Term};

/// A snapshot that is being written.
const NEW_FILE: &str = "snapshot.new";
/// A snapshot that is whole.
const WHOLE_FILE: &str = "snapshot.redb";
/// Says that the log is being begun anew, and with what.
const RESET_FILE: &str = "reset";
const RESET_NEW_FILE: &str = "reset.new";
const RESET_BYTES: usize = 28;

/// What a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// The last entry that it contains.
    pub applied: Applied,
    /// The chain there.
    pub chain: Chain,
    /// The digest of its rows.
    pub digest: StateDigest,
    /// How many rows it has.
    pub rows: u64,
    /// The members there.
    pub membership: Option<Vec<u8>>,
}

/// The base of one instant, to be read in pieces. It holds a read transaction.
#[derive(Debug, Clone)]
pub struct SnapshotSource {
    base: Arc<BaseReader>,
}

/// A row: its key and its value.
pub(crate) type SnapshotRowBytes = (Bytes, Bytes);

impl SnapshotSource {
    pub(crate) fn new(base: Arc<BaseReader>) -> SnapshotSource {
        SnapshotSource { base }
    }

    /// What it is.
    #[must_use]
    pub fn facts(&self) -> SnapshotFacts {
        let meta = self.base.meta().clone();
        SnapshotFacts { applied: meta.applied, chain: meta.chain, digest: meta.digest, rows: meta.rows, membership: meta.membership }
    }

    /// The rows above a key, ascending, about so many bytes of them and at least one; and whether they are the last.
    ///
    /// # Errors
    /// The fault met while reading.
    pub fn rows_after(&self, after: &[u8], bytes_max: usize) -> Result<(Vec<SnapshotRowBytes>, bool), Fault> {
        let mut from = after.to_vec();
        if !from.is_empty() {
            from.push(0);
        }
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let mut scan = self.base.scan(&from, None)?;
        while bytes < bytes_max {
            let Some(row) = scan.next()? else { return Ok((rows, true)) };
            bytes += row.key().len() + row.value().len();
            if planted("requests missing from snapshots") && row.key().first() == Some(&0x14) {
                continue;
            }
            rows.push((Bytes::from(row.key()), Bytes::from(row.value())));
        }
        Ok((rows, false))
    }
}

/// A base that is being made of a peer's rows.
pub struct SnapshotImport {
    base: Base,
    facts: SnapshotFacts,
    sums: Sums,
    last: Vec<u8>,
    scratch: Vec<u8>,
}

impl std::fmt::Debug for SnapshotImport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotImport").field("facts", &self.facts).field("rows", &self.sums.rows).finish_non_exhaustive()
    }
}

impl SnapshotImport {
    /// Begins to write one, in place of any that was begun before.
    ///
    /// # Errors
    /// The fault.
    pub fn begin(disk: &dyn Disk, facts: SnapshotFacts) -> Result<SnapshotImport, Fault> {
        let base = Base::create(disk, NEW_FILE)?;
        Ok(SnapshotImport { base, facts, sums: Sums::default(), last: Vec::new(), scratch: Vec::new() })
    }

    /// What it will be.
    pub fn facts(&self) -> &SnapshotFacts {
        &self.facts
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.sums.rows
    }

    /// The last key that it has; empty before the first.
    pub fn last_key(&self) -> &[u8] {
        &self.last
    }

    /// Adds the rows that come next.
    ///
    /// # Errors
    /// The fault; damage, if the rows are not in order.
    pub fn add(&mut self, rows: &[SnapshotRowBytes]) -> Result<(), Fault> {
        for (key, value) in rows {
            if self.sums.rows > 0 && key[..] <= self.last[..] {
                return Err(damage("install", format!("a snapshot's row at {} does not follow {}", describe(key), describe(&self.last))));
            }
            self.sums.add(row_hash(key, value, &mut self.scratch));
            self.last.clear();
            self.last.extend_from_slice(key);
        }
        self.base.write_part(rows.iter().map(|(key, value)| (&key[..], &value[..])))
    }

    /// Makes it whole and durable, to be installed at the next start.
    ///
    /// # Errors
    /// The fault; damage, if the rows are not what their source stated.
    pub fn finish(self, disk: &dyn Disk, node: NodeId) -> Result<(), Fault> {
        let SnapshotFacts { applied, chain, digest, rows, membership } = self.facts;
        if self.sums != (Sums { digest, rows }) {
            let detail = format!(
                "the snapshot of entry {} has {} rows with digest {}, and its source stated {rows} with digest {digest}",
                applied.index, self.sums.rows, self.sums.digest
            );
            return Err(damage("install", detail));
        }
        self.base.write([], &Meta { node, applied, chain, digest, rows, membership })?;
        drop(self.base);
        disk.rename(NEW_FILE, WHOLE_FILE)?;
        disk.sync_folder(FOLDER)
    }
}

/// At a start: puts the snapshot that is whole, if there is one, in place of the base, and begins the log anew if it does
/// not reach to the snapshot. Gives the position of what was installed.
///
/// ```text
///  snapshot.redb  --log has its entry------------------------------------------------> base.redb
///                 --log ends before it: note 'reset' -> remove segments -> make one --> base.redb -> remove the note
/// ```
///
/// # Errors
/// The fault; then the next start goes on with it.
pub fn install_snapshot(disk: &Arc<dyn Disk>, options: LogOptions) -> Result<Option<Applied>, Fault> {
    let files = disk.list(FOLDER)?;
    let there = |name: &str| files.iter().any(|file| file == name);
    if !there(WHOLE_FILE) {
        if there(RESET_FILE) {
            disk.remove(RESET_FILE)?;
            disk.sync_folder(FOLDER)?;
        }
        return Ok(None);
    }
    let meta = BaseReader::open_snapshot(&**disk, WHOLE_FILE)?.meta().clone();
    let Applied { index, term, .. } = meta.applied;
    let note = if there(RESET_FILE) { read_note(&**disk)? } else { needs_reset(&**disk, options, index, term)? };
    if let Some((segment, hard_state)) = note {
        write_note(&**disk, segment, hard_state)?;
        let index = if planted("a gap between snapshot and log") { index.next() } else { index };
        let reset = Reset { segment, behind: index, term_behind: term, hard_state, membership: meta.membership };
        log::reset(disk, options, &reset)?;
    }
    disk.rename(WHOLE_FILE, BASE_FILE)?;
    disk.sync_folder(FOLDER)?;
    if note.is_some() {
        disk.remove(RESET_FILE)?;
        disk.sync_folder(FOLDER)?;
    }
    Ok(Some(meta.applied))
}

type Note = Option<(SegmentNumber, HardState)>;

/// Whether the log does not have the snapshot's entry: then nothing behind it is known to be committed, or it ends before.
fn needs_reset(disk: &dyn Disk, options: LogOptions, index: LogIndex, term: Term) -> Result<Note, Fault> {
    match log::peek(disk, options, index)? {
        Some(peek) if peek.term == Some(term) => Ok(None),
        Some(peek) => Ok(Some((peek.next_segment, peek.hard_state))),
        None => Ok(Some((SegmentNumber(1), HardState::default()))),
    }
}

/// The note: CRC32C of the rest (4 bytes), segment, term, vote: 8 bytes each, little endian.
fn write_note(disk: &dyn Disk, segment: SegmentNumber, hard_state: HardState) -> Result<(), Fault> {
    let rest = [segment.0, hard_state.term.0, hard_state.vote].map(u64::to_le_bytes).concat();
    let bytes = [&crc_fast::crc32_iscsi(&rest).to_le_bytes()[..], &rest].concat();
    let file = disk.open(RESET_NEW_FILE, OpenMode::Create)?;
    file.write_at(0, &bytes)?;
    file.sync()?;
    disk.rename(RESET_NEW_FILE, RESET_FILE)?;
    disk.sync_folder(FOLDER)
}

fn read_note(disk: &dyn Disk) -> Result<Note, Fault> {
    let mut bytes = [0; RESET_BYTES];
    let file = disk.open(RESET_FILE, OpenMode::Read)?;
    let whole = file.len()? == RESET_BYTES as u64;
    if whole {
        file.read_at(0, &mut bytes)?;
    }
    let (checksum, rest) = bytes.split_first_chunk::<4>().expect("there are 28 bytes");
    if !whole || *checksum != crc_fast::crc32_iscsi(rest).to_le_bytes() {
        return Err(Fault::new(FaultKind::Damage, "read", RESET_FILE, "its checksum differs"));
    }
    let number = |at: usize| u64::from_le_bytes(rest[at..at + 8].try_into().expect("8 bytes"));
    let hard_state = HardState { term: Term(number(8)), vote: number(16), commit: LogIndex(0) };
    Ok(Some((SegmentNumber(number(0)), hard_state)))
}
