//! Each bound of queues, entries, disk and replay is reached with a small number and answers as `limits.rs` says.

use onebox_replica::limits::CLOCK_JUMP_MAX;
use onebox_replica::{Input, Limits, Note};
use onebox_service::attempt::Reply;
use onebox_service::{Code, Time};

use crate::rig::{Done, Rig, SECOND, call, create_tenant, id, index, keyed, refused, set, told, touch, verdict};
use crate::service::{Ask, BIG, DRAW, MANY, Replay};

#[test]
fn queue_requests_max() {
    let mut rig = Rig::new(Limits { queue_requests_max: 2, ..Limits::default() });
    let session = rig.session();
    let tokens = [1, 2, 3].map(|sequence| rig.send(set(session, sequence, "cell", b"")));
    rig.settle();
    assert_eq!(rig.reply(tokens[2]), Some(&Reply::Overloaded), "there is no room for a third");
    for token in &tokens[..2] {
        assert_eq!(verdict(rig.reply(*token).unwrap()), Ok(false));
    }
    let again = rig.carry_out(set(session, 3, "cell", b""));
    assert_eq!(verdict(&again), Ok(false), "there is room again, and the third had changed nothing");
}

#[test]
fn queue_bytes_max() {
    let mut rig = Rig::new(Limits { queue_bytes_max: 4096, ..Limits::default() });
    let session = rig.session();
    let sizes = [1200, 1200, 1200, 10];
    let tokens: Vec<_> = (1..).zip(sizes).map(|(sequence, bytes)| rig.send(set(session, sequence, "cell", &vec![1; bytes]))).collect();
    rig.settle();
    assert_eq!(rig.reply(tokens[2]), Some(&Reply::Overloaded), "three of 1,200 bytes and what each occupies are too much");
    for token in [tokens[0], tokens[1], tokens[3]] {
        assert_eq!(verdict(rig.reply(token).unwrap()), Ok(false));
    }
}

#[test]
fn entries_in_flight_max() {
    for entries_in_flight_max in [1, 2, 3] {
        let mut rig = Rig::new(Limits { entries_in_flight_max, ..Limits::default() });
        let session = rig.session();
        let before = rig.replica.status().progress.0;
        for sequence in 1..=6 {
            rig.send(set(session, sequence, "cell", &[sequence as u8]));
            rig.turn();
        }
        let (applied, last) = rig.replica.status().progress;
        assert_eq!(applied, before, "nothing is on the disk yet");
        assert_eq!((last.0 - before.0) as usize, entries_in_flight_max, "entries sealed");
        assert_eq!(rig.desk.frame.as_ref().map(|frame| frame.batch.entries.len()), Some(1), "one sync is outstanding, of the first");
        rig.settle();
        let sealed = rig.replica.status().progress.1.0 - before.0;
        assert_eq!(sealed as usize, entries_in_flight_max + 1, "what waited in the open entry became one");
        assert_eq!(rig.desk.replies.len(), 7);
    }
}

#[test]
fn entry_bytes_max() {
    let mut rig = Rig::new(Limits { entry_bytes_max: 1000, ..Limits::default() });
    let session = rig.session();
    rig.entry_bytes.clear();
    let tokens: Vec<_> = (1..=10).map(|sequence| rig.send(set(session, sequence, "cell", &[1; 200]))).collect();
    rig.settle();
    assert!(tokens.iter().all(|token| verdict(rig.reply(*token).unwrap()) == Ok(false)));
    // A request takes some 450 bytes: it and its event. The entry ends with the one that reaches the bound.
    assert!(rig.entry_bytes.iter().all(|bytes| *bytes < 1000 + 600), "{:?}", rig.entry_bytes);
    assert_eq!(rig.entry_bytes.len(), 4, "ten requests, three an entry: {:?}", rig.entry_bytes);
}

#[test]
fn turn_requests_max() {
    let mut rig = Rig::new(Limits { turn_requests_max: 3, ..Limits::default() });
    let session = rig.session();
    let tokens: Vec<_> = (1..=8).map(|sequence| rig.send(set(session, sequence, "cell", b""))).collect();
    assert!(rig.turn(), "another turn is asked for at once");
    assert_eq!(rig.replica.status().queued, 5);
    assert!(rig.turn());
    assert_eq!(rig.replica.status().queued, 2);
    assert!(!rig.turn(), "nothing waits any more");
    rig.settle();
    assert!(tokens.iter().all(|token| verdict(rig.reply(*token).unwrap()) == Ok(false)));
}

