//! `simulate`: the service on a whole cluster, with faults, in virtual time; seed after seed, until one finds something.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use onebox_simulator::register::RegisterWorkload;
use onebox_simulator::{FAULTS, Fault, Options, Report, Verdict, Workload, run, shrink};

use crate::verbs::terminal::print;

/// Makes a new workload for each run.
pub(crate) type NewWorkload<'w> = dyn Fn() -> Box<dyn Workload> + Sync + 'w;

/// Runs that shrinking a failure may take.
const SHRINK_RUNS_MAX: usize = 400;

/// How the verb is called.
pub(crate) fn command() -> Command {
    let number = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value).value_parser(value_parser!(u64));
    Command::new("simulate")
        .about("Runs the service on a simulated cluster with faults, reproducibly, and checks every promise")
        .arg(number("seed", "S").help("The first seed [default: drawn from the clock]"))
        .arg(number("seeds", "N").help("How many seeds [default: 100; 1 with --trace or --html]"))
        .arg(number("seconds", "SECONDS").default_value("60").help("Virtual seconds during which things go wrong"))
        .arg(number("nodes", "N").help("Machines [default: drawn from the seed: mostly 3]"))
        .arg(number("rate", "N").default_value("60").help("Requests in a virtual second"))
        .arg(number("jobs", "N").default_value("1").help("Seeds at once"))
        .arg(Arg::new("faults").long("faults").value_name("LIST").default_value("all").help("all, none, or names with commas between"))
        .arg(Arg::new("keep").long("keep").value_name("LIST").help("Of the faults of this seed, only those with these numbers"))
        .arg(
            Arg::new("toy")
                .long("toy")
                .action(ArgAction::SetTrue)
                .help("Registers instead of the service: answers are checked for linearizability"),
        )
        .arg(Arg::new("trace").long("trace").action(ArgAction::SetTrue).help("Prints everything that happens"))
        .arg(Arg::new("shrink").long("shrink").action(ArgAction::SetTrue).help("Looks for the few faults that suffice for the failure"))
        .arg(
            Arg::new("html").long("html").value_name("FILE").help("Draws the last run: machines, leadership, messages, faults, operations"),
        )
}

struct Ordered {
    options: Options,
    toy: bool,
    seeds: u64,
    jobs: u64,
}

/// Does what the verb says.
pub(crate) fn run_verb(name: &str, workload: Option<&NewWorkload<'_>>, arguments: &ArgMatches) -> Result<ExitCode, String> {
    let ordered = ordered(arguments)?;
    let toy = || Box::new(RegisterWorkload::default()) as Box<dyn Workload>;
    let workload: &NewWorkload<'_> = match workload {
        _ if ordered.toy => &toy,
        Some(workload) => workload,
        None => return Err("this binary brings no workload: start it with onebox::main_with, or say --toy".to_owned()),
    };
    // A panic in what is simulated is a verdict, with its words.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let summary = simulate(&ordered, workload, began);
    print(&summary.shown(began))?;
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
        return Ok(ExitCode::SUCCESS);
    };
    print(&failure(name, &ordered, options, report))?;
    if arguments.get_flag("shrink") {
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

/// Runs seed after seed, several at once if that was asked for, until one fails.
fn simulate(ordered: &Ordered, workload: &NewWorkload<'_>, began: Instant) -> Summary {
    let summary = Mutex::new(Summary::default());
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..ordered.jobs {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= ordered.seeds || lock(&summary).failed.is_some() {
                        return;
                    }
                    let options = Options { seed: ordered.options.seed.wrapping_add(place), ..ordered.options.clone() };
                    let report = run(&options, &mut *workload());
                    let mut summary = lock(&summary);
                    summary.add(options, report);
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
    options.micros = number("seconds").unwrap_or(60) * 1_000_000;
    options.machines = number("nodes").map(|nodes| nodes as usize);
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
    let seeds = number("seeds").unwrap_or(if options.trace { 1 } else { 100 });
    if options.trace && seeds > 1 {
        return Err("--trace and --html show one run: say --seeds 1".to_owned());
    }
    Ok(Ordered { options, toy: arguments.get_flag("toy"), seeds, jobs: number("jobs").unwrap_or(1).max(1) })
}

fn named(name: &str) -> Result<Fault, String> {
    Fault::named(name).ok_or_else(|| {
        let known: Vec<&str> = FAULTS.iter().map(|(_, name)| *name).collect();
        format!("there is no fault {name:?}; there are: {}", known.join(", "))
    })
}

#[derive(Default)]
struct Summary {
    runs: u64,
    micros: u64,
    undecided: u64,
    leaders: Vec<usize>,
    acknowledged: Vec<u64>,
    faults: BTreeMap<Fault, (u64, u64)>,
    failed: Option<(Options, Report)>,
    last: Option<(Options, Report)>,
    told: u64,
}

impl Summary {
    fn add(&mut self, options: Options, report: Report) {
        self.runs += 1;
        self.micros += report.micros;
        self.undecided += report.undecided;
        self.leaders.push(report.leaders);
        self.acknowledged.push(report.acknowledged);
        for (fault, (struck, missed)) in &report.faults {
            let sum = self.faults.entry(*fault).or_default();
            *sum = (sum.0 + struck, sum.1 + missed);
        }
        if report.verdict == Verdict::Kept || self.failed.is_some() {
            self.last = Some((options, report));
        } else {
            self.failed = Some((options, report));
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

    fn shown(&self, began: Instant) -> String {
        let took = began.elapsed().as_secs_f64();
        let mut leaders = self.leaders.clone();
        let mut acknowledged = self.acknowledged.clone();
        leaders.sort_unstable();
        acknowledged.sort_unstable();
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{} seeds in {took:.1} s: {:.1} seeds/s, {:.0} times real time",
            self.runs,
            self.runs as f64 / took,
            self.micros as f64 / 1e6 / took
        );
        let median = leaders.len() / 2;
        let _ = writeln!(
            out,
            "in a run, median: {} leaders, {} writes acknowledged; least: {} and {}",
            leaders.get(median).unwrap_or(&0),
            acknowledged.get(median).unwrap_or(&0),
            leaders.first().unwrap_or(&0),
            acknowledged.first().unwrap_or(&0)
        );
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
        out
    }
}

fn failure(name: &str, ordered: &Ordered, options: &Options, report: &Report) -> String {
    format!("\nseed {}: {}\nreplay it: {}\n", options.seed, report.verdict, replay(name, ordered, options))
}

/// The command that runs the same again.
fn replay(name: &str, ordered: &Ordered, options: &Options) -> String {
    let mut out = format!(
        "{name} simulate --seed {} --seeds 1 --seconds {} --rate {}",
        options.seed,
        options.micros / 1_000_000,
        options.requests_per_second
    );
    if let Some(machines) = options.machines {
        let _ = write!(out, " --nodes {machines}");
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
    if ordered.toy {
        out.push_str(" --toy");
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
