//! The seam between a service and its platform: bytes in, bytes out, and a description of the schema.
//!
//! Implemented by generated code. Nothing behind the seam is typed, so that pushed code can stand there one day.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use crate::version::FIRST_VERSION;
use crate::{Code, EventId, MethodId, Outcome, Reader, Rows, Spec, Tx};

/// A service, as the platform sees it.
pub trait Service: Send + Sync + 'static {
    /// Its schema.
    fn schema(&self) -> &'static Schema;

    /// The versions of its events' apply that this build runs: from the oldest that a state may still be in to the newest,
    /// which is put in force when every replica runs a build that has it. Features and `apply` ask
    /// [`Read::version`](crate::Read::version) which one is.
    fn versions(&self) -> RangeInclusive<u32> {
        FIRST_VERSION..=FIRST_VERSION
    }

    /// Runs the feature of `method` on an encoded request and gives the encoded response.
    ///
    /// # Errors
    /// The refusal.
    fn execute(&self, method: MethodId, tx: &mut Tx<'_>, request: &[u8]) -> Outcome<Vec<u8>>;

    /// Runs the query of the read-only `method`.
    ///
    /// # Errors
    /// The refusal.
    fn query(&self, method: MethodId, reader: &Reader<'_>, request: &[u8]) -> Outcome<Vec<u8>>;

    /// Applies an encoded event from the log.
    ///
    /// # Errors
    /// A sentence that says why this build cannot apply it (unknown number, undecodable bytes).
    fn apply(&self, event: EventId, bytes: &[u8], rows: &mut Rows<'_>) -> Result<(), String>;

    /// The canonical encoding of a request given as JSON, with the variables of its path or query string set.
    ///
    /// # Errors
    /// What is wrong and where.
    fn request_from_json(&self, method: MethodId, body: &[u8], variables: &[(&str, &str)]) -> Result<Vec<u8>, BadRequest>;

    /// The canonical encoding of a request given as protobuf, so that equal requests have equal bytes.
    ///
    /// # Errors
    /// What is wrong.
    fn request_from_binary(&self, method: MethodId, body: &[u8]) -> Result<Vec<u8>, BadRequest>;

    /// The form of a canonical request that may be stored: without the fields that the schema marks as secret.
    fn loggable_request<'r>(&self, method: MethodId, request: &'r [u8]) -> Cow<'r, [u8]>;

    /// The form of an encoded response that may be stored, and is given again to a repeated request: without the fields
    /// that the schema marks as secret.
    fn loggable_response<'r>(&self, method: MethodId, response: &'r [u8]) -> Cow<'r, [u8]>;

    /// An encoded response as canonical proto3 JSON.
    ///
    /// # Errors
    /// A sentence, if the bytes are not a response of `method`.
    fn response_to_json(&self, method: MethodId, response: &[u8]) -> Result<Vec<u8>, String>;

    /// The specs of all its methods, in the order of the methods.
    fn specs(&self) -> Vec<Spec>;

    /// An encoded refusal message as canonical proto3 JSON; `None` if the schema has no refusal of that name.
    fn refusal_to_json(&self, kind: &str, detail: &[u8]) -> Option<Vec<u8>>;
}

/// A request that cannot be read. Always INVALID_ARGUMENT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BadRequest {
    /// What is wrong, and what would be right.
    pub problem: String,
    /// The path of the field, for example `locations[1].name`; empty if no field is to blame.
    pub field: String,
    /// Line and column in a JSON body, both from 1.
    pub at: Option<(usize, usize)>,
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.at {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "field {}: ", self.field)?;
        }
        f.write_str(&self.problem)
    }
}

/// What a build knows of its service's schema.
#[derive(Debug)]
pub struct Schema {
    /// The service's short name in lower case, for example `inventory`.
    pub name: &'static str,
    /// Full name of the gRPC service, for example `inventory.v1.Inventory`.
    pub service: &'static str,
    /// Methods; [`MethodId`] is the position.
    pub methods: &'static [MethodInfo],
    /// Events, ascending by id.
    pub events: &'static [EventInfo],
    /// Refusals, in the order of the file.
    pub refusals: &'static [RefusalInfo],
    /// Tables, ascending by id.
    pub tables: &'static [TableInfo],
    /// The encoded `FileDescriptorSet` with imports and custom options.
    pub descriptors: &'static [u8],
}

impl Schema {
    /// The method with this name.
    pub fn method(&self, name: &str) -> Option<MethodId> {
        let position = self.methods.iter().position(|method| method.name == name)?;
        u16::try_from(position).ok().map(MethodId)
    }

    /// What is known of a method of this schema.
    ///
    /// # Panics
    /// If `id` is not of this schema.
    pub fn info(&self, id: MethodId) -> &'static MethodInfo {
        &self.methods[usize::from(id.0)]
    }
}

/// A method of the schema.
#[derive(Debug)]
pub struct MethodInfo {
    /// Its name, for example `UpdateStock`.
    pub name: &'static str,
    /// Whether it only reads.
    pub read_only: bool,
    /// Its HTTP routes.
    pub routes: &'static [Route],
    /// Full name of its request message.
    pub request: &'static str,
    /// Full name of its response message.
    pub response: &'static str,
}

/// An HTTP method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

/// One HTTP route of a method.
#[derive(Debug)]
pub struct Route {
    /// The HTTP method.
    pub verb: Verb,
    /// The path, for example `/v1/locations/{location}:move`.
    pub path: &'static str,
    /// Whether the request's fields come as a JSON body; otherwise as query parameters.
    pub body: bool,
}

/// An event of the schema.
#[derive(Debug)]
pub struct EventInfo {
    /// Its number in the log.
    pub id: EventId,
    /// Its name.
    pub name: &'static str,
}

/// A refusal of the schema.
#[derive(Debug)]
pub struct RefusalInfo {
    /// Its full name.
    pub name: &'static str,
    /// Its code.
    pub code: Code,
    /// Its sentence, with `{field}` where a field goes.
    pub message: &'static str,
}

/// A table of the schema.
#[derive(Debug)]
pub struct TableInfo {
    /// Its number in keys.
    pub id: u32,
    /// The accessor's name, for example `locations`.
    pub name: &'static str,
    /// Full name of the row message.
    pub row: &'static str,
    /// The fields of the primary key.
    pub key: &'static [FieldInfo],
    /// Its indexes; the n-th stands under index number n + 1 in keys.
    pub indexes: &'static [IndexInfo],
}

/// An index of a table.
#[derive(Debug)]
pub struct IndexInfo {
    /// The accessor's name, for example `by_parent`.
    pub name: &'static str,
    /// The indexed fields.
    pub fields: &'static [FieldInfo],
    /// Whether no two rows may share the fields.
    pub unique: bool,
}

/// A field of a key or an index.
#[derive(Debug)]
pub struct FieldInfo {
    /// Its name in the schema.
    pub name: &'static str,
}
