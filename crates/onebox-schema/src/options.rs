//! The custom options of methods, messages and fields, typed. Absent is not the same as empty: `(onebox.event) = {}`
//! is an event without an id.

use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, MethodDescriptor, ReflectMessage, ServiceDescriptor};

/// The descriptor paths of the options, inside the thing that carries them.
pub(crate) const EVENT: &[i32] = &[7, 52701];
pub(crate) const REFUSAL: &[i32] = &[7, 52702];
pub(crate) const TABLE: &[i32] = &[7, 52703];
pub(crate) const SERVICE: &[i32] = &[3, 52705];
pub(crate) const HTTP: &[i32] = &[4, 72_295_728];

/// `(onebox.event)`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct EventOptions {
    #[prost(uint32, tag = "1")]
    pub(crate) id: u32,
}

/// `(onebox.refusal)`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RefusalOptions {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

/// `(onebox.table)`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TableOptions {
    #[prost(uint32, tag = "1")]
    pub(crate) id: u32,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) key: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) index: Vec<IndexOptions>,
}

/// An index in `(onebox.table)`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct IndexOptions {
    #[prost(string, repeated, tag = "1")]
    pub(crate) fields: Vec<String>,
    #[prost(bool, tag = "2")]
    pub(crate) unique: bool,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
}

/// `(onebox.field)`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FieldOptions {
    #[prost(bool, tag = "1")]
    pub(crate) new_id: bool,
    #[prost(bool, tag = "2")]
    pub(crate) secret: bool,
}

/// `(onebox.service)`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ServiceOptions {
    #[prost(uint32, tag = "1")]
    pub(crate) newest_version: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) oldest_version: u32,
}

/// `(google.api.http)`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct HttpRule {
    #[prost(string, tag = "1")]
    pub(crate) selector: String,
    #[prost(string, optional, tag = "2")]
    pub(crate) get: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) put: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(crate) post: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(crate) delete: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) patch: Option<String>,
    #[prost(string, tag = "7")]
    pub(crate) body: String,
    #[prost(message, repeated, tag = "11")]
    pub(crate) additional_bindings: Vec<HttpRule>,
    #[prost(string, tag = "12")]
    pub(crate) response_body: String,
}

#[derive(Clone, PartialEq, Message)]
struct MethodOptions {
    #[prost(bool, tag = "1")]
    read_only: bool,
}

/// Whether a method has `(onebox.method) = { read_only: true }`.
pub(crate) fn read_only(method: &MethodDescriptor) -> bool {
    option::<MethodOptions>(&method.options(), "onebox.method").is_some_and(|options| options.read_only)
}

pub(crate) fn service(service: &ServiceDescriptor) -> ServiceOptions {
    option(&service.options(), "onebox.service").unwrap_or_default()
}

pub(crate) fn http(method: &MethodDescriptor) -> Option<HttpRule> {
    option(&method.options(), "google.api.http")
}

pub(crate) fn event(message: &MessageDescriptor) -> Option<EventOptions> {
    option(&message.options(), "onebox.event")
}

pub(crate) fn refusal(message: &MessageDescriptor) -> Option<RefusalOptions> {
    option(&message.options(), "onebox.refusal")
}

pub(crate) fn table(message: &MessageDescriptor) -> Option<TableOptions> {
    option(&message.options(), "onebox.table")
}

pub(crate) fn field(field: &FieldDescriptor) -> FieldOptions {
    option(&field.options(), "onebox.field").unwrap_or_default()
}

/// The option `name`, if it was given; a schema that does not import its declaration cannot give it.
fn option<T: Message + Default>(options: &DynamicMessage, name: &str) -> Option<T> {
    let extension = options.descriptor().get_extension_by_full_name(name)?;
    if !options.has_extension(&extension) {
        return None;
    }
    let value = options.get_extension(&extension);
    let value = value.as_message().expect("every option read here is a message");
    Some(value.transcode_to().expect("the typed options have the numbers and types of the embedded protos"))
}
