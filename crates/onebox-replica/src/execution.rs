//! Executing attempts into the open entry, and applying entries that others executed.
//!
//! Both must write the same rows in the same order: the request's events, its idempotency key, and at the entry's end
//! the sessions' answers and what has expired. It knows nothing of consensus, queues and callers: a replica drives it,
//! and so does whatever runs a service without a replica, such as a spec.

use std::sync::Arc;

use onebox_service::attempt::{Attempt, Command, Reply, RequestId, Sequence, SessionId};
use onebox_service::execute::{self, Context, Failure, Recorded};
use onebox_service::planted::planted;
use onebox_service::{Code, EventId, Fault, MethodId, Refusal, Service, TenantId, Time, version};
use onebox_store::LogIndex;
use onebox_store::state::{Chain, Mark, State};

use crate::effect::Stop;
use crate::entry::{APPLY_VERSION, Entry, EntryWriter, Head, NewRecord, Record, RecordKind};
use crate::limits::Limits;
use crate::requests::{self, Effect, Known, KnownKey, Requests, Retention, WITHDRAWN};

/// A service, its state, and the entry that requests are executed into until it is sealed.
pub struct Execution {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) limits: Limits,
    pub(crate) state: State,
    pub(crate) requests: Requests,
    open: OpenEntry,
}

#[derive(Default)]
struct OpenEntry {
    writer: EntryWriter,
    recorded: Recorded,
    time: Time,
    seed: u64,
    version: u32,
    /// The state before the first request.
    start: Option<Mark>,
}

/// How an attempt ended before anything is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It wrote rows: its reply leaves with the entry.
    Effect(Reply),
    /// It wrote nothing: its reply waits for what it was computed from.
    NoEffect(Reply),
    /// The service's code failed on it, with these words, and it wrote nothing: its reply waits like any other.
    Bug(Reply, &'static str, String),
}

fn refuse(code: Code, words: impl Into<String>) -> Ended {
    Ended::NoEffect(Reply::refused(code, words))
}

fn too_late() -> Ended {
    refuse(Code::DeadlineExceeded, "the request came to its turn after its deadline; it changed nothing")
}

impl Execution {
    /// Executes on this state; nothing is open.
    pub fn new(service: Arc<dyn Service>, limits: Limits, state: State) -> Execution {
        Execution { service, limits, state, requests: Requests::new(limits), open: OpenEntry::default() }
    }

    /// The state, open entry included.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state, for whoever commits and publishes what was sealed here.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// Whether the open entry holds nothing: the next request begins it.
    pub fn is_empty(&self) -> bool {
        self.open.writer.is_empty()
    }

    /// Bytes of the open entry's records.
    pub fn open_bytes(&self) -> usize {
        self.open.writer.len()
    }

    /// The open entry's time.
    pub fn time(&self) -> Time {
        self.open.time
    }

    /// The events that the request executed last recorded. Of use only if it took effect.
    pub fn recorded(&self) -> &Recorded {
        &self.open.recorded
    }

    /// Begins an entry. Repeated while it is empty, it begins at the new time.
    ///
    /// # Errors
    /// A row could not be read.
    pub fn begin(&mut self, time: Time, seed: u64) -> Result<(), Fault> {
        self.open.time = time;
        self.open.seed = seed;
        self.open.version = version::in_force(&self.state)?;
        self.open.start = Some(self.state.mark());
        Ok(())
    }

    /// Whether nothing was ever written to this state.
    pub fn is_new(&self) -> bool {
        self.state.chain() == Chain::default() && self.is_empty()
    }

    /// Puts a version of the service's apply in force, as a part of the entry that was begun.
    ///
    /// # Errors
    /// A row could not be read.
    pub fn activate(&mut self, version: u32) -> Result<(), Fault> {
        assert!(self.open.start.is_some(), "an entry is begun before something is executed into it");
        version::put_in_force(&mut self.state, version)?;
        let id = RequestId { session: SessionId(0), sequence: Sequence(0), not_after: self.open.time };
        let attempt = Attempt { id, acknowledged_below: id.sequence, command: Command::TouchSession };
        let number = version.to_be_bytes();
        self.open.writer.push(&platform_record(RecordKind::Activate, &attempt, "", &number, &[]), &Recorded::default());
        Ok(())
    }

