//! What goes over the links: between machines, and between gateways and machines.

use onebox_replica::{Confirm, Consistency, Input, PeerMessage, Read, Token};
use onebox_service::attempt::{Fate, Reply, RequestId};
use onebox_store::LogIndex;
use prost::Message;

use crate::checks::{Breach, reads_go_forward, requests_take_effect_once};
use crate::gateway::{AskedRead, Ending, TENANT, Wish};
use crate::machine::{SeatId, Waiting};
use crate::partition::Partition;
use crate::timeline::What;
use crate::workload::{Ended, Operation};
use crate::world::{Answered, Event, Packet, Phase, World};

/// Microseconds between two looks of a gateway at its clock.
pub(crate) const GATEWAY_TICK: u64 = 20_000;
/// The same, of one that waits for nothing.
const GATEWAY_IDLE_TICK: u64 = 1_000_000;
/// Operations of a gateway that may be under way.
const PENDING_MAX: usize = 64;
/// One in so many writes has an idempotency key. What takes no effect is not kept under it.
const KEYED_ONE_IN: u64 = 8;
/// Microseconds, at most, until somebody asks what became of a request of which nobody knows.
const FATE_MICROS_MAX: u64 = 8_000_000;
/// Requests of a partition in a virtual second, at least, while the cluster heals: it can show that it has only when it is asked.
const HEALING_RATE_MIN: u64 = 20;

impl World {
    // ---- links ----

    pub(crate) fn send_peer(&mut self, seat: SeatId, message: Box<PeerMessage>) {
        let SeatId { machine, partition } = seat;
        let Some(to) = self.machines.iter().position(|other| other.id().0 == message.to) else { return };
        if let Some(words) = &mut self.machines[machine].last_words {
            let Some(fewer) = words.checked_sub(1) else { return };
            *words = fewer;
        }
        let message = if self.plan.encodes {
            Box::new(PeerMessage::decode(&message.encode_to_vec()[..]).expect("what was encoded can be decoded"))
        } else {
            message
        };
        let arrivals = self.network.arrivals(self.now, machine, to);
        self.timeline.sent(self.now, (self.place(seat), machine), to, arrivals[0], &message);
        self.arrive(arrivals, machine, to, Packet::Peer(partition, message));
    }

    pub(crate) fn send(&mut self, from: usize, to: usize, packet: Packet) {
        let arrivals = self.network.arrivals(self.now, from, to);
        self.arrive(arrivals, from, to, packet);
    }

    fn arrive(&mut self, arrivals: [Option<u64>; 2], from: usize, to: usize, packet: Packet) {
        if let Some(when) = arrivals[1] {
            self.at(when, Event::Deliver { from, to, packet: packet.clone() });
        }
        if let Some(when) = arrivals[0] {
            self.at(when, Event::Deliver { from, to, packet });
        }
    }

    pub(crate) fn gateway_place(&self, gateway: usize) -> usize {
        self.machines.len() + gateway
    }

    pub(crate) fn deliver(&mut self, from: usize, to: usize, packet: Packet) {
        if self.network.is_cut(from, to) {
            return;
        }
        let machines = self.machines.len();
        if to < machines
            && let Some(until) = self.frozen(to)
        {
            // It is in the machine, and is read when the process goes on.
            return self.at(until, Event::Deliver { from, to, packet });
        }
        match packet {
            Packet::Peer(partition, message) => self.give(SeatId { machine: to, partition }, Input::Peer(message)),
            Packet::Attempt(attempt) => {
                let waiting = Waiting::Attempt(from - machines, attempt.id);
                let seat = SeatId { machine: to, partition: self.gateways[from - machines].partition };
                if let Some(token) = self.wait(seat, waiting) {
                    self.give(seat, Input::Attempt(token, *attempt));
                }
            }
            Packet::Read(read) => {
                let (number, AskedRead { ask, consistency }) = *read;
                let seat = SeatId { machine: to, partition: self.gateways[from - machines].partition };
                if let Some(token) = self.wait(seat, Waiting::Read(from - machines, number)) {
                    let deadline = self.machines[to].uptime(self.now) + self.plan.deadline;
                    let read = Read { token, tenant: TENANT.to_owned(), method: ask.method, body: ask.body, consistency, deadline };
                    self.give(seat, Input::Read(read));
                }
            }
            Packet::Reply(reply) => {
                let (id, answered) = *reply;
                let wishes = self.gateways[to - machines].reply(self.now, from as u64, id, answered);
                self.grant(to - machines, wishes);
            }
            Packet::Leads => {
                let wishes = self.gateways[to - machines].leads(self.now, from as u64);
                self.grant(to - machines, wishes);
            }
            Packet::ReadReply(reply) => {
                let (number, answered) = *reply;
                let wishes = self.gateways[to - machines].read_reply(self.now, from as u64, number, answered);
                self.grant(to - machines, wishes);
            }
        }
    }

    /// A process is to stop.
    pub(crate) fn drain(&mut self, machine: usize) {
        self.seats(machine).for_each(|seat| self.give(seat, Input::Drain));
    }

