//! Executing attempts into the open entry, and applying entries that others executed.
//!
//! Both must write the same rows in the same order: the request's events, its idempotency key, and at the entry's end
//! the sessions' answers and what has expired.

use onebox_service::attempt::{Attempt, Command, Reply, RequestId};
use onebox_service::execute::{self, Context, Failure, Recorded};
use onebox_service::{Code, Fault, MethodId, Refusal, TenantId, Time};
use onebox_store::LogIndex;
use onebox_store::state::Mark;

use crate::effect::{Note, Stop};
use crate::entry::{APPLY_VERSION, Entry, EntryWriter, Head, NewRecord, Record, RecordKind};
use crate::input::{Clock, Token};
use crate::reads::Held;
use crate::replica::{Replica, STOPPED};
use crate::requests::{self, Effect, Known, KnownKey, Retention};

/// Replies that leave together, and who waits for each.
pub(crate) type Replies = Vec<(Token, Reply)>;

/// The entry that requests are executed into until it is sealed.
pub(crate) struct OpenEntry {
    writer: EntryWriter,
    recorded: Recorded,
    replies: Replies,
    time: Time,
    seed: u64,
    /// The state before the first request.
    start: Option<Mark>,
}

impl OpenEntry {
    pub(crate) fn new(seed: u64) -> OpenEntry {
        OpenEntry { writer: EntryWriter::default(), recorded: Recorded::default(), replies: Vec::new(), time: Time(0), seed, start: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.writer.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.writer.len()
    }

    pub(crate) fn time(&self) -> Time {
        self.time
    }
}

/// How an attempt ended before anything is said of it.
enum Ended {
    /// It wrote rows: its reply leaves with the entry.
    Effect(Reply),
    /// It wrote nothing: its reply waits for what it was computed from.
    NoEffect(Reply),
}

fn refuse(code: Code, words: impl Into<String>) -> Ended {
    Ended::NoEffect(Reply::refused(code, words))
}

/// Executes one attempt.
pub(crate) fn execute(replica: &mut Replica, clock: Clock, token: Token, attempt: Attempt) -> Result<(), Stop> {
    if replica.open.is_empty() {
        let time = replica.log_time(clock);
        replica.clock.seen(time);
        replica.open.time = time;
        replica.open.seed = replica.next_seed();
        replica.open.start = Some(replica.state.mark());
    }
    let mark = replica.state.mark();
    let ended = match run(replica, &attempt, mark) {
        Ok(ended) => ended,
        Err(fault) => {
            replica.reply(token, Reply::Retry(STOPPED));
            return Err(Stop::Fault(fault));
        }
    };
    match ended {
        Ended::Effect(reply) => replica.open.replies.push((token, reply)),
        Ended::NoEffect(reply) => replica.hold(Held::Reply(token, reply)),
    }
    Ok(())
}

fn run(replica: &mut Replica, attempt: &Attempt, mark: Mark) -> Result<Ended, Fault> {
    let now = replica.open.time;
    if attempt.command != Command::OpenSession {
        let known = replica.requests.known(&replica.state, attempt.id, attempt.acknowledged_below.0, now)?;
        let reply = match known {
            Known::Fresh => None,
            Known::Answered(answer) => Some(Reply::Done { response: answer.answer, repeated: true }),
            Known::Forgotten => Some(Reply::refused(Code::Aborted, "this request was answered, and the answer acknowledged and forgotten")),
            Known::SessionGone => Some(Reply::SessionGone),
            Known::WindowFull => Some(Reply::Overloaded),
        };
        if let Some(reply) = reply {
            return Ok(Ended::NoEffect(reply));
        }
    }
    match &attempt.command {
        Command::Call { tenant, method, body, key } => call(replica, attempt, (tenant, *method, body, key.as_deref()), mark),
        Command::CreateTenant { name } => create_tenant(replica, attempt, name),
        Command::OpenSession | Command::TouchSession if attempt.id.not_after < now => Ok(too_late()),
        Command::OpenSession => open_session(replica),
        Command::TouchSession => {
            let record = platform_record(RecordKind::TouchSession, attempt, "", &[], &[]);
            remember(replica, &record, &Recorded::default());
            Ok(Ended::Effect(Reply::Done { response: Vec::new(), repeated: false }))
        }
    }
}

fn too_late() -> Ended {
    refuse(Code::DeadlineExceeded, "the request came to its turn after its deadline; it changed nothing")
}

/// Why a fresh request is not carried out now. Asked only once it is known to be fresh, by its id and by its key: another
/// attempt at what took effect is told so, however late it comes and however full the disk is.
fn not_now(replica: &Replica, attempt: &Attempt) -> Option<Ended> {
    if replica.disk_is_low() {
        let words = "the disk is nearly full: writes are refused until there is room again; reads go on";
        return Some(refuse(Code::ResourceExhausted, words));
    }
    (attempt.id.not_after < replica.open.time).then(too_late)
}

type Call<'a> = (&'a str, MethodId, &'a [u8], Option<&'a str>);

