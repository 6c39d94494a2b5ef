//! The disk, as the store needs it: a folder of files, explicit syncs, faults that name the operation and the file.
//!
//! Implemented by the node over real files, and by the memory disk, which can lose, tear and garble what was not
//! synced. What the store may rely on, and nothing more:
//! - bytes written are durable once a later [`DiskFile::sync`] of that file has returned;
//! - a created, renamed or removed name is durable once a later [`Disk::sync_folder`] of its folder has returned;
//! - until then any subset of the writes may survive a power loss, each [`SECTOR_BYTES`] sector old, new or garbled.

use std::fmt::Debug;
use std::sync::Arc;

use onebox_service::{Fault, FaultKind};

/// The unit in which unsynced writes survive or are lost. Durable bytes in other sectors are never touched.
pub const SECTOR_BYTES: u64 = 4096;

/// How [`Disk::open`] treats a file that is or is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// It must be there; it is only read.
    Read,
    /// The same, and what the system has of it in memory is let go: what is read comes from the disk itself, as far as that can be had.
    ReadAgain,
    /// It must be there; it is read and written.
    Write,
    /// It is made, empty, or emptied if it is there; it is read and written.
    Create,
}

/// A folder of files. Paths are relative, with `/` between their parts, for example `log/00000001.seg`.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// The fault; a missing file is [`FaultKind::Io`](onebox_service::FaultKind::Io).
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn DiskFile>, Fault>;

    /// Makes a folder and those above it, if they are not there, and makes that durable.
    ///
    /// # Errors
    /// The fault.
    fn make_folder(&self, folder: &str) -> Result<(), Fault>;

    /// The names of the files in a folder, ascending, without the folder; empty if there is no such folder.
    ///
    /// # Errors
    /// The fault.
    fn list(&self, folder: &str) -> Result<Vec<String>, Fault>;

    /// Renames a file, replacing what has the new name. Open handles stay valid.
    ///
    /// # Errors
    /// The fault.
    fn rename(&self, from: &str, to: &str) -> Result<(), Fault>;

    /// Removes a file.
    ///
    /// # Errors
    /// The fault.
    fn remove(&self, path: &str) -> Result<(), Fault>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// The fault; it is final.
    fn sync_folder(&self, folder: &str) -> Result<(), Fault>;

    /// Bytes that can still be written before the disk is full.
    ///
    /// # Errors
    /// The fault.
    fn free_bytes(&self) -> Result<u64, Fault>;
}

/// Refuses to go on where a file would be made that is there already: a name that a listing does not show, a link for
/// example, may still lead to somebody's data, and both creating and renaming would write over it.
///
/// # Errors
/// Damage, if the file is listed or can be opened; the fault of listing.
pub(crate) fn refuse_if_there(disk: &dyn Disk, folder: &str, name: &str) -> Result<(), Fault> {
    let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    if disk.list(folder)?.iter().any(|listed| listed == name) || disk.open(&path, OpenMode::Read).is_ok() {
        let detail =
            "it was to be made and is there already, although it was not found: find out what put it there, for it is not written over";
        return Err(Fault::new(FaultKind::Damage, "create", path, detail));
    }
    Ok(())
}

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "nothing asks whether a file is empty")]
pub trait DiskFile: Send + Sync + Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The fault.
    fn len(&self) -> Result<u64, Fault>;

    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    /// The fault; reading past the end is one.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Fault>;

    /// Writes all of `bytes` at `offset`, growing the file where it must.
    ///
    /// # Errors
    /// The fault; then any part of it may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault>;

    /// Cuts the file, or grows it with zeros.
    ///
    /// # Errors
    /// The fault.
    fn set_len(&self, len: u64) -> Result<(), Fault>;

    /// Makes every byte written so far, and the length, durable (fdatasync).
    ///
    /// # Errors
    /// The fault. It is final for the process: a later success proves nothing.
    fn sync(&self) -> Result<(), Fault>;
}