    /// Executes one attempt into the entry that was begun. `disk_is_low`: what would take effect is refused.
    ///
    /// # Errors
    /// A row could not be read; the replica must stop.
    pub fn execute(&mut self, attempt: &Attempt, disk_is_low: bool) -> Result<Ended, Fault> {
        assert!(self.open.start.is_some(), "an entry is begun before something is executed into it");
        let now = self.open.time;
        if attempt.command != Command::OpenSession {
            let known = self.requests.known(&self.state, attempt.id, attempt.acknowledged_below.0, now)?;
            let reply = match known {
                Known::Fresh => None,
                Known::Answered(answer) if answer.method == WITHDRAWN => Some(Reply::Withdrawn),
                Known::Answered(answer) => Some(Reply::Done { response: answer.answer, repeated: true }),
                Known::Forgotten => {
                    Some(Reply::refused(Code::Aborted, "this request was answered, and the answer acknowledged and forgotten"))
                }
                Known::SessionGone => Some(Reply::SessionGone),
                Known::WindowFull => Some(Reply::Overloaded),
            };
            if let Some(reply) = reply {
                return Ok(Ended::NoEffect(reply));
            }
        }
        match &attempt.command {
            Command::Call { tenant, method, body, key } => self.call(attempt, (tenant, *method, body, key.as_deref()), disk_is_low),
            Command::CreateTenant { name } => self.create_tenant(attempt, name, disk_is_low),
            Command::PlaceTenant { name, partition } => self.place_tenant(attempt, name, *partition, disk_is_low),
            Command::OpenSession | Command::TouchSession if attempt.id.not_after < now => Ok(too_late()),
            Command::OpenSession => self.open_session(),
            // Also what is too late by this clock: the next leader's may be behind, and only the log tells it what it may not do.
            Command::Withdraw => {
                let record = platform_record(RecordKind::Withdraw, attempt, WITHDRAWN, &[], &[]);
                self.remember(&record, &Recorded::default());
                Ok(Ended::Effect(Reply::Withdrawn))
            }
            Command::TouchSession => {
                let record = platform_record(RecordKind::TouchSession, attempt, "", &[], &[]);
                self.remember(&record, &Recorded::default());
                Ok(Ended::Effect(Reply::Done { response: Vec::new(), repeated: false }))
            }
        }
    }

    /// Applies events that nobody asked for here into the entry that was begun, as the request `id` of `tenant`.
    ///
    /// # Errors
    /// The bug or fault. What was written stays until the entry is abandoned.
    pub fn happened<'e>(
        &mut self,
        id: RequestId,
        tenant: TenantId,
        events: impl Iterator<Item = (EventId, &'e [u8])> + Clone,
    ) -> Result<(), Failure> {
        assert!(self.open.start.is_some(), "an entry is begun before something happens in it");
        execute::apply(&*self.service, events.clone(), &mut self.state, tenant, self.open.time)?;
        let mut recorded = std::mem::take(&mut self.open.recorded);
        recorded.clear();
        events.for_each(|(event, bytes)| recorded.push_encoded(event, bytes));
        let attempt = Attempt { id, acknowledged_below: Sequence(0), command: Command::TouchSession };
        let record = NewRecord { tenant, ..platform_record(RecordKind::Call, &attempt, "", &[], &[]) };
        self.remember(&record, &recorded);
        self.open.recorded = recorded;
        Ok(())
    }

    /// Ends the open entry: its bytes.
    ///
    /// # Errors
    /// A row could not be read.
    pub fn seal(&mut self) -> Result<Vec<u8>, Fault> {
        let (time, retention) = (self.open.time, self.retention());
        self.requests.finish_entry(&mut self.state, time, retention)?;
        let chain_before = self.state.chain().0;
        let chain_after = self.state.seal_entry().chain.0;
        let service_version = self.open.version;
        let head = Head { time, apply_version: APPLY_VERSION, service_version, chain_before, chain_after, seed: self.open.seed, retention };
        self.open.start = None;
        Ok(self.open.writer.seal(&head))
    }

    /// Takes back the open entry.
    pub fn abandon(&mut self) {
        if let Some(start) = self.open.start.take() {
            self.state.undo_to(start);
        }
        self.forget_open();
        self.requests.forget_cache();
    }

    /// Takes back the newest sealed entry. The open one was taken back before.
    pub fn undo_entry(&mut self) {
        self.state.undo_entry();
        self.requests.forget_cache();
    }