    /// A replica is asked for something by the world.
    pub(crate) fn asked(&mut self, seat: SeatId, input: impl FnOnce(Token) -> Input) {
        if let Some(token) = self.wait(seat, Waiting::Housekeeping) {
            self.give(seat, input(token));
        }
    }

    pub(crate) fn wait(&mut self, seat: SeatId, waiting: Waiting) -> Option<Token> {
        self.tokens += 1;
        self.machines[seat.machine].seat_mut(seat.partition)?.callers.insert(Token(self.tokens), waiting);
        Some(Token(self.tokens))
    }

    pub(crate) fn answer(&mut self, seat: SeatId, token: Token, reply: Reply, at: LogIndex) {
        let machine = seat.machine;
        let answering = self.machines[machine].seat_mut(seat.partition).expect("it took a turn");
        let time = answering.replica.status().time;
        let Some(waiting) = answering.callers.remove(&token) else {
            return self.broken("callers are answered once", format!("{token:?} is answered by machine {machine} and waits no more"));
        };
        let reply = match reply {
            // Replicas know each other by identity, gateways know machines.
            Reply::Elsewhere(Some(leader)) => {
                Reply::Elsewhere(self.machines.iter().position(|other| other.id().0 == leader).map(|machine| machine as u64))
            }
            other => other,
        };
        match waiting {
            Waiting::Attempt(gateway, id) => {
                self.send(machine, self.gateway_place(gateway), Packet::Reply(Box::new((id, Answered { reply, at, time }))));
            }
            Waiting::Read(gateway, number) => {
                self.send(machine, self.gateway_place(gateway), Packet::ReadReply(Box::new((number, Answered { reply, at, time }))));
            }
            // What is not known here and now is asked no further.
            Waiting::Fate(_) => {}
            Waiting::Housekeeping => {
                let place = self.place(seat);
                self.timeline.add(self.now, place, What::Note(format!("the world is told {reply:?}")))
            }
        }
    }

    /// Every replica is asked what became of a request, also one that only believes it leads.
    pub(crate) fn ask_fate(&mut self, partition: usize, id: RequestId) {
        for machine in 0..self.machines.len() {
            let seat = SeatId { machine, partition };
            if let Some(token) = self.wait(seat, Waiting::Fate(id)) {
                self.give(seat, Input::Outcome(token, id));
            }
        }
    }

    pub(crate) fn tell_fate(&mut self, SeatId { machine, partition }: SeatId, token: Token, fate: &Fate) {
        let waiting = self.machines[machine].seat_mut(partition).expect("it took a turn").callers.remove(&token);
        let Some(Waiting::Fate(id)) = waiting else {
            return self.broken("callers are answered once", format!("{token:?} is told {fate:?} by machine {machine} and waits no more"));
        };
        self.fates_told += u64::from(matches!(fate, Fate::TookEffect { .. } | Fate::NoEffect));
        if let Err((promise, words)) = self.partitions[partition].judge.fate(id, fate) {
            self.broken(promise, words);
        }
    }

    // ---- gateways ----

    pub(crate) fn ask(&mut self, gateway: usize) {
        let rate = match self.phase {
            Phase::Faults => self.options.requests_per_second,
            Phase::Healing { .. } => self.options.requests_per_second.max(HEALING_RATE_MIN * self.partitions.len() as u64),
            Phase::Settling { .. } | Phase::Over => 0,
        };
        let asker = &mut self.gateways[gateway];
        if rate == 0 || asker.ask_at != self.now {
            return;
        }
        let gap = 1_000_000 * self.plan.clients as u64 / rate;
        let next = self.now + 1 + asker.chance.below(2 * gap + 1);
        asker.ask_at = next;
        self.at(next, Event::Ask(gateway));
        let asker = &mut self.gateways[gateway];
        if asker.pending() >= PENDING_MAX {
            return;
        }
        let Partition { workload, operations, .. } = &mut self.partitions[asker.partition];
        let ask = workload.next(gateway, &mut asker.chance);
        let operation = operations.len();
        let key = (ask.records && asker.chance.once_in(KEYED_ONE_IN)).then(|| format!("key {operation}"));
        let consistency = if ask.reads { asker.consistency() } else { Consistency::Linearizable };
        operations.push(Operation { client: gateway, ask, key, consistency, invoked: self.now, ended: None });
        self.call(gateway, operation);
    }

    /// Has every gateway ask, also those that would have paused for long.
    pub(crate) fn ask_soon(&mut self, when: u64) {
        for gateway in 0..self.gateways.len() {
            self.gateways[gateway].ask_at = when;
            self.at(when, Event::Ask(gateway));
        }
    }

    /// A gateway on a real node hears from the replica beside it who leads.
    pub(crate) fn tell_of_leader(&mut self, SeatId { machine, partition }: SeatId) {
        for gateway in (partition..self.gateways.len()).step_by(self.partitions.len()) {
            if self.gateways[gateway].hears_of_leaders() {
                self.send(machine, self.gateway_place(gateway), Packet::Leads);
            }
        }
    }

