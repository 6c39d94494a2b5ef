//! The schema, read from its descriptors and checked. What stands in a [`Model`] can be generated without further doubt.

use prost_reflect::{FileDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor, Syntax};

use crate::SchemaError;
use crate::place::Place;
use crate::source::Sources;

mod events;
mod messages;
pub(crate) mod names;
mod refusals;
mod routes;
mod secrets;
mod tables;

pub(crate) use messages::{is_optional, is_scalar, is_singular};
pub(crate) use refusals::CODE_NAMES;
pub(crate) use secrets::reaches_secret;

/// A checked schema.
pub(crate) struct Model {
    pub(crate) package: String,
    pub(crate) service: ServiceDescriptor,
    /// The versions of apply that a build of it runs: the oldest and the newest.
    pub(crate) versions: (u32, u32),
    /// The package's messages, nested ones too, without the entries of maps.
    pub(crate) messages: Vec<MessageDescriptor>,
    pub(crate) methods: Vec<Method>,
    /// Ascending by id.
    pub(crate) events: Vec<Event>,
    /// In the order of the files.
    pub(crate) refusals: Vec<Refusal>,
    /// Ascending by id.
    pub(crate) tables: Vec<Table>,
}

/// A method.
pub(crate) struct Method {
    pub(crate) descriptor: MethodDescriptor,
    pub(crate) read_only: bool,
    pub(crate) routes: Vec<Route>,
}

/// An HTTP route of a method.
pub(crate) struct Route {
    pub(crate) verb: Verb,
    pub(crate) path: String,
    pub(crate) body: bool,
}

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// An event.
pub(crate) struct Event {
    pub(crate) id: u32,
    pub(crate) message: MessageDescriptor,
}

/// A refusal.
pub(crate) struct Refusal {
    pub(crate) message: MessageDescriptor,
    /// The number of a gRPC code.
    pub(crate) code: i32,
    /// The sentence as written.
    pub(crate) sentence: String,
    pub(crate) pieces: Vec<Piece>,
}

/// A piece of a refusal's sentence.
pub(crate) enum Piece {
    Text(String),
    Field(String),
}

/// A table.
pub(crate) struct Table {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) row: MessageDescriptor,
    pub(crate) key: Vec<KeyField>,
    pub(crate) indexes: Vec<Index>,
}

/// An index. The n-th has the number n + 1.
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) fields: Vec<KeyField>,
    pub(crate) unique: bool,
}

/// A field of a key or an index.
#[derive(Clone)]
pub(crate) struct KeyField {
    pub(crate) name: String,
    pub(crate) kind: KeyKind,
}

/// What a key can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    U32,
    U64,
    I32,
    I64,
    Bool,
    Text,
    Bytes,
    Enumeration,
}

/// Reads and checks the schema.
pub(crate) fn read(sources: &Sources) -> Result<Model, SchemaError> {
    let package = sources.main.package_name().to_owned();
    if package.is_empty() {
        return Err(sources.main.wrong("the schema has no package; add a line like `package inventory.v1;`"));
    }
    let files = package_files(sources, &package)?;
    let messages = messages::read(&files)?;
    let service = the_service(sources, &files)?;
    let versions = versions(&service)?;
    let methods = service.methods().map(|method| read_method(&package, method)).collect::<Result<Vec<_>, _>>()?;
    check_requests(&methods)?;
    routes::check_distinct(&methods)?;
    let events = events::read(&messages)?;
    let refusals = messages.iter().filter_map(refusals::read).collect::<Result<Vec<_>, _>>()?;
    let tables = tables::read(&messages)?;
    let model = Model { package, service, versions, messages, methods, events, refusals, tables };
    secrets::check(&model)?;
    names::check(&model, &files)?;
    Ok(model)
}

