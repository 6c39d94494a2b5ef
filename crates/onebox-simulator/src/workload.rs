//! What a service brings to be simulated: requests drawn by chance, and what must always hold.
//!
//! The world checks by itself, for every service, that what was acknowledged stays, once, that what was refused changed
//! nothing, that replicas agree and that the cluster heals. A workload adds what only its service knows.

use std::sync::Arc;

use onebox_replica::Consistency;
use onebox_replica::entry::Record;
use onebox_service::{Method, MethodId, Reader, Refusal, Service};
use prost::Message;

use crate::chance::Chance;

/// A service under simulation. Everything but [`service`](Workload::service) and [`next`](Workload::next) may be left out.
pub trait Workload {
    /// The service.
    fn service(&self) -> Arc<dyn Service>;

    /// The build of the service before this one, if there was one: some runs upgrade a cluster from it while it works, and back,
    /// until the newest version of apply is put in force.
    fn before(&self) -> Option<Arc<dyn Service>> {
        None
    }

    /// The next request of client number `client`.
    fn next(&mut self, client: usize, chance: &mut Chance) -> Ask;

    /// Whether its requests may come to be refused all of them: then a refusal by a feature, too, counts as a sign that the cluster
    /// works again, though no majority is needed for one.
    fn runs_out(&self) -> bool {
        false
    }

    /// A client was told how its request ended: a response, or a refusal that changed nothing.
    fn told(&mut self, _ask: &Ask, _answer: Result<&[u8], &Refusal>) {}

    /// A request took effect; in the order in which they did. For a reference model.
    ///
    /// # Errors
    /// What should not have happened.
    fn happened(&mut self, _record: &Record<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Looks at a state that readers see, of the default tenant: sums that must be conserved, structure that must be sound.
    ///
    /// # Errors
    /// What does not hold.
    fn holds(&self, _state: &Reader<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Judges the linearizable operations of a whole run: is there an order in which one after the other explains every answer? Gives
    /// how many parts of the question were too hard to decide.
    ///
    /// # Errors
    /// What cannot be explained.
    fn explains(&self, _operations: &[Operation]) -> Result<u64, String> {
        Ok(0)
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The method.
    pub method: MethodId,
    /// The canonical encoding of the request.
    pub body: Vec<u8>,
    /// Whether it only reads.
    pub reads: bool,
    /// Whether, carried out, it always records events: its acknowledgement is then looked for in the log.
    pub records: bool,
}

impl Ask {
    /// A request of a read-only method.
    pub fn reads<M: Method>(request: &M::Request) -> Ask {
        Ask { method: M::ID, body: request.encode_to_vec(), reads: true, records: false }
    }

    /// A request that records events whenever it is carried out.
    pub fn records<M: Method>(request: &M::Request) -> Ask {
        Ask { records: true, ..Ask::may_record::<M>(request) }
    }

    /// A request that may also be carried out without recording anything.
    pub fn may_record<M: Method>(request: &M::Request) -> Ask {
        Ask { reads: false, ..Ask::reads::<M>(request) }
    }

    /// What was asked, if this is the method.
    ///
    /// # Panics
    /// If the bytes are not a request of the method.
    pub fn request<M: Method>(&self) -> Option<M::Request> {
        (self.method == M::ID).then(|| M::Request::decode(&self.body[..]).expect("a request decodes as what it was encoded from"))
    }

    /// The answer that this request was given, if this is the method.
    ///
    /// # Panics
    /// If the bytes are not a response of the method.
    pub fn answer<M: Method>(&self, response: &[u8]) -> Option<M::Response> {
        (self.method == M::ID).then(|| M::Response::decode(response).expect("a response decodes as what it was encoded from"))
    }
}

/// What a client did, and what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The client.
    pub client: usize,
    /// What was asked.
    pub ask: Ask,
    /// The idempotency key under which it was asked, and may be asked again, by any client.
    pub key: Option<String>,
    /// What it must see, if it only reads.
    pub consistency: Consistency,
    /// When, in virtual microseconds.
    pub invoked: u64,
    /// When it was told, and what.
    pub ended: Option<(u64, Ended)>,
}

/// How an operation ended, as far as its client knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was carried out; the encoded response.
    Done(Vec<u8>),
    /// It changed nothing.
    Refused(Refusal),
    /// It may have taken effect, or may still.
    Unknown,
}
