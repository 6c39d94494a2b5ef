//! Callers and their answers: the gateway's backend, driving the client's rules against the partition's executor.
//!
//! A call goes from the caller's task straight into the executor's queue; its answer comes back on the executor's
//! thread. The client in between is a pure state machine behind a lock that is held for microseconds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use onebox_client::{Caller, Client, Effect, Now, Outcome};
use onebox_gateway::{Answer, Backend, Call, Health, Pending, RequestOutcome, SpecAnswers};
use onebox_replica::{Clock, Input, Read, Token};
use onebox_service::attempt::{Attempt, Command, Fate, Reply, RequestId};
use onebox_service::{Code, Refusal, Service, Time};
use onebox_store::LogIndex;
use tokio::sync::oneshot;

use crate::tokens::Tokens;

/// After how long an overloaded node asks to be tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often the client looks at its deadlines and repetitions.
const CLIENT_TICK: Duration = Duration::from_millis(20);
/// Reads have ids of their own, under which nothing can have taken effect.
const READ_ID: &str = "read-";

/// The machine's clocks, as the pure crates take them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    started: Instant,
}

impl Clocks {
    pub(crate) fn start() -> Clocks {
        Clocks { started: Instant::now() }
    }

    pub(crate) fn read(self) -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros);
        Clock { wall: Time(wall), uptime: micros(self.started.elapsed()) }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Connects callers with a partition. Shared by the gateway's tasks, the executor and the readers.
pub(crate) struct Link {
    service: Arc<dyn Service>,
    inputs: SyncSender<Input>,
    clocks: Clocks,
    tokens: Tokens,
    position: AtomicU64,
    /// Log time minus uptime, as the executor last saw it.
    log_offset: AtomicU64,
    stopping: AtomicBool,
    reads: AtomicU64,
    health: Mutex<Health>,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    client: Client,
    next: u64,
    callers: HashMap<u64, oneshot::Sender<Answer>>,
    attempts: HashMap<u64, RequestId>,
    reads: HashMap<u64, (String, oneshot::Sender<Answer>)>,
    fates: HashMap<u64, oneshot::Sender<Result<Fate, Refusal>>>,
}

