//! A disk that fails: the replica stops and says which operation on which file, tells everyone who waits, and has lost
//! nothing when it starts again.

use onebox_replica::{Note, Stop};
use onebox_service::{Fault, FaultKind};
use onebox_store::Disk;
use onebox_store::memory::{CrashKind, MemoryDisk};

use crate::scene::Scene;

/// What is made to fail, and what the fault is then called.
const FAULTS: [(&str, &str, &str); 9] = [
    ("sync", "log/0000", "fdatasync"),
    ("write", "log/0000", "write"),
    ("sync", "log/spare", "fdatasync"),
    ("sync", "base.redb", "fdatasync"),
    ("write", "base.redb", "write"),
    ("read", "base.redb", "read"),
    ("rename", "log/0000", "rename"),
    ("sync_folder", "history", "sync_folder"),
    ("sync_folder", "log", "sync_folder"),
];

#[test]
fn a_failing_disk_stops_the_replica_and_loses_nothing() {
    let (mut unknown, mut took_effect, mut put_off) = (0, 0, 0);
    for (number, (operation, file, called)) in FAULTS.into_iter().enumerate() {
        for round in 0..6 {
            let mut scene = Scene::new(100 * number as u64 + round);
            scene.work(40 + 7 * round);
            scene.machine.disk.fail_next(operation, file);
            scene.work_until("it stops", |_| false);
            let fault = stopped_by(&scene);
            assert_eq!((fault.operation, fault.file.contains(file)), (called, true), "{operation} of {file} was to fail: {fault}");
            let counts = goes_on(scene, round);
            unknown += counts.unknown;
            took_effect += counts.took_effect;
            put_off += counts.put_off;
        }
    }
    eprintln!("{unknown} told 'unknown', {put_off} told to try again; {took_effect} told afterwards that they took effect");
    assert!(unknown > 20 && took_effect > 5 && put_off > 20, "{unknown} {took_effect} {put_off}");
}

fn stopped_by(scene: &Scene) -> Fault {
    match &scene.machine.desk.stop {
        Some(Stop::Fault(fault)) => fault.clone(),
        other => panic!("stopped by {other:?}"),
    }
}

/// After a stop: everyone is told, nothing more is acknowledged, and a start on a good disk has lost nothing.
fn goes_on(mut scene: Scene, round: u64) -> crate::client::Counts {
    // Frames and jobs that were under way end some time, and change nothing any more.
    scene.machine.answer_queries();
    scene.client.hear(&mut scene.machine);
    scene.client.check_all_told(&scene.machine);
    let acknowledged = scene.client.counts.acknowledged;
    scene.client.send_new(&mut scene.machine, &mut scene.chance);
    scene.machine.turn_anyway();
    scene.client.hear(&mut scene.machine);
    assert_eq!(scene.client.counts.acknowledged, acknowledged, "something was acknowledged after the stop");
    let (disk, mut client, chance, history, wall) = scene.kill();
    let unanswered = client.unanswered();
    let disk = match round % 4 {
        0 => disk,
        1 => disk.crash_image(round, CrashKind::DropAll),
        2 => disk.crash_image(round, CrashKind::KeepAll),
        _ => disk.crash_image(round, CrashKind::Random),
    };
    client.counts.took_effect = 0;
    let mut scene = Scene::again(&disk, wall, history, client, chance).unwrap_or_else(|fault| panic!("it does not start again: {fault}"));
    let (applied, answered_at) = (scene.machine.status().progress.0.0, scene.client.answered_at());
    assert!(applied > answered_at, "{answered_at} was acknowledged, the log ends before {applied}; stop: {:?}", scene.machine.desk.stop);
    scene.machine.desk.history.came_back(scene.machine.status().progress.0.0, scene.machine.replica.digests());
    for request in unanswered {
        scene.client.ask_fate(&mut scene.machine, request);
    }
    scene.settle();
    let counts = scene.client.counts;
    scene.client.resume(&mut scene.machine, &mut scene.chance);
    scene.settle();
    scene.work(20);
    scene.client.check_the_dead(&scene.machine);
    counts
}

#[test]
fn a_stop_in_order_finishes_what_was_taken() {
    for seed in 1..9 {
        let mut scene = Scene::new(seed);
        scene.work(40 + seed);
        // Some of it is taken and not yet executed.
        (0..12).for_each(|_| scene.client.send_new(&mut scene.machine, &mut scene.chance));
        scene.drain();
        scene.machine.answer_queries();
        scene.client.hear(&mut scene.machine);
        scene.client.check_all_told(&scene.machine);
        let applied = scene.machine.status().progress.0;
        let (disk, client, chance, history, wall) = scene.kill();
        let mut scene =
            Scene::again(&disk, wall, history, client, chance).unwrap_or_else(|fault| panic!("it does not start again: {fault}"));
        assert_eq!(scene.machine.status().progress.0, applied.next(), "only the entry that begins a term is new");
        scene.client.resume(&mut scene.machine, &mut scene.chance);
        scene.settle();
    }
}

