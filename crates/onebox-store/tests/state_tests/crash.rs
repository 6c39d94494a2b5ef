//! Power losses while the base is made, flushed to and opened: what is found is always one flushed position, whole.

use std::sync::Arc;

use onebox_service::{Fault, FaultKind, Keyspace};
use onebox_store::Disk;
use onebox_store::memory::{CrashKind, MemoryDisk};
use onebox_store::state::{State, StateOptions};

use crate::random::Random;
use crate::world::{self, Rows, Writes, apply, assert_holds, digest_of, options, position};

fn entries(random: &mut Random, count: usize) -> Vec<Writes> {
    let mut write = || {
        let key = random.below(400).to_be_bytes().to_vec();
        let value = (random.below(5) > 0).then(|| random.bytes(120));
        (key, value)
    };
    (0..count).map(|_| (0..40).map(|_| write()).collect()).collect()
}

/// Rows at every position.
fn history(entries: &[Writes]) -> Vec<Rows> {
    let mut rows = Rows::new();
    let mut history = vec![rows.clone()];
    for writes in entries {
        apply(&mut rows, writes);
        history.push(rows.clone());
    }
    history
}

/// Opens what a crash left and says at which position it is, all of it checked.
fn found_at(disk: &MemoryDisk, history: &[Rows], what: &str) -> u64 {
    let (state, facts) = world::open(disk, usize::MAX).unwrap_or_else(|fault| panic!("{what}: {fault}"));
    let at = facts.applied.index.0;
    let rows = &history[at as usize];
    assert_eq!((facts.digest.0, facts.rows), (digest_of(rows), rows.len() as u64), "{what}");
    assert_holds(&state, rows, what);
    assert_eq!(world::scrub(state.scrub_job(), 100), Ok(facts.rows), "{what}");
    at
}

#[test]
fn a_power_loss_leaves_the_base_at_a_flushed_position() {
    let (mut found_old, mut found_new, mut images) = (0, 0, 0);
    for seed in 0..120 {
        let mut random = Random::new(seed);
        let entries = entries(&mut random, 30);
        let history = history(&entries);
        let disk = MemoryDisk::new();
        let (mut state, _) = world::open(&disk, usize::MAX).expect("opens");
        for (index, writes) in (1..=20).zip(&entries) {
            world::commit(&mut state, writes, index);
            if index % 5 == 0 && index <= 15 {
                world::flush_all(&mut state).expect("flushes");
            }
        }
        // Twice: the first failure may come anywhere in the flush or in closing the file after it.
        disk.fail_after(random.below(120));
        let flushed = world::flush_all(&mut state).is_ok();
        drop(state);
        for draw in 0..4 {
            let what = format!("seed {seed}, draw {draw}");
            let image = disk.crash_image(seed * 10 + draw, CrashKind::Random);
            // Again, while what was left is being opened.
            image.fail_after(random.below(12));
            let opened = world::open(&image, usize::MAX);
            assert!(opened.as_ref().err().is_none_or(|fault| fault.kind == FaultKind::Io), "{what}: {opened:?}");
            drop(opened);
            let image = image.crash_image(seed + draw, CrashKind::Random);
            let at = found_at(&image, &history, &what);
            assert!(at == 20 || at == 15 && !flushed, "{what}: found at {at}, flushed: {flushed}");
            images += 1;
            (found_old, found_new) = (found_old + u32::from(at == 15), found_new + u32::from(at == 20));
            // And it goes on from there.
            let (mut state, _) = world::open(&image, usize::MAX).expect("opens");
            for (index, writes) in (at + 1..).zip(&entries[at as usize..]) {
                world::commit(&mut state, writes, index);
            }
            world::flush_all(&mut state).expect("flushes");
            drop(state);
            assert_eq!(found_at(&image, &history, &what), 30);
        }
    }
    assert!(images >= 200 && found_old > 50 && found_new > 50, "{images} images, {found_old} old, {found_new} new");
}

#[test]
fn a_power_loss_while_the_base_is_made_is_not_noticed() {
    let all = MemoryDisk::new();
    drop(world::open(&all, usize::MAX).expect("opens"));
    for operations in 0..all.operations() {
        for seed in 0..8 {
            let disk = MemoryDisk::new();
            disk.fail_after(operations);
            drop(world::open(&disk, usize::MAX));
            let image = disk.crash_image(seed, CrashKind::Random);
            assert_eq!(found_at(&image, &[Rows::new()], &format!("{operations} operations, seed {seed}")), 0);
        }
    }
}

