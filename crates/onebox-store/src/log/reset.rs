//! Beginning a log anew behind a snapshot: when a replica has fallen so far behind that its own entries are of no use.
//!
//! Kept true here: what the consensus must not forget, term and vote, goes over into the new log. Every step can be
//! interrupted and done again, for the caller remembers what is to be done until it is.

use std::sync::Arc;

use onebox_service::Fault;

use super::format::{SegmentHeader, SegmentNumber, Sequence, WRITER};
use super::open::read_down_to;
use super::segment::{self, Folder};
use super::{HardState, LogOptions};
use crate::disk::Disk;
use crate::names::{LogIndex, Term};

/// The end of a log, and one entry of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peek {
    /// The last hard state in it.
    pub hard_state: HardState,
    /// The term of the entry that was asked for; `None` if the log ends before it.
    pub term: Option<Term>,
    /// The segment that a log begun anew starts with.
    pub next_segment: SegmentNumber,
}

/// Looks at the end of the log and at entry `at`, without changing anything; `None` if there is no log.
///
/// # Errors
/// The fault: the disk's, or damage with file and offset.
pub fn peek(disk: &dyn Disk, options: LogOptions, at: LogIndex) -> Result<Option<Peek>, Fault> {
    let Some((newest, replay)) = read_down_to(disk, options, at)? else { return Ok(None) };
    Ok(Some(Peek { hard_state: replay.hard_state, term: replay.index.term(at), next_segment: newest.next() }))
}

/// What a log is begun anew with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// The segment that it starts with.
    pub segment: SegmentNumber,
    /// The entry behind which it begins: known to be committed.
    pub behind: LogIndex,
    /// The term of that entry.
    pub term_behind: Term,
    /// Term and vote of the log before.
    pub hard_state: HardState,
    /// The members at that entry.
    pub membership: Option<Vec<u8>>,
}

/// Removes every segment and makes the first one of a log that begins anew. Done again after an interruption, it comes
/// to the same.
///
/// # Errors
/// The fault; then it must be done again before the log is opened.
pub fn reset(disk: &Arc<dyn Disk>, options: LogOptions, reset: &Reset) -> Result<(), Fault> {
    disk.make_folder(Folder::Log.name())?;
    disk.make_folder(Folder::History.name())?;
    segment::remove_all(&**disk)?;
    let header = SegmentHeader {
        writer: WRITER.to_owned(),
        node: options.node,
        number: reset.segment,
        first_sequence: Sequence(1),
        first_index: reset.behind.next(),
        term_below: reset.term_behind,
        hard_state: HardState { commit: reset.behind, ..reset.hard_state },
        membership: reset.membership.clone(),
    };
    segment::make(&**disk, &options, &header)?;
    Ok(())
}
