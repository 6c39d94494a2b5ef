//! A history that an older build wrote leads to the same state in this one: neither how entries are read nor what events do
//! changes unnoticed.
//!
//! `history.bin` holds the entries: the length of each (u32, little-endian), then its bytes. `history.txt` states chain and digest
//! after some of them. A history stays for as long as builds run the version of apply that it was written in; it is never
//! written again to make this test pass.

use std::collections::BTreeSet;
use std::sync::Arc;

use inventory::{Inventory, Life};
use onebox::{Chance, Workload};
use onebox_replica::entry::{Entry, RecordKind};
use onebox_replica::{Ended, Execution, Limits};
use onebox_service::attempt::{Attempt, Command, Reply, RequestId, Sequence, SessionId};
use onebox_service::version::FIRST_VERSION;
use onebox_service::{EventId, Service, Time};
use onebox_store::memory::MemoryDisk;
use onebox_store::state::{State, StateOptions};
use onebox_store::{LogIndex, NodeId, Term};

const HISTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/history.bin");
const STATED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/history.txt");

const IN_MEMORY: &str = "a state in memory can be read";
const ADVICE: &str = "Logs hold such entries, so replicas of two builds would differ. If how entries are read, or what an event does, \
    has changed by mistake, take it back. If an event is meant to do something else, that needs a new version of apply beside the old \
    one: see docs/upgrades.md, and for the platform's own rows and the layout of entries crates/onebox-replica/FORMAT.md";

const TERM: Term = Term(1);
/// Chain and digest are stated after every entry whose number this divides, and after the last.
const STATED_EVERY: u64 = 50;
/// A history with fewer entries proves little.
const ENTRIES_MIN: usize = 300;
/// What a history has records of. `Activate` is not among them: a service in its first version has none.
const KINDS: [RecordKind; 5] =
    [RecordKind::Call, RecordKind::CreateTenant, RecordKind::OpenSession, RecordKind::TouchSession, RecordKind::Withdraw];

#[test]
fn a_history_that_an_older_build_wrote_leads_to_the_same_state() {
    let (history, stated) = (read(HISTORY), read(STATED));
    let entries = entries_of(&history);
    require_much(&entries);
    let stated = std::str::from_utf8(&stated).expect("history.txt is text");
    let mut stated = stated.lines();
    // The bounds of who wrote it are others: what they did is in the entries.
    let mut execution = on_nothing(Limits::default());
    for (number, entry) in (1u64..).zip(&entries) {
        let index = LogIndex(number);
        let applied = execution.apply(index, entry);
        let time =
            applied.unwrap_or_else(|stop| panic!("entry {number} of history.bin is not applied as it was written: {stop:?}. {ADVICE}"));
        execution.state_mut().commit_entry(index, TERM, time);
        if is_stated(number, entries.len() as u64) {
            let expected = stated.next().unwrap_or("nothing");
            let found = line(number, execution.state());
            assert_eq!(found, expected, "after entry {number} of history.bin the state is not the one that history.txt states. {ADVICE}");
        }
    }
    assert_eq!(stated.next(), None, "history.txt states nothing after the last entry of history.bin");
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{path} cannot be read: {error}; it belongs into the repository"))
}

fn entries_of(mut history: &[u8]) -> Vec<&[u8]> {
    let mut entries = Vec::new();
    while !history.is_empty() {
        let (length, rest) = history.split_first_chunk::<4>().expect("history.bin ends within the length of an entry");
        let length = u32::from_le_bytes(*length) as usize;
        let (entry, rest) = rest.split_at_checked(length).expect("history.bin ends within an entry");
        entries.push(entry);
        history = rest;
    }
    entries
}

fn on_nothing(limits: Limits) -> Execution {
    let options = StateOptions { cache_bytes: 1 << 20, hash_seed: 1, flush_bytes_target: usize::MAX / 4, node: NodeId(1) };
    let (state, _) = State::open(Arc::new(MemoryDisk::new()), options).expect("an empty state is opened in memory");
    Execution::new(Arc::new(Inventory), limits, state)
}

fn is_stated(number: u64, last: u64) -> bool {
    number.is_multiple_of(STATED_EVERY) || number == last
}

