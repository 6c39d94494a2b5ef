//! The world: virtual time, machines, links and gateways, moved on event by event until the run is judged.
//!
//! Everything that runs in a machine is what runs in production. What happens next is decided by the heap of events alone,
//! and that by the seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use onebox_replica::{Beginning, Input, Membership, Note, PeerId, PeerMessage, Query, Stop};
use onebox_service::attempt::{Attempt, Reply, RequestId};
use onebox_service::buggify::{self, Taken};
use onebox_service::execute::{self, Context};
use onebox_service::{Code, Failure, FaultKind, Service, Time};
use onebox_store::{Disk, LogIndex, NodeId, Term};

use crate::chance::Chance;
use crate::checks::Verdict;
use crate::desk::Desk;
use crate::faults::Counts;
use crate::gateway::Gateway;
use crate::housekeeping::HOUSEKEEPING;
use crate::judge::Judge;
use crate::machine::{Build, Machine};
use crate::network::Network;
use crate::plan::{Options, Plan};
use crate::timeline::{Place, Timeline, What};
use crate::traffic::GATEWAY_TICK;
use crate::workload::{Ask, Operation, Workload};

/// Ticks between two looks at the free space of a disk.
const DISK_FREE_TICKS: u64 = 4;
/// Events after which a run is given up: it goes round in circles.
const EVENTS_MAX: u64 = 200_000_000;

pub(crate) enum Event {
    Tick(usize, u64),
    Turn(usize, u64),
    Persist(usize, u64),
    Work(usize, u64, u64),
    Start(usize),
    Deliver { from: usize, to: usize, packet: Packet },
    Ask(usize),
    GatewayTick(usize),
    Housekeeping,
    Strike(usize),
    Relief(usize),
}

/// What is on its way. Small: a heap of events moves it about.
#[derive(Clone)]
pub(crate) enum Packet {
    Peer(Box<PeerMessage>),
    Attempt(Box<Attempt>),
    Read(Box<(u64, Ask)>),
    Reply(Box<(RequestId, Reply, Time)>),
    ReadReply(Box<(u64, Reply, Time)>),
}

pub(crate) struct Scheduled(u64, u64, Event);

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Things go wrong.
    Faults,
    /// Nothing goes wrong any more; clients go on.
    Healing {
        since: u64,
    },
    /// Clients ask for nothing more; everybody catches up.
    Settling {
        since: u64,
    },
    Over,
}

pub(crate) struct World<'w> {
    pub(crate) now: u64,
    pub(crate) plan: Plan,
    pub(crate) machines: Vec<Machine>,
    pub(crate) network: Network,
    pub(crate) counts: Counts,
    /// The members as of the latest entry that said so.
    pub(crate) members: (LogIndex, Membership),
    pub(crate) timeline: Timeline,
    pub(crate) options: Options,
    pub(crate) service: Arc<dyn Service>,
    /// The build before, if the cluster is upgraded from it.
    pub(crate) service_before: Option<Arc<dyn Service>>,
    /// The newest version of apply was asked for when all machines ran the next build: from then on none goes back.
    pub(crate) activating: bool,
    pub(crate) workload: &'w mut dyn Workload,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) events: BinaryHeap<Reverse<Scheduled>>,
    pub(crate) scheduled: u64,
    pub(crate) happened: u64,
    pub(crate) tokens: u64,
    pub(crate) phase: Phase,
    pub(crate) judge: Judge,
    /// A replica found its state to be another.
    one_diverged: bool,
    /// Empty between turns: what one turn wants done is laid out on it.
    desk: Desk,
    pub(crate) acknowledged: u64,
    pub(crate) answered_since_healing: bool,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) undecided: u64,
    /// Whoever comes to lead until then has bad luck.
    pub(crate) unlucky_leaders_until: u64,
    pub(crate) chance: Chance,
}

