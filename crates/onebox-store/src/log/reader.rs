//! Reading entries back: what is durable, in order, from `log/` and `history/`, in time that does not depend on where.
//!
//! It sees only what the writer said is durable. Every frame's CRC is checked again when it is read. It keeps one
//! window over one segment, so that reading on from where the last read ended costs nothing extra.

use std::collections::BTreeMap;
use std::sync::Arc;

use onebox_service::Fault;

use super::format::{FRAME_HEADER_BYTES, FrameHeader, Place, Record, SegmentHeader, SegmentNumber, record_at};
use super::index::{Index, Item};
use super::replay::{Replay, damage};
use super::segment::{self, Folder};
use super::window::Window;
use super::{Appended, LogEntry, LogOptions, LogScrub};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::names::{LogIndex, Term};

/// The reading end of a log.
#[derive(Debug)]
pub struct LogReader {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    segments: Segments,
    /// The oldest entry there is.
    first: LogIndex,
    /// The oldest entry in `log/`.
    first_kept: LogIndex,
    index: Index,
    /// The end of what is durable.
    end: Place,
    window: Option<Window>,
    cursor: Option<Cursor>,
}

/// The segments, and what of their headers is known.
#[derive(Debug)]
pub(super) struct Segments {
    folders: BTreeMap<SegmentNumber, Folder>,
    firsts: BTreeMap<SegmentNumber, LogIndex>,
}

impl Segments {
    pub(super) fn new(folders: BTreeMap<SegmentNumber, Folder>, headers: &BTreeMap<SegmentNumber, SegmentHeader>) -> Segments {
        let firsts = headers.iter().map(|(number, header)| (*number, header.first_index)).collect();
        Segments { folders, firsts }
    }

    /// The entry from which on all are in segments that are still in `log/`, as far as headers are known. What a segment is to begin with
    /// was written after it was made, so that is the least of these; where entries were superseded, a later segment may have it.
    fn first_kept(&self) -> Option<LogIndex> {
        let kept = self.folders.iter().rev().take_while(|(_, folder)| **folder == Folder::Log);
        kept.filter_map(|(number, _)| self.firsts.get(number).copied()).min()
    }

    /// The segment from which every entry above `index` is found, as far as headers are known.
    fn beginning_above(&self, index: LogIndex) -> Option<SegmentNumber> {
        self.firsts.iter().rev().find(|(_, first)| **first <= index.next()).map(|(number, _)| *number)
    }
}

/// Where the next entry is.
#[derive(Debug)]
struct Cursor {
    next: LogIndex,
    /// The frame that it is in or behind.
    place: Place,
    /// The frame, once it was found whole, and the record to look at next.
    frame: Option<(FrameHeader, usize)>,
}

/// Why an entry could not be read.
enum Flaw {
    Disk(Fault),
    /// At this offset of the segment.
    Damage(u64, &'static str),
}

impl Flaw {
    fn fault(self, path: &str) -> Fault {
        match self {
            Flaw::Disk(fault) => fault,
            Flaw::Damage(offset, what) => damage(path, offset, what),
        }
    }
}

impl Cursor {
    /// Reads on in the frame that the cursor is in, up to entry `until` or to the frame's end.
    fn step(&mut self, window: &mut Window, until: LogIndex, room: &mut Room) -> Result<(), Flaw> {
        let offset = self.place.offset;
        let (frame, mut at) = match self.frame {
            Some(inside) => inside,
            None => match window.frame(offset).map_err(Flaw::Disk)? {
                Some(frame) => (frame, FRAME_HEADER_BYTES),
                None => return Err(Flaw::Damage(offset, "a frame does not read back as written")),
            },
        };
        let bytes = window.bytes(offset, frame.length as usize).map_err(Flaw::Disk)?;
        while at < bytes.len() && self.next < until {
            let (record, behind) = record_at(bytes, at).map_err(|_| Flaw::Damage(offset, "a record does not fit its frame"))?;
            if let Record::Entry { index, term, kind, data } = record {
                if index > self.next {
                    return Err(Flaw::Damage(offset, "an entry is missing before this frame"));
                }
                if index == self.next {
                    if !room.takes(data.len()) {
                        break;
                    }
                    room.entries.push(LogEntry { index, term, kind, data: data.to_vec() });
                    self.next = index.next();
                }
            }
            at = behind;
        }
        if at == bytes.len() {
            self.place.offset = offset + frame.padded_bytes();
            self.frame = None;
        } else {
            self.frame = Some((frame, at));
        }
        Ok(())
    }
}

/// What one call to read may still take.
struct Room {
    entries: Vec<LogEntry>,
    bytes: u64,
    bytes_max: u64,
    full: bool,
}

impl Room {
    fn takes(&mut self, data_bytes: usize) -> bool {
        let bytes = self.bytes + data_bytes as u64;
        self.full = bytes > self.bytes_max && !self.entries.is_empty();
        if !self.full {
            self.bytes = bytes;
        }
        !self.full
    }
}

impl LogReader {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        segments: Segments,
        (first, applied): (LogIndex, LogIndex),
        index: Index,
        end: Place,
    ) -> LogReader {
        let first_kept = segments.first_kept().unwrap_or(first).min(applied.next());
        LogReader { disk, options, segments, first, first_kept, index, end, window: None, cursor: None }
    }

