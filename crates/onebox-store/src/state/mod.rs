//! The state of one replica: rows being written, rows that readers see, rows on the disk.
//!
//! ```text
//!   put, delete          seal_entry        commit_entry          publish           begin_flush, FlushJob, flushed
//!  open entry -------> entries in flight ------------> committed -----> View (runs) ------------> base (one redb file)
//!     ^ undo_to(mark)      ^ undo_entry
//! ```
//!
//! One thread owns the [`State`]; it is the only writer. Readers on other threads use [`View`]s. Slow work is handed
//! out as plain values, [`FlushJob`], [`MergeJob`], [`ScrubJob`], which another thread runs; what becomes of them is
//! handed back.
//!
//! What it keeps true:
//! - the writer sees every write at once, a view only whole committed entries;
//! - the base is all rows as of one committed entry, with the chain and digest as of it, whenever the power fails;
//! - a run leaves the views only together with the arrival of a base that contains it;
//! - [`StateDigest`] and [`Chain`] are functions of the entries alone, the same on every replica.
//!
//! Reading order: this file; `executor` (how rows are written and taken back), `lifecycle` (how a generation
//! becomes part of the base), `generation`, `runs`, `view`, `flush`, `base`, `twin_header`.

mod base;
mod digest;
mod encoding;
mod executor;
mod flush;
mod generation;
mod journal;
mod lifecycle;
mod merge;
mod runs;
mod scrub;
mod snapshot;
mod twin_header;
mod view;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use onebox_service::{Fault, Time};

pub use self::digest::{Chain, StateDigest};
pub use self::executor::EntrySeal;
pub use self::flush::{FlushJob, Flushed, Retired};
pub use self::journal::Mark;
pub use self::runs::{MergeJob, Merged};
pub use self::scrub::{ScrubJob, ScrubProgress};
pub use self::snapshot::{SnapshotFacts, SnapshotImport, SnapshotSource, install_snapshot};
pub use self::view::View;
pub use crate::names::NodeId;

use self::base::BaseReader;
use self::digest::Sums;
use self::executor::Memo;
use self::generation::Generation;
use self::journal::{OpenEntry, SealedEntry};
use self::lifecycle::Older;
use self::runs::{RunIds, RunStack};
use crate::{Disk, LogIndex, Term};

/// A position in the log and the time there: the last entry whose writes are in a view, a base or a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Applied {
    /// The entry.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// Its time.
    pub time: Time,
}

/// How a state is to be opened.
#[derive(Debug, Clone, Copy)]
pub struct StateOptions {
    /// Memory for pages of the base.
    pub cache_bytes: usize,
    /// Seed of the hash map of dirty rows; best drawn anew at every start. No outcome depends on it.
    pub hash_seed: u64,
    /// A generation of about this many bytes is flushed. Larger ones flush cheaper per row.
    pub flush_bytes_target: usize,
    /// Whose data it is.
    pub node: NodeId,
}

/// What the base was found to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseFacts {
    /// The last entry that it contains; the log is to be replayed after it.
    pub applied: Applied,
    /// The chain as of that entry.
    pub chain: Chain,
    /// The digest of its rows.
    pub digest: StateDigest,
    /// The membership as of that entry, if one was ever set.
    pub membership: Option<Vec<u8>>,
    /// How many rows it has.
    pub rows: u64,
}

/// The state of one replica, for its one writer. See the module.
pub struct State {
    disk: Arc<dyn Disk>,
    options: StateOptions,
    base: Arc<BaseReader>,
    memo: RefCell<Memo>,
    base_reads: Cell<u64>,
    /// Takes the writes; its number tells which entries in flight are in it.
    active: Generation,
    active_number: u64,
    active_runs: RunStack,
    /// The generation before, on its way to the base.
    older: Option<Older>,
    run_ids: RunIds,
    open: OpenEntry,
    in_flight: VecDeque<SealedEntry>,
    /// As of every write so far.
    sums: Sums,
    /// As of the last sealed entry.
    chain: Chain,
    committed: Committed,
    membership: Option<Vec<u8>>,
    view: View,
    flush_requested: bool,
    replaying: bool,
    scratch: Vec<u8>,
}

/// What is recorded when the committed entries so far go to the base.
#[derive(Debug, Clone, Copy)]
struct Committed {
    applied: Applied,
    chain: Chain,
    sums: Sums,
}

impl State {
    /// Opens the state on a disk: reads what the base holds, or makes an empty one.
    ///
    /// # Errors
    /// A fault of the disk; damage, if the base makes no sense or is another node's; version, if a newer build wrote it.
    pub fn open(disk: Arc<dyn Disk>, options: StateOptions) -> Result<(State, BaseFacts), Fault> {
        let base = Arc::new(BaseReader::open(&*disk, options.cache_bytes, options.node)?);
        let meta = base.meta().clone();
        let sums = Sums { digest: meta.digest, rows: meta.rows };
        let state = State {
            disk,
            options,
            view: View::new(Vec::new(), base.clone(), meta.applied),
            base,
            memo: RefCell::default(),
            base_reads: Cell::new(0),
            active: Generation::new(options.hash_seed),
            active_number: 0,
            active_runs: RunStack::default(),
            older: None,
            run_ids: RunIds::default(),
            open: OpenEntry::default(),
            in_flight: VecDeque::new(),
            sums,
            chain: meta.chain,
            committed: Committed { applied: meta.applied, chain: meta.chain, sums },
            membership: meta.membership.clone(),
            flush_requested: false,
            replaying: false,
            scratch: Vec::new(),
        };
        let facts =
            BaseFacts { applied: meta.applied, chain: meta.chain, digest: meta.digest, membership: meta.membership, rows: meta.rows };
        Ok((state, facts))
    }

    /// The digest of all rows that the writer sees, open entry included.
    #[must_use]
    pub fn digest(&self) -> StateDigest {
        self.sums.digest
    }

    /// How many rows the writer sees.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.sums.rows
    }

    /// The chain as of the last sealed entry.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// The last committed entry.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.committed.applied
    }

    /// The chain and the digest as of the last committed entry.
    #[must_use]
    pub fn committed_digests(&self) -> (Chain, StateDigest) {
        (self.committed.chain, self.committed.sums.digest)
    }

    /// The last entry that the base contains.
    #[must_use]
    pub fn base_applied(&self) -> Applied {
        self.base.meta().applied
    }

    /// The membership as of the last committed entry.
    #[must_use]
    pub fn membership(&self) -> Option<&[u8]> {
        self.membership.as_deref()
    }

    /// How many sealed entries wait for their commit.
    #[must_use]
    pub fn entries_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The view published last.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// The base as it is now, for a peer.
    #[must_use]
    pub fn snapshot(&self) -> SnapshotSource {
        SnapshotSource::new(self.base.clone())
    }

    /// A scrub of the base as it is now.
    #[must_use]
    pub fn scrub_job(&self) -> ScrubJob {
        ScrubJob::new(self.base.clone())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("State");
        shown.field("applied", &self.committed.applied).field("base", &self.base).field("rows", &self.sums.rows);
        shown.field("digest", &self.sums.digest).field("dirty_bytes", &self.dirty_bytes()).finish_non_exhaustive()
    }
}
