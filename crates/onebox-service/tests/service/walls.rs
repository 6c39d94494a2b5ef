//! The wall around an author's code: panics, faults and refusals each end a request in their own way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use onebox_service::execute::{self, Recorded};
use onebox_service::rehearsal::rehearse;
use onebox_service::{Code, EventId, Failure, MethodId, Outcome, Reader, Refusal, TenantId, Time, Tx, refuse};

use crate::stage::{AMPLE, Changed, Running, Space, ask, context, creating, done, fault, item, items, put, replay, run};

#[test]
fn a_panic_is_a_bug_in_its_own_words() {
    let words = |feature: fn(&mut Tx<'_>) -> Outcome<Vec<u8>>| run(&mut Space::default(), &context(AMPLE), feature).outcome;
    assert_eq!(words(|_| panic!("plain words")), Err(Failure::Bug("plain words".to_owned())));
    assert_eq!(words(|_| panic!("words with {}", 7)), Err(Failure::Bug("words with 7".to_owned())));
    assert_eq!(words(|_| std::panic::panic_any(7)), Err(Failure::Bug("a panic without words".to_owned())));
    let asked = ask(&Space::default(), &context(AMPLE), |_| panic!("in a query"));
    assert_eq!(asked, Err(Failure::Bug("in a query".to_owned())));
}

#[test]
fn a_panic_in_apply_ends_the_request_that_records_it() {
    let ran = run(&mut Space::default(), &context(AMPLE), |tx| {
        tx.record(Changed { panics: true, ..put([item(1, "", "", 0)]) });
        Ok(Vec::new())
    });
    assert_eq!(ran.outcome, Err(Failure::Bug("an event that cannot be applied".to_owned())));
}

#[test]
fn a_committed_event_that_cannot_be_applied_is_named() {
    let apply = |event: u32, bytes: &[u8]| {
        let service = Running { feature: |_: &mut Tx<'_>| Ok(Vec::new()), query: |_: &Reader<'_>| Ok(Vec::new()) };
        execute::apply(&service, [(EventId(event), bytes)].into_iter(), &mut Space::default(), TenantId(1), Time(0))
    };
    let words = |failure: Result<(), Failure>| match failure {
        Err(Failure::Bug(words)) => words,
        other => panic!("it is a bug: {other:?}"),
    };
    let panics = prost::Message::encode_to_vec(&Changed { panics: true, ..Changed::default() });
    assert_eq!(words(apply(5, &panics)), "event Changed (number 5): an event that cannot be applied");
    assert_eq!(words(apply(6, &[])), "event unknown (number 6): unknown event 6");
    let garbled = words(apply(5, &[0xff; 3]));
    assert!(garbled.starts_with("event Changed (number 5): "), "{garbled}");
}

#[test]
fn a_fault_ends_the_request_before_anything_is_decided_on_it() {
    let mut sound = Space::default();
    done(&mut sound, |tx| tx.record(put((0..20).map(|id| item(id, "", "g", 0)))));
    sound.gets.set(0);
    let mut faults = 0;
    for reads in 0..30 {
        let mut space = sound.clone();
        space.reads_left.set(Some(reads));
        let went_on = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&went_on);
        let ran = run(&mut space, &context(AMPLE), move |tx| {
            let (row, rows) = (items(tx).get(&1u64), items(tx).all().count());
            assert!(row.is_some() && rows == 20, "what was read is what is there");
            let id = tx.new_id();
            flag.store(true, Ordering::Relaxed);
            tx.record(creating([id]));
            Ok(Vec::new())
        });
        // One row, twenty, and the counter.
        assert_eq!(went_on.load(Ordering::Relaxed), reads >= 22, "{reads} reads");
        match ran.outcome {
            Err(failure) => {
                assert_eq!(failure, Failure::Fault(fault()));
                faults += 1;
            }
            Ok(_) => assert!(reads >= 22, "{reads} reads"),
        }
    }
    assert_eq!(faults, 22);
    sound.reads_left.set(Some(0));
    let asked = ask(&sound, &context(AMPLE), |reader| Ok(vec![items(reader).get(&1u64).is_some().into()]));
    assert_eq!(asked, Err(Failure::Fault(fault())));
}

#[test]
fn a_refusal_keeps_its_words_and_nothing_of_what_was_recorded_before_is_used_again() {
    let refusal = Refusal { code: Code::FailedPrecondition, kind: "stage.v1.Full", message: "full".to_owned(), detail: vec![1, 2] };
    let given = refusal.clone();
    let mut space = Space::default();
    let service = Running {
        feature: move |tx: &mut Tx<'_>| {
            tx.record(put([item(1, "", "", 0)]));
            refuse(given.clone())
        },
        query: |_: &Reader<'_>| Ok(Vec::new()),
    };
    let mut recorded = Recorded::default();
    for _ in 0..3 {
        let outcome = execute::execute(&service, MethodId(0), &[], &mut space, &context(AMPLE), &mut recorded);
        assert_eq!(outcome, Err(Failure::Refused(refusal.clone())));
        assert_eq!(recorded.iter().len(), 1, "cleared before each request");
    }
    recorded.clear();
    assert!(recorded.is_empty());
    assert_eq!(replay(&recorded, &mut space), Ok(()));
}

#[test]
fn a_rehearsal_reads_what_the_request_reads_and_changes_nothing() {
    let mut space = Space::default();
    done(&mut space, |tx| tx.record(put([item(1, "one", "a", 0), item(2, "two", "a", 0)])));
    let before = space.rows.clone();
    let seen = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&seen);
    let service = Running {
        feature: move |tx: &mut Tx<'_>| {
            tx.record(Changed { delete: vec![1], ..put([item(3, "three", "a", -1)]) });
            let ids: Vec<u64> = items(tx).starting_with(crate::stage::BY_GROUP, &"a").map(|item| item.id).collect();
            assert_eq!(ids, [3, 2], "it sees its own writes");
            flag.store(true, Ordering::Relaxed);
            panic!("whatever comes of it");
        },
        query: |_: &Reader<'_>| Ok(Vec::new()),
    };
    rehearse(&service, MethodId(0), &[], &space, &context(AMPLE));
    assert!(seen.load(Ordering::Relaxed));
    assert_eq!(space.rows, before);
}
