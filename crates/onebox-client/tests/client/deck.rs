//! A client with everything it wants done laid out: attempts that are out, answers that were given.

use std::collections::BTreeMap;

use onebox_client::{Answer, Caller, Client, Effect, Input, Now, Outcome};
use onebox_service::attempt::{Attempt, Command, Reply, RequestId, SessionId};
use onebox_service::{Code, MethodId, Time};

/// Log time when the process started.
pub(crate) const LOG: u64 = 1_000_000_000_000;
pub(crate) const SECOND: u64 = 1_000_000;
/// How long callers wait in tests that do not care.
pub(crate) const LONG: u64 = 3_600 * SECOND;

pub(crate) struct Deck {
    client: Client,
    pub(crate) uptime: u64,
    /// Attempts since they were last taken.
    pub(crate) sent: Vec<Attempt>,
    pub(crate) answers: BTreeMap<u64, Answer>,
    callers: u64,
}

impl Deck {
    pub(crate) fn new() -> Deck {
        Deck { client: Client::new(), uptime: SECOND, sent: Vec::new(), answers: BTreeMap::new(), callers: 0 }
    }

    /// A client with this session.
    pub(crate) fn opened(session: u64) -> Deck {
        let mut deck = Deck::new();
        let caller = deck.call(LONG);
        deck.open(session);
        let first = deck.one();
        deck.reply(&first, done());
        assert!(deck.answers.remove(&caller).is_some());
        deck
    }

    fn step(&mut self, input: Input) {
        let now = Now { uptime: self.uptime, log: Time(LOG + self.uptime) };
        for effect in self.client.step(now, input) {
            match effect {
                Effect::Send(attempt) => self.sent.push(attempt),
                Effect::Answer(Caller(caller), answer) => {
                    let before = self.answers.insert(caller, answer);
                    assert!(before.is_none(), "caller {caller} is answered twice, first {before:?}");
                }
            }
        }
    }

    /// Somebody calls who waits for so long; gives the caller's number, which is also the request's body.
    pub(crate) fn call(&mut self, patience: u64) -> u64 {
        self.call_for(command(self.callers + 1), patience)
    }

    /// The same, with an idempotency key.
    pub(crate) fn call_keyed(&mut self, key: &str, patience: u64) -> u64 {
        let Command::Call { tenant, method, body, .. } = command(self.callers + 1) else { unreachable!("it is a call") };
        self.call_for(Command::Call { tenant, method, body, key: Some(key.to_owned()) }, patience)
    }

    fn call_for(&mut self, command: Command, patience: u64) -> u64 {
        self.callers += 1;
        self.step(Input::Call(Caller(self.callers), command, self.uptime + patience));
        self.callers
    }

    pub(crate) fn reply(&mut self, to: &Attempt, reply: Reply) {
        self.step(Input::Reply(to.id, reply));
    }

    /// Answers the attempt to open a session, the only one that is out.
    pub(crate) fn open(&mut self, session: u64) {
        let opening = self.one();
        assert_eq!(opening.command, Command::OpenSession);
        self.reply(&opening, Reply::Opened(SessionId(session)));
    }

    /// Time passes, and the client is told.
    pub(crate) fn pass(&mut self, micros: u64) {
        self.uptime += micros;
        self.step(Input::Tick);
    }

    pub(crate) fn stop_node(&mut self) {
        self.step(Input::NodeStopped("the disk failed".to_owned()));
    }

    /// The one attempt that was sent since attempts were last taken.
    #[track_caller]
    pub(crate) fn one(&mut self) -> Attempt {
        let [attempt] = <[Attempt; 1]>::try_from(std::mem::take(&mut self.sent)).expect("one attempt was sent");
        attempt
    }

    #[track_caller]
    pub(crate) fn nothing_sent(&self) {
        assert_eq!(self.sent, [], "attempts sent");
    }

    #[track_caller]
    pub(crate) fn outcome(&self, caller: u64) -> &Outcome {
        &self.answers.get(&caller).unwrap_or_else(|| panic!("caller {caller} is answered")).outcome
    }

    #[track_caller]
    pub(crate) fn refused(&self, caller: u64, code: Code, words: &str) {
        match self.outcome(caller) {
            Outcome::Refused(refusal) => {
                assert_eq!(refusal.code, code, "{}", refusal.message);
                assert!(refusal.message.contains(words), "{:?} says {words:?}", refusal.message);
            }
            other => panic!("it is refused: {other:?}"),
        }
    }

    pub(crate) fn id_of(&self, caller: u64) -> Option<RequestId> {
        self.answers[&caller].id
    }
}

pub(crate) fn command(body: u64) -> Command {
    let (tenant, body) = ("default".to_owned(), body.to_be_bytes().to_vec());
    Command::Call { tenant, method: MethodId(0), body, key: None }
}

pub(crate) fn done() -> Reply {
    Reply::Done { response: b"done".to_vec(), repeated: false }
}

pub(crate) fn done_outcome() -> Outcome {
    Outcome::Done { response: b"done".to_vec(), repeated: false }
}

/// Session, sequence and acknowledgement of an attempt.
pub(crate) fn numbers(attempt: &Attempt) -> (u64, u64, u64) {
    (attempt.id.session.0, attempt.id.sequence.0, attempt.acknowledged_below.0)
}