#[test]
fn reads_waiting_max() {
    let mut rig = Rig::new(Limits { reads_waiting_max: 2, ..Limits::default() });
    let session = rig.session();
    rig.set(session, "cell", b"1");
    let ahead = rig.replica.status().progress.0.next();
    let waiting = [rig.read_at_least("cell", ahead), rig.read_at_least("cell", ahead)];
    rig.settle();
    let third = rig.read("cell");
    rig.settle();
    assert_eq!(rig.reply(third), Some(&Reply::Overloaded));
    rig.set(session, "cell", b"2");
    assert!(waiting.iter().all(|token| rig.desk.queries.contains_key(token)), "the two ran when their position was reached");
    let fourth = rig.read("cell");
    rig.settle();
    assert!(rig.desk.queries.contains_key(&fourth), "there is room again");
}

#[test]
fn held_answers_max() {
    let mut rig = Rig::new(Limits { held_answers_max: 3, ..Limits::default() });
    let session = rig.session();
    let first = rig.send(set(session, 1, "cell", b""));
    rig.turn();
    // Each is answered again, once the entry is on the disk.
    let again: Vec<_> = (0..9).map(|_| rig.send(set(session, 1, "cell", b""))).collect();
    rig.turn();
    assert_eq!(rig.replica.status().queued, 6, "execution waits with three that are held");
    let fate = rig.token();
    rig.inputs.push(Input::Outcome(fate, id(session, 1)));
    rig.turn();
    assert_eq!(rig.reply(fate), Some(&Reply::Overloaded), "what is not queued is turned away");
    assert_eq!(rig.reply(first), None);
    // A tick at the latest lets it look at the queue again.
    for _ in 0..4 {
        rig.settle();
        rig.tick();
    }
    assert_eq!(verdict(rig.reply(first).unwrap()), Ok(false));
    assert!(again.iter().all(|token| verdict(rig.reply(*token).unwrap()) == Ok(true)), "and then goes on");
}

#[test]
fn body_bytes_max() {
    let mut rig = Rig::new(Limits { body_bytes_max: 100, ..Limits::default() });
    let session = rig.session();
    let reply = rig.carry_out(set(session, 1, "cell", &[1; 100]));
    refused(&reply, Code::ResourceExhausted, "100 are allowed");
    // 94 bytes, and six of the key and of both fields' heads.
    assert_eq!(verdict(&rig.carry_out(set(session, 2, "cell", &[1; 92]))), Ok(false), "100 bytes are not too many");
}

#[test]
fn answer_bytes_max() {
    let mut rig = Rig::new(Limits { answer_bytes_max: 1002, ..Limits::default() });
    let session = rig.session();
    for (method, events) in [(BIG, 0), (MANY, 1)] {
        let before = rig.replica.digests();
        let reply = rig.carry_out(keyed("key", call(session, 1, method, &Ask { answer_bytes: 1000, events, ..Ask::default() })));
        refused(&reply, Code::ResourceExhausted, "the answer has 1003 bytes; 1002 are allowed. Nothing changed");
        assert_eq!(rig.replica.digests(), before);
    }
    let reply = rig.carry_out(call(session, 1, BIG, &Ask { answer_bytes: 999, flag: true, ..Ask::default() }));
    assert_eq!(told(&reply).value.len(), 999);
    let reply = rig.carry_out(call(session, 1, DRAW, &Ask::default()));
    assert_eq!(told(&reply).value.len(), 999, "the answer that was allowed was kept");
}

#[test]
fn dirty_bytes_max() {
    let mut rig = Rig::sized(Limits { dirty_bytes_max: 40_000, ..Limits::default() }, 4 << 20, 20_000);
    let session = rig.session();
    let mut tokens = Vec::new();
    for sequence in 1..=80 {
        tokens.push(rig.send(set(session, sequence, &format!("cell {sequence}"), &[1; 1000])));
        // Frames are written; the worker rests.
        for _ in 0..3 {
            rig.turn();
            rig.persist();
        }
    }
    let status = rig.replica.status();
    assert!(status.queued > 20, "execution waits for the flush: {status:?}");
    assert!(status.dirty_bytes > 40_000 && status.dirty_bytes < 46_000, "one request beyond the bound at most: {status:?}");
    assert!(rig.desk.done.contains(&Done::Job("flush")));
    rig.settle();
    assert!(tokens.iter().all(|token| verdict(rig.reply(*token).unwrap()) == Ok(false)), "and goes on after it");
}

#[test]
fn log_replay_bytes_max() {
    let mut rig = Rig::new(Limits { log_replay_bytes_max: 10_000, ..Limits::default() });
    let session = rig.session();
    let mut flushed_after = Vec::new();
    for number in 1..=40 {
        rig.set(session, "one cell", &[1; 500]);
        if std::mem::take(&mut rig.desk.done).contains(&Done::Job("flush")) {
            flushed_after.push(number);
        }
    }
    // An entry has some 1,100 bytes: the request and its event.
    assert!((9..=11).contains(&flushed_after[0]), "no flush before 10,000 bytes of log: {flushed_after:?}");
    assert!(flushed_after.windows(2).all(|pair| pair[1] - pair[0] <= 11), "and one for each: {flushed_after:?}");
    let base = rig.desk.notes.iter().rev().find_map(|note| if let Note::Flushed { at, .. } = note { Some(at.0) } else { None });
    assert!(base.expect("flushes are told") + 11 > rig.replica.status().progress.0.0, "a restart has little to replay");
}

