//! More than the disk takes: queues and dirty rows stay under their bounds, whoever comes too much is told, and
//! everything else is answered once the disk goes on. Counted, without any clock.

use onebox_replica::replica::Replica;

use crate::scene::Scene;

/// Attempts and reads that are fed while the disk stands still.
const FLOOD: usize = 5_000;

/// What one entry may exceed its bound by: the rows of its last request and of its end.
const SLACK_BYTES: usize = 24 * 1024;

fn flood(scene: &mut Scene, mut each: impl FnMut(&mut Scene)) -> (usize, usize) {
    let (mut queued, mut dirty) = (0, 0);
    for number in 0..FLOOD {
        scene.client.send_new(&mut scene.machine, &mut scene.chance);
        scene.machine.pass(50);
        if number % 40 == 0 {
            scene.machine.turn();
            each(scene);
            scene.client.hear(&mut scene.machine);
        }
        let status = Replica::status(&scene.machine.replica);
        queued = queued.max(status.queued);
        dirty = dirty.max(status.dirty_bytes);
    }
    (queued, dirty)
}

#[test]
fn a_log_that_stands_still_fills_the_queue_and_no_more() {
    let mut scene = Scene::new(8);
    scene.work(30);
    scene.settle();
    let before = scene.client.counts;
    let (queued, dirty) = flood(&mut scene, |_| {});
    let limits = scene.machine.limits;
    let overloaded = scene.client.counts.overloaded - before.overloaded;
    eprintln!("{FLOOD} attempts on a log that stands still: {overloaded} overloaded, at most {queued} queued, {dirty} dirty bytes");
    assert!(queued <= limits.queue_requests_max && queued > limits.queue_requests_max / 2, "{queued} queued");
    assert!(dirty <= limits.dirty_bytes_max + SLACK_BYTES, "{dirty} dirty bytes");
    assert_eq!(scene.client.counts.acknowledged, before.acknowledged, "acknowledged without the disk");
    assert!(overloaded > FLOOD as u64 * 8 / 10, "{overloaded} of {FLOOD}");
    scene.settle();
}

#[test]
fn a_flusher_that_stands_still_stops_execution_at_the_bound_of_dirty_rows() {
    let mut scene = Scene::new(9);
    scene.work(30);
    scene.settle();
    let before = scene.client.counts;
    // The log keeps up, and no job is ever run.
    let (queued, dirty) = flood(&mut scene, |scene| {
        scene.machine.append();
        scene.machine.turn();
    });
    let limits = scene.machine.limits;
    let overloaded = scene.client.counts.overloaded - before.overloaded;
    eprintln!("{FLOOD} attempts without a flush: {overloaded} overloaded, at most {queued} queued, {dirty} dirty bytes");
    assert!(queued <= limits.queue_requests_max, "{queued} queued");
    assert!(dirty > limits.dirty_bytes_max, "{dirty} dirty bytes: the bound was never met");
    assert!(dirty <= limits.dirty_bytes_max + SLACK_BYTES, "{dirty} dirty bytes");
    assert!(overloaded > 0 && scene.client.counts.acknowledged > before.acknowledged);
    scene.settle();
}

#[test]
fn reads_that_wait_are_bounded_too() {
    let mut scene = Scene::new(10);
    scene.work(30);
    scene.settle();
    let before = scene.client.counts;
    for _ in 0..200 {
        let (method, body) = scene.client.workload.read(&mut scene.chance);
        scene.client.read_this(&mut scene.machine, method, body, 1_000_000);
    }
    scene.machine.turn();
    scene.client.hear(&mut scene.machine);
    let (waiting, overloaded) = (scene.client.waiting(), scene.client.counts.overloaded - before.overloaded);
    assert_eq!((waiting, overloaded), (scene.machine.limits.reads_waiting_max, 200 - waiting as u64));
    // The state never gets there: they are told at their deadline.
    scene.settle();
}
