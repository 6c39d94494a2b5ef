//! The client of a machine: it sends, retries under the same ids after every restart, and holds the machine to its word.
//!
//! It believes only what it was told. What it checks: an acknowledged request answers the same for ever (until the
//! client itself lets it be forgotten), an unacknowledged one acts at most once, a refused one did not act, every
//! token gets one reply, and a read sees everything that was acknowledged before it was asked.

use std::collections::{BTreeMap, VecDeque};

use onebox_replica::{Consistency, Input, Read, Token};
use onebox_service::attempt::{Attempt, Command, Fate, Reply, RequestId, Sequence, SessionId};
use onebox_service::{Code, Failure, Fault, MethodId, Refusal, Time};
use onebox_store::LogIndex;

use crate::chance::Chance;
use crate::history::{RequestKey, key_of};
use crate::machine::Machine;
use crate::workload::Workload;

const SESSIONS: usize = 2;
const OUTSTANDING_MAX: usize = 20;
/// Answers that a session leaves unacknowledged, so that they can be asked for again.
const UNACKNOWLEDGED: u64 = 40;
const SECOND: u64 = 1_000_000;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Answered {
    /// It took effect, with this response.
    Effect(Vec<u8>),
    /// It changed nothing, and may do otherwise when it is sent again.
    Nothing,
}

#[derive(Debug, Clone)]
struct Sent {
    attempt: Attempt,
    attempts: u64,
    answered: Option<Answered>,
    /// Two attempts were under way at once, so that one may be refused and the other act.
    doubled: bool,
    /// It was told that it can no longer act.
    dead: bool,
}

#[derive(Debug)]
enum Waits {
    Session,
    Request(RequestKey),
    /// Whether it was known to have taken effect when the question was asked.
    Fate(RequestKey, bool),
    /// The state must have this entry.
    Read(u64),
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    next: u64,
    told_below: u64,
}

/// What happened to a client, for the line that a test prints.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) repeated: u64,
    pub(crate) fates: u64,
    pub(crate) took_effect: u64,
    pub(crate) no_effect: u64,
    pub(crate) reads: u64,
    pub(crate) overloaded: u64,
    pub(crate) put_off: u64,
    pub(crate) unknown: u64,
    pub(crate) disk_low: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Client {
    sessions: Vec<Session>,
    sent: BTreeMap<RequestKey, Sent>,
    waiting: BTreeMap<Token, Waits>,
    again: VecDeque<RequestKey>,
    next_token: u64,
    next_key: u64,
    /// Requests that were sent with a key, the last ones.
    keyed: VecDeque<(String, MethodId, Vec<u8>)>,
    /// The last entry that an answer spoke of.
    answered_at: u64,
    pub(crate) workload: Workload,
    pub(crate) counts: Counts,
    /// Faults that reads met.
    pub(crate) faults: Vec<Fault>,
}

impl Client {
    pub(crate) fn answered_at(&self) -> u64 {
        self.answered_at
    }

    /// Whether every token got its reply and everything sent is answered.
    pub(crate) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.again.is_empty()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Requests without an answer.
    pub(crate) fn unanswered(&self) -> Vec<RequestKey> {
        self.sent.iter().filter(|(_, sent)| sent.answered.is_none()).map(|(key, _)| *key).collect()
    }

    /// The process that was spoken to is gone.
    pub(crate) fn cut_off(&mut self) {
        self.waiting.clear();
        self.again.clear();
    }

    /// A process serves again: ask what became of things, and send everything again that is not forgotten.
    pub(crate) fn resume(&mut self, machine: &mut Machine, chance: &mut Chance) {
        let keys: Vec<RequestKey> = self.sent.keys().copied().collect();
        for key in keys {
            let unanswered = self.sent[&key].answered.is_none();
            if unanswered && chance.once_in(2) {
                self.ask_fate(machine, key);
            }
            if unanswered || matches!(self.sent[&key].answered, Some(Answered::Effect(_))) {
                self.again.push_back(key);
            }
        }
    }

