//! One process of a node on a memory disk: the replica, its log's writer, and the desk, moved on step by step.
//!
//! What happens next is drawn by chance: a turn, a frame that is written, a job that is run, a tick. Each unit of work
//! is whole before the next begins; the power can fail at any change of the disk within one.

use std::sync::Arc;

use inventory::Inventory;
use onebox_replica::turn::take_turn;
use onebox_replica::{Beginning, Clock, Confirm, Input, Job, JobDone, Limits, Replica, Status, Token, replica};
use onebox_service::execute::{self, Context};
use onebox_service::{Failure, Fault, Time};
use onebox_store::log::Cut;
use onebox_store::memory::MemoryDisk;
use onebox_store::{Disk, LogIndex, NodeId};

use crate::chance::Chance;
use crate::history::History;
use crate::interleave::{Interleaved, LogThread};
use crate::world::{Desk, Trace};

const KIB: usize = 1024;

pub(crate) const NODE: NodeId = NodeId(0x6f6e_6562_6f78);
pub(crate) const SEGMENT_BYTES: u64 = 64 * KIB as u64;
/// Ticks between two looks at the disk's room.
const DISK_FREE_TICKS: u64 = 4;

/// Bounds so small that everything which happens rarely happens often.
pub(crate) fn limits() -> Limits {
    Limits {
        entry_bytes_max: 3 * KIB,
        turn_requests_max: 6,
        queue_requests_max: 64,
        queue_bytes_max: 64 * KIB,
        reads_waiting_max: 16,
        dirty_bytes_max: 96 * KIB,
        log_replay_bytes_max: 40 * KIB as u64,
        disk_free_min: 16 << 20,
        idempotency_retention: 3_000_000,
        ..Limits::default()
    }
}

/// What a machine was doing; where the power failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// Opening the data: recovery before the first turn.
    Open,
    /// The first frame of a start, with which recovery ends.
    Recover,
    /// Writing a frame into the open segment.
    Append,
    /// Writing a frame into a new segment.
    NewSegment,
    Flush,
    Spare,
    MoveToHistory,
    /// Jobs that only read.
    Other,
}

pub(crate) type ReadAnswer = (Token, Result<Vec<u8>, Failure>, LogIndex);

pub(crate) struct Machine {
    pub(crate) disk: MemoryDisk,
    shared: Interleaved,
    pub(crate) replica: Replica,
    pub(crate) desk: Desk,
    pub(crate) answers: Vec<ReadAnswer>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    /// What was cut off the log at the start.
    pub(crate) cut: Option<Cut>,
    power_fails_at: u64,
    /// What was under way when the power failed.
    pub(crate) power_failed_in: Option<Work>,
    ticks: u64,
    /// Nobody tells the replica how full the disk is.
    pub(crate) blind: bool,
}

/// A start that did not succeed: the fault, whether it was the power, and the history so far.
pub(crate) struct NotOpened {
    pub(crate) fault: Fault,
    pub(crate) power_failed: bool,
    pub(crate) history: History,
}

impl Machine {
    /// Starts a process at a wall time. The power fails after so many changes of the disk; `u64::MAX` is never.
    pub(crate) fn open(disk: &MemoryDisk, wall: Time, seed: u64, history: History, power_for: u64) -> Result<Machine, Box<NotOpened>> {
        Machine::open_with(disk, wall, seed, history, power_for, limits())
    }

    pub(crate) fn open_with(
        disk: &MemoryDisk,
        wall: Time,
        seed: u64,
        mut history: History,
        power_for: u64,
        limits: Limits,
    ) -> Result<Machine, Box<NotOpened>> {
        let power_fails_at = disk.operations().saturating_add(power_for);
        if power_for < u64::MAX {
            disk.fail_after(power_for);
        }
        history.process_ended();
        let shared = Interleaved::new(disk.clone());
        let (segment_bytes, cache_bytes, flush_bytes_target) = (SEGMENT_BYTES, 256 * KIB, 12 * KIB);
        let setup = replica::Setup {
            limits,
            node: NODE,
            seed,
            segment_bytes,
            cache_bytes,
            flush_bytes_target,
            election_ticks: 10,
            beginning: Beginning::Alone,
            confirm: Confirm::Replicated,
        };
        let opened = Replica::open(&(Arc::new(shared.clone()) as Arc<dyn Disk>), Arc::new(Inventory), setup);
        let power_failed = disk.operations() > power_fails_at;
        match opened {
            Err(fault) => Err(Box::new(NotOpened { fault, power_failed, history })),
            Ok(opened) => {
                *shared.log() = Some(LogThread::new(opened.writer));
                Ok(Machine {
                    disk: disk.clone(),
                    shared,
                    replica: opened.replica,
                    desk: Desk::new(history),
                    answers: Vec::new(),
                    inputs: Vec::new(),
                    clock: Clock { wall, uptime: 0 },
                    limits,
                    cut: opened.cut,
                    power_fails_at,
                    power_failed_in: power_failed.then_some(Work::Open),
                    ticks: 0,
                    blind: false,
                })
            }
        }
    }

