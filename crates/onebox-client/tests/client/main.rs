//! Tests of a client's rules, driven by hand: what it sends, when it sends it again, and what its callers are told.

mod deadlines;
mod deck;
mod endings;
mod network;
mod retries;
mod sessions;
