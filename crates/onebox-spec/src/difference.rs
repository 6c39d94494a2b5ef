//! How a request ended otherwise than expected, path by path, for a person who must act on it.

use std::fmt;

use onebox_service::spec::{Spec, Then};
use onebox_service::{Fact, Refusal};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};

use crate::catalogue::{Catalogue, decode};
use crate::{stage, text};

/// Pairs of events that are compared to align two lists; longer ones are paired by their positions.
const ALIGNED_PAIRS_MAX: usize = 250_000;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where: `response`, `events[1].on_hand`, `refused.available`.
    pub path: String,
    /// What should be there; `None` if nothing should.
    pub expected: Option<String>,
    /// What is there; `None` if nothing is.
    pub got: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path)?;
        match (&self.expected, &self.got) {
            (Some(expected), Some(got)) => write!(f, "expected {expected}, got {got}"),
            (Some(expected), None) => write!(f, "missing {expected}"),
            (None, Some(got)) => write!(f, "not expected {got}"),
            (None, None) => f.write_str("differs"),
        }
    }
}

/// What differs; nothing if it ended as expected.
#[must_use]
pub fn between(catalogue: &Catalogue, spec: &Spec, expected: &Then, got: &Then) -> Vec<Difference> {
    if expected == got {
        return Vec::new();
    }
    let mut found = Found { catalogue, differences: Vec::new() };
    match (expected, got) {
        (Then::Returns { response, events }, Then::Returns { response: got_response, events: got_events }) => {
            found.encodings("response", &catalogue.response(spec.method), response, got_response);
            found.event_lists(events, got_events);
        }
        (Then::Refused(expected), Then::Refused(got)) => found.refusals(expected, got),
        (Then::Returns { .. }, Then::Refused(got)) => {
            found.note("request", Some("to be carried out".to_owned()), Some(format!("refused: {}", refusal_words(catalogue, got))));
        }
        (Then::Refused(expected), Then::Returns { response, .. }) => {
            let response = decode(catalogue.response(spec.method), response);
            let answer = response.map_or_else(|error| error, |response| text::on_one_line(catalogue, &response));
            let expected = format!("refused: {}", refusal_words(catalogue, expected));
            found.note("request", Some(expected), Some(format!("carried out: {answer}")));
        }
    }
    found.differences
}

struct Found<'c> {
    catalogue: &'c Catalogue,
    differences: Vec<Difference>,
}

impl Found<'_> {
    fn note(&mut self, path: &str, expected: Option<String>, got: Option<String>) {
        self.differences.push(Difference { path: path.to_owned(), expected, got });
    }

    fn refusals(&mut self, expected: &Refusal, got: &Refusal) {
        if stage::same_refusal(got, expected) {
            return;
        }
        if (expected.code, expected.kind) != (got.code, got.kind) {
            let words = |refusal| Some(refusal_words(self.catalogue, refusal));
            let (expected, got) = (words(expected), words(got));
            return self.note("refused", expected, got);
        }
        if expected.kind.is_empty() {
            return self.note("refused.message", Some(format!("{:?}", expected.message)), Some(format!("{:?}", got.message)));
        }
        self.encodings("refused", &self.catalogue.known(expected.kind), &expected.detail, &got.detail);
    }

    fn encodings(&mut self, path: &str, descriptor: &MessageDescriptor, expected: &[u8], got: &[u8]) {
        if expected == got {
            return;
        }
        match (decode(descriptor.clone(), expected), decode(descriptor.clone(), got)) {
            (Ok(expected), Ok(got)) => self.messages(path, &expected, &got),
            (expected, got) => self.note(path, expected.err().or(Some("a message".to_owned())), got.err().or(Some("a message".to_owned()))),
        }
    }

    fn messages(&mut self, path: &str, expected: &DynamicMessage, got: &DynamicMessage) {
        for field in expected.descriptor().fields() {
            let path = format!("{path}.{}", field.name());
            if field.supports_presence() && expected.has_field(&field) != got.has_field(&field) {
                let shown = |message: &DynamicMessage| message.has_field(&field).then(|| shown(&message.get_field(&field), &field));
                self.note(&path, shown(expected), shown(got));
                continue;
            }
            self.values(&path, &field, &expected.get_field(&field), &got.get_field(&field));
        }
    }

    fn values(&mut self, path: &str, field: &FieldDescriptor, expected: &Value, got: &Value) {
        if same(expected, got) {
            return;
        }
        match (expected, got) {
            (Value::Message(expected), Value::Message(got)) => self.messages(path, expected, got),
            (Value::List(expected), Value::List(got)) => {
                for position in 0..expected.len().max(got.len()) {
                    let path = format!("{path}[{position}]");
                    self.slots(&path, field, expected.get(position), got.get(position));
                }
            }
            (Value::Map(expected), Value::Map(got)) => {
                let mut keys: Vec<&MapKey> = expected.keys().chain(got.keys()).collect();
                keys.sort();
                keys.dedup();
                let value_field = match field.kind() {
                    Kind::Message(entry) => entry.map_entry_value_field(),
                    _ => field.clone(),
                };
                for key in keys {
                    let path = format!("{path}[{}]", text::map_key(key));
                    self.slots(&path, &value_field, expected.get(key), got.get(key));
                }
            }
            (expected, got) => self.note(path, Some(shown(expected, field)), Some(shown(got, field))),
        }
    }

    fn slots(&mut self, path: &str, field: &FieldDescriptor, expected: Option<&Value>, got: Option<&Value>) {
        match (expected, got) {
            (Some(expected), Some(got)) => self.values(path, field, expected, got),
            (expected, got) => self.note(path, expected.map(|value| shown(value, field)), got.map(|value| shown(value, field))),
        }
    }

    fn event_lists(&mut self, expected: &[Fact], got: &[Fact]) {
        for pair in aligned(expected, got) {
            match pair {
                Pair::Both(left, right) if expected[left].event == got[right].event => {
                    if let Some(descriptor) = self.catalogue.event(expected[left].event) {
                        self.encodings(&format!("events[{left}]"), &descriptor, &expected[left].bytes, &got[right].bytes);
                    }
                }
                Pair::Both(left, right) => {
                    let shown = |fact| Some(text::fact(self.catalogue, fact));
                    let (expected, got) = (shown(&expected[left]), shown(&got[right]));
                    self.note(&format!("events[{left}]"), expected, got);
                }
                Pair::Missing(left) => {
                    let shown = text::fact(self.catalogue, &expected[left]);
                    self.note(&format!("events[{left}]"), Some(shown), None);
                }
                Pair::Extra(right) => {
                    let shown = text::fact(self.catalogue, &got[right]);
                    self.note(&format!("events[{right}]"), None, Some(shown));
                }
            }
        }
    }
}

