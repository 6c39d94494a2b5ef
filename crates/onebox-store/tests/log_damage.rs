//! Damage below a durable end is reported with its file and offset, and changes nothing; an interrupted write is cut
//! without a word; bytes that mean nothing are let be.

mod log_model;

use std::sync::Arc;

use crc_fast::{CrcAlgorithm, Digest};
use log_model::{Chance, Model, NODE, frames, held, open_all, options};
use onebox_service::{Fault, FaultKind};
use onebox_store::log::{Batch, Cut, move_to_history, open, prepare_spare};
use onebox_store::memory::MemoryDisk;
use onebox_store::{Disk, DiskFile, LogIndex, NodeId, OpenMode, Term};

const SEGMENT_BYTES: u64 = 32 << 10;

/// A log of several segments, the first in `history/`, with a marker as its last frame.
fn small_log() -> (MemoryDisk, Model) {
    let disk = MemoryDisk::new();
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    let (mut model, mut chance) = (Model::default(), Chance(42));
    let open_segment = || disk.files().into_iter().rfind(|file| file.starts_with("log/0")).expect("there is one");
    while !open_segment().ends_with("5.seg") {
        let batch = model.next_batch(&mut chance, 2_500);
        opened.reader.note(opened.writer.append(&batch).expect("appends"));
        model.take(&batch);
    }
    opened.reader.note(opened.writer.append(&Batch::default()).expect("appends"));
    let sealed = opened.reader.sealed_below(model.hard_state.commit);
    assert!(!sealed.is_empty());
    move_to_history(&disk, &sealed[..1]).expect("moves");
    (disk, model)
}

fn segments(disk: &MemoryDisk) -> Vec<String> {
    let mut files = disk.files();
    files.retain(|file| file.ends_with(".seg"));
    files.sort_by_key(|file| file.rsplit('/').next().map(str::to_owned));
    files
}

fn contents(disk: &MemoryDisk) -> Vec<(String, Option<Vec<u8>>)> {
    disk.files().into_iter().map(|file| (file.clone(), disk.read_file(&file))).collect()
}

#[test]
fn every_flipped_bit_that_means_something_is_found() {
    let (disk, model) = small_log();
    let files = segments(&disk);
    let newest = files.last().expect("there are segments");
    let (mut damaged, mut ignored, mut cut) = (0, 0, 0);
    for file in &files {
        let frames = frames(&disk.read_file(file).expect("is there"));
        let (last_frame, last_bytes) = *frames.last().expect("each has frames");
        let whole: u64 = last_frame + last_bytes;
        // All bytes of every header, and a sample of the rest that meets each sector several times.
        let near = |at: u64| at < 140 || frames.iter().any(|(frame, _)| (*frame..frame + 90).contains(&at));
        for at in (0..SEGMENT_BYTES).filter(|at| near(*at) || at % 509 == 0 || at % 4096 == 4095) {
            disk.flip_bit(file, at);
            let before = contents(&disk);
            let found = open_all(&disk, SEGMENT_BYTES);
            let start = frames.iter().rev().find(|(frame, _)| *frame <= at).map_or(0, |(frame, _)| *frame);
            if at < whole && !(file == newest && at >= last_frame) {
                let fault = found.expect_err("damage is not skipped");
                assert_eq!((fault.kind, &fault.file), (FaultKind::Damage, file), "byte {at}: {fault}");
                assert!(fault.detail.starts_with(&format!("offset {start}: ")), "byte {at} of frame at {start}: {fault}");
                assert_eq!(contents(&disk), before, "damage changes nothing");
                damaged += 1;
            } else {
                let mut opened = found.expect("opens");
                assert_eq!(held(&mut opened, &mut Chance(at)), Ok(model.clone()));
                let expected = (file == newest).then(|| Cut { file: file.clone(), offset: start.max(if at >= whole { whole } else { 0 }) });
                assert_eq!(opened.cut, expected);
                ignored += u32::from(file != newest);
                cut += u32::from(file == newest);
                for (file, bytes) in before {
                    disk.write_file(&file, &bytes.expect("is there"));
                }
            }
            disk.flip_bit(file, at);
        }
    }
    assert!(damaged > 1_000 && ignored > 10 && cut > 100, "{damaged} {ignored} {cut}");
}