    /// Does something, or nothing.
    pub(crate) fn act(&mut self, machine: &mut Machine, chance: &mut Chance) {
        if self.waiting.len() >= OUTSTANDING_MAX {
            return;
        }
        match chance.below(14) {
            0..4 => self.send_again(machine),
            4..9 => self.send_new(machine, chance),
            9 | 10 => self.read(machine, chance),
            11 => {
                if let Some(key) = self.any_sent(chance) {
                    self.ask_fate(machine, key);
                }
            }
            12 => {
                if let Some(key) = self.any_sent(chance) {
                    let sent = self.sent.get_mut(&key).expect("it was just found");
                    sent.doubled |= sent.answered.is_none();
                    if sent.answered != Some(Answered::Nothing) {
                        self.send(machine, key);
                    }
                }
            }
            _ => {}
        }
    }

    /// Sends what must be sent again, and nothing new.
    pub(crate) fn send_again(&mut self, machine: &mut Machine) {
        while self.waiting.len() < OUTSTANDING_MAX
            && let Some(key) = self.again.pop_front()
        {
            if self.sent.contains_key(&key) {
                self.send(machine, key);
            }
        }
    }

    fn any_sent(&self, chance: &mut Chance) -> Option<RequestKey> {
        if self.sent.is_empty() {
            return None;
        }
        self.sent.keys().nth(chance.place(self.sent.len())).copied()
    }

    pub(crate) fn send_new(&mut self, machine: &mut Machine, chance: &mut Chance) {
        let now = machine.clock.wall;
        let opening = self.waiting.values().any(|waits| matches!(waits, Waits::Session));
        if self.sessions.len() < SESSIONS && !opening {
            let id = RequestId { session: SessionId(0), sequence: Sequence(0), not_after: now.plus_micros(10 * SECOND) };
            let token = self.token(Waits::Session);
            machine.give(Input::Attempt(token, Attempt { id, acknowledged_below: Sequence(0), command: Command::OpenSession }));
        }
        if self.sessions.is_empty() {
            return;
        }
        let command = self.command(chance);
        let patience = if chance.once_in(8) { chance.below(8_000) } else { 100 * SECOND };
        let key = self.file(chance, command, now.plus_micros(patience));
        self.send(machine, key);
    }

    fn command(&mut self, chance: &mut Chance) -> Command {
        let (mut method, mut body) = self.workload.request(chance);
        let mut key = None;
        if chance.once_in(3) {
            self.next_key += 1;
            key = Some(format!("key-{}", self.next_key));
            if chance.once_in(4) && !self.keyed.is_empty() {
                let (old, old_method, old_body) = self.keyed[chance.place(self.keyed.len())].clone();
                key = Some(old);
                if !chance.once_in(4) {
                    (method, body) = (old_method, old_body);
                }
            }
            self.keyed.push_back((key.clone().expect("it was just made"), method, body.clone()));
            if self.keyed.len() > 12 {
                self.keyed.pop_front();
            }
        }
        Command::Call { tenant: "default".to_owned(), method, body, key }
    }

    /// Numbers a request in one of the sessions.
    fn file(&mut self, chance: &mut Chance, command: Command, not_after: Time) -> RequestKey {
        let place = chance.place(self.sessions.len());
        let session = &mut self.sessions[place];
        let id = RequestId { session: session.id, sequence: Sequence(session.next), not_after };
        session.next += 1;
        let key = key_of(id);
        let attempt = Attempt { id, acknowledged_below: Sequence(0), command };
        self.sent.insert(key, Sent { attempt, attempts: 0, answered: None, doubled: false, dead: false });
        self.counts.sent += 1;
        let unanswered =
            self.sent.iter().find(|((of, _), sent)| *of == key.0 && sent.answered.is_none()).map(|((_, sequence), _)| *sequence);
        let session = &mut self.sessions[place];
        let told = unanswered.expect("the new one is").min(session.next.saturating_sub(UNACKNOWLEDGED));
        session.told_below = session.told_below.max(told);
        let forgotten = session.told_below.saturating_sub(2 * UNACKNOWLEDGED);
        let waiting = &self.waiting;
        let waited_for =
            |key: RequestKey| waiting.values().any(|waits| matches!(waits, Waits::Request(of) | Waits::Fate(of, _) if *of == key));
        self.sent.retain(|of, sent| of.0 != key.0 || of.1 >= forgotten || sent.answered.is_none() || waited_for(*of));
        key
    }

