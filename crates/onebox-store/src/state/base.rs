//! The base: all rows up to one position, in a redb file, always a valid snapshot. The only file that names redb.
//!
//! What it keeps true: rows and the record about them change in one durable transaction; a row that is read is the row
//! that was written, or a fault; a fault of the disk below redb comes out as it went in; bytes that redb cannot make
//! sense of, whether it says so or panics, come out as damage naming the key.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use onebox_service::{Bytes, Fault, FaultKind};
use redb::{
    AccessGuard, Builder, Database, Durability, Range, ReadOnlyTable, ReadableDatabase, ReadableTableMetadata, StorageBackend,
    TableDefinition,
};

use super::NodeId;
use super::encoding::{BASE_FILE, Meta, damage, describe, foreign, stored_row, value_of};
use super::twin_header::TwinHeader;
use crate::disk::refuse_if_there;
use crate::{Disk, DiskFile, OpenMode};

/// The base is made under this name and renamed once it is whole.
const NEW_FILE: &str = "base.new";

const ROWS: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("rows");
const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");
const META_KEY: &str = "base";

/// Memory for pages while a snapshot is written.
const SNAPSHOT_CACHE_BYTES: usize = 4 << 20;

/// The folder of the base's file: the disk's own.
pub(crate) const FOLDER: &str = "";

/// The open file, for as long as anything reads it.
pub(crate) struct Base {
    /// There until it is dropped.
    database: Option<Database>,
    /// Something in the file was found to be damaged.
    is_damaged: AtomicBool,
    file: Arc<dyn DiskFile>,
    /// The first fault of the disk. redb works no more after one, and says then only that there was one.
    first_fault: Arc<OnceLock<Fault>>,
}

/// One read transaction of the base, and the record as of it. Shared by the state, its views and its jobs.
pub(crate) struct BaseReader {
    // Dropped before the database that it reads.
    rows: ReadOnlyTable<&'static [u8], &'static [u8]>,
    meta: Meta,
    base: Arc<Base>,
}

impl BaseReader {
    /// Opens the base, making an empty one if there is none.
    pub(crate) fn open(disk: &dyn Disk, cache_bytes: usize, node: NodeId) -> Result<BaseReader, Fault> {
        if !disk.list(FOLDER)?.iter().any(|name| name == BASE_FILE) {
            return BaseReader::create(disk, cache_bytes, node);
        }
        let base = Base::open(disk.open(BASE_FILE, OpenMode::Write)?, cache_bytes)?;
        let reader = BaseReader::begin(Arc::new(base))?;
        if reader.meta.node != node {
            return Err(foreign(reader.meta.node, node));
        }
        Ok(reader)
    }

    /// Opens a base that is whole under another name, to look at it.
    pub(crate) fn open_snapshot(disk: &dyn Disk, name: &str) -> Result<BaseReader, Fault> {
        let base = Base::open(disk.open(name, OpenMode::Write)?, SNAPSHOT_CACHE_BYTES)?;
        BaseReader::begin(Arc::new(base))
    }

    /// A crash on the way leaves at most a file of the other name, which the next start writes over.
    fn create(disk: &dyn Disk, cache_bytes: usize, node: NodeId) -> Result<BaseReader, Fault> {
        refuse_if_there(disk, FOLDER, BASE_FILE)?;
        let base = Base::open(disk.open(NEW_FILE, OpenMode::Create)?, cache_bytes)?;
        base.write([], &Meta::of_nothing(node))?;
        disk.rename(NEW_FILE, BASE_FILE)?;
        disk.sync_folder(FOLDER)?;
        BaseReader::begin(Arc::new(base))
    }

    fn begin(base: Arc<Base>) -> Result<BaseReader, Fault> {
        let (rows, meta) = base.guarded("open", &|| "the tables of rows and of the applied position".to_owned(), || {
            let transaction = base.database().begin_read()?;
            let meta = transaction.open_table(META)?.get(META_KEY)?.map(|record| record.value().to_vec());
            Ok((transaction.open_table(ROWS)?, meta))
        })?;
        let Some(meta) = meta else { return Err(damage("open", "there is no record of the applied position".to_owned())) };
        Ok(BaseReader { rows, meta: Meta::decode(&meta)?, base })
    }

    /// The record as of this transaction.
    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The length of the file, which may be more than what it takes on the disk.
    pub(crate) fn file_bytes(&self) -> Result<u64, Fault> {
        self.base.file.len()
    }

