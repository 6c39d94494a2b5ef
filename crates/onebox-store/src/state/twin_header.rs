//! A file whose first sector is replaced whole or not at all, whatever a power loss leaves of an unsynced write.
//!
//! redb writes the roots of its trees in place, in its first sector, and everything else to pages that no durable root
//! names. The disk may garble a sector that was being written, so two copies of that one take turns here: each has a
//! number and a checksum, and the one that was last synced is never written over. Layout in FORMAT.md, section 'The base'.
//!
//! It knows nothing of what is stored, and keeps a copy of the first sector in memory.

use std::sync::{Arc, Mutex, MutexGuard};

use onebox_service::Fault;

use super::encoding::damage;
use crate::DiskFile;
use crate::disk::SECTOR_BYTES;

const SECTOR: usize = SECTOR_BYTES as usize;

/// Checksum, then number, before the first sector's bytes; so many of its own last bytes have to be zeros.
const HEAD_BYTES: usize = 16;

/// A file that seems to be [`SECTOR_BYTES`] shorter than it is.
#[derive(Debug)]
pub(crate) struct TwinHeader {
    file: Arc<dyn DiskFile>,
    header: Mutex<Header>,
}

#[derive(Debug)]
struct Header {
    sector: Vec<u8>,
    /// The number of the copy that is durable; the other one is written next.
    durable: u64,
    written: bool,
}

impl TwinHeader {
    /// Opens the file; an empty one stays so.
    pub(crate) fn open(file: Arc<dyn DiskFile>) -> Result<TwinHeader, Fault> {
        let mut header = Header { sector: vec![0; SECTOR], durable: 0, written: false };
        let len = file.len()?;
        if len > 0 {
            // Timeline to avoid: a process wrote copy N + 1 and was killed before its sync; this one found it in the
            // system's cache, took it for durable, and wrote over N, the only durable copy; the power failed.
            file.sync()?;
            let copies = [read_copy(&*file, len, 0)?, read_copy(&*file, len, 1)?];
            let newest = copies.into_iter().flatten().max_by_key(|(number, _)| *number);
            let Some((number, sector)) = newest else {
                return Err(damage("open", "both copies of its first sector are damaged".to_owned()));
            };
            header = Header { sector, durable: number, written: false };
        }
        Ok(TwinHeader { file, header: Mutex::new(header) })
    }

    pub(crate) fn len(&self) -> Result<u64, Fault> {
        Ok(self.file.len()?.saturating_sub(SECTOR_BYTES))
    }

    pub(crate) fn set_len(&self, len: u64) -> Result<(), Fault> {
        self.file.set_len(len + SECTOR_BYTES)
    }

    pub(crate) fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Fault> {
        let (header_len, rest) = split(offset, into.len());
        let (from_header, from_file) = into.split_at_mut(header_len);
        if header_len > 0 {
            from_header.copy_from_slice(&self.header().sector[offset as usize..][..header_len]);
        }
        if from_file.is_empty() { Ok(()) } else { self.file.read_at(rest + SECTOR_BYTES, from_file) }
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let (header_len, rest) = split(offset, bytes.len());
        let (to_header, to_file) = bytes.split_at(header_len);
        if header_len > 0 {
            let mut header = self.header();
            header.sector[offset as usize..][..header_len].copy_from_slice(to_header);
            header.written = true;
            let number = header.durable + 1;
            self.file.write_at(place(number), &copy(number, &header.sector))?;
        }
        if to_file.is_empty() { Ok(()) } else { self.file.write_at(rest + SECTOR_BYTES, to_file) }
    }

    /// Makes what was written durable. Writers of the first sector do not run beside it.
    pub(crate) fn sync(&self) -> Result<(), Fault> {
        let synced = self.file.sync();
        let mut header = self.header();
        if let Err(fault) = synced {
            if header.written {
                // In the system's cache and not on the disk, and no later sync would tell: the next process must not
                // believe this copy.
                let _ = self.file.write_at(place(header.durable + 1), &[0; SECTOR]);
            }
            return Err(fault);
        }
        if std::mem::take(&mut header.written) {
            header.durable += 1;
        }
        Ok(())
    }

    fn header(&self) -> MutexGuard<'_, Header> {
        self.header.lock().expect("no thread panics while it holds the header")
    }
}

/// How many bytes of a range are in the first sector, and where the others start.
fn split(offset: u64, len: usize) -> (usize, u64) {
    let header_len = SECTOR_BYTES.saturating_sub(offset).min(len as u64);
    (header_len as usize, offset + header_len)
}

fn place(number: u64) -> u64 {
    number % 2 * SECTOR_BYTES
}

fn copy(number: u64, sector: &[u8]) -> Vec<u8> {
    let (bytes, end) = sector.split_at(SECTOR - HEAD_BYTES);
    assert!(end.iter().all(|byte| *byte == 0), "the end of the first sector is not used");
    let mut copy = vec![0; HEAD_BYTES];
    copy[8..].copy_from_slice(&number.to_le_bytes());
    copy.extend_from_slice(bytes);
    let checksum = crc_fast::crc32_iscsi(&copy[4..]);
    copy[..4].copy_from_slice(&checksum.to_le_bytes());
    copy
}

