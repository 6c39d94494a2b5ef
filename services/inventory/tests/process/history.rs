//! A load whose history is written down and judged: every request with when it was asked and answered, each location's stock a counter
//! that must be linearizable, with the same checker as in the simulator.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use onebox_simulator::linearizability::{self, Model, Operation, Verdict};
use serde_json::json;

use crate::client::{Ask, Connection, Reply, number, text};
use crate::random::Random;

/// Locations, each with a history of its own.
const LOCATIONS: usize = 48;
/// What each has at first: more than is ever taken out.
const STOCK: i64 = 1_000_000;
/// Clients, each with one request under way at a time.
const CLIENTS: u64 = 24;
/// How long a client waits for one answer before it asks another node under the same key, and for any answer at all.
const PATIENCE: Duration = Duration::from_secs(1);
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);
/// Steps of the search for an order, for each location.
const STEPS_MAX: u64 = 20_000_000;

/// What is asked of a location.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Read,
    Change(i64),
}

/// A location's stock.
struct Stock;

impl Model for Stock {
    type Op = Op;
    type Answer = i64;
    type State = i64;

    fn step(&self, state: &i64, op: &Op, answer: Option<&i64>) -> Option<i64> {
        let after = state + if let Op::Change(change) = op { *change } else { 0 };
        answer.is_none_or(|told| *told == after).then_some(after)
    }

    fn observes(&self, op: &Op, _: &i64) -> bool {
        matches!(op, Op::Read)
    }
}

/// What happened to one request.
struct Asked {
    location: usize,
    operation: Operation<Op, i64>,
    /// From when it was due.
    took: Duration,
    /// None of it is part of the load.
    attempts: u32,
    /// Why it was asked again, the first time.
    why: Option<String>,
}

/// A load on a cluster, and its history.
pub(crate) struct Load {
    began: Instant,
    locations: Vec<String>,
    product: String,
    per_second: u64,
    history: Mutex<Vec<Asked>>,
    errors: Mutex<Vec<String>>,
}

/// What is told of a load.
pub(crate) struct Summary {
    pub(crate) requests: usize,
    pub(crate) asked_again: usize,
    /// Why the first of them was.
    pub(crate) why: Option<String>,
    pub(crate) errors: Vec<String>,
    /// The median, the 99th of a hundred and the longest, from when a request was due.
    pub(crate) waits: [Duration; 3],
}

impl Load {
    /// Makes locations with stock, at the node at `address`.
    pub(crate) fn prepare(address: SocketAddr, per_second: u64) -> Load {
        let mut connection = Connection::open(address).expect("a node that is ready takes connections");
        let names: Vec<_> = (0..LOCATIONS).map(|number| json!({ "name": format!("hall {number}") })).collect();
        let made = connection.succeed(&Ask::post("/v1/locations", &json!({ "locations": names })));
        let locations = made["locations"].as_array().expect("it is a list").iter().map(|made| text(&made["id"]).to_owned()).collect();
        let made = connection.succeed(&Ask::post("/v1/products", &json!({ "skus": ["thing"] })));
        let load = Load {
            began: Instant::now(),
            locations,
            product: text(&made["products"][0]).to_owned(),
            per_second,
            history: Mutex::default(),
            errors: Mutex::default(),
        };
        for location in 0..LOCATIONS {
            connection.succeed(&load.ask(location, Op::Change(STOCK)));
        }
        load
    }

    fn ask(&self, location: usize, op: Op) -> Ask {
        let path = format!("/v1/locations/{}/stock", self.locations[location]);
        match op {
            Op::Read => Ask::get(path),
            Op::Change(change) => Ask::post(path, &json!({ "product": self.product, "change": change.to_string() })),
        }
    }

