//! Where a spec runs: the execution that a replica has, over an empty state in memory, taken back after each run.
//!
//! There is no second implementation: requests are executed into an open entry with the request table, budgets, undo and
//! digest of production, and events are applied as a replay applies them. Taking all of it back is what a leader does that
//! has lost its entries, and is checked after each run: nothing may be left.

use std::borrow::Cow;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use onebox_replica::{Ended, Execution, Limits, Stop};
use onebox_service::attempt::{Attempt, Command, Reply, RequestId, Sequence, SessionId};
use onebox_service::execute::{self, Context};
use onebox_service::keyspace::{self, PLATFORM_TABLE};
use onebox_service::spec::{Given, Spec, Then};
use onebox_service::version::FIRST_VERSION;
use onebox_service::{Budget, Code, Fact, Failure, Fault, Keyspace, KeyspaceMut, MethodId, Refusal, Service, TenantId, Time};
use onebox_store::memory::MemoryDisk;
use onebox_store::names::NodeId;
use onebox_store::state::{State, StateOptions, View};
use onebox_store::{Disk, LogIndex, Term};

/// What `random()` draws from, in every run of every spec.
const SEED: u64 = 1;
const IN_MEMORY: &str = "a state in memory can be read";
/// Things that may be given. Far more than a person reads; with it every sequence number is within a session's window.
pub const GIVEN_MAX: usize = 10_000;
/// Bytes that what is given may record and write, about: far more than a person reads, and little enough to be forgotten.
pub const GIVEN_BYTES_MAX: usize = 64 << 20;
/// Sequences below this create tenants: the first ones, so that what comes after is new to the request table at a glance.
const HOME_SEQUENCES: u64 = 10;
/// Index number of the id counter in the platform's table of a tenant.
const COUNTER_INDEX: u32 = 0;

/// Why a spec could not be run to its end: what it says itself is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake(pub String);

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Fault> for Mistake {
    fn from(fault: Fault) -> Mistake {
        Mistake(format!("the state in memory failed, which is a bug of the platform: {fault}"))
    }
}

/// Where a spec plays: a tenant, and the sequence numbers of what is asked there. A given thing has the number of its
/// position, so that what `random()` draws does not depend on how the spec is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The tenant's name.
    pub name: String,
    /// Its number.
    pub tenant: TenantId,
    sequence_from: u64,
}

/// The rows of one tenant.
pub type TenantRows = Vec<(Vec<u8>, Vec<u8>)>;

/// Changes the encoding of given events before they are applied.
pub type Recode<'r> = &'r dyn for<'f> Fn(&'f Fact) -> Cow<'f, [u8]>;

/// Given events as they are.
pub const AS_GIVEN: Recode<'static> = &|fact| Cow::Borrowed(&fact.bytes);

/// An execution over a state in memory.
pub struct Stage {
    service: Arc<dyn Service>,
    disk: MemoryDisk,
    execution: Execution,
    limits: Limits,
    session: SessionId,
    /// Digest and number of rows of the state on which every run begins.
    blank: (u128, u64),
    /// Tenants created in this run.
    tenants: u64,
    /// Whether rows were written that no record tells of.
    counter_set: bool,
}

impl Stage {
    /// An empty one.
    ///
    /// # Errors
    /// A fault of the state in memory, which is a bug.
    pub fn new(service: Arc<dyn Service>) -> Result<Stage, Fault> {
        // Whatever time a spec plays at, the session is there.
        let limits = Limits { session_idle_max: u64::MAX, ..Limits::default() };
        let disk = MemoryDisk::new();
        let mut stage = Stage::over(service, disk, limits, SessionId(0))?;
        stage.execution.begin(Time(0), SEED)?;
        // Specs say what the newest version does.
        let newest = *stage.service.versions().end();
        if newest > FIRST_VERSION {
            stage.execution.activate(newest)?;
        }
        let id = RequestId { session: SessionId(0), sequence: Sequence(0), not_after: Time(u64::MAX) };
        let open = Attempt { id, acknowledged_below: Sequence(0), command: Command::OpenSession };
        let Ended::Effect(Reply::Opened(session)) = stage.execution.execute(&open, false)? else {
            panic!("a session is opened on an empty state");
        };
        stage.session = session;
        stage.execution.seal()?;
        stage.execution.state_mut().commit_entry(LogIndex(1), Term(1), Time(0));
        stage.blank = (stage.execution.state().digest().0, stage.execution.state().rows());
        Ok(stage)
    }

