//! Each request takes effect at most once: under its id, under its key, across restarts, beside other sessions.

use onebox_replica::Limits;
use onebox_service::attempt::Reply;
use onebox_service::{Code, Time};

use crate::rig::{Rig, SECOND, acknowledging, call, index, keyed, refused, set, told, touch, until, verdict};
use crate::service::{Ask, DRAW, Replay, SET};

const HOUR: u64 = 3600 * SECOND;

/// A request that has another answer each time it is carried out.
fn draw(session: u64, sequence: u64) -> onebox_service::attempt::Attempt {
    call(session, sequence, DRAW, &Ask::default())
}

#[test]
fn an_attempt_repeated_before_the_commit_waits_for_it() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let first = rig.send(draw(session, 1));
    let same_turn = rig.send(draw(session, 1));
    rig.turn();
    let next_turn = rig.send(draw(session, 1));
    rig.turn();
    assert_eq!([first, same_turn, next_turn].map(|token| rig.reply(token).is_some()), [false; 3]);
    rig.settle();
    assert_eq!([first, same_turn, next_turn].map(|token| verdict(rig.reply(token).unwrap())), [Ok(false), Ok(true), Ok(true)]);
    let answers = [first, same_turn, next_turn].map(|token| told(rig.reply(token).unwrap()));
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.number == 1));
}

#[test]
fn an_attempt_repeated_after_the_commit_and_after_a_restart_is_answered_the_same() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let first = rig.carry_out(draw(session, 1));
    for _ in 0..3 {
        let before = rig.replica.digests();
        let again = rig.carry_out(draw(session, 1));
        assert_eq!((verdict(&again), told(&again)), (Ok(true), told(&first)));
        assert_eq!(rig.replica.digests(), before);
        rig = rig.restarted(Limits::default());
    }
    assert_eq!(told(&rig.carry_out(draw(session, 2))).number, 2);
}

#[test]
fn an_attempt_repeated_after_its_answer_was_acknowledged_and_trimmed_is_refused() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    rig.carry_out(draw(session, 1));
    rig.carry_out(acknowledging(100, draw(session, 100)));
    let before = rig.replica.digests();
    refused(&rig.carry_out(draw(session, 1)), Code::Aborted, "acknowledged and forgotten");
    refused(&rig.carry_out(draw(session, 50)), Code::Aborted, "acknowledged and forgotten");
    assert_eq!(rig.replica.digests(), before);
    let mut rig = rig.restarted(Limits::default());
    refused(&rig.carry_out(draw(session, 1)), Code::Aborted, "acknowledged and forgotten");
    assert_eq!(verdict(&rig.carry_out(acknowledging(100, draw(session, 100)))), Ok(true));
}

#[test]
fn sequences_may_arrive_in_any_order() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let order = [5, 1, 4, 2, 3];
    for (position, sequence) in (1..).zip(order) {
        assert_eq!(told(&rig.carry_out(draw(session, sequence))).number, position);
    }
    let mut rig = rig.restarted(Limits::default());
    for (position, sequence) in (1..).zip(order) {
        let again = rig.carry_out(draw(session, sequence));
        assert_eq!((verdict(&again), told(&again).number), (Ok(true), position));
    }
}

#[test]
fn two_sessions_with_the_same_numbers_do_not_meet() {
    let mut rig = Rig::new(Limits::default());
    let (left, right) = (rig.session(), rig.session());
    for sequence in 1..=3 {
        // Both in one entry.
        let tokens = [rig.send(draw(left, sequence)), rig.send(draw(right, sequence))];
        rig.settle();
        assert_eq!(tokens.map(|token| told(rig.reply(token).unwrap()).number), [2 * sequence - 1, 2 * sequence]);
    }
    let before = rig.platform_rows(index::ANSWERS);
    assert_eq!(before, 6, "a row for each session and entry");
    rig.carry_out(acknowledging(70, draw(left, 70)));
    assert_eq!(rig.platform_rows(index::ANSWERS), before + 1 - 3, "only the rows of the session that acknowledged go");
    let mut rig = rig.restarted(Limits::default());
    refused(&rig.carry_out(draw(left, 2)), Code::Aborted, "forgotten");
    assert_eq!(told(&rig.carry_out(draw(right, 2))).number, 4);
}

