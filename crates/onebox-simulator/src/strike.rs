//! Making things go wrong, and right again.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use onebox_replica::{Beginning, Change, Input};
use onebox_service::{Bytes, Keyspace};
use onebox_store::memory::MemoryDisk;

use crate::faults::{Fault, Injection};
use crate::machine::{Build, Machine, Seat, SeatId};
use crate::network::Disturbance;
use crate::partition::Partition;
use crate::plan::Plan;
use crate::timeline::{Place, What};
use crate::world::{Event, World};

/// Bytes of a row's value that is looked for in the file of the base, and how many of them differ: enough to be no other's.
const ROTTING_ROW_BYTES: (usize, usize) = (20, 8);

/// Microseconds after which nothing that was said of a removal is still on its way.
const REMOVAL_IN_DOUBT: u64 = 10_000_000;

impl World {
    /// Something of the list goes wrong, if it finds what it is for.
    pub(crate) fn strike(&mut self, place: usize) {
        let partition = self.plan.injections[place].number % self.partitions.len();
        if self.plan.injections[place].at_leader
            && let Some(SeatId { machine: leader, .. }) = self.leader(partition)
        {
            let injection = &mut self.plan.injections[place];
            (injection.machine, injection.other) = (leader, if injection.other == leader { injection.machine } else { injection.other });
        }
        let injection = self.plan.injections[place];
        let struck = self.struck(&injection, place);
        let count = self.counts.entry(injection.fault).or_default();
        if struck {
            count.0 += 1
        } else {
            count.1 += 1
        }
        if struck {
            let words = format!("{} at machine {} (other: {})", injection.fault, injection.machine, injection.other);
            let what = What::Strike { number: injection.number, lasts: injection.lasts, words };
            self.timeline.add(self.now, Place::Machine(injection.machine), what);
            self.at(self.now + injection.lasts, Event::Relief(place));
        }
    }

    fn struck(&mut self, injection: &Injection, by: usize) -> bool {
        let Injection { fault, machine, lasts, chance, .. } = *injection;
        let runs = self.machines[machine].process.is_some();
        let until = self.now + lasts;
        match fault {
            Fault::Kill => {
                self.machines[machine].kill();
                self.at(until, Event::Start(machine));
                runs
            }
            Fault::PowerLoss if runs => {
                self.power_loss(machine);
                true
            }
            Fault::PowerLossAtWork if runs => {
                self.machines[machine].lose_power_after(chance % 24);
                true
            }
            Fault::Pause if runs => {
                self.machines[machine].frozen_until = until;
                true
            }
            Fault::Isolate | Fault::CutOneWay | Fault::CutPair | Fault::Lossy | Fault::Doubled | Fault::Slow | Fault::Clogged => {
                self.disturbed(injection, by)
            }
            Fault::SlowDisk
            | Fault::DiskError
            | Fault::SyncError
            | Fault::FullDisk
            | Fault::RotInLog
            | Fault::RotInBase
            | Fault::MisdirectedWrite
            | Fault::WipedDisk => self.disk_fails(injection, runs),
            Fault::ClockJump => {
                let most = [300_000, 10_000_000, 4_000_000_000][(chance >> 40) as usize % 3];
                self.machines[machine].clock_ahead = (chance % (2 * most)) as i64 - most as i64;
                true
            }
            Fault::ClockDrift => {
                let now = self.now;
                self.machines[machine].set_drift(now, (chance % 20_000) as i64 - 10_000);
                true
            }
            Fault::UnluckyLeaders => {
                self.unlucky_leaders_until = self.now + 2_000_000 + 4 * lasts;
                if let Some(SeatId { machine: leader, .. }) = self.leader(injection.number % self.partitions.len()) {
                    self.machines[leader].lose_power_after(chance % 12);
                }
                true
            }
            Fault::Transfer => self.transfer(injection.number % self.partitions.len(), machine),
            Fault::Restart if runs => {
                self.drain(machine);
                true
            }
            Fault::Upgrade if runs && self.plan.upgrades => {
                let slot = &mut self.machines[machine];
                slot.build = if self.activating { Build::Next } else { slot.build.other() };
                self.drain(machine);
                true
            }
            Fault::Removal if runs => self.remove_until(injection.number % self.partitions.len(), machine, until),
            Fault::PowerLoss | Fault::PowerLossAtWork | Fault::Pause | Fault::Restart | Fault::Upgrade | Fault::Removal => false,
        }
    }

