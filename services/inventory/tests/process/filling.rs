//! Many rows, as fast as they are taken.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::json;

use crate::client::{Ask, Connection};

/// Products of one request.
const PRODUCTS: u64 = 200;
/// Rows of a product: itself, and that its sku is taken.
const ROWS: u64 = 2;
/// Requests under way.
const WRITERS: usize = 8;
/// Requests after which it is told how far it is.
const TOLD_EVERY: u64 = 2_000;

/// Adds products until there are so many rows more.
pub(crate) fn fill(nodes: &[SocketAddr], rows: u64) {
    let (requests, next, began) = (rows.div_ceil(PRODUCTS * ROWS), AtomicU64::new(0), Instant::now());
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (node, next) = (nodes[writer % nodes.len()], &next);
            scope.spawn(move || {
                let mut connection = Connection::open(node).expect("a node that is ready takes connections");
                loop {
                    let request = next.fetch_add(1, Ordering::Relaxed);
                    if request >= requests {
                        return;
                    }
                    let skus: Vec<String> = (0..PRODUCTS).map(|number| format!("sku {request}-{number}")).collect();
                    connection.succeed(&Ask::post("/v1/products", &json!({ "skus": skus })).keyed(format!("fill {request}")));
                    if request % TOLD_EVERY == 0 {
                        eprintln!("{} of {rows} rows after {:.0} s", request * PRODUCTS * ROWS, began.elapsed().as_secs_f64());
                    }
                }
            });
        }
    });
}
