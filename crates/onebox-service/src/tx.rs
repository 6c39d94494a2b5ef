//! What a feature, a query and an `apply` are given: [`Tx`], [`Reader`] and [`Rows`] over one tenant's keyspace.
//!
//! Reads give plain options. A fault or an exhausted budget ends the request at once by unwinding to
//! [`execute`](crate::execute), so that no decision is ever taken on a row that could not be read.

use std::cell::RefCell;
use std::panic::resume_unwind;

use crate::budget::{Meter, Resource};
use crate::execute::{Context, Recorded};
use crate::keyspace::{self, Bytes, EachRow, PLATFORM_TABLE};
use crate::table::{self, Key, Row};
use crate::{Apply, Fault, Keyspace, KeyspaceMut, Refusal, TenantId, Time, version};

/// Index number of the row, in the platform's table of every tenant, that holds the id counter.
const COUNTER_INDEX: u32 = 0;

/// Read access to one tenant's rows. Generated table accessors stand on it.
pub trait Read {
    /// The tenant whose rows these are.
    fn tenant(&self) -> TenantId;
    /// The time of the entry or of the state that is read.
    fn now(&self) -> Time;
    /// The version in which events are applied here and now: for code that does another thing from some version on.
    fn version(&self) -> u32;
    /// The value at a key of `index` of `table`; `fields` appends what follows the key's head.
    fn get(&self, table: u32, index: u32, fields: &dyn Fn(&mut Vec<u8>)) -> Option<Bytes>;
    /// Calls `each` with the rows of `from <= key < to`, ascending.
    fn scan(&self, from: &[u8], to: &[u8], each: &mut EachRow<'_>);
}

/// Why a request was ended from inside; carried by the unwinding to [`execute`](crate::execute).
pub(crate) enum Abort {
    Refused(Refusal),
    Fault(Fault),
}

/// The parts that every kind of access shares.
pub(crate) struct Work {
    tenant: TenantId,
    now: Time,
    meter: Meter,
    scratch: RefCell<Vec<u8>>,
}

impl Work {
    pub(crate) fn new(context: &Context) -> Work {
        let meter = Meter::new(context.budget);
        Work { tenant: context.tenant, now: context.now, meter, scratch: RefCell::new(Vec::with_capacity(64)) }
    }

    pub(crate) fn take(&self, resource: Resource, amount: usize) {
        if let Err(refusal) = self.meter.take(resource, amount) {
            resume_unwind(Box::new(Abort::Refused(refusal)));
        }
    }

    fn check_key(&self, key: &[u8]) {
        if let Err(refusal) = self.meter.key(key.len()) {
            resume_unwind(Box::new(Abort::Refused(refusal)));
        }
    }

    fn with_key<T>(&self, table: u32, index: u32, fields: &dyn Fn(&mut Vec<u8>), then: impl FnOnce(&[u8]) -> T) -> T {
        let mut scratch = self.scratch.take();
        scratch.clear();
        keyspace::pack_head(self.tenant, table, index, &mut scratch);
        fields(&mut scratch);
        let result = then(&scratch);
        self.scratch.replace(scratch);
        result
    }

    fn get(&self, space: &dyn Keyspace, table: u32, index: u32, fields: &dyn Fn(&mut Vec<u8>)) -> Option<Bytes> {
        self.take(Resource::RowsRead, 1);
        let value = self.with_key(table, index, fields, |key| sound(space.get(key)));
        self.take(Resource::Bytes, value.as_ref().map_or(0, |value| value.len()));
        value
    }

    fn scan(&self, space: &dyn Keyspace, from: &[u8], to: &[u8], each: &mut EachRow<'_>) {
        sound(space.scan(from, to, &mut |key, value| {
            self.take(Resource::ScanSteps, 1);
            self.take(Resource::Bytes, value.len());
            each(key, value)
        }));
    }
}

fn sound<T>(result: Result<T, Fault>) -> T {
    result.unwrap_or_else(|fault| resume_unwind(Box::new(Abort::Fault(fault))))
}

/// What a query is given: tables to read, at one consistent instant.
pub struct Reader<'a> {
    space: &'a dyn Keyspace,
    work: Work,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(space: &'a dyn Keyspace, context: &Context) -> Reader<'a> {
        Reader { space, work: Work::new(context) }
    }

    pub(crate) fn work(&self) -> &Work {
        &self.work
    }
}

/// What a feature is given: tables to read, events to record, the entry's time, ids and chance.
pub struct Tx<'a> {
    space: &'a mut dyn KeyspaceMut,
    work: Work,
    ids: Ids,
    seed: u64,
    random_drawn: u64,
    recorded: &'a mut Recorded,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(space: &'a mut dyn KeyspaceMut, context: &Context, recorded: &'a mut Recorded) -> Tx<'a> {
        Tx { space, work: Work::new(context), ids: Ids::default(), seed: context.seed, random_drawn: 0, recorded }
    }

    /// Records an event and applies it at once: later reads in this request see its rows.
    pub fn record<E: Apply>(&mut self, event: E) {
        self.work.take(Resource::Events, 1);
        let bytes = self.recorded.push(E::ID, &event);
        self.work.take(Resource::Bytes, bytes);
        Rows { space: &mut *self.space, work: &self.work, ids: &mut self.ids }.apply(event);
    }

