//! Everything that can go wrong, by name; when it does in a run is drawn beforehand, as a list that can be made shorter.
//!
//! Rot in the base strikes rows only: on some damaged pages redb panics twice, which ends the process, and this one with it.

use std::collections::BTreeMap;
use std::fmt;

use crate::chance::Chance;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The process is killed; what it wrote is kept by the system.
    Kill,
    /// The machine loses power; what was not synced may be lost, torn, garbled, reordered.
    PowerLoss,
    /// The power fails in the middle of the next work on the disk.
    PowerLossAtWork,
    /// The process stands still, and then goes on as if nothing had been.
    Pause,
    /// The machine reaches nobody, and nobody it.
    Isolate,
    /// Two machines do not reach each other.
    CutPair,
    /// What one machine says does not arrive; what it is told does.
    CutOneWay,
    /// Messages are lost now and then.
    Lossy,
    /// Messages arrive twice, and late.
    Doubled,
    /// Messages take long, and overtake each other.
    Slow,
    /// The link takes so long that messages of before a failover arrive after it.
    Clogged,
    /// Writes and syncs take long.
    SlowDisk,
    /// A read or a write fails.
    DiskError,
    /// A sync fails; in half of all cases the power goes some time later, as when a disk dies.
    SyncError,
    /// The disk is full.
    FullDisk,
    /// A bit of the log turns over while the machine is off.
    RotInLog,
    /// A bit of a row in the base turns over while the machine is off.
    RotInBase,
    /// A write to the log seems to succeed, and lands at another place of the file.
    MisdirectedWrite,
    /// The disk is replaced by an empty one.
    WipedDisk,
    /// The wall clock jumps.
    ClockJump,
    /// The wall clock runs too fast or too slow.
    ClockDrift,
    /// Whoever comes to lead falls silent after a few messages and loses its power soon after, or a few writes later.
    UnluckyLeaders,
    /// Leadership is handed over.
    Transfer,
    /// The node stops in order and starts again.
    Restart,
    /// The node stops in order and starts with another build: the next, or the one before while that can still be used.
    Upgrade,
    /// An operator takes the node out of the cluster, and in again.
    Removal,
}

/// All of them, with their names.
pub const FAULTS: [(Fault, &str); 26] = [
    (Fault::Kill, "kill"),
    (Fault::PowerLoss, "power-loss"),
    (Fault::PowerLossAtWork, "power-loss-at-work"),
    (Fault::Pause, "pause"),
    (Fault::Isolate, "isolate"),
    (Fault::CutPair, "cut-pair"),
    (Fault::CutOneWay, "cut-one-way"),
    (Fault::Lossy, "lossy"),
    (Fault::Doubled, "doubled"),
    (Fault::Slow, "slow"),
    (Fault::Clogged, "clogged"),
    (Fault::SlowDisk, "slow-disk"),
    (Fault::DiskError, "disk-error"),
    (Fault::SyncError, "sync-error"),
    (Fault::FullDisk, "full-disk"),
    (Fault::RotInLog, "rot-in-log"),
    (Fault::RotInBase, "rot-in-base"),
    (Fault::MisdirectedWrite, "misdirected-write"),
    (Fault::WipedDisk, "wiped-disk"),
    (Fault::ClockJump, "clock-jump"),
    (Fault::ClockDrift, "clock-drift"),
    (Fault::UnluckyLeaders, "unlucky-leaders"),
    (Fault::Transfer, "transfer"),
    (Fault::Restart, "restart"),
    (Fault::Upgrade, "upgrade"),
    (Fault::Removal, "removal"),
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FAULTS.iter().find(|(fault, _)| fault == self).map_or("?", |(_, name)| name))
    }
}

impl Fault {
    /// The fault of this name.
    pub fn named(name: &str) -> Option<Fault> {
        FAULTS.iter().find(|(_, known)| *known == name).map(|(fault, _)| *fault)
    }
}

/// One thing that goes wrong in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injection {
    /// Its number in the run's list: what `--keep` names.
    pub number: usize,
    /// When, in virtual microseconds.
    pub at: u64,
    /// What.
    pub fault: Fault,
    /// On which machine.
    pub machine: usize,
    /// If one leads then, on that one instead.
    pub at_leader: bool,
    /// And which other, where there is one.
    pub other: usize,
    /// For how long, in microseconds.
    pub lasts: u64,
    /// What else is drawn for it.
    pub chance: u64,
}

/// How often each fault struck, and how often it found nothing to strike.
pub type Counts = BTreeMap<Fault, (u64, u64)>;

/// Draws the faults of a run. Some seeds have many kinds, some a few, often.
pub(crate) fn draw(seed: u64, allowed: &[Fault], machines: usize, until: u64) -> Vec<Injection> {
    let mut chance = Chance::stream(seed, "faults", 0);
    let mut kinds: Vec<Fault> = allowed.iter().copied().filter(|_| !chance.once_in(3)).collect();
    if kinds.is_empty() {
        kinds = allowed.to_vec();
    }
    let pause = chance.pick(&[1_000_000, 3_000_000, 8_000_000]);
    let mut list = Vec::new();
    let mut at = 1_000_000;
    while !kinds.is_empty() {
        at += chance.between(pause / 10, pause * 2);
        if at >= until {
            break;
        }
        let machine = chance.place(machines);
        let other = (machine + 1 + chance.place(machines.max(2) - 1)) % machines;
        // Most last as long as an election, some much longer.
        let lasts = if chance.once_in(4) { chance.between(1_000_000, 8_000_000) } else { chance.between(10_000, 1_500_000) };
        list.push(Injection {
            number: list.len(),
            at,
            fault: chance.pick(&kinds),
            machine,
            at_leader: chance.once_in(3),
            other,
            lasts,
            chance: chance.draw(),
        });
    }
    list
}
