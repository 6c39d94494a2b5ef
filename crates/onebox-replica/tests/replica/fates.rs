//! What became of a request, asked by its id: every answer there is, and that none is given too early.

use onebox_replica::{Input, Limits};
use onebox_service::attempt::{Attempt, Command, Fate, Reply, RequestId, Sequence};

use crate::rig::{Rig, SECOND, acknowledging, call, id, keyed, set, touch, until};
use crate::service::{Ask, DRAW};

fn took_effect(reply: &Reply) -> Fate {
    match reply {
        Reply::Done { response, .. } => Fate::TookEffect { method: "Draw".to_owned(), response: response.clone() },
        other => panic!("it is done: {other:?}"),
    }
}

#[test]
fn what_took_effect_is_told_with_method_and_answer() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let reply = rig.carry_out(call(session, 1, DRAW, &Ask::default()));
    assert_eq!(rig.fate(id(session, 1)), took_effect(&reply));
    let later = RequestId { not_after: rig.clock.wall, ..id(session, 1) };
    rig.pass(SECOND);
    assert_eq!(rig.fate(later), took_effect(&reply), "also after its deadline");
    let mut rig = rig.restarted(Limits::default());
    assert_eq!(rig.fate(id(session, 1)), took_effect(&reply));
}

#[test]
fn what_did_not_is_pending_until_its_deadline_and_then_has_no_effect() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let deadline = rig.clock.wall.plus_micros(SECOND);
    let asked = RequestId { not_after: deadline, ..id(session, 1) };
    assert_eq!(rig.fate(asked), Fate::Pending);
    rig.pass(SECOND);
    assert_eq!(rig.fate(asked), Fate::Pending, "the last moment is allowed");
    rig.pass(1);
    assert_eq!(rig.fate(asked), Fate::NoEffect);
    // The wall clock goes back, and what was said must hold.
    rig.clock.wall = deadline;
    let reply = rig.carry_out(until(deadline, set(session, 1, "cell", b"")));
    assert_eq!(reply, Reply::Withdrawn);
    assert_eq!(rig.fate(asked), Fate::NoEffect);
}

/// The next leader knows of time what the log says. A replica said that it was too late, by its clock alone, and one whose clock was a
/// little behind came after it and took the request.
#[test]
fn what_is_said_to_have_no_effect_has_none_with_the_next_leader_either() {
    let withdrawn = |id: RequestId| Attempt { id, acknowledged_below: Sequence(1), command: Command::Withdraw };
    for asks in [true, false] {
        let mut rig = Rig::new(Limits::default());
        let session = rig.session();
        let deadline = rig.clock.wall.plus_micros(SECOND);
        let late = RequestId { not_after: deadline, ..id(session, 1) };
        rig.pass(SECOND + 1);
        if asks {
            assert_eq!(rig.fate(late), Fate::NoEffect);
        } else {
            assert_eq!(rig.carry_out(withdrawn(late)), Reply::Withdrawn);
        }
        rig.clock.wall = deadline;
        let mut rig = rig.restarted(Limits::default());
        assert_eq!(rig.carry_out(until(deadline, set(session, 1, "cell", b""))), Reply::Withdrawn);
        assert_eq!(rig.fate(late), Fate::NoEffect);
    }
}

/// However many ask while the log stands still, the open entry does not outgrow what a frame was made for.
#[test]
fn into_a_full_entry_nothing_is_withdrawn() {
    let mut rig = Rig::new(Limits { entry_bytes_max: 300, entries_in_flight_max: 1, ..Limits::default() });
    let session = rig.session();
    for sequence in [1, 2] {
        rig.send(set(session, sequence, "cell", b""));
        rig.turn();
    }
    // One entry waits for the disk, and one of this time is open behind it.
    let late = RequestId { not_after: rig.clock.wall, ..id(session, 0) };
    rig.pass(SECOND);
    for sequence in 3..100 {
        let token = rig.token();
        rig.inputs.push(Input::Outcome(token, RequestId { sequence: Sequence(sequence), ..late }));
    }
    rig.settle();
    let told = |fate: Fate| rig.desk.fates.values().filter(|told| **told == fate).count();
    let (withdrawn, pending) = (told(Fate::NoEffect), told(Fate::Pending));
    assert!(withdrawn > 1 && pending > 1 && withdrawn + pending == 97, "{withdrawn} and {pending}");
    assert!(rig.entry_bytes.iter().all(|bytes| *bytes < 600), "{:?}", rig.entry_bytes);
    assert_eq!(rig.fate(RequestId { sequence: Sequence(99), ..late }), Fate::NoEffect, "it can be asked again");
}

