//! The log's files: their names, the spare, making a segment, moving sealed ones to `history/`.
//!
//! Kept true here: a header is written only into a file of synced zeros whose name is durable, so that no header of an
//! interrupted attempt can ever be found in a later one; a segment is never made over another file. No frame is read or written here.

use std::collections::BTreeMap;
use std::sync::Arc;

use onebox_service::{Fault, FaultKind};

use super::LogOptions;
use super::format::{HeaderFlaw, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentNumber};
use crate::disk::{Disk, DiskFile, OpenMode, refuse_if_there};

const SPARE: &str = "spare";
const SPARE_NEW: &str = "spare.new";
const SUFFIX: &str = ".seg";
static ZEROS: [u8; 1 << 18] = [0; 1 << 18];

/// Which of the two folders a segment is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folder {
    Log,
    History,
}

impl Folder {
    pub(super) fn name(self) -> &'static str {
        match self {
            Folder::Log => "log",
            Folder::History => "history",
        }
    }

    pub(super) fn path(self, number: SegmentNumber) -> String {
        format!("{}/{}", self.name(), file_name(number))
    }

    fn segments(self, disk: &dyn Disk) -> Result<Vec<SegmentNumber>, Fault> {
        let numbered = |name: &String| {
            let digits = name.strip_suffix(SUFFIX)?;
            let number = SegmentNumber(digits.parse().ok()?);
            (number.to_string() == digits).then_some(number)
        };
        Ok(disk.list(self.name())?.iter().filter_map(numbered).collect())
    }
}

fn file_name(number: SegmentNumber) -> String {
    format!("{number}{SUFFIX}")
}

/// All segments and where they are. A move that was interrupted leaves a segment in both folders; it is then in `log/`.
pub(super) fn find(disk: &dyn Disk) -> Result<BTreeMap<SegmentNumber, Folder>, Fault> {
    let mut found = BTreeMap::new();
    for folder in [Folder::History, Folder::Log] {
        found.extend(folder.segments(disk)?.into_iter().map(|number| (number, folder)));
    }
    Ok(found)
}

/// Removes every segment, durably: from both folders, where a move was interrupted.
pub(super) fn remove_all(disk: &dyn Disk) -> Result<(), Fault> {
    for folder in [Folder::History, Folder::Log] {
        for number in folder.segments(disk)? {
            disk.remove(&folder.path(number))?;
        }
        disk.sync_folder(folder.name())?;
    }
    Ok(())
}

/// Makes `log/spare`, the zeros that the next segment will be, unless it is there. For a thread in the background, one
/// at a time: it writes a whole segment.
///
/// # Errors
/// The fault; then there is no new spare, and it may be tried again.
pub fn prepare_spare(disk: &dyn Disk, segment_bytes: u64) -> Result<(), Fault> {
    if spare_is_there(disk, segment_bytes)? {
        return Ok(());
    }
    let made = path_in_log(SPARE_NEW);
    made_of_zeros(disk, &made, segment_bytes)?;
    disk.rename(&made, &path_in_log(SPARE))?;
    disk.sync_folder(Folder::Log.name())
}

pub(super) fn spare_is_there(disk: &dyn Disk, segment_bytes: u64) -> Result<bool, Fault> {
    if !disk.list(Folder::Log.name())?.iter().any(|name| name == SPARE) {
        return Ok(false);
    }
    Ok(disk.open(&path_in_log(SPARE), OpenMode::Read)?.len()? == segment_bytes)
}

/// Makes the segment that the header describes, durable, from the spare if there is one; never over a file that is there.
pub(super) fn make(disk: &dyn Disk, options: &LogOptions, header: &SegmentHeader) -> Result<Arc<dyn DiskFile>, Fault> {
    let path = Folder::Log.path(header.number);
    for folder in [Folder::History, Folder::Log] {
        refuse_if_there(disk, folder.name(), &file_name(header.number))?;
    }
    let file = if spare_is_there(disk, options.segment_bytes)? {
        disk.rename(&path_in_log(SPARE), &path)?;
        disk.open(&path, OpenMode::Write)?
    } else {
        made_of_zeros(disk, &path, options.segment_bytes)?
    };
    // Timeline to avoid: header synced, power lost before the name was; the file comes back as `spare` with a header
    // in it, and as the next segment it would look begun. So the name first, then the header.
    disk.sync_folder(Folder::Log.name())?;
    if let Err(fault) = file.write_at(0, &header.encode()).and_then(|()| file.sync()) {
        // In the system's cache and not on the disk, the header would be believed by the next process.
        let _ = write_zeros(&*file, 0, SEGMENT_HEADER_BYTES);
        return Err(fault);
    }
    Ok(file)
}

