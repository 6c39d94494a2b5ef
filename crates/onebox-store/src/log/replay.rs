//! Reading segments forward: what their frames add up to, and where they stop being readable.
//!
//! Used at a start for what the base does not hold, and later for older segments that are asked for. It judges sealed
//! segments itself (every frame must be there) and leaves the end of the open one to `open.rs`. It changes nothing.

use onebox_service::{Fault, FaultKind};

use super::HardState;
use super::format::{Durable, FRAME_HEADER_BYTES, FrameHeader, Place, Record, RecordFlaw, SegmentHeader, Sequence, record_at};
use super::index::{FrameEntries, Index};
use super::segment::newer;
use super::window::Window;
use crate::names::{LogIndex, Term};

/// What the frames so far add up to.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) index: Index,
    pub(super) hard_state: HardState,
    pub(super) membership: Option<Vec<u8>>,
    /// The frame that comes next.
    pub(super) sequence: Sequence,
    /// The end of the last frame.
    pub(super) end: Place,
}

/// Told after each frame how many of its bytes were read.
pub(super) type EachFrame<'a> = dyn FnMut(u64) + 'a;

impl Replay {
    /// Begins at the first frame of a segment.
    pub(super) fn at(header: &SegmentHeader) -> Replay {
        Replay {
            index: Index::behind(LogIndex(header.first_index.0.saturating_sub(1)), header.term_below),
            hard_state: header.hard_state,
            membership: header.membership.clone(),
            sequence: header.first_sequence,
            end: first_place(header),
        }
    }

    /// The end of what was read, as the next frame will assert it.
    pub(super) fn durable(&self) -> Durable {
        Durable { sequence: Sequence(self.sequence.0 - 1), end: self.end }
    }

    /// Reads a sealed segment, all of whose frames were durable before `next` was made.
    pub(super) fn sealed(
        &mut self,
        window: &mut Window,
        path: &str,
        header: &SegmentHeader,
        next: &SegmentHeader,
        each: &mut EachFrame<'_>,
    ) -> Result<(), Fault> {
        self.enter(path, header)?;
        let end = self.frames(window, path, header, Some(next.first_sequence), each)?;
        if self.sequence != next.first_sequence {
            let what = format!("frame {} is missing or does not read back as written", self.sequence.0);
            return Err(damage(path, end, &format!("{what}; frames up to {} were durable", next.first_sequence.0 - 1)));
        }
        if window.frame(end)?.is_some() {
            return Err(damage(path, end, &format!("a frame that segment {} says is not there", next.number)));
        }
        Ok(())
    }

    /// Reads the open segment as far as whole frames go and gives the offset behind them.
    pub(super) fn open_segment(
        &mut self,
        window: &mut Window,
        path: &str,
        header: &SegmentHeader,
        each: &mut EachFrame<'_>,
    ) -> Result<u64, Fault> {
        self.enter(path, header)?;
        self.frames(window, path, header, None, each)
    }

    /// A header restates what came before it; the two must agree.
    fn enter(&self, path: &str, header: &SegmentHeader) -> Result<(), Fault> {
        let last = self.index.last();
        let differs = [
            ("sequence number", header.first_sequence != self.sequence),
            ("first index", header.first_index != last.next()),
            ("hard state", header.hard_state != self.hard_state),
            ("membership", header.membership != self.membership),
        ];
        if let Some((name, _)) = differs.iter().find(|(_, differs)| *differs) {
            return Err(damage(path, 0, &format!("the header restates another {name} than the segments before it gave")));
        }
        if header.first_index > LogIndex(1) && self.index.term(last) != Some(header.term_below) {
            let what = format!("the header gives entry {last} the {:?}, and the segments before do not", header.term_below);
            return Err(damage(path, 0, &what));
        }
        Ok(())
    }

    fn frames(
        &mut self,
        window: &mut Window,
        path: &str,
        header: &SegmentHeader,
        stop: Option<Sequence>,
        each: &mut EachFrame<'_>,
    ) -> Result<u64, Fault> {
        let mut offset = first_place(header).offset;
        while Some(self.sequence) != stop {
            let Some(frame) = window.frame(offset)? else { break };
            if frame.sequence != self.sequence {
                let what = format!("frame {} where frame {} was expected", frame.sequence.0, self.sequence.0);
                return Err(damage(path, offset, &what));
            }
            self.frame(window, path, header, &frame)?;
            offset += frame.padded_bytes();
            self.sequence = self.sequence.next();
            self.end = Place { segment: header.number, offset };
            each(frame.padded_bytes());
        }
        Ok(offset)
    }

    fn frame(&mut self, window: &mut Window, path: &str, header: &SegmentHeader, frame: &FrameHeader) -> Result<(), Fault> {
        let offset = frame.place.offset;
        let bytes = window.bytes(offset, frame.length as usize)?;
        let mut entries: Vec<(LogIndex, Term)> = Vec::new();
        let mut at = FRAME_HEADER_BYTES;
        for _ in 0..frame.records {
            let (record, next) = record_at(bytes, at).map_err(|flaw| flawed(flaw, path, offset, at, &header.writer))?;
            at = next;
            match record {
                Record::Entry { index, term, .. } => entries.push((index, term)),
                Record::HardState(hard_state) => self.hard_state = hard_state,
                Record::Membership(membership) => self.membership = Some(membership.to_vec()),
            }
        }
        if at != bytes.len() {
            return Err(damage(path, offset, "the frame is longer than its records"));
        }
        let entries = FrameEntries::of(entries.into_iter())
            .map_err(|index| damage(path, offset, &format!("entry {index} does not follow the entry before it")))?;
        if let Some(entries) = entries {
            let next = self.index.last().next();
            if entries.first > next || entries.first == LogIndex(0) {
                let what = format!("entry {} where entry {next} or one below was expected", entries.first);
                return Err(damage(path, offset, &what));
            }
            self.index.add(frame.place, &entries);
        }
        Ok(())
    }
}

pub(super) fn damage(path: &str, offset: u64, what: &str) -> Fault {
    Fault::new(FaultKind::Damage, "read", path, format!("offset {offset}: {what}"))
}

/// The fault of a record that cannot be read in a frame that is whole.
pub(super) fn flawed(flaw: RecordFlaw, path: &str, offset: u64, at: usize, writer: &str) -> Fault {
    match flaw {
        RecordFlaw::UnknownKind(kind) => newer(path, &format!("offset {offset}: a record of kind {kind}"), writer),
        RecordFlaw::Malformed => damage(path, offset, &format!("the record at byte {at} of the frame does not fit it")),
    }
}

fn first_place(header: &SegmentHeader) -> Place {
    Place { segment: header.number, offset: super::format::SEGMENT_HEADER_BYTES }
}
