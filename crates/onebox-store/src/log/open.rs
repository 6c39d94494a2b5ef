//! Opening a log: find it, judge it, read what the base does not hold, cut an interrupted write, make the first segment.
//!
//! Kept true here: damage changes nothing on the disk; nothing that a reader gets was not made durable first; every step
//! can be interrupted by another power loss and done again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use onebox_service::planted::planted;
use onebox_service::{Fault, FaultKind};

use super::format::{HeaderFlaw, Place, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentNumber, Sequence, WRITER};
use super::reader::Segments;
use super::replay::{Replay, damage};
use super::segment::{self, Folder};
use super::window::Window;
use super::{HardState, LogOptions, LogReader, LogWriter, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::disk::{Disk, OpenMode, SECTOR_BYTES};
use crate::names::{LogIndex, Term};

/// A log that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Makes more of it durable.
    pub writer: LogWriter,
    /// Reads what is durable.
    pub reader: LogReader,
    /// The last hard state in it.
    pub hard_state: HardState,
    /// The last membership in it.
    pub membership: Option<Vec<u8>>,
    /// Where an interrupted write was cut away, for the operator's log.
    pub cut: Option<Cut>,
}

/// Where an interrupted write began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: String,
    /// The first byte of it that was cut.
    pub offset: u64,
}

/// Told the bytes read so far and the bytes there are.
pub type Progress<'p> = dyn FnMut(u64, u64) + 'p;

/// Progress is told about once per so many bytes.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Opens the log in the folders `log` and `history`, or makes one if there is none.
///
/// `applied` is the index that the base holds, and `applied_term` its term: what is above it is read and checked, the
/// rest only when it is asked for.
///
/// # Errors
/// The fault: the disk's, or damage with file and offset, or a version to install. Nothing was changed on the disk then,
/// unless the fault is of the disk itself.
///
/// # Panics
/// If the options are out of bounds.
pub fn open(
    disk: Arc<dyn Disk>,
    options: LogOptions,
    applied: LogIndex,
    applied_term: Term,
    progress: Option<&mut Progress<'_>>,
) -> Result<Opened, Fault> {
    let size = options.segment_bytes;
    assert!((SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&size), "segments of {size} bytes");
    assert!(size.is_multiple_of(SECTOR_BYTES), "segments of {size} bytes");
    disk.make_folder(Folder::Log.name())?;
    disk.make_folder(Folder::History.name())?;
    let mut found = segment::find(&*disk)?;
    all_are_there(&found)?;
    let begun = begun_segment(&*disk, &options, &found)?;
    found.retain(|number, _| Some(*number) != begun);
    let Some((newest, folder)) = found.last_key_value() else {
        return first_start(disk, options, applied, begun);
    };
    if *folder == Folder::History {
        // It was moved there when the header of the next one was durable.
        let missing = Folder::Log.path(newest.next());
        return Err(damage(&missing, 0, &format!("the segment is missing or not whole, and {} is sealed", folder.path(*newest))));
    }
    let headers = headers_above(&*disk, &options, &found, applied)?;
    let read = read_above(&*disk, &options, &found, &headers, begun.is_some(), progress)?;
    agrees_with_base(&read, applied, applied_term)?;
    settle(&*disk, &read, begun)?;
    finish(disk, options, found, headers, read, applied)
}

/// Reads the end of a log from the segment on in which entries above `at` begin, and changes nothing.
pub(super) fn read_down_to(disk: &dyn Disk, options: LogOptions, at: LogIndex) -> Result<Option<(SegmentNumber, Replay)>, Fault> {
    let mut found = segment::find(disk)?;
    all_are_there(&found)?;
    let begun = begun_segment(disk, &options, &found)?;
    found.retain(|number, _| Some(*number) != begun);
    let Some((newest, _)) = found.last_key_value() else { return Ok(None) };
    let newest = begun.unwrap_or(*newest);
    let headers = headers_above(disk, &options, &found, at)?;
    let read = read_above(disk, &options, &found, &headers, begun.is_some(), None)?;
    Ok(Some((newest, read.replay)))
}

/// The entry behind which the log begins, and its term, without changing anything; `None` if there is no log.
///
/// # Errors
/// The fault: the disk's, or damage with file and offset.
pub fn begins_behind(disk: &dyn Disk, options: LogOptions) -> Result<Option<(LogIndex, Term)>, Fault> {
    let mut found = segment::find(disk)?;
    let begun = begun_segment(disk, &options, &found)?;
    found.retain(|number, _| Some(*number) != begun);
    let Some((oldest, folder)) = found.first_key_value() else { return Ok(None) };
    let file = disk.open(&folder.path(*oldest), OpenMode::Read)?;
    let header = segment::durable_header(&*file, *folder, *oldest, &options)?;
    Ok(Some((LogIndex(header.first_index.0.saturating_sub(1)), header.term_below)))
}