    /// The next id of this tenant. It must be recorded in a field marked `new_id` before the request ends.
    pub fn new_id(&mut self) -> u64 {
        let space: &dyn Keyspace = &*self.space;
        let stored = *self.ids.stored.get_or_insert_with(|| stored_counter(&self.work, space));
        let drawn = self.ids.drawn.last().copied().unwrap_or(0);
        let id = stored.max(self.ids.created_max).max(drawn).checked_add(1).expect("the tenant's id counter is at its end");
        self.ids.drawn.push(id);
        id
    }

    /// A number drawn from the request's logged seed: the same on every replica and in every replay.
    pub fn random(&mut self) -> u64 {
        self.random_drawn += 1;
        xxhash_rust::xxh3::xxh3_64_with_seed(&self.random_drawn.to_le_bytes(), self.seed)
    }

    /// Ends the request's work on ids: writes the counter if it moved.
    ///
    /// Gives an id that was drawn and never recorded: an author's bug.
    pub(crate) fn finish(&mut self) -> Option<u64> {
        Rows { space: &mut *self.space, work: &self.work, ids: &mut self.ids }.finish();
        self.ids.drawn.first().copied()
    }

    pub(crate) fn work(&self) -> &Work {
        &self.work
    }
}

/// Write access to one tenant's rows. It exists only while an event is applied.
pub struct Rows<'a> {
    space: &'a mut dyn KeyspaceMut,
    work: &'a Work,
    ids: &'a mut Ids,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(space: &'a mut dyn KeyspaceMut, work: &'a Work, ids: &'a mut Ids) -> Rows<'a> {
        Rows { space, work, ids }
    }

    /// Writes a row, new or in place of the one with the same key, and its index entries.
    ///
    /// # Panics
    /// If a unique index holds another row with the same fields: the feature should have refused.
    pub fn put<R: Row>(&mut self, row: &R) {
        table::put(self, row);
    }

    /// Removes the row with this key and its index entries, if it is there.
    pub fn delete<R: Row>(&mut self, key: &impl Key) {
        table::delete::<R>(self, key);
    }

    /// Applies one event: moves the id counter past the ids it creates, then writes its rows.
    pub fn apply<E: Apply>(&mut self, event: E) {
        event.new_ids(&mut |id| self.ids.created(id));
        event.apply(self);
    }

    /// Writes the id counter if an event moved it.
    pub(crate) fn finish(&mut self) {
        if self.ids.created_max == 0 {
            return;
        }
        let stored = self.ids.stored.unwrap_or_else(|| stored_counter(self.work, &*self.space));
        if self.ids.created_max > stored {
            self.put_raw(PLATFORM_TABLE, COUNTER_INDEX, &[], &self.ids.created_max.to_be_bytes());
        }
    }

    pub(crate) fn put_message<R: Row>(&mut self, table: u32, primary: &[u8], row: &R) {
        let mut value = Vec::with_capacity(row.encoded_len());
        let _ = row.encode(&mut value);
        self.put_raw(table, 0, primary, &value);
    }

    pub(crate) fn put_raw(&mut self, table: u32, index: u32, fields: &[u8], value: &[u8]) {
        self.work.take(Resource::RowsWritten, 1);
        self.work.take(Resource::Bytes, value.len());
        let (space, work) = (&mut *self.space, self.work);
        work.with_key(table, index, &|out| out.extend_from_slice(fields), |key| {
            work.check_key(key);
            sound(space.put(key, value));
        });
    }

    pub(crate) fn delete_raw(&mut self, table: u32, index: u32, fields: &[u8]) {
        self.work.take(Resource::RowsWritten, 1);
        let space = &mut *self.space;
        self.work.with_key(table, index, &|out| out.extend_from_slice(fields), |key| sound(space.delete(key)));
    }
}

macro_rules! read_through {
    ($type:ident, $self:ident => $space:expr) => {
        impl Read for $type<'_> {
            fn tenant(&self) -> TenantId {
                self.work.tenant
            }
            fn now(&self) -> Time {
                self.work.now
            }
            fn version(&$self) -> u32 {
                sound(version::in_force($space))
            }
            fn get(&$self, table: u32, index: u32, fields: &dyn Fn(&mut Vec<u8>)) -> Option<Bytes> {
                $self.work.get($space, table, index, fields)
            }
            fn scan(&$self, from: &[u8], to: &[u8], each: &mut EachRow<'_>) {
                $self.work.scan($space, from, to, each);
            }
        }
    };
}
read_through!(Reader, self => self.space);
read_through!(Tx, self => &*self.space);
read_through!(Rows, self => &*self.space);

/// The ids of one request: what the counter holds, what events created, what was drawn.
#[derive(Default)]
pub(crate) struct Ids {
    stored: Option<u64>,
    created_max: u64,
    drawn: Vec<u64>,
}

impl Ids {
    fn created(&mut self, id: u64) {
        self.created_max = self.created_max.max(id);
        self.drawn.retain(|&drawn| drawn != id);
    }
}

fn stored_counter(work: &Work, space: &dyn Keyspace) -> u64 {
    let value = work.get(space, PLATFORM_TABLE, COUNTER_INDEX, &|_| {});
    value.map_or(0, |value| u64::from_be_bytes(value[..].try_into().expect("the id counter is 8 bytes")))
}
