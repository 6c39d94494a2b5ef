//! Runs large enough to be merged by another thread, with flushes in between.

use onebox_store::memory::MemoryDisk;
use onebox_store::state::{FlushJob, Flushed, MergeJob, Merged, Retired, ScrubJob, State, View};

use crate::random::Random;
use crate::world::{self, Rows, Writes, apply, assert_holds};

/// Keys drawn from `0..keys`; a sixth of the writes are removals.
fn entry(random: &mut Random, writes: usize, keys: u64) -> Writes {
    let write = |random: &mut Random| {
        let key = random.below(keys).to_be_bytes().to_vec();
        let value = (random.below(6) > 0).then(|| random.bytes(12));
        (key, value)
    };
    (0..writes).map(|_| write(random)).collect()
}

#[test]
fn large_runs_merge_beside_new_ones() {
    let mut random = Random::new(3);
    let (mut state, _) = world::open(&MemoryDisk::new(), usize::MAX).expect("opens");
    let mut rows = Rows::new();
    let (mut out, mut merges) = (None, 0);
    for index in 1..=30 {
        let writes = entry(&mut random, 5000, 60_000);
        apply(&mut rows, &writes);
        world::commit(&mut state, &writes, index);
        assert_holds(&state.publish(), &rows, "a view");
        if let Some(job) = state.merge_job() {
            assert!(out.is_none(), "one merge at a time");
            out = Some((job, index, state.view(), rows.clone()));
        }
        if let Some((job, _, view, at_job)) = out.take_if(|(_, begun, _, _)| *begun + 3 == index) {
            state.merged(job.run());
            merges += 1;
            assert_holds(&state.publish(), &rows, "the view after a merge");
            assert_holds(&view, &at_job, "a view from before the merge");
        }
    }
    assert!(merges >= 3, "only {merges} merges");
}

#[test]
fn a_merge_overtaken_by_a_flush_has_no_effect() {
    let mut random = Random::new(4);
    let (mut state, _) = world::open(&MemoryDisk::new(), usize::MAX).expect("opens");
    let mut rows = Rows::new();
    let mut job = None;
    for index in 1..=9 {
        let writes = entry(&mut random, 5000, 60_000);
        apply(&mut rows, &writes);
        world::commit(&mut state, &writes, index);
        state.publish();
        job = job.or_else(|| state.merge_job());
    }
    let merged = job.expect("nine runs of one size wait").run();
    world::flush_all(&mut state).expect("flushes");
    state.merged(merged);
    assert_holds(&state.publish(), &rows, "the view after both");
    assert_eq!(state.dirty_bytes(), 0);
}

#[test]
fn a_merge_of_a_generation_that_is_being_flushed_still_counts() {
    let mut random = Random::new(5);
    let (mut state, _) = world::open(&MemoryDisk::new(), usize::MAX).expect("opens");
    let mut rows = Rows::new();
    let mut job = None;
    for index in 1..=9 {
        let writes = entry(&mut random, 5000, 60_000);
        apply(&mut rows, &writes);
        world::commit(&mut state, &writes, index);
        state.publish();
        job = job.or_else(|| state.merge_job());
    }
    state.request_flush();
    let flush = state.begin_flush().expect("asked for");
    let writes = entry(&mut random, 100, 60_000);
    apply(&mut rows, &writes);
    world::commit(&mut state, &writes, 10);
    state.merged(job.expect("nine runs of one size wait").run());
    assert_holds(&state.publish(), &rows, "the view between");
    drop(state.flushed(flush.run().expect("flushes")));
    assert_holds(&state.view(), &rows, "the view after both");
    assert_eq!(state.view().position(), world::position(10));
}

#[test]
fn views_are_shared_between_threads_and_jobs_move_to_them() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    shared::<View>();
    moved::<State>();
    moved::<(FlushJob, Flushed, Retired, MergeJob, Merged, ScrubJob)>();
}
