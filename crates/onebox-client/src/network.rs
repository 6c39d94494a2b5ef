//! A client among several nodes: whom each attempt goes to, and reads, which are asked again until somebody answers.
//!
//! Driven by the gateway of a real node and by those of the simulator alike.

use std::collections::BTreeMap;

use onebox_service::Time;
use onebox_service::attempt::{Attempt, Command, Reply, RequestId};

use crate::{Answer, Caller, Client, Effect, Input, Now, READ_AGAIN_MICROS, READ_RETRY_MICROS, Routes, SILENCE_MICROS};

/// What a client wants done; `R` is what is read.
#[derive(Debug)]
pub enum Errand<R> {
    /// Send an attempt to a node and bring its reply.
    Attempt {
        /// The node.
        to: u64,
        /// The attempt.
        attempt: Attempt,
    },
    /// Ask a node for a read.
    Read {
        /// The node.
        to: u64,
        /// Names the read.
        number: u64,
        /// What is read.
        read: R,
    },
    /// Answer a caller.
    Answer(Caller, Answer),
    /// Answer whoever asked for a read: with what a node said, or with nothing at the deadline.
    ReadAnswer(u64, Option<Reply>),
}

/// Whom to ask first for a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// Only the leader may answer.
    Leader,
    /// Any node may: the one that is named first.
    Nearest,
}

struct PendingRead<R> {
    read: R,
    /// Who was asked last.
    asked: u64,
    deadline: u64,
    ask_at: u64,
    /// How long the last silence was borne, and the next twice as long: a slow answer is not made faster by asking again and again.
    patience: u64,
    /// Nothing was heard since it was last asked.
    silent: bool,
}

/// A client over a network. See the module.
pub struct NetworkClient<R> {
    client: Client,
    routes: Routes,
    /// Calls that are not answered.
    calls: usize,
    reads: BTreeMap<u64, PendingRead<R>>,
    /// Since when an attempt is out and nothing was heard. While calls only wait to be sent again, nobody is silent.
    unheard_since: Option<u64>,
    log_time: Time,
}

