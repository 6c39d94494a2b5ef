//! A toy: registers that are written, read, and written on a condition. Its whole behaviour is known, so that every answer can be
//! judged.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use onebox_service::keyspace::pack_onto;
use onebox_service::planted::planted;
use onebox_service::{
    Apply, BadRequest, Code, Event, EventId, EventInfo, MethodId, MethodInfo, Outcome, Read, Reader, Refusal, Row, Rows, Schema, Service,
    Spec, Table, Tx, refuse,
};
use prost::Message;

use crate::chance::Chance;
use crate::linearizability::{self, Model, Verdict};
use crate::workload::{Ask, Ended, Operation, Workload};

const WRITE: MethodId = MethodId(0);
const WRITE_IF: MethodId = MethodId(1);
const READ: MethodId = MethodId(2);
/// Registers that requests are about.
const REGISTERS: u64 = 6;
/// Of the condition on what is written.
const DIVISOR: u64 = 3;
/// Steps that the search for an order may take, for one register.
const STEPS_MAX: u64 = 20_000_000;

/// The request of every method.
#[derive(Clone, PartialEq, Message)]
struct Register {
    #[prost(uint64, tag = "1")]
    key: u64,
    #[prost(uint64, tag = "2")]
    value: u64,
    /// Write if: the remainder that the value there must have. What is refused now could be done later, and the other way.
    #[prost(uint64, tag = "3")]
    remainder: u64,
}

/// The response of every method: the value that was there, 0 for none.
#[derive(Clone, Copy, PartialEq, Message)]
struct Value {
    #[prost(uint64, tag = "1")]
    value: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Cell {
    #[prost(uint64, tag = "1")]
    key: u64,
    #[prost(uint64, tag = "2")]
    value: u64,
    /// Since version 2: how often it was written.
    #[prost(uint64, tag = "3")]
    writes: u64,
}

impl Row for Cell {
    const TABLE: u32 = 1;
    const NAME: &'static str = "cells";
    const INDEXED: bool = false;
    fn pack_key(&self, out: &mut Vec<u8>) {
        pack_onto(&self.key, out);
    }
    fn pack_indexes(&self, _: &mut dyn FnMut(u32, bool, Vec<u8>)) {}
}

/// A register was written.
#[derive(Clone, Copy, PartialEq, Message)]
struct Written {
    #[prost(uint64, tag = "1")]
    key: u64,
    #[prost(uint64, tag = "2")]
    value: u64,
}

impl Event for Written {
    const ID: EventId = EventId(1);
    const NAME: &'static str = "Written";
    fn new_ids(&self, _: &mut dyn FnMut(u64)) {}
}

impl Apply for Written {
    fn apply(self, rows: &mut Rows<'_>) {
        let writes = match rows.version() {
            1 => 0,
            _ => Table::<Cell>::new(rows).get(&self.key).map_or(0, |cell| cell.writes) + 1,
        };
        rows.put(&Cell { key: self.key, value: self.value, writes });
    }
}

/// A register was written, and had this value before. Recorded since version 2.
#[derive(Clone, Copy, PartialEq, Message)]
struct Replaced {
    #[prost(uint64, tag = "1")]
    key: u64,
    #[prost(uint64, tag = "2")]
    value: u64,
    #[prost(uint64, tag = "3")]
    before: u64,
}

impl Event for Replaced {
    const ID: EventId = EventId(2);
    const NAME: &'static str = "Replaced";
    fn new_ids(&self, _: &mut dyn FnMut(u64)) {}
}

impl Apply for Replaced {
    fn apply(self, rows: &mut Rows<'_>) {
        Written { key: self.key, value: self.value }.apply(rows);
    }
}

const fn method(name: &'static str, read_only: bool) -> MethodInfo {
    MethodInfo { name, read_only, routes: &[], request: "Register", response: "Value" }
}

static SCHEMA: Schema = Schema {
    name: "register",
    service: "register.v1.Register",
    methods: &[method("Write", false), method("WriteIf", false), method("Read", true)],
    events: &[EventInfo { id: EventId(1), name: "Written" }, EventInfo { id: EventId(2), name: "Replaced" }],
    refusals: &[],
    tables: &[],
    descriptors: &[],
};

struct Registers {
    newest_version: u32,
    /// Only a planted bug looks at it.
    looks: AtomicU64,
}

impl Registers {
    fn up_to(newest_version: u32) -> Arc<dyn Service> {
        Arc::new(Registers { newest_version, looks: AtomicU64::new(0) })
    }
}

impl Service for Registers {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn versions(&self) -> RangeInclusive<u32> {
        1..=self.newest_version
    }

    fn execute(&self, method: MethodId, tx: &mut Tx<'_>, request: &[u8]) -> Outcome<Vec<u8>> {
        let ask = Register::decode(request).expect("the workload's requests decode");
        let value = Table::<Cell>::new(tx).get(&ask.key).map_or(0, |cell| cell.value);
        if method == WRITE_IF && value % DIVISOR != ask.remainder {
            return refuse(Refusal { kind: "Differs", ..Refusal::platform(Code::FailedPrecondition, format!("{value}")) });
        }
        if tx.version() >= 2 && value != 0 {
            tx.record(Replaced { key: ask.key, value: ask.value, before: value });
        } else {
            tx.record(Written { key: ask.key, value: ask.value });
        }
        Ok(Value { value }.encode_to_vec())
    }

    fn query(&self, _: MethodId, reader: &Reader<'_>, request: &[u8]) -> Outcome<Vec<u8>> {
        let ask = Register::decode(request).expect("the workload's requests decode");
        let value = Table::<Cell>::new(reader).get(&ask.key).map_or(0, |cell| cell.value);
        Ok(Value { value }.encode_to_vec())
    }