    pub(crate) fn gateway_tick(&mut self, gateway: usize) {
        if self.gateways[gateway].tick_at != self.now {
            return;
        }
        let wishes = self.gateways[gateway].tick(self.now);
        self.grant(gateway, wishes);
        let wait = if self.gateways[gateway].pending() > 0 { GATEWAY_TICK } else { GATEWAY_IDLE_TICK };
        self.tick_gateway_at(gateway, self.now + wait);
    }

    pub(crate) fn tick_gateway_at(&mut self, gateway: usize, when: u64) {
        self.gateways[gateway].tick_at = when;
        self.at(when, Event::GatewayTick(gateway));
    }

    pub(crate) fn grant(&mut self, gateway: usize, wishes: Vec<Wish>) {
        let place = self.gateway_place(gateway);
        for wish in wishes {
            match wish {
                Wish::Attempt { to, attempt } => self.send(place, to as usize, Packet::Attempt(Box::new(attempt))),
                Wish::Read { to, number, read } => self.send(place, to as usize, Packet::Read(Box::new((number, read)))),
                Wish::Ended(ending) => self.ended(gateway, ending),
            }
        }
    }

    pub(crate) fn ended(&mut self, gateway: usize, ending: Ending) {
        let Ending { operation, id, ref ended, .. } = ending;
        let partition = self.gateways[gateway].partition;
        let Operation { key, invoked, ended: before, .. } = &self.partitions[partition].operations[operation];
        let is_first = before.is_none();
        self.timeline.operation(gateway, if is_first { *invoked } else { self.now }, self.now, ended);
        let again = is_first && key.is_some() && !matches!(ended, Ended::Refused(_)) && self.chance.once_in(2);
        let unknown = id.filter(|_| *ended == Ended::Unknown);
        if let Err((promise, words)) = self.judge_end(partition, ending) {
            return self.broken(promise, words);
        }
        if let Some(id) = unknown {
            let wait = self.chance.below(FATE_MICROS_MAX);
            self.at(self.now + wait, Event::AskFate(partition, id));
        }
        if again {
            self.ask_again(partition, operation);
        }
    }

    fn judge_end(&mut self, partition: usize, ending: Ending) -> Result<(), Breach> {
        let Ending { operation, id, ended, positions: (reached, at) } = ending;
        let Partition { workload, operations, judge, answered_since_healing, told, .. } = &mut self.partitions[partition];
        let Operation { ask, key, invoked, ended: before, .. } = &mut operations[operation];
        let healing = if let Phase::Healing { since } = self.phase { *invoked >= since } else { false };
        let key = key.as_deref();
        if let Ended::Done(_) = ended {
            reads_go_forward::answered(reached, at)?;
            *told = (*told).max(at);
        }
        match (&ended, id) {
            (Ended::Done(response), Some(id)) => {
                *answered_since_healing |= healing;
                if self.plan.confirm == Confirm::Executed {
                    judge.executed.told(id, key, &judge.effects)?;
                }
                judge.acknowledged((id, key), (response, at), ask.records)?;
            }
            (Ended::Refused(refusal), Some(id)) => {
                *answered_since_healing |= healing && workload.runs_out() && !refusal.kind.is_empty();
                judge.refused(id)?;
                if let Some((_, Ended::Done(_))) = before {
                    requests_take_effect_once::refused_again(refusal)?;
                }
            }
            (Ended::Done(_) | Ended::Refused(_) | Ended::Unknown, _) => {}
        }
        // Asked again, it may only come to be known what became of it.
        if before.is_none() || matches!((&*before, &ended), (Some((_, Ended::Unknown)), Ended::Done(_))) {
            match &ended {
                Ended::Done(response) => {
                    self.acknowledged += u64::from(id.is_some());
                    workload.told(ask, Ok(response));
                }
                Ended::Refused(refusal) => workload.told(ask, Err(refusal)),
                Ended::Unknown => {}
            }
            *before = Some((self.now, ended));
        }
        Ok(())
    }

    /// Somebody asks the same again under its key, at any gateway.
    fn ask_again(&mut self, partition: usize, operation: usize) {
        let partitions = self.partitions.len();
        let gateways = (partition..self.gateways.len()).step_by(partitions).count();
        let gateway = partition + partitions * self.chance.place(gateways);
        if self.gateways[gateway].pending() < PENDING_MAX {
            self.asked_again += 1;
            self.call(gateway, operation);
        }
    }

    fn call(&mut self, gateway: usize, operation: usize) {
        let asker = &mut self.gateways[gateway];
        let Partition { operations, told, .. } = &self.partitions[asker.partition];
        let asked = &operations[operation];
        let reached = match asked.consistency {
            Consistency::Linearizable if asked.ask.reads => *told,
            Consistency::Linearizable => LogIndex(0),
            Consistency::AtLeast(position) => position,
        };
        let wishes = asker.ask(self.now, operation, asked, reached, self.plan.deadline);
        if asker.tick_at > self.now + GATEWAY_TICK {
            self.tick_gateway_at(gateway, self.now + GATEWAY_TICK);
        }
        self.grant(gateway, wishes);
    }
}
