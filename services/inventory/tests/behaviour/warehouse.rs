//! One tenant of the service, driven as the platform drives it: execute or take back, and replay from the events.

use std::fmt;

use inventory::Inventory;
use onebox::private::prost::Message;
use onebox_service::execute::{self, Recorded};
use onebox_service::{Budget, Context, EventId, Failure, Method, Refusal, TenantId, Time};

use crate::keyspace::MemoryRows;

const CONTEXT: Context = Context {
    tenant: TenantId::DEFAULT,
    now: Time(1),
    seed: 1,
    budget: Budget {
        rows_read_max: 100_000,
        rows_written_max: 100_000,
        scan_steps_max: 100_000,
        bytes_max: 1 << 24,
        events_max: 10_000,
        key_bytes_max: 1024,
    },
};

/// A method whose messages can be shown, as those of every schema can.
pub(crate) trait Shown: Method<Request: fmt::Debug, Response: fmt::Debug + PartialEq> {}
impl<M: Method<Request: fmt::Debug, Response: fmt::Debug + PartialEq>> Shown for M {}

/// An event as the log holds it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    event: EventId,
    bytes: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Warehouse {
    rows: MemoryRows,
    log: Vec<Fact>,
}

impl Warehouse {
    /// Carries out one request; a refusal leaves nothing behind. What was recorded replays to the same rows.
    pub(crate) fn execute<M: Shown>(&mut self, request: &M::Request) -> Result<(M::Response, Vec<Fact>), Refusal> {
        let (method, mut recorded, before) = (M::ID, Recorded::default(), self.rows.clone());
        let outcome = execute::execute(&Inventory, method, &request.encode_to_vec(), &mut self.rows, &CONTEXT, &mut recorded);
        let response = match outcome {
            Ok(response) => response,
            Err(Failure::Refused(refusal)) => {
                self.rows = before;
                return Err(refusal);
            }
            Err(failure) => panic!("{} failed: {failure:?}", M::NAME),
        };
        let facts: Vec<Fact> = recorded.iter().map(|(event, bytes)| Fact { event, bytes: bytes.to_vec() }).collect();
        let mut replayed = before;
        replay(&facts, &mut replayed);
        assert_eq!(replayed, self.rows, "the events of {} do not replay to the rows that it wrote", M::NAME);
        self.log.extend_from_slice(&facts);
        Ok((M::Response::decode(&response[..]).unwrap(), facts))
    }

    pub(crate) fn query<M: Shown>(&self, request: &M::Request) -> Result<M::Response, Refusal> {
        self.query_within::<M>(request, CONTEXT.budget.scan_steps_max)
    }

    /// A query that may step over so many rows.
    pub(crate) fn query_within<M: Shown>(&self, request: &M::Request, scan_steps_max: u32) -> Result<M::Response, Refusal> {
        let context = Context { budget: Budget { scan_steps_max, ..CONTEXT.budget }, ..CONTEXT };
        match execute::query(&Inventory, M::ID, &request.encode_to_vec(), &self.rows, &context) {
            Ok(response) => Ok(M::Response::decode(&response[..]).unwrap()),
            Err(Failure::Refused(refusal)) => Err(refusal),
            Err(failure) => panic!("{} failed: {failure:?}", M::NAME),
        }
    }

    /// Everything that was ever recorded, applied to an empty keyspace, gives the rows that are there.
    #[track_caller]
    pub(crate) fn replays(&self) {
        let mut rows = MemoryRows::default();
        replay(&self.log, &mut rows);
        assert_eq!(rows, self.rows, "the log does not replay to the rows that are there");
    }
}

fn replay(facts: &[Fact], rows: &mut MemoryRows) {
    let events = facts.iter().map(|fact| (fact.event, &fact.bytes[..]));
    execute::apply(&Inventory, events, rows, TenantId::DEFAULT, CONTEXT.now).unwrap();
}
