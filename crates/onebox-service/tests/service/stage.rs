//! A keyspace that counts what is asked of it, two tables, and a service whose one method is a closure.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use onebox_service::execute::{self, Context, Recorded};
use onebox_service::keyspace::{EachRow, pack_onto};
use onebox_service::{
    Apply, BadRequest, Budget, Bytes, Event, EventId, EventInfo, Failure, Fault, FaultKind, Keyspace, KeyspaceMut, MethodId, Outcome, Read,
    Reader, Row, Rows, Schema, Service, Table, TenantId, Time, Tx,
};
use prost::Message;

/// A keyspace in memory. It counts what was asked of it, and can be told to fail.
#[derive(Default, Clone)]
pub(crate) struct Space {
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) gets: Cell<usize>,
    pub(crate) steps: Cell<usize>,
    /// The reads that still succeed; `None` for all.
    pub(crate) reads_left: Cell<Option<usize>>,
}

impl Space {
    fn read(&self) -> Result<(), Fault> {
        match self.reads_left.get() {
            Some(0) => Err(fault()),
            left => {
                self.reads_left.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }
}

pub(crate) fn fault() -> Fault {
    Fault::new(FaultKind::Damage, "read", "base.redb", "a row with another checksum")
}

impl Keyspace for Space {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.gets.set(self.gets.get() + 1);
        self.read()?;
        Ok(self.rows.get(key).map(|value| Bytes::from(value.as_slice())))
    }
    fn scan(&self, from: &[u8], to: &[u8], each: &mut EachRow<'_>) -> Result<(), Fault> {
        for (key, value) in self.rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            self.steps.set(self.steps.get() + 1);
            self.read()?;
            if let ControlFlow::Break(()) = each(key, value) {
                break;
            }
        }
        Ok(())
    }
}

impl KeyspaceMut for Space {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.rows.insert(key.to_vec(), value.to_vec());
        Ok(())
    }
    fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.rows.remove(key);
        Ok(())
    }
}

/// A row with a unique index of its code (1) and another of group and rank (2).
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Item {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(string, tag = "2")]
    pub(crate) code: String,
    #[prost(string, tag = "3")]
    pub(crate) group: String,
    #[prost(sint64, tag = "4")]
    pub(crate) rank: i64,
}

pub(crate) const BY_CODE: u32 = 1;
pub(crate) const BY_GROUP: u32 = 2;

impl Row for Item {
    const TABLE: u32 = 1;
    const NAME: &'static str = "items";
    const INDEXED: bool = true;
    fn pack_key(&self, out: &mut Vec<u8>) {
        pack_onto(&self.id, out);
    }
    fn pack_indexes(&self, each: &mut dyn FnMut(u32, bool, Vec<u8>)) {
        let packed = |pack: &dyn Fn(&mut Vec<u8>)| {
            let mut fields = Vec::new();
            pack(&mut fields);
            fields
        };
        // As for a field that is optional: without a code there is no entry.
        if !self.code.is_empty() {
            each(BY_CODE, true, packed(&|out| pack_onto(&self.code, out)));
        }
        each(BY_GROUP, false, packed(&|out| pack_onto(&(&self.group, self.rank), out)));
    }
}

pub(crate) fn item(id: u64, code: &str, group: &str, rank: i64) -> Item {
    Item { id, code: code.to_owned(), group: group.to_owned(), rank }
}

pub(crate) fn items(read: &dyn Read) -> Table<'_, Item> {
    Table::new(read)
}

/// Rows of the table `items` were written and removed.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Changed {
    #[prost(message, repeated, tag = "1")]
    pub(crate) put: Vec<Item>,
    #[prost(uint64, repeated, tag = "2")]
    pub(crate) delete: Vec<u64>,
    /// Ids that the event creates.
    #[prost(uint64, repeated, tag = "3")]
    pub(crate) creates: Vec<u64>,
    #[prost(bool, tag = "4")]
    pub(crate) panics: bool,
}

impl Event for Changed {
    const ID: EventId = EventId(5);
    const NAME: &'static str = "Changed";
    fn new_ids(&self, each: &mut dyn FnMut(u64)) {
        self.creates.iter().copied().for_each(each);
    }
}

impl Apply for Changed {
    fn apply(self, rows: &mut Rows<'_>) {
        for item in &self.put {
            rows.put(item);
        }
        for id in &self.delete {
            rows.delete::<Item>(id);
        }
        assert!(!self.panics, "an event that cannot be applied");
    }
}

pub(crate) fn put(items: impl IntoIterator<Item = Item>) -> Changed {
    Changed { put: items.into_iter().collect(), ..Changed::default() }
}

pub(crate) fn delete(id: u64) -> Changed {
    Changed { delete: vec![id], ..Changed::default() }
}

pub(crate) fn creating(ids: impl IntoIterator<Item = u64>) -> Changed {
    Changed { creates: ids.into_iter().collect(), ..Changed::default() }
}

