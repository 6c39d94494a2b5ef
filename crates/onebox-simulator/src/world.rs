//! The world: virtual time, machines, links and gateways, moved on event by event until the run is judged.
//!
//! Everything that runs in a machine is what runs in production. What happens next is decided by the heap of events alone,
//! and that by the seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use onebox_replica::{Beginning, Input, Membership, Note, PeerId, PeerMessage, Query};
use onebox_service::attempt::{Attempt, Reply, RequestId};
use onebox_service::buggify::{self, Taken};
use onebox_service::execute::{self, Context};
use onebox_service::{Code, Failure, FaultKind, Service, Time};
use onebox_store::{Disk, LogIndex, NodeId, Term};

use crate::chance::Chance;
use crate::checks::Verdict;
use crate::desk::Desk;
use crate::faults::Counts;
use crate::gateway::{AskedRead, Gateway};
use crate::housekeeping::HOUSEKEEPING;
use crate::machine::{Build, Machine, SeatId};
use crate::network::Network;
use crate::panics::{OfARun, caught};
use crate::partition::Partition;
use crate::plan::{Options, Plan};
use crate::timeline::{Place, Timeline, What};
use crate::traffic::GATEWAY_TICK;
use crate::workload::Workload;

/// Ticks between two looks at the free space of a disk.
const DISK_FREE_TICKS: u64 = 4;
/// Events after which a run is given up: it goes round in circles.
const EVENTS_MAX: u64 = 200_000_000;

pub(crate) enum Event {
    Tick(usize, u64),
    Turn(SeatId, u64),
    Persist(SeatId, u64),
    Work(SeatId, u64, u64),
    Start(usize),
    Deliver {
        from: usize,
        to: usize,
        packet: Packet,
    },
    Ask(usize),
    /// Somebody asks what became of a request of a partition.
    AskFate(usize, RequestId),
    GatewayTick(usize),
    Housekeeping,
    Strike(usize),
    Relief(usize),
    /// A process's machine loses power.
    PowerLoss(usize, u64),
}

/// What is on its way. Small: a heap of events moves it about.
#[derive(Clone)]
pub(crate) enum Packet {
    /// To the replica of this partition.
    Peer(usize, Box<PeerMessage>),
    Attempt(Box<Attempt>),
    Read(Box<(u64, AskedRead)>),
    Reply(Box<(RequestId, Answered)>),
    ReadReply(Box<(u64, Answered)>),
    /// The sender leads.
    Leads,
}

/// What a replica said, where its state was, and its log time.
#[derive(Clone)]
pub(crate) struct Answered {
    pub(crate) reply: Reply,
    pub(crate) at: LogIndex,
    pub(crate) time: Time,
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

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) plan: Plan,
    pub(crate) machines: Vec<Machine>,
    pub(crate) network: Network,
    pub(crate) counts: Counts,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) timeline: Timeline,
    pub(crate) options: Options,
    pub(crate) service: Arc<dyn Service>,
    /// The build before, if the cluster is upgraded from it.
    pub(crate) service_before: Option<Arc<dyn Service>>,
    /// The newest version of apply was asked for when all machines ran the next build: from then on none goes back.
    pub(crate) activating: bool,
    /// Each asks one partition.
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) events: BinaryHeap<Reverse<Scheduled>>,
    pub(crate) scheduled: u64,
    pub(crate) happened: u64,
    pub(crate) tokens: u64,
    pub(crate) phase: Phase,
    /// A replica found its state to be another.
    one_diverged: bool,
    /// There and empty between turns: what one turn wants done is laid out on it.
    desk: Option<Box<Desk>>,
    pub(crate) acknowledged: u64,
    /// Requests that were asked again under their key.
    pub(crate) asked_again: u64,
    /// Times that it was told for certain what became of a request.
    pub(crate) fates_told: u64,
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
    /// Partitions that share the machines.
    pub partitions: usize,
    /// Terms in which a leader served, of all partitions.
    pub leaders: usize,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Requests that were asked again under their key.
    pub asked_again: u64,
    /// Times that it was told for certain what became of a request.
    pub fates_told: u64,
    /// Operations in all, and those of which the outcome is not known.
    pub operations: (usize, usize),
    /// Histories for which no order was found and none was ruled out, within the steps allowed.
    pub undecided: u64,
    /// Entries committed, of all partitions.
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