    fn over(service: Arc<dyn Service>, disk: MemoryDisk, limits: Limits, session: SessionId) -> Result<Stage, Fault> {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let options = StateOptions { cache_bytes: 1 << 20, hash_seed: SEED, flush_bytes_target: usize::MAX / 4, node: NodeId(1) };
        let (state, _) = State::open(shared, options)?;
        let blank = (state.digest().0, state.rows());
        let execution = Execution::new(Arc::clone(&service), limits, state);
        Ok(Stage { service, disk, execution, limits, session, blank, tenants: 0, counter_set: false })
    }

    /// Runs a spec and forgets it; gives how its request ended.
    ///
    /// # Errors
    /// The spec's own mistake.
    pub fn play(&mut self, spec: &Spec) -> Result<Then, Mistake> {
        let played = self.set_up(spec, AS_GIVEN).and_then(|home| self.ask(spec, &home));
        self.clear();
        played
    }

    /// Runs a spec as [`Stage::play`] does, and says only whether it ends as expected. What is expected is compared in
    /// its encoded form: a spec that was written with other bytes for the same fields fails here.
    pub fn passes(&mut self, spec: &Spec) -> bool {
        let asked = self.set_up(spec, AS_GIVEN).and_then(|home| self.attempt(spec, &home));
        let passed = asked.is_ok_and(|asked| self.is(&asked, &spec.then));
        self.clear();
        passed
    }

    fn is(&self, asked: &Asked, then: &Then) -> bool {
        match (asked, then) {
            (Asked::Done { response, recorded }, Then::Returns { response: expected, events }) => {
                let expects = events.iter().map(|fact| (fact.event, &fact.bytes[..]));
                let records = if *recorded { self.execution.recorded().iter().eq(expects) } else { events.is_empty() };
                response == expected && records
            }
            (Asked::Refused(refusal), Then::Refused(expected)) => same_refusal(refusal, expected),
            (Asked::Done { .. }, Then::Refused(_)) | (Asked::Refused(_), Then::Returns { .. }) => false,
        }
    }

    /// Begins the entry in which a spec plays, makes its tenant, and lets happen what is given.
    ///
    /// # Errors
    /// The spec's own mistake. [`Stage::clear`] takes back what was done.
    pub fn set_up(&mut self, spec: &Spec, recode: Recode<'_>) -> Result<Home, Mistake> {
        self.begin(spec);
        let home = self.home(&spec.tenant, 0)?;
        self.given(spec, &home, 0..spec.given.len(), recode)?;
        self.set_counter(spec, &home)?;
        Ok(home)
    }

    /// Begins the entry in which a spec plays.
    pub fn begin(&mut self, spec: &Spec) {
        self.execution.begin(spec.at, SEED).expect(IN_MEMORY);
    }

