//! The log's bytes: segment headers, frames and records, to and from memory. FORMAT.md is the text of this file.
//!
//! Pure: no disk, no state. What decodes here is whole; whether it belongs where it was found is decided elsewhere.

use std::fmt;

use crc_fast::{CrcAlgorithm, Digest};

use super::{Batch, HardState, LogEntry};
use crate::disk::SECTOR_BYTES;
use crate::names::{LogIndex, NodeId, Term};

/// The version of the log's format that this build writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// The most bytes that a membership may have: it must fit a segment's header.
pub const MEMBERSHIP_BYTES_MAX: usize = SEGMENT_HEADER_BYTES as usize - MEMBERSHIP_AT;

pub(super) const SEGMENT_HEADER_BYTES: u64 = SECTOR_BYTES;
pub(super) const FRAME_HEADER_BYTES: usize = 64;

/// What this build calls itself in the segments that it makes.
pub(super) const WRITER: &str = env!("CARGO_PKG_VERSION");

const SEGMENT_MAGIC: &[u8; 8] = b"oneboxlg";
const FRAME_MAGIC: &[u8; 4] = b"frm1";
const HEADER_CRC_AT: usize = 12;
const WRITER_AT: usize = 16;
const WRITER_BYTES: usize = 32;
const NODE_AT: usize = 48;
const MEMBERSHIP_AT: usize = 128;
const FRAME_CRC_AT: usize = 4;
const FRAME_CRC_FROM: usize = 8;
const RECORD_HEADER_BYTES: usize = 5;
const ENTRY_HEADER_BYTES: usize = 17;
const HARD_STATE_BYTES: usize = 24;

const RECORD_ENTRY: u8 = 1;
const RECORD_HARD_STATE: u8 = 2;
const RECORD_MEMBERSHIP: u8 = 3;

/// The number of a segment of the log, from 1 up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNumber(pub u64);

impl SegmentNumber {
    pub(super) fn next(self) -> SegmentNumber {
        SegmentNumber(self.0 + 1)
    }
}

impl fmt::Display for SegmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016}", self.0)
    }
}

/// The number of a frame, from 1 up, consecutive over the whole log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sequence(pub(super) u64);

impl Sequence {
    pub(super) fn next(self) -> Sequence {
        Sequence(self.0 + 1)
    }
}

/// A place in the log. They order as they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) segment: SegmentNumber,
    pub(super) offset: u64,
}

/// What the first sector of a segment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) writer: String,
    pub(super) node: NodeId,
    pub(super) number: SegmentNumber,
    pub(super) first_sequence: Sequence,
    pub(super) first_index: LogIndex,
    pub(super) term_below: Term,
    pub(super) hard_state: HardState,
    pub(super) membership: Option<Vec<u8>>,
}

