//! The consensus library, behind this replica's own words. Only this file and its folder name it.
//!
//! It keeps: nothing leaves for a peer or counts as committed before what it depends on is on the disk; reads are
//! confirmed by a round begun after they arrived; its only chance, the election timeout, is drawn from the seed.
//! It must not know what an entry says.

mod campaigning;
mod changes;
mod convert;
mod entries;
mod heard;
mod leading;

use onebox_service::buggify::buggify;
use onebox_service::planted::planted;
use onebox_service::{Fault, FaultKind};
use onebox_store::log::{Appended, Batch, HardState, LogReader};
use onebox_store::{LogIndex, Term};
use raft::eraftpb::{self, EntryType};
use raft::{Config, RawNode, ReadOnlyOption, StateRole};

use self::campaigning::Told;
use self::entries::Entries;
use self::heard::Heard;
use crate::limits::Limits;
use crate::membership::{Membership, PeerId};
use crate::peer::{Behind, ConsensusKind, ConsensusMessage, PeerBody, PeerMessage};

/// Ticks between a leader's heartbeats.
const HEARTBEAT_TICKS: usize = 1;
/// More than an entry's record has in a frame beside its data.
const ENTRY_OVERHEAD_BYTES: u64 = 64;

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
    pub(crate) what: Agreed,
}

/// What an entry is about.
#[derive(Debug)]
pub(crate) enum Agreed {
    /// A leader begins its term.
    Term,
    /// What was executed.
    Data(bytes::Bytes),
    /// The members from here on.
    Members(Membership),
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

/// A frame on its way to the disk.
#[derive(Debug)]
struct Persisting {
    /// As it is known outside.
    frame: u64,
    /// The library's number of the last thing that is on the disk with it.
    ready: u64,
    /// What may be said once it is there.
    messages: Vec<Box<PeerMessage>>,
}

/// One replica's part in the consensus.
pub(crate) struct Consensus {
    id: PeerId,
    node: RawNode<Entries>,
    seed: u64,
    election_ticks: usize,
    rolls: u64,
    /// The election timeout in ticks, and the term and roll that it was drawn for.
    timeout: Option<(usize, (u64, u64))>,
    heard: Heard,
    told: Option<Told>,
    role: (StateRole, u64),
    /// Index of the entry with which this leader began its term.
    leads_from: u64,
    /// Collected for the next frame.
    batch: Batch,
    batch_ready: u64,
    batch_due: bool,
    /// Bytes of the entries taken from a leader since the last frame left.
    taken_bytes: u64,
    /// What one frame may have of them: it must fit a segment.
    frame_bytes_max: u64,
    /// What may be said once the next frame is on the disk.
    batch_messages: Vec<Box<PeerMessage>>,
    frames: u64,
    persisting: Option<Persisting>,
    /// What may be said now.
    messages: Vec<Box<PeerMessage>>,
    /// The end of the log is not yet asserted by a later frame.
    end_unasserted: bool,
    /// The last committed entry that the library handed over.
    handed_over: u64,
    /// As of the last entry handed over.
    membership: Membership,
    /// It applies nothing: its state is to be had from a peer.
    hollow: bool,
}

/// What the consensus starts from.
pub(crate) struct Start {
    pub(crate) limits: Limits,
    /// This replica among the members.
    pub(crate) id: PeerId,
    /// The members at `applied`; none, if this replica has yet to join.
    pub(crate) membership: Membership,
    pub(crate) hard_state: HardState,
    /// The position of the base: everything up to it is applied.
    pub(crate) applied: LogIndex,
    pub(crate) seed: u64,
    pub(crate) reader: LogReader,
    /// The most that a frame of the log may have.
    pub(crate) frame_bytes_max: u64,
    /// Ticks without a leader after which a replica may campaign.
    pub(crate) election_ticks: usize,
    /// Written with the first batch of a new log.
    pub(crate) first_membership: Option<Vec<u8>>,
    /// See [`Consensus::hollow`].
    pub(crate) hollow: bool,
}

impl Consensus {
    pub(crate) fn start(start: Start) -> Consensus {
        let config = Config {
            id: start.id.0,
            election_tick: start.election_ticks,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied: start.applied.0,
            max_inflight_msgs: start.limits.messages_in_flight_max,
            max_uncommitted_size: start.limits.uncommitted_bytes_max,
            max_committed_size_per_ready: start.limits.committed_bytes_per_turn,
            max_size_per_msg: start.limits.message_bytes_max.min(start.frame_bytes_max / 4),
            check_quorum: true,
            pre_vote: true,
            // Batching puts entries behind an empty message that is for another position; the simulator met it.
            batch_append: false,
            read_only_option: ReadOnlyOption::Safe,
            ..Config::default()
        };
        // What the base holds was committed, whatever the log's last word on it.
        let hard_state = HardState { commit: start.hard_state.commit.max(start.applied), ..start.hard_state };
        let entries = Entries::new(start.reader, &start.limits, hard_state, start.membership.clone());
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, entries, &logger).expect("the settings of the consensus are valid");
        let batch = Batch { hard_state: None, membership: start.first_membership, entries: Vec::new() };
        let mut consensus = Consensus {
            id: start.id,
            node,
            seed: start.seed,
            election_ticks: start.election_ticks,
            rolls: 0,
            timeout: None,
            heard: Heard::default(),
            told: None,
            role: (StateRole::Follower, 0),
            leads_from: u64::MAX,
            batch,
            batch_ready: 0,
            batch_due: false,
            taken_bytes: 0,
            frame_bytes_max: start.frame_bytes_max,
            batch_messages: Vec::new(),
            frames: 0,
            persisting: None,
            messages: Vec::new(),
            end_unasserted: false,
            handed_over: 0,
            membership: start.membership,
            hollow: start.hollow,
        };
        consensus.draw_timeout();
        consensus.campaign_if_alone();
        consensus
    }

