//! Typed tables over a keyspace: rows are messages, keys are tuples, indexes are kept by the one function that writes.
//!
//! Layout of keys, all packed flat: `(tenant, table, 0, key...)` holds the row, `(tenant, table, n, fields...)` the
//! entry of a unique index, `(tenant, table, n, fields..., key...)` the entry of any other. An index entry's value is
//! the row's packed primary key.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use foundationdb_tuple::TuplePack;
use prost::Message;

use crate::keyspace::{self, Bytes};
use crate::{Read, Rows};

/// Rows fetched by the first page of a scan; each further page is four times the one before.
const SCAN_PAGE_FIRST: usize = 16;
/// Rows fetched by one page of a scan at most.
const SCAN_PAGE_MAX: usize = 1024;

/// A value or tuple that can stand in a key.
pub trait Key: TuplePack {}
impl<T: TuplePack> Key for T {}

/// A message with `(onebox.table)`. Implemented by generated code.
pub trait Row: Message + Default {
    /// The table's number.
    const TABLE: u32;
    /// The table's name, for messages.
    const NAME: &'static str;
    /// Whether the table has indexes; without them a write need not read the old row.
    const INDEXED: bool;
    /// Appends the fields of the primary key.
    fn pack_key(&self, out: &mut Vec<u8>);
    /// Calls `each` with every index entry of this row: index number (from 1), whether it is unique, packed fields.
    fn pack_indexes(&self, each: &mut dyn FnMut(u32, bool, Vec<u8>));
}

/// Read access to one table. Generated accessors wrap it with names.
pub struct Table<'t, R: Row> {
    read: &'t dyn Read,
    row: PhantomData<R>,
}

impl<'t, R: Row> Table<'t, R> {
    /// The table of row `R`, seen through `read`.
    pub fn new(read: &'t dyn Read) -> Table<'t, R> {
        Table { read, row: PhantomData }
    }

    /// The row with this primary key.
    pub fn get(&self, key: &impl Key) -> Option<R> {
        let value = self.read.get(R::TABLE, 0, &|out| keyspace::pack_onto(key, out))?;
        Some(decode(&value))
    }

    /// The row that the unique index `index` holds under `fields`.
    pub fn unique(&self, index: u32, fields: &impl Key) -> Option<R> {
        let primary = self.read.get(R::TABLE, index, &|out| keyspace::pack_onto(fields, out))?;
        Some(indexed(self.read, index, &primary))
    }

    /// The rows whose entry in `index` (0: whose primary key) starts with `prefix`, in the order of that index.
    pub fn starting_with(&self, index: u32, prefix: &impl Key) -> Scan<'t, R> {
        Scan::new(self.read, index, &|out| keyspace::pack_onto(prefix, out))
    }

    /// Every row, in the order of the primary key.
    pub fn all(&self) -> Scan<'t, R> {
        Scan::new(self.read, 0, &|_| {})
    }
}

/// The rows of a scan, fetched in pages as they are asked for.
pub struct Scan<'t, R: Row> {
    read: &'t dyn Read,
    index: u32,
    from: Vec<u8>,
    to: Vec<u8>,
    page: VecDeque<Bytes>,
    page_rows: usize,
    done: bool,
    row: PhantomData<R>,
}

impl<'t, R: Row> Scan<'t, R> {
    fn new(read: &'t dyn Read, index: u32, prefix: &dyn Fn(&mut Vec<u8>)) -> Scan<'t, R> {
        let mut from = Vec::with_capacity(32);
        keyspace::pack_head(read.tenant(), R::TABLE, index, &mut from);
        prefix(&mut from);
        let to = keyspace::end_of_prefix(from.clone());
        Scan { read, index, from, to, page: VecDeque::new(), page_rows: SCAN_PAGE_FIRST, done: false, row: PhantomData }
    }

    fn fetch(&mut self) {
        let wanted = self.page_rows;
        self.page_rows = (wanted * 4).min(SCAN_PAGE_MAX);
        let (page, mut last) = (&mut self.page, Vec::new());
        self.read.scan(&self.from, &self.to, &mut |key, value| {
            page.push_back(Bytes::from(value));
            if page.len() < wanted {
                return ControlFlow::Continue(());
            }
            last = key.to_vec();
            ControlFlow::Break(())
        });
        self.done = self.page.len() < wanted;
        last.push(0);
        self.from = last;
    }
}

impl<R: Row> Iterator for Scan<'_, R> {
    type Item = R;

    fn next(&mut self) -> Option<R> {
        if self.page.is_empty() && !self.done {
            self.fetch();
        }
        let value = self.page.pop_front()?;
        Some(if self.index == 0 { decode(&value) } else { indexed(self.read, self.index, &value) })
    }
}

/// Writes a row and brings its index entries in step.
pub(crate) fn put<R: Row>(rows: &mut Rows<'_>, row: &R) {
    let mut primary = Vec::with_capacity(24);
    row.pack_key(&mut primary);
    if R::INDEXED {
        let old = rows.get(R::TABLE, 0, &|out| out.extend_from_slice(&primary)).map(|value| decode::<R>(&value));
        let stale = old.as_ref().map(|old| entries(old, &primary)).unwrap_or_default();
        let fresh = entries(row, &primary);
        for entry in stale.iter().filter(|entry| !fresh.contains(entry)) {
            rows.delete_raw(R::TABLE, entry.index, &entry.fields);
        }
        for entry in fresh.iter().filter(|entry| !stale.contains(entry)) {
            let taken = entry.unique && rows.get(R::TABLE, entry.index, &|out| out.extend_from_slice(&entry.fields)).is_some();
            assert!(!taken, "unique index {} of table {} already holds this entry: a feature must refuse it", entry.index, R::NAME);
            rows.put_raw(R::TABLE, entry.index, &entry.fields, &primary);
        }
    }
    rows.put_message(R::TABLE, &primary, row);
}

/// Removes a row and its index entries, if it is there.
pub(crate) fn delete<R: Row>(rows: &mut Rows<'_>, key: &impl Key) {
    let mut primary = Vec::with_capacity(24);
    keyspace::pack_onto(key, &mut primary);
    if R::INDEXED {
        let Some(old) = rows.get(R::TABLE, 0, &|out| out.extend_from_slice(&primary)) else { return };
        for entry in entries(&decode::<R>(&old), &primary) {
            rows.delete_raw(R::TABLE, entry.index, &entry.fields);
        }
    }
    rows.delete_raw(R::TABLE, 0, &primary);
}

#[derive(PartialEq)]
struct Entry {
    index: u32,
    unique: bool,
    fields: Vec<u8>,
}

fn entries<R: Row>(row: &R, primary: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    row.pack_indexes(&mut |index, unique, mut fields| {
        if !unique {
            fields.extend_from_slice(primary);
        }
        entries.push(Entry { index, unique, fields });
    });
    entries
}

fn indexed<R: Row>(read: &dyn Read, index: u32, primary: &[u8]) -> R {
    let row = read.get(R::TABLE, 0, &|out| out.extend_from_slice(primary));
    let row = row.unwrap_or_else(|| panic!("index {index} of table {} points at a row that is not there", R::NAME));
    decode(&row)
}

fn decode<R: Row>(value: &[u8]) -> R {
    R::decode(value).unwrap_or_else(|error| panic!("a row of table {} does not decode: {error}", R::NAME))
}