/// Every number from the oldest segment to the newest must be there.
fn all_are_there(found: &BTreeMap<SegmentNumber, Folder>) -> Result<(), Fault> {
    for (number, (next, folder)) in found.keys().zip(found.iter().skip(1)) {
        if number.next() != *next {
            let missing = Folder::Log.path(number.next());
            return Err(Fault::new(FaultKind::Damage, "open", missing, format!("missing, and {} is there", folder.path(*next))));
        }
    }
    Ok(())
}

/// The newest segment, if it was only being made: its header is not whole and no frame is in it.
fn begun_segment(disk: &dyn Disk, options: &LogOptions, found: &BTreeMap<SegmentNumber, Folder>) -> Result<Option<SegmentNumber>, Fault> {
    let Some((number, Folder::Log)) = found.last_key_value() else {
        return Ok(None);
    };
    let path = Folder::Log.path(*number);
    let file = disk.open(&path, OpenMode::Read)?;
    if segment::read_header(&*file)? != Err(HeaderFlaw::NotWhole) {
        return Ok(None);
    }
    let mut window = Window::new(Arc::clone(&file), options.node, *number, file.len()?);
    if survey(&mut window, SEGMENT_HEADER_BYTES)?.frame_behind {
        return Err(damage(&path, 0, "the segment's header does not read back as written, and frames are behind it"));
    }
    Ok(Some(*number))
}

/// The headers from the newest segment down to the one in which entries above `applied` begin.
fn headers_above(
    disk: &dyn Disk,
    options: &LogOptions,
    found: &BTreeMap<SegmentNumber, Folder>,
    applied: LogIndex,
) -> Result<BTreeMap<SegmentNumber, SegmentHeader>, Fault> {
    let mut headers = BTreeMap::new();
    for (number, folder) in found.iter().rev() {
        let file = disk.open(&folder.path(*number), OpenMode::Read)?;
        let header = segment::durable_header(&*file, *folder, *number, options)?;
        let first = header.first_index;
        headers.insert(*number, header);
        // When that segment was made, nothing above `applied` was in the log.
        if first <= applied.next() {
            return Ok(headers);
        }
    }
    let oldest = found.keys().next().expect("there are segments");
    let missing = Folder::Log.path(SegmentNumber(oldest.0.saturating_sub(1)));
    Err(Fault::new(FaultKind::Damage, "open", missing, format!("missing, and entries from {} on were in it", applied.next())))
}

/// What was read of the log, and what is to be done about its end.
struct Read {
    replay: Replay,
    /// The open segment's path and size.
    path: String,
    bytes: u64,
    garbage: Option<Range<u64>>,
    cut: Option<Cut>,
}

fn read_above(
    disk: &dyn Disk,
    options: &LogOptions,
    found: &BTreeMap<SegmentNumber, Folder>,
    headers: &BTreeMap<SegmentNumber, SegmentHeader>,
    newer_was_begun: bool,
    mut progress: Option<&mut Progress<'_>>,
) -> Result<Read, Fault> {
    let open = |number: &SegmentNumber| disk.open(&found[number].path(*number), OpenMode::Read);
    let mut total = 0;
    for number in headers.keys() {
        total += open(number)?.len()?;
    }
    let (mut done, mut told) = (0, 0);
    let mut each = |bytes: u64| {
        done += bytes;
        if done - told >= PROGRESS_BYTES {
            told = done;
            if let Some(progress) = &mut progress {
                progress(done, total);
            }
        }
    };
    let mut replay = Replay::at(headers.values().next().expect("there are segments"));
    for ((number, header), next) in headers.iter().zip(headers.values().skip(1)) {
        let file = open(number)?;
        let mut window = Window::new(Arc::clone(&file), options.node, *number, file.len()?);
        replay.sealed(&mut window, &found[number].path(*number), header, next, &mut each)?;
    }
    let (number, header) = headers.last_key_value().expect("there is an open segment");
    let path = found[number].path(*number);
    let file = open(number)?;
    let bytes = file.len()?;
    let mut window = Window::new(file, options.node, *number, bytes);
    let end = replay.open_segment(&mut window, &path, header, &mut each)?;
    let survey = survey(&mut window, end)?;
    let place = Place { segment: *number, offset: end };
    // A newer segment was begun only when everything before it was durable.
    let damaged = survey.asserts(place) || (newer_was_begun && survey.garbage.is_some());
    if damaged && !planted("damage cut like a torn end") {
        let what = format!("frame {} does not read back as written; what was written later says it was durable", replay.sequence.0);
        return Err(damage(&path, end, &what));
    }
    let cut = survey.garbage.as_ref().map(|_| Cut { file: path.clone(), offset: end });
    // Where the writer goes on, also in a segment without frames.
    replay.end = place;
    Ok(Read { replay, path, bytes, garbage: survey.garbage, cut })
}

/// What stands in a segment from some offset on.
#[derive(Default)]
struct Survey {
    /// From the first to the last sector that is not zeros.
    garbage: Option<Range<u64>>,
    frame_behind: bool,
    /// The highest durable end that a whole frame asserts.
    asserted: Option<Place>,
}