    /// Forgets the open entry without touching the state.
    pub(crate) fn forget_open(&mut self) {
        self.open.writer.clear();
    }

    /// Applies an entry that was executed elsewhere, and seals it. Its time is that of its head.
    ///
    /// # Errors
    /// Why the replica must stop: the entry cannot be applied, or its writer's state was another.
    pub fn apply(&mut self, index: LogIndex, data: &[u8]) -> Result<Time, Stop> {
        let entry = Entry::decode(data).map_err(|what| Stop::Poison { at: index, what })?;
        let head = entry.head;
        let chain = self.state.chain().0;
        if head.chain_before != chain && !planted("another state overlooked") {
            let what = format!("it was executed on the state {:032x}, this is {chain:032x}", head.chain_before);
            return Err(Stop::Diverged { at: index, what });
        }
        if head.apply_version != APPLY_VERSION {
            let what = format!("it was executed with apply version {}, this build has {APPLY_VERSION}", head.apply_version);
            return Err(Stop::Poison { at: index, what });
        }
        self.runs(index, head.service_version)?;
        let in_force = version::in_force(&self.state).map_err(Stop::Fault)?;
        if head.service_version != in_force {
            let what = format!("it says that version {} of apply is in force, and {in_force} is", head.service_version);
            return Err(Stop::Poison { at: index, what });
        }
        for record in entry.records() {
            let record = record.map_err(|what| Stop::Poison { at: index, what })?;
            self.apply_record(index, head, &record)?;
        }
        self.requests.finish_entry(&mut self.state, head.time, head.retention).map_err(Stop::Fault)?;
        let chain = self.state.seal_entry().chain.0;
        self.open.start = None;
        if head.chain_after != chain && !planted("another state overlooked") {
            let what = format!("it left the state {:032x} there, {chain:032x} here", head.chain_after);
            return Err(Stop::Diverged { at: index, what });
        }
        Ok(head.time)
    }

    /// For simulations: the state is no longer what the entries made it.
    pub(crate) fn corrupt(&mut self) -> Result<(), Fault> {
        onebox_service::KeyspaceMut::put(&mut self.state, b"\x01 no entry wrote this", b"")
    }

    fn runs(&self, index: LogIndex, version: u32) -> Result<(), Stop> {
        let versions = self.service.versions();
        if versions.contains(&version) {
            return Ok(());
        }
        let what = format!("it needs version {version} of apply, and this build runs {} to {}", versions.start(), versions.end());
        Err(Stop::Poison { at: index, what })
    }

    /// Why a fresh request is not carried out now. Asked only once it is known to be fresh, by its id and by its key:
    /// another attempt at what took effect is told so, however late it comes and however full the disk is.
    fn not_now(&self, attempt: &Attempt, disk_is_low: bool) -> Option<Ended> {
        if disk_is_low {
            let words = "the disk is nearly full: writes are refused until there is room again; reads go on";
            return Some(refuse(Code::ResourceExhausted, words));
        }
        (attempt.id.not_after < self.open.time).then(too_late)
    }

    fn call(&mut self, attempt: &Attempt, (tenant_name, method, body, key): Call<'_>, disk_is_low: bool) -> Result<Ended, Fault> {
        let (now, mark) = (self.open.time, self.state.mark());
        let Some(tenant) = requests::tenant(&self.state, tenant_name)? else {
            return Ok(Ended::NoEffect(Reply::Refused(requests::absent_tenant(&self.state, tenant_name)?)));
        };
        let name = self.service.schema().info(method).name;
        let logged = self.service.loggable_request(method, body);
        let fingerprint = key.map_or(0, |_| fingerprint(name, &logged));
        if let Some(key) = key {
            match self.requests.known_key(&self.state, tenant, key, fingerprint, now)? {
                KnownKey::Fresh => {}
                KnownKey::Answered(response) => return Ok(Ended::NoEffect(Reply::Done { response, repeated: true })),
                KnownKey::OtherRequest => {
                    return Ok(refuse(
                        Code::Aborted,
                        "this Idempotency-Key was used for another request; give each request a key of its own",
                    ));
                }
                KnownKey::TableFull => {
                    return Ok(refuse(
                        Code::ResourceExhausted,
                        "the tenant's table of idempotency keys is full; keys leave it when their retention ends",
                    ));
                }
            }
        }
        if let Some(ended) = self.not_now(attempt, disk_is_low) {
            return Ok(ended);
        }
        let context = Context { tenant, now, seed: seed_of(self.open.seed, attempt.id), budget: self.limits.budget };
        let mut recorded = std::mem::take(&mut self.open.recorded);
        let result = execute::execute(&*self.service, method, body, &mut self.state, &context, &mut recorded);
        let ended = match result {
            Ok(response) => {
                let stored = self.service.loggable_response(method, &response);
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
                match self.accept(&record, &recorded, mark)? {
                    Accepted::Effect => Ended::Effect(Reply::Done { response, repeated: false }),
                    Accepted::NoEffect => Ended::NoEffect(Reply::Done { response, repeated: false }),
                    Accepted::TooLarge(words) => refuse(Code::ResourceExhausted, words),
                }
            }
            Err(failure) => {
                self.state.undo_to(mark);
                failed(name, failure)?
            }
        };
        self.open.recorded = recorded;
        Ok(ended)
    }