    /// Asks the nodes until `ended`, each client so often in a second; what is late is asked at once.
    pub(crate) fn run(&self, nodes: &[SocketAddr], ended: &AtomicBool) {
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                scope.spawn(move || self.client(client, nodes, ended));
            }
        });
    }

    fn client(&self, client: u64, nodes: &[SocketAddr], ended: &AtomicBool) {
        let mut random = Random::new(client + 1);
        let mut node = client as usize % nodes.len();
        let mut connection = None;
        let pause = Duration::from_secs(CLIENTS) / self.per_second as u32;
        let mut due = Instant::now() + pause.mul_f64(client as f64 / CLIENTS as f64);
        let mut asked = 0;
        while !ended.load(Ordering::Relaxed) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let location = random.below(LOCATIONS as u64) as usize;
            let op = if random.below(10) < 3 { Op::Read } else { Op::Change([-3, -2, -1, 1, 2, 3, 4][random.below(7) as usize]) };
            let key = format!("{}-{client}-{asked}", self.began.elapsed().as_nanos());
            asked += 1;
            let ask = if matches!(op, Op::Read) { self.ask(location, op) } else { self.ask(location, op).keyed(key) };
            let began = Instant::now();
            let Told { told, attempts, why } = ask_until_told(&ask, &mut connection, nodes, &mut node, began + DEADLINE);
            let invoked = (began - self.began).as_nanos() as u64;
            let answered = match told {
                Ok(reply) => Some((self.began.elapsed().as_nanos() as u64, self.stock_in(op, &reply))),
                Err(why) => {
                    self.errors.lock().expect("no client panics").push(format!("{ask:?}: {why}"));
                    None
                }
            };
            let operation = Operation { op, invoked, answered };
            // What a read that was never answered would have seen is of no use to anybody.
            if operation.answered.is_some() || !matches!(op, Op::Read) {
                let asked = Asked { location, operation, took: due.elapsed(), attempts, why };
                self.history.lock().expect("no client panics").push(asked);
            }
            // What could not be asked in time is asked late, and its wait counts from when it was due.
            due += pause;
        }
    }

    fn stock_in(&self, op: Op, reply: &Reply) -> i64 {
        let json = reply.json();
        match op {
            Op::Read => number(&json["items"][0]["onHand"]),
            Op::Change(_) => number(&json["onHand"]),
        }
    }

    /// What is there now, as a node shows it, becomes part of the history: what was acknowledged is there, once.
    pub(crate) fn read_all(&self, node: SocketAddr) {
        let mut connection = Connection::open(node).expect("a node that is ready takes connections");
        for location in 0..LOCATIONS {
            let invoked = self.began.elapsed().as_nanos() as u64;
            let reply = connection.ask(&self.ask(location, Op::Read));
            let answered = Some((self.began.elapsed().as_nanos() as u64, self.stock_in(Op::Read, &reply)));
            let operation = Operation { op: Op::Read, invoked, answered };
            let asked = Asked { location, operation, took: Duration::ZERO, attempts: 0, why: None };
            self.history.lock().expect("no client panics").push(asked);
        }
    }

    /// Judges the history so far and forgets it: the next one begins with the stock that each location has now.
    ///
    /// # Panics
    /// If some location's history is not linearizable.
    pub(crate) fn judge(&self, stock: &mut Vec<i64>) -> Summary {
        let mut history = std::mem::take(&mut *self.history.lock().expect("no client panics"));
        let errors = std::mem::take(&mut *self.errors.lock().expect("no client panics"));
        stock.resize(LOCATIONS, STOCK);
        for (location, stock) in stock.iter_mut().enumerate() {
            let of_it: Vec<Operation<Op, i64>> =
                history.iter().filter(|asked| asked.location == location).map(|asked| asked.operation.clone()).collect();
            match linearizability::check(&Stock, *stock, &of_it, STEPS_MAX) {
                Verdict::Linearizable => {}
                Verdict::NotLinearizable { linearized, stuck } => {
                    let stuck: Vec<_> = stuck.iter().map(|place| &of_it[*place]).collect();
                    panic!("location {location}: after {} operations in order, none of these can come next: {stuck:?}", linearized.len())
                }
                Verdict::TooHard { .. } => panic!("location {location}: {} operations are too many to judge", of_it.len()),
            }
            let last = of_it.iter().filter_map(|operation| operation.answered).max();
            *stock = last.map_or(*stock, |(_, stock)| stock);
        }
        history.retain(|asked| asked.attempts > 0);
        let mut waits: Vec<Duration> = history.iter().map(|asked| asked.took).collect();
        waits.sort_unstable();
        let at = |percent: usize| waits.get((waits.len() * percent / 100).min(waits.len().saturating_sub(1))).copied().unwrap_or_default();
        Summary {
            requests: history.len(),
            asked_again: history.iter().filter(|asked| asked.attempts > 1).count(),
            why: history.iter().find_map(|asked| asked.why.clone()),
            errors,
            waits: [at(50), at(99), at(100)],
        }
    }
}

/// What came of a request.
struct Told {
    told: Result<Reply, String>,
    attempts: u32,
    /// Why it was asked again, the first time.
    why: Option<String>,
}

/// Asks node after node, under the same key, until one gives an answer that is one.
fn ask_until_told(ask: &Ask, connection: &mut Option<Connection>, nodes: &[SocketAddr], node: &mut usize, until: Instant) -> Told {
    let (mut attempts, mut first) = (0, None);
    loop {
        attempts += 1;
        let mut open = connection.take().map_or_else(|| Connection::open_within(nodes[*node], PATIENCE), Ok);
        let why = match open.as_mut().map_err(|error| error.to_string()).and_then(|open| open.send(ask).map_err(|error| error.to_string()))
        {
            Ok(reply) if reply.status == 200 => {
                *connection = open.ok();
                return Told { told: Ok(reply), attempts, why: first };
            }
            Ok(reply) if reply.status < 500 => return Told { told: Err(format!("refused: {reply}")), attempts, why: first },
            Ok(reply) => reply.to_string(),
            Err(error) => error,
        };
        if Instant::now() > until {
            let words = format!("no answer in {} s and {attempts} attempts; the last: {why}", DEADLINE.as_secs());
            return Told { told: Err(words), attempts, why: first };
        }
        first.get_or_insert(why);
        *node = (*node + 1) % nodes.len();
        thread::sleep(Duration::from_millis(5));
    }
}
