//! What the service answers, records and keeps, against a naive model over random requests. Example by example, see its specs.
//!
//! Everything runs through the platform's own seam, over a keyspace that is an ordered map.

mod budget;
mod keyspace;
mod model;
mod random;
mod reference;
mod warehouse;
