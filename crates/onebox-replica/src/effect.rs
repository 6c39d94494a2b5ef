//! What a replica wants done. [`turn`](crate::turn) does it, in the one order that is right.

use std::fmt;

use onebox_service::attempt::{Fate, Reply};
use onebox_service::{Fault, MethodId};
use onebox_store::log::{self, LogScrub, SegmentNumber};
use onebox_store::state::{FlushJob, Flushed, MergeJob, Merged, Retired, ScrubJob, ScrubProgress, SnapshotImport, View};
use onebox_store::{Disk, LogIndex};

use crate::committing::AppliedEntry;
use crate::consensus::PersistBatch;
use crate::input::Token;
use crate::membership::{Membership, PeerId};
use crate::peer::{PeerMessage, SnapshotRows};
use crate::snapshots::{ImportJob, RowsJob};
use crate::warming::WarmJob;

/// What one turn wants done.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// A frame to write and sync. At most one is outstanding.
    pub(crate) persist: Option<PersistBatch>,
    /// What is said to peers: whatever it depends on is on the disk.
    pub(crate) messages: Vec<Box<PeerMessage>>,
    /// Entries that were applied, for whoever watches.
    pub(crate) applied: Vec<AppliedEntry>,
    /// The state that readers see from now on.
    pub(crate) publish: Option<View>,
    /// Replies to attempts, and the position they hold at.
    pub(crate) replies: Vec<(Token, Reply, LogIndex)>,
    /// Answers to questions for an outcome.
    pub(crate) fates: Vec<(Token, Fate)>,
    /// Reads that may run now.
    pub(crate) queries: Vec<Query>,
    /// Reads that are answered without running.
    pub(crate) refused_reads: Vec<(Token, Reply)>,
    /// Work for a background thread.
    pub(crate) jobs: Vec<Job>,
    /// Memory to be freed elsewhere.
    pub(crate) discard: Vec<Retired>,
    /// Things an operator should know.
    pub(crate) notes: Vec<Note>,
    /// More work waits: take another turn at once, with or without inputs.
    pub(crate) again: bool,
    /// Everything is finished and flushed after [`Input::Drain`](crate::Input::Drain).
    pub(crate) drained: bool,
    /// The replica has stopped and says why. Nothing follows.
    pub(crate) stop: Option<Stop>,
}

impl Effects {
    /// Whether there is nothing to do but to say something to peers: so it is mostly where nobody asks for anything, and then to look into
    /// every list is a tenth of the turn.
    pub(crate) fn are_but_words(&self) -> bool {
        let Effects {
            persist,
            messages: _,
            applied,
            publish,
            replies,
            fates,
            queries,
            refused_reads,
            jobs,
            discard,
            notes,
            again: _,
            drained,
            stop,
        } = self;
        let lists_are_empty =
            applied.is_empty() && replies.is_empty() && fates.is_empty() && queries.is_empty() && refused_reads.is_empty();
        let nothing_is_started = jobs.is_empty() && discard.is_empty() && notes.is_empty();
        lists_are_empty && nothing_is_started && persist.is_none() && publish.is_none() && !drained && stop.is_none()
    }
}

/// A read-only request that may run on a view.
#[derive(Debug)]
pub struct Query {
    /// Who waits.
    pub token: Token,
    /// The tenant's name.
    pub tenant: String,
    /// The method.
    pub method: MethodId,
    /// The canonical encoding of the request.
    pub body: Vec<u8>,
    /// What it sees.
    pub view: View,
    /// Uptime, in microseconds, after which nobody waits any more.
    pub deadline: u64,
}

/// Work that takes long. It is run on another thread and its end is an input.
#[derive(Debug)]
pub enum Job {
    /// Write a generation of rows to the base.
    Flush(Box<FlushJob>),
    /// Merge runs of rows.
    Merge(MergeJob),
    /// Make a spare segment.
    PrepareSpare {
        /// Its size.
        segment_bytes: u64,
    },
    /// Check segments, and move them to the history, where they are not looked at any more until somebody needs them.
    MoveToHistory(Vec<SegmentNumber>, LogScrub),
    /// Bring the rows of waiting requests into memory. Of no use later, so it has a thread of its own.
    Warm(WarmJob),
    /// Check some rows of the base.
    Scrub {
        /// The scan.
        job: Box<ScrubJob>,
        /// Rows to check this time.
        rows: usize,
    },
    /// Check a segment of the log.
    ScrubLog(Box<LogScrub>),
    /// Read rows of a snapshot for a peer.
    ReadRows(Box<RowsJob>),
    /// Write rows of a peer's snapshot.
    Import(Box<ImportJob>),
}

/// How a job ended.
#[derive(Debug)]
pub enum JobDone {
    /// See [`Job::Flush`].
    Flush(Result<Box<Flushed>, Fault>),
    /// See [`Job::Merge`].
    Merge(Merged),
    /// See [`Job::PrepareSpare`].
    PrepareSpare(Result<(), Fault>),
    /// See [`Job::MoveToHistory`]: what was moved, and what the check found.
    MoveToHistory(Result<Vec<SegmentNumber>, Fault>, Option<Fault>),
    /// See [`Job::Warm`].
    Warm,
    /// See [`Job::Scrub`].
    Scrub(Result<ScrubProgress, Fault>, Box<ScrubJob>),
    /// See [`Job::ScrubLog`]: what to go on with; nothing once all was read.
    ScrubLog(Result<Option<Box<LogScrub>>, Fault>),
    /// See [`Job::ReadRows`].
    ReadRows(Result<(PeerId, Box<SnapshotRows>), Fault>),
    /// See [`Job::Import`]: what to go on with; nothing once the snapshot is whole.
    Import(Result<Option<Box<SnapshotImport>>, Fault>),
}