impl<R: Clone> NetworkClient<R> {
    /// One that knows these nodes, and asks the first of them first.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(nodes: Vec<u64>) -> NetworkClient<R> {
        NetworkClient {
            client: Client::over_a_network(),
            routes: Routes::new(nodes),
            calls: 0,
            reads: BTreeMap::new(),
            unheard_since: None,
            log_time: Time(0),
        }
    }

    /// Calls and reads that are not answered.
    pub fn pending(&self) -> usize {
        self.calls + self.reads.len()
    }

    /// Replies tell the partition's log time, which may be ahead of this clock.
    pub fn hear_time(&mut self, log_time: Time) {
        self.log_time = self.log_time.max(log_time);
    }

    /// The own clock's word, or what replies told of log time, if that is ahead.
    fn at(&self, now: Now) -> Now {
        Now { log: self.log_time.max(now.log), ..now }
    }

    /// Somebody calls and waits until the uptime `deadline`.
    pub fn call(&mut self, now: Now, caller: Caller, command: Command, deadline: u64) -> Vec<Errand<R>> {
        self.calls += 1;
        self.step(now, Input::Call(caller, command, deadline))
    }

    /// Somebody asks for a read, under a number that is not used again, and waits until the uptime `deadline`. Whoever is asked
    /// first, the leader is asked next.
    pub fn read(&mut self, now: Now, number: u64, read: R, whom: Whom, deadline: u64) -> Vec<Errand<R>> {
        let to = match whom {
            Whom::Leader => self.routes.target(),
            Whom::Nearest => self.routes.nearest(),
        };
        let ask_at = now.uptime + READ_AGAIN_MICROS;
        let pending = PendingRead { read: read.clone(), asked: to, deadline, ask_at, patience: READ_AGAIN_MICROS, silent: true };
        self.reads.insert(number, pending);
        vec![Errand::Read { to, number, read }]
    }

    /// A node leads from now on: whatever waited for one is asked of it at once.
    pub fn leads(&mut self, now: Now, node: u64) -> Vec<Errand<R>> {
        self.routes.elsewhere(self.routes.target(), Some(node));
        for read in self.reads.values_mut().filter(|read| !read.silent) {
            read.ask_at = now.uptime;
        }
        let mut errands = self.step(now, Input::Hurry);
        errands.extend(self.tick(now));
        errands
    }

    /// Some time has passed.
    pub fn tick(&mut self, now: Now) -> Vec<Errand<R>> {
        if self.calls == 0 {
            self.unheard_since = None;
        } else if self.unheard_since.is_some_and(|since| now.uptime.saturating_sub(since) > SILENCE_MICROS) {
            self.routes.away_from(self.routes.target());
            self.unheard_since = None;
        }
        let mut errands = self.step(now, Input::Tick);
        let late: Vec<u64> = self.reads.iter().filter(|(_, read)| read.deadline <= now.uptime).map(|(number, _)| *number).collect();
        for number in late {
            errands.extend(self.read_ended(number, None));
        }
        let target = self.routes.target();
        let silent = self.reads.values().any(|read| read.silent && read.asked == target && read.ask_at <= now.uptime);
        if silent {
            self.routes.away_from(target);
        }
        for (number, read) in &mut self.reads {
            if read.ask_at <= now.uptime {
                if read.silent {
                    read.patience = read.patience.saturating_mul(2);
                }
                (read.ask_at, read.silent) = (now.uptime.saturating_add(read.patience), true);
                read.asked = self.routes.target();
                errands.push(Errand::Read { to: read.asked, number: *number, read: read.read.clone() });
            }
        }
        errands
    }

    /// What a node says to an attempt.
    pub fn reply(&mut self, now: Now, from: u64, id: RequestId, reply: Reply) -> Vec<Errand<R>> {
        self.unheard_since = None;
        match &reply {
            Reply::Elsewhere(leader) => self.routes.elsewhere(from, *leader),
            Reply::Retry(_) | Reply::Unknown(_) => self.routes.away_from(from),
            Reply::Done { .. } | Reply::Opened(_) | Reply::Refused(_) | Reply::Withdrawn | Reply::Overloaded | Reply::SessionGone => {}
        }
        self.step(now, Input::Reply(id, reply))
    }

    /// Whom to ask now.
    pub fn target(&self) -> u64 {
        self.routes.target()
    }

    /// A node said to somebody else's question that it does not lead, and who does, if it knows.
    pub fn elsewhere(&mut self, from: u64, leader: Option<u64>) {
        self.routes.elsewhere(from, leader);
    }

    /// These are the nodes from now on; whom to ask stays, if it is among them.
    ///
    /// # Panics
    /// If there is none.
    pub fn nodes_are(&mut self, nodes: Vec<u64>) {
        let target = self.routes.target();
        self.routes = Routes::new(nodes);
        self.routes.elsewhere(self.routes.target(), Some(target));
    }

    /// The own node has stopped for good: nothing sent will be answered any more.
    pub fn stopped(&mut self, now: Now, why: String) -> Vec<Errand<R>> {
        let mut errands = self.step(now, Input::NodeStopped(why));
        let reads: Vec<u64> = self.reads.keys().copied().collect();
        errands.extend(reads.into_iter().filter_map(|number| self.read_ended(number, Some(Reply::Retry("this node has stopped")))));
        errands
    }

    /// What a node says to a read.
    pub fn read_reply(&mut self, now: Now, from: u64, number: u64, reply: Reply) -> Vec<Errand<R>> {
        let asks_another = self.reads.get(&number).is_some_and(|read| read.asked != from);
        match reply {
            Reply::Overloaded if asks_another => Vec::new(),
            // The leader may have room.
            Reply::Overloaded if from != self.routes.target() => {
                self.read_later(now, number);
                Vec::new()
            }
            // Whoever is overloaded is not to be asked again at once.
            Reply::Done { .. } | Reply::Refused(_) | Reply::Overloaded => self.read_ended(number, Some(reply)).into_iter().collect(),
            Reply::Elsewhere(leader) => {
                self.routes.elsewhere(from, leader);
                self.read_later(now, number);
                Vec::new()
            }
            Reply::Retry(_) | Reply::Unknown(_) | Reply::Withdrawn | Reply::SessionGone | Reply::Opened(_) => {
                self.routes.away_from(from);
                self.read_later(now, number);
                Vec::new()
            }
        }
    }

    fn read_later(&mut self, now: Now, number: u64) {
        if let Some(read) = self.reads.get_mut(&number) {
            (read.ask_at, read.silent) = (read.ask_at.min(now.uptime + READ_RETRY_MICROS), false);
        }
    }

    fn read_ended(&mut self, number: u64, reply: Option<Reply>) -> Option<Errand<R>> {
        self.reads.remove(&number)?;
        Some(Errand::ReadAnswer(number, reply))
    }

    fn step(&mut self, now: Now, input: Input) -> Vec<Errand<R>> {
        let effects = self.client.step(self.at(now), input);
        let errand = |effect| match effect {
            Effect::Send(attempt) => {
                self.unheard_since.get_or_insert(now.uptime);
                Errand::Attempt { to: self.routes.target(), attempt }
            }
            Effect::Answer(caller, answer) => {
                self.calls -= 1;
                Errand::Answer(caller, answer)
            }
        };
        effects.into_iter().map(errand).collect()
    }
}
