//! The bytes of one file of the memory disk, sector by sector; zeros take no room.

use std::sync::Arc;

use crate::disk::SECTOR_BYTES;

pub(super) const SECTOR: usize = SECTOR_BYTES as usize;
pub(super) static ZERO_SECTOR: [u8; SECTOR] = [0; SECTOR];

/// The bytes of a sector; none stands for zeros.
pub(super) type Sector = Option<Arc<[u8; SECTOR]>>;

/// A file's bytes, in sectors; those of zeros take no room.
#[derive(Clone, Default)]
pub(super) struct Image {
    pub(super) sectors: Vec<Sector>,
    pub(super) len: u64,
}

impl Image {
    pub(super) fn sector(&self, sector: usize) -> Sector {
        self.sectors.get(sector).cloned().flatten()
    }

    pub(super) fn read(&self, offset: u64, into: &mut [u8]) {
        let mut done = 0;
        for (sector, start, end) in pieces(offset, offset + into.len() as u64) {
            let bytes = self.sectors[sector].as_deref().unwrap_or(&ZERO_SECTOR);
            into[done..done + end - start].copy_from_slice(&bytes[start..end]);
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
                *held = (*whole != ZERO_SECTOR).then(|| Arc::new(*whole));
                continue;
            }
            Arc::make_mut(held.get_or_insert_with(|| Arc::new(ZERO_SECTOR)))[start..end].copy_from_slice(piece);
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
            self.sectors.resize(len.div_ceil(SECTOR_BYTES) as usize, None);
            self.len = len;
        }
    }

    pub(super) fn cut(&mut self, len: u64) {
        if len < self.len {
            self.sectors.truncate(len.div_ceil(SECTOR_BYTES) as usize);
            let kept = (len % SECTOR_BYTES) as usize;
            if kept > 0
                && let Some(Some(last)) = self.sectors.last_mut()
            {
                Arc::make_mut(last)[kept..].fill(0);
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