    /// Takes note of what the writer made durable; in the order of the writer's calls.
    pub fn note(&mut self, appended: Appended) {
        assert!(appended.place >= self.end, "appends are noted in order: {:?} behind {:?}", appended.place, self.end);
        if let Some(first) = appended.made {
            self.segments.folders.insert(appended.place.segment, Folder::Log);
            self.segments.firsts.insert(appended.place.segment, first);
        }
        if let Some(entries) = &appended.entries {
            self.index.add(appended.place, entries);
        }
        self.end = appended.end;
        if let Some(window) = self.window.as_mut().filter(|window| window.segment() == appended.end.segment) {
            window.extend(appended.end.offset);
        }
    }

    /// The oldest entry that can be read; one above the last if there is none.
    pub fn first(&self) -> LogIndex {
        self.first
    }

    /// The oldest entry for peers: still in `log/`, or above the position that the log was opened at. What is older is in
    /// the history, for rebuilding.
    pub fn first_kept(&self) -> LogIndex {
        self.first_kept
    }

    /// The last entry that can be read; one below the first if there is none.
    pub fn last(&self) -> LogIndex {
        self.index.last()
    }

    /// The term of an entry; known at least from the applied index that the log was opened with.
    pub fn term(&self, index: LogIndex) -> Option<Term> {
        self.index.term(index)
    }

    /// The entries of `from <= index < to`, at least one, and then as many as have at most `bytes_max` bytes of data.
    ///
    /// # Errors
    /// The fault: the disk's, or damage with file and offset.
    ///
    /// # Panics
    /// If the range is not within [`LogReader::first`] to [`LogReader::last`]. An empty one gives nothing.
    pub fn read(&mut self, from: LogIndex, to: LogIndex, bytes_max: u64) -> Result<Vec<LogEntry>, Fault> {
        if from >= to {
            return Ok(Vec::new());
        }
        assert!(from >= self.first && to <= self.last().next(), "{from} to {to} of {} to {}", self.first, self.last());
        if from < self.index.first() {
            self.index_older(from)?;
        }
        let mut room = Room { entries: Vec::new(), bytes: 0, bytes_max, full: false };
        let mut next = from;
        while next < to && !room.full {
            let (item, until) = self.index.covering(next);
            next = self.read_item(item, next, until.min(to), &mut room)?;
        }
        Ok(room.entries)
    }

    /// Reads entries that one item covers, from `next` up to `until`; gives the index at which it ended.
    fn read_item(&mut self, item: Item, next: LogIndex, until: LogIndex, room: &mut Room) -> Result<LogIndex, Fault> {
        let mut cursor = match self.cursor.take() {
            // Of the frames above the item's place, those that hold `next` are of its own run.
            Some(cursor) if cursor.next == next && cursor.place >= item.place => cursor,
            Some(_) | None => Cursor { next, place: item.place, frame: None },
        };
        let mut window = self.window_over(cursor.place.segment)?;
        while cursor.next < until && !room.full {
            cursor.step(&mut window, until, room).map_err(|flaw| flaw.fault(&self.path(window.segment())))?;
        }
        let reached = cursor.next;
        self.window = Some(window);
        self.cursor = Some(cursor);
        Ok(reached)
    }

