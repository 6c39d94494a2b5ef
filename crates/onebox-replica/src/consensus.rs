//! The consensus library, behind this replica's own words. Only this file names it.
//!
//! It keeps: nothing leaves for a peer or counts as committed before what it depends on is on the disk; reads are
//! confirmed by a round begun after they arrived; its only chance, the election timeout, is drawn from the seed.
//! It must not know what an entry says.

use std::cell::RefCell;
use std::collections::VecDeque;

use onebox_service::Fault;
use onebox_store::log::{Appended, Batch, HardState, LogEntry, LogReader};
use onebox_store::{LogIndex, Term};
use raft::eraftpb::{self, ConfState, EntryType};
use raft::{Config, GetEntriesContext, RaftState, RawNode, ReadOnlyOption, StateRole, StorageError};

use crate::limits::COMMITTED_BYTES_PER_TURN;

/// Ticks without a leader after which a replica may campaign. A tick is [`crate::replica::TICK_MICROS`].
const ELECTION_TICKS: usize = 10;
/// Ticks between a leader's heartbeats.
const HEARTBEAT_TICKS: usize = 1;
/// Appends to one peer that are not confirmed yet.
const INFLIGHT_MESSAGES_MAX: usize = 256;
/// Bytes of entries proposed and not committed, beyond what `entries_in_flight_max` already bounds.
const UNCOMMITTED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What the disk must hold next, and what that makes true.
#[derive(Debug)]
pub struct PersistBatch {
    /// Handed back when it is on the disk.
    pub number: u64,
    /// One frame of the log.
    pub batch: Batch,
    /// A spare segment was made since the last frame.
    pub spare_made: bool,
}

/// An entry that a majority has on its disk.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) index: LogIndex,
    pub(crate) term: Term,
    /// Empty for the entry with which a leader begins its term, and for changes of membership.
    pub(crate) data: bytes::Bytes,
}

/// What the consensus has to say after it was given something.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) committed: Vec<Committed>,
    /// Read rounds that are confirmed: all up to this number, once this index is applied.
    pub(crate) confirmed: Option<(u64, LogIndex)>,
    /// Whether leadership was won or lost, or changed its term.
    pub(crate) role_changed: bool,
}

/// One replica's part in the consensus.
pub(crate) struct Consensus {
    node: RawNode<Entries>,
    seed: u64,
    rolls: u64,
    role: (StateRole, u64),
    /// Index of the entry with which this leader began its term.
    leads_from: u64,
    /// Collected for the next frame.
    batch: Batch,
    batch_number: u64,
    batch_due: bool,
    /// On its way to the disk.
    persisting: Option<u64>,
    /// The end of the log is not yet asserted by a later frame.
    end_unasserted: bool,
    /// This replica is the only voter.
    alone: bool,
}

/// What the consensus starts from.
pub(crate) struct Start {
    /// This replica's number among the voters.
    pub(crate) id: u64,
    pub(crate) voters: Vec<u64>,
    pub(crate) hard_state: HardState,
    /// The position of the base: everything up to it is applied.
    pub(crate) applied: LogIndex,
    pub(crate) seed: u64,
    pub(crate) reader: LogReader,
    /// Written with the first batch of a new log.
    pub(crate) membership: Option<Vec<u8>>,
}