impl Waiting {
    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Link {
    pub(crate) fn new(service: Arc<dyn Service>, inputs: SyncSender<Input>, clocks: Clocks, tokens: Tokens) -> Arc<Link> {
        let waiting = Waiting {
            client: Client::new(),
            next: 0,
            callers: HashMap::new(),
            attempts: HashMap::new(),
            reads: HashMap::new(),
            fates: HashMap::new(),
        };
        let health = Health { ready: false, reason: "starting".to_owned() };
        Arc::new(Link {
            service,
            inputs,
            clocks,
            tokens,
            position: AtomicU64::new(0),
            log_offset: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            health: Mutex::new(health),
            waiting: Mutex::new(waiting),
        })
    }

    // ---- from the executor's side ----

    /// A reply to an attempt, a read or a question.
    pub(crate) fn reply(&self, to: Token, reply: Reply, at: LogIndex) {
        let mut waiting = lock(&self.waiting);
        if let Some(id) = waiting.attempts.remove(&to.0) {
            self.step(&mut waiting, onebox_client::Input::Reply(id, reply), at);
        } else if let Some(sender) = waiting.fates.remove(&to.0) {
            // The caller may have left; then nobody hears.
            let _ = sender.send(Err(refusal_of(reply)));
        } else {
            drop(waiting);
            let retry_after = matches!(reply, Reply::Overloaded | Reply::Retry(_)).then_some(RETRY_AFTER);
            self.answer_read(to, Err(refusal_of(reply)), at, retry_after);
        }
    }

    /// What became of a request somebody asked for.
    pub(crate) fn tell_fate(&self, to: Token, fate: Fate) {
        if let Some(sender) = lock(&self.waiting).fates.remove(&to.0) {
            let _ = sender.send(Ok(fate));
        }
    }

    /// The answer of a read, from the state at `at`.
    pub(crate) fn answer_read(&self, to: Token, outcome: Result<Vec<u8>, Refusal>, at: LogIndex, retry_after: Option<Duration>) {
        let Some((request_id, sender)) = lock(&self.waiting).reads.remove(&to.0) else { return };
        let position = self.tokens.write(if at == LogIndex(0) { self.published() } else { at });
        let _ = sender.send(Answer { request_id, position, outcome, repeated: false, retry_after });
    }

    /// The state that readers see is at `index` now.
    pub(crate) fn published_at(&self, index: LogIndex) {
        self.position.store(index.0, Ordering::Release);
    }

    /// The log time that goes with an uptime.
    pub(crate) fn log_time_is(&self, log: Time, uptime: u64) {
        self.log_offset.store(log.0.saturating_sub(uptime), Ordering::Release);
    }

    /// Keeps callers' deadlines, whatever the executor is doing. Runs as long as the node.
    pub(crate) async fn keep_deadlines(self: Arc<Link>) {
        let mut ticks = tokio::time::interval(CLIENT_TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.step(&mut lock(&self.waiting), onebox_client::Input::Tick, LogIndex(0));
        }
    }

    /// How the executor is doing. Once the node is stopping, it is not ready any more.
    pub(crate) fn set_health(&self, ready: bool, reason: String) {
        if !self.stopping.load(Ordering::Acquire) {
            *lock(&self.health) = Health { ready, reason };
        }
    }

    /// The node is stopping, and stays so.
    pub(crate) fn set_stopping(&self, reason: String) {
        self.stopping.store(true, Ordering::Release);
        *lock(&self.health) = Health { ready: false, reason };
    }

    /// Microseconds since the process started.
    pub(crate) fn uptime(&self) -> u64 {
        self.clocks.read().uptime
    }

    fn now(&self) -> Now {
        let uptime = self.clocks.read().uptime;
        Now { uptime, log: Time(uptime.saturating_add(self.log_offset.load(Ordering::Acquire))) }
    }

    /// The replica has stopped; everybody who waits is told what is known.
    pub(crate) fn stopped(&self, why: &str) {
        self.set_stopping(why.to_owned());
        let mut waiting = lock(&self.waiting);
        self.step(&mut waiting, onebox_client::Input::NodeStopped(why.to_owned()), LogIndex(0));
        let (reads, fates) = (std::mem::take(&mut waiting.reads), std::mem::take(&mut waiting.fates));
        drop(waiting);
        let position = self.tokens.write(self.published());
        for (request_id, sender) in reads.into_values() {
            let outcome = Err(Refusal::platform(Code::Unavailable, why));
            let _ = sender.send(Answer { request_id, position: position.clone(), outcome, repeated: false, retry_after: None });
        }
        for sender in fates.into_values() {
            let _ = sender.send(Err(Refusal::platform(Code::Unavailable, why)));
        }
    }

    // ---- the client ----

    fn step(&self, waiting: &mut Waiting, input: onebox_client::Input, at: LogIndex) {
        let now = self.now();
        let mut todo = waiting.client.step(now, input);
        while !todo.is_empty() {
            let mut further = Vec::new();
            for effect in todo {
                match effect {
                    Effect::Send(attempt) => further.extend(self.send(waiting, now, attempt)),
                    Effect::Answer(caller, answer) => self.answer(waiting, caller, answer, at),
                }
            }
            todo = further;
        }
    }

    fn send(&self, waiting: &mut Waiting, now: Now, attempt: Attempt) -> Vec<Effect> {
        let (token, id) = (waiting.next(), attempt.id);
        waiting.attempts.insert(token, id);
        let reply = match self.inputs.try_send(Input::Attempt(Token(token), attempt)) {
            Ok(()) => return Vec::new(),
            Err(TrySendError::Full(_)) => Reply::Overloaded,
            Err(TrySendError::Disconnected(_)) => Reply::Retry("this node has stopped"),
        };
        waiting.attempts.remove(&token);
        waiting.client.step(now, onebox_client::Input::Reply(id, reply))
    }

    fn answer(&self, waiting: &mut Waiting, caller: Caller, answer: onebox_client::Answer, at: LogIndex) {
        let Some(sender) = waiting.callers.remove(&caller.0) else { return };
        let position = self.tokens.write(if at == LogIndex(0) { self.published() } else { at });
        let request_id = answer.id.map_or_else(|| format!("{READ_ID}{:x}", caller.0), |id| id.to_string());
        let (outcome, repeated, retry_after) = match answer.outcome {
            Outcome::Done { response, repeated } => (Ok(response), repeated, None),
            Outcome::Refused(refusal) => {
                let retry_after = (refusal.code == Code::Unavailable).then_some(RETRY_AFTER);
                (Err(refusal), false, retry_after)
            }
            Outcome::Overloaded => (Err(refusal_of(Reply::Overloaded)), false, Some(RETRY_AFTER)),
        };
        let _ = sender.send(Answer { request_id, position, outcome, repeated, retry_after });
    }

    fn command(&self, command: Command, deadline: Duration) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        let deadline = self.clocks.read().uptime.saturating_add(micros(deadline));
        let mut waiting = lock(&self.waiting);
        let caller = waiting.next();
        waiting.callers.insert(caller, sender);
        self.step(&mut waiting, onebox_client::Input::Call(Caller(caller), command, deadline), LogIndex(0));
        receiver
    }