#[test]
fn rows_of_answers_do_not_grow_with_the_number_of_requests() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let mut most = 0;
    for sequence in 1..=1000 {
        let reply = rig.carry_out(acknowledging(sequence, set(session, sequence, "cell", b"")));
        assert_eq!(verdict(&reply), Ok(false));
        most = most.max(rig.platform_rows(index::ANSWERS));
    }
    assert!((32..=65).contains(&most), "{most} rows at most, of a thousand requests");
    let mut rig = rig.restarted(Limits::default());
    assert_eq!(verdict(&rig.carry_out(acknowledging(1000, set(session, 1000, "cell", b"")))), Ok(true));
}

#[test]
fn a_request_under_an_open_hole_is_still_answered_after_its_neighbours_were_trimmed() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    // 200 is slow: the client acknowledges only up to it, though much above it was answered.
    for sequence in (1..=199).chain(201..=400) {
        let below = sequence.min(200);
        assert_eq!(verdict(&rig.carry_out(acknowledging(below, draw(session, sequence)))), Ok(false));
    }
    let mut rig = rig.restarted(Limits::default());
    let slow = rig.carry_out(acknowledging(200, draw(session, 200)));
    assert_eq!((verdict(&slow), told(&slow).number), (Ok(false), 400));
    assert_eq!(verdict(&rig.carry_out(acknowledging(200, draw(session, 201)))), Ok(true));
    assert_eq!(verdict(&rig.carry_out(acknowledging(401, draw(session, 401)))), Ok(false));
    assert_eq!(rig.platform_rows(index::ANSWERS), 1);
}

#[test]
fn answers_of_one_entry_stay_until_all_of_them_are_acknowledged() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    // One row holds them all, under the first.
    let tokens: Vec<_> = (1..=100).map(|sequence| rig.send(draw(session, sequence))).collect();
    rig.settle();
    assert_eq!(rig.platform_rows(index::ANSWERS), 1);
    assert!(tokens.iter().all(|token| verdict(rig.reply(*token).unwrap()) == Ok(false)));
    rig.carry_out(acknowledging(70, draw(session, 101)));
    for _ in 0..2 {
        let kept = rig.carry_out(draw(session, 90));
        assert_eq!((verdict(&kept), told(&kept).number), (Ok(true), 90));
        refused(&rig.carry_out(draw(session, 69)), Code::Aborted, "forgotten");
        rig = rig.restarted(Limits::default());
    }
    rig.carry_out(acknowledging(170, draw(session, 170)));
    assert_eq!(rig.platform_rows(index::ANSWERS), 1, "the row went when all in it were acknowledged");
}

#[test]
fn a_repeated_key_is_answered_the_same_under_any_id() {
    let mut rig = Rig::new(Limits::default());
    let (session, other) = (rig.session(), rig.session());
    let first = rig.send(keyed("key", draw(session, 1)));
    let same_entry = rig.send(keyed("key", draw(session, 2)));
    let other_session = rig.send(keyed("key", draw(other, 1)));
    rig.settle();
    let replies = [first, same_entry, other_session].map(|token| rig.reply(token).unwrap());
    assert_eq!(replies.map(verdict), [Ok(false), Ok(true), Ok(true)]);
    assert!(replies.iter().all(|reply| told(reply).number == 1));
    let mut rig = rig.restarted(Limits::default());
    let again = rig.carry_out(keyed("key", draw(session, 3)));
    assert_eq!((verdict(&again), told(&again).number), (Ok(true), 1));
    assert_eq!(told(&rig.carry_out(keyed("another key", draw(session, 4)))).number, 2);
}