fn made_of_zeros(disk: &dyn Disk, path: &str, segment_bytes: u64) -> Result<Arc<dyn DiskFile>, Fault> {
    let file = disk.open(path, OpenMode::Create)?;
    if let Err(fault) = write_zeros(&*file, 0, segment_bytes).and_then(|()| file.sync()) {
        // On a full disk a part of a segment only takes room; the next start would remove it.
        let _ = disk.remove(path);
        return Err(fault);
    }
    Ok(file)
}

/// Writes zeros over a range, in pieces.
pub(super) fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> Result<(), Fault> {
    let mut at = from;
    while at < to {
        let length = (to - at).min(ZEROS.len() as u64);
        file.write_at(at, &ZEROS[..length as usize])?;
        at += length;
    }
    Ok(())
}

/// Moves sealed segments from `log/` to `history/`, durably; those already moved stay. Then tell the reader, with
/// [`LogReader::retire`](super::LogReader::retire).
///
/// # Errors
/// The fault; a segment is then in one folder or in the other, and moving again completes it.
pub fn move_to_history(disk: &dyn Disk, segments: &[SegmentNumber]) -> Result<(), Fault> {
    let in_log = Folder::Log.segments(disk)?;
    for number in segments.iter().filter(|number| in_log.contains(number)) {
        disk.rename(&Folder::Log.path(*number), &Folder::History.path(*number))?;
    }
    // The new names first: a disk that keeps only some of the changes must not lose both.
    disk.sync_folder(Folder::History.name())?;
    disk.sync_folder(Folder::Log.name())
}

/// Reads a segment's header; a flaw in it is left to the caller to judge.
pub(super) fn read_header(file: &dyn DiskFile) -> Result<Result<SegmentHeader, HeaderFlaw>, Fault> {
    if file.len()? < SEGMENT_HEADER_BYTES {
        return Ok(Err(HeaderFlaw::NotWhole));
    }
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES as usize];
    file.read_at(0, &mut bytes)?;
    Ok(SegmentHeader::decode(&bytes))
}

/// Reads the header of a segment that was durable once, and checks that it is this segment of this node's log.
pub(super) fn durable_header(
    file: &dyn DiskFile,
    folder: Folder,
    number: SegmentNumber,
    options: &LogOptions,
) -> Result<SegmentHeader, Fault> {
    let path = folder.path(number);
    let damage = |what: String| Fault::new(FaultKind::Damage, "read", path.clone(), format!("offset 0: {what}"));
    match read_header(file)? {
        Err(HeaderFlaw::NotWhole) => Err(damage("the segment's header does not read back as written".to_owned())),
        Err(HeaderFlaw::Newer { version, writer }) => Err(newer(&path, &format!("log format {version}"), &writer)),
        Ok(header) if header.number != number => Err(damage(format!("the header is that of segment {}", header.number))),
        Ok(header) if header.node != options.node => {
            let detail =
                format!("it belongs to node {}, and this is node {}: give each node its own data directory", header.node, options.node);
            Err(Fault::new(FaultKind::Foreign, "read", path, detail))
        }
        Ok(header) => Ok(header),
    }
}

/// The fault of bytes that only a newer program can read.
pub(super) fn newer(path: &str, what: &str, writer: &str) -> Fault {
    let detail = format!("{what}, written by onebox {writer}; install that version or newer");
    Fault::new(FaultKind::Version, "read", path, detail)
}

fn path_in_log(name: &str) -> String {
    format!("{}/{name}", Folder::Log.name())
}
