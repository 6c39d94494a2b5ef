//! A disk in memory that can lose power: for tests of everything that stores, and for simulated nodes.
//!
//! It keeps two images, what a running process sees and what is durable, and between them every unsynced change, sector
//! by sector. [`MemoryDisk::crash_image`] draws from a seed what a power loss leaves of those. Durable bytes of sectors
//! without an unsynced change never change. What a failed sync should have made durable stays in doubt: later syncs succeed
//! and do not include it, as on real systems, unless its sector is written again.
//!
//! It knows nothing of what is stored. The one mutex is here because handles are shared between threads in a real node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use onebox_service::{Fault, FaultKind};

use crate::disk::{Disk, DiskFile, OpenMode};

mod crash;
mod image;

pub use crash::CrashKind;
use image::{Image, SECTOR, Sector, pieces};

/// A disk in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryDisk {
    world: Arc<Mutex<World>>,
}

impl Default for MemoryDisk {
    fn default() -> MemoryDisk {
        MemoryDisk::new()
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk").field("files", &self.files()).finish()
    }
}

impl MemoryDisk {
    /// An empty disk without a limit.
    pub fn new() -> MemoryDisk {
        MemoryDisk { world: Arc::new(Mutex::new(World { capacity: u64::MAX, ..World::default() })) }
    }

    /// Sets how many bytes fit, counted as the sum of the files' lengths.
    pub fn set_capacity(&self, bytes: u64) {
        self.world().capacity = bytes;
    }

    /// Changes so far: creations, writes, cuts, renames, removals, syncs; what [`MemoryDisk::fail_after`] counts.
    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    /// Syncs of files and folders that succeeded so far.
    pub fn sync_count(&self) -> u64 {
        self.world().syncs
    }