    /// A tenant to play in, which is created if it is not there. `number` is 0 for the spec's own; those of others keep
    /// their requests apart.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn home(&mut self, name: &str, number: u64) -> Result<Home, Mistake> {
        let home = |tenant| Home { name: name.to_owned(), tenant, sequence_from: HOME_SEQUENCES + number * (GIVEN_MAX as u64 + 1) };
        if let Some(tenant) = onebox_replica::tenant(self.execution.state(), name)? {
            return Ok(home(tenant));
        }
        self.tenants += 1;
        match self.execute(self.tenants, Command::CreateTenant { name: name.to_owned() })? {
            Ended::Effect(_) => {}
            other => return Err(Mistake(format!("the tenant {name:?} cannot be created: {other:?}"))),
        }
        let created = onebox_replica::tenant(self.execution.state(), name)?;
        created.map(home).ok_or_else(|| Mistake(format!("the tenant {name:?} was created and is not there")))
    }

    /// Lets some of what is given happen in a tenant.
    ///
    /// # Errors
    /// The spec's own mistake, with the position of what cannot happen.
    pub fn given(&mut self, spec: &Spec, home: &Home, range: Range<usize>, recode: Recode<'_>) -> Result<(), Mistake> {
        if spec.given.len() > GIVEN_MAX {
            return Err(Mistake(format!("{} things are given; at most {GIVEN_MAX} may be", spec.given.len())));
        }
        let mut at = range.start;
        while at < range.end {
            let bytes = self.execution.open_bytes().max(self.execution.state().dirty_bytes());
            if bytes > GIVEN_BYTES_MAX {
                return Err(Mistake(format!("what is given before given[{at}] takes {bytes} bytes; at most {GIVEN_BYTES_MAX} may be")));
            }
            let id = self.request_id(home.sequence_from + at as u64);
            if let Given::Request(method, body) = &spec.given[at] {
                self.given_request(home, *method, body, at)?;
                at += 1;
                continue;
            }
            let facts = spec.given[at..range.end].iter().map_while(|given| match given {
                Given::Event(fact) => Some((fact.event, recode(fact))),
                Given::Request(..) => None,
            });
            let facts: Vec<_> = facts.collect();
            let happened = self.execution.happened(id, home.tenant, facts.iter().map(|(event, bytes)| (*event, &bytes[..])));
            happened.map_err(|failure| Mistake(format!("{} cannot be applied: {}", positions(at, facts.len()), words_of(failure))))?;
            at += facts.len();
        }
        Ok(())
    }

    fn given_request(&mut self, home: &Home, method: MethodId, body: &[u8], at: usize) -> Result<(), Mistake> {
        let info = self.service.schema().info(method);
        if info.read_only {
            return Err(Mistake(format!("given[{at}] asks {}, which only reads: it changes nothing, so leave it out", info.name)));
        }
        let call = Command::Call { tenant: home.name.clone(), method, body: body.to_vec(), key: None };
        match self.execute(home.sequence_from + at as u64, call)? {
            Ended::Effect(_) | Ended::NoEffect(Reply::Done { .. }) => Ok(()),
            Ended::NoEffect(Reply::Refused(refusal)) | Ended::Bug(Reply::Refused(refusal), ..) => {
                Err(Mistake(format!("given[{at}], a request of {}, is refused: {}: {}", info.name, refusal.code.name(), refusal.message)))
            }
            other => Err(Mistake(format!("given[{at}], a request of {}, ends strangely: {other:?}", info.name))),
        }
    }

    /// Sets a tenant's id counter, if the spec says so.
    ///
    /// # Errors
    /// The spec's own mistake.
    pub fn set_counter(&mut self, spec: &Spec, home: &Home) -> Result<(), Mistake> {
        let Some(next) = spec.next_id else { return Ok(()) };
        let last = next.checked_sub(1).ok_or_else(|| Mistake("next_id is 0; ids begin at 1".to_owned()))?;
        let key = keyspace::key(home.tenant, PLATFORM_TABLE, COUNTER_INDEX, &());
        self.counter_set = true;
        Ok(self.execution.state_mut().put(&key, &last.to_be_bytes())?)
    }

    /// Asks the request of a spec, after its set-up; gives how it ended. Asked again, it is the same request under the
    /// same id: where it took effect it gives its answer again and records nothing.
    ///
    /// # Errors
    /// Something that no request should meet.
    pub fn ask(&mut self, spec: &Spec, home: &Home) -> Result<Then, Mistake> {
        Ok(match self.attempt(spec, home)? {
            Asked::Refused(refusal) => Then::Refused(refusal),
            Asked::Done { response, recorded: false } => Then::Returns { response, events: Vec::new() },
            Asked::Done { response, recorded: true } => {
                let events = self.execution.recorded().iter().map(|(event, bytes)| Fact { event, bytes: bytes.to_vec() });
                Then::Returns { response, events: events.collect() }
            }
        })
    }

    /// Asks the read-only request of a spec on a view of what is committed.
    ///
    /// # Errors
    /// Something that no request should meet.
    pub fn ask_view(&self, spec: &Spec, home: &Home, view: &View) -> Result<Then, Mistake> {
        Ok(match self.query(spec, home, view)? {
            Asked::Refused(refusal) => Then::Refused(refusal),
            Asked::Done { response, .. } => Then::Returns { response, events: Vec::new() },
        })
    }

    fn attempt(&mut self, spec: &Spec, home: &Home) -> Result<Asked, Mistake> {
        if self.service.schema().info(spec.method).read_only {
            return Ok(self.query(spec, home, self.execution.state())?);
        }
        let call = Command::Call { tenant: home.name.clone(), method: spec.method, body: spec.request.clone(), key: None };
        match self.execute(home.sequence_from + spec.given.len() as u64, call)? {
            Ended::Effect(Reply::Done { response, .. }) => Ok(Asked::Done { response, recorded: true }),
            Ended::NoEffect(Reply::Done { response, .. }) => Ok(Asked::Done { response, recorded: false }),
            Ended::NoEffect(Reply::Refused(refusal)) | Ended::Bug(Reply::Refused(refusal), ..) => Ok(Asked::Refused(refusal)),
            other => Err(Mistake(format!("the request ends strangely: {other:?}"))),
        }
    }

    fn query(&self, spec: &Spec, home: &Home, space: &dyn Keyspace) -> Result<Asked, Fault> {
        let context = Context { tenant: home.tenant, now: spec.at, seed: SEED, budget: self.limits.query_budget };
        match execute::query(&*self.service, spec.method, &spec.request, space, &context) {
            Ok(response) => Ok(Asked::Done { response, recorded: false }),
            Err(Failure::Refused(refusal)) => Ok(Asked::Refused(refusal)),
            Err(Failure::Bug(what)) => {
                let name = self.service.schema().info(spec.method).name;
                Ok(Asked::Refused(Refusal::platform(Code::Internal, format!("the code of {name} failed on this request: {what}"))))
            }
            Err(Failure::Fault(fault)) => Err(fault),
        }
    }

    fn execute(&mut self, sequence: u64, command: Command) -> Result<Ended, Fault> {
        let id = self.request_id(sequence);
        self.execution.execute(&Attempt { id, acknowledged_below: Sequence(0), command }, false)
    }

    fn request_id(&self, sequence: u64) -> RequestId {
        RequestId { session: self.session, sequence: Sequence(sequence), not_after: Time(u64::MAX) }
    }

    /// Seals the open entry and begins another at the same time; gives its bytes. `None` if it holds nothing.
    ///
    /// # Errors
    /// A fault of the state in memory, which is a bug.
    pub fn seal(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let counter_set = std::mem::take(&mut self.counter_set);
        if self.execution.is_empty() && !counter_set {
            return Ok(None);
        }
        let time = self.execution.time();
        let entry = self.execution.seal()?;
        self.execution.begin(time, SEED)?;
        Ok(Some(entry))
    }

    /// Applies an entry that another stage sealed.
    ///
    /// # Errors
    /// Why it cannot be applied, or that it leads to another state here.
    pub fn replay(&mut self, entry: &[u8]) -> Result<(), Mistake> {
        let index = LogIndex(self.execution.state().applied().index.0 + 1);
        let time = self.execution.apply(index, entry).map_err(not_replayed)?;
        self.execution.begin(time, SEED).expect(IN_MEMORY);
        Ok(())
    }

    /// What a writing request and what a read-only one may use.
    #[must_use]
    pub fn budgets(&self) -> (Budget, Budget) {
        (self.limits.budget, self.limits.query_budget)
    }

    /// Chain and digest of the state: equal states that were reached alike have equal ones.
    #[must_use]
    pub fn digests(&self) -> (u128, u128) {
        (self.execution.state().chain().0, self.execution.state().digest().0)
    }

    /// What the stage holds of a tenant: its rows, without the head that names the tenant.
    ///
    /// # Errors
    /// A fault of the state in memory, which is a bug.
    pub fn rows(&self, tenant: TenantId) -> Result<TenantRows, Fault> {
        rows_of(self.execution.state(), tenant)
    }

    /// The state, open entry included.
    #[must_use]
    pub fn state(&self) -> &State {
        self.execution.state()
    }

    /// Commits what was sealed; gives what readers see then. It can no longer be taken back.
    pub fn commit(&mut self, spec: &Spec) -> View {
        for _ in 0..self.execution.state().entries_in_flight() {
            let index = LogIndex(self.execution.state().applied().index.0 + 1);
            self.execution.state_mut().commit_entry(index, Term(1), spec.at);
        }
        self.execution.state_mut().publish()
    }

    /// Writes what was committed to the base, forgets everything else, and opens the base again, as a restart does.
    ///
    /// # Errors
    /// A fault of the state in memory, which is a bug.
    pub fn restarted(mut self, spec: &Spec) -> Result<Stage, Fault> {
        let state = self.execution.state_mut();
        state.request_flush();
        while let Some(job) = state.begin_flush() {
            let flushed = job.run()?;
            drop(state.flushed(flushed));
        }
        let Stage { service, disk, execution, limits, session, .. } = self;
        drop(execution);
        disk.restart_process();
        let mut stage = Stage::over(service, disk, limits, session)?;
        stage.begin(spec);
        Ok(stage)
    }

    /// Takes everything back.
    ///
    /// # Panics
    /// If something is left: undo is wrong.
    pub fn clear(&mut self) {
        self.execution.abandon();
        for _ in 0..self.execution.state().entries_in_flight() {
            self.execution.undo_entry();
        }
        (self.tenants, self.counter_set) = (0, false);
        let left = (self.execution.state().digest().0, self.execution.state().rows());
        assert_eq!(left, self.blank, "a spec that was taken back leaves the state as it was");
    }
}

