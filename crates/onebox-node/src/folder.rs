//! The disk as a folder of real files.
//!
//! Every fault names the operation, the file and the system's words. Nothing is retried here.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onebox_service::{Fault, FaultKind};
use onebox_store::{Disk, DiskFile, OpenMode};

/// How many folders above a data directory are made durable: as many as somebody would have made in one go.
const FOLDERS_MADE_MAX: usize = 4;

/// A data directory.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at `root`, made if it is not there.
    ///
    /// # Errors
    /// The fault of making it.
    pub fn open(root: &Path) -> Result<Folder, Fault> {
        let shown = root.display().to_string();
        fs::create_dir_all(root).map_err(|error| fault("make folder", &shown, &error))?;
        let root = root.canonicalize().map_err(|error| fault("find folder", &shown, &error))?;
        // Its own name, and those of folders just made above it, must survive a power loss too.
        for above in root.ancestors().skip(1).take(FOLDERS_MADE_MAX) {
            let synced = File::open(above).and_then(|opened| opened.sync_all());
            // A folder that this process may not read was not made by it.
            if let Err(error) = synced
                && error.kind() != io::ErrorKind::PermissionDenied
            {
                return Err(fault("fsync", &above.display().to_string(), &error));
            }
        }
        Ok(Folder { root })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

fn fault(operation: &'static str, file: &str, error: &io::Error) -> Fault {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::DiskFull,
        _ => FaultKind::Io,
    };
    Fault::new(kind, operation, file, error.to_string())
}

impl Disk for Folder {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn DiskFile>, Fault> {
        let mut options = OpenOptions::new();
        match mode {
            OpenMode::Read | OpenMode::ReadAgain => options.read(true),
            OpenMode::Write => options.read(true).write(true),
            OpenMode::Create => options.read(true).write(true).create(true).truncate(true),
        };
        let file = options.open(self.path(path)).map_err(|error| fault("open", path, &error))?;
        if mode == OpenMode::ReadAgain {
            // A system that will not is no worse than one that has nothing of it.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
        Ok(Arc::new(RealFile { name: path.to_owned(), file }))
    }

    fn make_folder(&self, folder: &str) -> Result<(), Fault> {
        fs::create_dir_all(self.path(folder)).map_err(|error| fault("make folder", folder, &error))?;
        let mut above = Path::new(folder).parent();
        while let Some(parent) = above {
            self.sync_folder(&parent.to_string_lossy())?;
            above = parent.parent();
        }
        Ok(())
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, Fault> {
        let entries = match fs::read_dir(self.path(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fault("list", folder, &error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| fault("list", folder, &error))?;
            // A file that cannot be looked at is a fault: taken for absent, it would be written over.
            if entry.file_type().map_err(|error| fault("stat", folder, &error))?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        fs::rename(self.path(from), self.path(to)).map_err(|error| fault("rename", from, &error))
    }

    fn remove(&self, path: &str) -> Result<(), Fault> {
        fs::remove_file(self.path(path)).map_err(|error| fault("remove", path, &error))
    }

    fn sync_folder(&self, folder: &str) -> Result<(), Fault> {
        let opened = File::open(self.path(folder)).map_err(|error| fault("open", folder, &error))?;
        opened.sync_all().map_err(|error| fault("fsync", folder, &error))
    }

    fn free_bytes(&self) -> Result<u64, Fault> {
        let stat = rustix::fs::statvfs(&self.root).map_err(|error| fault("statvfs", ".", &error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// A real file.
#[derive(Debug)]
struct RealFile {
    name: String,
    file: File,
}

impl DiskFile for RealFile {
    fn len(&self) -> Result<u64, Fault> {
        Ok(self.file.metadata().map_err(|error| fault("stat", &self.name, &error))?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.file.read_exact_at(into, offset).map_err(|error| at(fault("read", &self.name, &error), offset))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.file.write_all_at(bytes, offset).map_err(|error| at(fault("write", &self.name, &error), offset))
    }

    fn set_len(&self, len: u64) -> Result<(), Fault> {
        self.file.set_len(len).map_err(|error| fault("truncate", &self.name, &error))
    }

    fn sync(&self) -> Result<(), Fault> {
        self.file.sync_data().map_err(|error| fault("fdatasync", &self.name, &error))
    }
}

fn at(fault: Fault, offset: u64) -> Fault {
    let detail = format!("at offset {offset}: {}", fault.detail);
    Fault { detail, ..fault }
}