    fn apply(&self, event: EventId, bytes: &[u8], rows: &mut Rows<'_>) -> Result<(), String> {
        if event == Replaced::ID && self.newest_version >= 2 {
            rows.apply(Replaced::decode(bytes).map_err(|error| error.to_string())?);
            return Ok(());
        }
        if event != Written::ID {
            return Err(format!("unknown event {}", event.0));
        }
        let mut written = Written::decode(bytes).map_err(|error| error.to_string())?;
        if planted("apply looks outside") {
            // As a clock would: another answer each time it is asked.
            written.value += 1_000_000 * self.looks.fetch_add(1, Ordering::Relaxed);
        }
        rows.apply(written);
        Ok(())
    }

    fn request_from_json(&self, _: MethodId, _: &[u8], _: &[(&str, &str)]) -> Result<Vec<u8>, BadRequest> {
        unreachable!("the toy is not served")
    }
    fn request_from_binary(&self, _: MethodId, _: &[u8]) -> Result<Vec<u8>, BadRequest> {
        unreachable!("the toy is not served")
    }
    fn loggable_request<'r>(&self, _: MethodId, request: &'r [u8]) -> Cow<'r, [u8]> {
        Cow::Borrowed(request)
    }
    fn loggable_response<'r>(&self, _: MethodId, response: &'r [u8]) -> Cow<'r, [u8]> {
        Cow::Borrowed(response)
    }
    fn response_to_json(&self, _: MethodId, _: &[u8]) -> Result<Vec<u8>, String> {
        unreachable!("the toy is not served")
    }
    fn specs(&self) -> Vec<Spec> {
        Vec::new()
    }
    fn refusal_to_json(&self, _: &str, _: &[u8]) -> Option<Vec<u8>> {
        unreachable!("the toy is not served")
    }
}

/// Requests to registers. Every value is written once, so that a read tells which write it saw.
#[derive(Debug, Default)]
pub struct RegisterWorkload {
    values: u64,
}

impl Workload for RegisterWorkload {
    fn service(&self) -> Arc<dyn Service> {
        Registers::up_to(2)
    }

    fn before(&self) -> Option<Arc<dyn Service>> {
        Some(Registers::up_to(1))
    }

    fn next(&mut self, _client: usize, chance: &mut Chance) -> Ask {
        self.values += 1;
        let (key, value) = (chance.below(REGISTERS), self.values);
        let (method, register) = match chance.below(10) {
            0..3 => (READ, Register { key, value: 0, remainder: 0 }),
            3..6 => (WRITE_IF, Register { key, value, remainder: chance.below(DIVISOR) }),
            _ => (WRITE, Register { key, value, remainder: 0 }),
        };
        Ask { method, body: register.encode_to_vec(), reads: method == READ, records: method != READ }
    }

    fn explains(&self, operations: &[Operation]) -> Result<u64, String> {
        let mut undecided = 0;
        for key in 0..REGISTERS {
            let of_key: Vec<_> = operations.iter().filter_map(|operation| history_of(operation, key)).collect();
            match linearizability::check(&OneRegister, 0, &of_key, STEPS_MAX) {
                Verdict::Linearizable => {}
                Verdict::NotLinearizable { linearized, stuck } => {
                    let shown: Vec<String> = stuck.iter().map(|place| format!("{:?}", of_key[*place])).collect();
                    let words = format!(
                        "register {key}: after {} operations in order, none of these can come next: {}",
                        linearized.len(),
                        shown.join("; ")
                    );
                    return Err(words);
                }
                Verdict::TooHard { .. } => undecided += 1,
            }
        }
        Ok(undecided)
    }
}

fn value_of(response: &[u8]) -> u64 {
    Value::decode(response).expect("a response decodes").value
}

#[derive(Debug)]
enum Told {
    /// The value that was there.
    Value(u64),
    /// It has another remainder.
    Differs(u64),
}

fn history_of(operation: &Operation, key: u64) -> Option<linearizability::Operation<(MethodId, Register), Told>> {
    let register = Register::decode(&operation.ask.body[..]).expect("the workload's requests decode");
    if register.key != key {
        return None;
    }
    let answered = match &operation.ended {
        Some((at, Ended::Done(response))) => Some((*at, Told::Value(value_of(response)))),
        Some((at, Ended::Refused(refusal))) if refusal.code == Code::FailedPrecondition => {
            Some((*at, Told::Differs(refusal.message.parse().expect("the toy says the value"))))
        }
        // It was turned away before it was looked at.
        Some((_, Ended::Refused(_))) => return None,
        // A read without an answer explains nothing.
        Some((_, Ended::Unknown)) | None if operation.ask.method == READ => return None,
        Some((_, Ended::Unknown)) | None => None,
    };
    Some(linearizability::Operation { op: (operation.ask.method, register), invoked: operation.invoked, answered })
}

struct OneRegister;

impl Model for OneRegister {
    type Op = (MethodId, Register);
    type Answer = Told;
    type State = u64;

    fn step(&self, state: &u64, (method, register): &(MethodId, Register), answer: Option<&Told>) -> Option<u64> {
        let fits = |value: u64| match answer {
            None => true,
            Some(Told::Value(told)) => *told == value,
            Some(Told::Differs(_)) => false,
        };
        match *method {
            READ => fits(*state).then_some(*state),
            WRITE_IF if *state % DIVISOR != register.remainder => match answer {
                None => Some(*state),
                Some(Told::Differs(told)) => (told == state).then_some(*state),
                Some(Told::Value(_)) => None,
            },
            _ => fits(*state).then_some(register.value),
        }
    }

    fn observes(&self, (method, _): &(MethodId, Register), answer: &Told) -> bool {
        *method == READ || matches!(answer, Told::Differs(_))
    }
}
