//! A fault: the environment failed. It names the operation, the file and the place, for the person who must act.

use std::fmt;

/// What kind of failure it was; the machinery branches on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// An operation of the disk failed (EIO, a failed fsync, a vanished file).
    Io,
    /// The disk has no room for what was to be written.
    DiskFull,
    /// Bytes that were once durable do not read back as written.
    Damage,
    /// The bytes are whole, but of a version that this build cannot read.
    Version,
    /// The bytes are whole, but another node's.
    Foreign,
}

/// One failure of the environment. It ends the operation in progress; it is never retried blindly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of failure.
    pub kind: FaultKind,
    /// What was being done: `fdatasync`, `read`, `open`, ...
    pub operation: &'static str,
    /// The file, as a path inside the data directory.
    pub file: String,
    /// Where, and what was found: an offset, a key range, the system's words.
    pub detail: String,
}

impl Fault {
    /// A fault of `operation` on `file`.
    pub fn new(kind: FaultKind, operation: &'static str, file: impl Into<String>, detail: impl Into<String>) -> Fault {
        Fault { kind, operation, file: file.into(), detail: detail.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FaultKind::Io => "disk error",
            FaultKind::DiskFull => "disk full",
            FaultKind::Damage => "damage",
            FaultKind::Version => "unreadable version",
            FaultKind::Foreign => "another node's data",
        };
        write!(f, "{kind}: {} of {}: {}", self.operation, self.file, self.detail)
    }
}

impl std::error::Error for Fault {}
