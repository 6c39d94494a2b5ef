//! What the service answers, records and keeps: example by example, and against a naive model over random requests.
//!
//! Everything runs through the platform's own seam, over a keyspace that is an ordered map.

mod keyspace;
mod locations;
mod model;
mod products;
mod random;
mod reference;
mod reservations;
mod stock;
mod warehouse;
