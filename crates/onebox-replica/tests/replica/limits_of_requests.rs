//! Each bound of tenants, sessions, kept answers and idempotency keys is reached and answers as `limits.rs` says.

use onebox_replica::Limits;
use onebox_replica::limits::{EXPIRED_PER_ENTRY_MAX, SESSION_TRIM_STEP};
use onebox_service::Code;
use onebox_service::attempt::{Attempt, Command, Reply};

use crate::rig::{Rig, SECOND, acknowledging, call, create_tenant, id, index, keyed, place_tenant, refused, set, told, touch, verdict};
use crate::service::{Ask, DRAW};

const MINUTE: u64 = 60 * SECOND;

#[test]
fn tenants_max() {
    let mut rig = Rig::new(Limits { tenants_max: 3, ..Limits::default() });
    let session = rig.session();
    let created = |reply: &Reply| match reply {
        Reply::Done { response, repeated } => (response.clone(), *repeated),
        other => panic!("it is created: {other:?}"),
    };
    assert_eq!(created(&rig.carry_out(create_tenant(session, 1, "a"))), (2u64.to_be_bytes().to_vec(), false));
    assert_eq!(created(&rig.carry_out(create_tenant(session, 2, "b"))), (3u64.to_be_bytes().to_vec(), false));
    refused(&rig.carry_out(create_tenant(session, 3, "c")), Code::ResourceExhausted, "there are 3 tenants");
    refused(&rig.carry_out(create_tenant(session, 3, "b")), Code::AlreadyExists, "\"b\"");
    refused(&rig.carry_out(create_tenant(session, 3, "default")), Code::AlreadyExists, "\"default\"");
    assert_eq!(created(&rig.carry_out(create_tenant(session, 2, "b"))), (3u64.to_be_bytes().to_vec(), true));
    let mut elsewhere = set(session, 4, "cell", b"");
    if let Command::Call { tenant, .. } = &mut elsewhere.command {
        *tenant = "c".to_owned();
    }
    refused(&rig.carry_out(elsewhere), Code::NotFound, "there is no tenant \"c\"");
    rig.restarted(Limits { tenants_max: 3, ..Limits::default() });
}

/// The partition of its name is where a tenant is, or where it says that it is; once and for all, also for whoever replays it.
#[test]
fn a_tenant_is_placed_before_it_is_created_or_not_at_all() {
    let limits = Limits { tenants_max: 3, ..Limits::default() };
    let mut rig = Rig::new(limits);
    let session = rig.session();
    let of_tenant = |sequence, name: &str| {
        let mut attempt = set(session, sequence, "cell", b"");
        if let Command::Call { tenant, .. } = &mut attempt.command {
            *tenant = name.to_owned();
        }
        attempt
    };
    assert_eq!(verdict(&rig.carry_out(create_tenant(session, 1, "here"))), Ok(false));
    refused(&rig.carry_out(place_tenant(session, 2, "here", 5)), Code::AlreadyExists, "there is a tenant \"here\" already");
    assert_eq!(verdict(&rig.carry_out(place_tenant(session, 3, "there", 5))), Ok(false));
    assert_eq!(verdict(&rig.carry_out(place_tenant(session, 3, "there", 5))), Ok(true), "the same request");
    assert_eq!(verdict(&rig.carry_out(place_tenant(session, 4, "there", 5))), Ok(false), "another that asks for the same");
    refused(&rig.carry_out(place_tenant(session, 5, "there", 6)), Code::FailedPrecondition, "is placed in partition 5, for good");
    let (create, call) = (rig.carry_out(create_tenant(session, 6, "there")), rig.carry_out(of_tenant(7, "there")));
    for reply in [create, call] {
        let Reply::Refused(refusal) = reply else { panic!("it is elsewhere: {reply:?}") };
        assert_eq!(refusal.placed_in(), Some(5), "{}", refusal.message);
    }
    assert_eq!(verdict(&rig.carry_out(of_tenant(8, "here"))), Ok(false));
    assert_eq!(verdict(&rig.carry_out(place_tenant(session, 9, "b", 1))), Ok(false));
    assert_eq!(verdict(&rig.carry_out(place_tenant(session, 10, "c", 1))), Ok(false));
    refused(&rig.carry_out(place_tenant(session, 11, "d", 1)), Code::ResourceExhausted, "3 tenants are placed");
    rig.restarted(limits);
}

#[test]
fn sessions_max() {
    let limits = Limits { sessions_max: 2, session_idle_max: MINUTE, ..Limits::default() };
    let mut rig = Rig::new(limits);
    let first = rig.session();
    let second = rig.session();
    let before = rig.replica.digests();
    refused(&rig.open_session(), Code::ResourceExhausted, "2 sessions are open");
    assert_eq!(rig.replica.digests(), before);
    rig.pass(MINUTE / 2);
    assert_eq!(verdict(&rig.carry_out(touch(second, 1))), Ok(false));
    rig.pass(MINUTE / 2);
    // Nothing but this request comes: expired sessions must make room for it by themselves.
    let third = rig.session();
    assert!(third > second, "numbers are not given again");
    assert_eq!(rig.platform_rows(index::SESSION), 2);
    assert_eq!(rig.carry_out(set(first, 1, "cell", b"")), Reply::SessionGone);
    refused(&rig.open_session(), Code::ResourceExhausted, "2 sessions are open");
    rig.restarted(limits);
}

