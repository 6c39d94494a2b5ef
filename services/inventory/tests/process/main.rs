//! The service as a process: a real binary, a real disk, and a client that shares no code with the server.
//!
//! What is asked of it goes as bytes over a socket, and what it holds is read back the same way. Nothing here knows how
//! the server is built. Drills that load the machine take turns; every server ends with the test that started it.

mod balancers;
mod client;
mod cluster;
mod corner;
mod damage;
mod drills;
mod filling;
mod full_disk;
mod history;
mod joins;
mod kill;
mod load;
mod mistakes;
mod network;
mod next;
mod overload;
mod partitions;
mod pauses;
mod random;
mod readme;
mod requests;
mod scratch;
mod server;
mod start;
mod terminate;
mod worker;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by each drill that loads the machine: two at once would measure each other.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A drill that failed has nothing to do with the next one.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number from the environment, for longer runs than the default.
fn number_from(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}; it must be a number")),
        Err(_) => default,
    }
}
