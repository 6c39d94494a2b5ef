//! A log begun anew has nothing of the one before, wherever that was interrupted.

mod log_model;

use std::sync::Arc;

use log_model::{Chance, Model, open_all, options};
use onebox_store::log::{Reset, move_to_history, open, peek, reset};
use onebox_store::memory::MemoryDisk;
use onebox_store::{Disk, LogIndex, Term};

const SEGMENT_BYTES: u64 = 32 << 10;

/// A log of several segments, one of which an interrupted move left in both folders.
fn log_with_a_segment_twice() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut opened = open_all(&disk, SEGMENT_BYTES).expect("opens");
    let (mut model, mut chance) = (Model::default(), Chance(7));
    while opened.reader.sealed_below(model.hard_state.commit).len() < 3 {
        let batch = model.next_batch(&mut chance, 2_500);
        opened.reader.note(opened.writer.append(&batch).expect("appends"));
        model.take(&batch);
    }
    let sealed = opened.reader.sealed_below(model.hard_state.commit);
    move_to_history(&disk, &sealed[..2]).expect("moves");
    let twice = disk.files().into_iter().rfind(|file| file.starts_with("history/")).expect("it was moved");
    disk.write_file(&twice.replace("history", "log"), &disk.read_file(&twice).expect("is there"));
    disk
}

#[test]
fn every_segment_goes_also_one_that_is_there_twice() {
    let disk = log_with_a_segment_twice();
    let options = options(SEGMENT_BYTES);
    let before = peek(&disk, options, LogIndex(0)).expect("reads").expect("there is a log");
    let behind = LogIndex(10_000);
    let anew =
        Reset { segment: before.next_segment, behind, term_behind: Term(9), hard_state: before.hard_state, membership: Some(vec![1]) };
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    for _ in 0..2 {
        reset(&shared, options, &anew).expect("is begun anew");
        let segments: Vec<String> = disk.files().into_iter().filter(|file| file.ends_with(".seg")).collect();
        assert_eq!(segments, [format!("log/{}.seg", before.next_segment)]);
        let opened = open(Arc::clone(&shared), options, behind, Term(9), None).expect("opens");
        assert_eq!((opened.reader.last(), opened.hard_state.vote), (behind, before.hard_state.vote));
    }
}