    fn read(&self, call: Call, request_id: String) -> Result<oneshot::Receiver<Answer>, Box<Answer>> {
        let at_least = match call.at_least.as_deref().map(|token| (self.tokens.read(token), token)) {
            None => LogIndex(0),
            Some((Some(index), _)) => index,
            Some((None, token)) => {
                let words =
                    format!("{token:?} is not a position that this service gave; Onebox-At-Least takes an Onebox-Position as it was");
                return Err(Box::new(self.at_once(request_id, Refusal::platform(Code::InvalidArgument, words), None)));
            }
        };
        let (sender, receiver) = oneshot::channel();
        let deadline = self.clocks.read().uptime.saturating_add(micros(call.deadline));
        let mut waiting = lock(&self.waiting);
        let token = waiting.next();
        waiting.reads.insert(token, (request_id, sender));
        let read = Read { token: Token(token), tenant: call.tenant, method: call.method, body: call.body, at_least, deadline };
        if let Err(error) = self.inputs.try_send(Input::Read(read)) {
            let (request_id, _) = waiting.reads.remove(&token).expect("it was just put there");
            let reply = match error {
                TrySendError::Full(_) => Reply::Overloaded,
                TrySendError::Disconnected(_) => Reply::Retry("this node has stopped"),
            };
            return Err(Box::new(self.at_once(request_id, refusal_of(reply), Some(RETRY_AFTER))));
        }
        Ok(receiver)
    }

    fn at_once(&self, request_id: String, refusal: Refusal, retry_after: Option<Duration>) -> Answer {
        Answer { request_id, position: self.tokens.write(self.published()), outcome: Err(refusal), repeated: false, retry_after }
    }

    fn published(&self) -> LogIndex {
        LogIndex(self.position.load(Ordering::Acquire))
    }

    fn ask(&self, id: RequestId) -> Result<oneshot::Receiver<Result<Fate, Refusal>>, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        let token = waiting.next();
        waiting.fates.insert(token, sender);
        if self.inputs.try_send(Input::Outcome(Token(token), id)).is_err() {
            waiting.fates.remove(&token);
            return Err(refusal_of(Reply::Overloaded));
        }
        Ok(receiver)
    }
}

/// The gateway's side of a link.
pub(crate) struct Door(pub(crate) Arc<Link>, pub(crate) Option<Arc<dyn SpecAnswers>>);

impl Backend for Door {
    fn specs(&self) -> Option<Arc<dyn SpecAnswers>> {
        self.1.clone()
    }

    fn service(&self) -> &Arc<dyn Service> {
        &self.0.service
    }