    fn window_over(&mut self, number: SegmentNumber) -> Result<Window, Fault> {
        match self.window.take() {
            Some(window) if window.segment() == number => Ok(window),
            Some(_) | None => {
                let file = self.open(number)?;
                let end = if number == self.end.segment { self.end.offset } else { file.len()? };
                Ok(Window::new(file, self.options.node, number, end))
            }
        }
    }

    /// Opens a segment where it is, or where it was moved to a moment ago.
    fn open(&self, number: SegmentNumber) -> Result<Arc<dyn DiskFile>, Fault> {
        let folder = self.segments.folders[&number];
        let opened = self.disk.open(&folder.path(number), OpenMode::Read);
        match folder {
            Folder::Log => opened.or_else(|fault| self.disk.open(&Folder::History.path(number), OpenMode::Read).map_err(|_| fault)),
            Folder::History => opened,
        }
    }

    /// Indexes the segments below those that are indexed, down to the one in which `from` is.
    fn index_older(&mut self, from: LogIndex) -> Result<(), Fault> {
        // Without any entry indexed, all are in sealed segments.
        let indexed = self.index.first_place().map_or(self.end.segment, |place| place.segment);
        let mut headers = BTreeMap::new();
        for number in self.segments.folders.range(..=indexed).rev().map(|(number, _)| *number) {
            let folder = self.segments.folders[&number];
            let header = segment::durable_header(&*self.open(number)?, folder, number, &self.options)?;
            let first = header.first_index;
            headers.insert(number, header);
            if first <= from {
                break;
            }
        }
        let mut replay = Replay::at(headers.values().next().expect("the indexed segment is there"));
        for ((number, header), next) in headers.iter().zip(headers.values().skip(1)) {
            let file = self.open(*number)?;
            let end = file.len()?;
            let mut window = Window::new(file, self.options.node, *number, end);
            replay.sealed(&mut window, &self.path(*number), header, next, &mut |_| {})?;
        }
        self.index.prepend(replay.index);
        assert!(self.index.first() <= from, "entry {from} was not found from {} on", self.first);
        Ok(())
    }

    fn path(&self, number: SegmentNumber) -> String {
        self.segments.folders[&number].path(number)
    }

    /// The segments in `log/` all of whose entries are at or below `flushed`, ascending, for
    /// [`move_to_history`](super::move_to_history). The open segment is never among them.
    pub fn sealed_below(&self, flushed: LogIndex) -> Vec<SegmentNumber> {
        let Some(kept) = self.segments.beginning_above(flushed) else {
            return Vec::new();
        };
        // From the newest down, because history is long and what is still in `log/` is not.
        let below = self.segments.folders.range(..kept).rev();
        let mut sealed: Vec<_> = below.take_while(|(_, folder)| **folder == Folder::Log).map(|(number, _)| *number).collect();
        sealed.reverse();
        sealed
    }

    /// A scrub of what is in `log/` and durable now.
    pub fn scrub(&self) -> LogScrub {
        let segments = self.segments.folders.iter().filter(|(_, folder)| **folder == Folder::Log).map(|(number, _)| *number).collect();
        LogScrub::new(self.options, segments, self.end)
    }

    /// A scrub of some sealed segments.
    pub fn scrub_of(&self, sealed: &[SegmentNumber]) -> LogScrub {
        LogScrub::new(self.options, sealed.iter().copied().collect(), self.end)
    }

    /// Takes note that these segments were moved to `history/`. Their entries can still be read.
    pub fn retire(&mut self, segments: &[SegmentNumber]) {
        for number in segments {
            let folder = self.segments.folders.get_mut(number).expect("only segments of this log are retired");
            *folder = Folder::History;
        }
        self.first_kept = self.segments.first_kept().unwrap_or(self.first_kept);
        if let Some((oldest, _)) = self.segments.folders.iter().find(|(_, folder)| **folder == Folder::Log) {
            self.index.forget_below(Place { segment: *oldest, offset: 0 });
        }
    }
}
