//! Nothing leaves before everything it was computed from is committed and published, and a turn has one order.

use onebox_replica::{Input, Limits, Token};
use onebox_service::Code;
use onebox_service::attempt::{Fate, Reply};
use onebox_store::LogIndex;

use crate::rig::{Done, Rig, SECOND, answer, call, id, keyed, refused, set, verdict};
use crate::service::{Ask, DRAW, GET, SET};

fn only_new(session: u64, sequence: u64, cell: &str) -> onebox_service::attempt::Attempt {
    call(session, sequence, SET, &Ask { key: cell.to_owned(), flag: true, ..Ask::default() })
}

fn get(rig: &Rig, token: Token) -> Result<Vec<u8>, Code> {
    let query = &rig.desk.queries[&token];
    let ask = Ask { key: "cell".to_owned(), ..Ask::default() };
    match answer(&query.view, rig.limits, GET, &ask) {
        Ok(told) => Ok(told.value),
        Err(onebox_service::Failure::Refused(refusal)) => Err(refusal.code),
        Err(other) => panic!("it can be read: {other:?}"),
    }
}

#[test]
fn an_answer_waits_for_the_sync_and_leaves_after_the_view() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    rig.desk.done.clear();
    let token = rig.send(set(session, 1, "cell", b"1"));
    for _ in 0..5 {
        rig.turn();
        rig.tick();
    }
    let position = rig.replica.view().position().index;
    assert_eq!(rig.desk.done, [Done::Persist, Done::Job("scrub")], "no view and no answer before the sync");
    rig.persist();
    assert_eq!(rig.reply(token), None, "the replica has not heard of it");
    rig.desk.done.clear();
    rig.turn();
    assert_eq!(rig.desk.done[..2], [Done::Publish(position.next()), Done::Reply(token)]);
    assert_eq!(rig.desk.replies[&token].1, position.next(), "an answer names its entry");
}

#[test]
fn what_was_computed_from_an_unsynced_entry_waits_for_it() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let done = rig.send(keyed("key", set(session, 1, "cell", b"1")));
    rig.turn();
    let refusal = rig.send(only_new(session, 2, "cell"));
    let repeated = rig.send(keyed("key", set(session, 1, "cell", b"1")));
    let same_key = rig.send(keyed("key", set(session, 3, "cell", b"1")));
    let other_request = rig.send(keyed("key", set(session, 4, "cell", b"2")));
    let fate = rig.token();
    rig.inputs.push(Input::Outcome(fate, id(session, 1)));
    for _ in 0..3 {
        rig.turn();
        rig.tick();
    }
    let waiting = [done, refusal, repeated, same_key, other_request];
    assert!(waiting.iter().all(|token| rig.reply(*token).is_none()), "{:?}", rig.desk.replies);
    assert!(rig.desk.fates.is_empty());
    rig.persist();
    rig.turn();
    let verdicts = waiting.map(|token| verdict(rig.reply(token).unwrap()));
    assert_eq!(verdicts, [Ok(false), Err(Code::AlreadyExists), Ok(true), Ok(true), Err(Code::Aborted)]);
    assert!(matches!(rig.desk.fates[&fate], Fate::TookEffect { .. }));
    let at = rig.desk.replies[&done].1;
    assert!(waiting.iter().all(|token| rig.desk.replies[token].1 >= at), "no answer speaks of an earlier position");
}

#[test]
fn a_refusal_waits_for_the_open_entry_too() {
    let mut rig = Rig::new(Limits { entries_in_flight_max: 1, ..Limits::default() });
    let session = rig.session();
    rig.send(set(session, 1, "other", b""));
    rig.turn();
    rig.send(set(session, 2, "cell", b""));
    let refusal = rig.send(only_new(session, 3, "cell"));
    rig.turn();
    rig.persist();
    rig.turn();
    assert_eq!(rig.reply(refusal), None, "what it saw was in the entry behind the one that is synced now");
    rig.persist();
    rig.turn();
    refused(rig.reply(refusal).unwrap(), Code::AlreadyExists, "");
}

#[test]
fn a_refusal_that_saw_only_committed_rows_leaves_in_its_turn() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    rig.set(session, "cell", b"1");
    let syncs = rig.disk.sync_count();
    let refusal = rig.send(only_new(session, 5, "cell"));
    rig.turn();
    refused(rig.reply(refusal).unwrap(), Code::AlreadyExists, "");
    assert_eq!(rig.disk.sync_count(), syncs);
    assert!(rig.desk.frame.is_none(), "nothing is written for it");
}