fn call(replica: &mut Replica, attempt: &Attempt, (tenant_name, method, body, key): Call<'_>, mark: Mark) -> Result<Ended, Fault> {
    let now = replica.open.time;
    let Some(tenant) = requests::tenant(&replica.state, tenant_name)? else {
        return Ok(refuse(Code::NotFound, unknown_tenant(tenant_name)));
    };
    let name = replica.service.schema().info(method).name;
    let service = std::sync::Arc::clone(&replica.service);
    let logged = service.loggable_request(method, body);
    let fingerprint = key.map_or(0, |_| fingerprint(name, &logged));
    if let Some(key) = key {
        match replica.requests.known_key(&replica.state, tenant, key, fingerprint, now)? {
            KnownKey::Fresh => {}
            KnownKey::Answered(response) => return Ok(Ended::NoEffect(Reply::Done { response, repeated: true })),
            KnownKey::OtherRequest => {
                return Ok(refuse(Code::Aborted, "this Idempotency-Key was used for another request; give each request a key of its own"));
            }
            KnownKey::TableFull => {
                return Ok(refuse(
                    Code::ResourceExhausted,
                    "the tenant's table of idempotency keys is full; keys leave it when their retention ends",
                ));
            }
        }
    }
    if let Some(ended) = not_now(replica, attempt) {
        return Ok(ended);
    }
    let seed = seed_of(replica.open.seed, attempt.id);
    let context = Context { tenant, now, seed, budget: replica.limits.budget };
    let mut recorded = std::mem::take(&mut replica.open.recorded);
    let result = execute::execute(&*service, method, body, &mut replica.state, &context, &mut recorded);
    let ended = match result {
        Ok(response) => {
            let stored = service.loggable_response(method, &response);
            let record = NewRecord {
                kind: RecordKind::Call,
                tenant,
                session: attempt.id.session.0,
                sequence: attempt.id.sequence.0,
                acknowledged_below: attempt.acknowledged_below.0,
                method: name,
                request: &logged,
                key: key.unwrap_or(""),
                fingerprint,
                answer: &stored,
            };
            match accept(replica, &record, &recorded, mark)? {
                Accepted::Effect => Ended::Effect(Reply::Done { response, repeated: false }),
                Accepted::NoEffect => Ended::NoEffect(Reply::Done { response, repeated: false }),
                Accepted::TooLarge(words) => refuse(Code::ResourceExhausted, words),
            }
        }
        Err(failure) => {
            replica.state.undo_to(mark);
            Ended::NoEffect(Reply::Refused(refusal_of(replica, name, failure)?))
        }
    };
    replica.open.recorded = recorded;
    Ok(ended)
}

/// Whether a request that was carried out is kept.
enum Accepted {
    Effect,
    NoEffect,
    TooLarge(String),
}

/// Puts a request that was carried out into the open entry, unless it changed nothing or is too large to keep.
fn accept(replica: &mut Replica, record: &NewRecord<'_>, recorded: &Recorded, mark: Mark) -> Result<Accepted, Fault> {
    if record.answer.len() > replica.limits.answer_bytes_max {
        replica.state.undo_to(mark);
        let words = format!(
            "the answer has {} bytes; {} are allowed. Nothing changed; ask for less at once",
            record.answer.len(),
            replica.limits.answer_bytes_max
        );
        return Ok(Accepted::TooLarge(words));
    }
    if recorded.is_empty() {
        return Ok(Accepted::NoEffect);
    }
    if !record.key.is_empty() {
        let times = (replica.open.time, retention(replica));
        replica.requests.remember_key(&mut replica.state, (record.tenant, record.key), record.fingerprint, record.answer, times)?;
    }
    remember(replica, record, recorded);
    Ok(Accepted::Effect)
}

