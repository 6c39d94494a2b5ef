//! One replica of a partition: what it is told changes it, and each turn ends with what it wants done.
//!
//! It keeps the output rule: no answer leaves before everything it was computed from is committed and published. The
//! life of an entry: open (execution.rs) -> sealed and proposed -> on the disk -> committed -> published -> released.
//! After a fault it does nothing more; a restart goes on from what the disk holds.

use std::collections::VecDeque;

use onebox_service::attempt::{Attempt, Command, Fate, Reply, RequestId, Sequence};
use onebox_service::buggify::buggify;
use onebox_service::{Code, Fault, Time};
use onebox_store::log::{self, Cut};
use onebox_store::names::NodeId;
use onebox_store::state::View;
use onebox_store::{LogIndex, Term};

use crate::admission::Queue;
use crate::background::Jobs;
use crate::clock::LogClock;
use crate::confirming::{Confirm, Confirming};
use crate::consensus::Consensus;
use crate::divergence::Divergence;
use crate::effect::{Effects, Note, Query, Stop};
use crate::execution::{Ended, Execution};
use crate::handover::Handover;
use crate::input::{Clock, Input, Read, Token};
use crate::limits::{CLOCK_JUMP_MAX, CLOCK_SKEW_MAX, Limits};
use crate::membership::{Membership, PeerId};
use crate::reads::{Held, Reads};
use crate::skew::Skew;
use crate::snapshots::Snapshots;
use crate::upgrades::Builds;

/// The time between two [`Input::Tick`]s, in microseconds.
pub const TICK_MICROS: u64 = 50_000;
/// Ticks without a write after which the end of the log is asserted: one second.
const MARKER_TICKS: u64 = 20;
/// What is said to callers of a replica that has stopped, of requests that certainly changed nothing.
pub(crate) const STOPPED: &str = "this node has stopped";

/// What a replica is opened with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its bounds.
    pub limits: Limits,
    /// The identity of this node's disk.
    pub node: NodeId,
    /// What every choice of chance is drawn from.
    pub seed: u64,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// Bytes of the base's cache.
    pub cache_bytes: usize,
    /// Bytes of dirty rows at which they are flushed.
    pub flush_bytes_target: usize,
    /// Ticks without a leader after which a replica may campaign; it waits up to twice as long.
    pub election_ticks: usize,
    /// What a disk without data begins with.
    pub beginning: Beginning,
    /// What an answer waits for.
    pub confirm: Confirm,
}

/// What a replica without data begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// A partition of which it is the only member.
    Alone,
    /// A partition that begins with these voters, all of which begin alike.
    Voters(Vec<PeerId>),
    /// Nothing: it waits until the members of a partition take it in.
    Join,
}

/// How a replica is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Whether it takes requests.
    pub serves: bool,
    /// The last entry applied, and the last in the log.
    pub progress: (LogIndex, LogIndex),
    /// Attempts that wait.
    pub queued: usize,
    /// Bytes of rows not yet in the base.
    pub dirty_bytes: usize,
    /// Whether writes are refused for want of disk.
    pub disk_low: bool,
    /// Whether it leads and has applied what was there when its term began.
    pub leads: bool,
    /// Its term.
    pub term: Term,
    /// Log time: nothing is executed before it. Whoever sets deadlines is to reckon from it, if it is ahead of their clock.
    pub time: Time,
    /// The leader, as far as it knows.
    pub leader: Option<PeerId>,
    /// Whether it heard of one within an election timeout.
    pub hears_leader: bool,
    /// The leader, once it is known to take requests, and its term.
    pub serving: Option<(PeerId, Term)>,
    /// Everything up to here is known to be committed.
    pub committed: LogIndex,
    /// While it wants a peer's snapshot: rows of it that are fetched, and all that it has, as far as that is known.
    pub fetched: Option<(u64, u64)>,
}

/// An entry that was executed here and is not yet committed.
pub(crate) struct InFlight {
    /// Its number by this leader's count.
    pub(crate) number: u64,
    pub(crate) index: LogIndex,
    pub(crate) term: Term,
    pub(crate) time: Time,
    pub(crate) replies: Vec<(Token, Reply)>,
}