/// What a run came to, and what it did.
#[derive(Debug, Clone)]
pub struct Report {
    /// Every promise was kept, or not.
    pub verdict: Verdict,
    /// Machines.
    pub machines: usize,
    /// Virtual microseconds.
    pub micros: u64,
    /// Events that happened.
    pub events: u64,
    /// Terms in which a leader served.
    pub leaders: usize,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Operations in all, and those of which the outcome is not known.
    pub operations: (usize, usize),
    /// Histories for which no order was found and none was ruled out, within the steps allowed.
    pub undecided: u64,
    /// Entries committed.
    pub entries: u64,
    /// Messages sent, lost and doubled.
    pub messages: (u64, u64, u64),
    /// How often each fault struck, and found nothing to strike.
    pub faults: Counts,
    /// How often each place in the code that was met made something unlikely happen.
    pub unlikely: Taken,
    /// A hash of everything that happened, in order: equal for equal runs.
    pub trace_hash: u64,
    /// What happened.
    pub timeline: Timeline,
}

/// Runs a seed.
pub fn run(options: &Options, workload: &mut dyn Workload) -> Report {
    if !options.nothing_goes_wrong() {
        buggify::begin(options.seed);
    }
    let mut world = World::new(options, workload);
    world.begin();
    let verdict = loop {
        if let Some(verdict) = world.verdict.take() {
            break verdict;
        }
        world.step();
    };
    // Processes on rotten disks are forgotten, not dropped, and hold their disks.
    for machine in &mut world.machines {
        machine.kill();
        machine.disk.erase();
    }
    world.report(verdict)
}

impl<'w> World<'w> {
    pub(crate) fn new(options: &Options, workload: &'w mut dyn Workload) -> World<'w> {
        let service_before = workload.before();
        let plan = Plan::draw(options, service_before.is_some());
        let mut chance = Chance::stream(options.seed, "world", 0);
        let nodes: Vec<NodeId> = (0..plan.machines).map(|_| NodeId(u128::from(chance.draw()) << 64 | u128::from(chance.draw()))).collect();
        let voters: Vec<PeerId> = nodes.iter().map(|node| PeerId::of(*node)).collect();
        let build = if plan.upgrades { Build::Before } else { Build::Next };
        let machine = |(number, node): (usize, &NodeId)| Machine {
            build,
            ..Machine::new(options.seed, number, *node, Beginning::Voters(voters.clone()))
        };
        World {
            now: 0,
            machines: nodes.iter().enumerate().map(machine).collect(),
            network: Network::new(options.seed, plan.machines + plan.clients, plan.link),
            counts: Counts::default(),
            members: (LogIndex(0), Membership::of_voters(voters.clone())),
            timeline: Timeline::new(options.trace),
            service: workload.service(),
            service_before,
            activating: false,
            workload,
            gateways: (0..plan.clients).map(|number| Gateway::new(options.seed, number, plan.machines)).collect(),
            plan,
            options: options.clone(),
            operations: Vec::new(),
            events: BinaryHeap::new(),
            scheduled: 0,
            happened: 0,
            tokens: 0,
            phase: Phase::Faults,
            judge: Judge::default(),
            one_diverged: false,
            desk: Desk::default(),
            acknowledged: 0,
            answered_since_healing: false,
            verdict: None,
            undecided: 0,
            unlucky_leaders_until: 0,
            chance,
        }
    }

    pub(crate) fn begin(&mut self) {
        for machine in 0..self.machines.len() {
            self.at(machine as u64 * 1_000, Event::Start(machine));
        }
        for gateway in 0..self.gateways.len() {
            self.tick_gateway_at(gateway, GATEWAY_TICK + gateway as u64);
        }
        self.judge.executed.members(self.members.1.clone());
        self.ask_soon(500_000);
        self.at(HOUSEKEEPING, Event::Housekeeping);
        for place in 0..self.plan.injections.len() {
            self.at(self.plan.injections[place].at, Event::Strike(place));
        }
    }

    pub(crate) fn at(&mut self, when: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse(Scheduled(when.max(self.now), self.scheduled, event)));
    }

    pub(crate) fn step(&mut self) {
        self.move_phase();
        let Some(Reverse(Scheduled(when, _, event))) = self.events.pop() else { return };
        self.now = when;
        self.happened += 1;
        if self.happened > EVENTS_MAX {
            return self.stuck("the run ends", format!("{EVENTS_MAX} events happened"));
        }
        match event {
            Event::Tick(machine, incarnation) => self.tick(machine, incarnation),
            Event::Turn(machine, incarnation) => self.turn(machine, incarnation),
            Event::Persist(machine, incarnation) => self.persist(machine, incarnation),
            Event::Work(machine, incarnation, job) => self.work(machine, incarnation, job),
            Event::Start(machine) => self.start(machine),
            Event::Deliver { from, to, packet } => self.deliver(from, to, packet),
            Event::Ask(gateway) => self.ask(gateway),
            Event::GatewayTick(gateway) => self.gateway_tick(gateway),
            Event::Housekeeping => self.housekeeping(),
            Event::Strike(place) => self.strike(place),
            Event::Relief(place) => self.relief(place),
        }
    }