fn create_tenant(replica: &mut Replica, attempt: &Attempt, name: &str) -> Result<Ended, Fault> {
    if let Some(ended) = not_now(replica, attempt) {
        return Ok(ended);
    }
    if requests::tenant(&replica.state, name)?.is_some() {
        return Ok(refuse(Code::AlreadyExists, format!("there is a tenant {name:?} already")));
    }
    let Some(tenant) = replica.requests.create_tenant(&mut replica.state, name)? else {
        return Ok(refuse(Code::ResourceExhausted, format!("there are {} tenants; no more are allowed", replica.limits.tenants_max)));
    };
    let answer = tenant.0.to_be_bytes();
    let record = platform_record(RecordKind::CreateTenant, attempt, "CreateTenant", name.as_bytes(), &answer);
    remember(replica, &record, &Recorded::default());
    Ok(Ended::Effect(Reply::Done { response: answer.to_vec(), repeated: false }))
}

fn open_session(replica: &mut Replica) -> Result<Ended, Fault> {
    let (now, retention) = (replica.open.time, retention(replica));
    let Some(session) = replica.requests.open_session(&mut replica.state, now, retention)? else {
        return Ok(refuse(Code::ResourceExhausted, format!("{} sessions are open; no more are allowed", replica.limits.sessions_max)));
    };
    let id = RequestId { session: onebox_service::attempt::SessionId(0), sequence: onebox_service::attempt::Sequence(0), not_after: now };
    let attempt = Attempt { id, acknowledged_below: id.sequence, command: Command::OpenSession };
    let answer = session.0.to_be_bytes();
    let record = platform_record(RecordKind::OpenSession, &attempt, "", &[], &answer);
    replica.open.writer.push(&record, &Recorded::default());
    Ok(Ended::Effect(Reply::Opened(session)))
}

fn platform_record<'r>(kind: RecordKind, attempt: &Attempt, method: &'static str, request: &'r [u8], answer: &'r [u8]) -> NewRecord<'r> {
    NewRecord {
        kind,
        tenant: TenantId::PLATFORM,
        session: attempt.id.session.0,
        sequence: attempt.id.sequence.0,
        acknowledged_below: attempt.acknowledged_below.0,
        method,
        request,
        key: "",
        fingerprint: 0,
        answer,
    }
}

fn remember(replica: &mut Replica, record: &NewRecord<'_>, recorded: &Recorded) {
    let NewRecord { session, sequence, acknowledged_below, method, answer, .. } = *record;
    replica.requests.add(&Effect { session, sequence, acknowledged_below, method, answer });
    replica.open.writer.push(record, recorded);
}

/// Says of one tenant's name that nobody created it.
pub fn unknown_tenant(name: &str) -> String {
    format!("there is no tenant {name:?}; create it with POST /onebox/v1/tenants")
}

fn refusal_of(replica: &mut Replica, method: &'static str, failure: Failure) -> Result<Refusal, Fault> {
    match failure {
        Failure::Refused(refusal) => Ok(refusal),
        Failure::Bug(what) => {
            let words = format!("the code of {method} failed on this request, which changed nothing: {what}");
            replica.effects.notes.push(Note::Bug { method, what });
            Ok(Refusal::platform(Code::Internal, words))
        }
        Failure::Fault(fault) => Err(fault),
    }
}

/// What `random()` of one request draws from: its entry's seed and its name, both of which are logged.
fn seed_of(entry: u64, id: RequestId) -> u64 {
    let name = [id.session.0.to_le_bytes(), id.sequence.0.to_le_bytes()].concat();
    xxhash_rust::xxh3::xxh3_64_with_seed(&name, entry)
}

fn fingerprint(method: &str, request: &[u8]) -> u128 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    hash.update(&(method.len() as u64).to_le_bytes());
    hash.update(method.as_bytes());
    hash.update(request);
    hash.digest128()
}

