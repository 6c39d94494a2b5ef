//! A gateway with its callers: it draws requests from the workload, drives the real client, and remembers who was told what.

use std::collections::BTreeMap;

use onebox_client::{Caller, Client, Effect, Input, Now, Outcome, Routes};
use onebox_service::attempt::{Attempt, Command, Reply, RequestId};
use onebox_service::{Code, Time};

use crate::chance::Chance;
use crate::machine::START;
use crate::plan::Plan;
use crate::workload::{Ask, Ended};

/// Microseconds after which a read that is not answered is asked again.
const READ_AGAIN_MICROS: u64 = 500_000;
/// Microseconds without an answer after which another machine is tried.
const SILENCE_MICROS: u64 = 200_000;
/// The tenant that every request is of.
pub(crate) const TENANT: &str = "default";

pub(crate) struct Gateway {
    /// Which it asks.
    pub(crate) partition: usize,
    client: Client,
    routes: Routes,
    pub(crate) chance: Chance,
    /// Which operation each caller waits for.
    calls: BTreeMap<Caller, usize>,
    reads: BTreeMap<u64, PendingRead>,
    next: u64,
    /// When anything was heard, or the target changed for want of it.
    heard_at: u64,
    log_time: Time,
    /// When the next operation begins.
    pub(crate) ask_at: u64,
    /// When it looks at its clock next.
    pub(crate) tick_at: u64,
}

struct PendingRead {
    operation: usize,
    ask: Ask,
    deadline: u64,
    ask_at: u64,
    /// Nothing was heard since it was last asked.
    silent: bool,
}

/// What a gateway wants done.
pub(crate) enum Wish {
    Attempt { to: u64, attempt: Attempt },
    Read { to: u64, number: u64, ask: Ask },
    Ended { operation: usize, id: Option<RequestId>, ended: Ended },
}

impl Gateway {
    pub(crate) fn new(seed: u64, number: usize, plan: &Plan) -> Gateway {
        let nodes = (0..plan.machines).map(|machine| ((machine + number) % plan.machines) as u64).collect();
        Gateway {
            partition: number % plan.partitions,
            client: Client::over_a_network(),
            routes: Routes::new(nodes),
            chance: Chance::stream(seed, "gateway", number as u64),
            calls: BTreeMap::new(),
            reads: BTreeMap::new(),
            next: 0,
            heard_at: 0,
            log_time: Time(0),
            ask_at: 0,
            tick_at: 0,
        }
    }

    /// How many operations are not ended.
    pub(crate) fn pending(&self) -> usize {
        self.calls.len() + self.reads.len()
    }

    fn now(&self, now: u64) -> Now {
        Now { uptime: now, log: self.log_time.max(Time(START + now)) }
    }

    /// Replies tell the partition's log time, which may be ahead of this clock.
    pub(crate) fn hear_time(&mut self, log_time: Time) {
        self.log_time = self.log_time.max(log_time);
    }

    pub(crate) fn ask(&mut self, now: u64, operation: usize, ask: Ask, key: Option<String>, deadline: u64) -> Vec<Wish> {
        self.next += 1;
        if ask.reads {
            let read = PendingRead { operation, ask: ask.clone(), deadline: now + deadline, ask_at: now + READ_AGAIN_MICROS, silent: true };
            self.reads.insert(self.next, read);
            return vec![Wish::Read { to: self.routes.target(), number: self.next, ask }];
        }
        let caller = Caller(self.next);
        self.calls.insert(caller, operation);
        let command = Command::Call { tenant: TENANT.to_owned(), method: ask.method, body: ask.body, key };
        let at = self.now(now);
        let effects = self.client.step(at, Input::Call(caller, command, now + deadline));
        self.wishes(effects)
    }

