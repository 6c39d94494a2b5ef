//! The client: calls and replies in, attempts and answers out.

use onebox_service::attempt::{Attempt, Command, Reply, RequestId, Sequence, SessionId};
use onebox_service::{Code, Refusal, Time};

use crate::calls::{Call, Calls};
use crate::{CALLS_MAX, RETRY_FIRST_MICROS, RETRY_MAX_MICROS, TOUCH_MICROS};

/// Names a caller that waits. Chosen by the driver, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller(pub u64);

/// What a client is told.
#[derive(Debug)]
pub enum Input {
    /// Somebody calls and waits until `deadline`.
    Call(Caller, Command, Time),
    /// A reply to an attempt.
    Reply(RequestId, Reply),
    /// Some time has passed.
    Tick,
    /// The node has stopped for good: nothing sent will be answered any more.
    NodeStopped(String),
}

/// What a client wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send an attempt and bring its reply.
    Send(Attempt),
    /// Answer a caller.
    Answer(Caller, Answer),
}

/// An answer to a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The id under which the outcome can be asked; `None` if it was never numbered.
    pub id: Option<RequestId>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out.
    Done {
        /// The encoded response.
        response: Vec<u8>,
        /// Whether the answer was given before.
        repeated: bool,
    },
    /// It was not; nothing changed, or the sentence says what is not known.
    Refused(Refusal),
    /// It was turned away; it may be tried again a little later.
    Overloaded,
}

enum Session {
    None,
    Opening,
    Open(SessionId),
}

/// A client with one session. See the crate.
pub struct Client {
    session: Session,
    calls: Calls,
    /// Calls that wait for a session.
    unnumbered: Vec<(Caller, Command, Time)>,
    /// When to ask for a session again.
    open_at: Time,
    last_sent: Time,
    effects: Vec<Effect>,
}

/// The id of the attempt that opens a session.
const OPENING: (SessionId, Sequence) = (SessionId(0), Sequence(0));
/// Microseconds that the attempt to open a session may take.
const OPENING_MICROS: u64 = 10_000_000;

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

impl Client {
    /// A client without a session; it opens one with its first call.
    pub fn new() -> Client {
        let (calls, effects) = (Calls::default(), Vec::new());
        Client { session: Session::None, calls, unnumbered: Vec::new(), open_at: Time(0), last_sent: Time(0), effects }
    }

    /// Takes one input and gives what is to be done.
    pub fn step(&mut self, now: Time, input: Input) -> Vec<Effect> {
        match input {
            Input::Call(caller, command, deadline) => self.call(now, caller, command, deadline),
            Input::Reply(id, reply) if (id.session, id.sequence) == OPENING => self.opened(now, reply),
            Input::Reply(id, reply) => self.reply(now, id, reply),
            Input::Tick => self.tick(now),
            Input::NodeStopped(why) => self.node_stopped(&why),
        }
        std::mem::take(&mut self.effects)
    }

    fn call(&mut self, now: Time, caller: Caller, command: Command, deadline: Time) {
        if self.calls.len() + self.unnumbered.len() >= CALLS_MAX {
            return self.answer(caller, None, Outcome::Overloaded);
        }
        match self.session {
            Session::Open(session) => self.number(now, session, Some(caller), command, deadline),
            Session::None | Session::Opening => {
                self.unnumbered.push((caller, command, deadline));
                self.open(now);
            }
        }
    }

    fn number(&mut self, now: Time, session: SessionId, caller: Option<Caller>, command: Command, deadline: Time) {
        let call = Call { caller, command, deadline, retry_at: None, retry_wait: RETRY_FIRST_MICROS, ambiguous: false };
        let sequence = self.calls.add(call);
        self.send(now, session, sequence);
    }

    fn send(&mut self, now: Time, session: SessionId, sequence: u64) {
        self.last_sent = now;
        let acknowledged_below = Sequence(self.calls.acknowledged_below());
        let Some(call) = self.calls.get_mut(sequence) else { return };
        call.retry_at = None;
        let id = RequestId { session, sequence: Sequence(sequence), not_after: call.deadline };
        self.effects.push(Effect::Send(Attempt { id, acknowledged_below, command: call.command.clone() }));
    }

    fn open(&mut self, now: Time) {
        if !matches!(self.session, Session::None) || now < self.open_at {
            return;
        }
        self.session = Session::Opening;
        let id = RequestId { session: OPENING.0, sequence: OPENING.1, not_after: now.plus_micros(OPENING_MICROS) };
        self.effects.push(Effect::Send(Attempt { id, acknowledged_below: Sequence(0), command: Command::OpenSession }));
    }

    fn opened(&mut self, now: Time, reply: Reply) {
        match reply {
            Reply::Opened(session) => {
                self.session = Session::Open(session);
                self.calls = Calls::default();
                for (caller, command, deadline) in std::mem::take(&mut self.unnumbered) {
                    self.number(now, session, Some(caller), command, deadline);
                }
            }
            // It will be refused for a while: the disk is full, or the table of sessions. Whoever waits is told so now.
            Reply::Refused(refusal) => {
                self.without_session(now);
                for (caller, _, _) in std::mem::take(&mut self.unnumbered) {
                    self.answer(caller, None, Outcome::Refused(refusal.clone()));
                }
            }
            // A session that was opened and not heard of costs nothing: it expires.
            Reply::Done { .. } | Reply::Overloaded | Reply::Retry(_) | Reply::Unknown(_) | Reply::SessionGone => self.without_session(now),
        }
    }

    fn without_session(&mut self, now: Time) {
        self.session = Session::None;
        self.open_at = now.plus_micros(RETRY_MAX_MICROS);
    }

