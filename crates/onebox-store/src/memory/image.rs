//! The bytes of one file of the memory disk, sector by sector; zeros, and those at the end of a sector, take no room.

use std::sync::Arc;

use crate::disk::SECTOR_BYTES;

pub(super) const SECTOR: usize = SECTOR_BYTES as usize;
/// Bytes compared at once in the search for the last that is not zero.
const CHUNK: usize = 64;

/// The bytes of a sector up to the last that is not zero; none, if all are.
#[derive(Clone, Default)]
pub(super) struct Sector(Option<Arc<[u8]>>);

impl Sector {
    pub(super) fn of(bytes: &[u8; SECTOR]) -> Sector {
        if *bytes == [0; SECTOR] {
            return Sector(None);
        }
        let (_, chunks) = bytes.as_rchunks::<CHUNK>();
        let zero_chunks = chunks.iter().rev().take_while(|chunk| **chunk == [0; CHUNK]).count();
        let bytes = &bytes[..SECTOR - zero_chunks * CHUNK];
        let last = bytes.iter().rposition(|byte| *byte != 0).expect("one is not zero");
        Sector(Some(Arc::from(&bytes[..=last])))
    }

    /// The bytes from `start` on, as many as `into` takes.
    pub(super) fn read(&self, start: usize, into: &mut [u8]) {
        let held = self.0.as_deref().and_then(|held| held.get(start..)).unwrap_or(&[]);
        let held = &held[..held.len().min(into.len())];
        let (front, rest) = into.split_at_mut(held.len());
        front.copy_from_slice(held);
        rest.fill(0);
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.len())
    }

    pub(super) fn bytes(&self) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        self.read(0, &mut bytes);
        bytes
    }
}

/// A file's bytes.
#[derive(Clone, Default)]
pub(super) struct Image {
    pub(super) sectors: Vec<Sector>,
    pub(super) len: u64,
}

impl Image {
    pub(super) fn sector(&self, sector: usize) -> Sector {
        self.sectors.get(sector).cloned().unwrap_or_default()
    }

    pub(super) fn read(&self, offset: u64, into: &mut [u8]) {
        let mut done = 0;
        for (sector, start, end) in pieces(offset, offset + into.len() as u64) {
            self.sectors[sector].read(start, &mut into[done..done + end - start]);
            done += end - start;
        }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.grow(offset + bytes.len() as u64);
        let mut done = 0;
        for (sector, start, end) in pieces(offset, offset + bytes.len() as u64) {
            let piece = &bytes[done..done + end - start];
            done += end - start;
            let held = &mut self.sectors[sector];
            if let Ok(whole) = <&[u8; SECTOR]>::try_from(piece) {
                *held = Sector::of(whole);
                continue;
            }
            let mut bytes = held.bytes();
            bytes[start..end].copy_from_slice(piece);
            *held = Sector::of(&bytes);
        }
    }

    pub(super) fn change(&mut self, offset: u64, change: impl Fn(u8) -> u8) {
        if offset < self.len {
            let mut byte = [0];
            self.read(offset, &mut byte);
            self.write(offset, &[change(byte[0])]);
        }
    }

    pub(super) fn grow(&mut self, len: u64) {
        if len > self.len {
            self.sectors.resize(len.div_ceil(SECTOR_BYTES) as usize, Sector::default());
            self.len = len;
        }
    }

    pub(super) fn cut(&mut self, len: u64) {
        if len < self.len {
            self.sectors.truncate(len.div_ceil(SECTOR_BYTES) as usize);
            let kept = (len % SECTOR_BYTES) as usize;
            if kept > 0
                && let Some(last) = self.sectors.last_mut()
            {
                let mut bytes = last.bytes();
                bytes[kept..].fill(0);
                *last = Sector::of(&bytes);
            }
            self.len = len;
        }
    }
}

/// The sectors of a byte range: number, and the range within each.
pub(super) fn pieces(from: u64, to: u64) -> impl Iterator<Item = (usize, usize, usize)> {
    let first = (from / SECTOR_BYTES) as usize;
    let last = to.div_ceil(SECTOR_BYTES) as usize;
    (first..last).map(move |sector| {
        let at = sector as u64 * SECTOR_BYTES;
        let start = from.saturating_sub(at) as usize;
        let end = (to - at).min(SECTOR_BYTES) as usize;
        (sector, start, end)
    })
}
