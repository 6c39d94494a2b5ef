//! How long a writing client waits when the leader is killed, or stops in order. It prints figures, and fails only if an
//! answer is an error: `cargo xtask drill pauses`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Ask, Connection, text};
use crate::cluster::Cluster;
use crate::server::Server;
use crate::{number_from, turn};

/// How long the client writes before the leader goes, and after.
const BEFORE: Duration = Duration::from_millis(300);
const AFTER: Duration = Duration::from_millis(1_500);

/// Writes at one node, one request after the other; gives how many were answered, and the longest wait for one.
fn write_until(ended: &AtomicBool, node: &Server, location: &str, product: &str) -> (u64, Duration) {
    let mut connection = Connection::open(node.address()).expect("a node that is ready takes connections");
    let ask = Ask::post(format!("/v1/locations/{location}/stock"), &json!({ "product": product, "change": "1" }));
    let (mut answers, mut longest) = (0, Duration::ZERO);
    while !ended.load(Ordering::Relaxed) {
        let asked = Instant::now();
        connection.succeed(&ask);
        (answers, longest) = (answers + 1, longest.max(asked.elapsed()));
    }
    (answers, longest)
}

fn table(what: &str, mut waits: Vec<Duration>, quiet: Duration) {
    waits.sort_unstable();
    let at = |percent: usize| waits[((waits.len() - 1) * percent).div_ceil(100)].as_secs_f64() * 1e3;
    eprintln!(
        "| {what} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
        waits.len(),
        at(0),
        at(50),
        at(99),
        at(100),
        quiet.as_secs_f64() * 1e3
    );
}

#[test]
#[ignore = "it measures: cargo xtask drill pauses"]
fn pauses_of_a_writing_client() {
    let _turn = turn();
    let trials = number_from("ONEBOX_DRILL_TRIALS", 30);
    let mut cluster = Cluster::start_with("pauses", "20");
    let mut connection = cluster.server(1).connect();
    let made = connection.succeed(&Ask::post("/v1/locations", &json!({ "locations": [{ "name": "hall" }] })));
    let location = text(&made["locations"][0]["id"]).to_owned();
    let made = connection.succeed(&Ask::post("/v1/products", &json!({ "skus": ["thing"] })));
    let product = text(&made["products"][0]).to_owned();
    let mut answers = 0;
    eprintln!("| the leader | trials | min ms | median ms | p99 ms | max ms | longest without, ms |\n|---|---|---|---|---|---|---|");
    for (what, end) in [("is killed (kill -9)", Server::kill as fn(Server)), ("stops in order (SIGTERM)", Server::stop)] {
        let (mut waits, mut quiet) = (Vec::new(), Duration::ZERO);
        for _ in 0..trials {
            let leader = cluster.leading();
            let (before, after) = (AtomicBool::new(false), AtomicBool::new(false));
            let leaving = cluster.take(leader);
            let node = cluster.server((leader + 1) % 3);
            thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    let (first, calm) = write_until(&before, node, &location, &product);
                    let (rest, longest) = write_until(&after, node, &location, &product);
                    (first + rest, calm, longest)
                });
                thread::sleep(BEFORE);
                before.store(true, Ordering::Relaxed);
                thread::sleep(BEFORE);
                end(leaving);
                thread::sleep(AFTER);
                after.store(true, Ordering::Relaxed);
                let (written, calm, longest) = writer.join().expect("no answer is an error; the reason is above");
                (answers, quiet) = (answers + written, quiet.max(calm));
                waits.push(longest);
            });
            cluster.start_node(leader);
            cluster.await_all_ready();
        }
        table(what, waits, quiet);
    }
    for number in 0..3 {
        let stock = cluster.server(number).connect().succeed(&Ask::get(format!("/v1/locations/{location}/stock")));
        assert_eq!(text(&stock["items"][0]["onHand"]), answers.to_string(), "every answer took effect, once: {stock}");
    }
    eprintln!("{answers} requests, no error, each took effect once");
}
