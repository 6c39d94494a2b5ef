//! A replica on one thread, for the benchmarks that leave the network out: frames are written and jobs are run between
//! turns, by the caller.

use std::collections::VecDeque;
use std::sync::Arc;

use inventory::{AddLocationsRequest, AddProductsRequest, Inventory, NewLocation, UpdateStockRequest};
use onebox_replica::replica::Opened;
use onebox_replica::turn::{World, take_turn};
use onebox_replica::{Beginning, Clock, Confirm, Input, Job, Limits, Note, PeerMessage, PersistBatch, Query, Replica, Setup, Stop, Token};
use onebox_service::attempt::{Attempt, Command, Fate, Reply, RequestId, Sequence, SessionId};
use onebox_service::{MethodId, Service, Time};
use onebox_store::log::LogWriter;
use onebox_store::names::NodeId;
use onebox_store::state::{Retired, View};
use onebox_store::{Disk, LogIndex};

use onebox::private::prost::Message;

/// Bytes of changed rows at which the benchmarks flush: what a node does by default.
const FLUSH_BYTES: usize = 64 << 20;
/// Bytes of a log segment.
const SEGMENT_BYTES: u64 = 64 << 20;

/// What a turn left to be done.
#[derive(Default)]
struct Todo {
    frame: Option<PersistBatch>,
    jobs: VecDeque<Job>,
    answers: u64,
    done: u64,
    refused: u64,
    opened: Option<SessionId>,
}

impl World for Todo {
    fn persist(&mut self, batch: PersistBatch) {
        assert!(self.frame.replace(batch).is_none(), "one frame is outstanding at most");
    }
    fn send(&mut self, message: Box<PeerMessage>) {
        panic!("a single member has nobody to talk to: {message:?}");
    }

    fn publish(&mut self, _view: View) {}
    fn reply(&mut self, _to: Token, reply: Reply, _at: LogIndex) {
        self.answers += 1;
        match reply {
            Reply::Done { .. } => self.done += 1,
            Reply::Opened(session) => self.opened = Some(session),
            Reply::Refused(_)
            | Reply::Withdrawn
            | Reply::Overloaded
            | Reply::Elsewhere(_)
            | Reply::Retry(_)
            | Reply::Unknown(_)
            | Reply::SessionGone => self.refused += 1,
        }
    }
    fn tell_fate(&mut self, _to: Token, _fate: Fate) {}
    fn query(&mut self, _query: Query) {}
    fn start(&mut self, job: Job) {
        self.jobs.push_back(job);
    }
    fn discard(&mut self, _retired: Retired) {}
    fn note(&mut self, _note: Note) {}
    fn drained(&mut self) {}
    fn stop(&mut self, stop: Stop) {
        panic!("the replica stopped: {stop}");
    }
}

/// What a benchmark chooses.
pub struct Options {
    /// The replica's bounds.
    pub limits: Limits,
    /// Bytes of changed rows at which they are flushed.
    pub flush_bytes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { limits: Limits::default(), flush_bytes: FLUSH_BYTES }
    }
}

/// A replica of the inventory on one thread.
pub struct Inproc {
    replica: Replica,
    writer: LogWriter,
    disk: Arc<dyn Disk>,
    todo: Todo,
    session: SessionId,
    sequence: u64,
    now: u64,
    frame_bytes: u64,
}

impl Inproc {
    /// Opens what is on `disk` and replays it.
    pub fn open(disk: Arc<dyn Disk>, Options { limits, flush_bytes }: Options) -> Inproc {
        let setup = Setup {
            limits,
            node: NodeId(7),
            seed: 7,
            segment_bytes: SEGMENT_BYTES,
            cache_bytes: 256 << 20,
            flush_bytes_target: flush_bytes,
            election_ticks: 10,
            beginning: Beginning::Alone,
            confirm: Confirm::Replicated,
        };
        let Opened { replica, writer, .. } = Replica::open(&disk, Arc::new(Inventory), setup).expect("the disk opens");
        let mut inproc =
            Inproc { replica, writer, disk, todo: Todo::default(), session: SessionId(0), sequence: 0, now: 1, frame_bytes: 0 };
        while !inproc.replica.status().serves {
            inproc.turn(Vec::new());
        }
        inproc
    }

    /// Opens a session for requests.
    pub fn open_session(&mut self) {
        let id = RequestId { session: SessionId(0), sequence: Sequence(0), not_after: Time(u64::MAX) };
        let attempt = Attempt { id, acknowledged_below: Sequence(0), command: Command::OpenSession };
        self.settle(vec![Input::Attempt(Token(0), attempt)]);
        self.session = self.todo.opened.expect("a session was opened");
    }

