//! The threads of one partition: the executor, the log writer, the background worker, the warmer.
//!
//! The executor never waits for the disk's log: it hands a frame to the log thread and goes on. It blocks only when
//! it has nothing to do. Channels between the threads are bounded; the only one that outside load can fill is the
//! executor's inputs, and there the sender is told at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use onebox_replica::replica::Opened;
use onebox_replica::turn::{World, take_turn};
use onebox_replica::{Input, Job, Note, PeerId, PeerMessage, PersistBatch, Query, Replica, Stop, Token};
use onebox_service::FaultKind;
use onebox_service::attempt::{Fate, Reply};
use onebox_store::log::LogWriter;
use onebox_store::state::{Retired, View};
use onebox_store::{Disk, LogIndex, Term};

use crate::link::{Clocks, Link, Standing};
use crate::partitions::span_of;
use crate::queries::Readers;

/// Inputs that wait for the executor, beside its own queue.
pub(crate) const INPUTS_WAITING_MAX: usize = 4_096;
/// How much the background worker stands back behind other threads, of 19.
const BACKGROUND_NICENESS: i32 = 10;
/// Inputs that one turn takes at most.
const INPUTS_PER_TURN_MAX: usize = 1_024;
/// Ticks between two looks at the free space of the disk: a fifth of a second.
const DISK_FREE_TICKS: u64 = 4;
/// Entries that a follower may be behind and still be ready.
const BEHIND_ENTRIES_MAX: u64 = 1_000;
/// Ticks between two lines about the progress of a replay: two seconds.
const PROGRESS_TICKS: u64 = 40;

/// What a partition's threads tell whoever started them.
#[derive(Debug)]
pub(crate) enum PartitionEvent {
    /// Everything is flushed after a drain.
    Drained,
    /// The replica has stopped.
    Stopped(Stop),
    /// A thread has panicked: a bug, after which nothing can be relied on but the disk.
    Panicked {
        /// The thread.
        thread: &'static str,
    },
}

/// What the executor's thread works with.
pub(crate) struct Parts {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) opened: Opened,
    pub(crate) inputs: (SyncSender<Input>, Receiver<Input>),
    pub(crate) link: Arc<Link>,
    pub(crate) readers: Readers,
    pub(crate) clocks: Clocks,
    pub(crate) events: Events,
    /// Between two ticks of the replica.
    pub(crate) tick: Duration,
}

/// Told of what happens to a partition.
pub(crate) type Events = Arc<dyn Fn(PartitionEvent) + Send + Sync>;

/// Starts the threads. They end with the process, or once the replica has drained or stopped.
pub(crate) fn start(parts: Parts) {
    let Parts { disk, opened, inputs: (sender, inputs), link, readers, clocks, events, tick } = parts;
    let (frames, frames_source) = sync_channel(1);
    let (work, work_source) = sync_channel(64);
    spawn("log", &events, {
        let sender = sender.clone();
        let writer = opened.writer;
        move || write_log(writer, &frames_source, &sender)
    });
    let (warm, warm_source) = sync_channel(1);
    spawn("warmer", &events, {
        let (disk, sender) = (Arc::clone(&disk), sender.clone());
        move || work_off(&*disk, &warm_source, &sender)
    });
    spawn("worker", &events, {
        let disk = Arc::clone(&disk);
        move || {
            // What it does takes long and is never urgent: where processors are scarce, requests go first. Where that may not be
            // said, it is no matter.
            let _ = rustix::process::nice(BACKGROUND_NICENESS);
            work_off(&*disk, &work_source, &sender)
        }
    });
    let world = Threads { frames, work, warm, link, readers, events: Arc::clone(&events), ended: false };
    let executor = Executor { replica: opened.replica, inputs, world, disk, clocks, tick, ticks: 0, serving: None };
    spawn("executor", &events, move || {
        let _span = span_of(executor.world.link.partition, executor.world.link.partitions).entered();
        executor.run();
    });
}

/// Starts a thread whose panic does not go unnoticed.
pub(crate) fn spawn(thread: &'static str, events: &Events, run: impl FnOnce() + Send + 'static) {
    let events = Arc::clone(events);
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            events(PartitionEvent::Panicked { thread });
        }
    };
    thread::Builder::new().name(thread.to_owned()).spawn(guarded).expect("the system can start a thread");
}

/// Writes and syncs one frame after the other. After a fault nothing is written any more.
fn write_log(mut writer: LogWriter, frames: &Receiver<PersistBatch>, inputs: &SyncSender<Input>) {
    while let Ok(PersistBatch { number, batch, spare_made }) = frames.recv() {
        if spare_made {
            writer.note_spare();
        }
        let input = match writer.append(&batch) {
            Ok(appended) => Input::Persisted { number, appended, needs_spare: writer.needs_spare() },
            Err(fault) => Input::PersistFailed(fault),
        };
        if inputs.send(input).is_err() {
            return;
        }
    }
}

