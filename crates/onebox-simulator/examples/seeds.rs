//! Runs seeds of the toy, for whoever works on the simulator itself.
use onebox_simulator::{Fault, Options, Verdict, register::RegisterWorkload, run};
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let from: u64 = args[1].parse().unwrap();
    let count: u64 = args[2].parse().unwrap();
    let trace = args.get(3).is_some_and(|a| a == "trace");
    let faults: Option<Vec<Fault>> =
        args.get(4).map(|list| list.split(',').filter(|n| *n != "none").map(|n| Fault::named(n).unwrap()).collect());
    if std::env::var("LOUD").is_err() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let began = Instant::now();
    let (mut bad, mut micros, mut acks, mut leaders) = (0, 0u64, vec![], vec![]);
    for seed in from..from + count {
        let mut options = Options::of_seed(seed);
        options.trace = trace;
        if let Some(f) = &faults {
            options.faults = f.clone();
        }
        let at = Instant::now();
        let report = run(&options, &mut RegisterWorkload::default());
        micros += report.micros;
        acks.push(report.acknowledged);
        leaders.push(report.leaders);
        if trace {
            for line in &report.timeline.lines {
                println!("{line}");
            }
        }
        if report.verdict != Verdict::Kept || count < 6 {
            bad += u64::from(report.verdict != Verdict::Kept);
            println!(
                "seed {seed}: {} | machines {} events {} leaders {} acks {} ops {:?} entries {} msgs {:?} hash {:x} {:?}",
                report.verdict,
                report.machines,
                report.events,
                report.leaders,
                report.acknowledged,
                report.operations,
                report.entries,
                report.messages,
                report.trace_hash,
                at.elapsed()
            );
        }
    }
    acks.sort();
    leaders.sort();
    println!(
        "{count} seeds, {bad} bad, median acks {} leaders {}, {:.0} times real time",
        acks[acks.len() / 2],
        leaders[leaders.len() / 2],
        micros as f64 / 1e6 / began.elapsed().as_secs_f64()
    );
}
