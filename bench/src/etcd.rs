//! An etcd that runs, asked to put keys over gRPC, by the load that asks onebox. `bench/etcd` starts it, alone and as a cluster.
//!
//! A put is less than `UpdateStock`: nothing is read, checked, or remembered for a repetition.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::http::WARM_UP;
use crate::load::http2::{self, Http2};
use crate::load::{self, Load, Plan};
use crate::quantiles::Quantiles;

/// As many keys as the warehouse has balances.
const KEYS: usize = 256 * 64;
/// Bytes of a value: about those of a balance's row and its event.
const VALUE_BYTES: u8 = 64;

/// Puts of small values to an etcd.
#[derive(Debug, Parser)]
#[command(name = "etcd")]
struct Options {
    /// Where it listens for clients, in clear text.
    #[arg(long, value_name = "ADDR")]
    address: SocketAddr,
    /// What the rows are called.
    #[arg(long, value_name = "WORDS", default_value = "etcd")]
    name: String,
    /// Seconds that each row of the table is measured.
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u64,
    /// Numbers of clients.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,16,64")]
    clients: Vec<usize>,
}

/// Runs the benchmark `etcd`.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    match bench(&Options::parse_from(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("etcd: {words}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the load's thread: {error}"))?;
    let requests = Arc::new((0..KEYS).map(put).collect::<Vec<_>>());
    println!("{:<34} {:>7} {:>10} {:>9} {:>9} {:>9}", "", "clients", "puts/s", "p50 us", "p99 us", "p99.9 us");
    for clients in options.clients.iter().copied() {
        let from = Instant::now() + WARM_UP;
        let until = from + Duration::from_secs(options.seconds.max(1));
        let load = Load { address: options.address, requests: Arc::clone(&requests), clients, plan: Plan::Drawn { from, until } };
        let mut tally = runtime.block_on(load::run(&load, Http2::new));
        if let Some(error) = tally.first_error {
            return Err(format!("there were {} errors; the first: {error}", tally.errors));
        }
        let per_second = tally.micros.len() as f64 / until.duration_since(from).as_secs_f64();
        let Quantiles { p50, p99, p999 } = Quantiles::of(&mut tally.micros);
        println!("{:<34} {clients:>7} {per_second:>10.0} {p50:>9} {p99:>9} {p999:>9}", options.name);
    }
    Ok(())
}

/// `etcdserverpb.KV.Put`: field 1 is the key, field 2 the value.
fn put(number: usize) -> Vec<u8> {
    let key = format!("balance/{number:08}");
    let mut message = vec![0x0a, u8::try_from(key.len()).expect("a key is short")];
    message.extend_from_slice(key.as_bytes());
    message.extend_from_slice(&[0x12, VALUE_BYTES]);
    message.extend(std::iter::repeat_n(b'x', usize::from(VALUE_BYTES)));
    http2::request("/etcdserverpb.KV/Put", &message)
}