    /// Whether it was written with no rows, as the base of a new service and of a spec is: nothing needs to be looked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.meta.rows == 0
    }

    /// The row at `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        if self.is_empty() {
            return Ok(None);
        }
        let found = self.base.guarded("read", &|| format!("the row at {}", describe(key)), || {
            let Some(row) = self.rows.get(key)? else { return Ok(None) };
            Ok(Some(value_of(key, row.value()).map(Bytes::from)))
        })?;
        self.base.noted(found.transpose())
    }

    /// A scan of `from <= key < to`, or to the end.
    pub(crate) fn scan(&self, from: &[u8], to: Option<&[u8]>) -> Result<BaseScan, Fault> {
        let (last, end) = (from.to_vec(), to.map(<[u8]>::to_vec));
        let rows = self.base.guarded("scan", &|| between(&last, end.as_deref()), || match to {
            Some(to) => Ok(self.rows.range::<&[u8]>(from..to)?),
            None => Ok(self.rows.range::<&[u8]>(from..)?),
        })?;
        Ok(BaseScan { rows, base: self.base.clone(), last, end, delivered: false })
    }

    /// Writes rows, ascending by key, and the record, in one durable transaction; gives a reader of the outcome.
    pub(crate) fn write<'r>(&self, rows: impl IntoIterator<Item = (&'r [u8], Option<&'r [u8]>)>, meta: &Meta) -> Result<BaseReader, Fault> {
        self.base.write(rows, meta)?;
        BaseReader::begin(self.base.clone())
    }
}

impl Base {
    fn open(file: Arc<dyn DiskFile>, cache_bytes: usize) -> Result<Base, Fault> {
        let first_fault = Arc::new(OnceLock::new());
        let backend = Backend { file: TwinHeader::open(file.clone())?, first_fault: first_fault.clone() };
        let opened = catch_unwind(AssertUnwindSafe(|| Builder::new().set_cache_size(cache_bytes).create_with_backend(backend)));
        let what = || "the file as a whole".to_owned();
        match opened {
            Ok(Ok(database)) => Ok(Base { database: Some(database), is_damaged: AtomicBool::new(false), file, first_fault }),
            Ok(Err(error)) => Err(fault_of("open", &what, error.into(), first_fault.get())),
            Err(_panic) => Err(panicked("open", &what)),
        }
    }

    /// Makes an empty file under another name, for a snapshot.
    pub(crate) fn create(disk: &dyn Disk, name: &str) -> Result<Base, Fault> {
        Base::open(disk.open(name, OpenMode::Create)?, SNAPSHOT_CACHE_BYTES)
    }

    /// Writes some rows, ascending by key, without making them durable.
    pub(crate) fn write_part<'r>(&self, rows: impl IntoIterator<Item = (&'r [u8], &'r [u8])>) -> Result<(), Fault> {
        self.guarded("install", &|| "the rows of a snapshot".to_owned(), || {
            let mut transaction = self.database().begin_write()?;
            transaction.set_durability(Durability::None)?;
            let mut table = transaction.open_table(ROWS)?;
            let mut scratch = Vec::new();
            for (key, value) in rows {
                table.insert(key, stored_row(key, value, &mut scratch))?;
            }
            drop(table);
            transaction.commit()?;
            Ok(())
        })
    }

    /// Writes rows, ascending by key, and the record, in one durable transaction.
    pub(crate) fn write<'r>(&self, rows: impl IntoIterator<Item = (&'r [u8], Option<&'r [u8]>)>, meta: &Meta) -> Result<(), Fault> {
        let mut last = Vec::new();
        let place = std::cell::RefCell::new(&mut last);
        let what = || format!("the rows after {}", describe(&place.borrow()));
        let counted = self.guarded("flush", &what, || {
            let mut transaction = self.database().begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            // Without it a start after a crash would read the whole file.
            transaction.set_quick_repair(true);
            let mut table = transaction.open_table(ROWS)?;
            let mut scratch = Vec::new();
            for (key, value) in rows {
                match value {
                    Some(value) => drop(table.insert(key, stored_row(key, value, &mut scratch))?),
                    None => drop(table.remove(key)?),
                }
                key.clone_into(&mut place.borrow_mut());
            }
            let counted = table.len()?;
            drop(table);
            if counted != meta.rows {
                transaction.abort()?;
                return Ok(counted);
            }
            transaction.open_table(META)?.insert(META_KEY, &meta.encode()[..])?;
            transaction.commit()?;
            Ok(counted)
        })?;
        if counted != meta.rows {
            let detail = format!(
                "{counted} rows would be there at entry {}, and {} should be: rows were lost or invented",
                meta.applied.index, meta.rows
            );
            return Err(damage("flush", detail));
        }
        Ok(())
    }

    /// Runs `work` on redb. A panic in it is what redb does with pages that make no sense; it leaves nothing of ours
    /// half done, for `work` only reads, or writes in a transaction that is then dropped.
    fn guarded<T>(
        &self,
        operation: &'static str,
        what: &dyn Fn() -> String,
        work: impl FnOnce() -> Result<T, redb::Error>,
    ) -> Result<T, Fault> {
        self.noted(match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(fault_of(operation, what, error, self.first_fault.get())),
            Err(_panic) => Err(panicked(operation, what)),
        })
    }

    fn noted<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        if result.as_ref().is_err_and(|fault| fault.kind == FaultKind::Damage) {
            self.is_damaged.store(true, Ordering::Relaxed);
        }
        result
    }

    fn database(&self) -> &Database {
        self.database.as_ref().expect("it is there until the base is dropped")
    }
}