    // ---- machines ----

    /// Whether an event for that process still finds it; if the machine stands still, the event waits.
    pub(crate) fn reaches(&mut self, machine: usize, incarnation: u64) -> bool {
        let machine = &self.machines[machine];
        machine.incarnation == incarnation && machine.process.as_ref().is_some_and(|process| !process.stopped)
    }

    pub(crate) fn frozen(&self, machine: usize) -> Option<u64> {
        Some(self.machines[machine].frozen_until).filter(|until| *until > self.now)
    }

    pub(crate) fn start(&mut self, machine: usize) {
        if self.machines[machine].process.is_some() {
            return;
        }
        let service = match (self.machines[machine].build, &self.service_before) {
            (Build::Before, Some(before)) => Arc::clone(before),
            (Build::Before | Build::Next, _) => Arc::clone(&self.service),
        };
        let (now, plan) = (self.now, self.plan.clone());
        let started = catch_unwind(AssertUnwindSafe(|| self.machines[machine].start(now, &service, &plan)));
        if self.machines[machine].power_went() {
            return self.power_loss(machine);
        }
        match started {
            Err(panic) => self.broken("nothing panics", words_of(&*panic)),
            Ok(Ok(())) => {
                self.timeline.add(now, Place::Machine(machine), What::Up);
                let slot = &self.machines[machine];
                let applied = slot.process.as_ref().map_or(LogIndex(0), |process| process.replica.status().progress.0);
                self.judge.executed.applied(slot.id(), applied);
                let incarnation = self.machines[machine].incarnation;
                let offset = self.machines[machine].chance.below(self.plan.tick);
                self.at(now + 1 + offset, Event::Tick(machine, incarnation));
                self.turn_soon(machine);
            }
            Ok(Err(fault)) => self.not_started(machine, &fault),
        }
    }

    pub(crate) fn not_started(&mut self, machine: usize, fault: &onebox_service::Fault) {
        self.timeline.add(self.now, Place::Machine(machine), What::Stopped(fault.to_string()));
        self.machines[machine].kill();
        match fault.kind {
            FaultKind::Io | FaultKind::DiskFull => self.at(self.now + 300_000, Event::Start(machine)),
            FaultKind::Damage => self.damaged(machine, fault),
            FaultKind::Version => self.broken("a build reads what it wrote", fault.to_string()),
        }
    }

    /// Damage of the base is healed from history and log; with any other, a new node takes this one's place.
    pub(crate) fn damaged(&mut self, machine: usize, fault: &onebox_service::Fault) {
        self.machines[machine].kill();
        if !self.machines[machine].rotten {
            return self.broken("damage has a cause", fault.to_string());
        }
        let base = fault.file.contains("base.redb") && self.machines[machine].disk.rename("base.redb", "base.damaged").is_ok();
        if !base {
            self.timeline.add(self.now, Place::Machine(machine), What::Wiped);
            self.machines[machine].wipe();
        }
        self.at(self.now + 100_000, Event::Start(machine));
    }

    /// Gives a machine's replica something, and has it take a turn soon.
    pub(crate) fn give(&mut self, machine: usize, input: Input) {
        if let Some(process) = self.machines[machine].process.as_mut().filter(|process| !process.stopped) {
            process.inbox.push(input);
            self.turn_soon(machine);
        }
    }

    pub(crate) fn turn_soon(&mut self, machine: usize) {
        let (turn, incarnation) = (self.plan.turn, self.machines[machine].incarnation);
        if let Some(process) = self.machines[machine].process.as_mut().filter(|process| !process.turn_due) {
            process.turn_due = true;
            self.at(self.now + turn, Event::Turn(machine, incarnation));
        }
    }

