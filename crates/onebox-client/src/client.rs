//! The client: calls and replies in, attempts and answers out.

use std::collections::BTreeMap;

use onebox_service::attempt::{Attempt, Command, Reply, RequestId, Sequence, SessionId};
use onebox_service::planted::planted;
use onebox_service::{Code, Refusal, Time};

use crate::calls::{Call, Calls};
use crate::{ATTEMPT_MICROS, CALLS_MAX, RETRY_FIRST_MICROS, RETRY_MAX_MICROS, TOUCH_MICROS, WINDOW_OPEN_NEXT};

/// Names a caller that waits. Chosen by the driver, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller(pub u64);

/// The two clocks of a client, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since the process started; it never jumps. Callers' deadlines are in it.
    pub uptime: u64,
    /// The partition's log time, as far as it is known here. What an attempt may still do is bounded in it.
    pub log: Time,
}

/// What a client is told.
#[derive(Debug)]
pub enum Input {
    /// Somebody calls and waits until this uptime.
    Call(Caller, Command, u64),
    /// A reply to an attempt.
    Reply(RequestId, Reply),
    /// Some time has passed.
    Tick,
    /// Somebody is there who can answer: what waits to be sent again is sent now.
    Hurry,
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
        /// Whether it is certain that the answer was given before, to another request with the same idempotency key.
        repeated: bool,
    },
    /// It was not; nothing changed, or the sentence says what is not known.
    Refused(Refusal),
    /// It was turned away; it may be tried again a little later.
    Overloaded,
}

