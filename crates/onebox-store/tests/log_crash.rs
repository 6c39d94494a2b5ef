//! After a power loss at any moment, also while recovering from one, the log holds every acknowledged batch exactly,
//! and the one that was not acknowledged whole or not at all.

mod log_model;

use std::sync::Arc;

use log_model::{Chance, Model, held, open_all, options};
use onebox_service::{Fault, FaultKind};
use onebox_store::log::{Batch, Opened, move_to_history, open, prepare_spare};
use onebox_store::memory::{CrashKind, MemoryDisk};
use onebox_store::{LogIndex, Term};

const SEGMENT_BYTES: u64 = 32 << 10;

/// A node as far as the log is concerned: what the log must hold, and what the base holds.
struct Node {
    model: Model,
    /// Sent to the log and not acknowledged when the power went.
    pending: Option<Batch>,
    applied: LogIndex,
}

impl Node {
    /// Uses the log until the power is lost; gives the fault.
    fn run(&mut self, disk: &MemoryDisk, chance: &mut Chance) -> Fault {
        let mut opened = match self.open(disk) {
            Ok(opened) => opened,
            Err(fault) => return fault,
        };
        loop {
            if let Err(fault) = self.turn(disk, &mut opened, chance) {
                return fault;
            }
        }
    }

    fn open(&self, disk: &MemoryDisk) -> Result<Opened, Fault> {
        open(Arc::new(disk.clone()), options(SEGMENT_BYTES), self.applied, self.model.term(self.applied), None)
    }

    fn turn(&mut self, disk: &MemoryDisk, opened: &mut Opened, chance: &mut Chance) -> Result<(), Fault> {
        if opened.writer.needs_spare() && chance.one_in(4) {
            prepare_spare(disk, SEGMENT_BYTES)?;
            opened.writer.note_spare();
        }
        let batch = self.model.next_batch(chance, 1_500);
        self.pending = Some(batch.clone());
        let appended = opened.writer.append(&batch)?;
        opened.reader.note(appended);
        self.pending = None;
        self.model.take(&batch);
        if chance.one_in(5) {
            self.compare_a_range(opened, chance)?;
        }
        if chance.one_in(6) {
            self.applied = LogIndex(self.applied.0 + chance.below(self.model.hard_state.commit.0 - self.applied.0 + 1));
            let sealed = opened.reader.sealed_below(self.applied);
            move_to_history(disk, &sealed)?;
            opened.reader.retire(&sealed);
        }
        Ok(())
    }

    fn compare_a_range(&self, opened: &mut Opened, chance: &mut Chance) -> Result<(), Fault> {
        let count = self.model.last().0;
        if count > 0 {
            let from = 1 + chance.below(count);
            let to = from + 1 + chance.below(count + 1 - from);
            let entries = opened.reader.read(LogIndex(from), LogIndex(to), chance.below(8_000))?;
            assert_eq!(entries[..], self.model.entries[from as usize - 1..from as usize - 1 + entries.len()]);
        }
        Ok(())
    }

    /// Opens what the power loss left, compares, and goes on from there.
    fn recover(&mut self, disk: &MemoryDisk, chance: &mut Chance, seed: u64) {
        let mut opened = self.open(disk).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
        assert_eq!(opened.reader.scrub().finish(disk), Ok(()), "seed {seed}: a sound log is sound");
        let found = held(&mut opened, chance).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
        let mut with_pending = self.model.clone();
        with_pending.take(&self.pending.take().unwrap_or_default());
        assert!(found == self.model || found == with_pending, "seed {seed}: neither with the last batch nor without");
        self.model = found;
    }
}

fn kind(chance: &mut Chance) -> CrashKind {
    match chance.below(8) {
        0 => CrashKind::DropAll,
        1 => CrashKind::KeepAll,
        _ => CrashKind::Random,
    }
}

#[test]
fn acknowledged_batches_survive_any_power_loss() {
    let (mut images, mut cuts_met, mut interrupted_recoveries, mut histories) = (0, 0, 0, 0);
    for seed in 0..600 {
        let mut chance = Chance(seed);
        let mut disk = MemoryDisk::new();
        let mut node = Node { model: Model::default(), pending: None, applied: LogIndex(0) };
        for _ in 0..4 {
            disk.fail_after(chance.below(120));
            let fault = node.run(&disk, &mut chance);
            assert_eq!((fault.kind, fault.detail.as_str()), (FaultKind::Io, "power lost"), "seed {seed}: {fault}");
            disk = disk.crash_image(chance.next(), kind(&mut chance));
            images += 1;
            while chance.one_in(2) {
                disk.fail_after(chance.below(5));
                let interrupted = node.open(&disk);
                interrupted_recoveries += u32::from(interrupted.is_err());
                disk = disk.crash_image(chance.next(), kind(&mut chance));
                images += 1;
            }
            cuts_met += u32::from(node.open(&disk.crash_image(0, CrashKind::KeepAll)).is_ok_and(|opened| opened.cut.is_some()));
            node.recover(&disk, &mut chance, seed);
        }
        histories += u32::from(disk.files().iter().any(|file| file.starts_with("history/")));
        node.applied = LogIndex(0);
        node.recover(&disk, &mut chance, seed);
    }
    // What never happened was not tested.
    assert!(images >= 3_000, "{images} images");
    assert!(cuts_met > 40 && interrupted_recoveries > 100 && histories > 20, "{cuts_met} {interrupted_recoveries} {histories}");
}