#[test]
fn disk_free_min() {
    let mut rig = Rig::new(Limits { disk_free_min: 1000, ..Limits::default() });
    let session = rig.session();
    let keyed_set = keyed("key", set(session, 1, "cell", b"1"));
    assert_eq!(verdict(&rig.carry_out(keyed_set)), Ok(false));
    rig.inputs.push(Input::DiskFree { bytes: 999 });
    let before = rig.replica.digests();
    refused(&rig.carry_out(set(session, 2, "cell", b"2")), Code::ResourceExhausted, "the disk is nearly full");
    refused(&rig.carry_out(create_tenant(session, 2, "new")), Code::ResourceExhausted, "the disk is nearly full");
    assert_eq!(rig.replica.digests(), before);
    assert!(rig.replica.status().disk_low);
    assert_eq!(verdict(&rig.carry_out(set(session, 1, "cell", b"1"))), Ok(true), "what took effect is told, however full the disk");
    assert_eq!(verdict(&rig.carry_out(keyed("key", set(session, 3, "cell", b"1")))), Ok(true), "by its key as well");
    let read = rig.read("cell");
    rig.settle();
    assert!(rig.desk.queries.contains_key(&read), "reads go on");
    assert_eq!(verdict(&rig.carry_out(touch(session, 4))), Ok(false), "and sessions live on, so that refusals can be asked for");
    rig.session();
    rig.inputs.extend([Input::DiskFree { bytes: 998 }, Input::DiskFree { bytes: 1124 }, Input::DiskFree { bytes: 1125 }]);
    assert_eq!(verdict(&rig.carry_out(set(session, 2, "cell", b"2"))), Ok(false), "and writes again by themselves");
    let told: Vec<_> = rig.desk.notes.iter().filter(|note| matches!(note, Note::DiskLow { .. } | Note::DiskRoomAgain { .. })).collect();
    assert_eq!(told, [&Note::DiskLow { free: 999, min: 1000 }, &Note::DiskRoomAgain { free: 1125 }], "each change is told once");
}

#[test]
fn committed_bytes_per_turn() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let big = vec![1; 200_000];
    for number in 0..10 {
        rig.set(session, &format!("cell {number}"), &big);
    }
    let log_bytes: usize = rig.entry_bytes.iter().sum();
    let pages = log_bytes.div_ceil(Limits::default().committed_bytes_per_turn as usize);
    assert!(pages >= 4, "{log_bytes} bytes of log");
    let digests = rig.replica.digests();
    let mut rig = rig.reopened(Limits::default(), Replay::Faithful);
    let mut progress = vec![rig.replica.status().progress.0];
    while rig.turn() {
        progress.push(rig.replica.status().progress.0);
        let reply = rig.send(set(session, 99, "cell", b""));
        assert!(!rig.replica.status().serves, "not while it replays");
        rig.turn();
        assert!(matches!(rig.reply(reply), Some(Reply::Retry(_))), "{:?}", rig.reply(reply));
        assert!(progress.len() < 50);
    }
    rig.settle();
    assert!(progress.windows(2).all(|pair| pair[0] < pair[1]) && progress.len() >= pages / 2, "each turn applies a page: {progress:?}");
    assert_eq!(rig.replica.digests(), digests);
}

#[test]
fn clock_jump_max() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let leap = |rig: &mut Rig, micros: u64| {
        rig.clock.wall = rig.clock.wall.plus_micros(micros);
        let sequence = rig.next();
        let (wall, token) = (rig.clock.wall, rig.send(set(session, sequence, "cell", b"")));
        rig.settle();
        assert_eq!(verdict(rig.reply(token).unwrap()), Ok(false));
        (wall, rig.replica.view().position().time)
    };
    let (wall, time) = leap(&mut rig, CLOCK_JUMP_MAX);
    assert_eq!(time, wall, "a step of a minute is followed");
    let (_, time) = leap(&mut rig, CLOCK_JUMP_MAX + SECOND);
    assert_eq!(time, wall, "a longer one is not");
    let jumps: Vec<_> = rig.desk.notes.iter().filter(|note| matches!(note, Note::ClockJumped { .. })).collect();
    assert_eq!(jumps, [&Note::ClockJumped { micros: CLOCK_JUMP_MAX + SECOND }], "and is told");
    rig.pass(SECOND);
    let (_, time) = leap(&mut rig, 0);
    assert_eq!(time, Time(wall.0 + SECOND), "it goes on at the old pace");
    let mut rig = rig.restarted(Limits::default());
    let (wall, time) = leap(&mut rig, 0);
    assert_eq!(time, wall, "a restart believes the clock");
    assert_eq!(rig.platform_rows(index::SESSION), 1);
}
