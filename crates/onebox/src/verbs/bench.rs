//! `spec --bench`: how many specs run in a second, what each costs, and what the same reads and writes cost SQLite in memory.
//!
//! Figures, no verdicts. A spec that does not hold is not measured: its time would mean nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use onebox_service::execute::{self, Context, Recorded};
use onebox_service::keyspace::EachRow;
use onebox_service::spec::{Given, Spec, Then};
use onebox_service::{Budget, Bytes, Fault, Keyspace, KeyspaceMut, Service, TenantId};
use onebox_spec::{Catalogue, Stage};
use rusqlite::{Connection, params};

use crate::verbs::terminal::print;

/// Runs of a spec between two looks at the clock, where each spec is timed by itself.
const RUNS_TIMED: u32 = 64;
/// The most expensive specs that are listed.
const SLOWEST_SHOWN: usize = 10;

/// Measures and prints.
///
/// # Errors
/// A sentence: a spec does not hold, or a thread could not do its work.
pub(crate) fn run(service: &Arc<dyn Service>, catalogue: &Catalogue, specs: &[Spec], jobs: usize, time: Duration) -> Result<(), String> {
    let budgets = require_all_pass(service, specs)?;
    eprintln!("measuring for three times {} s, on {jobs} threads", time.as_secs());
    let costs = costs(service, specs, time)?;
    let own = on_threads(jobs, || own_runs(service, specs, time))?;
    let work: Vec<Vec<Step>> = specs.iter().map(|spec| trace(service, budgets, spec)).collect();
    let sqlite = on_threads(jobs, || sqlite_runs(&work, time).map_err(|error| format!("SQLite: {error}")))?;
    let events: usize = specs.iter().map(events_of).sum();
    let steps: usize = work.iter().map(Vec::len).sum();
    let per_spec = |total: usize| total as f64 / specs.len() as f64;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} specs, {:.1} events applied in each, on {jobs} threads, {} s each\n",
        specs.len(),
        per_spec(events),
        time.as_secs()
    );
    let _ = writeln!(out, "{:>12} specs/s", grouped(own));
    let _ = writeln!(out, "{:>12} events applied/s", grouped(own * per_spec(events)));
    let sqlite_words = "the same reads and writes on SQLite in memory, no business logic; specs/s";
    let _ = writeln!(out, "{:>12} {sqlite_words} ({:.1} statements in each, rolled back)", grouped(sqlite), per_spec(steps));
    let _ = writeln!(out, "{:>12.1} times as many\n", own / sqlite);
    let mut order: Vec<usize> = (0..specs.len()).collect();
    order.sort_by(|left, right| costs[*right].total_cmp(&costs[*left]));
    let mean = costs.iter().sum::<f64>() / costs.len() as f64;
    let _ = writeln!(out, "microseconds of one spec, on one thread: {mean:.1} on average; the slowest:");
    for at in order.into_iter().take(SLOWEST_SHOWN) {
        let method = catalogue.schema.info(specs[at].method).name;
        let _ = writeln!(out, "{:>12.1} {method}: {}", costs[at], specs[at].name);
    }
    print(&out)
}

/// Gives the budgets under which all specs hold.
fn require_all_pass(service: &Arc<dyn Service>, specs: &[Spec]) -> Result<(Budget, Budget), String> {
    let mut stage = Stage::new(Arc::clone(service)).map_err(|fault| fault.to_string())?;
    match specs.iter().find(|spec| !stage.passes(spec)) {
        None => Ok(stage.budgets()),
        Some(spec) => Err(format!("\"{}\" does not hold; see `spec` for why, and measure when all do", spec.name)),
    }
}

/// Microseconds of each spec.
fn costs(service: &Arc<dyn Service>, specs: &[Spec], time: Duration) -> Result<Vec<f64>, String> {
    let mut stage = Stage::new(Arc::clone(service)).map_err(|fault| fault.to_string())?;
    let mut spent = vec![(Duration::ZERO, 0_u32); specs.len()];
    let began = Instant::now();
    while began.elapsed() < time {
        for (spec, (spent, runs)) in specs.iter().zip(&mut spent) {
            let from = Instant::now();
            (0..RUNS_TIMED).for_each(|_| assert!(stage.passes(spec), "a spec that passed passes again"));
            *spent += from.elapsed();
            *runs += RUNS_TIMED;
        }
    }
    Ok(spent.into_iter().map(|(spent, runs)| spent.as_secs_f64() * 1e6 / f64::from(runs)).collect())
}

/// Sums what several threads reach in a second.
fn on_threads(jobs: usize, work: impl Fn() -> Result<f64, String> + Sync) -> Result<f64, String> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(&work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.sum()
    })
}

/// Specs a second on this thread.
fn own_runs(service: &Arc<dyn Service>, specs: &[Spec], time: Duration) -> Result<f64, String> {
    let mut stage = Stage::new(Arc::clone(service)).map_err(|fault| fault.to_string())?;
    let (began, mut runs) = (Instant::now(), 0_usize);
    while began.elapsed() < time {
        specs.iter().for_each(|spec| assert!(stage.passes(spec), "a spec that passed passes again"));
        runs += specs.len();
    }
    Ok(runs as f64 / began.elapsed().as_secs_f64())
}