/// More than any test here uses.
pub(crate) const AMPLE: Budget = Budget {
    rows_read_max: 100_000,
    rows_written_max: 100_000,
    scan_steps_max: 100_000,
    bytes_max: 100_000_000,
    events_max: 100_000,
    key_bytes_max: 1000,
};

pub(crate) fn context(budget: Budget) -> Context {
    Context { tenant: TenantId(3), now: Time(1000), seed: 42, budget }
}

/// Runs a feature; whatever it wrote stays in the space, and what it recorded is given if it was carried out.
pub(crate) fn run(space: &mut Space, context: &Context, feature: impl Fn(&mut Tx<'_>) -> Outcome<Vec<u8>> + Send + Sync + 'static) -> Ran {
    let mut recorded = Recorded::default();
    let outcome =
        execute::execute(&Running { feature, query: |_: &Reader<'_>| Ok(Vec::new()) }, MethodId(0), &[], space, context, &mut recorded);
    Ran { outcome, recorded }
}

pub(crate) struct Ran {
    pub(crate) outcome: Result<Vec<u8>, Failure>,
    pub(crate) recorded: Recorded,
}

/// Runs a feature that must succeed.
pub(crate) fn done(space: &mut Space, feature: impl Fn(&mut Tx<'_>) + Send + Sync + 'static) -> Recorded {
    let ran = run(space, &context(AMPLE), move |tx| {
        feature(tx);
        Ok(Vec::new())
    });
    assert_eq!(ran.outcome, Ok(Vec::new()));
    ran.recorded
}

/// Runs a query.
pub(crate) fn ask(
    space: &Space,
    context: &Context,
    query: impl Fn(&Reader<'_>) -> Outcome<Vec<u8>> + Send + Sync + 'static,
) -> Result<Vec<u8>, Failure> {
    let feature = |_: &mut Tx<'_>| Ok(Vec::new());
    execute::query(&Running { feature, query }, MethodId(0), &[], space, context)
}

/// Applies what was recorded to another space.
pub(crate) fn replay(recorded: &Recorded, space: &mut Space) -> Result<(), Failure> {
    let service = Running { feature: |_: &mut Tx<'_>| Ok(Vec::new()), query: |_: &Reader<'_>| Ok(Vec::new()) };
    execute::apply(&service, recorded.iter(), space, TenantId(3), Time(1000))
}

/// A service whose feature and query are closures.
pub(crate) struct Running<F, Q> {
    pub(crate) feature: F,
    pub(crate) query: Q,
}

impl<F, Q> Service for Running<F, Q>
where
    F: Fn(&mut Tx<'_>) -> Outcome<Vec<u8>> + Send + Sync + 'static,
    Q: Fn(&Reader<'_>) -> Outcome<Vec<u8>> + Send + Sync + 'static,
{
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }
    fn execute(&self, _: MethodId, tx: &mut Tx<'_>, _: &[u8]) -> Outcome<Vec<u8>> {
        (self.feature)(tx)
    }
    fn query(&self, _: MethodId, reader: &Reader<'_>, _: &[u8]) -> Outcome<Vec<u8>> {
        (self.query)(reader)
    }
    fn apply(&self, event: EventId, bytes: &[u8], rows: &mut Rows<'_>) -> Result<(), String> {
        if event != Changed::ID {
            return Err(format!("unknown event {}", event.0));
        }
        rows.apply(Changed::decode(bytes).map_err(|error| error.to_string())?);
        Ok(())
    }
    fn request_from_json(&self, _: MethodId, _: &[u8], _: &[(&str, &str)]) -> Result<Vec<u8>, BadRequest> {
        unreachable!("these tests use no JSON")
    }
    fn request_from_binary(&self, _: MethodId, body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        Ok(body.to_vec())
    }
    fn loggable_request<'r>(&self, _: MethodId, request: &'r [u8]) -> Cow<'r, [u8]> {
        Cow::Borrowed(request)
    }
    fn loggable_response<'r>(&self, _: MethodId, response: &'r [u8]) -> Cow<'r, [u8]> {
        Cow::Borrowed(response)
    }
    fn response_to_json(&self, _: MethodId, _: &[u8]) -> Result<Vec<u8>, String> {
        unreachable!("these tests use no JSON")
    }
    fn specs(&self) -> Vec<onebox_service::Spec> {
        Vec::new()
    }
    fn refusal_to_json(&self, _: &str, _: &[u8]) -> Option<Vec<u8>> {
        unreachable!("these tests use no JSON")
    }
}

static SCHEMA: Schema = Schema {
    name: "stage",
    service: "stage.v1.Stage",
    methods: &[],
    events: &[EventInfo { id: EventId(5), name: "Changed" }],
    refusals: &[],
    tables: &[],
    descriptors: &[],
};