#[test]
fn session_idle_max() {
    let limits = Limits { session_idle_max: MINUTE, ..Limits::default() };
    let mut rig = Rig::new(limits);
    let (used, idle) = (rig.session(), rig.session());
    for sequence in 1..=4 {
        rig.pass(MINUTE / 2);
        let attempt = if sequence % 2 == 0 { touch(used, sequence) } else { set(used, sequence, "cell", b"") };
        assert_eq!(verdict(&rig.carry_out(attempt)), Ok(false), "what is used lives");
    }
    assert_eq!(rig.carry_out(set(idle, 1, "cell", b"")), Reply::SessionGone);
    assert_eq!(rig.carry_out(touch(idle, 2)), Reply::SessionGone, "a session that has expired is never made again");
    assert_eq!((rig.platform_rows(index::SESSION), rig.platform_rows(index::SESSION_EXPIRY)), (1, 1));
    rig.pass(MINUTE - 1);
    assert_eq!(verdict(&rig.carry_out(set(used, 5, "cell", b""))), Ok(false), "up to the last moment");
    rig.pass(MINUTE);
    assert_eq!(rig.carry_out(set(used, 6, "cell", b"")), Reply::SessionGone);
    assert_eq!(rig.carry_out(set(used, 5, "cell", b"")), Reply::SessionGone, "also for what it did");
    let mut rig = rig.restarted(limits);
    assert_eq!(rig.carry_out(set(used, 6, "cell", b"")), Reply::SessionGone);
    let fresh = rig.session();
    assert!(fresh > idle);
    assert_eq!((rig.platform_rows(index::SESSION), rig.platform_rows(index::ANSWERS)), (1, 0), "its answers went with it");
}

#[test]
fn session_window_max() {
    let mut rig = Rig::new(Limits { session_window_max: 3, ..Limits::default() });
    let session = rig.session();
    for sequence in 1..=3 {
        assert_eq!(verdict(&rig.carry_out(set(session, sequence, "cell", b""))), Ok(false));
    }
    assert_eq!(rig.carry_out(set(session, 4, "cell", b"")), Reply::Overloaded, "three answers are not acknowledged");
    assert_eq!(verdict(&rig.carry_out(acknowledging(2, set(session, 4, "cell", b"")))), Ok(false));
    assert_eq!(rig.carry_out(acknowledging(2, set(session, 5, "cell", b""))), Reply::Overloaded);
}

#[test]
fn idempotency_keys_max() {
    let limits = Limits { idempotency_keys_max: 2, idempotency_retention: MINUTE, ..Limits::default() };
    let mut rig = Rig::new(limits);
    let session = rig.session();
    assert_eq!(verdict(&rig.carry_out(create_tenant(session, 1, "other"))), Ok(false));
    let draw = |sequence, key| keyed(key, call(session, sequence, DRAW, &Ask::default()));
    assert_eq!(verdict(&rig.carry_out(draw(2, "a"))), Ok(false));
    rig.pass(MINUTE / 2);
    assert_eq!(verdict(&rig.carry_out(draw(3, "b"))), Ok(false));
    let before = rig.replica.digests();
    refused(&rig.carry_out(draw(4, "c")), Code::ResourceExhausted, "table of idempotency keys is full");
    assert_eq!(rig.replica.digests(), before, "nothing is forgotten early");
    assert_eq!(verdict(&rig.carry_out(draw(5, "a"))), Ok(true));
    let mut elsewhere = draw(6, "c");
    if let Command::Call { tenant, .. } = &mut elsewhere.command {
        *tenant = "other".to_owned();
    }
    assert_eq!(verdict(&rig.carry_out(elsewhere)), Ok(false), "each tenant has a table of its own");
    rig.pass(MINUTE / 2);
    // Nothing but this request comes: an expired key must make room for it by itself.
    assert_eq!(verdict(&rig.carry_out(draw(7, "c"))), Ok(false));
    assert_eq!(rig.keys(), 2);
    refused(&rig.carry_out(draw(8, "d")), Code::ResourceExhausted, "full");
    rig.restarted(limits);
}

#[test]
fn an_expired_key_of_a_full_table_can_be_used_again() {
    let limits = Limits { idempotency_keys_max: 1, idempotency_retention: MINUTE, ..Limits::default() };
    let mut rig = Rig::new(limits);
    let session = rig.session();
    let draw = |sequence| keyed("only", call(session, sequence, DRAW, &Ask::default()));
    for sequence in 1..=3 {
        assert_eq!(told(&rig.carry_out(draw(sequence))).number, sequence);
        assert_eq!(rig.keys(), 1);
        rig.pass(MINUTE);
    }
    rig.restarted(limits);
}