impl Consensus {
    pub(crate) fn start(start: Start) -> Consensus {
        let config = Config {
            id: start.id,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied: start.applied.0,
            max_inflight_msgs: INFLIGHT_MESSAGES_MAX,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: COMMITTED_BYTES_PER_TURN,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            read_only_option: ReadOnlyOption::Safe,
            ..Config::default()
        };
        let voters = start.voters;
        let entries = Entries {
            reader: RefCell::new(start.reader),
            page: VecDeque::new(),
            tail: VecDeque::new(),
            // What the base holds was committed, whatever the log's last word on it.
            hard_state: HardState { commit: start.hard_state.commit.max(start.applied), ..start.hard_state },
            voters: voters.clone(),
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, entries, &logger).expect("the settings of the consensus are valid");
        let batch = Batch { hard_state: None, membership: start.membership, entries: Vec::new() };
        let mut consensus = Consensus {
            node,
            seed: start.seed,
            rolls: 0,
            role: (StateRole::Follower, 0),
            leads_from: u64::MAX,
            batch,
            batch_number: 0,
            batch_due: false,
            persisting: None,
            end_unasserted: false,
            alone: voters == [start.id],
        };
        consensus.draw_timeout();
        consensus.campaign_if_alone();
        consensus
    }

    /// A single voter campaigns as soon as it may: nobody else can win, so there is nothing to wait for.
    fn campaign_if_alone(&mut self) {
        if self.alone && self.node.raft.state == StateRole::Follower && self.is_caught_up() {
            self.node.campaign().expect("a single voter may campaign");
        }
    }

    /// Whether everything known to be committed is applied. Before a campaign the library looks through what is not, for
    /// changes of membership, and takes it for an error when that is not in memory.
    fn is_caught_up(&self) -> bool {
        self.applied() >= self.node.raft.raft_log.committed
    }

    /// Whether this replica leads and has applied the entry with which its term began.
    pub(crate) fn leads(&self) -> bool {
        self.role.0 == StateRole::Leader && self.applied() >= self.leads_from
    }

    pub(crate) fn term(&self) -> Term {
        Term(self.node.raft.term)
    }

    /// Committed and not yet applied, and all that is committed: the progress of a replay.
    pub(crate) fn progress(&self) -> (LogIndex, LogIndex) {
        (LogIndex(self.applied()), LogIndex(self.node.raft.raft_log.last_index()))
    }

    fn applied(&self) -> u64 {
        self.node.raft.raft_log.applied()
    }

    /// Proposes an entry and gives its index, or `None` if it was dropped and must be undone.
    pub(crate) fn propose(&mut self, data: Vec<u8>) -> Option<LogIndex> {
        self.node.propose(Vec::new(), data).ok()?;
        Some(LogIndex(self.node.raft.raft_log.last_index()))
    }

    /// Begins a read round. Confirmed rounds come with the news.
    pub(crate) fn begin_read_round(&mut self, round: u64) {
        self.node.read_index(round.to_be_bytes().to_vec());
    }

    pub(crate) fn tick(&mut self) {
        if self.node.raft.state == StateRole::Leader || self.is_caught_up() {
            self.node.tick();
        }
        self.draw_timeout();
    }

    /// A batch is on the disk.
    pub(crate) fn persisted(&mut self, number: u64, appended: Appended) {
        assert_eq!(self.persisting.take(), Some(number), "a sync was reported that nobody asked for");
        let entries = self.node.mut_store();
        entries.reader.get_mut().note(appended);
        self.node.on_persist_ready(number);
        self.draw_timeout();
    }

    /// Everything up to `index` is applied.
    pub(crate) fn applied_to(&mut self, index: LogIndex) {
        self.node.advance_apply_to(index.0);
        self.node.mut_store().forget_to(index.0);
        self.campaign_if_alone();
    }

