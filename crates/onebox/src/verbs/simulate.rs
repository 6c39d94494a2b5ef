//! `simulate`: the service on a whole cluster, with faults, in virtual time; seed after seed, until one finds something.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use onebox_service::Service;
use onebox_service::buggify::IS_COMPILED;
use onebox_simulator::register::RegisterWorkload;
use onebox_simulator::specs::SpecWorkload;
use onebox_simulator::{FAULTS, Fault, Options, PARTITIONS_MAX, Report, Verdict, Workload, run, shrink};

use crate::verbs::terminal::print;

/// Makes a new workload for each run.
pub(crate) type NewWorkload<'w> = dyn Fn() -> Box<dyn Workload> + Sync + 'w;

/// Times that a fault may find nothing to strike, if it never strikes at all.
const MISSES_MAX: u64 = 100;
/// Runs that shrinking a failure may take.
const SHRINK_RUNS_MAX: usize = 400;
/// Letters after a number, and the seconds that each stands for.
const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
/// The longest duration: so far below what a number of microseconds holds that no sum of them overflows.
const DURATION_SECONDS_MAX: u64 = 366 * 86_400;

/// How the verb is called.
pub(crate) fn command() -> Command {
    let number = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value).value_parser(value_parser!(u64));
    let time = |name: &'static str| Arg::new(name).long(name).value_name("D").value_parser(duration);
    Command::new("simulate")
        .about("Runs the service on a simulated cluster with faults, reproducibly, and checks every promise")
        .arg(number("seed", "S").help("The first seed [default: drawn from the clock]"))
        .arg(number("seeds", "N").help("How many seeds [default: 100; 1 with --trace or --html]"))
        .arg(time("duration").default_value("60s").help("Virtual time during which things go wrong: 90, 90s, 5m, 1h, 1d"))
        .arg(time("budget").help("Wall time after which no new seed is begun: 90, 90s, 5m, 1h, 1d"))
        .arg(number("nodes", "N").help("Machines [default: drawn from the seed: mostly 3]"))
        .arg(number("partitions", "N").help("Partitions that share the machines [default: drawn from the seed: mostly 1]"))
        .arg(number("rate", "N").default_value("60").help("Requests in a virtual second"))
        .arg(number("jobs", "N").default_value("1").help("Seeds at once"))
        .arg(
            Arg::new("twice")
                .long("twice")
                .value_name("PERCENT")
                .value_parser(value_parser!(u64).range(0..=100))
                .default_value("0")
                .help("Of a hundred seeds, how many are run twice, to see that the two runs do the same"),
        )
        .arg(Arg::new("faults").long("faults").value_name("LIST").default_value("all").help("all, none, or names with commas between"))
        .arg(Arg::new("keep").long("keep").value_name("LIST").help("Of the faults of this seed, only those with these numbers"))
        .arg(
            Arg::new("toy")
                .long("toy")
                .action(ArgAction::SetTrue)
                .help("Registers instead of the service: answers are checked for linearizability"),
        )
        .arg(
            Arg::new("specs")
                .long("specs")
                .action(ArgAction::SetTrue)
                .help("The requests of the service's specs, in any order, instead of its workload"),
        )
        .arg(
            Arg::new("hash")
                .long("hash")
                .action(ArgAction::SetTrue)
                .help("Prints a hash of each seed's trace, to compare builds; the summary goes to standard error"),
        )
        .arg(Arg::new("trace").long("trace").action(ArgAction::SetTrue).help("Prints everything that happens"))
        .arg(Arg::new("shrink").long("shrink").action(ArgAction::SetTrue).help("Looks for the few faults that suffice for the failure"))
        .arg(
            Arg::new("html").long("html").value_name("FILE").help("Draws the last run: machines, leadership, messages, faults, operations"),
        )
}

/// Where requests come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// What the binary brings; the specs if it brings nothing.
    Workload,
    Specs,
    Toy,
}

struct Ordered {
    options: Options,
    asks: Asks,
    seeds: u64,
    jobs: u64,
    twice_percent: u64,
    budget: Option<Duration>,
}

impl Ordered {
    /// The number decides, so that a seed that is run twice here is run twice wherever the same is ordered.
    fn is_run_twice(&self, seed: u64) -> bool {
        seed % 100 < self.twice_percent
    }

    /// Whether no new seed is begun.
    fn has_used_up_its_budget(&self, began: Instant) -> bool {
        self.budget.is_some_and(|budget| began.elapsed() >= budget)
    }
}

