//! The log's bytes stay what FORMAT.md says: a golden log per format version reads back, and is written the same; and
//! what an append costs the disk.

mod log_model;

use std::path::PathBuf;

use log_model::{Chance, Model, held, open_all, options};
use onebox_service::FaultKind;
use onebox_store::log::{Batch, HardState, LogEntry, move_to_history, prepare_spare};
use onebox_store::memory::MemoryDisk;
use onebox_store::{LogIndex, Term};

const SEGMENT_BYTES: u64 = 16 << 10;

fn golden_path(segment: u64) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/log-v1-{segment}.seg"))
}

/// What the golden log was made of: every kind of record, a truncation, a marker, a second segment.
fn golden_batches() -> Vec<Batch> {
    let entry =
        |index: u64, term: u64, kind: u8, data: &[u8]| LogEntry { index: LogIndex(index), term: Term(term), kind, data: data.to_vec() };
    let hard_state = |term: u64, vote: u64, commit: u64| Some(HardState { term: Term(term), vote, commit: LogIndex(commit) });
    vec![
        Batch { hard_state: hard_state(1, 7, 0), membership: Some(b"seven".to_vec()), entries: vec![entry(1, 1, 2, b"")] },
        Batch { hard_state: None, membership: None, entries: vec![entry(2, 1, 0, b"two"), entry(3, 1, 0, b"three")] },
        Batch {
            hard_state: hard_state(2, 9, 2),
            membership: None,
            entries: vec![entry(3, 2, 1, b"three again"), entry(4, 2, 0, &[4; 300])],
        },
        Batch { hard_state: hard_state(2, 9, 4), membership: None, entries: vec![entry(5, 2, 0, &[5; 5_000])] },
        Batch::default(),
    ]
}

fn written() -> (MemoryDisk, Model) {
    let disk = MemoryDisk::new();
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    let mut model = Model::default();
    for batch in golden_batches() {
        opened.reader.note(opened.writer.append(&batch).expect("appends"));
        model.take(&batch);
    }
    (disk, model)
}

fn segment(number: u64) -> String {
    format!("log/{number:016}.seg")
}

/// Run with ONEBOX_WRITE_GOLDEN=1 once, when a format version is new.
#[test]
#[expect(clippy::disallowed_methods, reason = "golden files are files of this repository")]
fn the_golden_log_reads_back_and_is_written_the_same() {
    let (disk, model) = written();
    let golden_disk = MemoryDisk::new();
    for number in [1, 2] {
        let mut bytes = disk.read_file(&segment(number)).expect("is there");
        if std::env::var_os("ONEBOX_WRITE_GOLDEN").is_some() {
            std::fs::write(golden_path(number), &bytes).expect("the golden file is writable");
        }
        let mut golden = std::fs::read(golden_path(number)).expect("the golden file is there");
        golden_disk.write_file(&segment(number), &golden);
        // The program's version, and the CRC over it, may differ.
        for changing in [12..16, 16..48] {
            golden[changing.clone()].fill(0);
            bytes[changing].fill(0);
        }
        assert!(golden == bytes, "segment {number} is no longer written as format version 1");
    }
    let mut opened = open_all(&golden_disk, SEGMENT_BYTES).expect("opens");
    assert_eq!((opened.cut.clone(), held(&mut opened, &mut Chance(0))), (None, Ok(model)));
}

#[test]
fn a_segment_of_another_program_version_is_left_as_it_is() {
    let (disk, mut model) = written();
    let path = segment(2);
    let mut bytes = disk.read_file(&path).expect("is there");
    bytes[16..48].fill(0);
    bytes[16..23].copy_from_slice(b"0.0.1-a");
    bytes[12..16].fill(0);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes[..4096]) as u32;
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    disk.write_file(&path, &bytes);
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    let batch = model.next_batch(&mut Chance(1), 10);
    opened.reader.note(opened.writer.append(&batch).expect("appends"));
    model.take(&batch);
    assert_eq!(disk.read_file(&path), Some(bytes));
    assert!(disk.files().contains(&segment(3)));
    assert_eq!(held(&mut open_all(&disk, SEGMENT_BYTES).expect("opens"), &mut Chance(2)), Ok(model));
}

#[test]
fn an_append_is_one_write_and_one_sync() {
    let disk = MemoryDisk::new();
    let mut opened = open_all(&disk, 1 << 20).expect("opens");
    let mut model = Model::default();
    for seed in 0..50 {
        let batch = model.next_batch(&mut Chance(seed), 300);
        let before = (disk.operations(), disk.sync_count(), disk.bytes_written());
        opened.reader.note(opened.writer.append(&batch).expect("appends"));
        let after = (disk.operations(), disk.sync_count(), disk.bytes_written());
        assert_eq!(after, (before.0 + 2, before.1 + 1, before.2 + batch.frame_bytes()));
        model.take(&batch);
    }
}