#[test]
fn rot_behind_the_reader_is_found_when_it_is_read() {
    let (disk, model) = small_log();
    for file in segments(&disk) {
        for (frame, _) in frames(&disk.read_file(&file).expect("is there")) {
            let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
            disk.flip_bit(&file, frame + 70);
            match held(&mut opened, &mut Chance(frame)) {
                // The frame has no entry that still counts.
                Ok(found) => assert_eq!(found, model),
                Err(fault) => {
                    assert_eq!((fault.kind, &fault.file), (FaultKind::Damage, &file));
                    assert!(fault.detail.starts_with(&format!("offset {frame}: ")), "{fault}");
                }
            }
            disk.flip_bit(&file, frame + 70);
        }
    }
    let file = &segments(&disk)[1];
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    disk.flip_bit(file, frames(&disk.read_file(file).expect("is there"))[0].0 + 70);
    held(&mut opened, &mut Chance(0)).expect_err("the first frame of a segment has entries here");
}

#[test]
fn a_scrub_finds_rot_in_every_frame_of_what_is_in_the_log_folder() {
    let (disk, mut model) = small_log();
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    assert_eq!(opened.reader.scrub().finish(&disk), Ok(()));
    let (mut found, mut bits) = (0, 0);
    for file in segments(&disk) {
        let frames = frames(&disk.read_file(&file).expect("is there"));
        for (start, at) in frames.iter().map(|(frame, _)| (*frame, frame + 70)).chain([(0, 130)]) {
            disk.flip_bit(&file, at);
            // Also the last frame: nobody would know of it after a start.
            match opened.reader.scrub().finish(&disk) {
                Ok(()) => assert!(file.starts_with("history/"), "{file} at {at}"),
                Err(fault) => {
                    assert_eq!((fault.kind, &fault.file), (FaultKind::Damage, &file));
                    assert!(fault.detail.starts_with(&format!("offset {start}: ")), "{fault}");
                    found += 1;
                }
            }
            bits += 1;
            disk.flip_bit(&file, at);
        }
    }
    assert!(found > 20 && found < bits, "{found} of {bits}");
    // What comes later, and what is moved meanwhile, is no damage.
    let begun = opened.reader.scrub();
    let mut chance = Chance(7);
    for _ in 0..20 {
        let batch = model.next_batch(&mut chance, 2_500);
        opened.reader.note(opened.writer.append(&batch).expect("appends"));
        model.take(&batch);
    }
    let sealed = opened.reader.sealed_below(model.hard_state.commit);
    move_to_history(&disk, &sealed[..1]).expect("moves");
    assert_eq!(begun.finish(&disk), Ok(()));
}

#[test]
fn a_read_error_is_told_and_is_not_damage() {
    let (disk, model) = small_log();
    disk.fail_next("read", "log/0000000000000003.seg");
    let fault = open_all(&disk, SEGMENT_BYTES).expect_err("was asked to fail");
    assert_eq!((fault.kind, fault.operation), (FaultKind::Io, "read"));
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    disk.fail_next("read", "log/0000000000000003.seg");
    assert_eq!(held(&mut opened, &mut Chance(1)).expect_err("was asked to fail").kind, FaultKind::Io);
    assert_eq!(held(&mut opened, &mut Chance(1)), Ok(model));
}