    pub(crate) fn tick(&mut self, now: u64) -> Vec<Wish> {
        if self.calls.is_empty() {
            self.heard_at = now;
        } else if now - self.heard_at > SILENCE_MICROS {
            self.routes.away_from(self.routes.target());
            self.heard_at = now;
        }
        let at = self.now(now);
        let effects = self.client.step(at, Input::Tick);
        let mut wishes = self.wishes(effects);
        let late: Vec<u64> = self.reads.iter().filter(|(_, read)| read.deadline <= now).map(|(number, _)| *number).collect();
        for number in late {
            wishes.extend(self.read_ended(number, Ended::Unknown));
        }
        let silent = self.reads.values().any(|read| read.silent && read.ask_at <= now);
        if silent {
            self.routes.away_from(self.routes.target());
        }
        for (number, read) in &mut self.reads {
            if read.ask_at <= now {
                (read.ask_at, read.silent) = (now + READ_AGAIN_MICROS, true);
                wishes.push(Wish::Read { to: self.routes.target(), number: *number, ask: read.ask.clone() });
            }
        }
        wishes
    }

    pub(crate) fn reply(&mut self, now: u64, from: u64, id: RequestId, reply: Reply) -> Vec<Wish> {
        self.heard_at = now;
        match &reply {
            Reply::Elsewhere(leader) => self.routes.elsewhere(from, *leader),
            Reply::Retry(_) | Reply::Unknown(_) => self.routes.away_from(from),
            Reply::Done { .. } | Reply::Opened(_) | Reply::Refused(_) | Reply::Withdrawn | Reply::Overloaded | Reply::SessionGone => {}
        }
        let at = self.now(now);
        let effects = self.client.step(at, Input::Reply(id, reply));
        self.wishes(effects)
    }

    /// What a machine says to a read.
    pub(crate) fn read_reply(&mut self, now: u64, from: u64, number: u64, reply: Reply) -> Vec<Wish> {
        match reply {
            Reply::Done { response, .. } => self.read_ended(number, Ended::Done(response)).into_iter().collect(),
            Reply::Refused(refusal) => self.read_ended(number, Ended::Refused(refusal)).into_iter().collect(),
            Reply::Elsewhere(leader) => {
                self.routes.elsewhere(from, leader);
                self.read_later(now, number);
                Vec::new()
            }
            Reply::Retry(_) | Reply::Unknown(_) | Reply::Overloaded | Reply::Withdrawn | Reply::SessionGone | Reply::Opened(_) => {
                self.routes.away_from(from);
                self.read_later(now, number);
                Vec::new()
            }
        }
    }

    fn read_later(&mut self, now: u64, number: u64) {
        if let Some(read) = self.reads.get_mut(&number) {
            (read.ask_at, read.silent) = (read.ask_at.min(now + 20_000), false);
        }
    }

    fn read_ended(&mut self, number: u64, ended: Ended) -> Option<Wish> {
        let read = self.reads.remove(&number)?;
        Some(Wish::Ended { operation: read.operation, id: None, ended })
    }

    fn wishes(&mut self, effects: Vec<Effect>) -> Vec<Wish> {
        let mut wishes = Vec::with_capacity(effects.len());
        for effect in effects {
            match effect {
                Effect::Send(attempt) => wishes.push(Wish::Attempt { to: self.routes.target(), attempt }),
                Effect::Answer(caller, answer) => {
                    let operation = self.calls.remove(&caller).expect("a caller is answered once");
                    let ended = match answer.outcome {
                        Outcome::Done { response, .. } => Ended::Done(response),
                        Outcome::Refused(refusal) if may_have_taken_effect(refusal.code) => Ended::Unknown,
                        Outcome::Refused(refusal) => Ended::Refused(refusal),
                        Outcome::Overloaded => {
                            Ended::Refused(onebox_service::Refusal::platform(Code::ResourceExhausted, "too many requests wait"))
                        }
                    };
                    wishes.push(Wish::Ended { operation, id: answer.id, ended });
                }
            }
        }
        wishes
    }
}

/// Refusals of the platform after which nobody knows.
fn may_have_taken_effect(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::DeadlineExceeded)
}
