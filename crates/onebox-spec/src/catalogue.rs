//! The messages of a service by their names: what a word in a spec's text, or in a `google.protobuf.Any`, stands for.

use onebox_service::service::RefusalInfo;
use onebox_service::{EventId, MethodId, Schema};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};

/// What a message is in its service.
#[derive(Debug, Clone, Copy)]
pub enum Role {
    /// An event.
    Event(EventId),
    /// The request of a method.
    Request(MethodId),
    /// The response of a method; several may share it.
    Response,
    /// A refusal.
    Refusal(&'static RefusalInfo),
    /// Anything else: a part of others, or a row.
    Other,
}

/// A service's schema with its descriptors, for tools.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// The schema.
    pub schema: &'static Schema,
    pool: DescriptorPool,
}

impl Catalogue {
    /// Reads the descriptors of a schema.
    ///
    /// # Panics
    /// If they do not decode: the build wrote them.
    #[must_use]
    pub fn new(schema: &'static Schema) -> Catalogue {
        Catalogue { schema, pool: DescriptorPool::decode(schema.descriptors).expect("the build wrote the descriptors") }
    }

    /// The descriptors.
    #[must_use]
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// The package of the schema, for example `inventory.v1`.
    #[must_use]
    pub fn package(&self) -> &'static str {
        self.schema.service.rsplit_once('.').map_or("", |(package, _)| package)
    }

    /// The message with this name, full or inside the package.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<MessageDescriptor> {
        let inside = || self.pool.get_message_by_name(&format!("{}.{name}", self.package()));
        self.pool.get_message_by_name(name).or_else(inside)
    }

    /// The name of a message inside the package, or its full name if it is of another.
    #[must_use]
    pub fn short<'m>(&self, message: &'m MessageDescriptor) -> &'m str {
        let full = message.full_name();
        full.strip_prefix(self.package()).and_then(|rest| rest.strip_prefix('.')).unwrap_or(full)
    }

    /// What a message is.
    #[must_use]
    pub fn role(&self, message: &MessageDescriptor) -> Role {
        let full = message.full_name();
        if let Some(method) = self.schema.methods.iter().find(|method| method.request == full) {
            return Role::Request(self.schema.method(method.name).expect("a method of the schema has a number"));
        }
        if let Some(refusal) = self.schema.refusals.iter().find(|refusal| refusal.name == full) {
            return Role::Refusal(refusal);
        }
        if let Some(event) = self.schema.events.iter().find(|event| event.name == self.short(message)) {
            return Role::Event(event.id);
        }
        let answers = self.schema.methods.iter().any(|method| method.response == full);
        if answers { Role::Response } else { Role::Other }
    }

    /// The descriptor of an event's message; `None` if the schema has no such event.
    #[must_use]
    pub fn event(&self, event: EventId) -> Option<MessageDescriptor> {
        let info = self.schema.events.iter().find(|info| info.id == event)?;
        self.named(info.name)
    }

    /// The descriptor of a method's request.
    #[must_use]
    pub fn request(&self, method: MethodId) -> MessageDescriptor {
        self.known(self.schema.info(method).request)
    }

    /// The descriptor of a method's response.
    #[must_use]
    pub fn response(&self, method: MethodId) -> MessageDescriptor {
        self.known(self.schema.info(method).response)
    }

    /// The descriptor of a message that the schema names.
    ///
    /// # Panics
    /// If the descriptors do not have it: the build wrote both.
    #[must_use]
    pub fn known(&self, full_name: &str) -> MessageDescriptor {
        self.pool.get_message_by_name(full_name).unwrap_or_else(|| panic!("the descriptors have no {full_name}, which the schema names"))
    }
}

/// A message from its encoding.
///
/// # Errors
/// A sentence, if the bytes are not one.
pub fn decode(descriptor: MessageDescriptor, bytes: &[u8]) -> Result<DynamicMessage, String> {
    let name = descriptor.full_name().to_owned();
    DynamicMessage::decode(descriptor, bytes).map_err(|error| format!("the bytes are not a {name}: {error}"))
}

/// The encoding of a message, the same for equal messages: maps in the order of their keys, as generated code writes them.
#[must_use]
pub fn encode(message: &DynamicMessage) -> Vec<u8> {
    let mut fields: Vec<(FieldDescriptor, &Value)> = message.fields().collect();
    fields.sort_by_key(|(field, _)| field.number());
    let mut out = Vec::new();
    for (field, value) in fields {
        match value {
            Value::Message(inner) => put(&field, inner, &mut out),
            Value::List(items) if items.iter().all(|item| matches!(item, Value::Message(_))) => {
                items.iter().filter_map(Value::as_message).for_each(|inner| put(&field, inner, &mut out));
            }
            Value::Map(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                let Kind::Message(entry) = field.kind() else { continue };
                for (key, value) in entries {
                    let mut pair = DynamicMessage::new(entry.clone());
                    pair.set_field(&entry.map_entry_key_field(), Value::from(key.clone()));
                    pair.set_field(&entry.map_entry_value_field(), value.clone());
                    put(&field, &pair, &mut out);
                }
            }
            other => {
                let mut alone = DynamicMessage::new(message.descriptor());
                alone.set_field(&field, other.clone());
                out.extend(alone.encode_to_vec());
            }
        }
    }
    out
}

fn put(field: &FieldDescriptor, inner: &DynamicMessage, out: &mut Vec<u8>) {
    let bytes = encode(inner);
    encode_key(field.number(), WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend(bytes);
}