    /// Ends the process without warning. What it wrote and did not sync is still unsynced.
    pub(crate) fn kill(mut self) -> History {
        let (disk, history) = (self.disk.clone(), std::mem::take(&mut self.desk.history));
        // Nothing that an orderly end of a value would still write may reach the disk.
        disk.fail_after(0);
        drop(self);
        disk.restart_process();
        history
    }

    pub(crate) fn status(&self) -> Status {
        self.replica.status()
    }

    pub(crate) fn give(&mut self, input: Input) {
        self.inputs.push(input);
    }

    pub(crate) fn ended(&self) -> bool {
        self.power_failed_in.is_some() || self.desk.stop.is_some() || self.desk.drained
    }

    /// Does one thing, drawn by chance.
    pub(crate) fn step(&mut self, chance: &mut Chance) {
        self.pass(1 + chance.below(500));
        match chance.below(16) {
            0..4 => self.append(),
            4..7 => self.run_job(chance.place(self.desk.jobs.len().max(1))),
            7..9 => self.answer_queries(),
            9 => self.tick(),
            10 => drop(self.desk.retired.pop_front()),
            _ => self.turn(),
        }
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, micros: u64) {
        self.clock.wall = self.clock.wall.plus_micros(micros);
        self.clock.uptime += micros;
    }

    pub(crate) fn turn(&mut self) {
        if !self.ended() {
            self.turn_anyway();
        }
    }

    /// Also when the replica has stopped.
    pub(crate) fn turn_anyway(&mut self) {
        let inputs = std::mem::take(&mut self.inputs);
        take_turn(&mut self.replica, self.clock, inputs, &mut self.desk);
        if let Some(frame) = self.desk.frame.take() {
            let before = self.shared.log().as_mut().expect("the log is open").frame.replace(frame);
            assert!(before.is_none(), "a frame is handed over while another is on its way");
        }
        let Status { serves, progress: (applied, last), .. } = self.status();
        if serves && applied == last && self.desk.stop.is_none() {
            // Nothing is in flight, and then nothing is in the open entry either.
            self.desk.history.saw(applied.0, self.replica.digests());
        }
    }

    pub(crate) fn tick(&mut self) {
        self.ticks += 1;
        self.give(Input::Tick);
        if !self.blind
            && self.ticks.is_multiple_of(DISK_FREE_TICKS)
            && let Ok(bytes) = self.disk.free_bytes()
        {
            self.give(Input::DiskFree { bytes });
        }
    }

    /// Whether a frame is on its way to the disk.
    pub(crate) fn frame_waits(&self) -> bool {
        self.shared.log().as_ref().is_some_and(|log| log.frame.is_some())
    }

    /// Writes the frame that waits, if one does.
    pub(crate) fn append(&mut self) {
        if !self.ended() {
            self.shared.log().as_mut().expect("the log is open").append(&self.disk);
            self.hear_the_log();
        }
    }

    /// Takes what has become of frames to the replica.
    fn hear_the_log(&mut self) {
        let ended = std::mem::take(&mut self.shared.log().as_mut().expect("the log is open").ended);
        for (work, input) in ended {
            match &input {
                Input::Persisted { .. } => self.desk.history.synced(),
                // A frame that the power failed in is heard of by nobody.
                _ => self.after(work),
            }
            if self.power_failed_in.is_none() {
                self.give(input);
            }
        }
    }

    /// Runs one of the jobs that wait, if there is one.
    pub(crate) fn run_job(&mut self, which: usize) {
        if self.ended() {
            return;
        }
        let seed = self.clock.uptime;
        let Some(job) = self.desk.jobs.remove(which) else { return };
        let work = match &job {
            Job::Flush(_) => Work::Flush,
            Job::PrepareSpare { .. } => Work::Spare,
            Job::MoveToHistory(..) => Work::MoveToHistory,
            Job::Merge(_) | Job::Warm(_) | Job::Scrub { .. } | Job::ScrubLog(_) | Job::ReadRows(_) | Job::Import(_) => Work::Other,
        };
        let done: JobDone = self.shared.while_running(seed, |disk| job.run(disk));
        self.hear_the_log();
        self.after(work);
        if self.power_failed_in.is_none() {
            self.give(Input::JobDone(done));
        }
    }

    fn after(&mut self, work: Work) {
        if self.disk.operations() > self.power_fails_at {
            self.power_failed_in.get_or_insert(work);
        }
    }

    /// Answers the reads that may run.
    pub(crate) fn answer_queries(&mut self) {
        while let Some(query) = self.desk.queries.pop_front() {
            let position = query.view.position();
            let tenant = onebox_replica::tenant(&query.view, &query.tenant).map_err(Failure::Fault);
            let answer = tenant.and_then(|tenant| {
                let tenant = tenant.expect("reads are of a tenant that is there");
                let context = Context { tenant, now: position.time, seed: 0, budget: self.limits.query_budget };
                execute::query(&Inventory, query.method, &query.body, &query.view, &context)
            });
            if let Some(trace) = &mut self.desk.trace {
                trace.add("answer", &(query.token, &answer));
            }
            self.answers.push((query.token, answer, position.index));
        }
    }

    pub(crate) fn record_trace(&mut self, trace: Trace) {
        self.desk.trace = Some(trace);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The writer's files hold the disk that holds the writer.
        *self.shared.log() = None;
    }
}