#[test]
fn a_fault_of_the_disk_comes_out_as_it_is() {
    let disk = MemoryDisk::new();
    let writes = entries(&mut Random::new(1), 50).concat();
    let (mut state, _) = world::open(&disk, usize::MAX).expect("opens");
    world::commit(&mut state, &writes, 1);
    disk.fail_next("sync", "base.redb");
    let fault = world::flush_all(&mut state).expect_err("the sync fails");
    assert_eq!(fault.to_string(), "disk error: fdatasync of base.redb: input/output error");
    drop(state);
    disk.restart_process();

    let (mut state, _) = world::open(&disk, usize::MAX).expect("opens");
    world::commit(&mut state, &writes, 1);
    world::flush_all(&mut state).expect("flushes");
    drop(state);
    let uncached = StateOptions { cache_bytes: 0, ..options(usize::MAX) };
    let (state, _) = State::open(Arc::new(disk.clone()), uncached).expect("opens");
    disk.fail_next("read", "base.redb");
    let faults: Vec<Fault> = writes.iter().filter_map(|(key, _)| state.get(key).err()).collect();
    assert!(faults.len() > 1, "no page can be read after one read failed");
    for fault in faults {
        assert_eq!(fault.to_string(), "disk error: read of base.redb: input/output error");
    }
}

#[test]
fn a_full_disk_is_met_before_the_base_is_touched_and_the_flush_goes_on_later() {
    let disk = MemoryDisk::new();
    let mut random = Random::new(2);
    let entries = entries(&mut random, 3);
    let history = history(&entries);
    let (mut state, _) = world::open(&disk, usize::MAX).expect("opens");
    world::commit(&mut state, &entries[0], 1);
    world::flush_all(&mut state).expect("flushes");
    world::commit(&mut state, &entries[1], 2);
    let used = u64::MAX - disk.free_bytes().expect("tells");
    disk.set_capacity(used + 1000);
    state.request_flush();
    let fault = state.begin_flush().expect("asked for").run().expect_err("no room");
    assert_eq!(fault.kind, FaultKind::DiskFull);
    state.flush_failed();
    assert_holds(&state.publish(), &history[2], "reads go on");
    world::commit(&mut state, &entries[2], 3);
    disk.set_capacity(u64::MAX);
    world::flush_all(&mut state).expect("flushes");
    assert_eq!(state.base_applied(), position(3));
    drop(state);
    assert_eq!(found_at(&disk, &history, "after a full disk"), 3);
}

#[test]
fn a_killed_process_and_then_a_power_loss_leave_the_base_at_a_flushed_position() {
    let (mut found_old, mut found_new, mut left_by_the_killed) = (0, 0, 0);
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let entries = entries(&mut random, 25);
        let history = history(&entries);
        let disk = MemoryDisk::new();
        let (mut state, _) = world::open(&disk, usize::MAX).expect("opens");
        for (index, writes) in (1..=10).zip(&entries) {
            world::commit(&mut state, writes, index);
            if index % 5 == 0 {
                world::flush_all(&mut state).expect("flushes");
            }
        }
        for (index, writes) in (11..=15).zip(&entries[10..]) {
            world::commit(&mut state, writes, index);
        }
        // Killed in the flush: what it wrote and did not sync stays in the system's cache.
        disk.fail_after(random.below(60));
        let _ = world::flush_all(&mut state);
        drop(state);
        disk.restart_process();

        // The next process opens it and flushes, up to the power loss.
        disk.fail_after(random.below(60));
        let (mut before, mut flushed) = (None, false);
        if let Ok((mut state, facts)) = world::open(&disk, usize::MAX) {
            let at = facts.applied.index.0;
            before = Some(at);
            left_by_the_killed += u32::from(at == 15);
            for (index, writes) in (at + 1..=20).zip(&entries[at as usize..]) {
                world::commit(&mut state, writes, index);
            }
            flushed = world::flush_all(&mut state).is_ok();
        }
        for draw in 0..6 {
            let what = format!("seed {seed}, draw {draw}");
            let at = found_at(&disk.crash_image(seed * 10 + draw, CrashKind::Random), &history, &what);
            let may_be_old = !flushed && before.map_or(at == 10 || at == 15, |before| at == before);
            assert!(at == 20 && before.is_some() || may_be_old, "{what}: found at {at}, before {before:?}, flushed: {flushed}");
            (found_old, found_new) = (found_old + u32::from(at < 20), found_new + u32::from(at == 20));
        }
    }
    assert!(found_old > 100 && found_new > 100 && left_by_the_killed > 20, "{found_old} {found_new} {left_by_the_killed}");
}