    /// Puts a request that was carried out into the open entry, unless it changed nothing or is too large to keep.
    fn accept(&mut self, record: &NewRecord<'_>, recorded: &Recorded, mark: Mark) -> Result<Accepted, Fault> {
        if record.answer.len() > self.limits.answer_bytes_max {
            self.state.undo_to(mark);
            let words = format!(
                "the answer has {} bytes; {} are allowed. Nothing changed; ask for less at once",
                record.answer.len(),
                self.limits.answer_bytes_max
            );
            return Ok(Accepted::TooLarge(words));
        }
        if recorded.is_empty() {
            return Ok(Accepted::NoEffect);
        }
        if !record.key.is_empty() {
            let times = (self.open.time, self.retention());
            self.requests.remember_key(&mut self.state, (record.tenant, record.key), record.fingerprint, record.answer, times)?;
        }
        self.remember(record, recorded);
        Ok(Accepted::Effect)
    }

    fn create_tenant(&mut self, attempt: &Attempt, name: &str, disk_is_low: bool) -> Result<Ended, Fault> {
        if let Some(ended) = self.not_now(attempt, disk_is_low) {
            return Ok(ended);
        }
        if requests::tenant(&self.state, name)?.is_some() {
            return Ok(refuse(Code::AlreadyExists, format!("there is a tenant {name:?} already")));
        }
        if let Some(partition) = requests::placement(&self.state, name)? {
            return Ok(Ended::NoEffect(Reply::Refused(Refusal::placed(name, partition))));
        }
        let Some(tenant) = self.requests.create_tenant(&mut self.state, name)? else {
            return Ok(refuse(Code::ResourceExhausted, format!("there are {} tenants; no more are allowed", self.limits.tenants_max)));
        };
        let answer = tenant.0.to_be_bytes();
        let record = platform_record(RecordKind::CreateTenant, attempt, "CreateTenant", name.as_bytes(), &answer);
        self.remember(&record, &Recorded::default());
        Ok(Ended::Effect(Reply::Done { response: answer.to_vec(), repeated: false }))
    }

    /// Here, where a tenant of this name would be if it were placed nowhere, is the one place where that is decided. Creating it here and
    /// placing it elsewhere exclude each other, for they come one after the other.
    fn place_tenant(&mut self, attempt: &Attempt, name: &str, partition: u32, disk_is_low: bool) -> Result<Ended, Fault> {
        if let Some(ended) = self.not_now(attempt, disk_is_low) {
            return Ok(ended);
        }
        if requests::tenant(&self.state, name)?.is_some() {
            return Ok(refuse(Code::AlreadyExists, format!("there is a tenant {name:?} already, in the partition of its name")));
        }
        let answer = u64::from(partition).to_be_bytes();
        match requests::placement(&self.state, name)? {
            Some(placed) if placed == partition => {
                return Ok(Ended::NoEffect(Reply::Done { response: answer.to_vec(), repeated: false }));
            }
            Some(placed) => {
                let words = format!("the tenant {name:?} is placed in partition {placed}, for good; create it there, or name no partition");
                return Ok(refuse(Code::FailedPrecondition, words));
            }
            None => {}
        }
        if !self.requests.place_tenant(&mut self.state, name, partition)? {
            return Ok(refuse(Code::ResourceExhausted, format!("{} tenants are placed; no more are allowed", self.limits.tenants_max)));
        }
        let record = platform_record(RecordKind::PlaceTenant, attempt, "PlaceTenant", name.as_bytes(), &answer);
        self.remember(&record, &Recorded::default());
        Ok(Ended::Effect(Reply::Done { response: answer.to_vec(), repeated: false }))
    }

