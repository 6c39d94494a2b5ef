//! The course of a run: things go wrong, then nothing does, then everybody catches up; then the whole is judged.

use onebox_replica::Beginning;
use onebox_service::execute::{self, Context};
use onebox_service::{Budget, Failure, TenantId, buggify, version};
use onebox_store::state::View;

use crate::checks::{Broken, Verdict, seconds};
use crate::gateway::Gateway;
use crate::machine::Machine;
use crate::timeline::{Place, What};
use crate::workload::Ended;
use crate::world::{Phase, Report, World};

/// Elections after the healing within which a request must be carried out, and everybody must have everything.
const HEALING_ELECTIONS: u64 = 10;

impl World<'_> {
    pub(crate) fn move_phase(&mut self) {
        match self.phase {
            Phase::Faults if self.now >= self.options.micros => {
                self.heal();
                self.phase = Phase::Healing { since: self.now };
                self.ask_soon(self.now);
            }
            Phase::Healing { since } => {
                let limit = self.healing_limit();
                if self.answered_since_healing && self.now > since + self.plan.election() {
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
        HEALING_ELECTIONS * self.plan.election() + if replaced { 20_000_000 } else { 3_000_000 }
    }

    pub(crate) fn is_settled(&self) -> bool {
        let last = self.judge.agreement.last();
        let newest = *self.service.versions().end();
        let there = |machine: &Machine| {
            machine.process.as_ref().is_some_and(|process| {
                let upgraded = !self.plan.upgrades || version::in_force(process.replica.view()) == Ok(newest);
                !process.stopped && process.replica.status().progress == (last, last) && upgraded
            })
        };
        let members = &self.members.1;
        let whole = self.machines.iter().all(|machine| members.voters.contains(&machine.id().0)) && !members.is_joint();
        whole
            && members.peers().len() == self.machines.len()
            && self.gateways.iter().all(|gateway| gateway.pending() == 0)
            && self.machines.iter().all(there)
    }

    pub(crate) fn standing(&self) -> String {
        let of = |machine: &Machine| match &machine.process {
            Some(process) => {
                let status = process.replica.status();
                let stopped = if process.stopped { ", stopped" } else { "" };
                let stopped = format!(
                    "{stopped}, {} wait, {} bytes dirty{}",
                    status.queued,
                    status.dirty_bytes,
                    if status.disk_low { ", disk low" } else { "" }
                );
                format!(
                    "{} in {:?} at {} of {}{}{stopped}",
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
        let pending: Vec<usize> = self.gateways.iter().map(Gateway::pending).collect();
        format!("{}; members {:?}; last entry {}; pending {pending:?}", machines.join("; "), self.members, self.judge.agreement.last())
    }

    pub(crate) fn judge_the_whole(&mut self) {
        let views: Vec<_> = self.machines.iter().filter_map(|machine| Some(machine.process.as_ref()?.replica.view().clone())).collect();
        for view in views {
            if let Err(words) = self.holds(&view) {
                return self.broken("what the service promises", words);
            }
        }
        match crate::checks::answers_are_explained::at_the_end(&*self.workload, &self.operations) {
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
        let unknown = self.operations.iter().filter(|operation| !matches!(operation.ended, Some((_, Ended::Done(_) | Ended::Refused(_)))));
        Report {
            verdict,
            machines: self.machines.len(),
            micros: self.now,
            events: self.happened,
            leaders: self.judge.leaders.count(),
            acknowledged: self.acknowledged,
            operations: (self.operations.len(), unknown.count()),
            undecided: self.undecided,
            entries: self.judge.agreement.last().0,
            messages: (self.network.sent, self.network.lost, self.network.doubled),
            faults: self.counts,
            unlikely: buggify::end(),
            trace_hash: self.timeline.hash(),
            timeline: self.timeline,
        }
    }

    pub(crate) fn holds(&self, view: &View) -> Result<(), String> {
        let budget = Budget { rows_read_max: u32::MAX, scan_steps_max: u32::MAX, bytes_max: u32::MAX, ..self.plan.limits.query_budget };
        let context = Context { tenant: TenantId::DEFAULT, now: view.position().time, seed: 0, budget };
        match execute::look(view, &context, |reader| self.workload.holds(reader)) {
            Ok(holds) => holds,
            Err(Failure::Fault(_)) => Ok(()),
            Err(Failure::Bug(what)) => Err(what),
            Err(Failure::Refused(refusal)) => Err(refusal.message),
        }
    }
}