impl Job {
    /// Does the work.
    pub fn run(self, disk: &dyn Disk) -> JobDone {
        match self {
            Job::Flush(job) => JobDone::Flush(job.run().map(Box::new)),
            Job::Merge(job) => JobDone::Merge(job.run()),
            Job::PrepareSpare { segment_bytes } => JobDone::PrepareSpare(log::prepare_spare(disk, segment_bytes)),
            Job::MoveToHistory(segments, scrub) => {
                let found = scrub.finish(disk).err();
                JobDone::MoveToHistory(log::move_to_history(disk, &segments).map(|()| segments), found)
            }
            Job::Warm(job) => {
                job.run();
                JobDone::Warm
            }
            Job::Scrub { mut job, rows } => JobDone::Scrub(job.step(rows), job),
            Job::ScrubLog(mut job) => JobDone::ScrubLog(job.step(disk).map(|goes_on| goes_on.then_some(job))),
            Job::ReadRows(job) => JobDone::ReadRows(job.run()),
            Job::Import(job) => JobDone::Import(job.run(disk)),
        }
    }
}

/// Something an operator should know; the shell logs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The service's code panicked on a request, which was answered with INTERNAL and changed nothing.
    Bug {
        /// The method.
        method: &'static str,
        /// The panic's words.
        what: String,
    },
    /// This replica leads from now on.
    Leads {
        /// The term.
        term: u64,
        /// The last entry.
        at: LogIndex,
    },
    /// Rows were written to the base.
    Flushed {
        /// The position of the base.
        at: LogIndex,
        /// Rows that it holds now.
        rows: u64,
    },
    /// Rows could not be written to the base for want of disk; it is tried again.
    FlushPostponed(Fault),
    /// Writes are refused because the disk is nearly full.
    DiskLow {
        /// Bytes free.
        free: u64,
        /// Bytes wanted free.
        min: u64,
    },
    /// Writes are taken again.
    DiskRoomAgain {
        /// Bytes free.
        free: u64,
    },
    /// The wall clock jumped forward; log time goes on at the old pace until a restart, or until other voters agree.
    ClockJumped {
        /// By how many microseconds.
        micros: u64,
    },
    /// The wall clock is far from the other voters': log time goes by theirs, and if this replica leads it lets another.
    ClockSkewed {
        /// Microseconds that theirs are ahead, by the one in the middle.
        ahead: i64,
    },
    /// The wall clock agrees with the other voters' again.
    ClockAgrees,
    /// A whole scan of the base found every row as it was written.
    Scrubbed {
        /// Rows checked.
        rows: u64,
    },
    /// A scan of the log ended early. If that is damage, the replica goes on, and lets another lead; a start may find it, too.
    LogScrub(Fault),
    /// The members are others from this entry on.
    Members {
        /// The entry.
        at: LogIndex,
        /// The members.
        members: Membership,
    },
    /// This replica fetches a snapshot from the leader.
    FetchesSnapshot {
        /// The position that it must have at least.
        at_least: LogIndex,
    },
    /// This replica's state is not the one that the log states. It serves nothing, goes on persisting, and fetches the leader's.
    Diverged {
        /// The entry.
        at: LogIndex,
        /// What differed.
        what: String,
    },
    /// A fetched snapshot was not what its source stated; it is fetched again.
    SnapshotRefused(Fault),
    /// A peer said something that makes no sense; it was ignored.
    PeerNonsense {
        /// The peer.
        from: PeerId,
        /// What is wrong with it.
        what: String,
    },
}

/// Why a replica stopped. It goes on from its disk after a restart; nothing acknowledged is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The environment failed.
    Fault(Fault),
    /// A committed entry cannot be applied by this build.
    Poison {
        /// The entry.
        at: LogIndex,
        /// What happened, naming the event.
        what: String,
    },
    /// The state after an entry is not the state that the entry's writer had.
    Diverged {
        /// The entry.
        at: LogIndex,
        /// What differed.
        what: String,
    },
    /// This replica led, and most voters computed another state than it did.
    Outvoted {
        /// The entry.
        at: LogIndex,
    },
    /// A peer's snapshot is fetched. The next start, which should follow soon, installs it.
    Fetched,
    /// The next start, which should follow at once, goes on from base and log.
    Reopen,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Fault(fault) => write!(f, "{fault}"),
            Stop::Fetched => f.write_str("the next start goes on from the snapshot that was fetched"),
            Stop::Reopen => f.write_str("the next start goes on from base and log"),
            Stop::Poison { at, what } => {
                write!(f, "the committed entry {at} cannot be applied: {what}; install a build that can, then start again")
            }
            Stop::Outvoted { at } => write!(
                f,
                "most of the voters computed another state at entry {at} than this leader, whose state the log states: find out which \
                 is right before anything on any node's disk is changed; the log has every request"
            ),
            Stop::Diverged { at, what } => {
                write!(
                    f,
                    "the state differs from the log at entry {at}: {what}; move base.redb aside and start again: it is rebuilt from history and log"
                )
            }
        }
    }
}
