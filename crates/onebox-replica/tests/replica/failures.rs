//! What goes wrong: a service's code that panics, entries that cannot be applied again, a disk that fails.

use onebox_replica::{Limits, Note, Stop};
use onebox_service::attempt::Reply;
use onebox_service::{Code, FaultKind};
use onebox_store::LogIndex;
use onebox_store::disk::SECTOR_BYTES;

use crate::rig::{Rig, SECOND, call, keyed, refused, set, told, verdict};
use crate::service::{Ask, BOOM, DRAW, Replay};

#[test]
fn a_panic_changes_nothing_and_the_next_request_is_carried_out() {
    for (in_apply, words) in [(false, "run of Boom"), (true, "apply of Exploded")] {
        let mut rig = Rig::new(Limits::default());
        let session = rig.session();
        rig.set(session, "cell", b"1");
        let before = rig.replica.digests();
        // In one entry with others, which must not be taken back with it.
        let boom = Ask { key: "cell".to_owned(), value: b"2".to_vec(), flag: in_apply, ..Ask::default() };
        let first = rig.send(call(session, 10, DRAW, &Ask::default()));
        let bug = rig.send(keyed("key", call(session, 11, BOOM, &boom)));
        let second = rig.send(call(session, 12, DRAW, &Ask::default()));
        rig.settle();
        refused(rig.reply(bug).unwrap(), Code::Internal, words);
        refused(rig.reply(bug).unwrap(), Code::Internal, "changed nothing");
        assert_eq!([first, second].map(|token| told(rig.reply(token).unwrap()).number), [1, 2]);
        assert!(rig.desk.notes.iter().any(|note| matches!(note, Note::Bug { method: "Boom", what } if what == words)));
        let between = rig.replica.digests();
        assert_ne!(between, before);
        refused(&rig.carry_out(call(session, 13, BOOM, &boom)), Code::Internal, words);
        assert_eq!(rig.replica.digests(), between, "alone in an entry, it makes none");
        assert_eq!(verdict(&rig.carry_out(keyed("key", set(session, 11, "cell", b"3")))), Ok(false), "its id and its key are free");
        rig.restarted(Limits::default());
    }
}

#[test]
fn a_panic_in_a_query_is_a_bug_of_that_query() {
    let rig = Rig::new(Limits::default());
    let failure = rig.answer(BOOM, &Ask::default()).unwrap_err();
    assert!(matches!(&failure, onebox_service::Failure::Bug(words) if words.contains("not read-only")), "{failure:?}");
}

#[test]
fn an_id_that_is_drawn_and_not_recorded_is_a_bug() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let before = rig.replica.digests();
    let reply = rig.carry_out(call(session, 1, DRAW, &Ask { flag: true, ..Ask::default() }));
    refused(&reply, Code::Internal, "id 1 was drawn with new_id() and not recorded");
    assert_eq!(rig.replica.digests(), before);
    assert_eq!(told(&rig.carry_out(call(session, 1, DRAW, &Ask::default()))).number, 1);
}

/// A log whose fourth entry writes a cell, after some that do not.
fn with_a_cell() -> (Rig, LogIndex) {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    for sequence in 1..=3 {
        assert_eq!(verdict(&rig.carry_out(call(session, sequence, DRAW, &Ask::default()))), Ok(false));
    }
    rig.set(session, "cell", b"1");
    let at = rig.replica.status().progress.0;
    assert_eq!(verdict(&rig.carry_out(call(session, 5, DRAW, &Ask::default()))), Ok(false));
    (rig, at)
}

/// Replays until it stops, and checks that a stopped replica stays so.
fn stop_of(rig: Rig, replay: Replay) -> (Rig, Stop) {
    let mut rig = rig.reopened(Limits::default(), replay);
    rig.settle();
    let stop = rig.desk.stop.clone().expect("the replica stops");
    assert!(!rig.replica.status().serves);
    assert!(rig.desk.frame.is_none(), "nothing is written any more");
    rig.pass(SECOND);
    rig.tick();
    let (attempt, read) = (rig.send(call(1, 9, DRAW, &Ask::default())), rig.read("cell"));
    rig.settle();
    assert!(matches!(rig.reply(attempt), Some(Reply::Retry(_))) && matches!(rig.reply(read), Some(Reply::Retry(_))));
    (rig, stop)
}

#[test]
fn a_committed_entry_that_panics_is_poison_and_names_event_and_position() {
    let (rig, at) = with_a_cell();
    let digests = rig.replica.digests();
    let (rig, stop) = stop_of(rig, Replay::Panics);
    let what = "event Written (number 1): this build cannot write cells".to_owned();
    assert_eq!(stop, Stop::Poison { at, what });
    assert!(stop.to_string().contains("install a build that can"), "{stop}");
    // The build that can goes on as if nothing had been.
    let mut rig = rig.reopened(Limits::default(), Replay::Faithful);
    rig.settle();
    assert_eq!(rig.replica.digests(), digests);
}

#[test]
fn an_entry_that_replays_to_other_rows_is_divergence() {
    let (rig, at) = with_a_cell();
    let digests = rig.replica.digests();
    let (rig, stop) = stop_of(rig, Replay::WritesElse);
    assert!(matches!(&stop, Stop::Diverged { at: found, what } if *found == at && what.contains("it left the state")), "{stop}");
    let mut rig = rig.reopened(Limits::default(), Replay::Faithful);
    rig.settle();
    assert_eq!(rig.replica.digests(), digests);
}