enum Work {
    Run(Job),
    Free(Retired),
}

fn work_off(disk: &dyn Disk, work: &Receiver<Work>, inputs: &SyncSender<Input>) {
    while let Ok(work) = work.recv() {
        match work {
            Work::Run(job) => {
                if inputs.send(Input::JobDone(job.run(disk))).is_err() {
                    return;
                }
            }
            Work::Free(retired) => drop(retired),
        }
    }
}

struct Executor {
    replica: Replica,
    inputs: Receiver<Input>,
    world: Threads,
    disk: Arc<dyn Disk>,
    clocks: Clocks,
    tick: Duration,
    ticks: u64,
    /// The leader that takes requests, and its term, as of the last turn.
    serving: Option<(PeerId, Term)>,
}

impl Executor {
    fn run(mut self) {
        self.take_turns();
        let Executor { inputs, world, .. } = self;
        // Nothing more can arrive from here on, and what did will not be taken.
        drop(inputs);
        world.link.executor_left();
    }

    fn take_turns(&mut self) {
        let tick = self.tick;
        let mut next_tick = Instant::now() + tick;
        let mut again = true;
        let mut batch = Vec::with_capacity(INPUTS_PER_TURN_MAX);
        while !self.world.ended {
            let wait = if again { Duration::ZERO } else { next_tick.saturating_duration_since(Instant::now()) };
            match self.inputs.recv_timeout(wait) {
                Ok(input) => batch.push(input),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while batch.len() < INPUTS_PER_TURN_MAX
                && let Ok(input) = self.inputs.try_recv()
            {
                batch.push(input);
            }
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + tick;
                self.tick(&mut batch);
            }
            let clock = self.clocks.read();
            again = take_turn(&mut self.replica, clock, batch.drain(..), &mut self.world);
            self.world.link.log_time_is(self.replica.log_time(clock), clock.uptime);
            let serving = self.replica.status().serving;
            if serving != self.serving {
                self.serving = serving;
                if serving.is_some() {
                    // Callers wait for it.
                    let (standing, ready, reason) = self.standing();
                    self.world.link.stands(standing, ready, reason, true);
                }
            }
        }
    }

    fn tick(&mut self, batch: &mut Vec<Input>) {
        self.ticks += 1;
        batch.push(Input::Tick);
        if self.ticks.is_multiple_of(DISK_FREE_TICKS) {
            match self.disk.free_bytes() {
                Ok(bytes) => batch.push(Input::DiskFree { bytes }),
                Err(fault) => tracing::warn!(%fault, "cannot tell how full the disk is"),
            }
        }
        let (standing, ready, reason) = self.standing();
        if !ready && self.ticks.is_multiple_of(PROGRESS_TICKS) {
            let (applied, last) = standing.status.progress;
            match standing.status.leader {
                Some(_) => tracing::info!(applied = applied.0, last = last.0, "not ready: {reason}"),
                None => tracing::warn!(applied = applied.0, last = last.0, "not ready: {reason}"),
            }
        }
        self.world.link.stands(standing, ready, reason, false);
    }

    /// How the replica sees its partition, whether it is ready, and the reason.
    fn standing(&self) -> (Standing, bool, String) {
        let status = self.replica.status();
        let members = self.replica.membership().clone();
        let (applied, last) = status.progress;
        let follows = status.leader.filter(|leader| !status.leads && members.peers().contains(leader));
        let caught_up = applied.0 + BEHIND_ENTRIES_MAX >= status.committed.0;
        let (ready, reason) = match (status.serves, follows) {
            // A leader that is heard counts it among the members, which it has yet to apply.
            (false, _) if !status.hears_leader && !members.is_empty() && !members.contains(self.replica.id()) => {
                (false, "removed from its cluster: stop it, or take it in again with cluster add".to_owned())
            }
            (true, _) if status.disk_low => (true, "ready for reads; writes are refused until the disk has room".to_owned()),
            (true, _) if members.voters.len() < 2 => (true, "ready".to_owned()),
            (true, _) => (true, "ready: this node leads".to_owned()),
            (false, Some(leader)) if caught_up => (true, format!("ready: node {leader} leads")),
            (false, _) if let Some((rows, of)) = status.fetched => {
                (false, if of == 0 { "waits for the state".to_owned() } else { format!("fetches the state: {rows} of {of} rows") })
            }
            (false, _) if members.is_empty() => (false, "waits to be taken in by the cluster".to_owned()),
            (false, None) if members.voters.len() > 1 => {
                (false, format!("no node is known to lead{}", self.world.link.unreached(&members.voters)))
            }
            (false, _) => (false, format!("recovering, or stopping: {applied} of {last} entries are applied")),
        };
        let digest = self.replica.digests().1 as u64;
        (Standing { status, members, digest }, ready, reason)
    }
}