    fn told_below(&self, session: u64) -> u64 {
        self.sessions.iter().find(|known| known.id.0 == session).map_or(0, |known| known.told_below)
    }

    fn send(&mut self, machine: &mut Machine, key: RequestKey) {
        let sent = self.sent.get_mut(&key).expect("what is sent was filed");
        sent.attempts += 1;
        let mut attempt = sent.attempt.clone();
        attempt.acknowledged_below = Sequence(self.told_below(key.0));
        let token = self.token(Waits::Request(key));
        machine.give(Input::Attempt(token, attempt));
    }

    pub(crate) fn ask_fate(&mut self, machine: &mut Machine, key: RequestKey) {
        let history = &machine.desk.history;
        let certain = history.effect(key).is_some_and(|effect| effect.entry <= history.durable());
        let id = self.sent[&key].attempt.id;
        let token = self.token(Waits::Fate(key, certain));
        machine.give(Input::Outcome(token, id));
    }

    fn read(&mut self, machine: &mut Machine, chance: &mut Chance) {
        let (method, body) = self.workload.read(chance);
        let ahead = if chance.once_in(4) { chance.below(4) } else { 0 };
        self.read_this(machine, method, body, ahead);
    }

    pub(crate) fn read_this(&mut self, machine: &mut Machine, method: MethodId, body: Vec<u8>, ahead: u64) {
        let at_least = self.answered_at + ahead;
        let token = self.token(Waits::Read(at_least));
        let deadline = machine.clock.uptime + SECOND / 10;
        // A linearizable one sees what was answered in any case.
        let consistency = if ahead == 0 { Consistency::Linearizable } else { Consistency::AtLeast(LogIndex(at_least)) };
        machine.give(Input::Read(Read { token, tenant: "default".to_owned(), method, body, consistency, deadline }));
    }

    fn token(&mut self, waits: Waits) -> Token {
        self.next_token += 1;
        self.waiting.insert(Token(self.next_token), waits);
        Token(self.next_token)
    }

    // ---- what comes back ----

    /// Hears everything that the machine has said. Gives the answers to reads.
    pub(crate) fn hear(&mut self, machine: &mut Machine) -> Vec<Vec<u8>> {
        for (token, reply, at) in std::mem::take(&mut machine.desk.replies) {
            let waits = self.waited(token);
            self.reply(machine, waits, reply, at.0);
        }
        for (token, fate) in std::mem::take(&mut machine.desk.fates) {
            let Waits::Fate(key, certain) = self.waited(token) else { panic!("{fate:?} to something else than a question") };
            self.fate(machine, key, certain, fate);
        }
        let mut read = Vec::new();
        for (token, answer, position) in std::mem::take(&mut machine.answers) {
            let Waits::Read(at_least) = self.waited(token) else { panic!("{answer:?} to something else than a read") };
            assert!(position.0 >= at_least, "a read that was to see entry {at_least} saw {position}");
            self.counts.reads += 1;
            match answer {
                Ok(answer) => read.push(answer),
                Err(Failure::Refused(_)) => {}
                Err(Failure::Bug(what)) => panic!("a read met a bug: {what}"),
                Err(Failure::Fault(fault)) => self.faults.push(fault),
            }
        }
        read
    }

