//! A replica on a memory disk, driven by hand: a frame is written and a job is run when the test says so.
//!
//! What the replica wants done is kept in the order in which `turn` did it ([`Done`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use onebox_replica::replica::{Opened, Setup, TICK_MICROS};
use onebox_replica::turn::{World, take_turn};
use onebox_replica::{
    Beginning, Clock, Confirm, Consistency, Input, Job, Limits, Note, PeerMessage, PersistBatch, Query, Read, Replica, Stop, Token,
};
use onebox_service::attempt::{Attempt, Command, Fate, Reply, RequestId, Sequence, SessionId};
use onebox_service::execute::{self, Context};
use onebox_service::keyspace::{self, PLATFORM_TABLE};
use onebox_service::{Code, Failure, Keyspace, MethodId, TenantId, Time};
use onebox_store::log::LogWriter;
use onebox_store::memory::MemoryDisk;
use onebox_store::state::{Retired, View};
use onebox_store::{Disk, LogIndex, NodeId};
use prost::Message;

use crate::service::{Ask, Cells, GET, Replay, SET, Told};

/// When every test begins, in microseconds.
pub(crate) const START: u64 = 1_000_000_000_000;
/// Later than every test ends.
pub(crate) const NEVER: Time = Time(u64::MAX / 2);
pub(crate) const SECOND: u64 = 1_000_000;

/// One thing that the world was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    Persist,
    Publish(LogIndex),
    Reply(Token),
    Fate(Token),
    Query(Token),
    Job(&'static str),
    Stop,
}

/// What the replica asked the world for.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) done: Vec<Done>,
    pub(crate) frame: Option<PersistBatch>,
    pub(crate) messages: Vec<Box<PeerMessage>>,
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) replies: BTreeMap<Token, (Reply, LogIndex)>,
    pub(crate) fates: BTreeMap<Token, Fate>,
    pub(crate) queries: BTreeMap<Token, Query>,
    pub(crate) notes: Vec<Note>,
    pub(crate) stop: Option<Stop>,
    pub(crate) drained: bool,
}

impl World for Desk {
    fn persist(&mut self, batch: PersistBatch) {
        assert!(self.frame.is_none(), "one frame is outstanding at most");
        self.done.push(Done::Persist);
        self.frame = Some(batch);
    }
    fn send(&mut self, message: Box<PeerMessage>) {
        self.messages.push(message);
    }
    fn publish(&mut self, view: View) {
        self.done.push(Done::Publish(view.position().index));
    }
    fn reply(&mut self, to: Token, reply: Reply, at: LogIndex) {
        self.done.push(Done::Reply(to));
        assert!(self.replies.insert(to, (reply, at)).is_none(), "{to:?} is answered twice");
    }
    fn tell_fate(&mut self, to: Token, fate: Fate) {
        self.done.push(Done::Fate(to));
        assert!(self.fates.insert(to, fate).is_none(), "{to:?} is answered twice");
    }
    fn query(&mut self, query: Query) {
        self.done.push(Done::Query(query.token));
        self.queries.insert(query.token, query);
    }
    fn start(&mut self, job: Job) {
        self.done.push(Done::Job(match job {
            Job::Flush(_) => "flush",
            Job::Merge(_) => "merge",
            Job::PrepareSpare { .. } => "spare",
            Job::MoveToHistory(..) => "history",
            Job::Warm(_) => "warm",
            Job::Scrub { .. } => "scrub",
            Job::ScrubLog(_) => "scrub of the log",
            Job::ReadRows(_) => "read rows",
            Job::Import(_) => "import",
        }));
        self.jobs.push_back(job);
    }
    fn discard(&mut self, _: Retired) {}
    fn note(&mut self, note: Note) {
        self.notes.push(note);
    }
    fn drained(&mut self) {
        self.drained = true;
    }
    fn stop(&mut self, stop: Stop) {
        self.done.push(Done::Stop);
        assert!(self.stop.replace(stop).is_none(), "it stops twice");
    }
}

/// What makes a replica this one.
pub(crate) struct Member {
    pub(crate) node: NodeId,
    pub(crate) beginning: Beginning,
    pub(crate) confirm: Confirm,
}

