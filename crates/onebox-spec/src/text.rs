//! The canonical text of specs: protobuf text format under words in capitals, one spec after the other.
//!
//! ```text
//! SPEC refuse to take out more than is on hand
//! ABOUT
//!   Why it is so, in any number of lines.
//! TENANT acme
//! AT 2020-01-01T00:00:00Z
//! NEXT_ID 7
//! GIVEN
//!   LocationAdded { location: 1 name: "Shelf" }
//!   ProductAdded { product: 2 sku: "GPU" }
//! WHEN
//!   UpdateStockRequest { location: 1 product: 2 change: -1 }
//! REFUSED
//!   NotEnoughOnHand { location: 1 product: 2 wanted: 1 }
//! ---
//! SPEC ...
//! WHEN
//!   UpdateStockRequest { location: 1 product: 2 change: 5 }
//! THEN
//!   UpdateStockResponse { on_hand: 5 }
//! EVENTS
//!   StockUpdated { location: 1 product: 2 change: 5 on_hand: 5 }
//! ```
//!
//! Printing is canonical: equal specs have equal texts. What is left out is what does not differ from the ordinary:
//! fields with their default, the tenant `default`, the ordinary time, empty parts. Lines that begin with `#` are comments.
//! A refusal of the platform is its code, and its sentence as a JSON string unless any will do.

mod message;
mod parse;

use std::fmt::Write;

use onebox_service::spec::{Given, SPEC_TIME, Spec, Then};
use onebox_service::{EventId, Fact, Refusal, Time};
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage};

pub use message::{line, message};
pub(crate) use message::{map_key, value};
pub use parse::{TextError, parse};

use crate::catalogue::{Catalogue, decode};

/// What stands between two specs.
pub const SEPARATOR: &str = "---\n";

/// All specs, one after the other.
#[must_use]
pub fn print_all<'s>(catalogue: &Catalogue, specs: impl IntoIterator<Item = &'s Spec>) -> String {
    specs.into_iter().map(|spec| print(catalogue, spec)).collect::<Vec<_>>().join(SEPARATOR)
}

/// One spec.
#[must_use]
pub fn print(catalogue: &Catalogue, spec: &Spec) -> String {
    let mut out = format!("SPEC {}\n", spec.name);
    if !spec.about.is_empty() {
        out.push_str("ABOUT\n");
        for line in spec.about.trim_end().lines() {
            let _ = writeln!(out, "{}", format!("  {line}").trim_end());
        }
    }
    if spec.tenant != "default" {
        let _ = writeln!(out, "TENANT {}", spec.tenant);
    }
    if spec.at != SPEC_TIME {
        let _ = writeln!(out, "AT {}", timestamp(spec.at));
    }
    if let Some(id) = spec.next_id {
        let _ = writeln!(out, "NEXT_ID {id}");
    }
    out.push_str(&steps(catalogue, spec));
    out
}

/// The steps of a spec alone: given, when, and how it ends.
#[must_use]
pub fn steps(catalogue: &Catalogue, spec: &Spec) -> String {
    let mut out = String::new();
    part(&mut out, "GIVEN", spec.given.iter().map(|given| self::given(catalogue, given)));
    part(&mut out, "WHEN", [encoded(catalogue, catalogue.request(spec.method), &spec.request)]);
    match &spec.then {
        Then::Returns { response, events } => {
            part(&mut out, "THEN", [encoded(catalogue, catalogue.response(spec.method), response)]);
            part(&mut out, "EVENTS", events.iter().map(|event| fact(catalogue, event)));
        }
        Then::Refused(refusal) => part(&mut out, "REFUSED", [self::refusal(catalogue, refusal)]),
    }
    out
}

fn part(out: &mut String, word: &str, messages: impl IntoIterator<Item = String>) {
    for (position, message) in messages.into_iter().enumerate() {
        if position == 0 {
            let _ = writeln!(out, "{word}");
        }
        for line in message.lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
}

/// A given thing.
#[must_use]
pub fn given(catalogue: &Catalogue, given: &Given) -> String {
    match given {
        Given::Event(event) => fact(catalogue, event),
        Given::Request(method, bytes) => encoded(catalogue, catalogue.request(*method), bytes),
    }
}

/// An event.
#[must_use]
pub fn fact(catalogue: &Catalogue, fact: &Fact) -> String {
    match catalogue.event(fact.event) {
        Some(descriptor) => encoded(catalogue, descriptor, &fact.bytes),
        None => unknown_event(fact.event),
    }
}

fn unknown_event(EventId(number): EventId) -> String {
    format!("# an event number {number}, which this schema does not have")
}

/// A refusal: its message, or code and sentence of one of the platform.
#[must_use]
pub fn refusal(catalogue: &Catalogue, refusal: &Refusal) -> String {
    if refusal.kind.is_empty() {
        let sentence = if refusal.message.is_empty() { String::new() } else { format!(" {}", serde_json::Value::from(&*refusal.message)) };
        return format!("{}{sentence}", refusal.code.name());
    }
    encoded(catalogue, catalogue.known(refusal.kind), &refusal.detail)
}

fn encoded(catalogue: &Catalogue, descriptor: MessageDescriptor, bytes: &[u8]) -> String {
    let name = catalogue.short(&descriptor).to_owned();
    match decode(descriptor, bytes) {
        Ok(decoded) => message(&name, &decoded),
        Err(error) => format!("# {name}: {error}"),
    }
}

/// A message as it stands in the text, on one line however long.
#[must_use]
pub fn on_one_line(catalogue: &Catalogue, message: &DynamicMessage) -> String {
    let descriptor = message.descriptor();
    line(catalogue.short(&descriptor), message)
}

/// A time as RFC 3339 has it.
#[must_use]
pub fn timestamp(time: Time) -> String {
    protobuf_time(time).to_string()
}

/// A time as a well-known type.
#[must_use]
pub fn protobuf_time(Time(micros): Time) -> prost_types::Timestamp {
    let seconds = i64::try_from(micros / 1_000_000).expect("microseconds of 64 bits are seconds of 45");
    prost_types::Timestamp { seconds, nanos: i32::try_from(micros % 1_000_000).expect("below a million") * 1000 }
}

/// A time from its well-known type; `None` before 1970 or past the end of log time.
#[must_use]
pub fn log_time(timestamp: prost_types::Timestamp) -> Option<Time> {
    let micros = u64::try_from(timestamp.seconds).ok()?.checked_mul(1_000_000)?;
    micros.checked_add(u64::try_from(timestamp.nanos).ok()? / 1000).map(Time)
}