fn events_of(spec: &Spec) -> usize {
    let given = spec.given.iter().filter(|given| matches!(given, Given::Event(_))).count();
    match &spec.then {
        Then::Returns { events, .. } => given + events.len(),
        Then::Refused(_) => given,
    }
}

// ---- SQLite ----

/// One thing that a spec does to its rows.
enum Step {
    Get(Vec<u8>),
    /// A scan from, to, and how many rows were taken.
    Scan(Vec<u8>, Vec<u8>, i64),
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
}

/// A map of rows that notes what is done to it.
#[derive(Default)]
struct Traced {
    rows: BTreeMap<Vec<u8>, Bytes>,
    steps: RefCell<Vec<Step>>,
}

impl Keyspace for Traced {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.steps.borrow_mut().push(Step::Get(key.to_vec()));
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut EachRow<'_>) -> Result<(), Fault> {
        let mut taken = 0;
        if from < to {
            for (key, value) in self.rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
                taken += 1;
                if let ControlFlow::Break(()) = each(key, value) {
                    break;
                }
            }
        }
        self.steps.borrow_mut().push(Step::Scan(from.to_vec(), to.to_vec(), taken));
        Ok(())
    }
}

impl KeyspaceMut for Traced {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.steps.get_mut().push(Step::Put(key.to_vec(), value.to_vec()));
        self.rows.insert(key.to_vec(), Bytes::from(value));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.steps.get_mut().push(Step::Delete(key.to_vec()));
        self.rows.remove(key);
        Ok(())
    }
}

/// What a spec does to its rows. Whether it succeeds was looked at before.
fn trace(service: &Arc<dyn Service>, (budget, query_budget): (Budget, Budget), spec: &Spec) -> Vec<Step> {
    let mut space = Traced::default();
    let context = Context { tenant: TenantId::DEFAULT, now: spec.at, seed: 1, budget };
    let reads = Context { budget: query_budget, ..context };
    let mut recorded = Recorded::default();
    let both_events = |left: &Given, right: &Given| matches!((left, right), (Given::Event(_), Given::Event(_)));
    for group in spec.given.chunk_by(both_events) {
        let facts = group.iter().filter_map(|given| match given {
            Given::Event(fact) => Some((fact.event, &fact.bytes[..])),
            Given::Request(..) => None,
        });
        let done = match &group[0] {
            Given::Event(_) => execute::apply(&**service, facts, &mut space, context.tenant, spec.at),
            Given::Request(method, body) => execute::execute(&**service, *method, body, &mut space, &context, &mut recorded).map(|_| ()),
        };
        // It holds, which was looked at before; only what `random()` draws may be otherwise here.
        drop(done);
    }
    let ended = match service.schema().info(spec.method).read_only {
        true => execute::query(&**service, spec.method, &spec.request, &space, &reads),
        false => execute::execute(&**service, spec.method, &spec.request, &mut space, &context, &mut recorded),
    };
    // A refusal is an outcome like another: its reads are what is measured.
    drop(ended);
    space.steps.into_inner()
}

/// Specs a second of SQLite in memory, doing the same to a table of keys and values.
fn sqlite_runs(work: &[Vec<Step>], time: Duration) -> rusqlite::Result<f64> {
    let database = Connection::open_in_memory()?;
    database.execute_batch("PRAGMA journal_mode = MEMORY; CREATE TABLE rows (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID;")?;
    let mut begin = database.prepare("BEGIN")?;
    let mut rollback = database.prepare("ROLLBACK")?;
    let mut get = database.prepare("SELECT value FROM rows WHERE key = ?")?;
    let mut scan = database.prepare("SELECT key, value FROM rows WHERE key >= ? AND key < ? ORDER BY key LIMIT ?")?;
    let mut put = database.prepare("INSERT INTO rows VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value")?;
    let mut delete = database.prepare("DELETE FROM rows WHERE key = ?")?;
    let (began, mut runs, mut bytes) = (Instant::now(), 0_usize, 0_usize);
    while began.elapsed() < time {
        for steps in work {
            begin.execute([])?;
            for step in steps {
                match step {
                    Step::Get(key) => {
                        let mut found = get.query(params![key])?;
                        while let Some(row) = found.next()? {
                            bytes += row.get_ref(0)?.as_blob()?.len();
                        }
                    }
                    Step::Scan(from, to, count) => {
                        let mut found = scan.query(params![from, to, count])?;
                        while let Some(row) = found.next()? {
                            bytes += row.get_ref(1)?.as_blob()?.len();
                        }
                    }
                    Step::Put(key, value) => drop(put.execute(params![key, value])?),
                    Step::Delete(key) => drop(delete.execute(params![key])?),
                }
            }
            rollback.execute([])?;
        }
        runs += work.len();
    }
    std::hint::black_box(bytes);
    Ok(runs as f64 / began.elapsed().as_secs_f64())
}

/// A number with its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
