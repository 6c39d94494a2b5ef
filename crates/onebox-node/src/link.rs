//! Callers and their answers, between the gateway, the partition's executor and the other nodes.
//!
//! A caller's request goes to the node that leads: straight into this node's executor, or over the connection with
//! another. What others ask of the executor here comes the same way. Who is asked, and when again, is decided by the
//! pure state machine of `onebox-client`, behind a lock that is held for microseconds.

mod asked;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use onebox_client::{Caller, Errand, NetworkClient, Now, Outcome, Whom};
use onebox_gateway::{Answer, Health};
use onebox_replica::{Clock, Consistency, Input, Membership, PeerId, PeerMessage, Read, Status, Token};
use onebox_service::attempt::{Attempt, Command, Fate, Reply, RequestId, SessionId};
use onebox_service::{Code, MethodId, Refusal, Schema, Service, Time};
use onebox_store::LogIndex;
use tokio::sync::oneshot;

use crate::partitions::PARTITIONS_MAX;
use crate::peers::wire::{Ask, Order, Packet, Question, Said, SentAttempt, SentId, SentRead, ToReplica, Told};
use crate::peers::{NotSent, Peers, Responder, lock};
use crate::tokens::{Tokens, request_id};

/// After how long an overloaded node asks to be tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often the client looks at its deadlines and repetitions.
const CLIENT_TICK: Duration = Duration::from_millis(20);
/// Calls and reads that are asked of a new leader at once: of all nodes of a cluster of three together less than it has inputs.
const HURRIED_MAX: usize = 1_024;
/// Reads have ids of their own, under which nothing can have taken effect.
pub(crate) const READ_ID: &str = "read-";

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

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What is read.
#[derive(Debug, Clone)]
pub(crate) struct ReadAsk {
    pub(crate) tenant: String,
    pub(crate) method: MethodId,
    pub(crate) body: Arc<[u8]>,
    pub(crate) consistency: Consistency,
    /// Uptime.
    pub(crate) deadline: u64,
}

/// How the replica here sees its partition, as its executor last told.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) status: Status,
    pub(crate) members: Membership,
    /// The low half of its state's digest.
    pub(crate) digest: u64,
}

/// Connects callers with a partition. Shared by the gateway's tasks, the executor, the readers and the connections.
pub(crate) struct Link {
    service: Arc<dyn Service>,
    me: u64,
    /// Which of how many partitions.
    pub(crate) partition: u32,
    pub(crate) partitions: u32,
    inputs: SyncSender<Input>,
    peers: OnceLock<Arc<Peers>>,
    clocks: Clocks,
    pub(crate) tokens: Tokens,
    position: AtomicU64,
    /// Log time minus uptime, as the executor last saw it.
    log_offset: AtomicU64,
    stopping: AtomicBool,
    /// An operator has this node stop.
    stop_ordered: tokio::sync::Notify,
    standing: Mutex<Option<Standing>>,
    health: Mutex<Health>,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    client: NetworkClient<ReadAsk>,
    next: u64,
    callers: HashMap<u64, oneshot::Sender<Answer>>,
    readers: HashMap<u64, oneshot::Sender<Answer>>,
    /// What was asked of which node, here or elsewhere.
    out: HashMap<u64, (u64, Out)>,
}

/// Who waits for an answer.
enum Out {
    Attempt(RequestId),
    Read(u64),
    Fate(oneshot::Sender<Result<Fate, Reply>>),
    Order(oneshot::Sender<Reply>),
    /// Another node, or an operator.
    Asker(Responder),
}

impl Out {
    /// A reply that makes no sense to what was asked says nothing: a node that sends one is of another build, or broken.
    fn fitting(&self, reply: Reply) -> Reply {
        let makes_no_sense = match self {
            Out::Attempt(id) => matches!(reply, Reply::Opened(_)) && id.session != SessionId(0),
            Out::Read(_) | Out::Order(_) => matches!(reply, Reply::Opened(_) | Reply::Withdrawn | Reply::SessionGone),
            Out::Fate(_) => matches!(reply, Reply::Done { .. } | Reply::Opened(_) | Reply::Withdrawn | Reply::SessionGone),
            Out::Asker(_) => false,
        };
        if makes_no_sense { Reply::Unknown("the node that was asked gave an answer to another question".to_owned()) } else { reply }
    }
}