fn line(number: u64, state: &State) -> String {
    format!("entry {number} chain {:032x} digest {:032x}", state.chain().0, state.digest().0)
}

/// Fails unless the entries are many, and everything happens in them that can.
fn require_much(entries: &[&[u8]]) {
    assert!(entries.len() >= ENTRIES_MIN, "the history has {} entries; with fewer than {ENTRIES_MIN} it proves little", entries.len());
    let missing = Happened::of(entries).missing();
    assert!(missing.is_empty(), "the history must have, at least once: {}", missing.join(", "));
}

/// What happens in a history.
#[derive(Default)]
struct Happened {
    events: BTreeSet<EventId>,
    methods: BTreeSet<String>,
    kinds: Vec<RecordKind>,
    keys: u64,
}

impl Happened {
    fn of(entries: &[&[u8]]) -> Happened {
        let mut happened = Happened::default();
        for (number, bytes) in (1u64..).zip(entries) {
            let entry =
                Entry::decode(bytes).unwrap_or_else(|what| panic!("entry {number} of the history cannot be read: {what}. {ADVICE}"));
            for record in entry.records() {
                let record = record.unwrap_or_else(|what| panic!("a record of entry {number} cannot be read: {what}. {ADVICE}"));
                happened.events.extend(record.events().map(|(event, _)| event));
                if record.kind == RecordKind::Call {
                    happened.methods.insert(record.method.to_owned());
                }
                happened.kinds.push(record.kind);
                happened.keys += u64::from(!record.key.is_empty());
            }
        }
        happened
    }

    /// What does not happen, in words.
    fn missing(&self) -> Vec<String> {
        let schema = Inventory.schema();
        let events = schema.events.iter().filter(|event| !self.events.contains(&event.id));
        let methods = schema.methods.iter().filter(|method| !method.read_only && !self.methods.contains(method.name));
        let kinds = KINDS.into_iter().filter(|kind| !self.kinds.contains(kind));
        let key = (self.keys == 0).then(|| "a request with an idempotency key".to_owned());
        let events = events.map(|event| format!("the event {}", event.name));
        let methods = methods.map(|method| format!("a request of {}", method.name));
        let kinds = kinds.map(|kind| format!("a record of the kind {kind:?}"));
        events.chain(methods).chain(kinds).chain(key).collect()
    }
}

const SECOND: u64 = 1_000_000;
/// When the history begins: a day in November 2023.
const START: Time = Time(1_700_000_000_000_000);
const SEED: u64 = 1;
const ENTRIES: u64 = 400;
const REQUESTS_PER_ENTRY_MAX: u64 = 4;
/// Idempotency keys that requests draw from: few enough that some are used again, before and after they expire.
const KEYS: u64 = 200;
/// Answers that the session leaves unacknowledged. The others are trimmed.
const UNACKNOWLEDGED: u64 = 20;

/// Entries in which something happens that no method of the service does.
const IDLE_SESSION_AT: u64 = 100;
const TENANT_AT: u64 = 150;
const WITHDRAW_AT: u64 = 200;
const TOUCH_AT: u64 = 250;

/// Writes both files anew, over those that are there: a history of a version that builds still run is kept, under another
/// name, with a test of its own.
#[test]
#[ignore = "writes the golden files: only for a new version of apply"]
fn write_the_history() {
    let mut writer = Writer::new();
    writer.begin_history();
    while writer.entries < ENTRIES {
        writer.add_entry();
    }
    require_much(&entries_of(&writer.history));
    std::fs::write(HISTORY, &writer.history).expect("history.bin can be written");
    std::fs::write(STATED, &writer.stated).expect("history.txt can be written");
}

/// Writes a history: a life drawn by chance, executed as a leader does.
struct Writer {
    execution: Execution,
    life: Life,
    chance: Chance,
    now: Time,
    session: SessionId,
    /// The number of the session's last request.
    sequence: u64,
    entries: u64,
    history: Vec<u8>,
    stated: String,
}

