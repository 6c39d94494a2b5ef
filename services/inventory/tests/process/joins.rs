//! A new node joins a loaded cluster that has many rows; it prints figures: `cargo xtask drill join`.
//!
//! On loopback: the relay between the namespaces of the other drills passes less than a snapshot brings, and everybody would wait for it.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Raised};
use crate::drills::{print_head, told};
use crate::history::Load;
use crate::{filling, number_from, turn};

/// How long the load runs before the node joins, and after it votes.
const AROUND: Duration = Duration::from_secs(3);
/// The same load without a node that joins.
const WITHOUT: Duration = Duration::from_secs(10);

#[test]
#[ignore = "it measures: cargo xtask drill join"]
fn a_node_joins_a_loaded_cluster() {
    let _turn = turn();
    let (rows, per_second) = (number_from("ONEBOX_DRILL_ROWS", 5_000_000), number_from("ONEBOX_DRILL_RATE", 2_000));
    let mut cluster = Cluster::start_with("joins", "20");
    let mut nodes: Vec<SocketAddr> = (0..3).map(|number| cluster.server(number).address()).collect();
    let load = Load::prepare(nodes[0], per_second);
    filling::fill(&nodes, rows);
    print_head(per_second);
    let (mut stock, mut errors) = (Vec::new(), 0);
    for (name, what) in [("without", "nothing happens"), ("join", "a fourth node joins, fetches all rows, and votes")] {
        let (ended, asked) = (AtomicBool::new(false), nodes.clone());
        let mut took = Duration::ZERO;
        thread::scope(|scope| {
            scope.spawn(|| load.run(&asked, &ended));
            let _end = Raised(&ended);
            thread::sleep(AROUND);
            let began = Instant::now();
            if name == "join" {
                let number = cluster.grow();
                cluster.server(number).await_line("is a voter of its cluster");
                nodes.push(cluster.server(number).address());
            } else {
                thread::sleep(WITHOUT);
            }
            took = began.elapsed();
            thread::sleep(AROUND);
        });
        cluster.await_all_ready();
        nodes.iter().for_each(|node| load.read_all(*node));
        let summary = load.judge(&mut stock);
        told(name, &format!("{rows} rows; {what}; {:.1} s", took.as_secs_f64()), &summary);
        errors += summary.errors.len();
    }
    assert_eq!(errors, 0, "requests that got an error");
    eprintln!("no error; every location's history is linearizable, also as the new node shows it");
}