    /// The disk does what disks do.
    fn disk_fails(&mut self, injection: &Injection, runs: bool) -> bool {
        let Injection { fault, machine, lasts, chance, .. } = *injection;
        let until = self.now + lasts;
        match fault {
            Fault::SlowDisk => {
                self.machines[machine].slow_until = until;
                true
            }
            Fault::DiskError if runs => {
                let operation = ["read", "write", "open", "rename"][(chance % 4) as usize];
                self.machines[machine].disk.fail_next(operation, "");
                true
            }
            Fault::SyncError if runs => {
                self.machines[machine].disk.fail_next("sync", ["", "log/", "base"][(chance % 3) as usize]);
                true
            }
            Fault::FullDisk if runs => {
                let disk = &self.machines[machine].disk;
                let used: u64 = disk.files().iter().filter_map(|file| disk.read_file(file)).map(|bytes| bytes.len() as u64).sum();
                disk.set_capacity(used + chance % 300_000);
                true
            }
            Fault::RotInLog => self.rot(machine, chance, until),
            Fault::RotInBase if runs => self.rot_in_base(machine, chance, until),
            Fault::MisdirectedWrite if runs && self.may_lose_a_disk(machine) => {
                self.machines[machine].disk.misdirect_next("log/0", 1 + chance % 64);
                self.machines[machine].rotten = true;
                true
            }
            Fault::WipedDisk if self.may_lose_a_disk(machine) => {
                self.machines[machine].wipe();
                self.timeline.add(self.now, Place::Machine(machine), What::Wiped);
                self.at(until, Event::Start(machine));
                true
            }
            _ => false,
        }
    }

    /// The links are disturbed.
    fn disturbed(&mut self, injection: &Injection, by: usize) -> bool {
        let Injection { fault, machine, other, chance, .. } = *injection;
        match fault {
            Fault::Isolate => self.cut(machine, by, chance, true),
            Fault::CutOneWay => self.cut(machine, by, chance, false),
            Fault::CutPair if self.machines.len() > 1 => {
                let cut = Disturbance { cut: true, ..Disturbance::default() };
                self.network.disturb(machine, other, by, cut);
                self.network.disturb(other, machine, by, cut);
                true
            }
            Fault::Lossy => self.everywhere(by, Disturbance { lost: chance % 700, ..Disturbance::default() }),
            Fault::Doubled => self.everywhere(by, Disturbance { doubled: chance % 500, delay: 200_000, ..Disturbance::default() }),
            Fault::Slow => self.everywhere(by, Disturbance { delay: 1_000 + chance % 300_000, ..Disturbance::default() }),
            Fault::Clogged => {
                let slow = Disturbance { delay: 2_000_000 + chance % 6_000_000, ..Disturbance::default() };
                for from in 0..self.places() {
                    self.network.disturb(from, machine, by, slow);
                }
                true
            }
            _ => false,
        }
    }

    /// Most of those that come to lead meanwhile fall silent after a few messages, and lose power soon after: between what they
    /// have said, what is on their disk and what is committed lies every order of events.
    pub(crate) fn strike_the_elected(&mut self, SeatId { machine, partition }: SeatId) {
        let incarnation = self.machines[machine].incarnation;
        let slot = &mut self.machines[machine];
        let Some(status) = slot.seat(partition).map(|seat| seat.replica.status()) else { return };
        if status.leader != Some(slot.id()) || slot.elected_in.get(&partition).is_some_and(|term| status.term <= *term) {
            return;
        }
        slot.elected_in.insert(partition, status.term);
        if slot.chance.once_in(4) {
            return;
        }
        let Plan { link, sync, machines, .. } = self.plan;
        // Nothing, or all have been told of its first entry, and some perhaps of what those before left on its disk.
        slot.last_words = Some(if slot.chance.once_in(2) { 0 } else { machines as u64 - 1 + slot.chance.below(machines as u64) });
        let when = self.now + slot.chance.below(8 * (link.0 + link.1 + sync.0 + sync.1));
        self.at(when, Event::PowerLoss(machine, incarnation));
    }