/// A client. See the crate.
pub struct Client {
    /// The session that numbers new requests.
    current: Option<SessionId>,
    /// The current session's requests, and those of sessions left behind until each is settled.
    sessions: BTreeMap<SessionId, Calls>,
    /// An attempt to open a session is out.
    opening: bool,
    /// When to ask for a session again.
    open_at: u64,
    /// Calls that wait for a session.
    unnumbered: Vec<(Caller, Command, u64)>,
    /// When the session was opened or last kept alive.
    touched: u64,
    effects: Vec<Effect>,
    /// Attempts and replies can be lost on their way, so that what is not answered is sent again.
    over_a_network: bool,
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
        Client {
            current: None,
            sessions: BTreeMap::new(),
            opening: false,
            open_at: 0,
            unnumbered: Vec::new(),
            touched: 0,
            effects: Vec::new(),
            over_a_network: false,
        }
    }

    /// A client whose attempts and replies can be lost on their way: an attempt that is not answered is repeated.
    pub fn over_a_network() -> Client {
        Client { over_a_network: true, ..Client::new() }
    }

    /// Takes one input and gives what is to be done.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        match input {
            Input::Call(caller, command, deadline) => self.call(now, caller, command, deadline),
            Input::Reply(id, reply) if (id.session, id.sequence) == OPENING => self.opened(now, reply),
            Input::Reply(id, reply) => self.reply(now, id, reply),
            Input::Tick => self.tick(now),
            Input::Hurry => {
                self.sessions.values_mut().for_each(|calls| calls.hurry(now.uptime));
                if !self.opening {
                    self.open_at = self.open_at.min(now.uptime);
                }
                self.tick(now);
            }
            Input::NodeStopped(why) => self.node_stopped(&why),
        }
        std::mem::take(&mut self.effects)
    }

    fn call(&mut self, now: Now, caller: Caller, command: Command, deadline: u64) {
        let under_way: usize = self.sessions.values().map(Calls::len).sum();
        if under_way + self.unnumbered.len() >= CALLS_MAX {
            return self.answer(caller, None, Outcome::Overloaded);
        }
        match self.current {
            Some(session) => self.number(now, session, Some(caller), command, deadline),
            None => {
                self.unnumbered.push((caller, command, deadline));
                self.open(now);
            }
        }
    }

    fn number(&mut self, now: Now, session: SessionId, caller: Option<Caller>, command: Command, deadline: u64) {
        let not_after = now.log.plus_micros(deadline.saturating_sub(now.uptime));
        let retry_wait = RETRY_FIRST_MICROS;
        let sent_at = now.uptime;
        let call = Call {
            caller,
            command: Some(command),
            deadline,
            not_after,
            sent_at,
            retry_at: None,
            retry_wait,
            ambiguous: false,
            refusal: None,
        };
        let calls = self.sessions.entry(session).or_default();
        let sequence = calls.add(call);
        let window = calls.window();
        self.send(now, session, sequence);
        if window > WINDOW_OPEN_NEXT {
            // Something unsettled holds the acknowledgement back. A new session goes on; the old one keeps its answers.
            self.open(now);
        }
    }

    fn send(&mut self, now: Now, session: SessionId, sequence: u64) {
        let Some(calls) = self.sessions.get_mut(&session) else { return };
        let acknowledged_below = Sequence(calls.acknowledged_below());
        let Some(call) = calls.get_mut(sequence) else { return };
        let Some(command) = call.command.clone() else { return };
        call.retry_at = None;
        call.sent_at = now.uptime;
        let id = RequestId { session, sequence: Sequence(sequence), not_after: call.not_after };
        self.effects.push(Effect::Send(Attempt { id, acknowledged_below, command }));
    }

    fn open(&mut self, now: Now) {
        if self.opening || now.uptime < self.open_at {
            return;
        }
        self.opening = true;
        if self.over_a_network {
            self.open_at = now.uptime.saturating_add(ATTEMPT_MICROS);
        }
        let id = RequestId { session: OPENING.0, sequence: OPENING.1, not_after: now.log.plus_micros(OPENING_MICROS) };
        self.effects.push(Effect::Send(Attempt { id, acknowledged_below: Sequence(0), command: Command::OpenSession }));
    }

    fn opened(&mut self, now: Now, reply: Reply) {
        self.opening = false;
        match reply {
            Reply::Opened(session) => {
                self.current = Some(session);
                self.touched = now.uptime;
                self.open_at = now.uptime;
                self.sessions.insert(session, Calls::default());
                self.leave_settled();
                for (caller, command, deadline) in std::mem::take(&mut self.unnumbered) {
                    self.number(now, session, Some(caller), command, deadline);
                }
            }
            // It will be refused for a while: the table of sessions is full. Whoever waits is told so now.
            Reply::Refused(refusal) => {
                self.open_at = now.uptime.saturating_add(RETRY_MAX_MICROS);
                if let Some(calls) = self.current.and_then(|session| self.sessions.get_mut(&session)) {
                    calls.forget_lingering();
                }
                for (caller, _, _) in std::mem::take(&mut self.unnumbered) {
                    self.answer(caller, None, Outcome::Refused(refusal.clone()));
                }
            }
            // A session that was opened and not heard of costs nothing: it expires.
            Reply::Done { .. }
            | Reply::Overloaded
            | Reply::Withdrawn
            | Reply::Retry(_)
            | Reply::Elsewhere(_)
            | Reply::Unknown(_)
            | Reply::SessionGone => {
                self.open_at = now.uptime.saturating_add(RETRY_MAX_MICROS);
            }
        }
    }

    /// Forgets the sessions that were left behind and have nothing under way. Their answers stay until they expire.
    fn leave_settled(&mut self) {
        let current = self.current;
        self.sessions.retain(|session, calls| Some(*session) == current || calls.len() > 0);
    }

    fn reply(&mut self, now: Now, id: RequestId, reply: Reply) {
        match reply {
            Reply::Done { response, repeated } => {
                // Given before to an attempt of its own, it is new to the caller.
                let repeated = repeated && self.call_of(id).is_some_and(|call| call.is_keyed() && !call.ambiguous);
                self.settle(id, Outcome::Done { response, repeated });
            }
            // An earlier attempt may have taken effect, so that this one was turned away says nothing.
            Reply::Overloaded if self.is_ambiguous(id) => self.retry_later(now, id, true),
            // An earlier attempt may still be on its way: only once it can do nothing is the refusal true.
            Reply::Refused(refusal) if self.is_ambiguous(id) && !planted("a refusal believed at once") => self.withdraw(now, id, refusal),
            Reply::Refused(refusal) => self.settle(id, Outcome::Refused(refusal)),
            Reply::Withdrawn => self.withdrawn(id),
            Reply::Overloaded => self.settle(id, Outcome::Overloaded),
            Reply::Retry(_) | Reply::Elsewhere(_) => self.retry_later(now, id, false),
            Reply::Unknown(_) => self.retry_later(now, id, true),
            Reply::SessionGone => self.session_gone(now, id),
            Reply::Opened(_) => panic!("a session was opened by a request that did not ask for one"),
        }
        if Some(id.session) != self.current {
            self.leave_settled();
        }
    }

    fn call_of(&mut self, id: RequestId) -> Option<&mut Call> {
        self.sessions.get_mut(&id.session)?.get_mut(id.sequence.0)
    }

    fn is_ambiguous(&mut self, id: RequestId) -> bool {
        self.call_of(id).is_some_and(|call| call.ambiguous)
    }

    fn settle(&mut self, id: RequestId, outcome: Outcome) {
        let call = self.sessions.get_mut(&id.session).and_then(|calls| calls.settle(id.sequence.0));
        // A late reply to a call whose caller left finds nobody; the request lingers already.
        if let Some(Call { caller: Some(caller), .. }) = call {
            self.answer(caller, Some(id), outcome);
        }
    }

    /// Timeline to avoid: an attempt is delayed, its repetition is refused, the caller is told so; the first arrives, and acts.
    fn withdraw(&mut self, now: Now, id: RequestId, refusal: Refusal) {
        let Some(call) = self.call_of(id) else { return };
        if call.command.is_none() {
            return self.settle(id, Outcome::Refused(refusal));
        }
        call.command = Some(Command::Withdraw);
        call.refusal = Some(refusal);
        self.send(now, id.session, id.sequence.0);
    }

    fn withdrawn(&mut self, id: RequestId) {
        let refusal = self.call_of(id).and_then(|call| call.refusal.take());
        let words = "the request was withdrawn; nothing changed";
        self.settle(id, Outcome::Refused(refusal.unwrap_or_else(|| Refusal::platform(Code::Aborted, words))));
    }

    fn retry_later(&mut self, now: Now, id: RequestId, ambiguous: bool) {
        let Some(call) = self.call_of(id) else { return };
        call.ambiguous |= ambiguous;
        if call.caller.is_some() {
            call.retry_at = Some(now.uptime.saturating_add(call.retry_wait));
            call.retry_wait = (call.retry_wait * 2).min(RETRY_MAX_MICROS);
        } else if let Some(calls) = self.sessions.get_mut(&id.session) {
            calls.settle(id.sequence.0);
        }
    }

    /// The session expired or was closed: what is certain to have changed nothing goes into a new one.
    fn session_gone(&mut self, now: Now, told: RequestId) {
        if self.current == Some(told.session) {
            self.current = None;
        }
        let Some(mut calls) = self.sessions.remove(&told.session) else { return };
        for (sequence, call) in calls.drain() {
            let Some(caller) = call.caller else { continue };
            // Another attempt that is still out may have been carried out before the session ended.
            let out = call.retry_at.is_none() && sequence != told.sequence.0;
            match call.command {
                Some(command) if !call.ambiguous && !out => self.unnumbered.push((caller, command, call.deadline)),
                Some(_) | None => {
                    let id = RequestId { session: told.session, sequence: Sequence(sequence), not_after: call.not_after };
                    self.answer(caller, Some(id), unknown(id, "its session has expired"));
                }
            }
        }
        match self.current {
            None => self.open(now),
            Some(session) => {
                for (caller, command, deadline) in std::mem::take(&mut self.unnumbered) {
                    self.number(now, session, Some(caller), command, deadline);
                }
            }
        }
    }

    fn tick(&mut self, now: Now) {
        self.drop_late_unnumbered(now);
        if self.over_a_network && self.opening && now.uptime >= self.open_at {
            // The attempt, or its reply, was lost. A session opened twice costs nothing: it expires.
            self.opening = false;
        }
        if self.current.is_none() && !self.unnumbered.is_empty() {
            self.open(now);
        }
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        for session in sessions {
            let Some(calls) = self.sessions.get_mut(&session) else { continue };
            calls.end_lingering(now.uptime);
            if self.over_a_network {
                calls.repeat_unanswered(now.uptime);
            }
            let (late, due) = (calls.past_deadline(now.uptime), calls.due(now.uptime));
            for sequence in late {
                self.give_up(now, session, sequence);
            }
            for sequence in due {
                self.send(now, session, sequence);
            }
        }
        self.leave_settled();
        if let Some(session) = self.current
            && self.touched.saturating_add(TOUCH_MICROS) <= now.uptime
        {
            // If this one is not carried out, the next is tried as much later.
            self.touched = now.uptime;
            self.number(now, session, None, Command::TouchSession, now.uptime.saturating_add(TOUCH_MICROS));
        }
    }

    fn drop_late_unnumbered(&mut self, now: Now) {
        let late: Vec<_> = self.unnumbered.extract_if(.., |(_, _, deadline)| *deadline <= now.uptime).collect();
        for (caller, _, _) in late {
            let words = "the node was not ready before the deadline; nothing changed";
            self.answer(caller, None, Outcome::Refused(Refusal::platform(Code::DeadlineExceeded, words)));
        }
    }

    fn give_up(&mut self, now: Now, session: SessionId, sequence: u64) {
        let Some(calls) = self.sessions.get_mut(&session) else { return };
        let Some(call) = calls.get_mut(sequence) else { return };
        let Some(caller) = call.caller.take() else { return };
        call.command = None;
        let id = RequestId { session, sequence: Sequence(sequence), not_after: call.not_after };
        let (waits, ambiguous) = (call.retry_at.is_some(), call.ambiguous);
        if waits || self.over_a_network {
            // No attempt is out, or its reply may be lost: nothing may come to settle it.
            calls.settle(sequence);
        }
        let words = if waits && !ambiguous {
            "the node could not take the request before the deadline; nothing changed".to_owned()
        } else {
            calls.linger(sequence, now.uptime);
            format!("no answer before the deadline; GET /onebox/v1/requests/{id} tells what became of it")
        };
        self.answer(caller, Some(id), Outcome::Refused(Refusal::platform(Code::DeadlineExceeded, words)));
    }

    fn node_stopped(&mut self, why: &str) {
        for (caller, _, _) in std::mem::take(&mut self.unnumbered) {
            self.answer(caller, None, unavailable(why));
        }
        for (session, mut calls) in std::mem::take(&mut self.sessions) {
            for (sequence, call) in calls.drain() {
                let Some(caller) = call.caller else { continue };
                let id = RequestId { session, sequence: Sequence(sequence), not_after: call.not_after };
                // What was told to retry, and nothing else, is certain to have changed nothing.
                let certain = call.retry_at.is_some() && !call.ambiguous;
                let outcome = if certain { unavailable(why) } else { unknown(id, why) };
                self.answer(caller, Some(id), outcome);
            }
        }
        self.current = None;
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
