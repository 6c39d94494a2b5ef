//! One tenant of the service, driven as the platform drives it: execute or take back, and replay from the events.

use std::fmt;

use inventory::{Cancelled, Fulfilled, Inventory, LocationAdded, LocationMoved, ProductAdded, Reserved, StockUpdated};
use onebox::private::prost::Message;
use onebox_service::execute::{self, Recorded};
use onebox_service::{Budget, Context, Event, EventId, Failure, Method, Refusal, TenantId, Time};

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

pub(crate) fn fact<E: Event>(event: E) -> Fact {
    Fact { event: E::ID, bytes: event.encode_to_vec() }
}

/// A list of facts from events of different types.
macro_rules! facts {
    ($($event:expr),* $(,)?) => { vec![$($crate::warehouse::fact($event)),*] };
}
pub(crate) use facts;

#[derive(Default)]
pub(crate) struct Warehouse {
    rows: MemoryRows,
    log: Vec<Fact>,
}

impl Warehouse {
    /// A warehouse in which this has happened.
    pub(crate) fn given(facts: Vec<Fact>) -> Warehouse {
        let mut warehouse = Warehouse::default();
        warehouse.happened(facts);
        warehouse
    }

    /// This happens, whoever asked for it.
    pub(crate) fn happened(&mut self, facts: Vec<Fact>) {
        replay(&facts, &mut self.rows);
        self.log.extend(facts);
    }

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

    #[track_caller]
    pub(crate) fn accepts<M: Shown>(&mut self, request: M::Request, response: M::Response, facts: Vec<Fact>) {
        assert_eq!(self.execute::<M>(&request).map(debug), Ok(debug((response, facts))));
    }

    #[track_caller]
    pub(crate) fn refuses<M: Shown>(&mut self, request: M::Request, refusal: impl Into<Refusal>) {
        assert_eq!(self.execute::<M>(&request).map(debug), Err(refusal.into()));
    }

    #[track_caller]
    pub(crate) fn answers<M: Shown>(&self, request: M::Request, response: M::Response) {
        assert_eq!(self.query::<M>(&request).map(debug), Ok(debug(response)));
    }

    #[track_caller]
    pub(crate) fn refuses_query<M: Shown>(&self, request: M::Request, refusal: impl Into<Refusal>) {
        assert_eq!(self.query::<M>(&request).map(debug), Err(refusal.into()));
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

fn debug(value: impl fmt::Debug) -> String {
    format!("{value:#?}")
}

impl fmt::Debug for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn decoded<E: Event + fmt::Debug>(fact: &Fact) -> Option<String> {
            (fact.event == E::ID).then(|| format!("{:#?}", E::decode(&fact.bytes[..]).unwrap()))
        }
        let text = decoded::<LocationAdded>(self)
            .or_else(|| decoded::<LocationMoved>(self))
            .or_else(|| decoded::<ProductAdded>(self))
            .or_else(|| decoded::<StockUpdated>(self))
            .or_else(|| decoded::<Reserved>(self))
            .or_else(|| decoded::<Fulfilled>(self))
            .or_else(|| decoded::<Cancelled>(self));
        f.write_str(&text.expect("an event of the schema"))
    }
}