    /// It is over.
    pub(crate) fn relief(&mut self, place: usize) {
        let injection = self.plan.injections[place];
        self.network.calm(place);
        if injection.fault == Fault::SyncError && injection.chance & 8 != 0 && self.machines[injection.machine].process.is_some() {
            self.power_loss(injection.machine);
        }
        let slot = &mut self.machines[injection.machine];
        if injection.fault == Fault::FullDisk {
            slot.disk.set_capacity(u64::MAX);
        }
        if injection.fault == Fault::ClockDrift {
            slot.set_drift(self.now, 0);
        }
        self.timeline.add(self.now, Place::Machine(injection.machine), What::Relief(injection.number));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&mut self) {
        self.network.calm_all();
        self.unlucky_leaders_until = 0;
        let now = self.now;
        for number in 0..self.machines.len() {
            let slot = &mut self.machines[number];
            if slot.frozen_until > now {
                // What was to happen in it waits for the end of the pause.
                slot.kill();
            }
            slot.slow_until = 0;
            slot.out_until = 0;
            slot.clock_ahead = 0;
            slot.disk.set_capacity(u64::MAX);
            slot.set_drift(now, 0);
            if slot.power_fails_at.is_some() || slot.last_words.is_some() {
                self.power_loss(number);
            }
            // Planned faults of the disk that were never met.
            if self.machines[number].process.is_some() {
                self.machines[number].disk.restart_process();
            }
            self.machines[number].build = Build::Next;
            if self.machines[number].process.as_ref().is_some_and(|process| process.build == Build::Before) {
                self.drain(number);
            }
            self.at(now + 1_000, Event::Start(number));
        }
        self.timeline.add(now, Place::World, What::Note("nothing goes wrong any more".to_owned()));
    }

    fn places(&self) -> usize {
        self.machines.len() + self.plan.clients
    }

    fn everywhere(&mut self, by: usize, how: Disturbance) -> bool {
        for from in 0..self.places() {
            for to in 0..self.places() {
                if from != to && (from < self.machines.len() || to < self.machines.len()) {
                    // Gateways speak over streams, which lose and delay; what is doubled there, the client has repeated.
                    let between_machines = from < self.machines.len() && to < self.machines.len();
                    let doubled = if between_machines { how.doubled } else { 0 };
                    self.network.disturb(from, to, by, Disturbance { doubled, ..how });
                }
            }
        }
        true
    }

    /// Cuts a machine from the others, or only what it says. Gateways reach both sides, or the others only, or each its own:
    /// then those in the machine's box go on with it alone.
    fn cut(&mut self, machine: usize, by: usize, chance: u64, both_ways: bool) -> bool {
        let machines = self.machines.len();
        let (mut inside, mut outside) = (vec![machine], (0..machines).filter(|other| *other != machine).collect::<Vec<_>>());
        match chance % 3 {
            0 => {}
            1 => outside.extend(machines..self.places()),
            _ => (machines..self.places()).for_each(|gateway| {
                let side = if chance >> (gateway - machines + 8) & 1 == 0 { &mut inside } else { &mut outside };
                side.push(gateway);
            }),
        }
        let cut = Disturbance { cut: true, ..Disturbance::default() };
        for (from, to) in inside.iter().flat_map(|from| outside.iter().map(move |to| (*from, *to))) {
            self.network.disturb(from, to, by, cut);
            if both_ways {
                self.network.disturb(to, from, by, cut);
            }
        }
        !outside.is_empty()
    }

    /// Who leads a partition; in the newest term, if several believe they do.
    pub(crate) fn leader(&self, partition: usize) -> Option<SeatId> {
        let term = |machine: &Machine| {
            let status = machine.seat(partition)?.replica.status();
            status.leads.then_some(status.term)
        };
        let leaders = (0..self.machines.len()).filter_map(|number| Some((term(&self.machines[number])?, number)));
        leaders.max().map(|(_, machine)| SeatId { machine, partition })
    }

    /// What is promised holds while a majority keeps its disks; and of these all but this one must be whole and members, and know it.
    fn may_lose_a_disk(&self, machine: usize) -> bool {
        let settled = |(number, partition): (usize, &Partition)| {
            let (since, members) = &partition.members;
            let votes = |slot: &Machine| members.voters.contains(&slot.id().0) && slot.committed.get(number) >= Some(since);
            members.peers().len() == self.machines.len() && !members.is_joint() && self.machines.iter().all(votes)
        };
        let whole = self.machines.iter().all(|slot| !slot.rotten) && self.machines[machine].power_fails_at.is_none();
        self.machines.len() > 2 && whole && !self.a_removal_may_come() && self.partitions.iter().enumerate().all(settled)
    }