#[test]
fn a_log_that_rots_while_the_replica_runs_is_told_and_nothing_stops() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    rig.set(session, "cell", b"1");
    let told_in_twelve_minutes = |rig: &mut Rig| {
        rig.desk.notes.clear();
        for _ in 0..12 * 60 * 20 {
            rig.tick();
            rig.settle();
        }
        std::mem::take(&mut rig.desk.notes)
    };
    let sound = told_in_twelve_minutes(&mut rig);
    assert!(!sound.iter().any(|note| matches!(note, Note::LogScrub(_))), "{sound:?}");
    let segment = "log/0000000000000001.seg";
    rig.disk.flip_bit(segment, SECTOR_BYTES + 70);
    let notes = told_in_twelve_minutes(&mut rig);
    assert!(
        notes.iter().any(|note| matches!(note, Note::LogScrub(fault) if fault.kind == FaultKind::Damage && fault.file == segment)),
        "{notes:?}"
    );
    assert_eq!(verdict(&rig.carry_out(call(session, 11, DRAW, &Ask::default()))), Ok(false));
}

/// In the history nobody would look at it again until somebody needs it.
#[test]
fn a_segment_that_rotted_is_told_when_it_moves_to_the_history() {
    let mut rig = Rig::sized(Limits { log_replay_bytes_max: 8 << 10, ..Limits::default() }, 64 << 10, usize::MAX / 4);
    let session = rig.session();
    let is_there = |rig: &Rig, file: &str| rig.disk.files().iter().any(|name| name == file);
    let set_until = |rig: &mut Rig, file: &str| {
        let mut sets = 0;
        while !is_there(rig, file) {
            rig.set(session, "cell", b"1");
            sets += 1;
            assert!(sets < 1_000, "{file} does not come");
        }
    };
    set_until(&mut rig, "log/0000000000000002.seg");
    assert!(!is_there(&rig, "history/0000000000000001.seg"));
    rig.disk.flip_bit("log/0000000000000001.seg", SECTOR_BYTES + 70);
    set_until(&mut rig, "history/0000000000000003.seg");
    let found: Vec<_> = rig.desk.notes.iter().filter(|note| matches!(note, Note::LogScrub(_))).collect();
    assert!(matches!(found[..], [Note::LogScrub(fault)] if fault.file.ends_with("/0000000000000001.seg")), "{found:?}");
}

#[test]
fn a_log_that_fails_makes_sealed_entries_unknown_and_all_else_certain() {
    let mut rig = Rig::new(Limits { entries_in_flight_max: 2, ..Limits::default() });
    let session = rig.session();
    let sealed = [1, 2].map(|sequence| {
        let token = rig.send(call(session, sequence, DRAW, &Ask::default()));
        rig.turn();
        token
    });
    let open = rig.send(call(session, 3, DRAW, &Ask::default()));
    let repeated = rig.send(call(session, 1, DRAW, &Ask::default()));
    rig.turn();
    rig.disk.fail_next("sync", "log/");
    rig.persist();
    let arriving = rig.send(call(session, 4, DRAW, &Ask::default()));
    rig.turn();
    assert!(matches!(&rig.desk.stop, Some(Stop::Fault(fault)) if fault.kind == FaultKind::Io), "{:?}", rig.desk.stop);
    for token in sealed {
        assert!(matches!(rig.reply(token), Some(Reply::Unknown(_))), "it may be on the disk: {:?}", rig.reply(token));
    }
    for token in [open, repeated, arriving] {
        assert!(matches!(rig.reply(token), Some(Reply::Retry(_))), "nothing is said of it: {:?}", rig.reply(token));
    }
    let mut rig = rig.reopened(Limits::default(), Replay::Faithful);
    rig.settle();
    let drawn: Vec<_> = (1..=4).map(|sequence| told(&rig.carry_out(call(session, sequence, DRAW, &Ask::default()))).number).collect();
    assert_eq!(drawn, [1, 2, 3, 4], "whatever was on the disk, each took effect once");
}

#[test]
fn a_flush_that_finds_no_room_is_tried_again() {
    let mut rig = Rig::new(Limits { log_replay_bytes_max: 0, ..Limits::default() });
    let session = rig.session();
    rig.desk.notes.clear();
    rig.disk.set_capacity(0);
    rig.send(set(session, 1, "cell", &[1; 100_000]));
    rig.turn();
    rig.disk.set_capacity(u64::MAX);
    rig.persist();
    rig.turn();
    rig.disk.set_capacity(0);
    rig.work();
    rig.settle();
    let postponed = |rig: &Rig| rig.desk.notes.iter().filter(|note| matches!(note, Note::FlushPostponed(_))).count();
    assert_eq!(postponed(&rig), 1, "{:?}", rig.desk.notes);
    refused(&rig.carry_out(set(session, 2, "cell", b"")), Code::ResourceExhausted, "the disk is nearly full");
    for _ in 0..21 {
        rig.tick();
        rig.settle();
    }
    assert_eq!(postponed(&rig), 1, "it is told once");
    rig.disk.set_capacity(u64::MAX);
    rig.desk.notes.clear();
    for _ in 0..21 {
        rig.tick();
        rig.settle();
    }
    assert!(rig.desk.notes.iter().any(|note| matches!(note, Note::Flushed { .. })), "{:?}", rig.desk.notes);
    assert_eq!(rig.desk.stop, None);
    assert_eq!(verdict(&rig.carry_out(set(session, 2, "cell", b""))), Ok(false), "writes are taken again");
}
