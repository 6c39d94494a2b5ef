//! Making batches durable: one frame, one write, one sync each, in segments that are made as they are needed.
//!
//! Kept true here: a call that returned is durable; after a fault nothing more is written. What the frames mean to a
//! reader is told by value, in [`Appended`].

use std::sync::Arc;

use onebox_service::buggify::buggify;
use onebox_service::planted::planted;
use onebox_service::{Fault, FaultKind};

use super::format::{Durable, MEMBERSHIP_BYTES_MAX, Place, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentNumber, WRITER, encode_frame};
use super::index::FrameEntries;
use super::replay::Replay;
use super::segment::{self, Folder};
use super::{Batch, HardState, LogOptions};
use crate::disk::{Disk, DiskFile};
use crate::names::{LogIndex, Term};

/// What one append made durable, for [`LogReader::note`](super::LogReader::note).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the reader must be told"]
pub struct Appended {
    pub(super) place: Place,
    pub(super) end: Place,
    pub(super) entries: Option<FrameEntries>,
    /// If the frame is the first of a new segment: that segment's first index.
    pub(super) made: Option<LogIndex>,
}

/// The writing end of a log. There is one.
#[derive(Debug)]
pub struct LogWriter {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    file: Arc<dyn DiskFile>,
    /// The size of the open segment; the setting may have been another when it was made.
    segment_bytes: u64,
    /// The open segment was made by another version of the program, and is left as it is.
    leave_segment: bool,
    spare: bool,
    durable: Durable,
    last: LogIndex,
    last_term: Term,
    hard_state: HardState,
    membership: Option<Vec<u8>>,
    frame: Vec<u8>,
    failed: Option<Fault>,
}

impl LogWriter {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        file: Arc<dyn DiskFile>,
        segment_bytes: u64,
        leave_segment: bool,
        replay: &Replay,
    ) -> Result<LogWriter, Fault> {
        let spare = segment::spare_is_there(&*disk, options.segment_bytes)?;
        let last = replay.index.last();
        Ok(LogWriter {
            disk,
            options,
            file,
            segment_bytes,
            leave_segment,
            spare,
            durable: replay.durable(),
            last,
            last_term: replay.index.term(last).expect("the last entry's term is known"),
            hard_state: replay.hard_state,
            membership: replay.membership.clone(),
            frame: Vec::new(),
            failed: None,
        })
    }

    /// The last entry of the log.
    pub fn last(&self) -> LogIndex {
        self.last
    }

    /// Whether [`prepare_spare`](super::prepare_spare) should be run. It stays so until [`LogWriter::note_spare`].
    pub fn needs_spare(&self) -> bool {
        !self.spare
    }

    /// A spare was prepared.
    pub fn note_spare(&mut self) {
        self.spare = true;
    }

    /// Makes a batch durable: one write and one sync, and a new segment where the batch does not fit the open one.
    ///
    /// # Errors
    /// The fault. It is final: every later call gives the same one. Only a batch larger than
    /// [`LogOptions::frame_bytes_max`] is refused without being final; nothing was done then.
    ///
    /// # Panics
    /// If the entries' indexes are not consecutive, leave a gap behind the log's last entry, or would supersede an entry
    /// at or below the commit index of the last hard state; if the membership is empty or longer than
    /// [`MEMBERSHIP_BYTES_MAX`](super::MEMBERSHIP_BYTES_MAX).
    pub fn append(&mut self, batch: &Batch) -> Result<Appended, Fault> {
        if let Some(fault) = &self.failed {
            return Err(fault.clone());
        }
        let entries = self.check(batch);
        let (bytes, most) = (batch.frame_bytes(), self.options.frame_bytes_max());
        if bytes > most {
            let path = Folder::Log.path(self.segment());
            return Err(Fault::new(FaultKind::Io, "append", path, format!("a batch of {bytes} bytes; the most is {most}")));
        }
        let appended = self.write(batch, bytes, entries);
        if let Err(fault) = &appended {
            self.failed = Some(fault.clone());
        }
        appended
    }

    fn check(&self, batch: &Batch) -> Option<FrameEntries> {
        let entries = FrameEntries::of(batch.entries.iter().map(|entry| (entry.index, entry.term)));
        let entries = entries.unwrap_or_else(|index| panic!("entry {index} of a batch does not follow the one before it"));
        if let Some(entries) = &entries {
            let (last, commit) = (self.last, self.hard_state.commit);
            assert!(entries.first <= last.next(), "entry {} leaves a gap behind {last}", entries.first);
            assert!(entries.first > commit, "entry {} would supersede what is committed up to {commit}", entries.first);
        }
        if let Some(membership) = &batch.membership {
            assert!(!membership.is_empty(), "a membership has bytes");
            assert!(membership.len() <= MEMBERSHIP_BYTES_MAX, "a membership of {} bytes", membership.len());
        }
        entries
    }

    fn write(&mut self, batch: &Batch, bytes: u64, entries: Option<FrameEntries>) -> Result<Appended, Fault> {
        let full = self.leave_segment || buggify("a segment ends early", 64) || self.durable.end.offset + bytes > self.segment_bytes;
        let made = full.then(|| self.last.next());
        let place = if full { self.make_segment()? } else { self.durable.end };
        let sequence = self.durable.sequence.next();
        encode_frame(batch, self.options.node, sequence, place, self.durable, &mut self.frame);
        assert_eq!(self.frame.len() as u64, bytes, "a frame has the size that was reckoned");
        let written = self.file.write_at(place.offset, &self.frame).and_then(|()| match self.file.sync() {
            Err(_) if planted("a failed sync taken for success") => Ok(()),
            synced => synced,
        });
        if let Err(fault) = written {
            // Whole in the system's cache and not on the disk, the frame would be believed by the next process. It was
            // acknowledged to nobody: blot it out there, as far as that still works.
            let _ = segment::write_zeros(&*self.file, place.offset, place.offset + bytes);
            return Err(fault);
        }
        let end = Place { segment: place.segment, offset: place.offset + bytes };
        self.durable = Durable { sequence, end };
        if let Some(entries) = &entries {
            self.last = entries.last;
            self.last_term = entries.terms.last().expect("entries have terms").1;
        }
        self.hard_state = batch.hard_state.unwrap_or(self.hard_state);
        if batch.membership.is_some() {
            self.membership.clone_from(&batch.membership);
        }
        Ok(Appended { place, end, entries, made })
    }

    fn make_segment(&mut self) -> Result<Place, Fault> {
        let header = SegmentHeader {
            writer: WRITER.to_owned(),
            node: self.options.node,
            number: self.segment().next(),
            first_sequence: self.durable.sequence.next(),
            first_index: self.last.next(),
            term_below: self.last_term,
            hard_state: self.hard_state,
            membership: self.membership.clone(),
        };
        self.file = segment::make(&*self.disk, &self.options, &header)?;
        self.segment_bytes = self.options.segment_bytes;
        self.leave_segment = false;
        self.spare = false;
        Ok(Place { segment: header.number, offset: SEGMENT_HEADER_BYTES })
    }

    fn segment(&self) -> SegmentNumber {
        self.durable.end.segment
    }
}