    /// Whether this replica is the only voter.
    pub(crate) fn is_alone(&self) -> bool {
        self.membership.voters == [self.id.0] && self.membership.voters_outgoing.is_empty()
    }

    /// Whether everything known to be committed is applied. Before a campaign the library looks through what is not, for
    /// changes of membership, and takes it for an error when that cannot be read.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.applied() >= self.node.raft.raft_log.committed
    }

    /// Ticks without a leader after which it may campaign.
    pub(crate) fn election_ticks(&self) -> usize {
        self.election_ticks
    }

    pub(crate) fn id(&self) -> PeerId {
        self.id
    }

    pub(crate) fn term(&self) -> Term {
        Term(self.node.raft.term)
    }

    /// The members as of the last entry handed over.
    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Committed and not yet applied, and all that is committed: the progress of a replay.
    pub(crate) fn progress(&self) -> (LogIndex, LogIndex) {
        (LogIndex(self.applied()), LogIndex(self.node.raft.raft_log.last_index()))
    }

    /// Everything up to here is known to be committed.
    pub(crate) fn committed(&self) -> LogIndex {
        LogIndex(self.node.raft.raft_log.committed)
    }

    fn applied(&self) -> u64 {
        self.node.raft.raft_log.applied()
    }

    /// Proposes an entry and gives its index, or `None` if it was dropped and must be undone.
    pub(crate) fn propose(&mut self, data: Vec<u8>) -> Option<LogIndex> {
        if buggify("a proposal is dropped", 256) {
            return None;
        }
        if self.node.raft.state != StateRole::Leader {
            // The library would forward it.
            return None;
        }
        self.node.propose(Vec::new(), data).ok()?;
        Some(LogIndex(self.node.raft.raft_log.last_index()))
    }

    /// Begins a read round. Confirmed rounds come with the news.
    pub(crate) fn begin_read_round(&mut self, round: u64) {
        self.node.read_index(round.to_be_bytes().to_vec());
    }

    /// From here on it hands over nothing that is committed, and does not campaign.
    pub(crate) fn become_hollow(&mut self) {
        self.hollow = true;
    }

    pub(crate) fn tick(&mut self) {
        self.heard.tick();
        self.tick_told();
        let leads = self.node.raft.state == StateRole::Leader;
        if leads || self.may_campaign() {
            self.node.tick();
            if self.node.raft.election_elapsed == 0 {
                self.rolls += 1;
            }
        } else {
            // It does not campaign, and must not go on believing in a leader that is gone: others ask for its vote.
            self.node.raft.election_elapsed = (self.node.raft.election_elapsed + 1).min(self.election_ticks);
        }
        self.draw_timeout();
    }

    /// Takes what a peer said.
    ///
    /// # Errors
    /// Why it makes no sense.
    pub(crate) fn hear(&mut self, from: PeerId, message: ConsensusMessage) -> Result<(), String> {
        if self.node.raft.prs().get(from.0).is_some() {
            self.heard.from(from.0);
        }
        let kind = ConsensusKind::try_from(message.kind).unwrap_or(ConsensusKind::Unspecified);
        // Without members, entries cannot be judged: changes of the members among them build on those before.
        if self.membership.is_empty() && kind == ConsensusKind::Append {
            return Ok(());
        }
        if kind == ConsensusKind::Heartbeat && message.term >= self.node.raft.term && !self.holds_what_it_told(message.commit) {
            return Ok(());
        }
        if kind == ConsensusKind::TimeoutNow && !self.may_campaign() {
            self.campaign_later(from, Term(message.term));
            return Ok(());
        }
        if !self.batch_due && self.node.raft.raft_log.unstable_entries().is_empty() {
            // What was taken is on its way to the disk, or was not needed.
            self.taken_bytes = 0;
        }
        let bytes: u64 = message.entries.iter().map(|entry| entry.data.len() as u64 + ENTRY_OVERHEAD_BYTES).sum();
        if bytes > 0 && self.taken_bytes > 0 && self.taken_bytes + bytes > self.frame_bytes_max / 2 {
            // They would not fit the next frame. The leader sends them again.
            return Ok(());
        }
        self.taken_bytes += bytes;
        let mut message = convert::heard(from.0, self.id.0, message)?;
        if is_about_a_vote(kind) {
            // A candidate of the library takes from it what is committed, looks through those entries, and panics where one cannot be read.
            (message.commit, message.commit_term) = (0, 0);
        }
        self.plant(kind, &mut message);
        // An answer from who is no member any more is of no use, and no mistake.
        let _ = self.node.step(message);
        if planted("an old term's entry committed by count") && self.node.raft.state == StateRole::Leader {
            let (counted, _) = self.node.raft.mut_prs().maximal_committed_index();
            self.node.raft.raft_log.commit_to(counted);
        }
        self.draw_timeout();
        Ok(())
    }

    /// A leader says of nothing that it is committed but what it was told to be here. If it is not, the log has lost its end:
    /// rot in a last frame looks like a write that was interrupted.
    fn holds_what_it_told(&self, committed: u64) -> bool {
        let last = self.node.raft.raft_log.last_index();
        if committed > last {
            let detail = format!("the log ends at entry {last}, and the leader was told that entry {committed} is on this disk");
            self.node.store().fault.set(Some(Fault::new(FaultKind::Damage, "follow", "log/", detail)));
        }
        committed <= last
    }

    /// The bugs that are planted in what a peer said.
    fn plant(&mut self, kind: ConsensusKind, message: &mut eraftpb::Message) {
        let is_vote = matches!(kind, ConsensusKind::RequestVote | ConsensusKind::RequestPreVote);
        if planted("up-to-date check skipped") && is_vote {
            (message.index, message.log_term) = (u64::MAX >> 1, u64::MAX >> 1);
        }
        let granted = matches!(kind, ConsensusKind::RequestVoteResponse | ConsensusKind::RequestPreVoteResponse) && !message.reject;
        let twice = planted("a vote counted twice") && granted;
        let learner = planted("a learner counted in the quorum") && self.membership.learners.contains(&message.from);
        if twice || (learner && kind == ConsensusKind::AppendResponse && !message.reject) {
            let others = self.membership.voters.iter().filter(|voter| **voter != message.from && **voter != self.id.0);
            for other in others.copied().collect::<Vec<_>>() {
                let _ = self.node.step(eraftpb::Message { from: other, ..message.clone() });
            }
        }
    }

    /// A batch is on the disk.
    pub(crate) fn persisted(&mut self, frame: u64, appended: Appended) {
        let persisting = self.persisting.take().expect("a frame is on its way to the disk");
        assert_eq!(persisting.frame, frame, "a sync was reported that nobody asked for");
        self.node.mut_store().reader.get_mut().note(appended);
        self.node.on_persist_ready(persisting.ready);
        self.messages.extend(persisting.messages);
        self.draw_timeout();
    }

    /// Everything up to `index` is applied.
    pub(crate) fn applied_to(&mut self, index: LogIndex) {
        self.node.advance_apply_to(index.0);
        self.node.mut_store().forget_to(index.0);
        self.campaign_if_alone();
        self.campaign_if_told();
    }

    /// What may be said to peers now.
    pub(crate) fn take_messages(&mut self) -> impl Iterator<Item = Box<PeerMessage>> {
        self.messages.drain(..)
    }

    /// Takes what the consensus has to say. Call until it has nothing more.
    ///
    /// # Errors
    /// The fault met while reading entries from the log.
    pub(crate) fn news(&mut self) -> Result<Option<News>, Fault> {
        let store = self.node.mut_store();
        if let Some(fault) = store.fault.get_mut().take() {
            return Err(fault);
        }
        if !store.behind.get_mut().is_empty() {
            self.tell_who_is_behind();
        }
        // Mostly there are but messages: those need none of the library's bookkeeping, which costs more than they do.
        let said = std::mem::take(&mut self.node.raft.msgs);
        if !self.node.has_ready() {
            if self.node.raft.state == StateRole::Leader {
                self.say_now(said)
            } else {
                self.say_once_durable(said)
            }
            return Ok(None);
        }
        self.node.raft.msgs = said;
        self.fetch_committed()?;
        let mut ready = self.node.ready();
        assert!(ready.snapshot().get_metadata().index == 0, "snapshots do not come through the consensus");
        let number = ready.number();
        if let Some(hard_state) = ready.hs() {
            let commit = LogIndex(hard_state.commit);
            self.batch.hard_state = Some(HardState { term: Term(hard_state.term), vote: hard_state.vote, commit });
        }
        let must_sync = ready.must_sync();
        let appended = ready.take_entries();
        self.supersede(&appended);
        self.node.mut_store().append(appended);
        let committed = ready.take_committed_entries();
        self.handed_over = committed.last().map_or(self.handed_over, |last| last.index);
        if self.hollow {
            // Nobody will apply them. Whoever needs them reads them from the disk.
            self.node.mut_store().forget_to(self.handed_over);
        }
        let read = ready.take_read_states().pop();
        let (now, once_durable) = (ready.take_messages(), ready.take_persisted_messages());
        self.say(now, once_durable, must_sync, number);
        self.node.advance_append_async(ready);
        if !self.batch_due && self.persisting.is_none() {
            // Nothing waits for the disk. Told so, the library does not keep a record of it until the next frame.
            self.node.on_persist_ready(number);
        }
        self.draw_timeout();
        let mut news = News::default();
        if let Some(read) = read {
            let round = u64::from_be_bytes(read.request_ctx[..].try_into().expect("a round's number is 8 bytes"));
            news.confirmed = Some((round, LogIndex(read.index)));
        }
        news.committed = if self.hollow { Vec::new() } else { committed.into_iter().map(|entry| self.agreed(entry)).collect() };
        let role = (self.node.raft.state, self.node.raft.term);
        news.role_changed = role != self.role;
        if news.role_changed {
            // Nothing is proposed before this news is out, so the last entry is the one that begins the term.
            self.role = role;
            self.leads_from = if role.0 == StateRole::Leader { self.node.raft.raft_log.last_index() } else { u64::MAX };
        }
        Ok(Some(news))
    }

    /// Puts entries into the next frame, in place of those that they supersede.
    fn supersede(&mut self, entries: &[eraftpb::Entry]) {
        let Some(first) = entries.first() else { return };
        while self.batch.entries.last().is_some_and(|last| last.index.0 >= first.index) {
            self.batch.entries.pop();
        }
        self.batch.entries.extend(entries.iter().map(convert::log_entry));
    }

    /// What depends on the disk waits for the frame that it depends on: persist before send.
    fn say(&mut self, now: Vec<eraftpb::Message>, once_durable: Vec<eraftpb::Message>, must_sync: bool, number: u64) {
        self.say_now(now);
        self.batch_due |= must_sync;
        if planted("acknowledged before the sync") {
            self.batch_ready = number;
            return self.say_now(once_durable);
        }
        if self.batch_due {
            self.batch_ready = number;
        } else if let Some(persisting) = &mut self.persisting {
            persisting.ready = number;
        }
        self.say_once_durable(once_durable);
    }

    fn say_now(&mut self, said: Vec<eraftpb::Message>) {
        let id = self.id;
        self.messages.extend(said.into_iter().filter_map(|message| convert::addressed(id, message)));
    }

    fn say_once_durable(&mut self, said: Vec<eraftpb::Message>) {
        let said = said.into_iter().filter_map(|message| convert::addressed(self.id, message));
        match &mut self.persisting {
            _ if self.batch_due => self.batch_messages.extend(said),
            Some(persisting) => persisting.messages.extend(said),
            None => self.messages.extend(said),
        }
    }

    fn agreed(&mut self, entry: eraftpb::Entry) -> Committed {
        let (index, term) = (LogIndex(entry.index), Term(entry.term));
        let what = match entry.get_entry_type() {
            EntryType::EntryNormal if entry.data.is_empty() => Agreed::Term,
            EntryType::EntryNormal => Agreed::Data(entry.data),
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                let change = convert::stored_change(&entry.data).unwrap_or_else(|what| panic!("entry {index}: {what}"));
                let state = self.node.apply_conf_change(&change);
                let state = state.unwrap_or_else(|error| panic!("entry {index} changes the members as cannot be: {error}"));
                self.membership = entries::members(&state);
                self.heard.keep(|peer| self.membership.contains(PeerId(peer)));
                // At once on the disk: who does not know that a change is done needs the votes of those who left, at its next start.
                self.batch_due |= !self.membership.is_joint();
                self.leave_if_removed();
                Agreed::Members(self.membership.clone())
            }
        };
        Committed { index, term, what }
    }

    fn tell_who_is_behind(&mut self) {
        let behind = std::mem::take(self.node.mut_store().behind.get_mut());
        let (term, first) = (self.node.raft.term, self.reader().first_kept().0);
        let told = behind.into_iter().map(|peer| PeerMessage::new(self.id, PeerId(peer), PeerBody::Behind(Behind { term, first })));
        self.messages.extend(told);
    }

    /// A follower that seemed to be behind says up to where it has everything that is committed: try there.
    pub(crate) fn is_at(&mut self, peer: PeerId, committed: LogIndex) {
        let last = self.node.raft.raft_log.last_index();
        if self.role.0 == StateRole::Leader
            && committed.0 <= last
            && let Some(progress) = self.node.raft.mut_prs().get_mut(peer.0)
            && progress.matched < committed.0
        {
            progress.become_probe();
            progress.next_idx = committed.0 + 1;
        }
    }

    /// The next frame, if one is due and the disk is free: one outstanding sync.
    pub(crate) fn take_batch(&mut self) -> Option<PersistBatch> {
        if !self.batch_due || self.persisting.is_some() {
            return None;
        }
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
        self.batch_due = false;
        self.taken_bytes = 0;
        self.frames += 1;
        let messages = std::mem::take(&mut self.batch_messages);
        self.persisting = Some(Persisting { frame: self.frames, ready: self.batch_ready, messages });
        PersistBatch { number: self.frames, batch, spare_made: false }
    }

    /// Access to the log's reader, for the segments that may move to history.
    pub(crate) fn reader(&mut self) -> &mut LogReader {
        self.node.mut_store().reader.get_mut()
    }

    /// The last entry that every peer has which is heard of; `None` if this replica does not lead.
    pub(crate) fn needed_above(&self) -> Option<LogIndex> {
        let peers = self.node.raft.prs().iter().filter(|(peer, _)| self.is_healthy(**peer));
        let least = peers.map(|(_, progress)| progress.matched).min()?;
        (self.role.0 == StateRole::Leader).then_some(LogIndex(least))
    }

    /// Puts the committed entries that come next where the library will look for them, so that a fault can be told.
    fn fetch_committed(&mut self) -> Result<(), Fault> {
        if self.membership.is_empty() {
            return Ok(());
        }
        let log = &self.node.raft.raft_log;
        // The library hands over each committed entry once.
        let (from, to) = (self.applied().max(self.handed_over) + 1, log.committed.min(log.persisted) + 1);
        self.node.mut_store().fetch(from, to)
    }
}

fn is_about_a_vote(kind: ConsensusKind) -> bool {
    use ConsensusKind::{RequestPreVote, RequestPreVoteResponse, RequestVote, RequestVoteResponse};
    matches!(kind, RequestVote | RequestVoteResponse | RequestPreVote | RequestPreVoteResponse)
}

#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod tests;