impl Survey {
    fn asserts(&self, place: Place) -> bool {
        self.asserted.is_some_and(|end| end > place)
    }
}

static ZERO_SECTOR: [u8; SECTOR_BYTES as usize] = [0; SECTOR_BYTES as usize];

fn survey(window: &mut Window, from: u64) -> Result<Survey, Fault> {
    let mut survey = Survey::default();
    let mut at = from;
    while at + SECTOR_BYTES <= window.end() {
        if window.bytes(at, SECTOR_BYTES as usize)? != ZERO_SECTOR {
            let start = survey.garbage.as_ref().map_or(at, |garbage| garbage.start);
            survey.garbage = Some(start..at + SECTOR_BYTES);
            if let Some(frame) = window.frame(at)? {
                survey.frame_behind = true;
                survey.asserted = survey.asserted.max(Some(frame.durable.end));
            }
        }
        at += SECTOR_BYTES;
    }
    Ok(survey)
}

fn agrees_with_base(read: &Read, applied: LogIndex, applied_term: Term) -> Result<(), Fault> {
    let path = &read.path;
    let index = &read.replay.index;
    if index.last() < applied {
        let what = format!("the log ends at entry {}, and the base holds entry {applied}", index.last());
        return Err(damage(path, read.replay.end.offset, &what));
    }
    match index.term(applied) {
        Some(term) if term == applied_term => Ok(()),
        term => {
            let what = format!("entry {applied} has {term:?} in the log and {applied_term:?} in the base");
            Err(damage(path, read.replay.end.offset, &what))
        }
    }
}

/// Makes the disk be what was read: no begun segment, no interrupted write, nothing that only a killed process saw.
fn settle(disk: &dyn Disk, read: &Read, begun: Option<SegmentNumber>) -> Result<(), Fault> {
    if let Some(begun) = begun {
        disk.remove(&Folder::Log.path(begun))?;
    }
    let file = disk.open(&read.path, OpenMode::Write)?;
    if let Some(garbage) = &read.garbage {
        segment::write_zeros(&*file, garbage.start, garbage.end)?;
    }
    file.sync()?;
    disk.sync_folder(Folder::History.name())?;
    disk.sync_folder(Folder::Log.name())
}

fn finish(
    disk: Arc<dyn Disk>,
    options: LogOptions,
    found: BTreeMap<SegmentNumber, Folder>,
    headers: BTreeMap<SegmentNumber, SegmentHeader>,
    read: Read,
    applied: LogIndex,
) -> Result<Opened, Fault> {
    let (oldest, folder) = found.first_key_value().expect("there are segments");
    let first = match headers.get(oldest) {
        Some(header) => header.first_index,
        None => {
            let file = disk.open(&folder.path(*oldest), OpenMode::Read)?;
            segment::durable_header(&*file, *folder, *oldest, &options)?.first_index
        }
    };
    let (_, newest) = headers.last_key_value().expect("the open segment's header was read");
    let of_another_version = newest.writer != WRITER;
    let file = disk.open(&read.path, OpenMode::Write)?;
    let writer = LogWriter::new(Arc::clone(&disk), options, file, read.bytes, of_another_version, &read.replay)?;
    let (hard_state, membership) = (read.replay.hard_state, read.replay.membership);
    let segments = Segments::new(found, &headers);
    let reader = LogReader::new(disk, options, segments, (first, applied), read.replay.index, read.replay.end);
    Ok(Opened { writer, reader, hard_state, membership, cut: read.cut })
}

/// There is no segment, or only the first one, being made.
fn first_start(disk: Arc<dyn Disk>, options: LogOptions, applied: LogIndex, begun: Option<SegmentNumber>) -> Result<Opened, Fault> {
    let number = SegmentNumber(1);
    if applied > LogIndex(0) || begun.is_some_and(|begun| begun != number) {
        let what = format!("the log has no segment that can be read, and the base holds entry {applied}");
        return Err(Fault::new(FaultKind::Damage, "open", Folder::Log.path(begun.unwrap_or(number)), what));
    }
    let header = SegmentHeader {
        writer: WRITER.to_owned(),
        node: options.node,
        number,
        first_sequence: Sequence(1),
        first_index: LogIndex(1),
        term_below: Term(0),
        hard_state: HardState::default(),
        membership: None,
    };
    if begun.is_some() {
        disk.remove(&Folder::Log.path(number))?;
        disk.sync_folder(Folder::Log.name())?;
    }
    segment::make(&*disk, &options, &header)?;
    let (replay, path) = (Replay::at(&header), Folder::Log.path(number));
    let read = Read { replay, path, bytes: options.segment_bytes, garbage: None, cut: None };
    finish(disk, options, BTreeMap::from([(number, Folder::Log)]), BTreeMap::from([(number, header)]), read, applied)
}