#[test]
fn missing_segments_are_named() {
    let (disk, model) = small_log();
    let files = segments(&disk);
    for (number, file) in files.iter().enumerate().take(files.len() - 1) {
        let (disk, _) = small_log();
        onebox_store::Disk::remove(&disk, file).expect("removes");
        let fault = open_all(&disk, SEGMENT_BYTES).expect_err("a segment is missing");
        assert_eq!((fault.kind, fault.file), (FaultKind::Damage, format!("log/{:016}.seg", number + 1)));
    }
    // With what the base holds, the oldest may be archived.
    onebox_store::Disk::remove(&disk, &files[0]).expect("removes");
    let applied = model.hard_state.commit;
    let opened = open(Arc::new(disk.clone()), options(SEGMENT_BYTES), applied, model.term(applied), None).expect("opens");
    assert!(opened.reader.first() > LogIndex(1) && opened.reader.first() <= applied);
    // A log that is gone, or ends below what the base holds, or is of another history, is not a new log.
    let gone = open(Arc::new(MemoryDisk::new()), options(SEGMENT_BYTES), LogIndex(1), Term(1), None);
    assert_eq!(gone.expect_err("the log is gone").kind, FaultKind::Damage);
    let (disk, model) = small_log();
    let above = open(Arc::new(disk.clone()), options(SEGMENT_BYTES), model.last().next(), Term(9), None);
    assert_eq!(above.expect_err("the log ends too early").kind, FaultKind::Damage);
    let other = open(Arc::new(disk), options(SEGMENT_BYTES), applied, Term(model.term(applied).0 + 1), None);
    assert_eq!(other.expect_err("another term").kind, FaultKind::Damage);
}

#[test]
fn a_missing_open_segment_above_sealed_history_is_named() {
    let (disk, model) = small_log();
    for file in segments(&disk) {
        if file.starts_with("log/") && !file.ends_with("5.seg") {
            let name = file.trim_start_matches("log/");
            onebox_store::Disk::rename(&disk, &file, &format!("history/{name}")).expect("renames");
        }
    }
    onebox_store::Disk::remove(&disk, "log/0000000000000005.seg").expect("removes");
    let fault = open_all(&disk, SEGMENT_BYTES).expect_err("the open segment is missing");
    assert_eq!((fault.kind, fault.file.as_str()), (FaultKind::Damage, "log/0000000000000005.seg"), "{model:?}");
}

#[test]
fn the_log_of_another_node_is_refused() {
    let (disk, _) = small_log();
    let mut other = options(SEGMENT_BYTES);
    other.node = NodeId(7);
    let fault = open(Arc::new(disk), other, LogIndex(0), Term(0), None).expect_err("another node's");
    assert_eq!(fault.kind, FaultKind::Foreign);
    assert!(fault.detail.contains(&NODE.to_string()) && fault.detail.contains(&NodeId(7).to_string()), "{fault}");
}

#[test]
fn a_frame_in_the_wrong_place_is_damage() {
    let (disk, _) = small_log();
    let file = &segments(&disk)[2];
    let mut bytes = disk.read_file(file).expect("is there");
    let frames = frames(&bytes);
    let (from, size) = frames[1];
    let moved = bytes[from as usize..(from + size) as usize].to_vec();
    // Whole, of this log, and written over another: a misdirected write.
    bytes[4096..4096 + moved.len()].copy_from_slice(&moved);
    disk.write_file(file, &bytes);
    let fault = open_all(&disk, SEGMENT_BYTES).expect_err("is damage");
    assert_eq!((fault.kind, &fault.file), (FaultKind::Damage, file));
    assert!(fault.detail.starts_with("offset 4096: "), "{fault}");
}

#[test]
fn garbage_behind_the_end_is_cut_for_good() {
    let (disk, mut model) = small_log();
    let newest = segments(&disk).pop().expect("there is one");
    let mut bytes = disk.read_file(&newest).expect("is there");
    let (last, size) = *frames(&bytes).last().expect("has frames");
    let end = last + size;
    bytes[end as usize + 100..].fill(0xa5);
    disk.write_file(&newest, &bytes);
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    assert_eq!(opened.cut, Some(Cut { file: newest.clone(), offset: end }));
    assert_eq!(held(&mut opened, &mut Chance(0)), Ok(model.clone()));
    assert!(disk.read_file(&newest).expect("is there")[end as usize..].iter().all(|byte| *byte == 0));
    let batch = model.next_batch(&mut Chance(1), 100);
    opened.reader.note(opened.writer.append(&batch).expect("appends"));
    model.take(&batch);
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    assert_eq!((opened.cut.clone(), held(&mut opened, &mut Chance(0))), (None, Ok(model)));
}