/// How a request ended, its events still with the execution.
enum Asked {
    Done { response: Vec<u8>, recorded: bool },
    Refused(Refusal),
}

/// Whether a refusal is the one that was expected. The sentence of a schema's refusal follows from its fields; that of the
/// platform's counts only if one is expected.
#[must_use]
pub fn same_refusal(got: &Refusal, expected: &Refusal) -> bool {
    let any_sentence = !expected.kind.is_empty() || expected.message.is_empty();
    (got.code, got.kind) == (expected.code, expected.kind)
        && got.detail == expected.detail
        && (any_sentence || got.message == expected.message)
}

/// The rows of a tenant in any keyspace, without the head that names the tenant.
///
/// # Errors
/// The fault that kept a row from being read.
pub fn rows_of(space: &dyn Keyspace, tenant: TenantId) -> Result<TenantRows, Fault> {
    let mut head = Vec::new();
    keyspace::pack_onto(&tenant.0, &mut head);
    let mut rows = Vec::new();
    space.scan(&head, &keyspace::end_of_prefix(head.clone()), &mut |key, value| {
        rows.push((key[head.len()..].to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

fn not_replayed(stop: Stop) -> Mistake {
    match stop {
        Stop::Fetched | Stop::Reopen | Stop::Outvoted { .. } => panic!("a spec has no peers"),
        Stop::Diverged { .. } => {
            Mistake("the state is another one: an `apply` writes other rows from the log than when its event was recorded".to_owned())
        }
        Stop::Fault(_) | Stop::Poison { .. } => Mistake(stop.to_string()),
    }
}

fn positions(first: usize, count: usize) -> String {
    if count == 1 { format!("given[{first}]") } else { format!("given[{first}] to [{}]", first + count - 1) }
}

fn words_of(failure: Failure) -> String {
    match failure {
        Failure::Bug(what) => what,
        Failure::Refused(refusal) => refusal.message,
        Failure::Fault(fault) => fault.to_string(),
    }
}
