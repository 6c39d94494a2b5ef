//! The same seed gives the same run: every effect of a replica is a function of its inputs and its disk.

use onebox_replica::Status;
use onebox_store::memory::CrashKind;

use crate::scene::Scene;
use crate::world::Trace;

/// Everything that a replica says in two processes with a power loss between them, as one hash.
fn run(seed: u64) -> (Trace, Status, (u128, u128), u64) {
    let mut scene = Scene::new(seed);
    scene.machine.record_trace(Trace::new());
    scene.work(150);
    let trace = scene.machine.desk.trace.expect("it is recorded");
    let written = scene.machine.disk.bytes_written();
    let (disk, client, chance, history, wall) = scene.kill();
    let image = disk.crash_image(seed, CrashKind::Random);
    let mut scene = Scene::again(&image, wall, history, client, chance).unwrap_or_else(|fault| panic!("it does not start again: {fault}"));
    scene.machine.record_trace(trace);
    scene.client.resume(&mut scene.machine, &mut scene.chance);
    scene.work(100);
    (scene.machine.desk.trace.expect("it is recorded"), scene.machine.status(), scene.machine.replica.digests(), written)
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let mut hashes = Vec::new();
    for seed in 1..6 {
        let first = run(seed);
        assert_eq!(first, run(seed), "seed {seed}");
        assert!(first.0.events > 500, "{first:?}");
        hashes.push(first.0.hash);
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 5, "other seeds give other runs");
}