pub(crate) struct Rig {
    pub(crate) disk: MemoryDisk,
    pub(crate) replica: Replica,
    pub(crate) desk: Desk,
    writer: LogWriter,
    /// The next turn's inputs.
    pub(crate) inputs: Vec<Input>,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) segment_bytes: u64,
    flush_bytes: usize,
    member: Member,
    tokens: u64,
    sequence: u64,
    /// Bytes of every entry that was put into a frame.
    pub(crate) entry_bytes: Vec<usize>,
}

impl Rig {
    /// A new replica that serves.
    pub(crate) fn new(limits: Limits) -> Rig {
        Rig::sized(limits, 4 << 20, usize::MAX / 4)
    }

    pub(crate) fn sized(limits: Limits, segment_bytes: u64, flush_bytes: usize) -> Rig {
        let clock = Clock { wall: Time(START), uptime: 0 };
        let member = Member { node: NodeId(7), beginning: Beginning::Alone, confirm: Confirm::Replicated };
        let mut rig = Rig::open(MemoryDisk::new(), limits, Replay::Faithful, clock, (segment_bytes, flush_bytes), member);
        rig.settle();
        assert!(rig.replica.status().serves, "a new replica serves");
        rig
    }

    /// One replica of several, before its first turn.
    pub(crate) fn member(limits: Limits, segment_bytes: u64, flush_bytes: usize, member: Member) -> Rig {
        let clock = Clock { wall: Time(START), uptime: 0 };
        Rig::open(MemoryDisk::new(), limits, Replay::Faithful, clock, (segment_bytes, flush_bytes), member)
    }

    fn open(
        disk: MemoryDisk,
        limits: Limits,
        replay: Replay,
        clock: Clock,
        (segment_bytes, flush_bytes): (u64, usize),
        member: Member,
    ) -> Rig {
        let setup = Setup {
            limits,
            node: member.node,
            seed: 9,
            segment_bytes,
            cache_bytes: 1 << 20,
            flush_bytes_target: flush_bytes,
            election_ticks: 10,
            beginning: member.beginning.clone(),
            confirm: member.confirm,
        };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let Opened { replica, writer, .. } = Replica::open(&shared, Arc::new(Cells(replay)), setup).expect("the disk is sound");
        let desk = Desk::default();
        let inputs = Vec::new();
        Rig {
            disk,
            replica,
            desk,
            writer,
            inputs,
            limits,
            clock,
            segment_bytes,
            flush_bytes,
            member,
            tokens: 0,
            sequence: 10_000,
            entry_bytes: Vec::new(),
        }
    }

    /// The next process on the same disk, before its first turn.
    pub(crate) fn reopened(self, limits: Limits, replay: Replay) -> Rig {
        let Rig { disk, replica, writer, clock, segment_bytes, flush_bytes, member, tokens, sequence, .. } = self;
        drop((replica, writer));
        disk.restart_process();
        let clock = Clock { wall: clock.wall, uptime: 0 };
        let rig = Rig::open(disk, limits, replay, clock, (segment_bytes, flush_bytes), member);
        Rig { tokens, sequence, ..rig }
    }

    /// The next process on the same disk, serving, with the state that the last one had.
    pub(crate) fn restarted(self, limits: Limits) -> Rig {
        let before = self.replica.digests();
        let mut rig = self.reopened(limits, Replay::Faithful);
        rig.settle();
        assert!(rig.replica.status().serves, "it serves again; {:?}", rig.desk.stop);
        assert_eq!(rig.replica.digests(), before, "chain and digest after the replay");
        rig
    }

    pub(crate) fn pass(&mut self, micros: u64) {
        self.clock = Clock { wall: self.clock.wall.plus_micros(micros), uptime: self.clock.uptime + micros };
    }

    pub(crate) fn tick(&mut self) {
        self.pass(TICK_MICROS);
        self.inputs.push(Input::Tick);
    }

    /// One turn; gives whether another should follow at once.
    pub(crate) fn turn(&mut self) -> bool {
        take_turn(&mut self.replica, self.clock, self.inputs.drain(..), &mut self.desk)
    }