    pub(crate) fn tick(&mut self, machine: usize, incarnation: u64) {
        if !self.reaches(machine, incarnation) {
            return;
        }
        if let Some(until) = self.frozen(machine) {
            return self.at(until, Event::Tick(machine, incarnation));
        }
        let slot = &mut self.machines[machine];
        let process = slot.process.as_mut().expect("an event reaches a process that runs");
        process.inbox.push(Input::Tick);
        process.ticks += 1;
        if process.ticks.is_multiple_of(DISK_FREE_TICKS)
            && let Ok(bytes) = slot.disk.free_bytes()
        {
            process.inbox.push(Input::DiskFree { bytes });
        }
        let turn_due = process.turn_due;
        self.at(self.now + self.plan.tick, Event::Tick(machine, incarnation));
        if !turn_due {
            // Nothing else is on its way into that turn, so that it may as well be now.
            self.turn(machine, incarnation);
        }
    }

    pub(crate) fn turn(&mut self, machine: usize, incarnation: u64) {
        if !self.reaches(machine, incarnation) {
            return;
        }
        if let Some(until) = self.frozen(machine) {
            return self.at(until, Event::Turn(machine, incarnation));
        }
        let now = self.now;
        let mut desk = std::mem::take(&mut self.desk);
        let turned = catch_unwind(AssertUnwindSafe(|| self.machines[machine].turn(now, &mut desk)));
        match turned {
            Err(panic) => self.broken("nothing panics", words_of(&*panic)),
            Ok(again) => {
                self.perform(machine, &mut desk);
                if again {
                    self.turn_soon(machine);
                }
            }
        }
        desk.clear();
        self.desk = desk;
    }

    pub(crate) fn perform(&mut self, machine: usize, desk: &mut Desk) {
        let incarnation = self.machines[machine].incarnation;
        if let Some(frame) = desk.frame.take() {
            if let Err((promise, words)) = self.judge.logged(&frame.batch.entries) {
                return self.broken(promise, words);
            }
            let when = self.now + self.latency(machine, self.plan.sync);
            let process = self.machines[machine].process.as_mut().expect("it took a turn");
            assert!(process.frame.replace(frame).is_none(), "one frame is outstanding at most");
            self.at(when, Event::Persist(machine, incarnation));
        }
        for entry in desk.applied.drain(..) {
            self.timeline.mark(&[self.now, machine as u64, entry.index.0, entry.term.0, entry.chain as u64]);
            self.judge.executed.applied(self.machines[machine].id(), entry.index);
            let judged = self.judge.applied(machine, entry, &mut *self.workload);
            if let Err((promise, words)) = judged {
                return self.broken(promise, words);
            }
        }
        for message in desk.messages.drain(..) {
            self.send_peer(machine, message);
        }
        if let Some(view) = desk.view.take()
            && self.chance.once_in(512)
            && let Err(words) = self.holds(&view)
        {
            return self.broken("what the service promises", words);
        }
        for (token, reply) in desk.replies.drain(..) {
            self.answer(machine, token, reply);
        }
        for query in desk.queries.drain(..) {
            let token = query.token;
            let reply = self.query(query);
            self.answer(machine, token, reply);
        }
        for job in desk.jobs.drain(..) {
            let when = self.now + self.latency(machine, self.plan.job);
            let process = self.machines[machine].process.as_mut().expect("it took a turn");
            process.jobs_begun += 1;
            process.jobs.insert(process.jobs_begun, job);
            let number = process.jobs_begun;
            self.at(when, Event::Work(machine, incarnation, number));
        }
        for note in desk.notes.drain(..) {
            self.note(machine, note);
        }
        if desk.drained || desk.stop.is_some() {
            self.stopped(machine, desk.stop.take());
        }
    }

    pub(crate) fn latency(&mut self, machine: usize, (least, more): (u64, u64)) -> u64 {
        let slot = &mut self.machines[machine];
        let ordinary = least + slot.chance.below(more + 1);
        if slot.slow_until > self.now { ordinary * 20 + 5_000 } else { ordinary }
    }