/// Why a header cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HeaderFlaw {
    /// Never written, torn or damaged.
    NotWhole,
    /// Whole, and of a format that this build does not know.
    Newer { version: u32, writer: String },
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES as usize);
        bytes.extend_from_slice(SEGMENT_MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(self.writer.as_bytes());
        assert!(bytes.len() <= NODE_AT, "the program's version fits {WRITER_BYTES} bytes: {}", self.writer);
        bytes.resize(NODE_AT, 0);
        bytes.extend_from_slice(&self.node.0.to_le_bytes());
        for number in [self.number.0, self.first_sequence.0, self.first_index.0, self.term_below.0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        put_hard_state(&self.hard_state, &mut bytes);
        let membership = self.membership.as_deref().unwrap_or_default();
        put_u32(membership.len(), &mut bytes);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(membership);
        assert!(bytes.len() <= SEGMENT_HEADER_BYTES as usize, "a membership of {} bytes", membership.len());
        bytes.resize(SEGMENT_HEADER_BYTES as usize, 0);
        let crc = header_crc(&bytes);
        bytes[HEADER_CRC_AT..HEADER_CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<SegmentHeader, HeaderFlaw> {
        assert_eq!(bytes.len() as u64, SEGMENT_HEADER_BYTES, "a header is one sector");
        if bytes[..8] != *SEGMENT_MAGIC || header_crc(bytes) != get_u32(bytes, HEADER_CRC_AT) {
            return Err(HeaderFlaw::NotWhole);
        }
        let writer = bytes[WRITER_AT..NODE_AT].split(|&byte| byte == 0).next().unwrap_or_default();
        let writer = String::from_utf8_lossy(writer).into_owned();
        let version = get_u32(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(HeaderFlaw::Newer { version, writer });
        }
        let membership_bytes = get_u32(bytes, 120) as usize;
        let membership = bytes.get(MEMBERSHIP_AT..MEMBERSHIP_AT + membership_bytes).ok_or(HeaderFlaw::NotWhole)?;
        Ok(SegmentHeader {
            writer,
            node: NodeId(u128::from_le_bytes(bytes[NODE_AT..NODE_AT + 16].try_into().expect("16 bytes"))),
            number: SegmentNumber(get_u64(bytes, 64)),
            first_sequence: Sequence(get_u64(bytes, 72)),
            first_index: LogIndex(get_u64(bytes, 80)),
            term_below: Term(get_u64(bytes, 88)),
            hard_state: get_hard_state(&bytes[96..120]),
            membership: (!membership.is_empty()).then(|| membership.to_vec()),
        })
    }
}

fn header_crc(bytes: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&bytes[..HEADER_CRC_AT]);
    digest.update(&[0; 4]);
    digest.update(&bytes[HEADER_CRC_AT + 4..]);
    digest.finalize() as u32
}

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Header and records, without the padding.
    pub(super) length: u32,
    pub(super) records: u32,
    pub(super) sequence: Sequence,
    pub(super) place: Place,
    pub(super) durable: Durable,
}

/// The end of what was durable at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Durable {
    /// The last frame below it.
    pub(super) sequence: Sequence,
    /// Where it ended, padding included.
    pub(super) end: Place,
}

impl FrameHeader {
    /// With the padding.
    pub(super) fn padded_bytes(&self) -> u64 {
        u64::from(self.length).next_multiple_of(SECTOR_BYTES)
    }

    /// Reads a header without proof that it is one; only the magic and the bounds of its length are looked at.
    pub(super) fn peek(bytes: &[u8], bytes_max: u64) -> Option<FrameHeader> {
        if bytes[..4] != *FRAME_MAGIC {
            return None;
        }
        let place = |at: usize| Place { segment: SegmentNumber(get_u64(bytes, at)), offset: get_u64(bytes, at + 8) };
        let header = FrameHeader {
            length: get_u32(bytes, 8),
            records: get_u32(bytes, 12),
            sequence: Sequence(get_u64(bytes, 16)),
            place: place(24),
            durable: Durable { sequence: Sequence(get_u64(bytes, 40)), end: place(48) },
        };
        (header.length as usize >= FRAME_HEADER_BYTES && header.padded_bytes() <= bytes_max).then_some(header)
    }
}

/// Whether a padded frame has the CRC that it gives.
pub(super) fn frame_is_whole(frame: &[u8], node: NodeId) -> bool {
    frame_crc(frame, node) == get_u32(frame, FRAME_CRC_AT)
}

fn frame_crc(frame: &[u8], node: NodeId) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&node.0.to_le_bytes());
    digest.update(&frame[FRAME_CRC_FROM..]);
    digest.finalize() as u32
}

pub(super) fn frame_bytes(batch: &Batch) -> u64 {
    let entry = |entry: &LogEntry| RECORD_HEADER_BYTES + ENTRY_HEADER_BYTES + entry.data.len();
    let entries: usize = batch.entries.iter().map(entry).sum();
    let hard_state = batch.hard_state.map_or(0, |_| RECORD_HEADER_BYTES + HARD_STATE_BYTES);
    let membership = batch.membership.as_ref().map_or(0, |bytes| RECORD_HEADER_BYTES + bytes.len());
    ((FRAME_HEADER_BYTES + entries + hard_state + membership) as u64).next_multiple_of(SECTOR_BYTES)
}

