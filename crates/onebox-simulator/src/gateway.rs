//! A gateway with its callers: it draws requests from the workload, drives the real client, and remembers who was told what.

use std::collections::BTreeMap;

use onebox_client::{Caller, Errand, NetworkClient, Now, Outcome};
use onebox_service::attempt::{Attempt, Command, Reply, RequestId};
use onebox_service::{Code, Time};

use crate::chance::Chance;
use crate::machine::START;
use crate::plan::Plan;
use crate::workload::{Ask, Ended};

/// The tenant that every request is of.
pub(crate) const TENANT: &str = "default";

pub(crate) struct Gateway {
    /// Which it asks.
    pub(crate) partition: usize,
    client: NetworkClient<Ask>,
    pub(crate) chance: Chance,
    /// Which operation each caller waits for, and whoever asked for a read.
    operations: BTreeMap<u64, usize>,
    next: u64,
    /// When the next operation begins.
    pub(crate) ask_at: u64,
    /// When it looks at its clock next.
    pub(crate) tick_at: u64,
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
            client: NetworkClient::new(nodes),
            chance: Chance::stream(seed, "gateway", number as u64),
            operations: BTreeMap::new(),
            next: 0,
            ask_at: 0,
            tick_at: 0,
        }
    }

    /// How many operations are not ended.
    pub(crate) fn pending(&self) -> usize {
        self.client.pending()
    }

    /// Replies tell the partition's log time, which may be ahead of this clock.
    pub(crate) fn hear_time(&mut self, log_time: Time) {
        self.client.hear_time(log_time);
    }

    pub(crate) fn ask(&mut self, now: u64, operation: usize, ask: Ask, key: Option<String>, deadline: u64) -> Vec<Wish> {
        self.next += 1;
        self.operations.insert(self.next, operation);
        let errands = if ask.reads {
            self.client.read(at(now), self.next, ask, now + deadline)
        } else {
            let command = Command::Call { tenant: TENANT.to_owned(), method: ask.method, body: ask.body, key };
            self.client.call(at(now), Caller(self.next), command, now + deadline)
        };
        self.wishes(errands)
    }

    pub(crate) fn tick(&mut self, now: u64) -> Vec<Wish> {
        let errands = self.client.tick(at(now));
        self.wishes(errands)
    }

    pub(crate) fn reply(&mut self, now: u64, from: u64, id: RequestId, reply: Reply) -> Vec<Wish> {
        let errands = self.client.reply(at(now), from, id, reply);
        self.wishes(errands)
    }

    /// What a machine says to a read.
    pub(crate) fn read_reply(&mut self, now: u64, from: u64, number: u64, reply: Reply) -> Vec<Wish> {
        let errands = self.client.read_reply(at(now), from, number, reply);
        self.wishes(errands)
    }

    fn wishes(&mut self, errands: Vec<Errand<Ask>>) -> Vec<Wish> {
        errands.into_iter().map(|errand| self.wish(errand)).collect()
    }

    fn wish(&mut self, errand: Errand<Ask>) -> Wish {
        match errand {
            Errand::Attempt { to, attempt } => Wish::Attempt { to, attempt },
            Errand::Read { to, number, read } => Wish::Read { to, number, ask: read },
            Errand::ReadAnswer(number, reply) => {
                let ended = match reply {
                    Some(Reply::Done { response, .. }) => Ended::Done(response),
                    Some(Reply::Refused(refusal)) => Ended::Refused(refusal),
                    Some(_) | None => Ended::Unknown,
                };
                Wish::Ended { operation: self.operation(number), id: None, ended }
            }
            Errand::Answer(Caller(number), answer) => {
                let ended = match answer.outcome {
                    Outcome::Done { response, .. } => Ended::Done(response),
                    Outcome::Refused(refusal) if may_have_taken_effect(refusal.code) => Ended::Unknown,
                    Outcome::Refused(refusal) => Ended::Refused(refusal),
                    Outcome::Overloaded => {
                        Ended::Refused(onebox_service::Refusal::platform(Code::ResourceExhausted, "too many requests wait"))
                    }
                };
                Wish::Ended { operation: self.operation(number), id: answer.id, ended }
            }
        }
    }

    fn operation(&mut self, number: u64) -> usize {
        self.operations.remove(&number).expect("whoever asked is answered once")
    }
}

fn at(now: u64) -> Now {
    Now { uptime: now, log: Time(START + now) }
}

/// Refusals of the platform after which nobody knows.
fn may_have_taken_effect(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::DeadlineExceeded)
}