fn retention(replica: &Replica) -> Retention {
    Retention { session_idle: replica.limits.session_idle_max, idempotency: replica.limits.idempotency_retention }
}

/// Ends the open entry: its bytes, and the replies that leave when it is committed.
pub(crate) fn seal(replica: &mut Replica) -> Result<(Vec<u8>, Replies), Fault> {
    let (time, retention) = (replica.open.time, retention(replica));
    replica.requests.finish_entry(&mut replica.state, time, retention)?;
    let chain_before = replica.state.chain().0;
    let chain_after = replica.state.seal_entry().chain.0;
    let head = Head { time, apply_version: APPLY_VERSION, chain_before, chain_after, seed: replica.open.seed, retention };
    replica.open.start = None;
    Ok((replica.open.writer.seal(&head), std::mem::take(&mut replica.open.replies)))
}

/// Takes back the open entry; gives who waited for it.
pub(crate) fn abandon(replica: &mut Replica) -> Vec<Token> {
    if let Some(start) = replica.open.start.take() {
        replica.state.undo_to(start);
    }
    abandon_replies(replica)
}

/// Forgets the open entry without touching the state; gives who waited for it.
pub(crate) fn abandon_replies(replica: &mut Replica) -> Vec<Token> {
    replica.open.writer = EntryWriter::default();
    replica.open.replies.drain(..).map(|(token, _)| token).collect()
}

/// Applies an entry's records to the state.
pub(crate) fn apply(replica: &mut Replica, index: LogIndex, entry: &Entry<'_>) -> Result<(), Stop> {
    let head = entry.head;
    if head.apply_version != APPLY_VERSION {
        let what = format!("it was executed with apply version {}, this build has {APPLY_VERSION}", head.apply_version);
        return Err(Stop::Poison { at: index, what });
    }
    for record in entry.records() {
        let record = record.map_err(|what| Stop::Poison { at: index, what })?;
        apply_record(replica, index, head, &record)?;
    }
    replica.requests.finish_entry(&mut replica.state, head.time, head.retention).map_err(Stop::Fault)
}

fn apply_record(replica: &mut Replica, index: LogIndex, head: Head, record: &Record<'_>) -> Result<(), Stop> {
    let Record { session, sequence, acknowledged_below, method, answer, .. } = *record;
    let times = (head.time, head.retention);
    match record.kind {
        RecordKind::Call => {
            let service = &*replica.service;
            execute::apply(service, record.events(), &mut replica.state, record.tenant, head.time)
                .map_err(|failure| stop_of(index, failure))?;
            if !record.key.is_empty() {
                let key = (record.tenant, record.key);
                replica.requests.remember_key(&mut replica.state, key, record.fingerprint, answer, times).map_err(Stop::Fault)?;
            }
        }
        RecordKind::CreateTenant => {
            let name = std::str::from_utf8(record.request).map_err(|_| poison(index, "a tenant's name is not UTF-8"))?;
            let tenant = TenantId(number(index, answer)?);
            requests::apply_tenant(&mut replica.state, name, tenant).map_err(Stop::Fault)?;
        }
        RecordKind::OpenSession => {
            let opened = onebox_service::attempt::SessionId(number(index, answer)?);
            return replica.requests.apply_session(&mut replica.state, opened, times.0, times.1).map_err(Stop::Fault);
        }
        RecordKind::TouchSession => {}
    }
    replica.requests.add(&Effect { session, sequence, acknowledged_below, method, answer });
    Ok(())
}

fn number(index: LogIndex, answer: &[u8]) -> Result<u64, Stop> {
    Ok(u64::from_be_bytes(answer.try_into().map_err(|_| poison(index, "a number is not 8 bytes"))?))
}

fn poison(index: LogIndex, what: &str) -> Stop {
    Stop::Poison { at: index, what: what.to_owned() }
}

fn stop_of(index: LogIndex, failure: Failure) -> Stop {
    match failure {
        Failure::Bug(what) => Stop::Poison { at: index, what },
        Failure::Refused(refusal) => Stop::Poison { at: index, what: refusal.message },
        Failure::Fault(fault) => Stop::Fault(fault),
    }
}