    /// Writes the frame that waits, if one does. The replica hears of it with the next turn.
    pub(crate) fn persist(&mut self) {
        let Some(PersistBatch { number, batch, spare_made }) = self.desk.frame.take() else { return };
        if spare_made {
            self.writer.note_spare();
        }
        self.entry_bytes.extend(batch.entries.iter().map(|entry| entry.data.len()).filter(|bytes| *bytes > 0));
        self.inputs.push(match self.writer.append(&batch) {
            Ok(appended) => Input::Persisted { number, appended, needs_spare: self.writer.needs_spare() },
            Err(fault) => Input::PersistFailed(fault),
        });
    }

    /// Runs the jobs that wait.
    pub(crate) fn work(&mut self) {
        for job in std::mem::take(&mut self.desk.jobs) {
            self.inputs.push(Input::JobDone(job.run(&self.disk)));
        }
    }

    /// Goes on until there is nothing left to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            let again = self.turn();
            self.persist();
            self.work();
            if !again && self.inputs.is_empty() {
                assert!(self.desk.messages.is_empty(), "a single member has nobody to talk to");
                return;
            }
        }
        panic!("the replica does not come to rest");
    }

    pub(crate) fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    /// Gives an attempt to the next turn.
    pub(crate) fn send(&mut self, attempt: Attempt) -> Token {
        let token = self.token();
        self.inputs.push(Input::Attempt(token, attempt));
        token
    }

    pub(crate) fn reply(&self, token: Token) -> Option<&Reply> {
        self.desk.replies.get(&token).map(|(reply, _)| reply)
    }

    /// Sends an attempt and goes on until it is answered.
    pub(crate) fn carry_out(&mut self, attempt: Attempt) -> Reply {
        let token = self.send(attempt);
        self.settle();
        self.reply(token).expect("every attempt is answered").clone()
    }

    pub(crate) fn open_session(&mut self) -> Reply {
        self.carry_out(Attempt { id: id(0, 0), acknowledged_below: Sequence(0), command: Command::OpenSession })
    }

    pub(crate) fn session(&mut self) -> u64 {
        match self.open_session() {
            Reply::Opened(SessionId(session)) => session,
            other => panic!("a session is opened: {other:?}"),
        }
    }

    /// A number for a request of a test that does not care; others use those below 10,000.
    pub(crate) fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Writes a cell as the next request of `session`, and is told that it is done.
    pub(crate) fn set(&mut self, session: u64, key: &str, value: &[u8]) {
        let sequence = self.next();
        let reply = self.carry_out(set(session, sequence, key, value));
        assert!(matches!(reply, Reply::Done { repeated: false, .. }), "{reply:?}");
    }

    pub(crate) fn fate(&mut self, id: RequestId) -> Fate {
        let token = self.token();
        self.inputs.push(Input::Outcome(token, id));
        self.settle();
        self.desk.fates.get(&token).expect("every question is answered").clone()
    }

    pub(crate) fn read(&mut self, key: &str) -> Token {
        self.read_as(key, Consistency::Linearizable)
    }

    pub(crate) fn read_at_least(&mut self, key: &str, position: LogIndex) -> Token {
        self.read_as(key, Consistency::AtLeast(position))
    }

    fn read_as(&mut self, key: &str, consistency: Consistency) -> Token {
        let token = self.token();
        let body = Ask { key: key.to_owned(), ..Ask::default() }.encode_to_vec();
        let deadline = self.clock.uptime + SECOND;
        self.inputs.push(Input::Read(Read { token, tenant: "default".to_owned(), method: GET, body, consistency, deadline }));
        token
    }

    /// Answers a read as a reader does.
    pub(crate) fn answer(&self, method: MethodId, ask: &Ask) -> Result<Told, Failure> {
        answer(self.replica.view(), self.limits, method, ask)
    }

    /// How many rows of the platform stand under an index, published.
    pub(crate) fn platform_rows(&self, index: u32) -> usize {
        rows(self.replica.view(), TenantId::PLATFORM, index)
    }

    /// How many idempotency keys the default tenant has, published.
    pub(crate) fn keys(&self) -> usize {
        rows(self.replica.view(), TenantId::DEFAULT, 1)
    }
}