/// Does what the verb says.
pub(crate) fn run_verb(service: &Arc<dyn Service>, workload: Option<&NewWorkload<'_>>, arguments: &ArgMatches) -> Result<ExitCode, String> {
    let name = service.schema().name;
    let ordered = ordered(arguments)?;
    let toy = || Box::new(RegisterWorkload::default()) as Box<dyn Workload>;
    let specs = || SpecWorkload::new(Arc::clone(service)).map(|specs| Box::new(specs) as Box<dyn Workload>);
    let of_specs = || specs().expect("it was looked for");
    let workload: &NewWorkload<'_> = match (ordered.asks, workload) {
        (Asks::Toy, _) => &toy,
        (Asks::Workload, Some(workload)) => workload,
        (Asks::Specs, _) | (Asks::Workload, None) if specs().is_some() => &of_specs,
        (Asks::Specs, _) | (Asks::Workload, None) => {
            return Err("no spec of this service asks for a write: bring a workload (onebox::main_with), or say --toy".to_owned());
        }
    };
    onebox_simulator::panics::keep_for_verdicts();
    let began = Instant::now();
    let summary = simulate(&ordered, workload, began);
    if arguments.get_flag("hash") {
        eprint!("{}", summary.shown(&ordered, began));
        print(&summary.traces())?;
    } else {
        print(&summary.shown(&ordered, began))?;
    }
    let last = summary.failed.as_ref().or(summary.last.as_ref());
    if arguments.get_flag("trace")
        && let Some((_, report)) = last
    {
        for line in &report.timeline.lines {
            print(&format!("{line}\n"))?;
        }
    }
    let mut shown = last.cloned();
    let Some((options, report)) = &summary.failed else {
        draw(name, &ordered, arguments, shown.as_ref())?;
        let may_strike = ordered.options.machines.is_none_or(|machines| machines > 2);
        if let [fault, ..] = summary.never_struck()[..]
            && may_strike
        {
            print(&format!("\nno {fault} of all that were drawn found anything to strike: nothing is known of it\n"))?;
            return Ok(ExitCode::FAILURE);
        }
        return Ok(ExitCode::SUCCESS);
    };
    print(&failure(name, &ordered, options, report, summary.differs))?;
    if arguments.get_flag("shrink") && report.verdict != Verdict::Kept {
        let shrunk = shrink::shrink(options, &mut || workload(), SHRINK_RUNS_MAX);
        let mut out = format!("\nshrunk to {} of {} faults, in {} runs:\n", shrunk.keep.len(), shrunk.faults, shrunk.runs);
        for line in shrunk.report.timeline.lines.iter().filter(|line| line.is_worth_reading()) {
            let _ = writeln!(out, "{line}");
        }
        let kept = Options { keep: Some(shrunk.keep), ..options.clone() };
        let _ = writeln!(out, "\nreplay it: {}", replay(name, &ordered, &kept));
        print(&out)?;
        shown = Some((kept, shrunk.report));
    }
    draw(name, &ordered, arguments, shown.as_ref())?;
    Ok(ExitCode::FAILURE)
}

