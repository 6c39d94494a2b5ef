//! Processes on machines: started, drained, stopped, and what becomes of one whose disk is damaged.

use std::sync::Arc;

use onebox_replica::Stop;
use onebox_service::{Fault, FaultKind};
use onebox_store::{Disk, LogIndex};

use crate::machine::{Build, SeatId};
use crate::panics::caught;
use crate::timeline::{Place, What};
use crate::world::{Event, World};

impl World {
    pub(crate) fn start(&mut self, machine: usize) {
        if self.machines[machine].process.is_some() {
            return;
        }
        let service = match (self.machines[machine].build, &self.service_before) {
            (Build::Before, Some(before)) => Arc::clone(before),
            (Build::Before | Build::Next, _) => Arc::clone(&self.service),
        };
        let (now, plan) = (self.now, self.plan.clone());
        let started = caught(|| self.machines[machine].start(now, &service, &plan));
        if self.machines[machine].power_went() {
            return self.power_loss(machine);
        }
        match started {
            Err(words) => self.broken("nothing panics", words),
            Ok(Ok(())) => {
                self.timeline.add(now, Place::Machine(machine), What::Up);
                let slot = &self.machines[machine];
                for (number, partition) in self.partitions.iter_mut().enumerate() {
                    let applied = slot.seat(number).map_or(LogIndex(0), |seat| seat.replica.status().progress.0);
                    partition.judge.executed.applied(slot.id(), applied);
                }
                let incarnation = self.machines[machine].incarnation;
                let offset = self.machines[machine].chance.below(self.plan.tick);
                self.at(now + 1 + offset, Event::Tick(machine, incarnation));
                self.seats(machine).for_each(|seat| self.turn_soon(seat));
            }
            Ok(Err((partition, fault))) => self.not_started(SeatId { machine, partition }, &fault),
        }
    }

    pub(crate) fn not_started(&mut self, seat: SeatId, fault: &Fault) {
        let machine = seat.machine;
        self.timeline.add(self.now, Place::Machine(machine), What::Stopped(fault.to_string()));
        self.machines[machine].kill();
        match fault.kind {
            FaultKind::Io | FaultKind::DiskFull => self.at(self.now + 300_000, Event::Start(machine)),
            FaultKind::Damage => self.damaged(seat, fault),
            FaultKind::Version => self.broken("a build reads what it wrote", fault.to_string()),
            FaultKind::Foreign => self.broken("a node knows its own data", fault.to_string()),
        }
    }

    /// Damage of the base is healed from history and log; with any other, a new node takes this one's place.
    pub(crate) fn damaged(&mut self, seat: SeatId, fault: &Fault) {
        let machine = seat.machine;
        self.machines[machine].kill();
        if !self.machines[machine].rotten {
            return self.broken("damage has a cause", fault.to_string());
        }
        let disk = self.machines[machine].disk_of(seat.partition, &self.plan);
        let moved = |disk: Arc<dyn Disk>| disk.rename("base.redb", "base.damaged");
        if fault.file.contains("base.redb") && disk.and_then(moved).is_ok() {
            self.machines[machine].base_rotten = false;
        } else {
            self.timeline.add(self.now, Place::Machine(machine), What::Wiped);
            self.machines[machine].wipe();
        }
        self.at(self.now + 100_000, Event::Start(machine));
    }

    /// A replica has stopped, and the process with it.
    pub(crate) fn stopped(&mut self, seat: SeatId, stop: Option<Stop>) {
        let machine = seat.machine;
        let place = self.place(seat);
        let words = stop.as_ref().map_or_else(|| "it was told to".to_owned(), Stop::to_string);
        self.timeline.add(self.now, place, What::Stopped(words.clone()));
        if let Some(Stop::Fault(fault)) = &stop
            && fault.kind == FaultKind::Damage
        {
            return self.damaged(seat, fault);
        }
        let wait = match stop {
            Some(Stop::Diverged { .. } | Stop::Outvoted { .. } | Stop::Poison { .. }) => return self.broken("replicas agree", words),
            Some(Stop::Fault(_)) => 500_000,
            Some(Stop::Fetched | Stop::Reopen) | None => 1_000,
        };
        self.machines[machine].kill();
        self.at(self.now + wait, Event::Start(machine));
    }

    pub(crate) fn power_loss(&mut self, machine: usize) {
        self.timeline.add(self.now, Place::Machine(machine), What::Down("power lost"));
        self.machines[machine].lose_power();
        let longest = self.machines[machine].chance.pick(&[200_000, 3_000_000, 3_000_000]);
        let off = self.machines[machine].chance.between(1_000, longest);
        self.at(self.now + off, Event::Start(machine));
    }
}
