//! More than the disk takes, for a while: callers are told to come back, and memory stays below its bound.
//!
//! `ONEBOX_OVERLOAD_SECONDS` sets how long. The bound of 1 GiB, with the default settings and clients that take
//! their answers in, is made up of
//! - 256 MiB cache of the base (`cache_bytes`),
//! - 256 MiB rows that are not in the base yet (`dirty_bytes_max`),
//! - 3 x 64 MiB bodies in flight (`gateway.bodies_in_flight_bytes_max`): as received, as decoded, and as queued for the
//!   executor with the copy that is kept to be sent again,
//! - 64 MiB answers, entries on their way to the disk, and connections,
//! - 256 MiB that the allocator holds and nobody uses.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::client::{Ask, Connection, number};
use crate::requests::{one_of, put};
use crate::scratch::Scratch;
use crate::server::Server;
use crate::{number_from, turn};

const MIB: u64 = 1024 * 1024;
const RESIDENT_MAX: u64 = 1024 * MIB;
/// Connections of each kind: together they hold far more bytes in flight than the server takes.
const CONNECTIONS: usize = 96;
/// Looks at the memory, evenly over the run.
const SAMPLES: u32 = 10;
/// Skus of one request, and characters of each: a row and an index entry per sku, not much below the largest body.
const SKUS: usize = 1_000;
const SKU_CHARACTERS: usize = 600;

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    broken: AtomicU64,
    /// Reservations that were acknowledged, and those whose fate their caller does not know.
    reserved: AtomicU64,
    open: AtomicU64,
}

#[test]
fn overload_is_refused_and_memory_stays_bounded() {
    let _turn = turn();
    let seconds = number_from("ONEBOX_OVERLOAD_SECONDS", 5);
    let scratch = Scratch::new("overload");
    let data = scratch.join("data");
    let server = Server::start(&data, &[]);
    let mut connection = server.connect();
    let (product, location) = one_of(&mut connection, "reserved");
    put(&mut connection, location, product, 1_000_000_000);

    let (counts, mut resident) = (Counts::default(), Vec::new());
    let address = server.address();
    thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            let counts = &counts;
            scope.spawn(move || add_products(address, number, counts));
            scope.spawn(move || reserve(address, number, counts));
        }
        for _ in 0..SAMPLES {
            thread::sleep(Duration::from_secs(seconds) / SAMPLES);
            resident.push((server.memory("VmRSS") / MIB).to_string());
        }
        counts.stop.store(true, Ordering::Relaxed);
    });
    let peak = server.memory("VmHWM");
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    eprintln!(
        "overload: {seconds} s, {} connections; peak resident {} MiB, over time {}; {} acknowledged, {} refused with 429, {} connections broken",
        2 * CONNECTIONS,
        peak / MIB,
        resident.join(" "),
        count(&counts.acknowledged),
        count(&counts.refused),
        count(&counts.broken)
    );
    assert!(count(&counts.refused) > 0, "nothing was refused; the load is too small to show anything");
    assert!(count(&counts.acknowledged) > 0, "nothing was acknowledged");
    assert!(peak < RESIDENT_MAX, "{} MiB were resident", peak / MIB);

    // It is not the end of it: the server answers at once again, and has lost nothing.
    all_is_there(&mut server.connect(), &counts);
    server.kill();
    let server = Server::start(&data, &[]);
    all_is_there(&mut server.connect(), &counts);
    eprintln!("overload: restart after kill -9 {:.0} ms; {}", server.ready_after.as_secs_f64() * 1000.0, server.await_line("\"to_apply\""));
    server.stop();
}

fn all_is_there(connection: &mut Connection, counts: &Counts) {
    let stock = connection.succeed(&Ask::get("/v1/locations/0/stock"));
    let item = &stock["items"][0];
    let reserved = u64::try_from(number(&item["onHand"]) - number(&item["available"])).expect("no less than nothing is reserved");
    let (acknowledged, open) = (counts.reserved.load(Ordering::Relaxed), counts.open.load(Ordering::Relaxed));
    assert!(
        (acknowledged..=acknowledged + open).contains(&reserved),
        "{reserved} are reserved; {acknowledged} were acknowledged, {open} are open"
    );
}

/// Rows without end: each request changes some megabyte of the state.
fn add_products(address: SocketAddr, number: usize, counts: &Counts) {
    let padding = "p".repeat(SKU_CHARACTERS);
    send_until_stopped(address, counts, |sent| {
        let skus: Vec<String> = (0..SKUS).map(|sku| format!("{number}-{sent}-{sku}-{padding}")).collect();
        Ask::post("/v1/products", &json!({ "skus": skus }))
    });
}

/// Log without end: tags are logged with the request and stored in no row. Every other request has a key.
fn reserve(address: SocketAddr, number: usize, counts: &Counts) {
    let padding = "t".repeat(SKUS * SKU_CHARACTERS);
    send_until_stopped(address, counts, |sent| {
        let lines = json!([{"sku": "reserved", "quantity": "1"}]);
        let ask = Ask::post("/v1/reservations", &json!({"code": format!("{number}-{sent}"), "lines": lines, "tags": {"note": padding}}));
        if sent % 2 == 0 { ask.keyed(format!("{number}-{sent}")) } else { ask }
    });
}

/// Sends one request after the other, without ever pausing when it is told to come back later.
fn send_until_stopped(address: SocketAddr, counts: &Counts, ask: impl Fn(u64) -> Ask) {
    let mut connection = None;
    let mut sent = 0;
    while !counts.stop.load(Ordering::Relaxed) {
        let open = match connection.take() {
            Some(open) => Ok(open),
            None => Connection::open(address),
        };
        let Ok(mut open) = open else {
            counts.broken.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        sent += 1;
        let ask = ask(sent);
        let reserves = u64::from(ask.path == "/v1/reservations");
        match open.send(&ask) {
            Ok(reply) => {
                match reply.status {
                    200 => {
                        counts.acknowledged.fetch_add(1, Ordering::Relaxed);
                        counts.reserved.fetch_add(reserves, Ordering::Relaxed);
                    }
                    429 => {
                        assert!(reply.header("retry-after").is_some(), "{reply}");
                        counts.refused.fetch_add(1, Ordering::Relaxed);
                    }
                    // Past its deadline, whether or not it takes effect.
                    503 | 504 => drop(counts.open.fetch_add(reserves, Ordering::Relaxed)),
                    _ => panic!("under load: {reply}"),
                }
                connection = Some(open);
            }
            Err(_) => {
                counts.broken.fetch_add(1, Ordering::Relaxed);
                counts.open.fetch_add(reserves, Ordering::Relaxed);
            }
        }
    }
}
