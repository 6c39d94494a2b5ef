//! Answers on their way: what an answer holds until its client has taken it in.
//!
//! Keeps true that the bytes of an answer, and its call's place, count as in flight for as long as the answer is in
//! memory, and that a connection can tell since when its client has left an answer lying. Both hang on the bytes
//! themselves, not on the body around them: HTTP/2 takes a body's bytes at the first byte of window that a client
//! grants, and holds them itself from then on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::room::Taken;

/// What an answer holds.
pub(crate) struct Held {
    /// The place of its call.
    pub(crate) _place: Option<Taken>,
    /// Its bytes.
    pub(crate) bytes: Taken,
    /// The connection it goes to, where that is known.
    pub(crate) connection: Option<Arc<Undelivered>>,
}

impl Held {
    /// The answer as bytes that hold all this until the last of them is dropped.
    pub(crate) fn carried_by(mut self, answer: Vec<u8>) -> Bytes {
        if answer.is_empty() {
            return Bytes::new();
        }
        // What admits an answer counts its content; here it has its final form, a few bytes longer or a problem.
        self.bytes.grow_beyond(answer.len().saturating_sub(self.bytes.amount()));
        let number = self.connection.as_ref().map_or(0, |connection| connection.enter());
        Bytes::from_owner(Carried { answer, number, held: self })
    }
}

struct Carried {
    answer: Vec<u8>,
    /// Among those of its connection.
    number: u64,
    held: Held,
}

impl AsRef<[u8]> for Carried {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        if let Some(connection) = &self.held.connection {
            connection.leave(self.number);
        }
    }
}

/// The answers of one connection that its client has not taken in.
#[derive(Debug, Default)]
pub(crate) struct Undelivered {
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    next: u64,
    /// Since when each waits; numbers grow with time, so the first has waited longest.
    since: BTreeMap<u64, Instant>,
}

impl Undelivered {
    /// Is ready when an answer has waited for `bound`, and not before. A client that takes in a byte now and then is
    /// no better than one that takes in none, so it is the whole answer that counts.
    pub(crate) async fn overdue(&self, bound: Duration) {
        loop {
            let waited = self.answers().since.first_key_value().map_or(Duration::ZERO, |(_, since)| since.elapsed());
            match bound.checked_sub(waited) {
                None | Some(Duration::ZERO) => return,
                Some(left) => tokio::time::sleep(left).await,
            }
        }
    }

    fn enter(&self) -> u64 {
        let mut answers = self.answers();
        let number = answers.next;
        answers.next += 1;
        answers.since.insert(number, Instant::now());
        number
    }

    fn leave(&self, number: u64) {
        self.answers().since.remove(&number);
    }

    /// Nothing in here can be left half done, so a panic elsewhere is no reason for another one in a drop.
    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
