//! One node, or several as a cluster, over the network: what UpdateStock and GetStock take, over HTTP/JSON and over gRPC, with fsync on.
//!
//! Each node is a process of its own on an empty data directory; the load is one thread of this process, and asks the first node, which
//! leads. The raw rate of fdatasync on the same disk stands beside the figures, first and last. At the end the stock on hand must equal
//! what was acknowledged.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::disk::{self, DiskRates};
use crate::load::http1::Http1;
use crate::load::http2::Http2;
use crate::load::{self, Load, Plan, Tally};
use crate::meter::{Cost, Meter};
use crate::quantiles::Quantiles;
use crate::server::{Scratch, Server};
use crate::warehouse::{Method, Protocol, Warehouse};

/// What of each run is not measured: connecting, first requests.
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);
/// Clients that fill the warehouse.
const SEEDING_CLIENTS: usize = 64;
/// How long each kind of raw sync is measured.
const RAW_SPAN: Duration = Duration::from_secs(1);

/// One node over HTTP/JSON and gRPC, fsync on.
#[derive(Debug, Parser)]
#[command(name = "http")]
struct Options {
    /// Where a fresh data directory is made, and removed afterwards [default: the system's folder for temporary files].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Seconds that each row of the table is measured.
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u64,
    /// Nodes, all on this machine and its disk: one alone, or several as a cluster.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// Numbers of clients.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,16,64")]
    clients: Vec<usize>,
    /// Measures one method only.
    #[arg(long)]
    method: Option<Method>,
    /// Measures one protocol only.
    #[arg(long)]
    protocol: Option<Protocol>,
    /// Writes the figures to a file as JSON too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One row of the table.
struct Row {
    method: Method,
    protocol: Protocol,
    clients: usize,
    per_second: f64,
    quantiles: Quantiles,
    errors: u64,
    cost: Cost,
}

/// Runs the benchmark `http`.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let options = Options::parse_from(arguments);
    match bench(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("http: {words}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<(), String> {
    let scratch = Scratch::under(options.data.as_deref().unwrap_or(&std::env::temp_dir()))?;
    let raw = || disk::measure(&scratch.0, RAW_SPAN).map_err(|error| format!("cannot measure {}: {error}", scratch.0.display()));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let nodes = match options.nodes {
        1 => "one node".to_owned(),
        nodes => format!("a cluster of {nodes} nodes, asked at its leader"),
    };
    println!("{nodes}, fsync on; nodes and load share {cores} cores; the load is one thread, one connection per client, closed loop");
    let before = raw()?;
    disk::print(&before, " (before)");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the load's thread: {error}"))?;
    let server = Server::start(&scratch.0.join("data"), options.nodes)?;
    let warehouse = Warehouse::build(&server)?;
    let mut acknowledged = seed(&runtime, &server, &warehouse)?;
    println!("{}", warehouse.words());
    println!();
    print_head();
    let meter = Meter::new(server.id(), &scratch.0);
    let (mut rows, mut first_error) = (Vec::new(), None);
    for (method, protocol, clients) in runs(options) {
        let (row, tally) = measure(&runtime, &server, &warehouse, &meter, (method, protocol, clients), options.seconds);
        if method == Method::UpdateStock {
            acknowledged += tally.done;
        }
        first_error = first_error.or(tally.first_error);
        print_row(&row);
        rows.push(row);
    }
    println!();
    println!("cpu us: processor time per request, of the server that is asked and of the load; flushes: of the whole disk, per request");
    let on_hand = warehouse.on_hand(&server)?;
    drop(server);
    let after = raw()?;
    disk::print(&after, " (after)");
    if let Some(file) = &options.json {
        let written = fs::write(file, format!("{:#}\n", summary(options, cores, (&before, &after), &rows)));
        written.map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    if let Some(error) = first_error {
        return Err(format!("there were errors; the first: {error}"));
    }
    if on_hand != acknowledged {
        return Err(format!("{on_hand} pieces are on hand, and {acknowledged} were acknowledged"));
    }
    println!("on hand at the end: {on_hand} pieces, as many as were acknowledged");
    Ok(())
}

/// Puts one piece of every product of every shelf into it. Gives how many that are.
fn seed(runtime: &Runtime, server: &Server, warehouse: &Warehouse) -> Result<u64, String> {
    let requests = warehouse.requests(Method::UpdateStock, Protocol::Http);
    let load = Load { address: server.address, requests, clients: SEEDING_CLIENTS, plan: Plan::EachOnce };
    let tally = runtime.block_on(load::run(&load, || Http1));
    match tally.first_error {
        Some(error) => Err(format!("the warehouse could not be filled: {error}")),
        None => Ok(tally.done),
    }
}

fn runs(options: &Options) -> Vec<(Method, Protocol, usize)> {
    let methods = Method::ALL.into_iter().filter(|method| options.method.is_none_or(|only| only == *method));
    let protocols = Protocol::ALL.into_iter().filter(|protocol| options.protocol.is_none_or(|only| only == *protocol));
    let pairs = methods.flat_map(|method| protocols.clone().map(move |protocol| (method, protocol)));
    pairs.flat_map(|(method, protocol)| options.clients.iter().map(move |clients| (method, protocol, *clients))).collect()
}

fn measure(
    runtime: &Runtime,
    server: &Server,
    warehouse: &Warehouse,
    meter: &Meter,
    (method, protocol, clients): (Method, Protocol, usize),
    seconds: u64,
) -> (Row, Tally) {
    let from = Instant::now() + WARM_UP;
    let until = from + Duration::from_secs(seconds.max(1));
    let requests = warehouse.requests(method, protocol);
    let load = Load { address: server.address, requests, clients, plan: Plan::Drawn { from, until } };
    let (mut tally, readings) = runtime.block_on(async {
        let readings = async {
            tokio::time::sleep_until(from.into()).await;
            let first = meter.read();
            tokio::time::sleep_until(until.into()).await;
            (first, meter.read())
        };
        let run = async {
            match protocol {
                Protocol::Http => load::run(&load, || Http1).await,
                Protocol::Grpc => load::run(&load, Http2::new).await,
            }
        };
        tokio::join!(run, readings)
    });
    let (first, last) = readings;
    let measured = tally.micros.len();
    let row = Row {
        method,
        protocol,
        clients,
        per_second: measured as f64 / until.duration_since(from).as_secs_f64(),
        quantiles: Quantiles::of(&mut tally.micros),
        errors: tally.errors,
        cost: last.since(&first, measured),
    };
    (row, tally)
}

fn print_head() {
    println!(
        "{:<12} {:<10} {:>7} {:>11} {:>8} {:>8} {:>9} {:>7} {:>14} {:>12} {:>8}",
        "method", "protocol", "clients", "requests/s", "p50 us", "p99 us", "p99.9 us", "errors", "server cpu us", "load cpu us", "flushes"
    );
}

fn print_row(row: &Row) {
    let Row { method, protocol, clients, per_second, quantiles, errors, cost } = row;
    let Quantiles { p50, p99, p999 } = quantiles;
    let shown = |figure: Option<f64>, digits: usize| figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"));
    println!(
        "{:<12} {:<10} {clients:>7} {per_second:>11.0} {p50:>8} {p99:>8} {p999:>9} {errors:>7} {:>14} {:>12} {:>8}",
        method.name(),
        protocol.name(),
        shown(cost.server_micros, 1),
        shown(cost.client_micros, 1),
        shown(cost.flushes, 3),
    );
}

fn summary(options: &Options, cores: usize, (before, after): (&DiskRates, &DiskRates), rows: &[Row]) -> Value {
    let quantiles = |of: &Quantiles| json!({ "p50": of.p50, "p99": of.p99, "p99_9": of.p999 });
    let rate = |of: &disk::SyncRate| json!({ "per_second": of.per_second, "micros": quantiles(&of.quantiles) });
    let raw = |of: &DiskRates| json!({ "zero_written": rate(&of.zero_written), "growing": rate(&of.growing) });
    let rows = rows.iter().map(|row| {
        json!({
            "method": row.method.name(),
            "protocol": row.protocol.name(),
            "clients": row.clients,
            "requests_per_second": row.per_second,
            "micros": quantiles(&row.quantiles),
            "errors": row.errors,
            "server_cpu_micros_per_request": row.cost.server_micros,
            "load_cpu_micros_per_request": row.cost.client_micros,
            "disk_flushes_per_request": row.cost.flushes,
        })
    });
    json!({
        "cores": cores,
        "nodes": options.nodes,
        "seconds": options.seconds,
        "fdatasync_before": raw(before),
        "fdatasync_after": raw(after),
        "rows": rows.collect::<Vec<_>>(),
    })
}