/// A replica. See the module.
pub struct Replica {
    pub(crate) limits: Limits,
    pub(crate) execution: Execution,
    /// Replies that leave with the open entry, and who waits for each.
    pub(crate) open_replies: Vec<(Token, Reply)>,
    pub(crate) clock: LogClock,
    pub(crate) effects: Effects,
    pub(crate) consensus: Consensus,
    pub(crate) queue: Queue,
    pub(crate) reads: Reads,
    pub(crate) in_flight: VecDeque<InFlight>,
    pub(crate) confirming: Confirming,
    /// Number of the last entry that is published and confirmed.
    pub(crate) published: u64,
    pub(crate) view: View,
    pub(crate) seed: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) node: NodeId,
    pub(crate) replaying: bool,
    /// It was committed when this process started: applied without giving views.
    pub(crate) replay_to: LogIndex,
    /// It has no state of its own, or none that is right, and waits for a peer's.
    pub(crate) hollow: bool,
    pub(crate) divergence: Divergence,
    pub(crate) snapshots: Snapshots,
    pub(crate) builds: Builds,
    pub(crate) skew: Skew,
    /// The term in which it was told that this replica leads.
    pub(crate) led: Option<Term>,
    /// A change of the members that was proposed here: its entry, its term, who asked.
    pub(crate) changing: Option<(LogIndex, Term, Token)>,
    pub(crate) disk_low: bool,
    pub(crate) draining: bool,
    pub(crate) handover: Handover,
    pub(crate) stopped: Option<Stop>,
    pub(crate) jobs: Jobs,
    pub(crate) log_bytes_unflushed: u64,
    pub(crate) ticks: u64,
    pub(crate) quiet_since: u64,
}

/// A replica with the writer of its log, which lives on another thread, and what opening found.
pub struct Opened {
    /// The replica.
    pub replica: Replica,
    /// The log's writer.
    pub writer: log::LogWriter,
    /// The torn end that was cut off the log, if there was one.
    pub cut: Option<Cut>,
}

impl Replica {
    /// Takes one input. What follows from it comes with [`finish_turn`](Self::finish_turn).
    pub(crate) fn step(&mut self, clock: Clock, input: Input) {
        match input {
            Input::Attempt(token, attempt) => self.admit(token, attempt),
            Input::Read(read) => self.admit_read(read),
            Input::Outcome(token, id) => self.ask_fate(clock, token, id),
            Input::Persisted { number, appended, needs_spare } => self.persisted(number, appended, needs_spare),
            Input::JobDone(done) => self.job_done(done),
            Input::PersistFailed(fault) => self.stop(Stop::Fault(fault)),
            Input::Tick => self.tick(clock),
            Input::DiskFree { bytes } => self.disk_free(bytes),
            Input::Peer(message) => self.hear_peer(clock, message),
            Input::Change(token, change) => self.change_members(token, change),
            Input::Transfer(token, to) => self.hand_over(token, to),
            Input::Activate(token) => self.activate(clock, token),
            Input::Drain => self.drain(),
        }
    }

    /// Ends a turn: executes what waits, moves entries on, and gives what is to be done, to be taken out.
    pub(crate) fn finish_turn(&mut self, clock: Clock) -> &mut Effects {
        if self.stopped.is_none()
            && let Err(stop) = self.work(clock)
        {
            self.stop(stop);
        }
        &mut self.effects
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        Status {
            serves: self.serves(),
            progress: self.consensus.progress(),
            queued: self.queue.len(),
            dirty_bytes: self.execution.state.dirty_bytes(),
            disk_low: self.disk_is_low(),
            leads: self.serves_reads(),
            term: self.consensus.term(),
            time: self.clock.last(),
            leader: self.consensus.leader(),
            hears_leader: self.consensus.hears_leader(),
            serving: self.consensus.serving_leader(),
            committed: self.consensus.committed(),
            fetched: self.snapshots.fetched(),
        }
    }

    /// The members as of the last committed entry that it knows.
    pub fn membership(&self) -> &Membership {
        self.consensus.membership()
    }

    /// Itself among them.
    pub fn id(&self) -> PeerId {
        self.consensus.id()
    }

    /// Whether writes are refused for want of disk.
    pub(crate) fn disk_is_low(&self) -> bool {
        self.disk_low || self.jobs.flush_postponed()
    }

    /// What log time it is at these clocks.
    pub fn log_time(&mut self, clock: Clock) -> Time {
        let (wall, leap_max) = match self.others_ahead(clock) {
            None => (clock.wall, CLOCK_JUMP_MAX),
            Some(ahead) if ahead.unsigned_abs() <= CLOCK_SKEW_MAX => (clock.wall, u64::MAX),
            Some(ahead) => (Time(clock.wall.0.saturating_add_signed(ahead)), u64::MAX),
        };
        let (now, leap) = self.clock.now(Clock { wall, ..clock }, leap_max);
        self.note_leap(leap);
        now
    }

