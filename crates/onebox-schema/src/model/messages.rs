//! The package's messages, and what any field of them must keep to: names that mean the same in Rust, JSON and the
//! log, and types of the schema's own package.

use prost_reflect::{FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};

use crate::SchemaError;
use crate::options;
use crate::place::Place;

/// Names that neither Rust nor the JSON code can carry, even in raw form.
const FIELD_NAMES_REFUSED: [&str; 5] = ["self", "super", "crate", "extern", "gen"];

/// All messages, each checked.
pub(crate) fn read(files: &[FileDescriptor]) -> Result<Vec<MessageDescriptor>, SchemaError> {
    let mut messages = Vec::new();
    for file in files {
        for message in file.messages() {
            collect(message, &mut messages);
        }
    }
    for message in &messages {
        check(message)?;
    }
    Ok(messages)
}

fn collect(message: MessageDescriptor, into: &mut Vec<MessageDescriptor>) {
    if message.is_map_entry() {
        return;
    }
    let inner: Vec<MessageDescriptor> = message.child_messages().collect();
    into.push(message);
    for child in inner {
        collect(child, into);
    }
}

fn check(message: &MessageDescriptor) -> Result<(), SchemaError> {
    let special = [
        (options::event(message).is_some(), "an event"),
        (options::refusal(message).is_some(), "a refusal"),
        (options::table(message).is_some(), "a table's row"),
    ];
    let said: Vec<&str> = special.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
    if let [first, second, ..] = said[..] {
        return Err(message.wrong(format!(
            "message {} is both {first} and {second}; make two messages of it, since the one must be free to change without the other",
            message.name()
        )));
    }
    if let (Some(what), Some(outer)) = (said.first(), message.parent_message()) {
        return Err(message.wrong(format!("{what} is a message of its own: move {} out of {}", message.name(), outer.name())));
    }
    for field in message.fields() {
        check_field(&field)?;
    }
    Ok(())
}

fn check_field(field: &FieldDescriptor) -> Result<(), SchemaError> {
    let name = field.name();
    if !super::names::is_snake_case(name) {
        return Err(field.wrong(format!("field `{name}`: field names are lower_snake_case, for example `new_parent`")));
    }
    if FIELD_NAMES_REFUSED.contains(&name) {
        return Err(field.wrong(format!("a field cannot be called `{name}`, which is a word of Rust; choose another name")));
    }
    let kind = if field.is_map() { field_of_map(field).kind() } else { field.kind() };
    let package = field.parent_message().package_name();
    let foreign = match &kind {
        Kind::Message(message) if message.package_name() != package => Some(message.full_name()),
        Kind::Enum(enumeration) if enumeration.package_name() != package => Some(enumeration.full_name()),
        _ => None,
    };
    match foreign {
        None => Ok(()),
        Some(foreign) => Err(field.wrong(format!(
            "field `{name}` has type {foreign}, which is not of package {package}; declare the type in this package (a time is best a \
             uint64 of microseconds)"
        ))),
    }
}

/// The field that holds a map's values.
pub(crate) fn field_of_map(field: &FieldDescriptor) -> FieldDescriptor {
    match field.kind() {
        Kind::Message(entry) => entry.map_entry_value_field(),
        _ => field.clone(),
    }
}

/// Whether the field holds exactly one value, in no oneof.
pub(crate) fn is_singular(field: &FieldDescriptor) -> bool {
    !field.is_list() && !field.is_map() && (field.containing_oneof().is_none() || is_optional(field))
}

/// Whether the field is marked `optional`.
pub(crate) fn is_optional(field: &FieldDescriptor) -> bool {
    field.field_descriptor_proto().proto3_optional()
}

/// Whether the field's type is a number, bool, string, bytes or enum.
pub(crate) fn is_scalar(field: &FieldDescriptor) -> bool {
    !matches!(field.kind(), Kind::Message(_))
}
