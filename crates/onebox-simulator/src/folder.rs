//! A folder of a disk, as a disk of its own: where several partitions share a machine, each has one.

use std::sync::Arc;

use onebox_service::Fault;
use onebox_store::{Disk, DiskFile, OpenMode};

#[derive(Debug)]
pub(crate) struct FolderDisk {
    disk: Arc<dyn Disk>,
    /// Ends in `/`.
    folder: String,
}

impl FolderDisk {
    /// The folder is made, if it is not there.
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: String) -> Result<FolderDisk, Fault> {
        disk.make_folder(folder.trim_end_matches('/'))?;
        Ok(FolderDisk { disk, folder })
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.folder).trim_end_matches('/').to_owned()
    }
}

impl Disk for FolderDisk {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn DiskFile>, Fault> {
        self.disk.open(&self.path(path), mode)
    }

    fn make_folder(&self, folder: &str) -> Result<(), Fault> {
        self.disk.make_folder(&self.path(folder))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, Fault> {
        self.disk.list(&self.path(folder))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        self.disk.rename(&self.path(from), &self.path(to))
    }

    fn remove(&self, path: &str) -> Result<(), Fault> {
        self.disk.remove(&self.path(path))
    }

    fn sync_folder(&self, folder: &str) -> Result<(), Fault> {
        self.disk.sync_folder(&self.path(folder))
    }

    fn free_bytes(&self) -> Result<u64, Fault> {
        self.disk.free_bytes()
    }
}