/// Encodes a batch as the frame `sequence` at `place`, padded, in place of what `frame` holds.
pub(super) fn encode_frame(batch: &Batch, node: NodeId, sequence: Sequence, place: Place, durable: Durable, frame: &mut Vec<u8>) {
    frame.clear();
    frame.resize(FRAME_HEADER_BYTES, 0);
    if let Some(hard_state) = &batch.hard_state {
        put_record(RECORD_HARD_STATE, HARD_STATE_BYTES, frame);
        put_hard_state(hard_state, frame);
    }
    if let Some(membership) = &batch.membership {
        put_record(RECORD_MEMBERSHIP, membership.len(), frame);
        frame.extend_from_slice(membership);
    }
    for entry in &batch.entries {
        put_record(RECORD_ENTRY, ENTRY_HEADER_BYTES + entry.data.len(), frame);
        frame.extend_from_slice(&entry.index.0.to_le_bytes());
        frame.extend_from_slice(&entry.term.0.to_le_bytes());
        frame.push(entry.kind);
        frame.extend_from_slice(&entry.data);
    }
    let records = batch.entries.len() + usize::from(batch.hard_state.is_some()) + usize::from(batch.membership.is_some());
    let mut header = Vec::with_capacity(FRAME_HEADER_BYTES);
    header.extend_from_slice(FRAME_MAGIC);
    header.extend_from_slice(&[0; 4]);
    put_u32(frame.len(), &mut header);
    put_u32(records, &mut header);
    for number in [sequence.0, place.segment.0, place.offset] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    for number in [durable.sequence.0, durable.end.segment.0, durable.end.offset] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    frame[..FRAME_HEADER_BYTES].copy_from_slice(&header);
    frame.resize(frame.len().next_multiple_of(SECTOR_BYTES as usize), 0);
    let crc = frame_crc(frame, node);
    frame[FRAME_CRC_AT..FRAME_CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

/// One record of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'f> {
    Entry { index: LogIndex, term: Term, kind: u8, data: &'f [u8] },
    HardState(HardState),
    Membership(&'f [u8]),
}

/// Why the next record of a whole frame cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordFlaw {
    /// A kind that this build does not know.
    UnknownKind(u8),
    /// Its lengths contradict each other.
    Malformed,
}

/// The record at `at` of a frame cut to its length, and where the one behind it is.
pub(super) fn record_at(frame: &[u8], at: usize) -> Result<(Record<'_>, usize), RecordFlaw> {
    let head = frame.get(at..at + RECORD_HEADER_BYTES).ok_or(RecordFlaw::Malformed)?;
    let start = at + RECORD_HEADER_BYTES;
    let end = start + get_u32(head, 1) as usize;
    let body = frame.get(start..end).ok_or(RecordFlaw::Malformed)?;
    let record = match head[0] {
        RECORD_ENTRY if body.len() >= ENTRY_HEADER_BYTES => Record::Entry {
            index: LogIndex(get_u64(body, 0)),
            term: Term(get_u64(body, 8)),
            kind: body[16],
            data: &body[ENTRY_HEADER_BYTES..],
        },
        RECORD_HARD_STATE if body.len() == HARD_STATE_BYTES => Record::HardState(get_hard_state(body)),
        RECORD_MEMBERSHIP if !body.is_empty() && body.len() <= MEMBERSHIP_BYTES_MAX => Record::Membership(body),
        RECORD_ENTRY | RECORD_HARD_STATE | RECORD_MEMBERSHIP => return Err(RecordFlaw::Malformed),
        unknown => return Err(RecordFlaw::UnknownKind(unknown)),
    };
    Ok((record, end))
}

fn put_record(kind: u8, length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    put_u32(length, out);
}

fn put_hard_state(hard_state: &HardState, out: &mut Vec<u8>) {
    for number in [hard_state.term.0, hard_state.vote, hard_state.commit.0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn get_hard_state(bytes: &[u8]) -> HardState {
    HardState { term: Term(get_u64(bytes, 0)), vote: get_u64(bytes, 8), commit: LogIndex(get_u64(bytes, 16)) }
}

fn put_u32(number: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(number).expect("lengths in a segment fit 32 bits").to_le_bytes());
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}