impl Writer {
    fn new() -> Writer {
        // Short enough that keys, and a session that is not used, expire within the history.
        let limits = Limits { session_idle_max: 120 * SECOND, idempotency_retention: 60 * SECOND, ..Limits::default() };
        Writer {
            execution: on_nothing(limits),
            life: Life::default(),
            chance: Chance::stream(SEED, "golden", 0),
            now: START,
            session: SessionId(0),
            sequence: 0,
            entries: 0,
            history: Vec::new(),
            stated: String::new(),
        }
    }

    /// The first entry: the session that asks for everything, in a state of the newest version.
    fn begin_history(&mut self) {
        self.begin();
        let newest = *Inventory.versions().end();
        if newest > FIRST_VERSION {
            self.execution.activate(newest).expect(IN_MEMORY);
        }
        self.session = self.open_session();
        self.seal();
    }

    fn add_entry(&mut self) {
        self.begin();
        match self.entries + 1 {
            // Nobody uses it: it expires.
            IDLE_SESSION_AT => {
                self.open_session();
            }
            TENANT_AT => self.carry_out(Command::CreateTenant { name: "second".to_owned() }),
            WITHDRAW_AT => self.carry_out(Command::Withdraw),
            TOUCH_AT => self.carry_out(Command::TouchSession),
            _ => {}
        }
        for _ in 0..self.chance.between(1, REQUESTS_PER_ENTRY_MAX) {
            self.ask();
        }
        self.seal();
    }

    fn begin(&mut self) {
        self.now = self.now.plus_micros(SECOND);
        self.execution.begin(self.now, self.chance.draw()).expect(IN_MEMORY);
    }

    /// Ends the entry, unless it holds nothing.
    fn seal(&mut self) {
        if self.execution.is_empty() {
            return;
        }
        let entry = self.execution.seal().expect(IN_MEMORY);
        self.entries += 1;
        self.execution.state_mut().commit_entry(LogIndex(self.entries), TERM, self.now);
        let length = u32::try_from(entry.len()).expect("the length of an entry is a u32");
        self.history.extend_from_slice(&length.to_le_bytes());
        self.history.extend_from_slice(&entry);
        if is_stated(self.entries, ENTRIES) {
            self.stated.push_str(&line(self.entries, self.execution.state()));
            self.stated.push('\n');
        }
    }

    /// One request of the life, unless it only reads: that is not logged.
    fn ask(&mut self) {
        let ask = self.life.next(0, &mut self.chance);
        if ask.reads {
            return;
        }
        let key = if self.chance.once_in(5) { Some(format!("key {}", self.chance.below(KEYS))) } else { None };
        let call = Command::Call { tenant: "default".to_owned(), method: ask.method, body: ask.body.clone(), key };
        match self.execute(call) {
            Ended::Effect(Reply::Done { response, .. }) | Ended::NoEffect(Reply::Done { response, .. }) => {
                self.life.told(&ask, Ok(&response[..]));
            }
            Ended::NoEffect(Reply::Refused(refusal)) => self.life.told(&ask, Err(&refusal)),
            other => panic!("{ask:?} ends strangely: {other:?}"),
        }
    }

    /// Something that always takes effect.
    fn carry_out(&mut self, command: Command) {
        let ended = self.execute(command);
        assert!(matches!(ended, Ended::Effect(_)), "what always takes effect ends strangely: {ended:?}");
    }

    fn execute(&mut self, command: Command) -> Ended {
        self.sequence += 1;
        let id = RequestId { session: self.session, sequence: Sequence(self.sequence), not_after: Time(u64::MAX) };
        let acknowledged_below = Sequence(self.sequence.saturating_sub(UNACKNOWLEDGED));
        self.execution.execute(&Attempt { id, acknowledged_below, command }, false).expect(IN_MEMORY)
    }

    fn open_session(&mut self) -> SessionId {
        let id = RequestId { session: SessionId(0), sequence: Sequence(0), not_after: Time(u64::MAX) };
        let open = Attempt { id, acknowledged_below: Sequence(0), command: Command::OpenSession };
        match self.execution.execute(&open, false).expect(IN_MEMORY) {
            Ended::Effect(Reply::Opened(session)) => session,
            other => panic!("opening a session ends strangely: {other:?}"),
        }
    }
}