/// Runs seed after seed, several at once if that was asked for, until one fails or the budget is used up.
fn simulate(ordered: &Ordered, workload: &NewWorkload<'_>, began: Instant) -> Summary {
    let summary = Mutex::new(Summary::default());
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..ordered.jobs {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= ordered.seeds || ordered.has_used_up_its_budget(began) || lock(&summary).failed.is_some() {
                        return;
                    }
                    let options = Options { seed: ordered.options.seed.wrapping_add(place), ..ordered.options.clone() };
                    let report = run(&options, &mut || workload());
                    let again = ordered.is_run_twice(options.seed).then(|| run(&options, &mut || workload()).trace_hash);
                    let mut summary = lock(&summary);
                    summary.add(options, report, again);
                    summary.tell_progress(began, ordered.seeds);
                }
            });
        }
    });
    summary.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn ordered(arguments: &ArgMatches) -> Result<Ordered, String> {
    let number = |name: &str| arguments.get_one::<u64>(name).copied();
    let drawn = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_micros() as u64);
    let mut options = Options::of_seed(number("seed").unwrap_or_else(drawn));
    if let Some(duration) = arguments.get_one::<Duration>("duration") {
        options.micros = duration.as_secs() * 1_000_000;
    }
    options.machines = number("nodes").map(|nodes| nodes as usize);
    options.partitions = number("partitions").map(|partitions| partitions as usize);
    options.requests_per_second = number("rate").unwrap_or(60);
    options.trace = arguments.get_flag("trace") || arguments.get_one::<String>("html").is_some();
    match arguments.get_one::<String>("faults").map_or("all", String::as_str) {
        "all" => {}
        "none" => options.faults = Vec::new(),
        list => options.faults = list.split(',').map(named).collect::<Result<_, _>>()?,
    }
    if let Some(list) = arguments.get_one::<String>("keep") {
        let numbers = list.split(',').filter(|number| !number.is_empty()).map(str::parse);
        options.keep = Some(numbers.collect::<Result<_, _>>().map_err(|_| format!("--keep {list:?} is not a list of numbers"))?);
    }
    if options.machines == Some(0) {
        return Err("--nodes 0: a cluster has a machine at least".to_owned());
    }
    if options.partitions.is_some_and(|partitions| !(1..=PARTITIONS_MAX).contains(&partitions)) {
        return Err(format!("--partitions is from 1 to {PARTITIONS_MAX}"));
    }
    let asks = match (arguments.get_flag("toy"), arguments.get_flag("specs")) {
        (false, false) => Asks::Workload,
        (false, true) => Asks::Specs,
        (true, false) => Asks::Toy,
        (true, true) => return Err("--toy has no specs: say one of the two".to_owned()),
    };
    let seeds = number("seeds").unwrap_or(if options.trace { 1 } else { 100 });
    if options.trace && seeds > 1 {
        return Err("--trace and --html show one run: say --seeds 1".to_owned());
    }
    Ok(Ordered {
        options,
        asks,
        seeds,
        jobs: number("jobs").unwrap_or(1).max(1),
        twice_percent: number("twice").unwrap_or(0),
        budget: arguments.get_one::<Duration>("budget").copied(),
    })
}

/// Whole seconds, minutes, hours or days.
fn duration(text: &str) -> Result<Duration, &'static str> {
    let with_unit = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
    let (digits, unit_seconds) = with_unit.unwrap_or((text, 1));
    let number = if digits.starts_with('+') { None } else { digits.parse::<u64>().ok() };
    let seconds = number.and_then(|number| number.checked_mul(unit_seconds));
    seconds
        .filter(|seconds| (1..=DURATION_SECONDS_MAX).contains(seconds))
        .map(Duration::from_secs)
        .ok_or("a duration is 90 or 90s for seconds, 5m, 1h or 1d; at least 1s, and at most 366d")
}

fn named(name: &str) -> Result<Fault, String> {
    Fault::named(name).ok_or_else(|| {
        let known: Vec<&str> = FAULTS.iter().map(|(_, name)| *name).collect();
        format!("there is no fault {name:?}; there are: {}", known.join(", "))
    })
}

#[derive(Default)]
struct Summary {
    /// Seeds that were run.
    runs: u64,
    /// Those of them that were run twice.
    twice: u64,
    micros: u64,
    undecided: u64,
    asked_again: u64,
    fates_told: u64,
    leaders: Vec<usize>,
    acknowledged: Vec<u64>,
    faults: BTreeMap<Fault, (u64, u64)>,
    /// How often each place in the code made the unlikely happen.
    unlikely: BTreeMap<&'static str, u64>,
    /// The hash of each seed's trace.
    hashes: BTreeMap<u64, u64>,
    failed: Option<(Options, Report)>,
    /// The hash of the second run of the seed that failed, if it is another.
    differs: Option<u64>,
    last: Option<(Options, Report)>,
    told: u64,
}

impl Summary {
    /// Takes a run, and the hash of its repetition, if there was one.
    fn add(&mut self, options: Options, report: Report, again: Option<u64>) {
        self.runs += 1;
        self.twice += u64::from(again.is_some());
        self.micros += report.micros * if again.is_some() { 2 } else { 1 };
        self.hashes.insert(options.seed, report.trace_hash);
        self.undecided += report.undecided;
        self.asked_again += report.asked_again;
        self.fates_told += report.fates_told;
        self.leaders.push(report.leaders);
        self.acknowledged.push(report.acknowledged);
        for (fault, (struck, missed)) in &report.faults {
            let sum = self.faults.entry(*fault).or_default();
            *sum = (sum.0 + struck, sum.1 + missed);
        }
        for (place, taken) in &report.unlikely {
            *self.unlikely.entry(place).or_default() += taken;
        }
        let differs = again.filter(|again| *again != report.trace_hash);
        if (report.verdict == Verdict::Kept && differs.is_none()) || self.failed.is_some() {
            self.last = Some((options, report));
        } else {
            self.failed = Some((options, report));
            self.differs = differs;
        }
    }