    /// An attempt at a method.
    pub fn attempt(&mut self, method: &str, body: Vec<u8>, acknowledged_below: u64) -> Input {
        self.sequence += 1;
        let id = RequestId { session: self.session, sequence: Sequence(self.sequence), not_after: Time(u64::MAX) };
        let method = method_id(method);
        let command = Command::Call { tenant: "default".to_owned(), method, body, key: None };
        Input::Attempt(Token(self.sequence), Attempt { id, acknowledged_below: Sequence(acknowledged_below), command })
    }

    /// The sequence number of the last attempt.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Bytes of log written so far.
    pub fn frame_bytes(&self) -> u64 {
        self.frame_bytes
    }

    /// One turn, and what it left to be done.
    pub fn turn(&mut self, inputs: Vec<Input>) {
        self.now += 1_000;
        let clock = Clock { wall: Time(self.now), uptime: self.now };
        take_turn(&mut self.replica, clock, inputs, &mut self.todo);
        let mut follow = Vec::new();
        if let Some(PersistBatch { number, batch, spare_made }) = self.todo.frame.take() {
            if spare_made {
                self.writer.note_spare();
            }
            self.frame_bytes += batch.frame_bytes();
            let appended = self.writer.append(&batch).expect("the disk takes the frame");
            follow.push(Input::Persisted { number, appended, needs_spare: self.writer.needs_spare() });
        }
        while let Some(job) = self.todo.jobs.pop_front() {
            follow.push(Input::JobDone(job.run(&*self.disk)));
        }
        if !follow.is_empty() {
            self.turn(follow);
        }
    }

    /// Takes turns until everything that came in is answered.
    pub fn settle(&mut self, inputs: Vec<Input>) {
        let wanted = self.todo.answers + inputs.len() as u64;
        self.turn(inputs);
        while self.todo.answers < wanted {
            self.turn(Vec::new());
        }
    }

    /// Requests that were carried out, and that were not.
    pub fn answered(&self) -> (u64, u64) {
        (self.todo.done, self.todo.refused)
    }
}

fn method_id(name: &str) -> MethodId {
    Inventory.schema().method(name).expect("the method is in the schema")
}

/// A warehouse of `shelves` shelves below one building and `products` products, each with stock on each shelf.
pub struct Warehouse {
    shelves: Vec<u64>,
    products: Vec<u64>,
}

impl Warehouse {
    /// Builds it through requests.
    pub fn build(inproc: &mut Inproc, shelves: u64, products: u64) -> Warehouse {
        let names = (0..shelves).map(|number| NewLocation { name: format!("shelf {number}"), children: Vec::new() });
        let ask = AddLocationsRequest { parent: 0, locations: names.collect() };
        let add = inproc.attempt("AddLocations", ask.encode_to_vec(), 0);
        inproc.settle(vec![add]);
        let ask = AddProductsRequest { skus: (0..products).map(|number| format!("sku {number}")).collect() };
        let add = inproc.attempt("AddProducts", ask.encode_to_vec(), 0);
        inproc.settle(vec![add]);
        let warehouse = Warehouse { shelves: (1..=shelves).collect(), products: (shelves + 1..=shelves + products).collect() };
        for first in (0..warehouse.rows()).step_by(1_000) {
            let acknowledged_below = inproc.sequence;
            let rows = first..(first + 1_000).min(warehouse.rows());
            let puts = rows.map(|row| warehouse.update(inproc, row, 1_000_000, acknowledged_below)).collect();
            inproc.settle(puts);
        }
        let (_, refused) = inproc.answered();
        assert_eq!(refused, 0, "building the warehouse was refused");
        warehouse
    }

    /// The stock rows.
    pub fn rows(&self) -> u64 {
        (self.shelves.len() * self.products.len()) as u64
    }

    /// A change of one stock row.
    pub fn update(&self, inproc: &mut Inproc, row: u64, change: i64, acknowledged_below: u64) -> Input {
        let shelf = self.shelves[(row % self.shelves.len() as u64) as usize];
        let product = self.products[(row / self.shelves.len() as u64) as usize];
        let ask = UpdateStockRequest { location: shelf, product, change };
        inproc.attempt("UpdateStock", ask.encode_to_vec(), acknowledged_below)
    }
}

/// A small generator of chance, the same in every run.
pub struct Chance(pub u64);

impl Chance {
    /// The next number: splitmix64.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to 1.
    pub fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// How rows are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    /// Each row as likely as any other.
    Uniform,
    /// Few rows very often: Zipf with exponent 0.99, by inverting the continuous distribution.
    Zipf,
}

impl Choice {
    /// A row of `rows`.
    pub fn row(self, chance: &mut Chance, rows: u64) -> u64 {
        match self {
            Choice::Uniform => chance.number() % rows,
            Choice::Zipf => {
                let exponent = 1.0 - 0.99;
                let all = (rows as f64).powf(exponent) - 1.0;
                let rank = (chance.fraction() * all + 1.0).powf(1.0 / exponent);
                // Hot rows are spread over the table, not packed at its start.
                ((rank as u64).min(rows) - u64::from(rank >= 1.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15) % rows
            }
        }
    }
}
