//! One machine: a disk, a clock, and the process on it, if one runs, with a replica of each partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use onebox_replica::replica::{self, Opened};
use onebox_replica::turn::take_turn;
use onebox_replica::{Beginning, Clock, Input, Job, PeerId, PersistBatch, Replica, Token};
use onebox_service::attempt::RequestId;
use onebox_service::planted::planted;
use onebox_service::{Fault, Service, Time};
use onebox_store::log::LogWriter;
use onebox_store::memory::{CrashKind, MemoryDisk};
use onebox_store::{Disk, LogIndex, NodeId, Term};

use crate::chance::Chance;
use crate::desk::Desk;
use crate::folder::FolderDisk;
use crate::plan::Plan;

/// When a run begins, by true time: a day in November 2023.
pub(crate) const START: u64 = 1_700_000_000_000_000;

/// Which build of the service is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    Before,
    Next,
}

impl Build {
    pub(crate) fn other(self) -> Build {
        match self {
            Build::Before => Build::Next,
            Build::Next => Build::Before,
        }
    }
}

pub(crate) struct Machine {
    pub(crate) disk: MemoryDisk,
    /// The identity of what is on the disk.
    pub(crate) node: NodeId,
    pub(crate) beginning: Beginning,
    pub(crate) process: Option<Process>,
    /// What the next process runs.
    pub(crate) build: Build,
    /// Counts the processes, so that what was meant for one does not reach the next.
    pub(crate) incarnation: u64,
    /// Up to where its disk says of each partition's log that it is committed.
    pub(crate) committed: Vec<LogIndex>,
    /// Stands still until then.
    pub(crate) frozen_until: u64,
    /// It was removed, and is not taken in again before.
    pub(crate) out_until: u64,
    /// When that was asked for last.
    pub(crate) removed_at: Option<u64>,
    /// The last term in which its replica of each partition was seen elected.
    pub(crate) elected_in: BTreeMap<usize, Term>,
    /// What it may still say to its peers, if it falls silent before it loses power.
    pub(crate) last_words: Option<u64>,
    /// Its disk is slow until then.
    pub(crate) slow_until: u64,
    /// The change of the disk with which the power goes.
    pub(crate) power_fails_at: Option<u64>,
    /// Microseconds that its wall clock is ahead.
    pub(crate) clock_ahead: i64,
    /// Parts of a million that it runs too fast since `drift_from`.
    pub(crate) drift: i64,
    pub(crate) drift_from: u64,
    /// Something turned over a bit on this disk, so that damage is no surprise.
    pub(crate) rotten: bool,
    /// Something did so in the base that is there.
    pub(crate) base_rotten: bool,
    pub(crate) chance: Chance,
}

pub(crate) struct Process {
    pub(crate) started: u64,
    pub(crate) build: Build,
    pub(crate) ticks: u64,
    /// One of each partition, in their order.
    pub(crate) seats: Vec<Seat>,
}

/// Where a replica is: which partition's, on which machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeatId {
    pub(crate) machine: usize,
    pub(crate) partition: usize,
}

/// A replica in a process, and what is under way for it.
pub(crate) struct Seat {
    pub(crate) replica: Replica,
    writer: LogWriter,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) inbox: Vec<Input>,
    pub(crate) turn_due: bool,
    /// On its way to the disk.
    pub(crate) frame: Option<PersistBatch>,
    /// Under way, by number: they end with the process, and hold its files until then.
    pub(crate) jobs: BTreeMap<u64, Job>,
    pub(crate) jobs_begun: u64,
    /// Who waits for what.
    pub(crate) callers: BTreeMap<Token, Waiting>,
    /// It was to drain, and has, as of its last turn.
    pub(crate) drained: bool,
}

impl Seat {
    fn open(disk: &Arc<dyn Disk>, service: &Arc<dyn Service>, setup: replica::Setup) -> Result<Seat, Fault> {
        let Opened { replica, writer, cut: _ } = Replica::open(disk, Arc::clone(service), setup)?;
        Ok(Seat {
            replica,
            writer,
            disk: Arc::clone(disk),
            inbox: Vec::new(),
            turn_due: false,
            frame: None,
            jobs: BTreeMap::new(),
            jobs_begun: 0,
            callers: BTreeMap::new(),
            drained: false,
        })
    }
}

/// Who waits at a machine for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Waiting {
    Attempt(usize, RequestId),
    Read(usize, u64),
    /// Somebody who asks what became of a request.
    Fate(RequestId),
    /// The world itself, which tends the membership.
    Housekeeping,
}

impl Machine {
    pub(crate) fn new(seed: u64, number: usize, node: NodeId, beginning: Beginning) -> Machine {
        Machine {
            disk: MemoryDisk::new(),
            node,
            beginning,
            process: None,
            build: Build::Next,
            incarnation: 0,
            committed: Vec::new(),
            frozen_until: 0,
            out_until: 0,
            removed_at: None,
            elected_in: BTreeMap::new(),
            last_words: None,
            slow_until: 0,
            power_fails_at: None,
            clock_ahead: 0,
            drift: 0,
            drift_from: 0,
            rotten: false,
            base_rotten: false,
            chance: Chance::stream(seed, "machine", number as u64),
        }
    }

    pub(crate) fn id(&self) -> PeerId {
        PeerId::of(self.node)
    }

    pub(crate) fn wall(&self, now: u64) -> u64 {
        let drifted = (now - self.drift_from) as i64 * self.drift / 1_000_000;
        (START as i64 + now as i64 + self.clock_ahead + drifted) as u64
    }

    /// Its wall clock runs at another pace from now on.
    pub(crate) fn set_drift(&mut self, now: u64, drift: i64) {
        self.clock_ahead += (now - self.drift_from) as i64 * self.drift / 1_000_000;
        (self.drift, self.drift_from) = (drift, now);
    }