    pub(crate) fn note_leap(&mut self, leap: Option<u64>) {
        self.effects.notes.extend(leap.map(|leap| Note::ClockJumped { micros: leap }));
    }

    /// The chain and the digest of the state that it has executed: equal states have equal ones.
    pub fn digests(&self) -> (u128, u128) {
        (self.execution.state.chain().0, self.execution.state.digest().0)
    }

    /// The state that readers see.
    pub fn view(&self) -> &View {
        &self.view
    }

    fn work(&mut self, clock: Clock) -> Result<(), Stop> {
        self.hear_consensus()?;
        // Also while draining: what was taken is finished.
        if self.serves_reads() {
            self.execute_queue(clock)?;
            if self.may_seal() {
                self.seal()?;
            }
            if let Some(round) = self.reads.begin_round() {
                self.consensus.begin_read_round(round);
            }
            self.hear_consensus()?;
        }
        if let Some(mut batch) = self.consensus.take_batch() {
            batch.spare_made = self.jobs.take_spare_made();
            self.effects.persist = Some(batch);
        }
        self.effects.messages.extend(self.consensus.take_messages());
        let (newest_version, applied) = (self.newest_version(), self.consensus.progress().0.0);
        let had_better_not_lead = self.had_better_not_lead();
        for message in &mut self.effects.messages {
            (message.clock, message.newest_version, message.applied) = (clock.wall.0, newest_version, applied);
            message.yields = had_better_not_lead;
        }
        self.confirm_entries();
        let full = self.reads.held() >= self.limits.held_answers_max;
        self.release();
        // What stopped for want of room among the held answers goes on at once.
        self.effects.again |= full && self.reads.held() < self.limits.held_answers_max && !self.queue.is_empty();
        self.start_jobs();
        self.finish_drain();
        Ok(())
    }

    // ---- inputs ----

    fn admit(&mut self, token: Token, attempt: Attempt) {
        if let Some(reply) = self.not_here(self.serves()) {
            return self.reply(token, reply);
        }
        if let Command::Call { body, .. } = &attempt.command
            && body.len() > self.limits.body_bytes_max
        {
            let words = format!("the request has {} bytes; {} are allowed", body.len(), self.limits.body_bytes_max);
            return self.reply(token, Reply::refused(Code::ResourceExhausted, words));
        }
        if let Err(token) = self.queue.admit(token, attempt, &self.limits) {
            self.reply(token, Reply::Overloaded);
        }
    }

    fn ask_fate(&mut self, clock: Clock, token: Token, id: RequestId) {
        if let Some(reply) = self.not_here(self.serves_reads()) {
            return self.reply(token, reply);
        }
        if self.reads.held() >= self.limits.held_answers_max {
            return self.reply(token, Reply::Overloaded);
        }
        match self.fate_of(clock, id) {
            Ok(fate) => self.hold(Held::Fate(token, fate)),
            Err(fault) => {
                self.reply(token, Reply::Retry(STOPPED));
                self.stop(Stop::Fault(fault));
            }
        }
    }

    /// What is said of a deadline must hold for everything executed from now on, also by a leader whose clock is behind: the log must
    /// say it. If no entry is behind the deadline and this clock is, the request is withdrawn, which is one.
    fn fate_of(&mut self, clock: Clock, id: RequestId) -> Result<Fate, Fault> {
        let fate = self.execution.requests.fate(&self.execution.state, id, self.last_time())?;
        if fate != Fate::Pending || self.log_time(clock) <= id.not_after {
            return Ok(fate);
        }
        if self.disk_is_low() || self.execution.open_bytes() >= self.limits.entry_bytes_max {
            // Without room to say more, it stays pending: it can be asked again.
            return Ok(fate);
        }
        self.begin_entry(clock)?;
        let withdraw = Attempt { id, acknowledged_below: Sequence(0), command: Command::Withdraw };
        Ok(match self.execution.execute(&withdraw, false)? {
            Ended::Effect(_) => Fate::NoEffect,
            Ended::NoEffect(_) | Ended::Bug(..) => fate,
        })
    }

