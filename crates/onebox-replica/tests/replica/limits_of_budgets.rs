//! Each resource of both budgets is used up by a method made for it; what was left undone leaves no trace.

use onebox_replica::Limits;
use onebox_replica::limits::KEY_BYTES_MAX;
use onebox_service::{Budget, Code, Failure};

use crate::rig::{Rig, call, refused, set, verdict};
use crate::service::{Ask, BIG, LOOK, MANY};

/// Refuses `too_much`, changing nothing, and carries out `enough`, under a budget.
fn check(budget: Budget, enough: Ask, too_much: Ask, words: &str) {
    let mut rig = Rig::new(Limits { budget, ..Limits::default() });
    let session = rig.session();
    for number in 0..4 {
        rig.set(session, &format!("there {number}"), b"");
    }
    let before = rig.replica.digests();
    let reply = rig.carry_out(call(session, 10, MANY, &too_much));
    refused(&reply, Code::ResourceExhausted, words);
    assert_eq!(rig.replica.digests(), before, "it changed nothing");
    assert_eq!(verdict(&rig.carry_out(call(session, 11, MANY, &enough))), Ok(false));
    assert_ne!(rig.replica.digests(), before);
    rig.restarted(Limits::default());
}

fn ask() -> Ask {
    Ask { key: "many ".to_owned(), events: 1, ..Ask::default() }
}

#[test]
fn budget_rows_read_max() {
    let budget = Budget { rows_read_max: 3, ..Limits::default().budget };
    check(budget, Ask { reads: 3, ..ask() }, Ask { reads: 4, ..ask() }, "more than 3 rows read");
}

#[test]
fn budget_rows_written_max() {
    let budget = Budget { rows_written_max: 3, ..Limits::default().budget };
    check(budget, Ask { events: 3, ..ask() }, Ask { events: 4, ..ask() }, "more than 3 rows written");
}

#[test]
fn budget_scan_steps_max() {
    let budget = Budget { scan_steps_max: 4, ..Limits::default().budget };
    let mut rig = Rig::new(Limits { budget, ..Limits::default() });
    let session = rig.session();
    for number in 0..4 {
        rig.set(session, &format!("there {number}"), b"");
    }
    let scan = Ask { steps: 4, ..ask() };
    assert_eq!(verdict(&rig.carry_out(call(session, 10, MANY, &scan))), Ok(false), "it scans four, and writes a fifth");
    let before = rig.replica.digests();
    refused(&rig.carry_out(call(session, 11, MANY, &scan)), Code::ResourceExhausted, "more than 4 rows scanned");
    assert_eq!(rig.replica.digests(), before);
}

#[test]
fn budget_bytes_max() {
    let budget = Budget { bytes_max: 1000, ..Limits::default().budget };
    let of = |bytes| Ask { value: vec![1; bytes], ..ask() };
    // The event and the row: each the value and some twenty bytes.
    check(budget, of(450), of(500), "more than 1000 bytes read and written");
    check(budget, Ask { answer_bytes: 900, ..ask() }, Ask { answer_bytes: 1000, ..ask() }, "more than 1000 bytes");
}

#[test]
fn budget_events_max() {
    let budget = Budget { events_max: 3, ..Limits::default().budget };
    check(budget, Ask { events: 3, ..ask() }, Ask { events: 4, ..ask() }, "more than 3 events recorded");
}

#[test]
fn key_bytes_max() {
    let mut rig = Rig::new(Limits::default());
    let session = rig.session();
    // Tenant and table take two bytes each, index 0 one; text has a byte before and one behind it.
    let longest = KEY_BYTES_MAX as usize - 5 - 2;
    let before = rig.replica.digests();
    let reply = rig.carry_out(set(session, 1, &"k".repeat(longest + 1), b""));
    refused(&reply, Code::InvalidArgument, "it makes a key of 1025 bytes, 1024 are allowed");
    assert_eq!(rig.replica.digests(), before);
    assert_eq!(verdict(&rig.carry_out(set(session, 2, &"k".repeat(longest), b""))), Ok(false));
}

#[test]
fn query_budget() {
    let of = |budget| {
        let mut rig = Rig::new(Limits { query_budget: budget, ..Limits::default() });
        let session = rig.session();
        for number in 0..4 {
            rig.set(session, &format!("there {number}"), &[1; 100]);
        }
        rig
    };
    let default = Limits::default().query_budget;
    let cases = [
        (Budget { rows_read_max: 3, ..default }, Ask { reads: 3, ..Ask::default() }, Ask { reads: 4, ..Ask::default() }, "3 rows read"),
        (
            Budget { scan_steps_max: 3, ..default },
            Ask { reads: 9, ..Ask::default() },
            Ask { steps: 1, ..Ask::default() },
            // A page is fetched as a whole.
            "3 rows scanned",
        ),
        (
            Budget { bytes_max: 450, ..default },
            Ask { steps: 3, ..Ask::default() },
            Ask { steps: 3, answer_bytes: 100, ..Ask::default() },
            "450 bytes",
        ),
    ];
    for (budget, enough, too_much, words) in cases {
        let rig = of(budget);
        assert!(rig.answer(LOOK, &enough).is_ok(), "{words}");
        match rig.answer(LOOK, &too_much) {
            Err(Failure::Refused(refusal)) => {
                assert_eq!(refusal.code, Code::ResourceExhausted);
                assert!(refusal.message.contains(words), "{}", refusal.message);
            }
            other => panic!("{words}: {other:?}"),
        }
    }
    assert_eq!((default.rows_written_max, default.events_max), (0, 0), "a query writes and records nothing");
}

#[test]
fn an_answer_counts_against_the_budget_though_nothing_was_recorded() {
    let budget = Budget { bytes_max: 1000, ..Limits::default().budget };
    let mut rig = Rig::new(Limits { budget, ..Limits::default() });
    let session = rig.session();
    let reply = rig.carry_out(call(session, 1, BIG, &Ask { answer_bytes: 1000, ..Ask::default() }));
    refused(&reply, Code::ResourceExhausted, "more than 1000 bytes");
}