    /// The disk as a partition sees it: its own folder, where there are several.
    pub(crate) fn disk_of(&self, partition: usize, plan: &Plan) -> Result<Arc<dyn Disk>, Fault> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let folder = plan.folder(partition);
        Ok(if folder.is_empty() { disk } else { Arc::new(FolderDisk::new(disk, folder)?) })
    }

    /// Starts a process on what is on the disk; a fault is of the partition that is named.
    pub(crate) fn start(&mut self, now: u64, service: &Arc<dyn Service>, plan: &Plan) -> Result<(), (usize, Fault)> {
        assert!(self.process.is_none(), "a process runs already");
        self.incarnation += 1;
        self.frozen_until = 0;
        let mut seats = Vec::with_capacity(plan.partitions);
        for partition in 0..plan.partitions {
            let setup = replica::Setup {
                limits: plan.limits,
                node: self.node,
                seed: self.chance.draw(),
                segment_bytes: plan.segment_bytes,
                cache_bytes: plan.cache_bytes,
                flush_bytes_target: plan.flush_bytes,
                election_ticks: plan.election_ticks,
                beginning: self.beginning.clone(),
                confirm: plan.confirm,
            };
            let opened = self.disk_of(partition, plan).and_then(|disk| Seat::open(&disk, service, setup));
            match opened {
                Ok(seat) => seats.push(seat),
                Err(fault) => {
                    self.forget(seats);
                    return Err((partition, fault));
                }
            }
        }
        self.committed = seats.iter().map(|seat| seat.replica.status().committed).collect();
        self.process = Some(Process { started: now, build: self.build, ticks: 0, seats });
        Ok(())
    }

    /// The replica of a partition, if the process runs.
    pub(crate) fn seat(&self, partition: usize) -> Option<&Seat> {
        self.process.as_ref().map(|process| &process.seats[partition])
    }

    /// The same, to be given something.
    pub(crate) fn seat_mut(&mut self, partition: usize) -> Option<&mut Seat> {
        self.process.as_mut().map(|process| &mut process.seats[partition])
    }

    /// Ends the process without warning. What it wrote and did not sync is still unsynced.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            self.forget(process.seats);
        }
        self.incarnation += 1;
        (self.power_fails_at, self.last_words) = (None, None);
        self.disk.restart_process();
    }

    /// The machine loses power: of what was not synced, chance leaves something.
    pub(crate) fn lose_power(&mut self) {
        let kind = self.chance.pick(&[CrashKind::DropAll, CrashKind::KeepAll, CrashKind::Random, CrashKind::Random, CrashKind::Random]);
        let image = self.disk.crash_image(self.chance.draw(), kind);
        if let Some(process) = self.process.take() {
            self.forget(process.seats);
        }
        self.incarnation += 1;
        (self.power_fails_at, self.last_words) = (None, None);
        self.disk.erase();
        self.disk = image;
    }

    /// A process that is gone does nothing more: nothing that an orderly end of a value would still write may reach the disk.
    #[expect(clippy::disallowed_methods, reason = "a killed process gives nothing back either")]
    fn forget(&mut self, seats: Vec<Seat>) {
        self.disk.fail_after(0);
        if self.base_rotten {
            // Where pages may make no sense, redb's orderly end may panic, which a killed process does not come to.
            std::mem::forget(seats);
        }
    }

    /// The machine will lose power with one of the next changes of its disk.
    pub(crate) fn lose_power_after(&mut self, changes: u64) {
        self.power_fails_at = Some(self.disk.operations() + changes);
        self.disk.fail_after(changes);
    }

    /// The disk is replaced by an empty one: what comes up on it is a new node.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        self.disk.erase();
        self.disk = MemoryDisk::new();
        (self.rotten, self.base_rotten) = (false, false);
        self.committed.clear();
        if planted("a wiped node rejoins as the old one") {
            return;
        }
        self.node = NodeId(u128::from(self.chance.draw()) << 64 | u128::from(self.chance.draw()));
        self.beginning = Beginning::Join;
    }

    /// Whether the power went in the middle of the work that was just done.
    pub(crate) fn power_went(&self) -> bool {
        self.power_fails_at.is_some_and(|at| self.disk.operations() > at)
    }

    /// One turn of its replica, which lays out what is to be done; gives whether another turn should follow at once.
    pub(crate) fn turn(&mut self, partition: usize, now: u64, desk: &mut Desk) -> bool {
        let wall = Time(self.wall(now));
        let process = self.process.as_mut().expect("a turn reaches a process that runs");
        let clock = Clock { wall, uptime: now - process.started };
        let seat = &mut process.seats[partition];
        seat.turn_due = false;
        take_turn(&mut seat.replica, clock, seat.inbox.drain(..), desk)
    }

    /// Microseconds since the process started.
    pub(crate) fn uptime(&self, now: u64) -> u64 {
        self.process.as_ref().map_or(0, |process| now - process.started)
    }

    /// Writes the frame that waits; gives what the replica is told.
    pub(crate) fn persist(&mut self, partition: usize) -> Option<Input> {
        let seat = &mut self.process.as_mut()?.seats[partition];
        let PersistBatch { number, batch, spare_made } = seat.frame.take()?;
        if spare_made {
            seat.writer.note_spare();
        }
        Some(match seat.writer.append(&batch) {
            Ok(appended) => {
                let committed = &mut self.committed[partition];
                *committed = batch.hard_state.map_or(*committed, |state| state.commit.max(*committed));
                Input::Persisted { number, appended, needs_spare: seat.writer.needs_spare() }
            }
            Err(fault) => Input::PersistFailed(fault),
        })
    }
}
