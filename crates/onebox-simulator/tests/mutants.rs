//! Bugs planted on purpose: the simulator finds each, and by which promise. Prints a table.
//!
//! `MUTANT_RUNS` says how often each is looked for, from other seeds; `MUTANT_SEEDS` how many seeds a look may take.
//! `MUTANT` looks for the one of this name alone; `MUTANT_QUICK=1` leaves out those that take many seeds.

use std::collections::BTreeMap;

use onebox_service::planted::plant;
use onebox_simulator::register::RegisterWorkload;
use onebox_simulator::{Options, Verdict, run};

/// Each, and the virtual seconds of a run that looks for it.
const MUTANTS: [(&str, u64); 22] = [
    ("acknowledged before the sync", 30),
    ("a failed sync taken for success", 30),
    ("term and vote forgotten", 30),
    ("a vote counted twice", 30),
    ("an old term's entry committed by count", 30),
    ("up-to-date check skipped", 30),
    ("a learner counted in the quorum", 60),
    ("read without a round", 30),
    ("a position not waited for", 30),
    ("speculation not undone", 30),
    ("a gap between snapshot and log", 60),
    ("applied twice after a restart", 30),
    ("requests missing from snapshots", 60),
    ("the request table is not asked", 30),
    ("a key is not asked for", 30),
    ("damage cut like a torn end", 60),
    ("a wiped node rejoins as the old one", 60),
    ("a refusal believed at once", 30),
    ("a version put in force that a member cannot run", 30),
    ("apply looks outside", 30),
    ("another state overlooked", 30),
    ("committed taken for executed", 30),
];

/// Those that take many seeds, at the median.
const SLOW: [&str; 3] = ["an old term's entry committed by count", "a vote counted twice", "damage cut like a torn end"];

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn every_planted_bug_is_found() {
    let (runs, seeds_max) = (setting("MUTANT_RUNS", 1), setting("MUTANT_SEEDS", 2_000));
    let (only, is_quick) = (std::env::var("MUTANT").ok(), setting("MUTANT_QUICK", 0) == 1);
    let is_looked_for = |name: &str| match &only {
        Some(only) => only == name,
        None => !(is_quick && SLOW.contains(&name)),
    };
    assert!(SLOW.iter().all(|slow| MUTANTS.iter().any(|(name, _)| name == slow)), "what is slow is planted");
    assert!(MUTANTS.iter().any(|(name, _)| is_looked_for(name)), "there is no planted bug {only:?}");
    onebox_simulator::panics::keep_for_verdicts();
    let mut survivors = Vec::new();
    println!("| planted bug | found by | seeds, median | seeds, p95 |\n|---|---|---|---|");
    for (name, seconds) in MUTANTS.iter().filter(|(name, _)| is_looked_for(name)) {
        plant(name);
        let mut took = Vec::new();
        let mut by: BTreeMap<&str, u64> = BTreeMap::new();
        for look in 0..runs {
            let found = (1..=seeds_max).find_map(|number| {
                let mut options = Options::of_seed(1_000_000 * (look + 1) + number);
                options.micros = seconds * 1_000_000;
                match run(&options, &mut || Box::<RegisterWorkload>::default()).verdict {
                    Verdict::Kept => None,
                    Verdict::Broken(broken) | Verdict::Stuck(broken) => Some((number, broken.promise)),
                }
            });
            match found {
                Some((number, promise)) => {
                    took.push(number);
                    *by.entry(promise).or_default() += 1;
                }
                None => survivors.push(format!("{name}, look {look}")),
            }
        }
        took.sort_unstable();
        let by: Vec<String> = by.iter().map(|(promise, times)| format!("{promise} ({times})")).collect();
        let at = |part: usize| took.get((took.len() * part / 100).min(took.len().saturating_sub(1))).map_or("-".to_owned(), u64::to_string);
        println!("| {name} | {} | {} | {} |", by.join(", "), at(50), at(95));
    }
    plant("");
    assert!(survivors.is_empty(), "not found within {seeds_max} seeds: {survivors:?}");
}