    fn open_session(&mut self) -> Result<Ended, Fault> {
        let (now, retention) = (self.open.time, self.retention());
        let Some(session) = self.requests.open_session(&mut self.state, now, retention)? else {
            return Ok(refuse(Code::ResourceExhausted, format!("{} sessions are open; no more are allowed", self.limits.sessions_max)));
        };
        let id = RequestId { session: SessionId(0), sequence: Sequence(0), not_after: now };
        let attempt = Attempt { id, acknowledged_below: id.sequence, command: Command::OpenSession };
        let answer = session.0.to_be_bytes();
        let record = platform_record(RecordKind::OpenSession, &attempt, "", &[], &answer);
        self.open.writer.push(&record, &Recorded::default());
        Ok(Ended::Effect(Reply::Opened(session)))
    }

    fn remember(&mut self, record: &NewRecord<'_>, recorded: &Recorded) {
        let NewRecord { session, sequence, acknowledged_below, method, answer, .. } = *record;
        self.requests.add(&Effect { session, sequence, acknowledged_below, method, answer });
        self.open.writer.push(record, recorded);
    }

    fn retention(&self) -> Retention {
        Retention { session_idle: self.limits.session_idle_max, idempotency: self.limits.idempotency_retention }
    }

    fn apply_record(&mut self, index: LogIndex, head: Head, record: &Record<'_>) -> Result<(), Stop> {
        let Record { session, sequence, acknowledged_below, method, answer, .. } = *record;
        let times = (head.time, head.retention);
        match record.kind {
            RecordKind::Call => {
                execute::apply(&*self.service, record.events(), &mut self.state, record.tenant, head.time)
                    .map_err(|failure| stop_of(index, failure))?;
                if !record.key.is_empty() {
                    let key = (record.tenant, record.key);
                    self.requests.remember_key(&mut self.state, key, record.fingerprint, answer, times).map_err(Stop::Fault)?;
                }
            }
            RecordKind::CreateTenant => {
                let name = std::str::from_utf8(record.request).map_err(|_| poison(index, "a tenant's name is not UTF-8"))?;
                let tenant = TenantId(number(index, answer)?);
                requests::apply_tenant(&mut self.state, name, tenant).map_err(Stop::Fault)?;
            }
            RecordKind::PlaceTenant => {
                let name = std::str::from_utf8(record.request).map_err(|_| poison(index, "a tenant's name is not UTF-8"))?;
                let partition = u32::try_from(number(index, answer)?).map_err(|_| poison(index, "a partition has a large number"))?;
                requests::apply_placement(&mut self.state, name, partition).map_err(Stop::Fault)?;
            }
            RecordKind::OpenSession => {
                let opened = SessionId(number(index, answer)?);
                return self.requests.apply_session(&mut self.state, opened, times.0, times.1).map_err(Stop::Fault);
            }
            RecordKind::Activate => {
                let number = record.request.try_into().map(u32::from_be_bytes);
                let version = number.map_err(|_| poison(index, "a version is not 4 bytes"))?;
                self.runs(index, version)?;
                return version::put_in_force(&mut self.state, version).map_err(Stop::Fault);
            }
            RecordKind::TouchSession | RecordKind::Withdraw => {}
        }
        self.requests.add(&Effect { session, sequence, acknowledged_below, method, answer });
        Ok(())
    }
}

type Call<'a> = (&'a str, MethodId, &'a [u8], Option<&'a str>);

/// Whether a request that was carried out is kept.
enum Accepted {
    Effect,
    NoEffect,
    TooLarge(String),
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

fn failed(method: &'static str, failure: Failure) -> Result<Ended, Fault> {
    match failure {
        Failure::Refused(refusal) => Ok(Ended::NoEffect(Reply::Refused(refusal))),
        Failure::Bug(what) => {
            let words = format!("the code of {method} failed on this request, which changed nothing: {what}");
            Ok(Ended::Bug(Reply::refused(Code::Internal, words), method, what))
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