    /// The time of the last entry, also of one that is open or not committed.
    fn last_time(&self) -> Time {
        if !self.execution.is_empty() {
            return self.execution.time();
        }
        self.in_flight.back().map_or(self.execution.state.applied().time, |last| last.time)
    }

    fn persisted(&mut self, number: u64, appended: log::Appended, needs_spare: bool) {
        self.consensus.persisted(number, appended);
        self.quiet_since = self.ticks;
        if needs_spare && self.stopped.is_none() {
            self.prepare_spare();
        }
    }

    fn tick(&mut self, clock: Clock) {
        self.ticks += 1;
        if self.stopped.is_some() {
            return;
        }
        self.tend_skew(clock);
        self.tend_divergence();
        if self.stopped.is_some() {
            return;
        }
        self.consensus.tick();
        self.snapshots_tick();
        self.hand_over_if_it_yields();
        for token in self.reads.expired(clock.uptime) {
            let words = "the state did not reach the position asked for in time";
            self.effects.refused_reads.push((token, Reply::refused(Code::DeadlineExceeded, words)));
        }
        if buggify("a flush is asked for early", 64) {
            self.execution.state.request_flush();
        }
        self.scrub_on();
        if self.ticks - self.quiet_since >= MARKER_TICKS
            && self.queue.is_empty()
            && let Some(marker) = self.consensus.take_marker()
        {
            self.effects.persist = Some(marker);
        }
    }

    // ---- the life of an entry ----

    /// Whether new writes are taken.
    pub(crate) fn serves(&self) -> bool {
        self.serves_reads() && !self.draining && !self.hands_over_for_room()
    }

    pub(crate) fn serves_reads(&self) -> bool {
        self.stopped.is_none() && self.consensus.leads()
    }

    /// What is said to a caller who has to ask again, or elsewhere.
    pub(crate) fn not_here(&self, serves: bool) -> Option<Reply> {
        if self.stopped.is_some() {
            return Some(Reply::Retry(STOPPED));
        }
        if serves {
            return None;
        }
        let leader = self.consensus.leader().filter(|leader| *leader != self.consensus.id());
        Some(match leader {
            Some(leader) => Reply::Elsewhere(Some(leader.0)),
            None if self.consensus.is_alone() || self.draining => Reply::Retry("this node is starting or stopping"),
            None => Reply::Elsewhere(None),
        })
    }

    fn execute_queue(&mut self, clock: Clock) -> Result<(), Stop> {
        for _ in 0..self.limits.turn_requests_max {
            if self.execution.state.dirty_bytes() > self.limits.dirty_bytes_max || self.reads.held() >= self.limits.held_answers_max {
                // The flusher, or the log, must catch up first; callers feel it as a queue that fills.
                return Ok(());
            }
            if buggify("a turn ends early", 64) {
                break;
            }
            if self.execution.open_bytes() >= self.limits.entry_bytes_max
                || (!self.execution.is_empty() && buggify("an entry is full early", 32))
            {
                if !self.may_seal() {
                    return Ok(());
                }
                self.seal()?;
            }
            let Some((token, attempt)) = self.queue.pop() else { return Ok(()) };
            if self.hands_over_for_room() {
                self.reply(token, Reply::Elsewhere(None));
                continue;
            }
            self.execute(clock, token, &attempt)?;
        }
        self.effects.again = !self.queue.is_empty();
        Ok(())
    }

    fn execute(&mut self, clock: Clock, token: Token, attempt: &Attempt) -> Result<(), Stop> {
        let begun = self.begin_entry(clock);
        let ended = begun.and_then(|()| self.execution.execute(attempt, self.disk_is_low())).map_err(|fault| {
            self.reply(token, Reply::Retry(STOPPED));
            Stop::Fault(fault)
        })?;
        match ended {
            Ended::Effect(reply) => self.open_replies.push((token, reply)),
            Ended::NoEffect(reply) => self.hold(Held::Reply(token, reply)),
            Ended::Bug(reply, method, what) => {
                self.effects.notes.push(Note::Bug { method, what });
                self.hold(Held::Reply(token, reply));
            }
        }
        Ok(())
    }

    /// Begins an entry, unless one is open that holds something.
    pub(crate) fn begin_entry(&mut self, clock: Clock) -> Result<(), Fault> {
        if !self.execution.is_empty() {
            return Ok(());
        }
        let time = self.log_time(clock);
        self.clock.seen(time);
        let (is_new, seed) = (self.execution.is_new(), self.next_seed());
        self.execution.begin(time, seed)?;
        if is_new { self.begin_with_newest() } else { Ok(()) }
    }