    fn tell_progress(&mut self, began: Instant, of: u64) {
        let seconds = began.elapsed().as_secs();
        if seconds > self.told && std::io::stderr().is_terminal() {
            self.told = seconds;
            eprint!("\r{} of {of} seeds, {:.1} seeds/s ", self.runs, self.runs as f64 / began.elapsed().as_secs_f64());
            let _ = std::io::stderr().flush();
        }
    }

    /// A line for each seed, in the order of the numbers.
    fn traces(&self) -> String {
        let mut out = String::new();
        for (seed, hash) in &self.hashes {
            let _ = writeln!(out, "seed {seed} trace {hash:016x}");
        }
        out
    }

    fn shown(&self, ordered: &Ordered, began: Instant) -> String {
        let took = began.elapsed().as_secs_f64();
        let mut leaders = self.leaders.clone();
        let mut acknowledged = self.acknowledged.clone();
        leaders.sort_unstable();
        acknowledged.sort_unstable();
        let twice = if ordered.twice_percent > 0 { format!(" ({} of them run twice)", self.twice) } else { String::new() };
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{} seeds{twice} in {took:.1} s: {:.1} seeds/s, {:.0} times real time",
            self.runs,
            self.runs as f64 / took,
            self.micros as f64 / 1e6 / took
        );
        if let Some(budget) = ordered.budget {
            let _ = writeln!(out, "within the budget of {} s: {} of {} seeds were run", budget.as_secs(), self.runs, ordered.seeds);
        }
        let median = leaders.len() / 2;
        let _ = writeln!(
            out,
            "in a run, median: {} leaders, {} writes acknowledged; least: {} and {}",
            leaders.get(median).unwrap_or(&0),
            acknowledged.get(median).unwrap_or(&0),
            leaders.first().unwrap_or(&0),
            acknowledged.first().unwrap_or(&0)
        );
        let (again, fates) = (self.asked_again, self.fates_told);
        let _ = writeln!(out, "in all: {again} requests asked again under their key, {fates} fates told for certain");
        if self.undecided > 0 {
            let _ = writeln!(out, "{} histories were too hard to decide: too many outcomes are unknown", self.undecided);
        }
        for (fault, (struck, missed)) in &self.faults {
            let _ = writeln!(
                out,
                "{struck:>9} {fault}{}",
                if *missed > 0 { format!(" (and {missed} that found nothing to strike)") } else { String::new() }
            );
        }
        for (place, taken) in &self.unlikely {
            let _ = writeln!(out, "{taken:>9} times {place}");
        }
        out
    }

    /// Faults that were drawn often and never found anything to strike: what is believed to be tested is not.
    fn never_struck(&self) -> Vec<Fault> {
        let never = |(struck, missed): &(u64, u64)| *struck == 0 && *missed >= MISSES_MAX;
        self.faults.iter().filter(|(_, counts)| never(counts)).map(|(fault, _)| *fault).collect()
    }
}

fn failure(name: &str, ordered: &Ordered, options: &Options, report: &Report, differs: Option<u64>) -> String {
    let seed = options.seed;
    let mut out = String::from("\n");
    let mut command_line = replay(name, ordered, options);
    if let Some(again) = differs {
        let _ = writeln!(out, "seed {seed}: two runs of the same seed differ: {:016x} and {again:016x}", report.trace_hash);
        command_line.push_str(" --twice 100");
    }
    if report.verdict != Verdict::Kept {
        let _ = writeln!(out, "seed {seed}: {}", report.verdict);
    }
    let with = if IS_COMPILED { ", in a build with the feature `buggify`" } else { "" };
    let _ = writeln!(out, "replay it{with}: {command_line}");
    out
}

