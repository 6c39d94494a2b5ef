//! The example service `inventory`: products, a tree of locations, the stock in them, and reservations against it.
//!
//! The schema in `inventory.proto` says what can be asked and what is recorded. Each method has a file under
//! `features/`; the other modules are the nouns that several features speak of. There is no list to keep in step: a
//! method without a feature, or an event without an `apply`, does not compile.
//!
//! It knows rows and events, and nothing of clocks, files, sockets or how it is replicated.

mod availability;
mod balance;
mod features;
mod given;
mod product;
mod reservation;
mod simulation;
mod tree;

pub use simulation::Life;

onebox::schema!("inventory.v1");
