//! Budgets: what goes past one ends the request there and then, before anything else is read, written or decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use onebox_service::{Budget, Code, Failure, Refusal, Tx};

use crate::stage::{AMPLE, BY_CODE, Changed, Space, ask, context, done, item, items, put, run};

fn exhausted(words: &str) -> Failure {
    Failure::Refused(Refusal::platform(Code::ResourceExhausted, format!("the request needs more than {words}; ask for less at once")))
}

/// Repeats one step until the budget ends the request; the step past the end must not return.
#[track_caller]
fn check(budget: Budget, steps: usize, words: &str, step: impl Fn(&mut Tx<'_>, u64) + Send + Sync + 'static) -> Space {
    let mut space = Space::default();
    done(&mut space, |tx| tx.record(put([item(1, "one", "a", 0), item(2, "two", "a", 0), item(3, "three", "a", 0)])));
    let returned = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&returned);
    let ran = run(&mut space, &context(budget), move |tx| {
        for number in 0..1000 {
            step(tx, number);
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Vec::new())
    });
    assert_eq!(ran.outcome, Err(exhausted(words)));
    assert_eq!(returned.load(Ordering::Relaxed), steps, "steps that returned");
    space
}

#[test]
fn rows_read_max() {
    let budget = Budget { rows_read_max: 5, ..AMPLE };
    let space = check(budget, 5, "5 rows read", |tx, _| assert!(items(tx).get(&1u64).is_some()));
    // Writing the three rows looked at each and at its unique entry.
    assert_eq!(space.gets.get(), 6 + 5, "the sixth was not looked up");
    check(budget, 2, "5 rows read", |tx, _| assert!(items(tx).unique(BY_CODE, &"one").is_some()));
}

#[test]
fn scan_steps_max() {
    let space = check(Budget { scan_steps_max: 7, ..AMPLE }, 2, "7 rows scanned", |tx, _| assert_eq!(items(tx).all().count(), 3));
    assert_eq!(space.steps.get(), 8, "the scan ended at the row past the budget");
}

#[test]
fn rows_written_max() {
    // A new row of this table is three writes: itself and two index entries.
    let space = check(Budget { rows_written_max: 7, ..AMPLE }, 2, "7 rows written", |tx, number| {
        tx.record(put([item(100 + number, &format!("code {number}"), "b", 0)]));
    });
    assert_eq!(space.rows.len(), 9 + 7, "the write past the budget was not made");
}

#[test]
fn events_max() {
    let mut ran = 0;
    check(Budget { events_max: 4, ..AMPLE }, 4, "4 events recorded", |tx, _| tx.record(Changed::default()));
    let mut space = Space::default();
    for events in [4, 5] {
        let outcome = run(&mut space, &context(Budget { events_max: 4, ..AMPLE }), move |tx| {
            (0..events).for_each(|_| tx.record(Changed::default()));
            Ok(Vec::new())
        });
        ran += outcome.recorded.iter().len();
    }
    assert_eq!(ran, 4 + 4, "the fifth was not recorded");
}

#[test]
fn bytes_max() {
    let big = "x".repeat(100);
    check(Budget { bytes_max: 1000, ..AMPLE }, 4, "1000 bytes read and written", move |tx, number| {
        // The event and the row: some hundred bytes each; of the index entries the packed key.
        tx.record(put([item(100 + number, "", &big, 0)]));
    });
    for (answer, fits) in [(1000, true), (1001, false)] {
        let ran = run(&mut Space::default(), &context(Budget { bytes_max: 1000, ..AMPLE }), move |_| Ok(vec![0; answer]));
        assert_eq!(ran.outcome.is_ok(), fits, "an answer of {answer} bytes");
    }
    let mut space = Space::default();
    done(&mut space, |tx| tx.record(put([item(1, "", &"x".repeat(400), 0)])));
    let read = |times: usize, answer: usize| {
        move |reader: &onebox_service::Reader<'_>| {
            (0..times).for_each(|_| assert!(items(reader).get(&1u64).is_some()));
            Ok(vec![0; answer])
        }
    };
    let budget = context(Budget { bytes_max: 1000, ..AMPLE });
    assert_eq!(ask(&space, &budget, read(2, 0)), Ok(Vec::new()));
    assert_eq!(ask(&space, &budget, read(3, 0)), Err(exhausted("1000 bytes read and written")));
    assert_eq!(ask(&space, &budget, read(0, 1000)), Ok(vec![0; 1000]));
    assert_eq!(ask(&space, &budget, read(0, 1001)), Err(exhausted("1000 bytes read and written")), "the answer counts");
}

#[test]
fn key_bytes_max() {
    // Five bytes of tenant, table and index, two around the text.
    for (length, fits) in [(60, true), (61, false)] {
        let group = "g".repeat(length);
        let ran = run(&mut Space::default(), &context(Budget { key_bytes_max: 71, ..AMPLE }), move |tx| {
            tx.record(put([item(1, "", &group, 0)]));
            Ok(Vec::new())
        });
        match ran.outcome {
            Ok(_) => assert!(fits, "{length}"),
            Err(Failure::Refused(refusal)) => {
                assert!(!fits && refusal.code == Code::InvalidArgument && refusal.message.contains("a key of 72 bytes, 71"), "{refusal:?}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn committed_events_are_applied_whatever_they_cost() {
    let mut space = Space::default();
    let recorded = done(&mut space, |tx| tx.record(put((0..20_000).map(|id| item(id, "", &"g".repeat(900), 0)))));
    let mut again = Space::default();
    assert_eq!(crate::stage::replay(&recorded, &mut again), Ok(()));
    assert_eq!(again.rows.len(), 40_000);
}
