//! What generated code stands on. Not for authors: it changes with `onebox-schema`, whose other half it is.
//!
//! Whatever generated code would otherwise repeat is written here once, over the traits that it implements.

use std::borrow::Cow;
use std::fmt::{Display, Write};

pub use onebox_service::{
    Apply, BadRequest, Code, Event, EventId, EventInfo, Feature, FieldInfo, IndexInfo, Method, MethodId, MethodInfo, Outcome, Query, Read,
    Reader, Refusal, RefusalInfo, RefusalMessage, Request, Route, Row, Rows, Scan, Schema, Service, Spec, Table, TableInfo, Tx, Verb,
};
use prost::Message;
pub use {onebox_service, pbjson, prost, serde, serde_json};

pub use crate::json::{
    VariableError, Variables, refusal_to_json, request_from_binary, request_from_json, response_to_json, set_enumeration, set_scalar,
};

/// Appends a key's value or tuple.
pub fn pack<K: onebox_service::Key>(key: &K, out: &mut Vec<u8>) {
    onebox_service::keyspace::pack_onto(key, out);
}

/// A key's value or tuple, packed, with room for what may be appended to an index entry.
pub fn packed<K: onebox_service::Key>(key: &K) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    pack(key, &mut out);
    out
}

/// Appends a field's value to a refusal's sentence.
pub fn fill(sentence: &mut String, value: &impl Display) {
    // Writing into a string cannot fail.
    let _ = write!(sentence, "{value}");
}

/// Runs the feature `F` on an encoded request.
///
/// # Errors
/// Its refusal, or INVALID_ARGUMENT if the bytes are not a request of it.
pub fn run_feature<F: Feature>(tx: &mut Tx<'_>, request: &[u8]) -> Outcome<Vec<u8>> {
    let ask = decode_request::<F>(request)?;
    Ok(F::run(tx, ask)?.encode_to_vec())
}

/// Runs the query `Q` on an encoded request.
///
/// # Errors
/// Its refusal, or INVALID_ARGUMENT if the bytes are not a request of it.
pub fn run_query<Q: Query>(reader: &Reader<'_>, request: &[u8]) -> Outcome<Vec<u8>> {
    let ask = decode_request::<Q>(request)?;
    Ok(Q::run(reader, ask)?.encode_to_vec())
}

fn decode_request<M: Method>(request: &[u8]) -> Outcome<M::Request> {
    M::Request::decode(request)
        .map_err(|error| Refusal::platform(Code::InvalidArgument, format!("the bytes are not a request of {}: {error}", M::NAME)))
}

/// Applies the encoded event `E`.
///
/// # Errors
/// A sentence, if the bytes are not an event of that kind.
pub fn apply_event<E: Apply>(bytes: &[u8], rows: &mut Rows<'_>) -> Result<(), String> {
    let event = E::decode(bytes).map_err(|error| format!("its bytes do not decode: {error}"))?;
    rows.apply(event);
    Ok(())
}

/// The answer of `apply` to an event that the schema does not have.
///
/// # Errors
/// Always.
pub fn no_such_event(event: EventId) -> Result<(), String> {
    Err(format!("this build's schema has no event number {}; a newer build recorded it", event.0))
}

/// A read-only method was executed.
///
/// # Panics
/// Always: the platform asks the schema first.
pub fn only_reads(method: &str) -> ! {
    panic!("{method} is read-only: it is queried, not executed")
}

/// A method that may record events was queried.
///
/// # Panics
/// Always: the platform asks the schema first.
pub fn not_read_only(method: &str) -> ! {
    panic!("{method} is not read-only: it is executed, not queried")
}

/// A method's number that the schema does not have.
///
/// # Panics
/// Always: numbers come from this build's schema.
pub fn no_such_method(method: MethodId, schema: &Schema) -> ! {
    panic!("{} has {} methods; there is none with number {}", schema.service, schema.methods.len(), method.0)
}

/// A message that holds secret fields, at some depth.
pub trait Secrets {
    /// Sets every secret field to its default.
    fn clear_secrets(&mut self);
}

/// An encoded message without its secrets. Bytes that are not such a message may be anything, so nothing of them is given.
pub fn without_secrets<T: Message + Default + Secrets>(bytes: &[u8]) -> Cow<'static, [u8]> {
    let Ok(mut message) = T::decode(bytes) else { return Cow::Owned(Vec::new()) };
    message.clear_secrets();
    Cow::Owned(message.encode_to_vec())
}
