//! The promises, each in a file of its own, and what becomes of a run in which one is broken.

pub(crate) mod acknowledged_writes_survive;
pub(crate) mod answers_are_explained;
pub(crate) mod executed_means_by_a_majority;
pub(crate) mod one_leader_per_term;
pub(crate) mod reads_go_forward;
pub(crate) mod refusals_change_nothing;
pub(crate) mod replicas_agree;
pub(crate) mod requests_take_effect_once;

use std::fmt;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every promise was kept, and the cluster healed.
    Kept,
    /// A promise was broken: something is wrong.
    Broken(Broken),
    /// Nothing is known to be wrong, and nothing goes on: the cluster did not heal in time.
    Stuck(Broken),
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its name.
    pub promise: &'static str,
    /// What was seen.
    pub words: String,
    /// When, in virtual microseconds.
    pub at: u64,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Kept => f.write_str("every promise was kept"),
            Verdict::Broken(broken) => write!(f, "broken at {}: {}: {}", seconds(broken.at), broken.promise, broken.words),
            Verdict::Stuck(broken) => write!(f, "stuck at {}: {}: {}", seconds(broken.at), broken.promise, broken.words),
        }
    }
}

/// Virtual microseconds, for people.
pub(crate) fn seconds(micros: u64) -> String {
    format!("{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
}

/// A promise's name and what was seen.
pub(crate) type Breach = (&'static str, String);