    fn reply(&mut self, now: Time, id: RequestId, reply: Reply) {
        let sequence = id.sequence.0;
        if !matches!(self.session, Session::Open(session) if session == id.session) {
            return;
        }
        match reply {
            Reply::Done { response, repeated } => self.settle(id, Outcome::Done { response, repeated }),
            Reply::Refused(refusal) => self.settle(id, Outcome::Refused(refusal)),
            Reply::Overloaded => self.settle(id, Outcome::Overloaded),
            Reply::Retry(_) => self.retry_later(now, sequence, false),
            Reply::Unknown(_) => self.retry_later(now, sequence, true),
            Reply::SessionGone => self.session_gone(now, sequence),
            Reply::Opened(_) => panic!("a session was opened by a request that did not ask for one"),
        }
    }

    fn settle(&mut self, id: RequestId, outcome: Outcome) {
        // A late reply to a call whose caller left finds nobody; the request lingers already.
        if let Some(Call { caller: Some(caller), .. }) = self.calls.settle(id.sequence.0) {
            self.answer(caller, Some(id), outcome);
        }
    }

    fn retry_later(&mut self, now: Time, sequence: u64, ambiguous: bool) {
        let Some(call) = self.calls.get_mut(sequence) else { return };
        call.ambiguous |= ambiguous;
        if call.caller.is_none() {
            self.calls.settle(sequence);
            return;
        }
        call.retry_at = Some(now.plus_micros(call.retry_wait));
        call.retry_wait = (call.retry_wait * 2).min(RETRY_MAX_MICROS);
    }

    /// The session expired or was closed: what is certain to have changed nothing goes into a new one.
    fn session_gone(&mut self, now: Time, told: u64) {
        let Session::Open(session) = std::mem::replace(&mut self.session, Session::None) else { return };
        for (sequence, call) in self.calls.drain() {
            let Some(caller) = call.caller else { continue };
            // Another attempt that is still out may have been carried out before the session ended.
            let out = call.retry_at.is_none() && sequence != told;
            if call.ambiguous || out {
                let id = RequestId { session, sequence: Sequence(sequence), not_after: call.deadline };
                self.answer(caller, Some(id), unknown(id, "its session has expired"));
            } else {
                self.unnumbered.push((caller, call.command, call.deadline));
            }
        }
        self.open(now);
    }

    fn tick(&mut self, now: Time) {
        self.calls.end_lingering(now);
        self.drop_late_unnumbered(now);
        let Session::Open(session) = self.session else {
            if !self.unnumbered.is_empty() {
                self.open(now);
            }
            return;
        };
        for sequence in self.calls.past_deadline(now) {
            self.give_up(now, session, sequence);
        }
        for sequence in self.calls.due(now) {
            self.send(now, session, sequence);
        }
        if self.last_sent.plus_micros(TOUCH_MICROS) <= now {
            self.number(now, session, None, Command::TouchSession, now.plus_micros(TOUCH_MICROS));
        }
    }

    fn drop_late_unnumbered(&mut self, now: Time) {
        let late: Vec<_> = self.unnumbered.extract_if(.., |(_, _, deadline)| *deadline <= now).collect();
        for (caller, _, _) in late {
            let words = "the node was not ready before the deadline; nothing changed";
            self.answer(caller, None, Outcome::Refused(Refusal::platform(Code::DeadlineExceeded, words)));
        }
    }

    fn give_up(&mut self, now: Time, session: SessionId, sequence: u64) {
        let Some(call) = self.calls.get_mut(sequence) else { return };
        let Some(caller) = call.caller.take() else { return };
        let id = RequestId { session, sequence: Sequence(sequence), not_after: call.deadline };
        let certain = call.retry_at.is_some() && !call.ambiguous;
        if call.retry_at.is_some() {
            // No attempt is out, so no reply will come to settle it.
            self.calls.settle(sequence);
        }
        let words = if certain {
            "the node could not take the request before the deadline; nothing changed".to_owned()
        } else {
            self.calls.linger(sequence, now);
            format!("no answer before the deadline; GET /onebox/v1/requests/{id} tells what became of it")
        };
        self.answer(caller, Some(id), Outcome::Refused(Refusal::platform(Code::DeadlineExceeded, words)));
    }

    fn node_stopped(&mut self, why: &str) {
        for (caller, _, _) in std::mem::take(&mut self.unnumbered) {
            self.answer(caller, None, unavailable(why));
        }
        let session = match self.session {
            Session::Open(session) => session,
            Session::None | Session::Opening => return,
        };
        for (sequence, call) in self.calls.drain() {
            let Some(caller) = call.caller else { continue };
            let id = RequestId { session, sequence: Sequence(sequence), not_after: call.deadline };
            // What was told to retry, and nothing else, is certain to have changed nothing.
            let certain = call.retry_at.is_some() && !call.ambiguous;
            let outcome = if certain { unavailable(why) } else { unknown(id, why) };
            self.answer(caller, Some(id), outcome);
        }
    }

    fn answer(&mut self, caller: Caller, id: Option<RequestId>, outcome: Outcome) {
        self.effects.push(Effect::Answer(caller, Answer { id, outcome }));
    }
}

fn unknown(id: RequestId, why: &str) -> Outcome {
    let words = format!("whether the request took effect is not known ({why}); GET /onebox/v1/requests/{id} tells, once the node is back");
    Outcome::Refused(Refusal::platform(Code::Unknown, words))
}

fn unavailable(why: &str) -> Outcome {
    Outcome::Refused(Refusal::platform(Code::Unavailable, format!("{why}; nothing changed")))
}