    fn call(&self, call: Call) -> Pending<Answer> {
        let (link, deadline) = (Arc::clone(&self.0), call.deadline);
        if self.0.service.schema().info(call.method).read_only {
            let number = link.reads.fetch_add(1, Ordering::Relaxed);
            let request_id = format!("{READ_ID}{number:x}");
            return match link.read(call, request_id.clone()) {
                Ok(receiver) => Box::pin(async move { link.read_answered(receiver, request_id, deadline).await }),
                Err(answer) => Box::pin(std::future::ready(*answer)),
            };
        }
        let Call { method, tenant, key, body, .. } = call;
        Box::pin(answered(link.command(Command::Call { tenant, method, body, key }, deadline)))
    }

    fn create_tenant(&self, name: String, deadline: Duration) -> Pending<Answer> {
        Box::pin(answered(self.0.command(Command::CreateTenant { name }, deadline)))
    }

    fn outcome(&self, request_id: String, deadline: Duration) -> Pending<Result<RequestOutcome, Refusal>> {
        if request_id.starts_with(READ_ID) || request_id.starts_with("local-") {
            return Box::pin(std::future::ready(Ok(RequestOutcome::NoEffect)));
        }
        let Some(id) = RequestId::parse(&request_id) else {
            let words = format!("{request_id:?} is not a request id; it is what an answer carries as Onebox-Request-Id");
            return Box::pin(std::future::ready(Err(Refusal::platform(Code::InvalidArgument, words))));
        };
        let (link, asked) = (Arc::clone(&self.0), self.0.ask(id));
        Box::pin(async move {
            let fate = match tokio::time::timeout(deadline, asked?).await {
                Ok(Ok(fate)) => fate?,
                Ok(Err(_)) => return Err(refusal_of(Reply::Retry("this node has stopped"))),
                Err(_) => return Err(Refusal::platform(Code::DeadlineExceeded, "no answer before the deadline")),
            };
            Ok(link.outcome_of(fate))
        })
    }

    fn health(&self) -> Health {
        lock(&self.0.health).clone()
    }

    fn position(&self) -> String {
        self.0.tokens.write(self.0.published())
    }
}

impl Link {
    /// Waits for the answer of a read, a little longer than its deadline, so that whoever knows more speaks first.
    async fn read_answered(&self, receiver: oneshot::Receiver<Answer>, request_id: String, deadline: Duration) -> Answer {
        match tokio::time::timeout(deadline + Duration::from_millis(200), receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => self.at_once(request_id, refusal_of(Reply::Retry("this node has stopped")), None),
            Err(_) => self.at_once(request_id, Refusal::platform(Code::DeadlineExceeded, "no answer before the deadline"), None),
        }
    }

    fn outcome_of(&self, fate: Fate) -> RequestOutcome {
        match fate {
            Fate::TookEffect { method, response } => RequestOutcome::TookEffect { method: self.service.schema().method(&method), response },
            Fate::NoEffect => RequestOutcome::NoEffect,
            Fate::Pending => RequestOutcome::Pending,
            Fate::Forgotten => RequestOutcome::Forgotten,
        }
    }
}

/// Waits for the answer of a write. The client keeps its deadline, because only the client knows what may be said of it.
async fn answered(receiver: oneshot::Receiver<Answer>) -> Answer {
    receiver.await.expect("a caller is answered before it is forgotten")
}

/// A reply that is no success, as a refusal.
fn refusal_of(reply: Reply) -> Refusal {
    match reply {
        Reply::Refused(refusal) => refusal,
        Reply::Overloaded => Refusal::platform(Code::ResourceExhausted, "too many requests are waiting; try again a little later"),
        Reply::Elsewhere(_) => Refusal::platform(Code::Unavailable, "another replica leads"),
        Reply::Retry(why) => Refusal::platform(Code::Unavailable, why),
        Reply::Unknown(why) => Refusal::platform(Code::Unknown, why),
        Reply::Done { .. } | Reply::Opened(_) | Reply::Withdrawn | Reply::SessionGone => {
            panic!("a read was answered as if it were a write")
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held leaves maps that are whole: each is changed by single calls.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