#[test]
fn without_room_on_the_disk_nothing_is_withdrawn() {
    let mut rig = Rig::new(Limits { disk_free_min: 1_000, ..Limits::default() });
    let session = rig.session();
    let late = RequestId { not_after: rig.clock.wall, ..id(session, 1) };
    rig.pass(SECOND);
    rig.inputs.push(Input::DiskFree { bytes: 999 });
    assert_eq!(rig.fate(late), Fate::Pending, "it takes an entry to say more");
    rig.inputs.push(Input::DiskFree { bytes: 1_125 });
    assert_eq!(rig.fate(late), Fate::NoEffect);
}

#[test]
fn what_waits_in_the_queue_is_pending() {
    let mut rig = Rig::new(Limits { turn_requests_max: 1, ..Limits::default() });
    let session = rig.session();
    let deadline = rig.clock.wall;
    let tokens = [1, 2].map(|sequence| rig.send(until(deadline, call(session, sequence, DRAW, &Ask::default()))));
    rig.turn();
    // The first is in an entry of this time, the second waits.
    let token = rig.token();
    rig.inputs.push(Input::Outcome(token, RequestId { not_after: deadline, ..id(session, 2) }));
    rig.settle();
    assert_eq!(rig.desk.fates[&token], Fate::Pending);
    assert!(tokens.iter().all(|token| matches!(rig.reply(*token), Some(Reply::Done { .. }))), "it was indeed");
}

#[test]
fn what_was_acknowledged_and_trimmed_is_forgotten() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    rig.carry_out(call(session, 1, DRAW, &Ask::default()));
    rig.carry_out(acknowledging(100, set(session, 100, "cell", b"")));
    assert_eq!(rig.fate(id(session, 1)), Fate::Forgotten);
    assert_eq!(rig.fate(id(session, 99)), Fate::Forgotten);
    assert_eq!(rig.fate(id(session, 101)), Fate::Pending);
    assert_eq!(rig.fate(id(session, u64::MAX)), Fate::Pending);
}

#[test]
fn what_belongs_to_no_session_is_forgotten() {
    let mut rig = Rig::new(Limits { session_idle_max: SECOND, ..Limits::default() });
    let session = rig.session();
    rig.carry_out(call(session, 1, DRAW, &Ask::default()));
    assert_eq!(rig.fate(id(session + 1, 1)), Fate::Forgotten, "never opened");
    assert_eq!(rig.fate(id(0, 0)), Fate::Forgotten);
    rig.pass(SECOND);
    rig.session();
    assert_eq!(rig.fate(id(session, 1)), Fate::Forgotten, "expired, as the log says since");
}

#[test]
fn a_touch_and_a_keyed_request_have_fates_too() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    rig.carry_out(touch(session, 1));
    assert_eq!(rig.fate(id(session, 1)), Fate::TookEffect { method: String::new(), response: Vec::new() });
    let first = rig.carry_out(keyed("key", call(session, 2, DRAW, &Ask::default())));
    rig.carry_out(keyed("key", call(session, 3, DRAW, &Ask::default())));
    assert_eq!(rig.fate(id(session, 2)), took_effect(&first));
    assert_eq!(rig.fate(id(session, 3)), Fate::Pending, "a repeated key has no effect under its own id");
}