/// Indexes of the platform's rows; FORMAT.md.
pub(crate) mod index {
    pub(crate) const SESSION: u32 = 2;
    pub(crate) const ANSWERS: u32 = 3;
    pub(crate) const SESSION_EXPIRY: u32 = 4;
    pub(crate) const KEY_EXPIRY: u32 = 5;
}

fn rows(view: &View, tenant: TenantId, index: u32) -> usize {
    let from = keyspace::key(tenant, PLATFORM_TABLE, index, &());
    let mut rows = 0;
    let counted = view.scan(&from, &keyspace::end_of_prefix(from.clone()), &mut |_, _| {
        rows += 1;
        std::ops::ControlFlow::Continue(())
    });
    counted.expect("the view can be read");
    rows
}

pub(crate) fn answer(view: &View, limits: Limits, method: MethodId, ask: &Ask) -> Result<Told, Failure> {
    let context = Context { tenant: TenantId::DEFAULT, now: view.position().time, seed: 0, budget: limits.query_budget };
    let told = execute::query(&Cells(Replay::Faithful), method, &ask.encode_to_vec(), view, &context)?;
    Ok(Told::decode(&told[..]).expect("an answer decodes"))
}

pub(crate) fn id(session: u64, sequence: u64) -> RequestId {
    RequestId { session: SessionId(session), sequence: Sequence(sequence), not_after: NEVER }
}

pub(crate) fn call(session: u64, sequence: u64, method: MethodId, ask: &Ask) -> Attempt {
    let command = Command::Call { tenant: "default".to_owned(), method, body: ask.encode_to_vec(), key: None };
    Attempt { id: id(session, sequence), acknowledged_below: Sequence(1), command }
}

pub(crate) fn set(session: u64, sequence: u64, key: &str, value: &[u8]) -> Attempt {
    call(session, sequence, SET, &Ask { key: key.to_owned(), value: value.to_vec(), ..Ask::default() })
}

/// The attempt, with an idempotency key.
pub(crate) fn keyed(name: &str, mut attempt: Attempt) -> Attempt {
    if let Command::Call { key, .. } = &mut attempt.command {
        *key = Some(name.to_owned());
    }
    attempt
}

pub(crate) fn acknowledging(below: u64, attempt: Attempt) -> Attempt {
    Attempt { acknowledged_below: Sequence(below), ..attempt }
}

pub(crate) fn until(not_after: Time, attempt: Attempt) -> Attempt {
    Attempt { id: RequestId { not_after, ..attempt.id }, ..attempt }
}

pub(crate) fn touch(session: u64, sequence: u64) -> Attempt {
    Attempt { id: id(session, sequence), acknowledged_below: Sequence(1), command: Command::TouchSession }
}

pub(crate) fn create_tenant(session: u64, sequence: u64, name: &str) -> Attempt {
    Attempt { command: Command::CreateTenant { name: name.to_owned() }, ..touch(session, sequence) }
}

pub(crate) fn place_tenant(session: u64, sequence: u64, name: &str, partition: u32) -> Attempt {
    Attempt { command: Command::PlaceTenant { name: name.to_owned(), partition }, ..touch(session, sequence) }
}

/// Whether it was done now, done before, or the code with which it was refused.
pub(crate) fn verdict(reply: &Reply) -> Result<bool, Code> {
    match reply {
        Reply::Done { repeated, .. } => Ok(*repeated),
        Reply::Refused(refusal) => Err(refusal.code),
        other => panic!("neither done nor refused: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn refused(reply: &Reply, code: Code, words: &str) {
    match reply {
        Reply::Refused(refusal) => {
            assert_eq!(refusal.code, code, "{}", refusal.message);
            assert!(refusal.message.contains(words), "{:?} says {words:?}", refusal.message);
        }
        other => panic!("it is refused: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn told(reply: &Reply) -> Told {
    match reply {
        Reply::Done { response, .. } => Told::decode(&response[..]).expect("an answer decodes"),
        other => panic!("it is done: {other:?}"),
    }
}