    /// Who waits for the open entry, which is gone.
    pub(crate) fn take_open_callers(&mut self) -> Vec<Token> {
        self.open_replies.drain(..).map(|(token, _)| token).collect()
    }

    fn may_seal(&self) -> bool {
        !self.execution.is_empty()
            && self.in_flight.len() < self.limits.entries_in_flight_max
            && self.confirming.len() < self.limits.entries_unconfirmed_max
    }

    fn seal(&mut self) -> Result<(), Stop> {
        let time = self.execution.time();
        let data = self.execution.seal().map_err(Stop::Fault)?;
        let replies = std::mem::take(&mut self.open_replies);
        let bytes = data.len() as u64;
        let number = self.last_number() + 1;
        match self.consensus.propose(data) {
            Some(index) => {
                self.log_bytes_unflushed += bytes;
                self.in_flight.push_back(InFlight { number, index, term: self.consensus.term(), time, replies });
            }
            None => {
                self.execution.undo_entry();
                let why = "the entry was not taken by the consensus";
                for (token, _) in replies {
                    self.reply(token, Reply::Retry(why));
                }
                // What was computed on the entry goes with it.
                self.retry_held(why);
            }
        }
        Ok(())
    }

    /// Number of the last sealed entry by this leader's count.
    pub(crate) fn last_number(&self) -> u64 {
        let committed = self.confirming.last_number().unwrap_or(self.published);
        self.in_flight.back().map_or(committed, |last| last.number)
    }

    pub(crate) fn publish(&mut self) {
        if !self.replaying && !self.hollow {
            self.view = self.execution.state.publish();
            self.effects.publish = Some(self.view.clone());
        }
    }

    fn release(&mut self) {
        let position = self.view.position().index;
        while let Some(held) = self.reads.release(self.published) {
            match held {
                Held::Reply(token, reply) => self.effects.replies.push((token, reply, position)),
                Held::Fate(token, fate) => self.effects.fates.push((token, fate)),
            }
        }
        for Read { token, tenant, method, body, deadline, consistency: _ } in self.reads.runnable(position) {
            self.effects.queries.push(Query { token, tenant, method, body, view: self.view.clone(), deadline });
        }
    }

    pub(crate) fn hold(&mut self, held: Held) {
        // The open entry is the one after the last sealed one.
        let number = self.last_number() + u64::from(!self.execution.is_empty());
        self.reads.hold(number, held);
    }

    pub(crate) fn reply(&mut self, token: Token, reply: Reply) {
        self.effects.replies.push((token, reply, self.view.position().index));
    }

    fn finish_drain(&mut self) {
        if !self.draining || !self.queue_is_idle() || self.jobs.flushing() || self.hands_over() {
            return;
        }
        if self.hollow || self.execution.state.base_applied() == self.execution.state.applied() {
            // Reads of a position that is still to come.
            self.retry_held("this node is stopping");
            self.effects.drained = true;
        } else {
            self.execution.state.request_flush();
            self.effects.again = !self.jobs.flush_postponed();
        }
    }

    fn queue_is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.execution.is_empty()
            && self.in_flight.is_empty()
            && self.confirming.len() == 0
            && self.reads.is_empty()
    }

    pub(crate) fn stop(&mut self, stop: Stop) {
        if self.stopped.is_some() {
            return;
        }
        // Entries on their way to the disk may or may not have reached it; all else certainly changed nothing.
        let words = stop.to_string();
        for entry in std::mem::take(&mut self.in_flight) {
            let unknown = entry.replies.into_iter().map(|(token, _)| (token, Reply::Unknown(words.clone()), LogIndex(0)));
            self.effects.replies.extend(unknown);
        }
        self.forget_confirming(&words);
        self.execution.forget_open();
        let mut callers = self.take_open_callers();
        while let Some((token, _)) = self.queue.pop() {
            callers.push(token);
        }
        for token in callers {
            self.reply(token, Reply::Retry(STOPPED));
        }
        self.retry_held(STOPPED);
        self.snapshots.forget();
        self.effects.stop = Some(stop.clone());
        self.stopped = Some(stop);
    }

    pub(crate) fn next_seed(&mut self) -> u64 {
        self.seed = xxhash_rust::xxh3::xxh3_64_with_seed(b"entry", self.seed);
        self.seed
    }
}
