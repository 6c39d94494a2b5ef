//! The course of a run: things go wrong, then nothing does, then everybody catches up; then the whole is judged.

use onebox_replica::Beginning;
use onebox_service::{buggify, version};

use crate::checks::{Breach, Broken, Verdict, answers_are_explained, seconds};
use crate::gateway::Gateway;
use crate::machine::Machine;
use crate::partition::Partition;
use crate::timeline::{Place, What};
use crate::workload::Ended;
use crate::world::{Phase, Report, World};

/// Elections after the healing within which a request must be carried out, and everybody must have everything.
const HEALING_ELECTIONS: u64 = 10;

impl World {
    pub(crate) fn move_phase(&mut self) {
        match self.phase {
            Phase::Faults if self.now >= self.options.micros => {
                self.heal();
                self.phase = Phase::Healing { since: self.now };
                self.ask_soon(self.now);
            }
            Phase::Healing { since } => {
                let limit = self.healing_limit();
                let answered = self.partitions.iter().all(|partition| partition.answered_since_healing);
                if answered && self.now > since + self.plan.election() {
                    self.phase = Phase::Settling { since: self.now };
                } else if self.now > since + limit {
                    let words = format!("no write was served within {} of the last fault: {}", seconds(limit), self.standing());
                    self.stuck("the cluster heals", words);
                }
            }
            Phase::Settling { since } => {
                let limit = self.healing_limit() + self.plan.deadline;
                if self.is_settled() {
                    self.phase = Phase::Over;
                    self.judge_the_whole();
                } else if self.now > since + limit {
                    let words = format!("not everybody has everything {} after the last request: {}", seconds(limit), self.standing());
                    self.stuck("the cluster heals", words);
                }
            }
            Phase::Faults | Phase::Over => {}
        }
    }

    /// Generous where a node has to be replaced, for that takes several changes of the membership.
    pub(crate) fn healing_limit(&self) -> u64 {
        let replaced = self.machines.iter().any(|machine| machine.beginning == Beginning::Join);
        // A replica that starts again on a snapshot takes its process along, and what other partitions had fetched of theirs.
        let replacing = 20_000_000 * self.partitions.len() as u64;
        HEALING_ELECTIONS * self.plan.election() + if replaced { replacing } else { 3_000_000 }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.gateways.iter().all(|gateway| gateway.pending() == 0)
            && (0..self.partitions.len()).all(|partition| self.is_everywhere(partition))
    }

    /// Whether every machine is a member of the partition, and has all of it.
    fn is_everywhere(&self, partition: usize) -> bool {
        let Partition { judge, members: (_, members), .. } = &self.partitions[partition];
        let last = judge.agreement.last();
        let newest = *self.service.versions().end();
        let there = |machine: &Machine| {
            machine.seat(partition).is_some_and(|seat| {
                let upgraded = !self.plan.upgrades || version::in_force(seat.replica.view()) == Ok(newest);
                seat.replica.status().progress == (last, last) && upgraded
            })
        };
        let whole = self.machines.iter().all(|machine| members.voters.contains(&machine.id().0)) && !members.is_joint();
        whole && members.peers().len() == self.machines.len() && self.machines.iter().all(there)
    }

    pub(crate) fn standing(&self) -> String {
        let each = (0..self.partitions.len()).map(|partition| self.standing_of(partition));
        let pending: Vec<usize> = self.gateways.iter().map(Gateway::pending).collect();
        format!("{}; pending {pending:?}", each.collect::<Vec<_>>().join("; "))
    }

    fn standing_of(&self, partition: usize) -> String {
        let of = |machine: &Machine| match machine.seat(partition) {
            Some(seat) => {
                let status = seat.replica.status();
                let load = format!(
                    ", {} wait, {} bytes dirty{}",
                    status.queued,
                    status.dirty_bytes,
                    if status.disk_low { ", disk low" } else { "" }
                );
                format!(
                    "{} in {:?} at {} of {}{}{load}",
                    machine.id(),
                    status.term,
                    status.progress.0,
                    status.progress.1,
                    if status.leads { ", leads" } else { "" }
                )
            }
            None => format!("{} is down", machine.id()),
        };
        let machines: Vec<String> = self.machines.iter().map(of).collect();
        let Partition { members, judge, answered_since_healing, .. } = &self.partitions[partition];
        let answered = if *answered_since_healing { "answers" } else { "does not answer" };
        format!("partition {partition} {answered}: {}; members {members:?}; last entry {}", machines.join("; "), judge.agreement.last())
    }

    pub(crate) fn judge_the_whole(&mut self) {
        let budget = self.plan.limits.query_budget;
        let judged = self.partitions.iter().enumerate().map(|(number, partition)| {
            for seat in self.machines.iter().filter_map(|machine| machine.seat(number)) {
                partition.holds(seat.replica.view(), budget)?;
            }
            answers_are_explained::at_the_end(&*partition.workload, &partition.operations)
        });
        match judged.sum::<Result<u64, Breach>>() {
            Ok(undecided) => {
                self.undecided = undecided;
                self.verdict = Some(Verdict::Kept);
            }
            Err((promise, words)) => self.broken(promise, words),
        }
    }

    pub(crate) fn broken(&mut self, promise: &'static str, words: String) {
        self.timeline.add(self.now, Place::World, What::Broken(format!("{promise}: {words}")));
        if self.verdict.is_none() {
            self.verdict = Some(Verdict::Broken(Broken { promise, words, at: self.now }));
        }
    }

    pub(crate) fn stuck(&mut self, promise: &'static str, words: String) {
        self.timeline.add(self.now, Place::World, What::Broken(format!("{promise}: {words}")));
        if self.verdict.is_none() {
            self.verdict = Some(Verdict::Stuck(Broken { promise, words, at: self.now }));
        }
    }

    pub(crate) fn report(self, verdict: Verdict) -> Report {
        let all = || self.partitions.iter().flat_map(|partition| &partition.operations);
        let unknown = all().filter(|operation| !matches!(operation.ended, Some((_, Ended::Done(_) | Ended::Refused(_)))));
        Report {
            verdict,
            machines: self.machines.len(),
            micros: self.now,
            events: self.happened,
            partitions: self.partitions.len(),
            leaders: self.partitions.iter().map(|partition| partition.judge.leaders.count()).sum(),
            acknowledged: self.acknowledged,
            asked_again: self.asked_again,
            fates_told: self.fates_told,
            operations: (all().count(), unknown.count()),
            undecided: self.undecided,
            entries: self.partitions.iter().map(|partition| partition.judge.agreement.last().0).sum(),
            messages: (self.network.sent, self.network.lost, self.network.doubled),
            faults: self.counts,
            unlikely: buggify::end(),
            trace_hash: self.timeline.hash(),
            timeline: self.timeline,
        }
    }
}
