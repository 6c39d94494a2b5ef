//! The log's writer beside the jobs: while a job is at the disk, a frame may be written between two of its operations.
//!
//! In a node these are two threads. Here the disk that the job uses lets the frame through first, when chance says so;
//! a power loss then finds a flush and a frame under way at once.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use onebox_replica::{Input, PersistBatch};
use onebox_service::Fault;
use onebox_store::log::LogWriter;
use onebox_store::memory::MemoryDisk;
use onebox_store::{Disk, DiskFile, OpenMode};

use crate::chance::Chance;
use crate::machine::Work;

/// A frame goes between two operations of a job once in so many.
const ONCE_IN: u64 = 5;

/// The writer of a log, and what waits for it.
#[derive(Debug)]
pub(crate) struct LogThread {
    writer: LogWriter,
    pub(crate) frame: Option<PersistBatch>,
    /// What has ended: what kind of work it was, and what to tell the replica.
    pub(crate) ended: Vec<(Work, Input)>,
    frames: u64,
}

impl LogThread {
    pub(crate) fn new(writer: LogWriter) -> LogThread {
        LogThread { writer, frame: None, ended: Vec::new(), frames: 0 }
    }

    /// Writes the frame that waits, if one does.
    pub(crate) fn append(&mut self, disk: &MemoryDisk) {
        let Some(PersistBatch { number, batch, spare_made }) = self.frame.take() else { return };
        if spare_made {
            self.writer.note_spare();
        }
        let segments = segments_in_log(disk);
        let input = match self.writer.append(&batch) {
            Ok(appended) => Input::Persisted { number, appended, needs_spare: self.writer.needs_spare() },
            Err(fault) => Input::PersistFailed(fault),
        };
        let work = match (self.frames, segments_in_log(disk) > segments) {
            (0, _) => Work::Recover,
            (_, true) => Work::NewSegment,
            (_, false) => Work::Append,
        };
        self.frames += 1;
        self.ended.push((work, input));
    }
}

fn segments_in_log(disk: &MemoryDisk) -> usize {
    disk.files().iter().filter(|file| file.starts_with("log/") && file.ends_with(".seg")).count()
}

/// A memory disk between whose operations frames are written. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Interleaved {
    disk: MemoryDisk,
    log: Arc<Mutex<Option<LogThread>>>,
    /// Draws while a job runs.
    chance: Arc<Mutex<Option<Chance>>>,
}

impl Interleaved {
    pub(crate) fn new(disk: MemoryDisk) -> Interleaved {
        Interleaved { disk, log: Arc::default(), chance: Arc::default() }
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Option<LogThread>> {
        self.log.lock().expect("nothing panics while it holds the log")
    }

    /// Runs a job, and frames in the middle of it.
    pub(crate) fn while_running<T>(&self, seed: u64, job: impl FnOnce(&dyn Disk) -> T) -> T {
        *self.chance.lock().expect("nothing panics while it draws") = Some(Chance::new(seed));
        let done = job(self);
        *self.chance.lock().expect("nothing panics while it draws") = None;
        done
    }

    fn let_through(&self) {
        let mut log = match self.log.try_lock() {
            Ok(log) => log,
            // This operation is the frame's own.
            Err(TryLockError::WouldBlock) => return,
            Err(TryLockError::Poisoned(_)) => panic!("nothing panics while it holds the log"),
        };
        let drawn = self.chance.lock().expect("nothing panics while it draws").as_mut().is_some_and(|chance| chance.once_in(ONCE_IN));
        if let Some(log) = log.as_mut().filter(|_| drawn) {
            log.append(&self.disk);
        }
    }
}

impl Disk for Interleaved {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn DiskFile>, Fault> {
        self.let_through();
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(InterleavedFile { file, between: self.clone() }))
    }

    fn make_folder(&self, folder: &str) -> Result<(), Fault> {
        self.disk.make_folder(folder)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, Fault> {
        self.disk.list(folder)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        self.let_through();
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> Result<(), Fault> {
        self.let_through();
        self.disk.remove(path)
    }

    fn sync_folder(&self, folder: &str) -> Result<(), Fault> {
        self.let_through();
        self.disk.sync_folder(folder)
    }

    fn free_bytes(&self) -> Result<u64, Fault> {
        self.disk.free_bytes()
    }
}

#[derive(Debug)]
struct InterleavedFile {
    file: Arc<dyn DiskFile>,
    between: Interleaved,
}

impl DiskFile for InterleavedFile {
    fn len(&self) -> Result<u64, Fault> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.file.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.between.let_through();
        self.file.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> Result<(), Fault> {
        self.between.let_through();
        self.file.set_len(len)
    }

    fn sync(&self) -> Result<(), Fault> {
        self.between.let_through();
        self.file.sync()
    }
}
