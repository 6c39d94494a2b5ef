//! The log as the consensus library reads it: what is recent from memory, the rest from the disk.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};

use onebox_service::Fault;
use onebox_service::buggify::buggify;
use onebox_store::LogIndex;
use onebox_store::log::{HardState, LogReader};
use raft::eraftpb::{self, ConfState};
use raft::{GetEntriesContext, RaftState, StorageError};

use super::convert::{conf_state, library_entry};
use crate::limits::Limits;
use crate::membership::Membership;

pub(super) struct Entries {
    pub(super) reader: RefCell<LogReader>,
    /// Committed entries read from the disk while replaying.
    pub(super) page: VecDeque<eraftpb::Entry>,
    /// Entries appended by this process: those not yet applied, and before them some that followers may still need.
    pub(super) tail: VecDeque<eraftpb::Entry>,
    tail_bytes: usize,
    tail_bytes_kept: usize,
    page_bytes: u64,
    hard_state: HardState,
    membership: Membership,
    /// Peers that need entries from before the log's first: they are told to fetch a snapshot.
    pub(super) behind: RefCell<BTreeSet<u64>>,
    /// The fault of a read that the library asked for, which it cannot be told.
    pub(super) fault: Cell<Option<Fault>>,
}

impl Entries {
    pub(super) fn new(reader: LogReader, limits: &Limits, hard_state: HardState, membership: Membership) -> Entries {
        Entries {
            reader: RefCell::new(reader),
            page: VecDeque::new(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            tail_bytes_kept: limits.tail_bytes_kept,
            page_bytes: limits.committed_bytes_per_turn,
            hard_state,
            membership,
            behind: RefCell::default(),
            fault: Cell::new(None),
        }
    }

    pub(super) fn append(&mut self, entries: Vec<eraftpb::Entry>) {
        let Some(first) = entries.first() else { return };
        while self.tail.back().is_some_and(|last| last.index >= first.index) {
            self.tail_bytes -= self.tail.pop_back().map_or(0, |entry| entry.data.len());
        }
        self.tail_bytes += entries.iter().map(|entry| entry.data.len()).sum::<usize>();
        self.tail.extend(entries);
    }

    /// Everything up to `index` is applied.
    pub(super) fn forget_to(&mut self, index: u64) {
        while self.page.front().is_some_and(|entry| entry.index <= index) {
            self.page.pop_front();
        }
        let kept = if buggify("the tail is forgotten", 16) { 0 } else { self.tail_bytes_kept };
        while self.tail_bytes > kept && self.tail.front().is_some_and(|entry| entry.index <= index) {
            self.tail_bytes -= self.tail.pop_front().map_or(0, |entry| entry.data.len());
        }
        // An entry without data costs no bytes, and memory nevertheless.
        while self.tail.len() > self.tail_bytes_kept / 256 && self.tail.front().is_some_and(|entry| entry.index <= index) {
            self.tail_bytes -= self.tail.pop_front().map_or(0, |entry| entry.data.len());
        }
    }

    /// Puts the committed entries `from <= index < to` where the library will look for them.
    pub(super) fn fetch(&mut self, from: u64, to: u64) -> Result<(), Fault> {
        if from >= to || self.held(from).is_some() {
            return Ok(());
        }
        let to = self.tail.front().map_or(to, |first| to.min(first.index));
        let entries = self.reader.get_mut().read(LogIndex(from), LogIndex(to), self.page_bytes)?;
        self.page = entries.into_iter().map(library_entry).collect();
        Ok(())
    }

    /// The run of entries that holds `index`, and where in it.
    fn held(&self, index: u64) -> Option<(&VecDeque<eraftpb::Entry>, usize)> {
        [&self.tail, &self.page].into_iter().find_map(|entries| {
            let first = entries.front()?.index;
            let at = usize::try_from(index.checked_sub(first)?).ok()?;
            (at < entries.len()).then_some((entries, at))
        })
    }

    /// The entries of `low <= index < high`, at least one and as many as the size allows, up to where they are kept elsewhere.
    fn part(&self, low: u64, high: u64, max_size: u64) -> Result<Vec<eraftpb::Entry>, StorageError> {
        let Some((entries, at)) = self.held(low) else { return self.stored(low, high, max_size) };
        let mut bytes = 0;
        let fits = |entry: &&eraftpb::Entry| {
            bytes += entry.data.len() as u64;
            entry.index < high && (entry.index == low || bytes <= max_size)
        };
        Ok(entries.iter().skip(at).take_while(fits).cloned().collect())
    }

    /// Reads `low <= index < high` from the disk, up to the first that is in memory.
    fn stored(&self, low: u64, high: u64, max_size: u64) -> Result<Vec<eraftpb::Entry>, StorageError> {
        let to = self.tail.front().filter(|first| first.index > low).map_or(high, |first| high.min(first.index));
        let mut reader = self.reader.borrow_mut();
        if low < reader.first_kept().0 {
            return Err(StorageError::Compacted);
        }
        if LogIndex(to) > reader.last().next() {
            return Err(StorageError::Unavailable);
        }
        match reader.read(LogIndex(low), LogIndex(to), max_size) {
            Ok(entries) => Ok(entries.into_iter().map(library_entry).collect()),
            Err(fault) => {
                // For the library the entries are not there any more, which it takes calmly; the replica stops of the fault.
                self.fault.set(Some(fault));
                Err(StorageError::Compacted)
            }
        }
    }
}

impl raft::Storage for Entries {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let HardState { term, vote, commit } = self.hard_state;
        let hard_state = eraftpb::HardState { term: term.0, vote, commit: commit.0, ..Default::default() };
        Ok(RaftState { hard_state, conf_state: conf_state(&self.membership) })
    }

    fn entries(&self, low: u64, high: u64, max_size: impl Into<Option<u64>>, _: GetEntriesContext) -> raft::Result<Vec<eraftpb::Entry>> {
        let Some(max_size) = max_size.into() else {
            let mut whole: Vec<eraftpb::Entry> = Vec::new();
            while low + (whole.len() as u64) < high {
                whole.extend(self.part(low + whole.len() as u64, high, u64::MAX)?);
            }
            return Ok(whole);
        };
        // Within a size, fewer than asked for will do. What is committed is in memory, so that no read can fail of which the library
        // panics.
        Ok(self.part(low, high, max_size)?)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if let Some((entries, at)) = self.held(index) {
            return Ok(entries[at].term);
        }
        let term = self.reader.borrow().term(LogIndex(index));
        term.map(|term| term.0).ok_or_else(|| StorageError::Compacted.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.reader.borrow().first_kept().0)
    }

    fn last_index(&self) -> raft::Result<u64> {
        let last = self.reader.borrow().last().0;
        Ok(self.tail.back().map_or(last, |entry| entry.index))
    }

    /// Snapshots do not go through the library: a peer fetches one, and starts from it.
    fn snapshot(&self, _request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        self.behind.borrow_mut().insert(to);
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
}

/// The members at the start, as the library has them.
pub(super) fn members(state: &ConfState) -> Membership {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    Membership {
        voters: sorted(&state.voters),
        learners: sorted(&state.learners),
        voters_outgoing: sorted(&state.voters_outgoing),
        learners_next: sorted(&state.learners_next),
        auto_leave: state.auto_leave,
    }
}