impl Waiting {
    /// Who waits for this answer, if it is that node's to give.
    fn answered(&mut self, from: u64, number: u64) -> Option<Out> {
        self.out.get(&number).filter(|(node, _)| *node == from)?;
        self.out.remove(&number).map(|(_, out)| out)
    }

    /// Numbers of one partition are no other's: an answer says by its number alone whom it is for.
    fn next(&mut self) -> u64 {
        self.next += u64::from(PARTITIONS_MAX);
        self.next
    }

    fn out(&mut self, node: u64, out: Out) -> u64 {
        let number = self.next();
        self.out.insert(number, (node, out));
        number
    }
}

impl Link {
    /// Of one of so many partitions.
    pub(crate) fn new(
        service: Arc<dyn Service>,
        me: PeerId,
        (partition, partitions): (u32, u32),
        inputs: SyncSender<Input>,
        clocks: Clocks,
        tokens: Tokens,
    ) -> Arc<Link> {
        let waiting = Waiting {
            client: NetworkClient::new(vec![me.0]),
            next: u64::from(partition),
            callers: HashMap::new(),
            readers: HashMap::new(),
            out: HashMap::new(),
        };
        let health = Health { ready: false, reason: "starting".to_owned() };
        Arc::new(Link {
            service,
            me: me.0,
            partition,
            partitions,
            inputs,
            peers: OnceLock::new(),
            clocks,
            tokens,
            position: AtomicU64::new(0),
            log_offset: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            stop_ordered: tokio::sync::Notify::new(),
            standing: Mutex::new(None),
            health: Mutex::new(health),
            waiting: Mutex::new(waiting),
        })
    }

    /// There are other nodes.
    pub(crate) fn set_peers(&self, peers: Arc<Peers>) {
        assert!(self.peers.set(peers).is_ok(), "the other nodes are told once");
    }

    pub(crate) fn service(&self) -> &Arc<dyn Service> {
        &self.service
    }