#[test]
fn a_prepared_spare_becomes_the_next_segment() {
    let disk = MemoryDisk::new();
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    assert!(opened.writer.needs_spare());
    prepare_spare(&disk, SEGMENT_BYTES).expect("prepares");
    opened.writer.note_spare();
    assert!(!opened.writer.needs_spare());
    assert_eq!(disk.files(), [segment(1), "log/spare".to_owned()]);
    let before = disk.bytes_written();
    let batch = Batch { entries: vec![LogEntry { index: LogIndex(1), term: Term(1), kind: 0, data: vec![1; 8_000] }], ..Batch::default() };
    opened.reader.note(opened.writer.append(&batch).expect("appends"));
    opened.reader.note(opened.writer.append(&Batch { hard_state: Some(HardState::default()), ..batch.clone() }).expect("appends"));
    assert_eq!(disk.bytes_written(), before + 2 * batch.frame_bytes() + 4096);
    assert_eq!(disk.files(), [segment(1), segment(2)]);
    assert!(opened.writer.needs_spare());
}

#[test]
fn a_batch_that_fits_no_segment_is_refused_and_nothing_else_is() {
    let disk = MemoryDisk::new();
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    let batch = |bytes: usize| Batch {
        entries: vec![LogEntry { index: LogIndex(1), term: Term(1), kind: 0, data: vec![1; bytes] }],
        ..Batch::default()
    };
    let most = options(SEGMENT_BYTES).frame_bytes_max() as usize - 64 - 5 - 17;
    let before = disk.operations();
    let fault = opened.writer.append(&batch(most + 1)).expect_err("too large");
    assert_eq!((fault.kind, fault.operation, disk.operations()), (FaultKind::Io, "append", before));
    opened.reader.note(opened.writer.append(&batch(most)).expect("fits"));
    assert_eq!(opened.reader.read(LogIndex(1), LogIndex(2), 0).expect("reads"), batch(most).entries);
}

/// A segment is made for the entry after the last, and may then get one that supersedes entries before it: the segment after it begins
/// with a lower one. With only the older of the two in view, what was kept seemed to begin above what the replica had to read.
#[test]
fn what_is_kept_for_peers_is_also_known_where_entries_were_superseded() {
    let disk = MemoryDisk::new();
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    let entry = |index: u64, term: u64| LogEntry { index: LogIndex(index), term: Term(term), kind: 0, data: vec![1; 5_000] };
    for (index, term) in [(1, 1), (2, 1), (3, 1), (4, 1), (2, 2), (3, 2)] {
        let batch = Batch { entries: vec![entry(index, term)], ..Batch::default() };
        opened.reader.note(opened.writer.append(&batch).expect("appends"));
    }
    let applied = LogIndex(2);
    let sealed = opened.reader.sealed_below(applied);
    assert_eq!(sealed.len(), 5, "each entry has a segment of its own");
    for retired in [&sealed[..4], &sealed[4..]] {
        move_to_history(&disk, retired).expect("moves");
        opened.reader.retire(retired);
        assert_eq!(opened.reader.first_kept(), applied.next());
        assert_eq!(opened.reader.read(applied.next(), LogIndex(4), u64::MAX), Ok(vec![entry(3, 2)]));
    }
}

#[test]
fn entries_below_the_base_are_read_when_asked_for_and_not_before() {
    let disk = MemoryDisk::new();
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    let (mut model, mut chance) = (Model::default(), Chance(17));
    while disk.files().len() < 12 {
        let batch = model.next_batch(&mut chance, 1_000);
        opened.reader.note(opened.writer.append(&batch).expect("appends"));
        model.take(&batch);
    }
    let applied = model.hard_state.commit;
    let sealed = opened.reader.sealed_below(applied);
    assert!(sealed.len() > 4, "{sealed:?}");
    move_to_history(&disk, &sealed).expect("moves");
    assert_eq!(opened.reader.sealed_below(applied), sealed, "until they are retired");
    opened.reader.retire(&sealed);
    assert_eq!(opened.reader.sealed_below(applied), []);
    assert_eq!(log_model::read_all(&mut opened.reader, &mut chance), Ok(model.entries.clone()));

    // A start does not look into segments below the base: what is wrong there is found when it is read.
    let second = "history/0000000000000002.seg";
    disk.flip_bit(second, 5_000);
    let open = || {
        let disk = std::sync::Arc::new(disk.clone());
        onebox_store::log::open(disk, options(SEGMENT_BYTES), applied, model.term(applied), None).expect("opens")
    };
    let mut opened = open();
    let above = opened.reader.read(applied.next(), model.last().next(), u64::MAX);
    assert_eq!(above, Ok(model.entries[applied.0 as usize..].to_vec()));
    let fault = opened.reader.read(LogIndex(1), model.last(), u64::MAX).expect_err("is damaged");
    assert_eq!((fault.kind, fault.file.as_str()), (FaultKind::Damage, second));
    disk.flip_bit(second, 5_000);
    assert_eq!(held(&mut open(), &mut chance), Ok(model));
}

#[test]
fn progress_is_told_in_bytes() {
    let disk = MemoryDisk::new();
    let mut opened = open_all(&disk, 1 << 20).expect("opens");
    let mut model = Model::default();
    let mut chance = Chance(4);
    for _ in 0..400 {
        let batch = model.next_batch(&mut chance, 10_000);
        opened.reader.note(opened.writer.append(&batch).expect("appends"));
        model.take(&batch);
    }
    let mut told = Vec::new();
    let mut progress = |done: u64, total: u64| told.push((done, total));
    let disk = std::sync::Arc::new(disk);
    onebox_store::log::open(disk, options(1 << 20), LogIndex(0), Term(0), Some(&mut progress)).expect("opens");
    assert!(told.len() > 2 && told.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 == pair[1].1), "{told:?}");
}