#[test]
fn a_turn_has_one_order() {
    let mut rig = Rig::new(Limits { log_replay_bytes_max: 0, ..Limits::default() });
    let session = rig.session();
    let first = rig.send(set(session, 1, "cell", b"1"));
    rig.turn();
    rig.persist();
    let (second, read) = (rig.send(set(session, 2, "cell", b"2")), rig.read("cell"));
    let ahead = rig.read_at_least("cell", LogIndex(99));
    let fate = rig.token();
    rig.inputs.push(Input::Outcome(fate, id(session, 1)));
    rig.desk.done.clear();
    rig.turn();
    let position = rig.replica.view().position().index;
    let expected = [Done::Persist, Done::Publish(position), Done::Reply(first), Done::Fate(fate), Done::Query(read)];
    assert_eq!(rig.desk.done[..5], expected, "{:?}", rig.desk.done);
    assert!(rig.desk.done[5..].iter().all(|done| matches!(done, Done::Job(_))), "jobs come last: {:?}", rig.desk.done);
    let fault = onebox_service::Fault::new(onebox_service::FaultKind::Io, "fdatasync", "log/1.seg", "no more");
    rig.inputs.push(Input::PersistFailed(fault));
    rig.desk.done.clear();
    rig.turn();
    assert_eq!(rig.desk.done, [Done::Reply(second), Done::Reply(ahead), Done::Stop], "and the stop at the very end");
}

#[test]
fn a_read_sees_everything_acknowledged_before_it_arrived() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let early = rig.read("cell");
    let written = rig.send(set(session, 1, "cell", b"1"));
    rig.turn();
    assert_eq!(get(&rig, early), Err(Code::NotFound), "it need not wait for what nobody was told of");
    let during = rig.read("cell");
    rig.turn();
    assert_eq!(get(&rig, during), Err(Code::NotFound));
    rig.persist();
    let with_the_answer = rig.read("cell");
    rig.turn();
    assert!(rig.reply(written).is_some());
    assert_eq!(get(&rig, with_the_answer), Ok(b"1".to_vec()));
    for number in 2..60u8 {
        let token = rig.send(set(session, u64::from(number), "cell", &[number]));
        rig.turn();
        rig.persist();
        rig.turn();
        let at = rig.desk.replies[&token].1;
        // More is on its way while the read arrives.
        rig.send(set(session, 1000 + u64::from(number), "cell", b"later"));
        let read = rig.read("cell");
        rig.turn();
        assert!(rig.desk.queries[&read].view.position().index >= at);
        assert_eq!(get(&rig, read), Ok(vec![number]));
        rig.settle();
    }
}

#[test]
fn a_read_of_a_later_position_waits_for_it() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let here = rig.replica.status().progress.0;
    let (next, after_next) = (rig.read_at_least("cell", here.next()), rig.read_at_least("cell", here.next().next()));
    rig.settle();
    assert!(rig.desk.queries.is_empty());
    rig.send(set(session, 1, "cell", b"1"));
    rig.turn();
    assert!(rig.desk.queries.is_empty(), "executed is not published");
    rig.persist();
    rig.turn();
    assert_eq!(get(&rig, next), Ok(b"1".to_vec()));
    assert!(!rig.desk.queries.contains_key(&after_next));
    rig.set(session, "cell", b"2");
    assert_eq!(get(&rig, after_next), Ok(b"2".to_vec()));
}

#[test]
fn a_read_of_a_position_that_does_not_come_is_refused_at_its_deadline() {
    let mut rig = Rig::new(Limits::default());
    let here = rig.replica.status().progress.0;
    let read = rig.read_at_least("cell", here.next());
    rig.settle();
    rig.pass(SECOND - 100_000);
    rig.tick();
    rig.settle();
    assert_eq!(rig.reply(read), None);
    rig.tick();
    rig.settle();
    refused(rig.reply(read).unwrap(), Code::DeadlineExceeded, "did not reach the position");
    let session = rig.session();
    rig.set(session, "cell", b"");
    assert!(rig.desk.queries.is_empty(), "and is not run any more");
}

#[test]
fn draining_finishes_what_was_taken_and_takes_nothing_new() {
    let mut rig = Rig::new(Limits { turn_requests_max: 1, ..Limits::default() });
    let session = rig.session();
    let taken: Vec<_> = (1..=5).map(|sequence| rig.send(call(session, sequence, DRAW, &Ask::default()))).collect();
    let ahead = rig.read_at_least("cell", LogIndex(99));
    rig.inputs.push(Input::Drain);
    rig.turn();
    let late = rig.send(call(session, 6, DRAW, &Ask::default()));
    rig.settle();
    assert!(taken.iter().all(|token| verdict(rig.reply(*token).unwrap()) == Ok(false)));
    assert!(matches!(rig.reply(late), Some(Reply::Retry(_))));
    assert!(matches!(rig.reply(ahead), Some(Reply::Retry(_))));
    assert!(rig.desk.drained && rig.replica.status().dirty_bytes == 0, "everything is in the base");
    let rig = rig.restarted(Limits::default());
    assert!(rig.desk.notes.iter().any(|note| matches!(note, onebox_replica::Note::Leads { .. })));
}
