//! The load: clients that each keep one connection and one request under way, on one thread.
//!
//! It is meant to cost little beside the server: requests are prebuilt bytes, and of an answer no more is read than
//! where it ends and whether it is a success. A closed loop: a client sends when it has its answer, so a slow server
//! is asked less, and the latencies say nothing of a queue in front of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub(crate) mod http1;
pub(crate) mod http2;

/// How long after its end a run may take to hear its last answers: longer than the server lets a request wait.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(30);
/// Room for an answer; more is made where one is longer.
const ANSWER_BYTES: usize = 16 * 1024;

/// A protocol as one client speaks it.
pub(crate) trait Dialogue: Send + 'static {
    /// Writes the next request to `out`, before it what the protocol wants said.
    fn ask(&mut self, request: &[u8], out: &mut Vec<u8>);

    /// Looks at everything that arrived since the last answer ended. Gives the answer once it is whole, and takes it
    /// out of `arrived`.
    ///
    /// # Errors
    /// A sentence, when the connection is of no use any more.
    fn hear(&mut self, arrived: &mut Vec<u8>) -> Result<Option<Heard>, String>;
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A success.
    Done,
    /// Anything else, as far as it can be shown.
    Failed(String),
}

/// What the clients of one run do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Plan {
    /// Every request once, shared out among the clients.
    EachOnce,
    /// Requests drawn at random, for so long; what comes before `from` warms up and is not measured.
    Drawn { from: Instant, until: Instant },
}

/// One run.
#[derive(Clone)]
pub(crate) struct Load {
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    /// The requests, as bytes of the protocol.
    pub(crate) requests: Arc<Vec<Vec<u8>>>,
    /// How many clients, each with a connection of its own.
    pub(crate) clients: usize,
    /// What they do.
    pub(crate) plan: Plan,
}

/// What came of a run, or of one client's part of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Latencies of the measured successes, in microseconds.
    pub(crate) micros: Vec<u32>,
    /// Successes, measured or not.
    pub(crate) done: u64,
    /// Everything that was no success.
    pub(crate) errors: u64,
    /// The first of those.
    pub(crate) first_error: Option<String>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        let Tally { micros, done, errors, first_error } = other;
        self.micros.extend(micros);
        self.done += done;
        self.errors += errors;
        self.first_error = self.first_error.take().or(first_error);
    }

    fn fail(&mut self, why: String) {
        self.errors += 1;
        self.first_error.get_or_insert(why);
    }
}

/// Runs a load, every client with a dialogue of its own from `dialogue`. Errors are in the tally.
pub(crate) async fn run<D: Dialogue>(load: &Load, dialogue: impl Fn() -> D) -> Tally {
    let mut clients = JoinSet::new();
    for number in 0..load.clients {
        let (load, dialogue) = (load.clone(), dialogue());
        clients.spawn(async move { client(&load, number, dialogue).await });
    }
    let mut total = Tally::default();
    let last = match load.plan {
        Plan::EachOnce => Instant::now() + LAST_ANSWERS_MAX * 4,
        Plan::Drawn { until, .. } => until + LAST_ANSWERS_MAX,
    };
    loop {
        match tokio::time::timeout_at(last.into(), clients.join_next()).await {
            Ok(None) => return total,
            Ok(Some(Ok(tally))) => total.add(tally),
            Ok(Some(Err(error))) => total.fail(format!("a client failed: {error}")),
            Err(_) => {
                total.fail(format!("{} clients had no answer in time", clients.len()));
                return total;
            }
        }
    }
}

async fn client<D: Dialogue>(load: &Load, number: usize, mut dialogue: D) -> Tally {
    let mut tally = Tally::default();
    if let Err(why) = talk(load, number, &mut dialogue, &mut tally).await {
        tally.fail(why);
    }
    tally
}

async fn talk<D: Dialogue>(load: &Load, number: usize, dialogue: &mut D, tally: &mut Tally) -> Result<(), String> {
    let stream = TcpStream::connect(load.address).await;
    let mut stream = stream.map_err(|error| format!("cannot connect to {}: {error}", load.address))?;
    stream.set_nodelay(true).map_err(|error| format!("TCP_NODELAY was refused: {error}"))?;
    let mut draw = Draw::new(number);
    let (mut out, mut arrived) = (Vec::new(), Vec::with_capacity(ANSWER_BYTES));
    for turn in 0.. {
        let asked = Instant::now();
        let request = match load.plan {
            Plan::EachOnce => load.requests.get(number + turn * load.clients),
            Plan::Drawn { until, .. } => (asked < until).then(|| &load.requests[draw.below(load.requests.len())]),
        };
        let Some(request) = request else { return Ok(()) };
        out.clear();
        dialogue.ask(request, &mut out);
        stream.write_all(&out).await.map_err(|error| format!("cannot send: {error}"))?;
        let heard = answer(&mut stream, dialogue, &mut arrived).await?;
        let answered = Instant::now();
        match heard {
            Heard::Done => {
                tally.done += 1;
                if let Plan::Drawn { from, until } = load.plan
                    && answered >= from
                    && answered < until
                {
                    let micros = answered.duration_since(asked).as_micros();
                    tally.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
                }
            }
            Heard::Failed(why) => tally.fail(why),
        }
    }
    Ok(())
}

async fn answer<D: Dialogue>(stream: &mut TcpStream, dialogue: &mut D, arrived: &mut Vec<u8>) -> Result<Heard, String> {
    loop {
        match stream.read_buf(arrived).await {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(format!("cannot receive: {error}")),
        }
        if let Some(heard) = dialogue.hear(arrived)? {
            return Ok(heard);
        }
    }
}

/// Draws evenly and cheaply, each client its own sequence, each run the same ones (xorshift64*).
struct Draw(u64);

impl Draw {
    fn new(number: usize) -> Draw {
        Draw((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from((drawn * bound as u64) >> 32).expect("it is below a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_spread_over_all_requests() {
        let mut counts = [0_u32; 10];
        let mut draw = Draw::new(3);
        for _ in 0..10_000 {
            counts[draw.below(10)] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }
}
