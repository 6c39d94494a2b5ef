//! What was executed ahead of the log and is taken back. With one voter the consensus drops a proposal only when too many
//! bytes are on their way already.

use onebox_replica::Limits;
use onebox_service::Budget;
use onebox_service::attempt::{Attempt, Command, Fate, Reply, Sequence};

use crate::rig::{Rig, call, id, keyed, set, told, verdict};
use crate::service::{Ask, DRAW, SET};

const MIB: usize = 1 << 20;

/// Room for entries so large that the consensus, which takes 64 MiB, drops the third.
fn limits() -> Limits {
    let budget = Budget { bytes_max: u32::MAX, ..Limits::default().budget };
    Limits { entries_in_flight_max: 8, body_bytes_max: 64 * MIB, queue_bytes_max: 1 << 30, budget, ..Limits::default() }
}

fn big(session: u64, sequence: u64) -> Attempt {
    // Twice in its entry: in the request and in the event.
    keyed(&format!("key {sequence}"), set(session, sequence, &format!("cell {sequence}"), &vec![sequence as u8; 14 * MIB]))
}

#[test]
fn a_dropped_entry_is_taken_back_and_its_callers_may_try_again() {
    let mut rig = Rig::sized(limits(), 128 << 20, usize::MAX / 4);
    let session = rig.session();
    let kept = [1, 2].map(|sequence| {
        let token = rig.send(big(session, sequence));
        rig.turn();
        token
    });
    let before = rig.replica.digests();
    let dropped = rig.send(big(session, 3));
    rig.turn();
    assert!(matches!(rig.reply(dropped), Some(Reply::Retry(_))), "the third is not taken");
    assert_eq!(rig.replica.digests(), before, "and leaves no trace");
    let beside = rig.send(call(session, 4, DRAW, &Ask::default()));
    let dropped_again = rig.send(big(session, 3));
    rig.turn();
    assert!([dropped_again, beside].iter().all(|token| matches!(rig.reply(*token), Some(Reply::Retry(_)))), "whoever shares its entry");
    assert_eq!(rig.replica.digests(), before);
    let small = rig.send(call(session, 4, DRAW, &Ask::default()));
    rig.turn();
    rig.settle();
    assert!(kept.iter().all(|token| verdict(rig.reply(*token).unwrap()) == Ok(false)));
    assert_eq!(told(rig.reply(small).unwrap()).number, 1, "its id was not used up");
    assert_eq!(verdict(&rig.carry_out(big(session, 3))), Ok(false), "under the same id and key, now that there is room");
    assert_eq!(verdict(&rig.carry_out(big(session, 3))), Ok(true));
    assert_eq!(rig.keys(), 3);
    rig.restarted(limits());
}

#[test]
fn what_was_computed_on_a_dropped_entry_goes_with_it() {
    let mut rig = Rig::sized(limits(), 128 << 20, usize::MAX / 4);
    let session = rig.session();
    for sequence in [1, 2] {
        rig.send(big(session, sequence));
        rig.turn();
    }
    let draw = call(session, 4, DRAW, &Ask::default());
    let only_new = call(session, 5, SET, &Ask { key: "cell".to_owned(), flag: true, ..Ask::default() });
    let done = [rig.send(draw.clone()), rig.send(set(session, 6, "cell", b""))];
    let computed_on_them = [rig.send(draw.clone()), rig.send(only_new.clone())];
    // With this one the entry is too large.
    let last = rig.send(big(session, 3));
    rig.settle();
    for token in done.into_iter().chain(computed_on_them).chain([last]) {
        assert!(matches!(rig.reply(token), Some(Reply::Retry(_))), "nothing is said of what never was: {:?}", rig.reply(token));
    }
    assert_eq!(rig.fate(id(session, 4)), Fate::Pending);
    assert_eq!(verdict(&rig.carry_out(only_new)), Ok(false));
    assert_eq!(verdict(&rig.carry_out(draw)), Ok(false));
    rig.restarted(limits());
}

#[test]
fn a_session_opened_in_a_dropped_entry_never_was() {
    let mut rig = Rig::sized(limits(), 128 << 20, usize::MAX / 4);
    let session = rig.session();
    for sequence in [1, 2] {
        rig.send(big(session, sequence));
        rig.turn();
    }
    let open = Attempt { id: id(0, 0), acknowledged_below: Sequence(0), command: Command::OpenSession };
    let opened = rig.send(open);
    rig.send(big(session, 3));
    rig.settle();
    assert!(matches!(rig.reply(opened), Some(Reply::Retry(_))), "{:?}", rig.reply(opened));
    assert_eq!(rig.carry_out(set(session + 1, 1, "cell", b"")), Reply::SessionGone);
    assert_eq!(rig.session(), session + 1, "its number is still to be given");
    assert_eq!(verdict(&rig.carry_out(set(session + 1, 1, "cell", b""))), Ok(false));
    rig.restarted(limits());
}