#[test]
fn idempotency_retention() {
    let limits = Limits { idempotency_retention: MINUTE, ..Limits::default() };
    let mut rig = Rig::new(limits);
    let session = rig.session();
    let draw = |sequence| keyed("key", call(session, sequence, DRAW, &Ask::default()));
    assert_eq!(told(&rig.carry_out(draw(1))).number, 1);
    rig.pass(MINUTE - 1);
    assert_eq!(told(&rig.carry_out(draw(2))).number, 1, "up to the last moment");
    rig.pass(1);
    let again = rig.carry_out(draw(3));
    assert_eq!((told(&again).number, verdict(&again)), (2, Ok(false)), "after it the key is new");
    assert_eq!((rig.keys(), rig.platform_rows(index::KEY_EXPIRY)), (1, 1));
    rig.pass(MINUTE);
    rig.set(session, "cell", b"");
    assert_eq!((rig.keys(), rig.platform_rows(index::KEY_EXPIRY)), (0, 0), "no row remains");
    rig.restarted(limits);
}

#[test]
fn expired_per_entry_max() {
    let limits = Limits { idempotency_retention: MINUTE, session_idle_max: 2 * MINUTE, ..Limits::default() };
    let mut rig = Rig::new(limits);
    let session = rig.session();
    let many = 2 * EXPIRED_PER_ENTRY_MAX + 10;
    for number in 0..many as u64 {
        rig.send(keyed(&format!("key {number}"), call(session, number + 1, DRAW, &Ask::default())));
        rig.send(Attempt { id: id(0, 0), command: Command::OpenSession, ..touch(session, 0) });
    }
    rig.settle();
    assert_eq!((rig.keys(), rig.platform_rows(index::SESSION)), (many, many + 1));
    let mut left = many;
    rig.pass(MINUTE);
    for sequence in 2000..2003 {
        assert_eq!(verdict(&rig.carry_out(set(session, sequence, "cell", b""))), Ok(false));
        left = left.saturating_sub(EXPIRED_PER_ENTRY_MAX);
        assert_eq!((rig.keys(), rig.platform_rows(index::KEY_EXPIRY)), (left, left));
    }
    left = many;
    rig.pass(MINUTE);
    for sequence in 2003..2006 {
        assert_eq!(verdict(&rig.carry_out(set(session, sequence, "cell", b""))), Ok(false));
        left = left.saturating_sub(EXPIRED_PER_ENTRY_MAX);
        assert_eq!((rig.platform_rows(index::SESSION), rig.platform_rows(index::SESSION_EXPIRY)), (left + 1, left + 1));
    }
    rig.restarted(limits);
}

#[test]
fn session_trim_step() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    let answers = |rig: &mut Rig, sequence, below| {
        assert_eq!(verdict(&rig.carry_out(acknowledging(below, set(session, sequence, "cell", b"")))), Ok(false));
        rig.platform_rows(index::ANSWERS)
    };
    for sequence in 1..=SESSION_TRIM_STEP {
        assert_eq!(answers(&mut rig, sequence, 1) as u64, sequence, "one row for each entry");
    }
    assert_eq!(answers(&mut rig, 65, SESSION_TRIM_STEP - 1), 65, "not yet");
    assert_eq!(answers(&mut rig, 66, SESSION_TRIM_STEP), 3, "64 to 66 remain");
}

#[test]
fn a_session_with_many_answers_expires_over_several_entries() {
    let limits = Limits { session_idle_max: MINUTE, ..Limits::default() };
    let mut rig = Rig::new(limits);
    let many = EXPIRED_PER_ENTRY_MAX as u64 + 50;
    let (full, small) = (rig.session(), rig.session());
    for sequence in 1..=many {
        assert_eq!(verdict(&rig.carry_out(set(full, sequence, "cell", b""))), Ok(false));
    }
    assert_eq!(verdict(&rig.carry_out(set(small, 1, "cell", b""))), Ok(false));
    rig.pass(MINUTE);
    let other = rig.session();
    assert_eq!((rig.platform_rows(index::ANSWERS), rig.platform_rows(index::SESSION)), (51, 3), "256 rows went");
    assert_eq!(rig.carry_out(set(full, many, "cell", b"")), Reply::SessionGone, "it is gone whatever is left of it");
    let mut rig = rig.restarted(limits);
    assert_eq!(rig.carry_out(set(full, many, "cell", b"")), Reply::SessionGone);
    assert_eq!(verdict(&rig.carry_out(set(other, 1, "cell", b""))), Ok(false));
    assert_eq!((rig.platform_rows(index::ANSWERS), rig.platform_rows(index::SESSION)), (1, 1), "and then the rest");
    assert_eq!(rig.platform_rows(index::SESSION_EXPIRY), 1);
    rig.restarted(limits);
}