/// Equal, but that NaN equals itself: a spec may expect one.
fn same(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::F32(expected), Value::F32(got)) => expected.to_bits() == got.to_bits(),
        (Value::F64(expected), Value::F64(got)) => expected.to_bits() == got.to_bits(),
        (expected, got) => expected == got,
    }
}

fn shown(value: &Value, field: &FieldDescriptor) -> String {
    text::value(value, &field.kind())
}

/// A refusal with its code, and what it says.
fn refusal_words(catalogue: &Catalogue, refusal: &Refusal) -> String {
    let message = text::refusal(catalogue, refusal);
    if refusal.kind.is_empty() { message } else { format!("{} {message}", refusal.code.name()) }
}

/// How two lists of events stand beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pair {
    Both(usize, usize),
    Missing(usize),
    Extra(usize),
}

/// Pairs events of two lists so that as few as possible are missing, extra or changed (an edit distance in which a changed
/// event of one kind costs 1, and one that is missing or extra 1).
fn aligned(expected: &[Fact], got: &[Fact]) -> Vec<Pair> {
    if expected.len() * got.len() > ALIGNED_PAIRS_MAX {
        let both = expected.len().min(got.len());
        let pairs = (0..both).map(|at| Pair::Both(at, at));
        return pairs.chain((both..expected.len()).map(Pair::Missing)).chain((both..got.len()).map(Pair::Extra)).collect();
    }
    let cost = |left: &Fact, right: &Fact| match () {
        () if left == right => 0,
        () if left.event == right.event => 1,
        () => 3,
    };
    // costs[i][j]: of aligning what follows position i with what follows position j.
    let mut costs = vec![vec![0_usize; got.len() + 1]; expected.len() + 1];
    for i in (0..=expected.len()).rev() {
        for j in (0..=got.len()).rev() {
            let both = (i < expected.len() && j < got.len()).then(|| costs[i + 1][j + 1] + cost(&expected[i], &got[j]));
            let missing = (i < expected.len()).then(|| costs[i + 1][j] + 1);
            let extra = (j < got.len()).then(|| costs[i][j + 1] + 1);
            costs[i][j] = [both, missing, extra].into_iter().flatten().min().unwrap_or(0);
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < expected.len() || j < got.len() {
        if i < expected.len() && j < got.len() && costs[i][j] == costs[i + 1][j + 1] + cost(&expected[i], &got[j]) {
            pairs.push(Pair::Both(i, j));
            (i, j) = (i + 1, j + 1);
        } else if i < expected.len() && costs[i][j] == costs[i + 1][j] + 1 {
            pairs.push(Pair::Missing(i));
            i += 1;
        } else {
            pairs.push(Pair::Extra(j));
            j += 1;
        }
    }
    pairs
}