/// The command that runs the same again.
fn replay(name: &str, ordered: &Ordered, options: &Options) -> String {
    let mut out = format!(
        "{name} simulate --seed {} --seeds 1 --duration {}s --rate {}",
        options.seed,
        options.micros / 1_000_000,
        options.requests_per_second
    );
    if let Some(machines) = options.machines {
        let _ = write!(out, " --nodes {machines}");
    }
    if let Some(partitions) = options.partitions {
        let _ = write!(out, " --partitions {partitions}");
    }
    match &options.keep {
        Some(keep) if keep.is_empty() => out.push_str(" --faults none"),
        Some(_) | None if options.faults.is_empty() => out.push_str(" --faults none"),
        Some(_) | None if options.faults.len() < FAULTS.len() => {
            let names: Vec<String> = options.faults.iter().map(Fault::to_string).collect();
            let _ = write!(out, " --faults {}", names.join(","));
        }
        Some(_) | None => {}
    }
    if let Some(keep) = options.keep.as_ref().filter(|keep| !keep.is_empty()) {
        let numbers: Vec<String> = keep.iter().map(usize::to_string).collect();
        let _ = write!(out, " --keep {}", numbers.join(","));
    }
    match ordered.asks {
        Asks::Workload => {}
        Asks::Specs => out.push_str(" --specs"),
        Asks::Toy => out.push_str(" --toy"),
    }
    out.push_str(" --trace");
    out
}

fn draw(name: &str, ordered: &Ordered, arguments: &ArgMatches, run: Option<&(Options, Report)>) -> Result<(), String> {
    let (Some(file), Some((options, report))) = (arguments.get_one::<String>("html"), run) else { return Ok(()) };
    let title = format!("{name}, seed {}", options.seed);
    let page = onebox_simulator::drawing::page(&title, &replay(name, ordered, options), report);
    std::fs::write(file, page).map_err(|error| format!("cannot write {file}: {error}"))?;
    print(&format!("drawn: {file}\n"))
}

#[cfg(test)]
mod tests {
    use onebox_simulator::register::RegisterWorkload;
    use onebox_simulator::run;

    use super::{Ordered, Summary, command, duration, failure, ordered, replay};

    /// What is ordered by this command line.
    fn typed(line: &str) -> Ordered {
        let arguments = command().try_get_matches_from(line.split(' ')).expect("the command line makes sense");
        ordered(&arguments).expect("it can be done")
    }

    #[track_caller]
    fn lasts(text: &str, seconds: Option<u64>) {
        assert_eq!(duration(text).ok().map(|duration| duration.as_secs()), seconds, "{text:?}");
    }

    #[test]
    fn the_command_line_is_in_order() {
        command().debug_assert();
    }

    #[test]
    fn durations_have_a_number_and_perhaps_a_unit() {
        lasts("90", Some(90));
        lasts("90s", Some(90));
        lasts("5m", Some(300));
        lasts("1h", Some(3_600));
        lasts("1d", Some(86_400));
        lasts("366d", Some(366 * 86_400));
    }

    #[test]
    fn anything_else_is_no_duration() {
        for text in ["", "s", "0", "0s", "-5s", "+5s", "1.5h", "5 m", " 5m", "5M", "5ms", "1h30m", "367d", "99999999999999999999d"] {
            lasts(text, None);
        }
        let refused = command().try_get_matches_from(["simulate", "--duration", "1.5h"]).expect_err("that is no duration");
        assert!(refused.to_string().contains("90 or 90s for seconds, 5m, 1h or 1d"), "{refused}");
    }

    #[test]
    fn a_replay_names_what_was_ordered() {
        let ordered = typed("simulate --seed 7 --duration 5m");
        assert_eq!(
            replay("inventory", &ordered, &ordered.options),
            "inventory simulate --seed 7 --seeds 1 --duration 300s --rate 60 --trace"
        );
    }

    #[test]
    fn the_number_of_a_seed_says_whether_it_is_run_twice() {
        let twice = |percent: u64| {
            let ordered = typed(&format!("simulate --twice {percent}"));
            (1_000..1_200).filter(|seed| ordered.is_run_twice(*seed)).count()
        };
        assert_eq!((twice(0), twice(5), twice(100)), (0, 10, 200));
    }

    #[test]
    fn two_runs_that_differ_are_a_failure() {
        let ordered = typed("simulate --toy --seed 7 --duration 2s --twice 100");
        let report = run(&ordered.options, &mut || Box::<RegisterWorkload>::default());
        let (first, second) = (report.trace_hash, report.trace_hash ^ 1);
        let mut summary = Summary::default();
        summary.add(ordered.options.clone(), report, Some(second));
        let (options, report) = summary.failed.as_ref().expect("the two runs differ");
        let told = failure("inventory", &ordered, options, report, summary.differs);
        assert!(told.contains(&format!("seed 7: two runs of the same seed differ: {first:016x} and {second:016x}\n")), "{told}");
        assert!(told.ends_with(" --seeds 1 --duration 2s --rate 60 --toy --trace --twice 100\n"), "{told}");
        assert_eq!(summary.traces(), format!("seed 7 trace {first:016x}\n"));
    }
}