    pub(crate) fn note(&mut self, machine: usize, note: Note) {
        match note {
            Note::Leads { term, at } => {
                self.timeline.add(self.now, Place::Machine(machine), What::Leads(Term(term), at));
                let id = self.machines[machine].id();
                if let Err((promise, words)) = self.judge.leaders.leads(term, id) {
                    return self.broken(promise, words);
                }
                if self.now < self.unlucky_leaders_until {
                    let changes = self.machines[machine].chance.below(12);
                    self.machines[machine].lose_power_after(changes);
                }
            }
            Note::Members { at, members } => {
                self.timeline.add(self.now, Place::Machine(machine), What::Note(format!("members at {at}: {members:?}")));
                if at > self.members.0 {
                    self.judge.executed.members(members.clone());
                    self.members = (at, members);
                }
            }
            // Its memory failed, once.
            Note::Diverged { .. } if buggify::happened("memory fails") && !self.one_diverged => {
                self.one_diverged = true;
                self.timeline.add(self.now, Place::Machine(machine), What::Note(format!("{note:?}")));
            }
            Note::Diverged { at, what } => {
                self.broken("replicas agree", format!("machine {machine} at entry {at}: {what}"));
            }
            Note::PeerNonsense { from, what } => self.broken("peers make sense", format!("{from}: {what}")),
            Note::Bug { method, what } => self.broken("the service does not fail", format!("{method}: {what}")),
            other => self.timeline.add(self.now, Place::Machine(machine), What::Note(format!("{other:?}"))),
        }
    }

    pub(crate) fn stopped(&mut self, machine: usize, stop: Option<Stop>) {
        let words = stop.as_ref().map_or_else(|| "it was told to".to_owned(), Stop::to_string);
        self.timeline.add(self.now, Place::Machine(machine), What::Stopped(words.clone()));
        if let Some(process) = &mut self.machines[machine].process {
            process.stopped = true;
        }
        if let Some(Stop::Fault(fault)) = &stop
            && fault.kind == FaultKind::Damage
        {
            return self.damaged(machine, fault);
        }
        let wait = match stop {
            Some(Stop::Diverged { .. } | Stop::Outvoted { .. } | Stop::Poison { .. }) => return self.broken("replicas agree", words),
            Some(Stop::Fault(_)) => 500_000,
            Some(Stop::Reopen) | None => 1_000,
        };
        self.machines[machine].kill();
        self.at(self.now + wait, Event::Start(machine));
    }

    pub(crate) fn persist(&mut self, machine: usize, incarnation: u64) {
        if !self.reaches(machine, incarnation) {
            return;
        }
        // The system finishes a write also while the process stands still.
        let persisted = self.machines[machine].persist();
        if self.machines[machine].power_went() {
            return self.power_loss(machine);
        }
        if let Some(input) = persisted {
            self.give(machine, input);
        }
    }

    pub(crate) fn work(&mut self, machine: usize, incarnation: u64, job: u64) {
        if !self.reaches(machine, incarnation) {
            return;
        }
        if let Some(until) = self.frozen(machine) {
            return self.at(until, Event::Work(machine, incarnation, job));
        }
        let disk = self.machines[machine].disk.clone();
        let process = self.machines[machine].process.as_mut().expect("an event reaches a process that runs");
        let job = process.jobs.remove(&job).expect("a job is done once");
        let done = catch_unwind(AssertUnwindSafe(|| job.run(&disk)));
        if self.machines[machine].power_went() {
            return self.power_loss(machine);
        }
        match done {
            Err(panic) => self.broken("nothing panics", words_of(&*panic)),
            Ok(done) => self.give(machine, Input::JobDone(done)),
        }
    }

    pub(crate) fn power_loss(&mut self, machine: usize) {
        self.timeline.add(self.now, Place::Machine(machine), What::Down("power lost"));
        self.machines[machine].lose_power();
        let off = self.machines[machine].chance.between(1_000, 3_000_000);
        self.at(self.now + off, Event::Start(machine));
    }

    pub(crate) fn query(&mut self, query: Query) -> Reply {
        let Query { tenant, method, body, view, .. } = query;
        let tenant = match onebox_replica::tenant(&view, &tenant) {
            Ok(tenant) => tenant.expect("the default tenant is there"),
            Err(fault) => return Reply::refused(Code::Unavailable, fault.to_string()),
        };
        let context = Context { tenant, now: view.position().time, seed: 0, budget: self.plan.limits.query_budget };
        match execute::query(&*self.service, method, &body, &view, &context) {
            Ok(executed) => Reply::Done { response: executed, repeated: false },
            Err(Failure::Refused(refusal)) => Reply::Refused(refusal),
            Err(Failure::Fault(_)) => Reply::Retry("a row could not be read"),
            Err(Failure::Bug(what)) => Reply::refused(Code::Internal, what),
        }
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    words.unwrap_or("a panic without words").to_owned()
}