/// The number and the bytes of a copy, if it is whole.
fn read_copy(file: &dyn DiskFile, len: u64, number: u64) -> Result<Option<(u64, Vec<u8>)>, Fault> {
    if len < place(number) + SECTOR_BYTES {
        return Ok(None);
    }
    let mut bytes = vec![0; SECTOR];
    file.read_at(place(number), &mut bytes)?;
    let (checksum, rest) = bytes.split_at(4);
    let found = u64::from_le_bytes(bytes[8..HEAD_BYTES].try_into().expect("eight bytes"));
    if checksum != crc_fast::crc32_iscsi(rest).to_le_bytes() || place(found) != place(number) {
        return Ok(None);
    }
    let mut sector = bytes.split_off(HEAD_BYTES);
    sector.resize(SECTOR, 0);
    Ok(Some((found, sector)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{CrashKind, MemoryDisk};
    use crate::{Disk, OpenMode};

    #[test]
    fn the_first_sector_is_old_or_new_after_any_power_loss_and_never_older() {
        let disk = MemoryDisk::new();
        let file = TwinHeader::open(disk.open("file", OpenMode::Create).expect("creates")).expect("opens");
        disk.sync_folder("").expect("syncs");
        let mut durable = 0;
        for round in 1..=20u8 {
            // Twice before the sync, as redb may; and a write that spans the first sector's end.
            file.write_at(7, &[round; 100]).expect("writes");
            file.write_at(7, &[round; 200]).expect("writes");
            file.write_at(SECTOR_BYTES - 16 - 8, &[0; 50]).expect("writes");
            file.write_at(SECTOR_BYTES + 26, &[round; 3]).expect("writes");
            let mut seen = [0; 2];
            for seed in 0..50 {
                let image = disk.crash_image(seed, CrashKind::Random);
                if image.read_file("file").expect("is there").is_empty() {
                    continue;
                }
                let opened = TwinHeader::open(image.open("file", OpenMode::Write).expect("opens"));
                let Ok(opened) = opened else {
                    assert_eq!(durable, 0, "round {round}, seed {seed}: {opened:?}");
                    continue;
                };
                let mut bytes = [0; 100];
                opened.read_at(7, &mut bytes).expect("reads");
                assert!(bytes == [round; 100] || bytes == [durable; 100], "round {round}, seed {seed}: {bytes:?}");
                seen[usize::from(bytes[0] == round)] += 1;
            }
            assert!(round == 1 || seen.iter().all(|seen| *seen > 0), "old and new were both seen: {seen:?}");
            file.sync().expect("syncs");
            durable = round;
        }
        let mut bytes = [0; 3];
        file.read_at(SECTOR_BYTES + 26, &mut bytes).expect("reads");
        assert_eq!((bytes, file.len()), ([20; 3], Ok(SECTOR_BYTES + 29)));
    }

    /// A file whose copy 2 is durable, with redb's bytes `[2; 100]`.
    fn with_two_copies(disk: &MemoryDisk) {
        let file = TwinHeader::open(disk.open("file", OpenMode::Create).expect("creates")).expect("opens");
        disk.sync_folder("").expect("syncs");
        for round in 1..=2u8 {
            file.write_at(0, &[round; 100]).expect("writes");
            file.sync().expect("syncs");
        }
    }

    fn open(disk: &MemoryDisk) -> TwinHeader {
        TwinHeader::open(disk.open("file", OpenMode::Write).expect("opens")).expect("a copy is whole")
    }

    fn first_byte(file: &TwinHeader) -> u8 {
        let mut bytes = [0; 100];
        file.read_at(0, &mut bytes).expect("reads");
        assert_eq!(bytes, [bytes[0]; 100], "one write, whole");
        bytes[0]
    }

    /// Copy 3 is written and `ended` without being durable; the next process writes a copy too; the power is lost.
    fn assert_a_copy_survives(ended: impl Fn(&MemoryDisk, &TwinHeader), expected: u8) {
        let disk = MemoryDisk::new();
        with_two_copies(&disk);
        let killed = open(&disk);
        killed.write_at(0, &[3; 100]).expect("writes");
        ended(&disk, &killed);
        disk.restart_process();
        let next = open(&disk);
        assert_eq!(first_byte(&next), expected);
        next.write_at(0, &[4; 100]).expect("writes");
        let mut seen = [0; 2];
        for seed in 0..200 {
            let found = first_byte(&open(&disk.crash_image(seed, CrashKind::Random)));
            assert!(found == expected || found == 4, "seed {seed}: {found}");
            seen[usize::from(found == 4)] += 1;
        }
        assert!(seen.iter().all(|seen| *seen > 10), "old and new were both seen: {seen:?}");
    }

    #[test]
    fn a_copy_that_a_killed_process_left_is_made_durable_before_the_other_is_written_over() {
        assert_a_copy_survives(|_, _| {}, 3);
    }

    #[test]
    fn a_copy_whose_sync_failed_is_not_believed_by_the_next_process() {
        let fail = |disk: &MemoryDisk, file: &TwinHeader| {
            disk.fail_next("sync", "file");
            file.sync().expect_err("was asked to fail");
        };
        assert_a_copy_survives(fail, 2);
    }
}
