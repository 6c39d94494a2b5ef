//! A service small enough to be written by hand: one table of cells, and methods that use up one resource each.
//!
//! Replay can be made to go wrong in it ([`Replay`]): what a feature records is applied as ever, what the log says is not.

use std::borrow::Cow;

use onebox_service::{
    Apply, BadRequest, Code, Event, EventId, EventInfo, MethodId, MethodInfo, Outcome, Read, Reader, Refusal, Row, Rows, Schema, Service,
    Table, Tx, refuse,
};
use prost::Message;

pub(crate) const SET: MethodId = MethodId(0);
pub(crate) const GET: MethodId = MethodId(1);
pub(crate) const BIG: MethodId = MethodId(2);
pub(crate) const MANY: MethodId = MethodId(3);
pub(crate) const BOOM: MethodId = MethodId(4);
pub(crate) const DRAW: MethodId = MethodId(5);
pub(crate) const LOOK: MethodId = MethodId(6);

/// The request of every method.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ask {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
    /// Bytes of the answer: every method.
    #[prost(uint64, tag = "3")]
    pub(crate) answer_bytes: u64,
    /// Events to record: Many.
    #[prost(uint64, tag = "4")]
    pub(crate) events: u64,
    /// Rows to read one by one: Many, Look.
    #[prost(uint64, tag = "5")]
    pub(crate) reads: u64,
    /// Rows to step over in one scan: Many, Look.
    #[prost(uint64, tag = "6")]
    pub(crate) steps: u64,
    /// Refuse if the cell is there: Set. Panic in the event's apply: Boom. Do not record: Draw.
    #[prost(bool, tag = "7")]
    pub(crate) flag: bool,
}

/// The response of every method.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Told {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) value: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) number: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Cell {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl Row for Cell {
    const TABLE: u32 = 1;
    const NAME: &'static str = "cells";
    const INDEXED: bool = false;
    fn pack_key(&self, out: &mut Vec<u8>) {
        onebox_service::keyspace::pack_onto(&self.key, out);
    }
    fn pack_indexes(&self, _: &mut dyn FnMut(u32, bool, Vec<u8>)) {}
}

/// A cell was written.
#[derive(Clone, PartialEq, Message)]
struct Written {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// Something happened that writes no row of the table; it may have created an id.
#[derive(Clone, PartialEq, Message)]
struct Noted {
    #[prost(uint64, tag = "1")]
    id: u64,
}

/// Cannot be applied.
#[derive(Clone, PartialEq, Message)]
struct Exploded {}

impl Event for Written {
    const ID: EventId = EventId(1);
    const NAME: &'static str = "Written";
    fn new_ids(&self, _: &mut dyn FnMut(u64)) {}
}

impl Event for Noted {
    const ID: EventId = EventId(300);
    const NAME: &'static str = "Noted";
    fn new_ids(&self, each: &mut dyn FnMut(u64)) {
        if self.id != 0 {
            each(self.id);
        }
    }
}

impl Event for Exploded {
    const ID: EventId = EventId(301);
    const NAME: &'static str = "Exploded";
    fn new_ids(&self, _: &mut dyn FnMut(u64)) {}
}

impl Apply for Written {
    fn apply(self, rows: &mut Rows<'_>) {
        rows.put(&Cell { key: self.key, value: self.value });
    }
}

impl Apply for Noted {
    fn apply(self, _: &mut Rows<'_>) {}
}

impl Apply for Exploded {
    fn apply(self, rows: &mut Rows<'_>) {
        rows.put(&Cell { key: "half done".to_owned(), value: Vec::new() });
        panic!("apply of Exploded");
    }
}

/// What happens when the log's events are applied again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replay {
    /// What happened the first time.
    Faithful,
    /// A panic at the first cell that is written.
    Panics,
    /// Cells get another value.
    WritesElse,
}

pub(crate) struct Cells(pub(crate) Replay);

impl Service for Cells {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn execute(&self, method: MethodId, tx: &mut Tx<'_>, request: &[u8]) -> Outcome<Vec<u8>> {
        let ask = Ask::decode(request).expect("tests send requests that decode");
        let mut told = Told { value: vec![7; ask.answer_bytes as usize], number: 0 };
        match method {
            SET => set(tx, ask)?,
            BIG => {
                if ask.flag {
                    tx.record(Noted { id: 0 });
                }
            }
            MANY => {
                work_through(tx, &ask);
                for number in 0..ask.events {
                    tx.record(Written { key: format!("{}{number:05}", ask.key), value: ask.value.clone() });
                }
            }
            BOOM => {
                tx.record(Written { key: ask.key, value: ask.value });
                if ask.flag {
                    tx.record(Exploded {});
                }
                panic!("run of Boom");
            }
            DRAW => {
                told.number = tx.new_id();
                told.value = tx.random().to_be_bytes().to_vec();
                if !ask.flag {
                    tx.record(Noted { id: told.number });
                }
            }
            other => panic!("method {other:?} records nothing"),
        }
        Ok(told.encode_to_vec())
    }