#[test]
fn ticks_that_come_late_and_together_are_as_good_as_any() {
    let mut scene = Scene::new(2);
    scene.work(30);
    scene.settle();
    (0..60).for_each(|_| scene.machine.tick());
    scene.finish_work();
    scene.work(30);
    scene.settle();
}

#[test]
fn a_disk_that_fails_during_recovery_is_named_and_a_good_one_goes_on() {
    let mut met = 0;
    for (operation, file) in
        [("read", "log/0000"), ("open", "log/0000"), ("sync", "log/0000"), ("read", "base.redb"), ("open", "base.redb")]
    {
        let mut scene = Scene::new(31);
        scene.work(120);
        let (disk, client, chance, history, wall) = scene.kill();
        disk.fail_next(operation, file);
        let failed = Scene::again(&disk, wall, history.clone(), crate::client::Client::default(), chance.clone());
        let fault = match &failed {
            Err(fault) => fault.clone(),
            Ok(scene) => stopped_by(scene),
        };
        assert!(fault.file.contains(file) && fault.kind == FaultKind::Io, "{operation} of {file} was to fail: {fault}");
        drop(failed);
        disk.restart_process();
        let mut scene =
            Scene::again(&disk, wall, history, client, chance).unwrap_or_else(|fault| panic!("it does not start again: {fault}"));
        scene.client.resume(&mut scene.machine, &mut scene.chance);
        scene.settle();
        met += 1;
    }
    assert_eq!(met, 5);
}

const MIB: u64 = 1 << 20;
const FILLER: &str = "somebody-elses";

/// Leaves so many bytes free on the disk, with a file that is not ours.
fn leave(disk: &MemoryDisk, free: u64) {
    let used: u64 = disk.files().iter().filter_map(|file| disk.read_file(file)).map(|bytes| bytes.len() as u64).sum();
    disk.set_capacity(used + 64 * MIB);
    disk.write_file(FILLER, &vec![0; (64 * MIB - free) as usize]);
}

fn make_room(disk: &MemoryDisk) {
    disk.remove(FILLER).expect("it is there");
    disk.sync_folder("").expect("the disk is sound");
}

fn noted(scene: &Scene, which: fn(&Note) -> bool) -> bool {
    scene.machine.desk.notes.iter().any(which)
}

#[test]
fn a_nearly_full_disk_refuses_writes_answers_reads_and_resumes_by_itself() {
    let mut scene = Scene::new(3);
    scene.work(100);
    scene.settle();
    leave(&scene.machine.disk, 15 * MIB);
    scene.work_until("the disk is found low", |scene| scene.client.counts.disk_low > 30);
    assert!(noted(&scene, |note| matches!(note, Note::DiskLow { .. })));
    scene.settle();
    let effects = scene.machine.desk.history.effects();
    let refused = scene.client.counts.disk_low;
    let reads = scene.client.counts.reads;
    scene.work_until("refusals, and reads", |scene| scene.client.counts.disk_low > refused + 60 && scene.client.counts.reads > reads + 20);
    assert_eq!(scene.machine.desk.history.effects(), effects, "something was written to a disk that is nearly full");
    assert!(scene.machine.desk.stop.is_none() && scene.machine.status().disk_low);
    make_room(&scene.machine.disk);
    scene.work(100);
    assert!(noted(&scene, |note| matches!(note, Note::DiskRoomAgain { .. })));
}

#[test]
fn a_flush_without_room_is_put_off_and_done_when_there_is_room() {
    let mut scene = Scene::new(4);
    scene.work(60);
    scene.settle();
    scene.machine.blind = true;
    leave(&scene.machine.disk, 2 * MIB);
    scene.work_until("a flush is put off", |scene| noted(scene, |note| matches!(note, Note::FlushPostponed(_))));
    assert!(scene.machine.desk.stop.is_none(), "{:?}", scene.machine.desk.stop);
    scene.machine.desk.notes.clear();
    make_room(&scene.machine.disk);
    scene.work_until("it is flushed", |scene| noted(scene, |note| matches!(note, Note::Flushed { .. })));
    assert!(scene.machine.desk.stop.is_none(), "{:?}", scene.machine.desk.stop);
    scene.settle();
}

#[test]
fn a_disk_that_is_full_without_warning_is_survived() {
    let mut refused = 0;
    for round in 0..6 {
        let mut scene = Scene::new(40 + round);
        scene.work(60);
        scene.machine.blind = true;
        leave(&scene.machine.disk, 0);
        // A flush that finds no room refuses writes from then on; a log that needs a segment first stops.
        scene.work_until("it refuses or stops", |scene| scene.machine.status().disk_low || scene.machine.ended());
        if scene.machine.ended() {
            let fault = stopped_by(&scene);
            assert!(fault.kind == FaultKind::DiskFull && fault.file.starts_with("log/"), "{fault}");
            make_room(&scene.machine.disk);
            goes_on(scene, round);
        } else {
            refused += 1;
            make_room(&scene.machine.disk);
            scene.work_until("it has room again", |scene| !scene.machine.status().disk_low);
            scene.settle();
        }
    }
    assert!(refused > 0, "no round refused writes");
}