    /// Turns over a bit of the log while the machine is off.
    fn rot(&mut self, machine: usize, chance: u64, until: u64) -> bool {
        if !self.may_lose_a_disk(machine) || self.machines[machine].beginning == Beginning::Join {
            return false;
        }
        self.machines[machine].kill();
        let disk: &MemoryDisk = &self.machines[machine].disk;
        let files: Vec<String> = disk.files().into_iter().filter(|file| file.contains("log/") && !file.contains("spare")).collect();
        let struck = files.get(chance as usize % files.len().max(1)).and_then(|file| {
            let bytes = disk.read_file(file)?;
            // Somewhere in what was written: zeros at the end of a segment say nothing.
            let written = bytes.iter().rposition(|byte| *byte != 0)? as u64 + 1;
            disk.flip_bit(file, (chance >> 8) % written);
            Some(())
        });
        self.machines[machine].rotten |= struck.is_some();
        self.at(until, Event::Start(machine));
        struck.is_some()
    }

    /// Turns over a bit of a row in the base while the machine is off, in every page where the row stands.
    fn rot_in_base(&mut self, machine: usize, chance: u64, until: u64) -> bool {
        if !self.may_lose_a_disk(machine) {
            return false;
        }
        let slot = &mut self.machines[machine];
        let partition = (chance >> 48) as usize % self.partitions.len();
        let Some(seat) = slot.seat(partition) else { return false };
        let mut values: Vec<Bytes> = Vec::new();
        let read = seat.replica.view().scan(&[], &[0xff], &mut |_, value| {
            let differing = value.iter().collect::<BTreeSet<_>>().len();
            if value.len() >= ROTTING_ROW_BYTES.0 && differing >= ROTTING_ROW_BYTES.1 {
                values.push(value.into());
            }
            ControlFlow::Continue(())
        });
        slot.kill();
        self.at(until, Event::Start(machine));
        let slot = &mut self.machines[machine];
        let file = format!("{}base.redb", self.plan.folder(partition));
        let struck = values.get(chance as usize % values.len().max(1));
        let (Ok(()), Some(bytes), Some(value)) = (read, slot.disk.read_file(&file), struck) else { return false };
        let places: Vec<usize> = (0..bytes.len() - value.len()).filter(|at| bytes[*at..].starts_with(value)).collect();
        for place in &places {
            slot.disk.flip_bit(&file, *place as u64 + (chance >> 32) % value.len() as u64);
        }
        let struck = !places.is_empty();
        slot.rotten |= struck;
        slot.base_rotten |= struck;
        struck
    }

    fn transfer(&mut self, partition: usize, to: usize) -> bool {
        let to = self.machines[to].id();
        let leader = self.leader(partition).filter(|leader| self.machines[leader.machine].id() != to);
        let Some(leader) = leader else { return false };
        self.asked(leader, |token| Input::Transfer(token, to));
        true
    }

    /// Whether a removal that was asked for may still come to pass: it is young, or somebody has entries that are not applied.
    fn a_removal_may_come(&self) -> bool {
        let Some(last) = self.machines.iter().filter_map(|slot| slot.removed_at).max() else { return false };
        let is_idle = |seat: &Seat| {
            let (applied, last) = seat.replica.status().progress;
            applied == last
        };
        let clear = |slot: &Machine| {
            slot.frozen_until <= self.now && slot.process.as_ref().is_some_and(|process| process.seats.iter().all(is_idle))
        };
        self.now < last + REMOVAL_IN_DOUBT || !self.machines.iter().all(clear)
    }

    /// An operator takes a member out; who tends the members takes it in again. With one disk less, none of the others may be lost.
    fn remove_until(&mut self, partition: usize, machine: usize, until: u64) -> bool {
        let Some(leader) = self.leader(partition).filter(|_| self.may_lose_a_disk(machine)) else { return false };
        let id = self.machines[machine].id();
        let slot = &mut self.machines[machine];
        (slot.out_until, slot.removed_at) = (until, Some(self.now));
        self.asked(leader, |token| Input::Change(token, Change::Remove(id)));
        true
    }
}
