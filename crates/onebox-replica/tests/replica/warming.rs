//! Warming: asked for only where it can help, and without any effect on the state.

use onebox_replica::{Input, Limits};

use crate::rig::{Done, Rig, set};

/// More requests than one turn takes, each of a row of its own.
const ROWS: u64 = 300;

#[test]
fn requests_that_wait_are_rehearsed_once_the_base_is_read() {
    let limits = Limits { turn_requests_max: 100, ..Limits::default() };
    let mut rig = Rig::new(limits);
    let session = rig.session();
    let cells = |offset: u64| (1..=ROWS).map(move |number| set(session, offset + number, &format!("cell {number}"), b"value"));
    for attempt in cells(0) {
        rig.send(attempt);
    }
    rig.settle();

    // A stop in order leaves every row in the base, and the next process has none in memory.
    rig.inputs.push(Input::Drain);
    rig.settle();
    let mut rig = rig.restarted(limits);
    let before = rig.replica.digests();
    for attempt in cells(ROWS) {
        rig.send(attempt);
    }
    rig.turn();
    let rehearsed = rig.replica.digests();
    assert_ne!(rehearsed, before, "the first hundred are executed");
    rig.work();
    assert!(rig.desk.done.contains(&Done::Job("warm")), "the next ones are rehearsed");
    assert_eq!(rig.replica.digests(), rehearsed, "which writes nothing");
    rig.settle();
    rig.desk.done.clear();
    for attempt in cells(2 * ROWS) {
        rig.send(attempt);
    }
    rig.settle();
    assert!(!rig.desk.done.contains(&Done::Job("warm")), "what is in memory need not be warmed");
}