impl Drop for Base {
    /// redb closes a file by writing to it once more. On pages that make no sense that panics, and again while it unwinds, which ends
    /// the process. So a file that is known to be damaged is left as a kill would leave it; the memory is gone with the replica, which
    /// has stopped.
    #[expect(clippy::disallowed_methods, reason = "nobody may own a file that cannot be closed")]
    fn drop(&mut self) {
        if self.is_damaged.load(Ordering::Relaxed) {
            std::mem::forget(self.database.take());
        }
    }
}

/// The fault that an error of redb stands for. Not every variant is ours to know, for redb adds to them.
fn fault_of(operation: &'static str, what: &dyn Fn() -> String, error: redb::Error, first_fault: Option<&Fault>) -> Fault {
    match (error, first_fault) {
        (redb::Error::Io(_) | redb::Error::PreviousIo, Some(fault)) => fault.clone(),
        (redb::Error::UpgradeRequired(version), _) => {
            let detail = format!("it is a redb file of format {version}, which this build cannot read");
            Fault::new(FaultKind::Version, operation, BASE_FILE, detail)
        }
        (error, _) => damage(operation, format!("{}: {error}", what())),
    }
}

fn panicked(operation: &'static str, what: &dyn Fn() -> String) -> Fault {
    damage(operation, format!("{}: the pages on the way there make no sense", what()))
}

fn between(from: &[u8], to: Option<&[u8]>) -> String {
    match to {
        Some(to) => format!("the rows between {} and {}", describe(from), describe(to)),
        None => format!("the rows from {} to the end", describe(from)),
    }
}

/// A scan in progress. It keeps its read transaction alive.
pub(crate) struct BaseScan {
    // Dropped before the database that it reads.
    rows: Range<'static, &'static [u8], &'static [u8]>,
    base: Arc<Base>,
    /// The last key delivered, or where the scan starts.
    last: Vec<u8>,
    end: Option<Vec<u8>>,
    delivered: bool,
}

impl BaseScan {
    /// The next row, checked: its bytes, and its place in the order.
    pub(crate) fn next(&mut self) -> Result<Option<BaseRow>, Fault> {
        let BaseScan { rows, base, last, end, delivered } = self;
        let next = base.guarded("scan", &|| between(last, end.as_deref()), || {
            let Some((key, stored)) = rows.next().transpose()? else { return Ok(None) };
            let checked = value_of(key.value(), stored.value()).map(<[u8]>::len);
            Ok(Some((key, stored, checked)))
        })?;
        let Some((key, stored, value_len)) = next else { return Ok(None) };
        let row = BaseRow { value_len: base.noted(value_len)?, key, stored };
        let above = if *delivered { row.key() > &last[..] } else { row.key() >= &last[..] };
        if !above || end.as_deref().is_some_and(|end| row.key() >= end) {
            let detail = format!("{}: {} is out of order", between(last, end.as_deref()), describe(row.key()));
            return base.noted(Err(damage("scan", detail)));
        }
        *delivered = true;
        row.key().clone_into(last);
        Ok(Some(row))
    }
}

/// One row of a scan.
pub(crate) struct BaseRow {
    key: AccessGuard<'static, &'static [u8]>,
    stored: AccessGuard<'static, &'static [u8]>,
    value_len: usize,
}

impl BaseRow {
    pub(crate) fn key(&self) -> &[u8] {
        self.key.value()
    }

    pub(crate) fn value(&self) -> &[u8] {
        &self.stored.value()[..self.value_len]
    }
}

/// The disk, as redb wants it.
#[derive(Debug)]
struct Backend {
    file: TwinHeader,
    first_fault: Arc<OnceLock<Fault>>,
}

impl Backend {
    fn noted<T>(&self, result: Result<T, Fault>) -> io::Result<T> {
        result.map_err(|mut fault| {
            if fault.kind == FaultKind::DiskFull {
                // Final, unlike one that is met before anything was touched.
                fault.kind = FaultKind::Io;
                fault.detail = format!("the disk became full in the middle of it: make room, then restart ({})", fault.detail);
            }
            let error = io::Error::other(fault.clone());
            // Only the first one tells what happened; those after it follow from it.
            let _ = self.first_fault.set(fault);
            error
        })
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.noted(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.file.read_at(offset, out);
        if read.is_err() && self.noted(self.file.len())? < offset.saturating_add(out.len() as u64) {
            // A damaged page points past the end. As an error of the disk it would end all reading; zeros are no page,
            // so that redb finds this one damaged and the rest stays readable.
            out.fill(0);
            return Ok(());
        }
        self.noted(read)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.noted(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.noted(self.file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.noted(self.file.write_at(offset, data))
    }
}

impl fmt::Debug for BaseReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BaseReader").field("meta", &self.meta).finish_non_exhaustive()
    }
}