#[test]
fn a_key_with_another_request_is_refused() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    assert_eq!(verdict(&rig.carry_out(keyed("key", set(session, 1, "cell", b"1")))), Ok(false));
    let mut rig = rig.restarted(Limits::default());
    let before = rig.replica.digests();
    refused(&rig.carry_out(keyed("key", set(session, 2, "cell", b"2"))), Code::Aborted, "used for another request");
    refused(&rig.carry_out(keyed("key", draw(session, 3))), Code::Aborted, "used for another request");
    assert_eq!(rig.replica.digests(), before);
    assert_eq!(verdict(&rig.carry_out(keyed("key", set(session, 4, "cell", b"1")))), Ok(true));
}

#[test]
fn a_refused_request_leaves_its_id_and_its_key_free() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    rig.set(session, "cell", b"1");
    let only_new = |cell: &str| {
        let ask = Ask { key: cell.to_owned(), flag: true, ..Ask::default() };
        keyed("key", call(session, 10, SET, &ask))
    };
    let before = rig.replica.digests();
    refused(&rig.carry_out(only_new("cell")), Code::AlreadyExists, "");
    assert_eq!(rig.replica.digests(), before);
    assert_eq!(verdict(&rig.carry_out(only_new("new cell"))), Ok(false));
    assert_eq!(rig.keys(), 1);
}

#[test]
fn after_not_after_nothing_new_happens_and_what_happened_is_told() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let deadline = rig.clock.wall.plus_micros(SECOND);
    assert_eq!(verdict(&rig.carry_out(until(deadline, draw(session, 1)))), Ok(false));
    rig.pass(SECOND);
    assert_eq!(verdict(&rig.carry_out(until(deadline, draw(session, 2)))), Ok(false), "the last moment is allowed");
    rig.pass(1);
    let before = rig.replica.digests();
    refused(&rig.carry_out(until(deadline, draw(session, 3))), Code::DeadlineExceeded, "it changed nothing");
    assert_eq!(rig.replica.digests(), before);
    assert_eq!(verdict(&rig.carry_out(until(deadline, draw(session, 1)))), Ok(true), "however late it comes");
    rig.clock.wall = Time(deadline.0 - SECOND / 2);
    refused(&rig.carry_out(until(deadline, draw(session, 3))), Code::DeadlineExceeded, "");
    assert!(rig.replica.view().position().time <= deadline, "log time is that of entries, and none was made");
}

#[test]
fn settings_of_retention_that_change_between_starts_replay_to_the_same_state() {
    let of = |session_idle_max, idempotency_retention| Limits { session_idle_max, idempotency_retention, ..Limits::default() };
    let settings = [of(HOUR, HOUR), of(HOUR / 60, HOUR / 60), of(24 * HOUR, 24 * HOUR), of(HOUR, HOUR / 3600)];
    let mut rig = Rig::new(settings[0]);
    let mut session = rig.session();
    for round in 0..12 {
        for number in 0..5 {
            let sequence = rig.next();
            let key = format!("key {round} {number}");
            if rig.carry_out(keyed(&key, draw(session, sequence))) == Reply::SessionGone {
                session = rig.session();
            }
            rig.pass(HOUR / 40);
        }
        rig.carry_out(touch(session, 1000 + round));
        // It is never used, and expires when its settings say.
        rig.session();
        // Nothing was flushed: each start replays all entries, whatever they were executed with.
        rig = rig.restarted(settings[(round as usize + 1) % settings.len()]);
    }
    assert!(rig.keys() > 0 && rig.keys() < 60, "some keys expired: {} are left", rig.keys());
    let chain = rig.replica.digests();
    let mut rig = rig.reopened(settings[2], Replay::Faithful);
    rig.settle();
    assert_eq!(rig.replica.digests(), chain);
}

#[test]
fn random_numbers_are_of_the_log_and_not_of_the_attempt() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let tokens = [1, 2, 3].map(|sequence| rig.send(draw(session, sequence)));
    rig.settle();
    let drawn = tokens.map(|token| told(rig.reply(token).unwrap()).value);
    assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2], "each request of an entry draws its own: {drawn:?}");
    let again = rig.carry_out(draw(session, 2));
    assert_eq!(told(&again).value, drawn[1]);
}
