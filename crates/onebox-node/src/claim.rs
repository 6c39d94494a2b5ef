//! One process per data directory: a lock on the file `lock`, which names its holder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Holds a data directory until dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct Claim {
    file: File,
}

impl Claim {
    /// Tells whoever asks later that this process serves `address`: the one it was given, or that the system chose.
    ///
    /// # Errors
    /// What failed, in the system's words.
    pub(crate) fn names(&mut self, address: &str) -> std::io::Result<()> {
        let line = format!("process {} serving {address}\n", std::process::id());
        // Written over what is there, and cut after: a full disk has room for that.
        self.file.rewind()?;
        self.file.write_all(line.as_bytes())?;
        self.file.set_len(line.len() as u64)
    }
}

/// Claims a data directory for this process.
///
/// # Errors
/// A sentence that names the holder, or says what failed.
pub(crate) fn claim(data: &Path, listen: &str) -> Result<Claim, String> {
    let path = data.join("lock");
    let shown = path.display();
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(|error| format!("cannot open {shown}: {error}"))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
        let holder = if known { holder.trim() } else { "another process" };
        return Err(format!("the data directory {} is in use by {holder}; stop it first, or give another --data", data.display()));
    }
    let mut claim = Claim { file };
    claim.names(listen).map_err(|error| format!("cannot write {shown}: {error}"))?;
    Ok(claim)
}