    /// Takes what the consensus has to say. Call until it has nothing more.
    ///
    /// # Errors
    /// The fault met while reading committed entries from the log.
    pub(crate) fn news(&mut self) -> Result<Option<News>, Fault> {
        if !self.node.has_ready() {
            return Ok(None);
        }
        self.fetch_committed()?;
        let mut ready = self.node.ready();
        assert!(ready.snapshot().get_metadata().index == 0, "a snapshot cannot arrive without peers");
        let mut news = News::default();
        let must_sync = ready.must_sync();
        if let Some(hard_state) = ready.hs() {
            let commit = LogIndex(hard_state.commit);
            self.batch.hard_state = Some(HardState { term: Term(hard_state.term), vote: hard_state.vote, commit });
        }
        let appended = ready.take_entries();
        self.batch.entries.extend(appended.iter().map(log_entry));
        self.batch_number = ready.number();
        self.batch_due |= must_sync;
        let store = self.node.mut_store();
        store.append(appended);
        news.committed = ready.take_committed_entries().into_iter().map(committed).collect();
        if let Some(read) = ready.take_read_states().last() {
            let round = u64::from_be_bytes(read.request_ctx[..].try_into().expect("a round's number is 8 bytes"));
            news.confirmed = Some((round, LogIndex(read.index)));
        }
        // Peers do not exist yet: the library must have nothing to tell them.
        assert!(ready.take_messages().is_empty() && ready.take_persisted_messages().is_empty(), "a message without a peer");
        let number = ready.number();
        self.node.advance_append_async(ready);
        if !self.batch_due && self.persisting.is_none() {
            // Nothing waits for the disk. Told so, the library does not keep a record of it until the next frame.
            self.node.on_persist_ready(number);
        }
        self.draw_timeout();
        let role = (self.node.raft.state, self.node.raft.term);
        news.role_changed = role != self.role;
        if news.role_changed {
            // Nothing is proposed before this news is out, so the last entry is the one that begins the term.
            self.role = role;
            self.leads_from = if role.0 == StateRole::Leader { self.node.raft.raft_log.last_index() } else { u64::MAX };
        }
        Ok(Some(news))
    }

    /// The next frame, if one is due and the disk is free: one outstanding sync.
    pub(crate) fn take_batch(&mut self) -> Option<PersistBatch> {
        if !self.batch_due || self.persisting.is_some() {
            return None;
        }
        self.batch_due = false;
        self.end_unasserted = true;
        Some(self.send_batch())
    }

    /// After idling: a frame that asserts the end of the log and the commit index.
    pub(crate) fn take_marker(&mut self) -> Option<PersistBatch> {
        if !self.end_unasserted || self.batch_due || self.persisting.is_some() {
            return None;
        }
        self.end_unasserted = false;
        Some(self.send_batch())
    }

    fn send_batch(&mut self) -> PersistBatch {
        let batch = std::mem::take(&mut self.batch);
        self.persisting = Some(self.batch_number);
        PersistBatch { number: self.batch_number, batch, spare_made: false }
    }

    /// Access to the log's reader, for the segments that may move to history.
    pub(crate) fn reader(&mut self) -> &mut LogReader {
        self.node.mut_store().reader.get_mut()
    }

    /// Puts the committed entries that come next where the library will look for them, so that a fault can be told.
    fn fetch_committed(&mut self) -> Result<(), Fault> {
        let log = &self.node.raft.raft_log;
        let (from, to) = (self.next_committed(), log.committed.min(log.persisted) + 1);
        if from >= to {
            return Ok(());
        }
        let store = self.node.mut_store();
        if store.holds(from) {
            return Ok(());
        }
        let to = store.tail.front().map_or(to, |first| to.min(first.index));
        let entries = store.reader.get_mut().read(LogIndex(from), LogIndex(to), COMMITTED_BYTES_PER_TURN)?;
        store.page = entries.into_iter().map(library_entry).collect();
        Ok(())
    }

    fn next_committed(&self) -> u64 {
        // The library hands over each committed entry once, and all that were handed over are applied by then.
        self.applied() + 1
    }

    /// The library draws its election timeout from a random generator of its own; every input overwrites it.
    fn draw_timeout(&mut self) {
        self.rolls += 1;
        let input = [self.seed, self.node.raft.id, self.node.raft.term, self.rolls].map(u64::to_le_bytes).concat();
        let spread = (xxhash_rust::xxh3::xxh3_64(&input) % ELECTION_TICKS as u64) as usize;
        self.node.raft.set_randomized_election_timeout(ELECTION_TICKS + spread);
    }
}

