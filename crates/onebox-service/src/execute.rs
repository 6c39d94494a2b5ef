//! Running one request, one query, or one request's committed events, each behind its own wall against panics.
//!
//! The caller owns the undo: whatever an error is, the keyspace may hold writes that it must take back.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use prost::Message;

use crate::budget::Resource;
use crate::tx::{Abort, Ids, Work};
use crate::{Budget, EventId, Fault, Keyspace, KeyspaceMut, MethodId, Reader, Refusal, Rows, Service, TenantId, Time, Tx};

/// What a request is run with, besides its rows.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// Whose rows it sees.
    pub tenant: TenantId,
    /// Its entry's time.
    pub now: Time,
    /// Where `random()` draws from; derived from the entry's logged seed.
    pub seed: u64,
    /// What it may use.
    pub budget: Budget,
}

/// The events that one request recorded, encoded, in order. Reused from request to request.
#[derive(Debug, Default)]
pub struct Recorded {
    bytes: Vec<u8>,
    events: Vec<(EventId, Range<usize>)>,
}

impl Recorded {
    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.events.clear();
    }

    /// Number and encoding of each event, in the order in which they were recorded.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (EventId, &[u8])> {
        self.events.iter().map(|(id, range)| (*id, &self.bytes[range.clone()]))
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Adds an event that is encoded already.
    pub fn push_encoded(&mut self, id: EventId, event: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(event);
        self.events.push((id, start..self.bytes.len()));
    }

    pub(crate) fn push(&mut self, id: EventId, event: &impl Message) -> usize {
        let start = self.bytes.len();
        // Encoding into a vector cannot run out of room.
        let _ = event.encode(&mut self.bytes);
        self.events.push((id, start..self.bytes.len()));
        self.bytes.len() - start
    }
}

/// The encoded response of a request that was carried out.
pub type Executed = Vec<u8>;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A domain answer, or an exhausted budget.
    Refused(Refusal),
    /// A panic, or an id drawn and not recorded: an author's bug, in words.
    Bug(String),
    /// A row could not be read.
    Fault(Fault),
}

/// Runs a request of a method that may record events. `recorded` is cleared first and holds the events after.
///
/// # Errors
/// Why it was not carried out; the caller takes back what was written.
pub fn execute(
    service: &dyn Service,
    method: MethodId,
    request: &[u8],
    space: &mut dyn KeyspaceMut,
    context: &Context,
    recorded: &mut Recorded,
) -> Result<Executed, Failure> {
    recorded.clear();
    guarded(|| {
        let mut tx = Tx::new(space, context, recorded);
        let response = service.execute(method, &mut tx, request).map_err(Failure::Refused)?;
        tx.work().take(Resource::Bytes, response.len());
        match tx.finish() {
            None => Ok(response),
            Some(id) => Err(Failure::Bug(format!("id {id} was drawn with new_id() and not recorded in any event"))),
        }
    })
}

/// Runs a request of a read-only method.
///
/// # Errors
/// Why it could not be answered.
pub fn query(
    service: &dyn Service,
    method: MethodId,
    request: &[u8],
    space: &dyn Keyspace,
    context: &Context,
) -> Result<Executed, Failure> {
    guarded(|| {
        let reader = Reader::new(space, context);
        let response = service.query(method, &reader, request).map_err(Failure::Refused)?;
        reader.work().take(Resource::Bytes, response.len());
        Ok(response)
    })
}

/// Looks at rows, as a read-only method does.
///
/// # Errors
/// Why it could not be done.
pub fn look<T>(space: &dyn Keyspace, context: &Context, looks: impl FnOnce(&Reader<'_>) -> T) -> Result<T, Failure> {
    guarded(|| Ok(looks(&Reader::new(space, context))))
}

/// Applies one request's committed events. Budgets do not hold here: what was committed is a fact.
///
/// # Errors
/// The bug or fault; the replica must stop, for its state no longer follows the log. The bug names the event.
pub fn apply<'e>(
    service: &dyn Service,
    events: impl Iterator<Item = (EventId, &'e [u8])>,
    space: &mut dyn KeyspaceMut,
    tenant: TenantId,
    now: Time,
) -> Result<(), Failure> {
    let work = Work::new(&Context { tenant, now, seed: 0, budget: UNLIMITED });
    let mut ids = Ids::default();
    for (event, bytes) in events {
        guarded(|| {
            let mut rows = Rows::new(&mut *space, &work, &mut ids);
            service.apply(event, bytes, &mut rows).map_err(Failure::Bug)
        })
        .map_err(|failure| naming(service, event, failure))?;
    }
    guarded(|| {
        Rows::new(space, &work, &mut ids).finish();
        Ok(())
    })
}

const UNLIMITED: Budget = Budget {
    rows_read_max: u32::MAX,
    rows_written_max: u32::MAX,
    scan_steps_max: u32::MAX,
    bytes_max: u32::MAX,
    events_max: u32::MAX,
    key_bytes_max: u32::MAX,
};

fn naming(service: &dyn Service, event: EventId, failure: Failure) -> Failure {
    let name = service.schema().events.iter().find(|info| info.id == event).map_or("unknown", |info| info.name);
    match failure {
        Failure::Bug(what) => Failure::Bug(format!("event {name} (number {}): {what}", event.0)),
        Failure::Refused(_) | Failure::Fault(_) => failure,
    }
}

/// Runs `work` and turns whatever unwinds out of it into a failure.
fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(failure_of(payload)))
}

fn failure_of(payload: Box<dyn Any + Send>) -> Failure {
    match payload.downcast::<Abort>() {
        Ok(abort) => match *abort {
            Abort::Refused(refusal) => Failure::Refused(refusal),
            Abort::Fault(fault) => Failure::Fault(fault),
        },
        Err(payload) => {
            let words = payload.downcast_ref::<&str>().map(|words| (*words).to_owned());
            let words = words.or_else(|| payload.downcast_ref::<String>().cloned());
            Failure::Bug(words.unwrap_or_else(|| "a panic without words".to_owned()))
        }
    }
}
