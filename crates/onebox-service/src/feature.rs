//! What a service's author implements: a [`Feature`] or [`Query`] per method, an [`Apply`] per event.
//!
//! Generated code implements [`Method`] for a marker type per method and [`Event`] for each event message, and its
//! dispatch demands the rest, so that a missing one does not compile.

use prost::Message;

use crate::{EventId, MethodId, Outcome, Reader, Rows, Spec, Tx};

/// A method of the schema's service, as a marker type.
pub trait Method: 'static {
    /// What a caller sends.
    type Request: Message + Default;
    /// What a caller gets.
    type Response: Message + Default;
    /// Its position in the schema.
    const ID: MethodId;
    /// Its name in the schema, for example `UpdateStock`.
    const NAME: &'static str;
}

/// The decisions of one method that may record events.
pub trait Feature: Method {
    /// Carries out one request: reads tables, records events, answers or refuses.
    ///
    /// # Errors
    /// The refusal; then nothing that was recorded remains.
    fn run(tx: &mut Tx<'_>, ask: Self::Request) -> Outcome<Self::Response>;

    /// What is so, example by example. A feature that has none yet says so with `Vec::new()`.
    fn specs() -> Vec<Spec>;
}

/// The answer of one read-only method. It runs beside the writer, on one consistent instant of the state.
pub trait Query: Method {
    /// Answers one request.
    ///
    /// # Errors
    /// The refusal.
    fn run(reader: &Reader<'_>, ask: Self::Request) -> Outcome<Self::Response>;

    /// What is so, example by example. A query that has none yet says so with `Vec::new()`.
    fn specs() -> Vec<Spec>;
}

/// A message with `(onebox.event)`: a fact that the log stores.
pub trait Event: Message + Default + 'static {
    /// Its number in the log.
    const ID: EventId;
    /// Its name in the schema.
    const NAME: &'static str;
    /// Calls `each` with every id that this event creates (fields with `new_id`).
    fn new_ids(&self, each: &mut dyn FnMut(u64));
}

/// What an event does to the tables. Facts: no decisions, no refusals.
pub trait Apply: Event {
    /// Writes the rows. A panic here is an author's bug.
    fn apply(self, rows: &mut Rows<'_>);
}
