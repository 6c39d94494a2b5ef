//! What a seed draws before its run begins: how many machines, which settings, down to silly ones, and what goes wrong.

use onebox_replica::{Confirm, Limits};

use crate::chance::Chance;
use crate::faults::{self, FAULTS, Fault, Injection};

const KIB: usize = 1024;
const SECOND: u64 = 1_000_000;

/// Partitions at most; each has a gateway at least.
pub const PARTITIONS_MAX: usize = 16;

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where every choice is drawn from.
    pub seed: u64,
    /// Virtual microseconds during which things go wrong; the healing comes after.
    pub micros: u64,
    /// Machines; drawn if it is not said.
    pub machines: Option<usize>,
    /// Partitions, each with a replica on every machine; drawn if it is not said.
    pub partitions: Option<usize>,
    /// What may go wrong.
    pub faults: Vec<Fault>,
    /// Of the list of what goes wrong, only these numbers.
    pub keep: Option<Vec<usize>>,
    /// Requests of all clients together, in a virtual second.
    pub requests_per_second: u64,
    /// Keep every event as text.
    pub trace: bool,
}

impl Options {
    /// Whether neither faults nor unlikely things are asked for.
    pub(crate) fn nothing_goes_wrong(&self) -> bool {
        self.faults.is_empty() || self.keep.as_ref().is_some_and(Vec::is_empty)
    }

    /// A minute with every fault.
    pub fn of_seed(seed: u64) -> Options {
        let faults = FAULTS.iter().map(|(fault, _)| *fault).collect();
        Options { seed, micros: 60 * SECOND, machines: None, partitions: None, faults, keep: None, requests_per_second: 60, trace: false }
    }
}

/// What was drawn.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) machines: usize,
    pub(crate) partitions: usize,
    pub(crate) clients: usize,
    pub(crate) tick: u64,
    pub(crate) election_ticks: usize,
    pub(crate) segment_bytes: u64,
    pub(crate) flush_bytes: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) limits: Limits,
    /// Microseconds from an input to the turn that takes it, and all that came meanwhile.
    pub(crate) turn: u64,
    /// Microseconds of a frame's way to the disk: at least, and more at most.
    pub(crate) sync: (u64, u64),
    /// Microseconds of a job: at least, and more at most.
    pub(crate) job: (u64, u64),
    /// Microseconds of a message: at least, and more at most.
    pub(crate) link: (u64, u64),
    /// Every message between peers goes through its bytes.
    pub(crate) encodes: bool,
    /// The machines begin with the build before, if there is one.
    pub(crate) upgrades: bool,
    pub(crate) confirm: Confirm,
    /// Microseconds that a caller waits.
    pub(crate) deadline: u64,
    pub(crate) injections: Vec<Injection>,
}

impl Plan {
    pub(crate) fn draw(options: &Options, upgradable: bool) -> Plan {
        let mut chance = Chance::stream(options.seed, "plan", 0);
        let machines = chance.pick(&[3, 3, 3, 3, 5, 1]);
        let machines = options.machines.unwrap_or(machines);
        let limits = Limits {
            entries_in_flight_max: chance.pick(&[1, 2, 2, 2, 5]),
            entry_bytes_max: chance.pick(&[256, 4 * KIB, 16 * KIB]),
            turn_requests_max: chance.pick(&[1, 3, 64, 256]),
            queue_requests_max: chance.pick(&[8, 64, 1024]),
            queue_bytes_max: 256 * KIB,
            reads_waiting_max: chance.pick(&[8, 256]),
            held_answers_max: chance.pick(&[4, 64, 1024]),
            dirty_bytes_max: chance.mostly_last(&[48 * KIB, 128 * KIB, 512 * KIB, 4096 * KIB]),
            log_replay_bytes_max: chance.mostly_last(&[48 * KIB, 256 * KIB, 1024 * KIB, 8192 * KIB]) as u64,
            disk_free_min: 256 * KIB as u64,
            message_bytes_max: chance.pick(&[1, 2 * KIB, 1024 * KIB, 1024 * KIB]) as u64,
            entries_unconfirmed_max: chance.pick(&[2, 1_024]),
            messages_in_flight_max: chance.pick(&[1, 3, 256, 256]),
            committed_bytes_per_turn: chance.pick(&[1, 4 * KIB, 1024 * KIB, 1024 * KIB]) as u64,
            tail_bytes_kept: chance.pick(&[0, 8 * KIB, 4096 * KIB, 4096 * KIB]),
            snapshot_piece_bytes: chance.pick(&[2 * KIB, 8 * KIB, 256 * KIB, 256 * KIB]),
            log_segments_kept_max: chance.pick(&[1, 3, 8]),
            log_segments_kept_by_followers: chance.pick(&[1, 2]),
            session_idle_max: chance.pick(&[20 * SECOND, 3600 * SECOND]),
            ..Limits::default()
        };
        // Without a build before there is nothing to upgrade from.
        let may: Vec<Fault> = options.faults.iter().copied().filter(|fault| *fault != Fault::Upgrade || upgradable).collect();
        let mut injections = faults::draw(options.seed, &may, machines, options.micros);
        if let Some(keep) = &options.keep {
            injections.retain(|injection| keep.contains(&injection.number));
        }
        let mut plan = Plan {
            machines,
            clients: chance.between(2, 5) as usize,
            tick: match chance.below(8) {
                // Quicker than is wise, in one room, and as it is unless somebody says otherwise.
                0 => 10_000,
                1..4 => 20_000,
                _ => 50_000,
            },
            election_ticks: chance.pick(&[4, 5, 10]),
            // A frame can hold an entry of any size that the budgets allow, which the small requests here never reach.
            segment_bytes: chance.pick(&[64 * KIB as u64, 128 * KIB as u64, 512 * KIB as u64]),
            // What is small costs flushes, what is large costs the processor's caches.
            flush_bytes: match chance.below(64) {
                0 => 2 * KIB,
                1..8 => 32 * KIB,
                8..16 => 1024 * KIB,
                _ => 256 * KIB,
            },
            limits,
            turn: chance.pick(&[0, 20, 300]),
            sync: chance.pick(&[(50, 50), (100, 900), (1_000, 4_000)]),
            job: chance.pick(&[(100, 400), (1_000, 20_000)]),
            link: chance.pick(&[(50, 50), (200, 300), (500, 2_000)]),
            encodes: chance.once_in(4),
            upgrades: chance.once_in(3) && upgradable,
            confirm: chance.pick(&[Confirm::Replicated, Confirm::Replicated, Confirm::Executed]),
            deadline: chance.pick(&[SECOND, 3 * SECOND, 10 * SECOND]),
            cache_bytes: chance.pick(&[128 * KIB, 4096 * KIB, 4096 * KIB]),
            injections,
            partitions: chance.pick(&[1, 1, 1, 1, 2, 3]),
        };
        plan.partitions = options.partitions.unwrap_or(plan.partitions);
        plan.clients = plan.clients.max(plan.partitions);
        plan
    }

    /// What the paths of a partition's files begin with.
    pub(crate) fn folder(&self, partition: usize) -> String {
        if self.partitions == 1 { String::new() } else { format!("partition-{partition}/") }
    }

    /// The longest that a follower waits for a leader.
    pub(crate) fn election(&self) -> u64 {
        2 * self.election_ticks as u64 * self.tick
    }
}
