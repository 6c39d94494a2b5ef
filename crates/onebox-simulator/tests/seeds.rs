//! Seeds that found something once, a fixed set of others, and that a run is the same each time.

use std::sync::Arc;

use onebox_service::Service;
use onebox_simulator::register::RegisterWorkload;
use onebox_simulator::{Ask, Chance, Fault, Options, Report, Verdict, Workload, panics, run};

fn toy(options: &Options) -> Report {
    run(options, &mut || Box::<RegisterWorkload>::default())
}

fn kept(seed: u64) -> Report {
    let report = toy(&Options::of_seed(seed));
    assert_eq!(report.verdict, Verdict::Kept, "seed {seed}; replay it: inventory simulate --toy --seed {seed} --seeds 1 --trace");
    report
}

#[test]
fn a_fixed_set_of_seeds_keeps_every_promise() {
    let reports: Vec<Report> = (1..=24).map(kept).collect();
    assert!(reports.iter().map(|report| report.leaders).sum::<usize>() > 48, "leadership changes hands");
    assert!(reports.iter().all(|report| report.acknowledged > 100), "the clients get on");
}

/// Seeds in which the simulator found a bug of ours; docs/simulation.md tells of the bugs.
#[test]
fn what_was_found_once_stays_found() {
    for seed in [35, 98, 121, 147, 149, 195, 402, 1012, 1013, 1014, 1021, 1025, 1035, 1037] {
        kept(seed);
    }
}

/// With the feature `buggify`, as in this test, a replica's memory fails now and then. Its state is another then, which it must notice;
/// it fetches the leader's, and in the end all are equal, or the run would not have kept its promises.
#[test]
fn a_replica_whose_memory_fails_is_healed() {
    let failed = |report: &Report| report.unlikely.get("memory fails").is_some_and(|times| *times > 0);
    let noticed = |report: &Report| report.timeline.lines.iter().any(|line| line.to_string().contains("Diverged"));
    let traced = |seed| toy(&Options { trace: true, ..Options::of_seed(seed) });
    let reports: Vec<Report> = (1..=24).map(traced).filter(failed).collect();
    assert!(reports.len() >= 3, "memory fails in some of these seeds");
    // What fails just before a machine is gone is gone with it.
    assert!(reports.iter().filter(|report| noticed(report)).count() * 2 > reports.len(), "most times it is noticed");
    assert!(reports.iter().all(|report| report.verdict == Verdict::Kept));
}

/// They share machines, with all that befalls those, and each keeps its own promises.
#[test]
fn partitions_share_machines() {
    for seed in 1..=6 {
        let report = toy(&Options { partitions: Some(3), ..Options::of_seed(seed) });
        assert_eq!((&report.verdict, report.partitions), (&Verdict::Kept, 3), "seed {seed}");
        assert!(report.acknowledged > 100, "seed {seed}: the clients get on, those of each, or it would not have healed");
    }
}

/// A leader that was removed went on leading: nothing was committed any more, and the library panicked at an answer that came late.
#[test]
fn whoever_is_removed_leads_no_more_and_is_taken_in_again() {
    let mut removals = 0;
    for seed in 1..=4 {
        let report = toy(&Options { faults: vec![Fault::Removal], ..Options::of_seed(seed) });
        assert_eq!(report.verdict, Verdict::Kept, "seed {seed}");
        removals += report.faults.get(&Fault::Removal).map_or(0, |(struck, _)| *struck);
    }
    assert!(removals > 4, "{removals} removals");
}

/// Clients give writes a key and ask again under it, and ask what became of what nobody knows.
#[test]
fn requests_are_asked_again_and_asked_about() {
    let report = toy(&Options::of_seed(2));
    assert!(report.asked_again > 20 && report.fates_told > 20, "{} and {}", report.asked_again, report.fates_told);
}

#[test]
fn nothing_happens_that_the_seed_does_not_say() {
    for seed in [3, 7, 11] {
        let (first, second) = (toy(&Options::of_seed(seed)), toy(&Options::of_seed(seed)));
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!((first.events, first.micros), (second.events, second.micros), "seed {seed}");
    }
}

/// What is written down, and what is not, must not change what happens.
#[test]
fn writing_it_down_changes_nothing() {
    let mut options = Options::of_seed(5);
    options.micros = 20_000_000;
    let traced = Options { trace: true, ..options.clone() };
    let (plain, kept) = (toy(&options), toy(&traced));
    assert_eq!(plain.trace_hash, kept.trace_hash, "that it is written down changes nothing");
    assert!(kept.timeline.lines.len() > 1_000 && plain.timeline.lines.is_empty());
}

#[test]
fn leaving_out_faults_leaves_the_others_as_they_are() {
    let all = toy(&Options::of_seed(9));
    let none = toy(&Options { keep: Some(Vec::new()), ..Options::of_seed(9) });
    assert_eq!(none.verdict, Verdict::Kept);
    assert_eq!(none.faults.len(), 0);
    assert!(!all.faults.is_empty());
    let without_faults = toy(&Options { faults: Vec::new(), ..Options::of_seed(9) });
    assert_eq!(without_faults.trace_hash, none.trace_hash, "a fault that is left out leaves no trace");
}

/// A workload of which a part panics, as an author's may.
struct Panicking;

impl Workload for Panicking {
    fn service(&self) -> Arc<dyn Service> {
        RegisterWorkload::default().service()
    }

    fn next(&mut self, _client: usize, _chance: &mut Chance) -> Ask {
        panic!("what was to be asked is not known")
    }
}

#[test]
fn a_workload_that_panics_is_a_verdict_with_its_words() {
    panics::keep_for_verdicts();
    let report = run(&Options::of_seed(1), &mut || Box::new(Panicking));
    let Verdict::Broken(broken) = report.verdict else { panic!("{:?}", report.verdict) };
    assert_eq!(broken.promise, "nothing panics");
    assert!(broken.words.contains("what was to be asked is not known") && broken.words.contains("tests/seeds.rs:"), "{}", broken.words);
}