#[test]
fn a_killed_process_loses_nothing_and_what_it_left_is_made_durable() {
    let disk = MemoryDisk::new();
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    let mut model = Model::default();
    let batch = model.next_batch(&mut Chance(3), 100);
    disk.fail_after(1);
    // Written, and the power of the process (not of the machine) ends before the sync.
    opened.writer.append(&batch).expect_err("does not reach its sync");
    disk.restart_process();
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    model.take(&batch);
    assert_eq!(held(&mut opened, &mut Chance(0)), Ok(model.clone()));
    let image = disk.crash_image(0, CrashKind::DropAll);
    assert_eq!(held(&mut open_all(&image, SEGMENT_BYTES).expect("opens"), &mut Chance(0)), Ok(model));
}

#[test]
fn a_failed_sync_is_final_and_what_it_left_is_not_believed_later() {
    for (sync, file) in [("sync", "log/"), ("write", "log/")] {
        let disk = MemoryDisk::new();
        let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
        let mut model = Model::default();
        let mut chance = Chance(5);
        let mut append = |opened: &mut Opened| {
            let batch = model.next_batch(&mut chance, 900);
            let appended = opened.writer.append(&batch);
            appended.map(|appended| {
                opened.reader.note(appended);
                model.take(&batch);
            })
        };
        for round in 0..60 {
            for _ in 0..round % 7 {
                append(&mut opened).expect("appends");
            }
            if round % 3 == 0 {
                // Then the first sync of a new segment is that of its header.
                prepare_spare(&disk, SEGMENT_BYTES).expect("prepares");
            }
            disk.fail_next(sync, file);
            let fault = append(&mut opened).expect_err("was asked to fail");
            assert_eq!(fault.kind, FaultKind::Io);
            assert!(fault.file.starts_with("log/0"), "{fault}");
            assert_eq!(append(&mut opened), Err(fault), "the fault is final");
            // The same machine, the next process: its cache still has what the disk does not.
            disk.restart_process();
            opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
            append(&mut opened).expect("appends");
            append(&mut opened).expect("appends");
            let image = disk.crash_image(round, CrashKind::DropAll);
            let after = open_all(&image, SEGMENT_BYTES).expect("opens");
            assert_eq!(after.reader.last(), opened.reader.last());
        }
        let image = disk.crash_image(0, CrashKind::DropAll);
        assert_eq!(held(&mut open_all(&image, SEGMENT_BYTES).expect("opens"), &mut Chance(0)), Ok(model));
    }
}

#[test]
fn a_full_disk_while_making_a_segment_leaves_the_log_whole() {
    for prepared in [false, true] {
        let disk = MemoryDisk::new();
        disk.set_capacity(2 * SEGMENT_BYTES + SEGMENT_BYTES / 2);
        let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
        let (mut model, mut chance) = (Model::default(), Chance(9));
        if prepared {
            prepare_spare(&disk, SEGMENT_BYTES).expect("fits");
            assert_eq!(prepare_spare(&disk, 2 * SEGMENT_BYTES).expect_err("does not fit").kind, FaultKind::DiskFull);
        }
        let fault = loop {
            let batch = model.next_batch(&mut chance, 1_000);
            match opened.writer.append(&batch) {
                Ok(appended) => opened.reader.note(appended),
                Err(fault) => break fault,
            }
            model.take(&batch);
        };
        assert_eq!(fault.kind, FaultKind::DiskFull);
        assert!(model.last() > LogIndex(10));
        // It opens on the full disk, and goes on when there is room.
        let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
        assert_eq!(held(&mut opened, &mut chance), Ok(model.clone()));
        disk.set_capacity(u64::MAX);
        for _ in 0..20 {
            let batch = model.next_batch(&mut chance, 1_000);
            opened.reader.note(opened.writer.append(&batch).expect("appends"));
            model.take(&batch);
        }
        let image = disk.crash_image(1, CrashKind::DropAll);
        assert_eq!(held(&mut open_all(&image, SEGMENT_BYTES).expect("opens"), &mut chance), Ok(model));
    }
}

#[test]
fn a_spare_that_once_got_a_header_is_never_taken_for_a_segment_with_frames() {
    // A segment is being made of the spare when the power goes, again and again, while smaller batches still fit
    // the open one.
    for seed in 0..200 {
        let mut chance = Chance(seed);
        let mut disk = MemoryDisk::new();
        let mut model = Model::default();
        let entry = |model: &Model, bytes: usize| {
            let index = model.last().next();
            Batch { entries: vec![onebox_store::log::LogEntry { index, term: Term(1), kind: 0, data: vec![7; bytes] }], ..Batch::default() }
        };
        let mut pending = None;
        for _ in 0..12 {
            let mut opened = open_all(&disk, SEGMENT_BYTES).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
            let found = held(&mut opened, &mut chance).expect("reads");
            let mut with_pending = model.clone();
            with_pending.take(&pending.take().unwrap_or_default());
            assert!(found == model || found == with_pending, "seed {seed}");
            model = found;
            prepare_spare(&disk, SEGMENT_BYTES).expect("prepares");
            disk.fail_after(chance.below(12));
            loop {
                let batch = entry(&model, if chance.one_in(4) { 26_000 } else { chance.below(6_000) as usize });
                pending = Some(batch.clone());
                if opened.writer.append(&batch).is_err() {
                    break;
                }
                model.take(&batch);
            }
            disk = disk.crash_image(chance.next(), CrashKind::Random);
        }
    }
}