    fn waited(&mut self, token: Token) -> Waits {
        self.waiting.remove(&token).unwrap_or_else(|| panic!("{token:?} is answered twice, or never asked"))
    }

    fn reply(&mut self, machine: &Machine, waits: Waits, reply: Reply, at: u64) {
        match (waits, reply) {
            (Waits::Session, Reply::Opened(id)) => {
                self.answered_at = self.answered_at.max(at);
                self.sessions.push(Session { id, next: 1, told_below: 0 });
            }
            (Waits::Request(key), Reply::Done { response, repeated }) => {
                self.answered_at = self.answered_at.max(at);
                self.done(machine, key, response, repeated);
            }
            (Waits::Request(key), Reply::Refused(refusal)) => self.refused(machine, key, &refusal),
            (Waits::Request(key), Reply::Withdrawn) => self.withdrawn(machine, key),
            (Waits::Request(key), reply @ (Reply::Overloaded | Reply::Retry(_) | Reply::Unknown(_))) => {
                self.put_off(machine, &reply);
                // Of an attempt that is not the first, an earlier one may have acted.
                let acted = machine.desk.history.effect(key).is_some();
                assert!(!acted || matches!(reply, Reply::Unknown(_)) || self.sent[&key].attempts > 1, "{reply:?} to {key:?}, which acted");
                self.again.push_back(key);
            }
            (Waits::Read(_), Reply::Refused(refusal)) => assert_eq!(refusal.code, Code::DeadlineExceeded, "{refusal:?}"),
            (Waits::Session | Waits::Fate(..) | Waits::Read(_), reply @ (Reply::Overloaded | Reply::Retry(_) | Reply::Unknown(_))) => {
                self.put_off(machine, &reply);
            }
            (Waits::Session, Reply::Refused(refusal)) => {
                assert!(matches!(refusal.code, Code::DeadlineExceeded | Code::ResourceExhausted), "a session is refused: {refusal:?}");
            }
            (waits, reply) => panic!("{reply:?} to {waits:?}"),
        }
    }

    fn put_off(&mut self, machine: &Machine, reply: &Reply) {
        match reply {
            Reply::Overloaded => self.counts.overloaded += 1,
            Reply::Unknown(why) => {
                assert!(machine.desk.stop.is_some(), "'unknown' from a replica that goes on: {why}");
                self.counts.unknown += 1;
            }
            _ => self.counts.put_off += 1,
        }
    }

    fn done(&mut self, machine: &Machine, key: RequestKey, response: Vec<u8>, repeated: bool) {
        let history = &machine.desk.history;
        let sent = self.sent.get_mut(&key).expect("what is answered was sent");
        self.counts.repeated += u64::from(repeated);
        let Some(effect) = history.effect(key) else {
            assert!(!matches!(sent.answered, Some(Answered::Effect(_))), "{key:?} was acknowledged, and is gone from the log: {sent:?}");
            if repeated {
                let Command::Call { key: Some(idempotency), .. } = &sent.attempt.command else {
                    panic!("{key:?} is repeated, and never acted")
                };
                let first = history.keyed(idempotency).unwrap_or_else(|| panic!("key {idempotency} is repeated, and never acted"));
                assert!(first.entry <= history.durable(), "an answer leaves before its entry is on the disk");
                assert_eq!(first.answer, response, "the answer of key {idempotency}");
            }
            sent.answered.get_or_insert(Answered::Nothing);
            return;
        };
        assert!(!sent.dead, "{key:?} was told that it could no longer act, and did: {sent:?}");
        assert!(effect.entry <= history.durable(), "an answer leaves before its entry {} is on the disk", effect.entry);
        assert!(effect.entry <= self.answered_at, "an answer from entry {} claims to be from {}", effect.entry, self.answered_at);
        assert_eq!(effect.answer, response, "the answer of {key:?}");
        if matches!(sent.answered, Some(Answered::Effect(_))) {
            assert!(repeated, "{key:?} was acknowledged, and acts again");
            return;
        }
        self.counts.acknowledged += 1;
        let Command::Call { method, body, .. } = &sent.attempt.command else { panic!("only calls are sent") };
        self.workload.learn(*method, body, &response);
        sent.answered = Some(Answered::Effect(response));
    }