    fn query(&self, method: MethodId, reader: &Reader<'_>, request: &[u8]) -> Outcome<Vec<u8>> {
        let ask = Ask::decode(request).expect("tests send requests that decode");
        let mut told = Told { value: vec![7; ask.answer_bytes as usize], number: 0 };
        match method {
            GET => match Table::<Cell>::new(reader).get(&ask.key.as_str()) {
                Some(cell) => told.value = cell.value,
                None => return refuse(Refusal::platform(Code::NotFound, "no such cell")),
            },
            LOOK => work_through(reader, &ask),
            other => panic!("method {other:?} is not read-only"),
        }
        Ok(told.encode_to_vec())
    }

    fn apply(&self, event: EventId, bytes: &[u8], rows: &mut Rows<'_>) -> Result<(), String> {
        match event {
            Written::ID => {
                let mut written = Written::decode(bytes).map_err(|error| error.to_string())?;
                match self.0 {
                    Replay::Faithful => {}
                    Replay::Panics => panic!("this build cannot write cells"),
                    Replay::WritesElse => written.value.push(b'!'),
                }
                rows.apply(written);
            }
            Noted::ID => rows.apply(Noted::decode(bytes).map_err(|error| error.to_string())?),
            Exploded::ID => rows.apply(Exploded {}),
            EventId(other) => return Err(format!("unknown event {other}")),
        }
        Ok(())
    }

    fn request_from_json(&self, _: MethodId, _: &[u8], _: &[(&str, &str)]) -> Result<Vec<u8>, BadRequest> {
        unreachable!("a replica reads no JSON")
    }
    fn request_from_binary(&self, _: MethodId, _: &[u8]) -> Result<Vec<u8>, BadRequest> {
        unreachable!("a replica is given canonical requests")
    }
    fn loggable_request<'r>(&self, _: MethodId, request: &'r [u8]) -> Cow<'r, [u8]> {
        Cow::Borrowed(request)
    }
    fn loggable_response<'r>(&self, _: MethodId, response: &'r [u8]) -> Cow<'r, [u8]> {
        Cow::Borrowed(response)
    }
    fn response_to_json(&self, _: MethodId, _: &[u8]) -> Result<Vec<u8>, String> {
        unreachable!("a replica writes no JSON")
    }
    fn specs(&self) -> Vec<onebox_service::Spec> {
        Vec::new()
    }
    fn refusal_to_json(&self, _: &str, _: &[u8]) -> Option<Vec<u8>> {
        unreachable!("a replica writes no JSON")
    }
}

fn set(tx: &mut Tx<'_>, ask: Ask) -> Outcome<()> {
    if ask.flag && Table::<Cell>::new(tx).get(&ask.key.as_str()).is_some() {
        return refuse(Refusal::platform(Code::AlreadyExists, "the cell is there"));
    }
    tx.record(Written { key: ask.key, value: ask.value });
    Ok(())
}

fn work_through(read: &dyn Read, ask: &Ask) {
    let cells = Table::<Cell>::new(read);
    for number in 0..ask.reads {
        cells.get(&format!("read {number}").as_str());
    }
    assert!(ask.steps == 0 || cells.all().take(ask.steps as usize).count() == ask.steps as usize, "so many cells are there");
}

const fn method(name: &'static str, read_only: bool) -> MethodInfo {
    MethodInfo { name, read_only, routes: &[], request: "Ask", response: "Told" }
}

static SCHEMA: Schema = Schema {
    name: "cells",
    service: "cells.v1.Cells",
    methods: &[
        method("Set", false),
        method("Get", true),
        method("Big", false),
        method("Many", false),
        method("Boom", false),
        method("Draw", false),
        method("Look", true),
    ],
    events: &[
        EventInfo { id: EventId(1), name: "Written" },
        EventInfo { id: EventId(300), name: "Noted" },
        EventInfo { id: EventId(301), name: "Exploded" },
    ],
    refusals: &[],
    tables: &[],
    descriptors: &[],
};