#[test]
fn what_a_newer_version_wrote_names_the_version_to_install() {
    let (disk, _) = small_log();
    let file = segments(&disk)[3].clone();
    let original = disk.read_file(&file).expect("is there");

    // A newer format, as its header says.
    let mut bytes = original.clone();
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    bytes[16..48].fill(0);
    bytes[16..21].copy_from_slice(b"9.3.0");
    bytes[12..16].fill(0);
    let sum = crc(&[&bytes[..4096]]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    disk.write_file(&file, &bytes);
    let fault = open_all(&disk, SEGMENT_BYTES).expect_err("a newer format");
    assert_eq!((fault.kind, &fault.file), (FaultKind::Version, &file));
    assert!(fault.detail.ends_with("written by onebox 9.3.0; install that version or newer"), "{fault}");

    // A kind of record that this version does not know.
    let mut bytes = original;
    let has_records = |frame: &&(u64, u64)| bytes[frame.0 as usize + 12] > 0;
    let (frame, size) = frames(&bytes).iter().find(has_records).map(|(frame, size)| (*frame as usize, *size as usize)).expect("one");
    bytes[frame + 64] = 77;
    let sum = crc(&[&NODE.0.to_le_bytes(), &bytes[frame + 8..frame + size]]);
    bytes[frame + 4..frame + 8].copy_from_slice(&sum.to_le_bytes());
    disk.write_file(&file, &bytes);
    let fault = open_all(&disk, SEGMENT_BYTES).expect_err("a newer record");
    assert_eq!((fault.kind, &fault.file), (FaultKind::Version, &file));
    assert!(fault.detail.contains("kind 77") && fault.detail.contains("install that version or newer"), "{fault}");
}

fn crc(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize() as u32
}

/// A disk whose listings do not show one file.
#[derive(Debug)]
struct Hiding {
    disk: MemoryDisk,
    name: &'static str,
}

impl Disk for Hiding {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn DiskFile>, Fault> {
        self.disk.open(path, mode)
    }

    fn make_folder(&self, folder: &str) -> Result<(), Fault> {
        self.disk.make_folder(folder)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, Fault> {
        let names = self.disk.list(folder)?;
        Ok(names.into_iter().filter(|name| name != self.name).collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> Result<(), Fault> {
        self.disk.remove(path)
    }

    fn sync_folder(&self, folder: &str) -> Result<(), Fault> {
        self.disk.sync_folder(folder)
    }

    fn free_bytes(&self) -> Result<u64, Fault> {
        self.disk.free_bytes()
    }
}

fn assert_not_written_over(fault: &Fault, path: &str) {
    assert_eq!((fault.kind, fault.operation, fault.file.as_str()), (FaultKind::Damage, "create", path));
    assert!(fault.detail.contains("is not written over"), "{fault}");
}

#[test]
fn a_segment_that_is_not_listed_is_not_written_over() {
    for (spare, folder) in [(false, "log"), (true, "log"), (true, "history")] {
        let (first, second) = ("0000000000000001.seg", "0000000000000002.seg");
        let disk = MemoryDisk::new();
        let path = format!("{folder}/{first}");
        disk.make_folder("log").expect("makes");
        disk.write_file(&path, &[7; 10_000]);
        if spare {
            prepare_spare(&disk, SEGMENT_BYTES).expect("prepares");
        }
        let hiding = Arc::new(Hiding { disk: disk.clone(), name: first });
        let fault = open(hiding, options(SEGMENT_BYTES), LogIndex(0), Term(0), None).expect_err("the first segment is there");
        assert_not_written_over(&fault, &path);
        assert_eq!(disk.read_file(&path), Some(vec![7; 10_000]));

        // The same for the segment after the open one.
        let disk = MemoryDisk::new();
        let path = format!("{folder}/{second}");
        let hiding = Arc::new(Hiding { disk: disk.clone(), name: second });
        let mut opened = open(hiding, options(SEGMENT_BYTES), LogIndex(0), Term(0), None).expect("opens");
        disk.write_file(&path, &[7; 10_000]);
        if spare {
            prepare_spare(&disk, SEGMENT_BYTES).expect("prepares");
        }
        let fault = (0..100).find_map(|_| opened.writer.append(&Batch::default()).err()).expect("the segment is full one day");
        assert_not_written_over(&fault, &path);
        assert_eq!(disk.read_file(&path), Some(vec![7; 10_000]));
    }
}