    fn refused(&mut self, machine: &Machine, key: RequestKey, refusal: &Refusal) {
        assert_ne!(refusal.code, Code::Internal, "{refusal:?}");
        let told_below = self.told_below(key.0);
        let sent = self.sent.get_mut(&key).expect("what is answered was sent");
        self.counts.refused += 1;
        let low = refusal.code == Code::ResourceExhausted && refusal.message.contains("disk");
        self.counts.disk_low += u64::from(low);
        if matches!(sent.answered, Some(Answered::Effect(_))) || machine.desk.history.effect(key).is_some() {
            let forgotten = key.1 < told_below && refusal.code == Code::Aborted;
            assert!(forgotten || low || sent.doubled, "{key:?} took effect, and is refused with {refusal:?}: {sent:?}");
            if low {
                self.again.push_back(key);
            }
            return;
        }
        sent.answered.get_or_insert(Answered::Nothing);
    }

    /// Somebody asked what became of it when its deadline was over, before it came to its turn.
    fn withdrawn(&mut self, machine: &Machine, key: RequestKey) {
        assert!(machine.desk.history.effect(key).is_none(), "{key:?} took effect, and is said to be withdrawn");
        let sent = self.sent.get_mut(&key).expect("what is answered was sent");
        self.counts.refused += 1;
        sent.dead = true;
        sent.answered.get_or_insert(Answered::Nothing);
    }

    fn fate(&mut self, machine: &Machine, key: RequestKey, certain: bool, fate: Fate) {
        self.counts.fates += 1;
        let history = &machine.desk.history;
        let told_below = self.told_below(key.0);
        let sent = self.sent.get_mut(&key).expect("what was asked about was sent");
        match fate {
            Fate::TookEffect { response, .. } => {
                self.counts.took_effect += 1;
                let effect = history.effect(key).unwrap_or_else(|| panic!("{key:?} is said to have taken effect: {sent:?}"));
                assert!(effect.entry <= history.durable(), "a fate leaves before its entry is on the disk");
                assert_eq!(effect.answer, response, "the answer of {key:?}");
            }
            Fate::Forgotten => assert!(key.1 < told_below, "{key:?} is forgotten, and the client did not say so"),
            Fate::Pending => assert!(!certain, "{key:?} has taken effect, and is said to be pending"),
            Fate::NoEffect => {
                assert!(!certain, "{key:?} has taken effect, and is said to have none");
                self.counts.no_effect += 1;
                sent.dead = true;
            }
        }
    }

    /// Of what was handed to a process that ended before it took it, nobody waits for an answer.
    pub(crate) fn check_all_told(&self, machine: &Machine) {
        let never_taken: Vec<Token> = machine
            .inputs
            .iter()
            .filter_map(|input| match input {
                Input::Attempt(token, _) | Input::Outcome(token, _) => Some(*token),
                Input::Read(read) => Some(read.token),
                _ => None,
            })
            .collect();
        let untold: Vec<_> = self.waiting.iter().filter(|(token, _)| !never_taken.contains(token)).collect();
        assert!(untold.is_empty(), "the replica stopped and left these without a word: {untold:?}");
    }

    /// What was told about requests that can no longer act must still be true.
    pub(crate) fn check_the_dead(&self, machine: &Machine) {
        for (key, sent) in self.sent.iter().filter(|(_, sent)| sent.dead) {
            assert!(machine.desk.history.effect(*key).is_none(), "{key:?} was told that it could no longer act, and did: {sent:?}");
        }
    }
}