    /// Bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        self.world().bytes_written
    }

    /// Lets `operations` more changes succeed. The next one meets the power loss: it takes effect without being synced
    /// and fails, as does everything after it.
    pub fn fail_after(&self, operations: u64) {
        let mut world = self.world();
        world.power_fails_at = Some(world.operations + operations);
    }

    /// Makes the next `operation` (`open`, `read`, `write`, `set_len`, `sync`, `rename`, `remove`, `sync_folder`) on a
    /// file or folder whose path contains `file_contains` fail, once. A failed sync leaves that file's unsynced writes
    /// in doubt: visible, and not durable.
    pub fn fail_next(&self, operation: &str, file_contains: &str) {
        self.world().fail_next.push((operation.to_owned(), file_contains.to_owned()));
    }

    /// Makes the next write to a file whose path contains `file_contains` land `sectors` sectors further on, where the file
    /// begins again at its end: it seems to succeed.
    pub fn misdirect_next(&self, file_contains: &str, sectors: u64) {
        self.world().misdirect_next = Some((file_contains.to_owned(), sectors));
    }

    /// Gives all of its memory back: nobody uses it any more, though somebody may hold it who was forgotten.
    pub fn erase(&self) {
        *self.world() = World::default();
    }

    /// The process was killed and the machine was not: every fault is over, nothing that was written is lost, and what
    /// was unsynced still is.
    pub fn restart_process(&self) {
        let mut world = self.world();
        world.power_fails_at = None;
        world.power_lost = false;
        world.fail_next.clear();
        world.misdirect_next = None;
    }

    /// The disk as it is found after a power loss now. The same seed and kind give the same image.
    #[must_use]
    pub fn crash_image(&self, seed: u64, kind: CrashKind) -> MemoryDisk {
        let image = self.world().crash(seed, kind);
        MemoryDisk { world: Arc::new(Mutex::new(image)) }
    }

    /// Flips one bit of the byte at `offset`, durably, as rot does.
    ///
    /// # Panics
    /// If there is no such file or byte.
    pub fn flip_bit(&self, path: &str, offset: u64) {
        let mut world = self.world();
        let number = world.names[path];
        let file = world.files.get_mut(&number).expect("a named file exists");
        assert!(offset < file.live.len, "no byte {offset} in {path}");
        let mask = 1 << (offset % 8);
        for image in [&mut file.live, &mut file.durable] {
            image.change(offset, |byte| byte ^ mask);
        }
    }

    /// The paths of all files, ascending.
    pub fn files(&self) -> Vec<String> {
        self.world().names.keys().cloned().collect()
    }

    /// A file's bytes as a running process sees them.
    pub fn read_file(&self, path: &str) -> Option<Vec<u8>> {
        let world = self.world();
        let file = &world.files[world.names.get(path)?];
        let mut bytes = vec![0; usize::try_from(file.live.len).expect("the file fits in memory")];
        file.live.read(0, &mut bytes);
        Some(bytes)
    }

    /// Puts a file there, durably, in place of any before it.
    pub fn write_file(&self, path: &str, bytes: &[u8]) {
        let mut world = self.world();
        world.folders.insert(folder_of(path).to_owned());
        let number = world.new_file(path);
        let file = world.files.get_mut(&number).expect("it was just made");
        file.live.write(0, bytes);
        file.durable = file.live.clone();
        world.used += bytes.len() as u64;
        if let Some(before) = world.names.insert(path.to_owned(), number) {
            world.used -= world.files[&before].live.len;
        }
        let before = world.durable_names.insert(path.to_owned(), number);
        world.maybe_nameless.extend(before);
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no thread panics while it holds the memory disk")
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn DiskFile>, Fault> {
        let mut world = self.world();
        world.meet("open", path)?;
        let found = world.names.get(path).copied();
        let number = match (mode, found) {
            (OpenMode::Read | OpenMode::ReadAgain | OpenMode::Write, Some(number)) => number,
            (OpenMode::Read | OpenMode::ReadAgain | OpenMode::Write, None) => {
                return Err(Fault::new(FaultKind::Io, "open", path, "no such file"));
            }
            (OpenMode::Create, Some(number)) => {
                world.changed("open", path, |world| world.set_len(number, 0))?;
                number
            }
            (OpenMode::Create, None) => world.changed("open", path, |world| world.create(path))?,
        };
        let token = Arc::clone(&world.files[&number].handles);
        Ok(Arc::new(MemoryFile { disk: self.clone(), number, writable: matches!(mode, OpenMode::Write | OpenMode::Create), _open: token }))
    }

    fn make_folder(&self, folder: &str) -> Result<(), Fault> {
        let mut world = self.world();
        world.meet("make_folder", folder)?;
        world.folders.insert(folder.to_owned());
        Ok(())
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, Fault> {
        let mut world = self.world();
        world.meet("list", folder)?;
        let within = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let below = world.names.range(within.clone()..).map(|(path, _)| path).take_while(|path| path.starts_with(&within));
        let inside = below.filter(|path| folder_of(path) == folder);
        Ok(inside.map(|path| path.rsplit('/').next().unwrap_or(path).to_owned()).collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        let mut world = self.world();
        world.meet("rename", from)?;
        world.changed("rename", from, |world| world.rename(from, to))
    }

    fn remove(&self, path: &str) -> Result<(), Fault> {
        let mut world = self.world();
        world.meet("remove", path)?;
        world.changed("remove", path, |world| {
            let Some(number) = world.names.remove(path) else {
                return Err(Fault::new(FaultKind::Io, "remove", path, "no such file"));
            };
            world.used -= world.files[&number].live.len;
            world.name_changes.push(NameChange { link: None, unlink: Some(path.to_owned()) });
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &str) -> Result<(), Fault> {
        let mut world = self.world();
        world.meet("sync_folder", folder)?;
        world.changed("sync_folder", folder, |_| Ok(()))?;
        world.sync_names(folder);
        world.syncs += 1;
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64, Fault> {
        let mut world = self.world();
        world.meet("free_bytes", "")?;
        Ok(world.capacity.saturating_sub(world.used))
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    number: u64,
    writable: bool,
    /// Keeps the contents of a removed file alive.
    _open: Arc<()>,
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFile").field("number", &self.number).finish_non_exhaustive()
    }
}

impl MemoryFile {
    fn path(&self, world: &World) -> Arc<str> {
        Arc::clone(&world.files[&self.number].path)
    }

    fn change<T>(&self, operation: &'static str, change: impl FnOnce(&mut World) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut world = self.disk.world();
        let path = self.path(&world);
        if !self.writable {
            return Err(Fault::new(FaultKind::Io, operation, &*path, "the file was opened for reading"));
        }
        world.meet(operation, &path)?;
        world.changed(operation, &path, change)
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> Result<u64, Fault> {
        let mut world = self.disk.world();
        let path = self.path(&world);
        world.meet("len", &path)?;
        Ok(world.files[&self.number].live.len)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Fault> {
        let mut world = self.disk.world();
        let path = self.path(&world);
        world.meet("read", &path)?;
        let image = &world.files[&self.number].live;
        let end = offset + into.len() as u64;
        if end > image.len {
            let detail = format!("bytes {offset} to {end}: the file ends at {}", image.len);
            return Err(Fault::new(FaultKind::Io, "read", &*path, detail));
        }
        image.read(offset, into);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.change("write", |world| world.write(self.number, offset, bytes))
    }

    fn set_len(&self, len: u64) -> Result<(), Fault> {
        self.change("set_len", |world| world.set_len(self.number, len))
    }

    fn sync(&self) -> Result<(), Fault> {
        let mut world = self.disk.world();
        let path = self.path(&world);
        if let Err(fault) = world.meet("sync", &path) {
            world.file(self.number).unsynced.iter_mut().for_each(|change| change.doubtful = true);
            return Err(fault);
        }
        world.changed("sync", &path, |_| Ok(()))?;
        world.file(self.number).sync();
        world.syncs += 1;
        Ok(())
    }
}

/// Everything behind the mutex.
#[derive(Default)]
struct World {
    files: BTreeMap<u64, File>,
    /// As a running process sees them.
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    name_changes: Vec<NameChange>,
    /// Files that lost a durable name: they go once they have no name and nobody has them open.
    maybe_nameless: Vec<u64>,
    folders: BTreeSet<String>,
    files_made: u64,
    used: u64,
    capacity: u64,
    operations: u64,
    syncs: u64,
    bytes_written: u64,
    power_fails_at: Option<u64>,
    power_lost: bool,
    fail_next: Vec<(String, String)>,
    /// The next write to a file whose path contains this lands so many sectors further on, round the end of the file.
    misdirect_next: Option<(String, u64)>,
}

/// One unsynced change of names. Both parts of a rename within one folder survive, or none.
#[derive(Clone)]
struct NameChange {
    link: Option<(String, u64)>,
    unlink: Option<String>,
}

struct File {
    /// Its last name, for faults.
    path: Arc<str>,
    live: Image,
    durable: Image,
    unsynced: Vec<Change>,
    /// Every length that it has had since its last sync.
    lengths: Vec<u64>,
    handles: Arc<()>,
}

/// One unsynced write, in one sector: the bytes `start..end` of `after` were written.
struct Change {
    sector: usize,
    start: usize,
    end: usize,
    after: Sector,
    /// A sync that should have made it durable failed; later ones leave it out.
    doubtful: bool,
}

impl World {
    /// Fails where a fault was asked for, or where the power is gone.
    fn meet(&mut self, operation: &'static str, path: &str) -> Result<(), Fault> {
        let named = if operation == "sync" { "fdatasync" } else { operation };
        if self.power_lost {
            return Err(Fault::new(FaultKind::Io, named, path, "power lost"));
        }
        let planned = self.fail_next.iter().position(|(on, part)| on == operation && path.contains(part.as_str()));
        if let Some(planned) = planned {
            self.fail_next.remove(planned);
            return Err(Fault::new(FaultKind::Io, named, path, "input/output error"));
        }
        Ok(())
    }

    /// Counts and makes one change; if the power goes with it, it was made but is never synced.
    fn changed<T>(&mut self, operation: &'static str, path: &str, change: impl FnOnce(&mut World) -> Result<T, Fault>) -> Result<T, Fault> {
        self.power_lost = self.power_fails_at == Some(self.operations);
        self.operations += 1;
        let made = change(self)?;
        self.meet(operation, path)?;
        Ok(made)
    }

    fn new_file(&mut self, path: &str) -> u64 {
        self.files_made += 1;
        let file = File {
            path: Arc::from(path),
            live: Image::default(),
            durable: Image::default(),
            unsynced: Vec::new(),
            lengths: Vec::new(),
            handles: Arc::new(()),
        };
        self.files.insert(self.files_made, file);
        self.files_made
    }

    fn create(&mut self, path: &str) -> Result<u64, Fault> {
        let folder = folder_of(path);
        if !folder.is_empty() && !self.folders.contains(folder) {
            return Err(Fault::new(FaultKind::Io, "open", path, "no such folder"));
        }
        let number = self.new_file(path);
        self.names.insert(path.to_owned(), number);
        self.name_changes.push(NameChange { link: Some((path.to_owned(), number)), unlink: None });
        Ok(number)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Fault> {
        if !folder_of(to).is_empty() && !self.folders.contains(folder_of(to)) {
            return Err(Fault::new(FaultKind::Io, "rename", from, format!("no such folder as that of {to}")));
        }
        let Some(number) = self.names.remove(from) else {
            return Err(Fault::new(FaultKind::Io, "rename", from, "no such file"));
        };
        if let Some(replaced) = self.names.insert(to.to_owned(), number) {
            self.used -= self.files[&replaced].live.len;
        }
        self.file(number).path = Arc::from(to);
        self.name_changes.push(NameChange { link: Some((to.to_owned(), number)), unlink: Some(from.to_owned()) });
        Ok(())
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let offset = self.misdirected(number, offset, bytes.len() as u64);
        let end = offset + bytes.len() as u64;
        self.grow(number, end, "write")?;
        self.bytes_written += bytes.len() as u64;
        let file = self.file(number);
        file.live.write(offset, bytes);
        file.note_change(offset, end);
        Ok(())
    }

    /// Where a write lands that was meant for `offset`.
    fn misdirected(&mut self, number: u64, offset: u64, length: u64) -> u64 {
        let file = &self.files[&number];
        let Some((_, sectors)) = self.misdirect_next.take_if(|(part, _)| file.path.contains(part.as_str())) else { return offset };
        let places = (file.live.len.saturating_sub(length) / SECTOR as u64).max(1);
        (offset / SECTOR as u64 + sectors) % places * SECTOR as u64
    }

    fn set_len(&mut self, number: u64, len: u64) -> Result<(), Fault> {
        self.grow(number, len, "set_len")?;
        let file = self.file(number);
        let before = file.live.len;
        if len < before {
            file.live.cut(len);
            file.note_change(len, before);
            file.lengths.push(len);
            if self.is_named(number) {
                self.used -= before - len;
            }
        }
        Ok(())
    }

    /// Whether a file still has a name: the room of one that has none was given back with its name.
    fn is_named(&self, number: u64) -> bool {
        self.names.values().any(|named| *named == number)
    }

    fn grow(&mut self, number: u64, len: u64, operation: &'static str) -> Result<(), Fault> {
        let more = len.saturating_sub(self.files[&number].live.len);
        if more == 0 {
            return Ok(());
        }
        let free = self.capacity.saturating_sub(self.used);
        if more > free {
            let path = &self.files[&number].path;
            return Err(Fault::new(FaultKind::DiskFull, operation, &**path, format!("{more} more bytes needed, {free} free")));
        }
        if self.is_named(number) {
            self.used += more;
        }
        let file = self.file(number);
        file.live.grow(len);
        file.lengths.push(len);
        Ok(())
    }

    fn file(&mut self, number: u64) -> &mut File {
        self.files.get_mut(&number).expect("a file with a handle or a name exists")
    }

    fn sync_names(&mut self, folder: &str) {
        for change in &mut self.name_changes {
            if let Some((path, number)) = change.link.take_if(|(path, _)| folder_of(path) == folder) {
                self.maybe_nameless.extend(self.durable_names.insert(path, number));
            }
            if let Some(path) = change.unlink.take_if(|path| folder_of(path) == folder) {
                self.maybe_nameless.extend(self.durable_names.remove(&path));
            }
        }
        self.name_changes.retain(|change| change.link.is_some() || change.unlink.is_some());
        let World { files, names, durable_names, name_changes, maybe_nameless, .. } = self;
        maybe_nameless.retain(|number| {
            let linked = name_changes.iter().filter_map(|change| change.link.as_ref().map(|(_, number)| number));
            let named = names.values().chain(durable_names.values()).chain(linked).any(|named| named == number);
            let kept = named || files.get(number).is_some_and(|file| Arc::strong_count(&file.handles) > 1);
            if !kept {
                files.remove(number);
            }
            kept && !named
        });
    }
}

impl File {
    /// Remembers that the bytes of this range were just written to the live image.
    fn note_change(&mut self, from: u64, to: u64) {
        for (sector, start, end) in pieces(from, to) {
            self.unsynced.push(Change { sector, start, end, after: self.live.sector(sector), doubtful: false });
        }
    }

    fn sync(&mut self) {
        self.durable.cut(self.live.len.min(self.durable.len));
        self.durable.grow(self.live.len);
        // A sector is written as a whole, whatever was in doubt in it.
        let written: BTreeSet<usize> = self.unsynced.iter().filter(|change| !change.doubtful).map(|change| change.sector).collect();
        self.unsynced.retain(|change| !written.contains(&change.sector));
        for sector in written {
            if sector < self.durable.sectors.len() {
                self.durable.sectors[sector] = self.live.sector(sector);
            }
        }
        self.lengths.clear();
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests;