/// The schema's own files: all of one package, so that all generated code is one module.
fn package_files(sources: &Sources, package: &str) -> Result<Vec<FileDescriptor>, SchemaError> {
    let own = |file: &FileDescriptor| file.package_name() == package;
    let files: Vec<FileDescriptor> = sources.pool.files().filter(own).collect();
    for file in &files {
        if file.syntax() != Syntax::Proto3 {
            return Err(file.wrong("a schema is written in proto3: begin the file with `syntax = \"proto3\";`"));
        }
    }
    Ok(files)
}

fn the_service(sources: &Sources, files: &[FileDescriptor]) -> Result<ServiceDescriptor, SchemaError> {
    let mut services = files.iter().flat_map(|file| file.services().collect::<Vec<_>>());
    let Some(service) = services.next() else {
        return Err(sources.main.wrong("the schema declares no service; add `service Name { ... }` with its methods"));
    };
    match services.next() {
        None => Ok(service),
        Some(second) => Err(second.wrong(format!(
            "a schema has one service, and {} is already one; put the methods of {} into it, or into a schema of its own",
            service.name(),
            second.name()
        ))),
    }
}

fn versions(service: &ServiceDescriptor) -> Result<(u32, u32), SchemaError> {
    let options = crate::options::service(service);
    let (oldest, newest) = (options.oldest_version.max(1), options.newest_version.max(1));
    if oldest <= newest {
        return Ok((oldest, newest));
    }
    let words = format!("oldest_version {oldest} is above newest_version {newest}; a build runs every version from the one to the other");
    Err(service.wrong_option(crate::options::SERVICE, words))
}

fn read_method(package: &str, method: MethodDescriptor) -> Result<Method, SchemaError> {
    if method.is_client_streaming() || method.is_server_streaming() {
        return Err(method.wrong(format!(
            "method {} streams; a method takes one request and gives one answer: remove `stream`, and let the request name \
             where to go on",
            method.name()
        )));
    }
    for message in [method.input(), method.output()] {
        if message.parent_file().package_name() != package {
            return Err(method.wrong(format!(
                "method {} uses {}, which is not of package {package}; declare a message of its own, even if it is empty",
                method.name(),
                message.full_name()
            )));
        }
    }
    let read_only = crate::options::read_only(&method);
    let routes = routes::read(&method, read_only)?;
    Ok(Method { descriptor: method, read_only, routes })
}

/// A request says by its type what is asked: in specs, and wherever one is sent as a `google.protobuf.Any`.
fn check_requests(methods: &[Method]) -> Result<(), SchemaError> {
    for (position, method) in methods.iter().enumerate() {
        let request = method.descriptor.input();
        if let Some(other) = methods[..position].iter().find(|other| other.descriptor.input() == request) {
            return Err(method.descriptor.wrong(format!(
                "methods {} and {} share the request {}; give each method a request of its own",
                other.descriptor.name(),
                method.descriptor.name(),
                request.name()
            )));
        }
    }
    Ok(())
}

/// The full type of a field, as a person would write it, without the package.
pub(crate) fn type_text(package: &str, kind: &Kind) -> String {
    let named = |full: &str| full.strip_prefix(package).and_then(|rest| rest.strip_prefix('.')).unwrap_or(full).to_owned();
    match kind {
        Kind::Message(message) => named(message.full_name()),
        Kind::Enum(enumeration) => named(enumeration.full_name()),
        Kind::Double => "double".to_owned(),
        Kind::Float => "float".to_owned(),
        Kind::Int32 => "int32".to_owned(),
        Kind::Int64 => "int64".to_owned(),
        Kind::Uint32 => "uint32".to_owned(),
        Kind::Uint64 => "uint64".to_owned(),
        Kind::Sint32 => "sint32".to_owned(),
        Kind::Sint64 => "sint64".to_owned(),
        Kind::Fixed32 => "fixed32".to_owned(),
        Kind::Fixed64 => "fixed64".to_owned(),
        Kind::Sfixed32 => "sfixed32".to_owned(),
        Kind::Sfixed64 => "sfixed64".to_owned(),
        Kind::Bool => "bool".to_owned(),
        Kind::String => "string".to_owned(),
        Kind::Bytes => "bytes".to_owned(),
    }
}
