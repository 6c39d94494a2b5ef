//! A gateway with its callers: it draws requests from the workload, drives the real client, and remembers who was told what.

use std::collections::BTreeMap;

use onebox_client::{Caller, Errand, NetworkClient, Now, Outcome, Whom};
use onebox_replica::Consistency;
use onebox_service::attempt::{Attempt, Command, Reply, RequestId};
use onebox_service::{Code, Time};
use onebox_store::LogIndex;

use crate::chance::Chance;
use crate::machine::START;
use crate::plan::Plan;
use crate::workload::{Ask, Ended, Operation};
use crate::world::Answered;

/// The tenant that every request is of.
pub(crate) const TENANT: &str = "default";

pub(crate) struct Gateway {
    /// Which it asks.
    pub(crate) partition: usize,
    client: NetworkClient<AskedRead>,
    pub(crate) chance: Chance,
    /// Of reads, which consistency they ask for; and whether it hears of leaders.
    reads_chance: Chance,
    /// Which operation each caller waits for, and whoever asked for a read; and the position that its answer must have reached.
    operations: BTreeMap<u64, (usize, LogIndex)>,
    /// The latest position that it was told.
    pub(crate) seen: LogIndex,
    /// Where the state was from which the last answer came.
    answered_at: LogIndex,
    next: u64,
    /// When the next operation begins.
    pub(crate) ask_at: u64,
    /// When it looks at its clock next.
    pub(crate) tick_at: u64,
}

/// What a gateway wants done.
pub(crate) enum Wish {
    Attempt { to: u64, attempt: Attempt },
    Read { to: u64, number: u64, read: AskedRead },
    Ended(Ending),
}

/// An operation has ended.
pub(crate) struct Ending {
    pub(crate) operation: usize,
    pub(crate) id: Option<RequestId>,
    pub(crate) ended: Ended,
    /// The position that its answer must have reached, and the one that it was given at.
    pub(crate) positions: (LogIndex, LogIndex),
}

/// A read, and what it must see.
#[derive(Debug, Clone)]
pub(crate) struct AskedRead {
    pub(crate) ask: Ask,
    pub(crate) consistency: Consistency,
}

impl Gateway {
    pub(crate) fn new(seed: u64, number: usize, plan: &Plan) -> Gateway {
        let nodes = (0..plan.machines).map(|machine| ((machine + number) % plan.machines) as u64).collect();
        Gateway {
            partition: number % plan.partitions,
            client: NetworkClient::new(nodes),
            chance: Chance::stream(seed, "gateway", number as u64),
            reads_chance: Chance::stream(seed, "reads", number as u64),
            operations: BTreeMap::new(),
            seen: LogIndex(0),
            answered_at: LogIndex(0),
            next: 0,
            ask_at: 0,
            tick_at: 0,
        }
    }

    /// How many operations are not ended.
    pub(crate) fn pending(&self) -> usize {
        self.client.pending()
    }

    /// What its next read must see: mostly everything; sometimes what it has seen itself, or nothing.
    pub(crate) fn consistency(&mut self) -> Consistency {
        match self.reads_chance.below(4) {
            0 => Consistency::AtLeast(LogIndex(0)),
            1 => Consistency::AtLeast(self.seen),
            _ => Consistency::Linearizable,
        }
    }

    /// Asks for an operation, whose answer must have reached a position.
    pub(crate) fn ask(&mut self, now: u64, number: usize, operation: &Operation, reached: LogIndex, deadline: u64) -> Vec<Wish> {
        self.next += 1;
        self.operations.insert(self.next, (number, reached));
        let (ask, key) = (operation.ask.clone(), operation.key.clone());
        let errands = if ask.reads {
            let consistency = operation.consistency;
            let whom = if consistency == Consistency::Linearizable { Whom::Leader } else { Whom::Nearest };
            self.client.read(at(now), self.next, AskedRead { ask, consistency }, whom, now + deadline)
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

    pub(crate) fn reply(&mut self, now: u64, from: u64, id: RequestId, answered: Answered) -> Vec<Wish> {
        let reply = self.hear(answered);
        let errands = self.client.reply(at(now), from, id, reply);
        self.wishes(errands)
    }

    /// A machine says that it leads.
    pub(crate) fn leads(&mut self, now: u64, machine: u64) -> Vec<Wish> {
        let errands = self.client.leads(at(now), machine);
        self.wishes(errands)
    }

    /// Whether it is told that somebody leads: it may be far from whoever is.
    pub(crate) fn hears_of_leaders(&mut self) -> bool {
        self.reads_chance.once_in(2)
    }

    /// What a machine says to a read.
    pub(crate) fn read_reply(&mut self, now: u64, from: u64, number: u64, answered: Answered) -> Vec<Wish> {
        let reply = self.hear(answered);
        let errands = self.client.read_reply(at(now), from, number, reply);
        self.wishes(errands)
    }

    /// Replies tell the partition's log time, which may be ahead of this clock, and where the state was.
    fn hear(&mut self, Answered { reply, at, time }: Answered) -> Reply {
        self.client.hear_time(time);
        self.answered_at = at;
        reply
    }

    fn wishes(&mut self, errands: Vec<Errand<AskedRead>>) -> Vec<Wish> {
        errands.into_iter().map(|errand| self.wish(errand)).collect()
    }

    fn wish(&mut self, errand: Errand<AskedRead>) -> Wish {
        match errand {
            Errand::Attempt { to, attempt } => Wish::Attempt { to, attempt },
            Errand::Read { to, number, read } => Wish::Read { to, number, read },
            Errand::ReadAnswer(number, reply) => {
                let ended = match reply {
                    Some(Reply::Done { response, .. }) => Ended::Done(response),
                    Some(Reply::Refused(refusal)) => Ended::Refused(refusal),
                    Some(_) | None => Ended::Unknown,
                };
                self.ending(number, None, ended)
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
                self.ending(number, answer.id, ended)
            }
        }
    }

    fn ending(&mut self, number: u64, id: Option<RequestId>, ended: Ended) -> Wish {
        let (operation, reached) = self.operations.remove(&number).expect("whoever asked is answered once");
        if matches!(ended, Ended::Done(_)) {
            self.seen = self.seen.max(self.answered_at);
        }
        Wish::Ended(Ending { operation, id, ended, positions: (reached, self.answered_at) })
    }
}

fn at(now: u64) -> Now {
    Now { uptime: now, log: Time(START + now) }
}

/// Refusals of the platform after which nobody knows.
fn may_have_taken_effect(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::DeadlineExceeded)
}