/// Nodes, as an operator names them.
fn names(nodes: &[u64]) -> String {
    nodes.iter().map(|node| format!("{node:x}")).collect::<Vec<_>>().join(" ")
}

/// The node's threads, as the world around a replica.
struct Threads {
    frames: SyncSender<PersistBatch>,
    work: SyncSender<Work>,
    warm: SyncSender<Work>,
    link: Arc<Link>,
    readers: Readers,
    events: Events,
    ended: bool,
}

impl World for Threads {
    fn persist(&mut self, batch: PersistBatch) {
        // One frame is outstanding at most, so there is room. A log thread that is gone has told why.
        let _ = self.frames.send(batch);
    }

    fn send(&mut self, message: Box<PeerMessage>) {
        self.link.send_peer(message);
    }

    fn publish(&mut self, view: View) {
        self.link.published_at(view.position().index);
    }

    fn reply(&mut self, to: Token, reply: Reply, at: LogIndex) {
        self.link.reply(to, reply, at);
    }

    fn tell_fate(&mut self, to: Token, fate: Fate) {
        self.link.tell_fate(to, fate);
    }

    fn query(&mut self, query: Query) {
        self.readers.run(query);
    }

    fn start(&mut self, job: Job) {
        // One job of each kind is out at most, so neither send waits. A thread that is gone has told why.
        let _ = match job {
            Job::Warm(_) => self.warm.send(Work::Run(job)),
            Job::Flush(_)
            | Job::Merge(_)
            | Job::PrepareSpare { .. }
            | Job::MoveToHistory(..)
            | Job::Scrub { .. }
            | Job::ScrubLog(_)
            | Job::ReadRows(_)
            | Job::Import(_) => self.work.send(Work::Run(job)),
        };
    }

    fn discard(&mut self, retired: Retired) {
        let _ = self.work.send(Work::Free(retired));
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Bug { method, what } => {
                tracing::error!(method, what, "the service's code failed on a request; it was answered with INTERNAL and changed nothing");
            }
            Note::Leads { term, at } => tracing::info!(term, entry = at.0, "ready: everything in the log is applied"),
            Note::Flushed { at, rows } => tracing::debug!(entry = at.0, rows, "rows were written to the base"),
            Note::FlushPostponed(fault) => {
                tracing::warn!(%fault, "rows could not be written to the base for want of disk; writes are refused, and it is tried again each second")
            }
            Note::DiskLow { free, min } => {
                tracing::warn!(free, min, "the disk is nearly full: writes are refused until there is room again; reads go on");
            }
            Note::DiskRoomAgain { free } => tracing::info!(free, "the disk has room again: writes are taken"),
            Note::ClockJumped { micros } => {
                let seconds = micros as f64 / 1e6;
                tracing::warn!(
                    seconds,
                    "the clock leapt forward; expiry goes on at the old pace until a restart, or until the other nodes agree"
                );
            }
            Note::ClockSkewed { ahead } => {
                let others_ahead_seconds = ahead as f64 / 1e6;
                tracing::warn!(
                    others_ahead_seconds,
                    "this machine's clock is not that of the other nodes: it does not lead until it is set right"
                );
            }
            Note::ClockAgrees => tracing::info!("this machine's clock agrees with the other nodes' again: it may lead"),
            Note::Members { at, members } => {
                let (voters, learners) = (names(&members.voters), names(&members.learners));
                let half_way = members.is_joint();
                tracing::info!(entry = at.0, voters, learners, half_way, "the members, from here on");
            }
            Note::FetchesSnapshot { at_least } => tracing::info!(at_least = at_least.0, "fetching a snapshot from the leader"),
            Note::Diverged { at, what } => {
                tracing::error!(entry = at.0, what, "the state here is not the one that the log states: fetching the leader's");
            }
            Note::SnapshotRefused(fault) => tracing::warn!(%fault, "a fetched snapshot is not what was stated; fetching it again"),
            Note::PeerNonsense { from, what } => tracing::warn!(%from, what, "a peer said something that makes no sense"),
            Note::LogScrub(fault) if fault.kind == FaultKind::Damage => {
                tracing::error!(
                    %fault,
                    "the log is damaged: this node goes on and lets another lead, but may not start again; let a new node join, then remove this one"
                );
            }
            Note::LogScrub(fault) => tracing::warn!(%fault, "the log could not be read through; it is tried again in some minutes"),
            Note::Scrubbed { rows } => tracing::debug!(rows, "every row of the base was read and found as written"),
        }
    }

    fn drained(&mut self) {
        self.ended = true;
        (self.events)(PartitionEvent::Drained);
    }

    fn stop(&mut self, stop: Stop) {
        self.ended = true;
        self.link.stopped(&stop.to_string());
        (self.events)(PartitionEvent::Stopped(stop));
    }
}
