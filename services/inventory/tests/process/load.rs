//! Many workers at once, and the moment at which enough of their requests are answered.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::client::Connection;
use crate::server::Server;
use crate::worker::{Reckoning, Worker};

/// Longer than any load takes for a few thousand answers.
const STALLED_AFTER: Duration = Duration::from_secs(120);

pub(crate) struct Load {
    pub(crate) workers: Vec<Worker>,
}

/// Answers so far.
#[derive(Default)]
struct Count {
    answers: Mutex<u64>,
    more: Condvar,
}

impl Load {
    /// `workers` corners on a server.
    pub(crate) fn new(server: &Server, workers: usize, seed: u64) -> Load {
        let mut connection = server.connect();
        Load { workers: (0..workers).map(|number| Worker::new(&mut connection, number, seed)).collect() }
    }

    /// Has all workers work, calls `end` once `answers` were given in all, and returns when every worker has noticed.
    pub(crate) fn run(&mut self, server: Server, answers: u64, end: impl FnOnce(Server)) {
        let count = Count::default();
        let address = server.address();
        thread::scope(|scope| {
            for worker in &mut self.workers {
                scope.spawn(|| worker.work(address, || count.add()));
            }
            // The server ends also when this fails, and then the workers do.
            let reached = count.await_reaching(answers);
            assert!(reached, "the load stalled:\n{}", server.log());
            end(server);
        });
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.workers.iter().map(|worker| worker.acknowledged).sum()
    }

    /// Has every worker compare its corner with what the server shows, several at once.
    pub(crate) fn reckon(&mut self, address: SocketAddr) -> Reckoning {
        let mut sum = Reckoning::default();
        thread::scope(|scope| {
            let reckoned = self.workers.iter_mut().map(|worker| {
                scope.spawn(move || worker.reckon(&mut Connection::open(address).expect("a server that is ready takes connections")))
            });
            let reckoned: Vec<_> = reckoned.collect();
            reckoned.into_iter().for_each(|thread| sum.add(thread.join().expect("the reckoning holds; the reason is above")));
        });
        sum
    }
}

impl Count {
    fn add(&self) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.more.notify_all();
    }

    fn await_reaching(&self, answers: u64) -> bool {
        let count = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.more.wait_timeout_while(count, STALLED_AFTER, |count| *count < answers);
        *waited.unwrap_or_else(PoisonError::into_inner).0 >= answers
    }
}