fn log_entry(entry: &eraftpb::Entry) -> LogEntry {
    let kind = match entry.get_entry_type() {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    };
    LogEntry { index: LogIndex(entry.index), term: Term(entry.term), kind, data: entry.data.to_vec() }
}

fn library_entry(entry: LogEntry) -> eraftpb::Entry {
    let kind = match entry.kind {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        other => panic!("entry {} has kind {other}, which this version does not write", entry.index),
    };
    let mut out = eraftpb::Entry { term: entry.term.0, index: entry.index.0, data: entry.data.into(), ..Default::default() };
    out.set_entry_type(kind);
    out
}

fn committed(entry: eraftpb::Entry) -> Committed {
    assert!(entry.get_entry_type() == EntryType::EntryNormal, "entry {} changes the membership of a single voter", entry.index);
    Committed { index: LogIndex(entry.index), term: Term(entry.term), data: entry.data }
}

/// The log as the library reads it: what is not yet applied from memory, the rest from the disk.
struct Entries {
    reader: RefCell<LogReader>,
    /// Committed entries read from the disk while replaying.
    page: VecDeque<eraftpb::Entry>,
    /// Entries appended by this process and not yet applied.
    tail: VecDeque<eraftpb::Entry>,
    hard_state: HardState,
    voters: Vec<u64>,
}

impl Entries {
    fn append(&mut self, entries: Vec<eraftpb::Entry>) {
        let Some(first) = entries.first() else { return };
        while self.tail.back().is_some_and(|last| last.index >= first.index) {
            self.tail.pop_back();
        }
        self.tail.extend(entries);
    }

    fn forget_to(&mut self, index: u64) {
        for entries in [&mut self.page, &mut self.tail] {
            while entries.front().is_some_and(|entry| entry.index <= index) {
                entries.pop_front();
            }
        }
    }

    fn holds(&self, index: u64) -> bool {
        self.held(index).is_some()
    }

    /// The run of entries that holds `index`, and where in it.
    fn held(&self, index: u64) -> Option<(&VecDeque<eraftpb::Entry>, usize)> {
        [&self.tail, &self.page].into_iter().find_map(|entries| {
            let first = entries.front()?.index;
            let at = usize::try_from(index.checked_sub(first)?).ok()?;
            (at < entries.len()).then_some((entries, at))
        })
    }
}

impl raft::Storage for Entries {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let HardState { term, vote, commit } = self.hard_state;
        let hard_state = eraftpb::HardState { term: term.0, vote, commit: commit.0, ..Default::default() };
        Ok(RaftState { hard_state, conf_state: ConfState::from((self.voters.clone(), Vec::new())) })
    }

    fn entries(&self, low: u64, high: u64, max_size: impl Into<Option<u64>>, _: GetEntriesContext) -> raft::Result<Vec<eraftpb::Entry>> {
        let Some((entries, at)) = self.held(low) else { return Err(StorageError::Unavailable.into()) };
        let max_size = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0;
        let fits = entries.iter().skip(at).take_while(|entry| {
            bytes += entry.data.len() as u64;
            entry.index < high && (bytes <= max_size || entry.index == low)
        });
        Ok(fits.cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if let Some((entries, at)) = self.held(index) {
            return Ok(entries[at].term);
        }
        let term = self.reader.borrow().term(LogIndex(index));
        term.map(|term| term.0).ok_or_else(|| StorageError::Compacted.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.reader.borrow().first().0)
    }

    fn last_index(&self) -> raft::Result<u64> {
        let last = self.reader.borrow().last().0;
        Ok(self.tail.back().map_or(last, |entry| entry.index))
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<eraftpb::Snapshot> {
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
}

/// The voters that a membership names.
pub(crate) fn voters_of(membership: &[u8]) -> Vec<u64> {
    membership.chunks_exact(8).map(|id| u64::from_le_bytes(id.try_into().expect("chunks are 8 bytes"))).collect()
}