    fn schema(&self) -> &'static Schema {
        self.service.schema()
    }

    // ---- from the executor's side ----

    /// A reply to an attempt, a read, a question or an order.
    pub(crate) fn reply(&self, to: Token, reply: Reply, at: LogIndex) {
        self.replied(self.me, to.0, reply, at);
    }

    /// What became of a request somebody asked for.
    pub(crate) fn tell_fate(&self, to: Token, fate: Fate) {
        self.fate_told(self.me, to.0, fate);
    }

    /// A message of the replica here to one elsewhere. It may be lost.
    pub(crate) fn send_peer(&self, message: Box<PeerMessage>) {
        let Some(peers) = self.peers.get() else { return };
        let to = message.to;
        // The consensus repeats what was lost.
        let _ = peers.send(to, Packet::of(Said::Peer(ToReplica { partition: self.partition, message: Some(*message) })));
    }

    /// The answer of a read, from the state at `at`.
    pub(crate) fn answer_read(&self, to: Token, outcome: Result<Vec<u8>, Refusal>, at: LogIndex) {
        let reply = outcome.map_or_else(Reply::Refused, |response| Reply::Done { response, repeated: false });
        self.replied(self.me, to.0, reply, at);
    }

    /// The state that readers see is at `index` now.
    pub(crate) fn published_at(&self, index: LogIndex) {
        self.position.store(index.0, Ordering::Release);
    }

    /// The log time that goes with an uptime.
    pub(crate) fn log_time_is(&self, log: Time, uptime: u64) {
        self.log_offset.store(log.0.saturating_sub(uptime), Ordering::Release);
    }

    /// How the replica sees its partition. Once the node is stopping, it is not ready any more.
    /// `gets_on`: a new leader was seen to take requests.
    pub(crate) fn stands(&self, standing: Standing, ready: bool, reason: String, gets_on: bool) {
        let before = lock(&self.standing).replace(standing.clone());
        if let Some(peers) = self.peers.get()
            && before.as_ref().is_none_or(|before| before.members != standing.members || standing.members.is_empty())
        {
            let members: Vec<u64> = standing.members.peers().into_iter().map(|peer| peer.0).collect();
            let others = if members.is_empty() { peers.known().into_iter().map(|(node, ..)| node).collect() } else { members };
            // This one first: it knows who leads.
            let others = others.into_iter().filter(|node| *node != self.me);
            lock(&self.waiting).client.nodes_are(std::iter::once(self.me).chain(others).collect());
        }
        let led = |standing: &Standing| standing.status.leader.map(|leader| (leader.0, standing.status.term, standing.status.leads));
        if let Some((leader, _, leads)) = led(&standing)
            && (leader != self.me || leads)
            && (gets_on || before.as_ref().and_then(led) != led(&standing))
        {
            let mut waiting = lock(&self.waiting);
            let now = self.now();
            // More would not fit the leader's inputs at once; they come in their own time.
            if waiting.client.pending() <= HURRIED_MAX {
                let errands = waiting.client.leads(now, leader);
                self.run(&mut waiting, now, errands, LogIndex(0));
            }
        }
        let mut health = lock(&self.health);
        if !self.stopping.load(Ordering::Acquire) {
            *health = Health { ready, reason };
        }
    }

    pub(crate) fn standing(&self) -> Option<Standing> {
        lock(&self.standing).clone()
    }

    /// Whether other nodes vote beside this one.
    pub(crate) fn is_among_others(&self) -> bool {
        self.standing().is_some_and(|standing| standing.members.voters.iter().any(|voter| *voter != self.me))
    }

    /// Keeps callers' deadlines, whatever the executor is doing. Runs as long as the node.
    pub(crate) async fn keep_deadlines(self: Arc<Link>) {
        let mut ticks = tokio::time::interval(CLIENT_TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut waiting = lock(&self.waiting);
            let now = self.now();
            let errands = waiting.client.tick(now);
            self.run(&mut waiting, now, errands, LogIndex(0));
        }
    }

    /// Of these voters those to which there is no connection, in words.
    pub(crate) fn unreached(&self, voters: &[u64]) -> String {
        let known = self.peers.get().map_or_else(Vec::new, |peers| peers.known());
        let is_reached = |voter: u64| known.iter().any(|(node, _, is_reached)| *node == voter && *is_reached);
        let unreached: Vec<String> = voters.iter().filter(|voter| !is_reached(**voter)).map(|voter| format!("{voter:x}")).collect();
        if unreached.is_empty() { String::new() } else { format!("; not reached: {}", unreached.join(" ")) }
    }

    /// Comes back when an operator has this node stop.
    pub(crate) async fn told_to_stop(&self) {
        self.stop_ordered.notified().await;
    }

    /// The node is stopping, and stays so.
    pub(crate) fn set_stopping(&self, reason: String) {
        let mut health = lock(&self.health);
        self.stopping.store(true, Ordering::Release);
        *health = Health { ready: false, reason };
    }

    pub(crate) fn health(&self) -> Health {
        lock(&self.health).clone()
    }

    /// The time of the last entry that is applied here. No clock has a say in it, for others believe it for ever.
    fn log_time(&self) -> Time {
        lock(&self.standing).as_ref().map_or(Time(0), |standing| standing.status.time)
    }

    /// Microseconds since the process started.
    pub(crate) fn uptime(&self) -> u64 {
        self.clocks.read().uptime
    }

    /// To be asked while the client is locked, so that for the client time never goes back.
    fn now(&self) -> Now {
        let uptime = self.uptime();
        Now { uptime, log: Time(uptime.saturating_add(self.log_offset.load(Ordering::Acquire))) }
    }

    /// The executor here is gone, after a drain: what was still on its way to it was not taken.
    pub(crate) fn executor_left(&self) {
        self.unanswered(self.me, &Reply::Retry("this node has stopped"));
    }

    /// What a node was asked and has not answered, it will not answer.
    fn unanswered(&self, node: u64, reply: &Reply) {
        let asked: Vec<u64> = lock(&self.waiting).out.iter().filter(|(_, (of, _))| *of == node).map(|(number, _)| *number).collect();
        asked.into_iter().for_each(|number| self.replied(node, number, reply.clone(), LogIndex(0)));
    }

    /// The replica has stopped; everybody who waits is told what is known.
    pub(crate) fn stopped(&self, why: &str) {
        self.set_stopping(why.to_owned());
        let mut waiting = lock(&self.waiting);
        let now = self.now();
        let errands = waiting.client.stopped(now, why.to_owned());
        self.run(&mut waiting, now, errands, LogIndex(0));
        let out = std::mem::take(&mut waiting.out);
        drop(waiting);
        for (_, out) in out.into_values() {
            self.tell(out, Reply::Retry("this node has stopped"), LogIndex(0));
        }
    }

    // ---- the client ----

    /// Runs errands, and those that follow from them.
    fn run(&self, waiting: &mut Waiting, now: Now, errands: Vec<Errand<ReadAsk>>, at: LogIndex) {
        let mut todo = errands;
        while !todo.is_empty() {
            let mut further = Vec::new();
            for errand in todo {
                match errand {
                    Errand::Attempt { to, attempt } => further.extend(self.send_attempt(waiting, now, to, attempt)),
                    Errand::Read { to, number, read } => further.extend(self.send_read(waiting, now, to, number, read)),
                    Errand::Answer(caller, answer) => self.answer(waiting, caller, answer, at),
                    Errand::ReadAnswer(number, reply) => self.answer_reader(waiting, number, reply, at),
                }
            }
            todo = further;
        }
    }

    fn send_attempt(&self, waiting: &mut Waiting, now: Now, to: u64, attempt: Attempt) -> Vec<Errand<ReadAsk>> {
        let id = attempt.id;
        let number = waiting.out(to, Out::Attempt(id));
        let sent = if to == self.me {
            self.input(Input::Attempt(Token(number), attempt))
        } else {
            self.ask_node(to, number, Question::Attempt(SentAttempt::of(attempt, self.schema())))
        };
        let Err(reply) = sent else { return Vec::new() };
        waiting.out.remove(&number);
        waiting.client.reply(now, to, id, reply)
    }

    fn send_read(&self, waiting: &mut Waiting, now: Now, to: u64, read_number: u64, read: ReadAsk) -> Vec<Errand<ReadAsk>> {
        let number = waiting.out(to, Out::Read(read_number));
        let ReadAsk { tenant, method, body, consistency, deadline } = read;
        let body = body.to_vec();
        let sent = if to == self.me {
            self.input(Input::Read(Read { token: Token(number), tenant, method, body, consistency, deadline }))
        } else {
            let (method, wait) = (self.schema().info(method).name.to_owned(), deadline.saturating_sub(now.uptime));
            let (any_replica, at_least) = match consistency {
                Consistency::Linearizable => (false, 0),
                Consistency::AtLeast(position) => (true, position.0),
            };
            self.ask_node(to, number, Question::Read(SentRead { tenant, method, body, at_least, wait, any_replica }))
        };
        let Err(reply) = sent else { return Vec::new() };
        waiting.out.remove(&number);
        waiting.client.read_reply(now, to, read_number, reply)
    }

    /// Hands something to the executor here; or says why not.
    fn input(&self, input: Input) -> Result<(), Reply> {
        self.inputs.try_send(input).map_err(|error| match error {
            TrySendError::Full(_) => Reply::Overloaded,
            TrySendError::Disconnected(_) => Reply::Retry("this node has stopped"),
        })
    }

    fn ask_node(&self, to: u64, number: u64, question: Question) -> Result<(), Reply> {
        let ask = Ask { number, partition: self.partition, question: Some(question) };
        let sent = self.peers.get().map_or(Err(NotSent::Unreachable), |peers| peers.send(to, Packet::of(Said::Ask(ask))));
        sent.map_err(|not_sent| match not_sent {
            NotSent::Full => Reply::Overloaded,
            NotSent::Unreachable => Reply::Retry("the node that leads cannot be reached"),
        })
    }

    /// A node said something to what it was asked.
    fn replied(&self, from: u64, number: u64, reply: Reply, at: LogIndex) {
        let mut waiting = lock(&self.waiting);
        let Some(out) = waiting.answered(from, number) else { return };
        let reply = out.fitting(reply);
        let now = self.now();
        let errands = match out {
            Out::Attempt(id) => waiting.client.reply(now, from, id, reply),
            Out::Read(number) => waiting.client.read_reply(now, from, number, reply),
            Out::Fate(_) | Out::Order(_) => {
                if let Reply::Elsewhere(leader) = &reply {
                    waiting.client.elsewhere(from, *leader);
                }
                drop(waiting);
                return self.tell(out, reply, at);
            }
            Out::Asker(_) => {
                drop(waiting);
                return self.tell(out, reply, at);
            }
        };
        self.run(&mut waiting, now, errands, at);
    }

    fn fate_told(&self, from: u64, number: u64, fate: Fate) {
        match lock(&self.waiting).answered(from, number) {
            // Whoever asked may have left; then nobody hears.
            Some(Out::Fate(sender)) => drop(sender.send(Ok(fate))),
            Some(Out::Asker(responder)) => responder.answer(Told::fate(responder.number, fate, self.log_time())),
            Some(Out::Attempt(_) | Out::Read(_) | Out::Order(_)) | None => {}
        }
    }

    fn tell(&self, out: Out, reply: Reply, at: LogIndex) {
        match out {
            Out::Fate(sender) => drop(sender.send(Err(reply))),
            Out::Order(sender) => drop(sender.send(reply)),
            Out::Asker(responder) => responder.answer(Told::reply(responder.number, reply, at, self.log_time())),
            // The client has told their callers.
            Out::Attempt(_) | Out::Read(_) => {}
        }
    }

    fn position_at(&self, at: LogIndex) -> String {
        self.tokens.write(self.partition, if at == LogIndex(0) { self.published() } else { at })
    }

    /// The position that readers see.
    pub(crate) fn position(&self) -> String {
        self.position_at(LogIndex(0))
    }

    /// Hands leadership to another node, if this one leads. What comes of it shows in who leads.
    pub(crate) fn hand_over(&self, to: u64) {
        let number = lock(&self.waiting).next();
        // Nobody waits for the answer, and a node that has no time for it now is asked again.
        let _ = self.input(Input::Transfer(Token(number), PeerId(to)));
    }

    fn answer(&self, waiting: &mut Waiting, caller: Caller, answer: onebox_client::Answer, at: LogIndex) {
        let Some(sender) = waiting.callers.remove(&caller.0) else { return };
        let request_id = answer.id.map_or_else(|| format!("{READ_ID}{:x}", caller.0), |id| request_id(self.partition, self.partitions, id));
        let (outcome, repeated, retry_after) = match answer.outcome {
            Outcome::Done { response, repeated } => (Ok(response), repeated, None),
            Outcome::Refused(refusal) => {
                let retry_after = (refusal.code == Code::Unavailable).then_some(RETRY_AFTER);
                (Err(refusal), false, retry_after)
            }
            Outcome::Overloaded => (Err(refusal_of(Reply::Overloaded)), false, Some(RETRY_AFTER)),
        };
        let _ = sender.send(Answer { request_id, position: self.position_at(at), outcome, repeated, retry_after });
    }

    fn answer_reader(&self, waiting: &mut Waiting, number: u64, reply: Option<Reply>, at: LogIndex) {
        let Some(sender) = waiting.readers.remove(&number) else { return };
        let retry_after = matches!(reply, Some(Reply::Overloaded | Reply::Retry(_))).then_some(RETRY_AFTER);
        let outcome = match reply {
            Some(Reply::Done { response, .. }) => Ok(response),
            Some(reply) => Err(refusal_of(reply)),
            None => Err(Refusal::platform(Code::DeadlineExceeded, "no answer before the deadline")),
        };
        let request_id = format!("{READ_ID}{number:x}");
        let _ = sender.send(Answer { request_id, position: self.position_at(at), outcome, repeated: false, retry_after });
    }

    /// Has a request carried out.
    pub(crate) fn command(&self, command: Command, deadline: Duration) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        let now = self.now();
        let caller = waiting.next();
        waiting.callers.insert(caller, sender);
        let errands = waiting.client.call(now, Caller(caller), command, now.uptime.saturating_add(micros(deadline)));
        self.run(&mut waiting, now, errands, LogIndex(0));
        receiver
    }

    /// Has a read answered.
    pub(crate) fn read(&self, read: ReadAsk) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        let now = self.now();
        let number = waiting.next();
        waiting.readers.insert(number, sender);
        let (deadline, whom) = match read.consistency {
            Consistency::Linearizable => (read.deadline, Whom::Leader),
            Consistency::AtLeast(_) => (read.deadline, Whom::Nearest),
        };
        let errands = waiting.client.read(now, number, read, whom, deadline);
        self.run(&mut waiting, now, errands, LogIndex(0));
        receiver
    }

    /// The id for a read that is refused before anybody is asked.
    pub(crate) fn read_id(&self) -> String {
        format!("{READ_ID}{:x}", lock(&self.waiting).next())
    }

    pub(crate) fn published(&self) -> LogIndex {
        LogIndex(self.position.load(Ordering::Acquire))
    }

    /// Asks whoever leads, as far as is known, what became of a request.
    pub(crate) fn ask_fate(&self, id: RequestId) -> oneshot::Receiver<Result<Fate, Reply>> {
        let (sender, receiver) = oneshot::channel();
        self.ask_leader(Out::Fate(sender), |token| Ok(Input::Outcome(token, id)), Question::Fate(SentId::of(id)));
        receiver
    }

    /// Gives an order to whoever leads, as far as is known.
    pub(crate) fn order(&self, order: Order) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        self.ask_leader(Out::Order(sender), |token| asked::ordered(token, order), Question::Order(order));
        receiver
    }

    fn ask_leader(&self, out: Out, here: impl FnOnce(Token) -> Result<Input, Reply>, elsewhere: Question) {
        let mut waiting = lock(&self.waiting);
        let to = waiting.client.target();
        let number = waiting.out(to, out);
        let sent =
            if to == self.me { here(Token(number)).and_then(|input| self.input(input)) } else { self.ask_node(to, number, elsewhere) };
        let Err(reply) = sent else { return };
        let Some((_, out)) = waiting.out.remove(&number) else { return };
        if let Reply::Retry(_) = reply {
            waiting.client.elsewhere(to, None);
        }
        drop(waiting);
        self.tell(out, reply, LogIndex(0));
    }
}

/// A reply that is no success, as a refusal.
pub(crate) fn refusal_of(reply: Reply) -> Refusal {
    match reply {
        Reply::Refused(refusal) => refusal,
        Reply::Overloaded => Refusal::platform(Code::ResourceExhausted, "too many requests are waiting; try again a little later"),
        Reply::Elsewhere(_) => Refusal::platform(Code::Unavailable, "the node that was asked does not lead; ask again a little later"),
        Reply::Retry(why) => Refusal::platform(Code::Unavailable, why),
        Reply::Unknown(why) => Refusal::platform(Code::Unknown, why),
        Reply::Done { .. } | Reply::Opened(_) | Reply::Withdrawn | Reply::SessionGone => {
            panic!("a read was answered as if it were a write")
        }
    }
}