/// Runs a seed, with a workload for each partition.
pub fn run(options: &Options, workload: &mut dyn FnMut() -> Box<dyn Workload>) -> Report {
    if !options.nothing_goes_wrong() {
        buggify::begin(options.seed);
    }
    let mut world = World::new(options, workload);
    let _of_a_run = OfARun::begin();
    let mut begun = false;
    let verdict = loop {
        if let Some(verdict) = world.verdict.take() {
            break verdict;
        }
        let moved = if std::mem::replace(&mut begun, true) { caught(|| world.step()) } else { caught(|| world.begin()) };
        if let Err(words) = moved {
            world.broken("nothing panics", format!("in the workload, or in the simulator itself: {words}"));
        }
    };
    // Processes on rotten bases are forgotten, not dropped, and hold their disks.
    for machine in &mut world.machines {
        machine.kill();
        machine.disk.erase();
    }
    world.report(verdict)
}

impl World {
    pub(crate) fn new(options: &Options, workload: &mut dyn FnMut() -> Box<dyn Workload>) -> World {
        let first = workload();
        let (service, service_before) = (first.service(), first.before());
        let plan = Plan::draw(options, service_before.is_some());
        let workloads: Vec<_> = std::iter::once(first).chain((1..plan.partitions).map(|_| workload())).collect();
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
            partitions: workloads.into_iter().map(|workload| Partition::new(Membership::of_voters(voters.clone()), workload)).collect(),
            timeline: Timeline::new(options.trace),
            service,
            service_before,
            activating: false,
            gateways: (0..plan.clients).map(|number| Gateway::new(options.seed, number, &plan)).collect(),
            plan,
            options: options.clone(),
            events: BinaryHeap::new(),
            scheduled: 0,
            happened: 0,
            tokens: 0,
            phase: Phase::Faults,
            one_diverged: false,
            desk: Some(Box::default()),
            acknowledged: 0,
            asked_again: 0,
            fates_told: 0,
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
            Event::Turn(seat, incarnation) => self.turn(seat, incarnation),
            Event::Persist(seat, incarnation) => self.persist(seat, incarnation),
            Event::Work(seat, incarnation, job) => self.work(seat, incarnation, job),
            Event::Start(machine) => self.start(machine),
            Event::Deliver { from, to, packet } => self.deliver(from, to, packet),
            Event::Ask(gateway) => self.ask(gateway),
            Event::AskFate(partition, id) => self.ask_fate(partition, id),
            Event::GatewayTick(gateway) => self.gateway_tick(gateway),
            Event::Housekeeping => self.housekeeping(),
            Event::Strike(place) => self.strike(place),
            Event::Relief(place) => self.relief(place),
            Event::PowerLoss(machine, incarnation) if self.reaches(machine, incarnation) => self.power_loss(machine),
            Event::PowerLoss(..) => {}
        }
    }

    // ---- machines ----

    /// Whether an event for that process still finds it.
    pub(crate) fn reaches(&self, machine: usize, incarnation: u64) -> bool {
        let machine = &self.machines[machine];
        machine.incarnation == incarnation && machine.process.is_some()
    }

    /// A replica, as the timeline names it.
    pub(crate) fn place(&self, SeatId { machine, partition }: SeatId) -> Place {
        if self.partitions.len() == 1 { Place::Machine(machine) } else { Place::Replica(machine, partition) }
    }

    /// The replicas of a machine.
    pub(crate) fn seats(&self, machine: usize) -> impl Iterator<Item = SeatId> + use<> {
        (0..self.partitions.len()).map(move |partition| SeatId { machine, partition })
    }

    pub(crate) fn frozen(&self, machine: usize) -> Option<u64> {
        Some(self.machines[machine].frozen_until).filter(|until| *until > self.now)
    }

    /// Gives a replica something, and has it take a turn soon, or at once.
    pub(crate) fn give(&mut self, seat: SeatId, input: Input) {
        let incarnation = self.machines[seat.machine].incarnation;
        let Some(running) = self.machines[seat.machine].seat_mut(seat.partition) else { return };
        running.inbox.push(input);
        if self.plan.turn == 0 && !std::mem::replace(&mut running.turn_due, true) {
            self.turn(seat, incarnation);
        } else {
            self.turn_soon(seat);
        }
    }

    pub(crate) fn turn_soon(&mut self, seat: SeatId) {
        let (turn, incarnation) = (self.plan.turn, self.machines[seat.machine].incarnation);
        let process = self.machines[seat.machine].process.as_mut();
        if let Some(due) = process.map(|process| &mut process.seats[seat.partition].turn_due).filter(|due| !**due) {
            *due = true;
            self.at(self.now + turn, Event::Turn(seat, incarnation));
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
        process.ticks += 1;
        let looks = process.ticks.is_multiple_of(DISK_FREE_TICKS);
        let free = if looks { slot.disk.free_bytes().ok() } else { None };
        for seat in &mut process.seats {
            seat.inbox.push(Input::Tick);
            seat.inbox.extend(free.map(|bytes| Input::DiskFree { bytes }));
        }
        self.at(self.now + self.plan.tick, Event::Tick(machine, incarnation));
        for seat in self.seats(machine) {
            if self.machines[machine].seat(seat.partition).is_some_and(|seat| !seat.turn_due) {
                // Nothing else is on its way into that turn, so that it may as well be now.
                self.turn(seat, incarnation);
            }
        }
    }

    pub(crate) fn turn(&mut self, seat: SeatId, incarnation: u64) {
        if !self.reaches(seat.machine, incarnation) {
            return;
        }
        if let Some(until) = self.frozen(seat.machine) {
            return self.at(until, Event::Turn(seat, incarnation));
        }
        let now = self.now;
        let mut desk = self.desk.take().expect("no turn is in the middle of another");
        let turned = caught(|| self.machines[seat.machine].turn(seat.partition, now, &mut desk));
        match turned {
            Err(words) => self.broken("nothing panics", words),
            Ok(again) => {
                self.perform(seat, &mut desk);
                if again {
                    self.turn_soon(seat);
                }
            }
        }
        desk.clear();
        self.desk = Some(desk);
    }

    pub(crate) fn perform(&mut self, seat: SeatId, desk: &mut Desk) {
        let SeatId { machine, partition } = seat;
        if self.now < self.unlucky_leaders_until {
            self.strike_the_elected(seat);
        }
        if desk.has_but_messages() {
            self.machines[machine].seat_mut(partition).expect("it took a turn").drained = false;
            return desk.messages.drain(..).for_each(|message| self.send_peer(seat, message));
        }
        let incarnation = self.machines[machine].incarnation;
        if let Some(frame) = desk.frame.take() {
            if let Err((promise, words)) = self.partitions[partition].judge.logged(&frame.batch.entries) {
                return self.broken(promise, words);
            }
            let when = self.now + self.latency(machine, self.plan.sync);
            let turned = self.machines[machine].seat_mut(partition).expect("it took a turn");
            assert!(turned.frame.replace(frame).is_none(), "one frame is outstanding at most");
            self.at(when, Event::Persist(seat, incarnation));
        }
        for entry in desk.applied.drain(..) {
            self.timeline.mark([self.now, machine as u64, entry.index.0, entry.term.0, entry.chain as u64]);
            let Partition { judge, workload, .. } = &mut self.partitions[partition];
            judge.executed.applied(self.machines[machine].id(), entry.index);
            if let Err((promise, words)) = judge.applied(machine, entry, &mut **workload) {
                return self.broken(promise, words);
            }
        }
        for message in desk.messages.drain(..) {
            self.send_peer(seat, message);
        }
        if let Some(view) = desk.view.take()
            && self.chance.once_in(512)
            && let Err((promise, words)) = self.partitions[partition].holds(&view, self.plan.limits.query_budget)
        {
            return self.broken(promise, words);
        }
        for (token, reply, at) in desk.replies.drain(..) {
            self.answer(seat, token, reply, at);
        }
        for (token, fate) in desk.fates.drain(..) {
            self.tell_fate(seat, token, &fate);
        }
        for query in desk.queries.drain(..) {
            let (token, at) = (query.token, query.view.position().index);
            let reply = self.query(query);
            self.answer(seat, token, reply, at);
        }
        for job in desk.jobs.drain(..) {
            let when = self.now + self.latency(machine, self.plan.job);
            let turned = self.machines[machine].seat_mut(partition).expect("it took a turn");
            turned.jobs_begun += 1;
            turned.jobs.insert(turned.jobs_begun, job);
            let number = turned.jobs_begun;
            self.at(when, Event::Work(seat, incarnation, number));
        }
        for note in desk.notes.drain(..) {
            self.note(seat, note);
        }
        if let Some(stop) = desk.stop.take() {
            return self.stopped(seat, Some(stop));
        }
        // Others need its replicas meanwhile: a process that is to stop goes on with every partition until all have drained.
        let Some(process) = self.machines[machine].process.as_mut() else { return };
        process.seats[partition].drained = desk.drained;
        if desk.drained && process.seats.iter().all(|seat| seat.drained) {
            self.stopped(seat, None);
        }
    }

    pub(crate) fn latency(&mut self, machine: usize, (least, more): (u64, u64)) -> u64 {
        let slot = &mut self.machines[machine];
        let ordinary = least + slot.chance.below(more + 1);
        if slot.slow_until > self.now { ordinary * 20 + 5_000 } else { ordinary }
    }

    pub(crate) fn note(&mut self, seat: SeatId, note: Note) {
        let SeatId { machine, partition } = seat;
        let place = self.place(seat);
        match note {
            Note::Leads { term, at } => {
                self.timeline.add(self.now, place, What::Leads(Term(term), at));
                let id = self.machines[machine].id();
                if let Err((promise, words)) = self.partitions[partition].judge.leaders.leads(term, id) {
                    return self.broken(promise, words);
                }
                self.tell_of_leader(seat);
                if self.now < self.unlucky_leaders_until {
                    let changes = self.machines[machine].chance.below(12);
                    self.machines[machine].lose_power_after(changes);
                }
            }
            Note::Members { at, members } => {
                self.timeline.add(self.now, place, What::Note(format!("members at {at}: {members:?}")));
                let known = &mut self.partitions[partition];
                if at > known.members.0 {
                    known.judge.executed.members(members.clone());
                    known.members = (at, members);
                }
            }
            // Its memory failed, once.
            Note::Diverged { .. } if buggify::happened("memory fails") && !self.one_diverged => {
                self.one_diverged = true;
                self.timeline.add(self.now, place, What::Note(format!("{note:?}")));
            }
            Note::Diverged { at, what } => {
                self.broken("replicas agree", format!("machine {machine} at entry {at}: {what}"));
            }
            Note::LogScrub(fault) if fault.kind == FaultKind::Damage && !self.machines[machine].rotten => {
                self.broken("damage has a cause", fault.to_string());
            }
            Note::PeerNonsense { from, what } => self.broken("peers make sense", format!("{from}: {what}")),
            Note::Bug { method, what } => self.broken("the service does not fail", format!("{method}: {what}")),
            other => self.timeline.add(self.now, place, What::Note(format!("{other:?}"))),
        }
    }

    pub(crate) fn persist(&mut self, seat: SeatId, incarnation: u64) {
        let machine = seat.machine;
        if !self.reaches(machine, incarnation) {
            return;
        }
        // The system finishes a write also while the process stands still.
        let persisted = self.machines[machine].persist(seat.partition);
        if self.machines[machine].power_went() {
            return self.power_loss(machine);
        }
        if let Some(input) = persisted {
            self.give(seat, input);
        }
    }

    pub(crate) fn work(&mut self, seat: SeatId, incarnation: u64, job: u64) {
        let machine = seat.machine;
        if !self.reaches(machine, incarnation) {
            return;
        }
        if let Some(until) = self.frozen(machine) {
            return self.at(until, Event::Work(seat, incarnation, job));
        }
        let running = self.machines[machine].seat_mut(seat.partition).expect("an event reaches a replica that runs");
        let job = running.jobs.remove(&job).expect("a job is done once");
        let disk = Arc::clone(&running.disk);
        let done = caught(|| job.run(&*disk));
        if self.machines[machine].power_went() {
            return self.power_loss(machine);
        }
        match done {
            Err(words) => self.broken("nothing panics", words),
            Ok(done) => self.give(seat, Input::JobDone(done)),
        }
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
