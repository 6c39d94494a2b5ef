//! Fields marked secret: never in what is stored, and never where clearing them would be ambiguous.

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::Model;
use super::messages::{field_of_map, is_optional};
use crate::SchemaError;
use crate::options;
use crate::place::Place;

/// Refuses secrets in events and rows, at any depth, and in oneofs.
pub(crate) fn check(model: &Model) -> Result<(), SchemaError> {
    for event in &model.events {
        check_stored(&event.message, "event")?;
    }
    for table in &model.tables {
        check_stored(&table.row, "row")?;
    }
    for message in &model.messages {
        for field in message.fields() {
            let chosen = field.containing_oneof().is_some() && !is_optional(&field);
            let secret = options::field(&field).secret || inner(&field).is_some_and(|inner| reaches_secret(&inner));
            if chosen && secret {
                return Err(
                    field.wrong(format!("field `{}` is or holds a secret and stands in a oneof; move it out of the oneof", field.name()))
                );
            }
        }
    }
    Ok(())
}

fn check_stored(whole: &MessageDescriptor, what: &str) -> Result<(), SchemaError> {
    match first_secret(whole, &mut BTreeSet::new()) {
        None => Ok(()),
        Some(field) => Err(field.wrong(format!(
            "field `{}` is secret, but {what} {} stores it; keep only what can be shown (a hash of it, for example) in a field that is \
             not secret",
            field.name(),
            whole.name()
        ))),
    }
}

/// Whether a message has a secret field, at any depth.
pub(crate) fn reaches_secret(message: &MessageDescriptor) -> bool {
    first_secret(message, &mut BTreeSet::new()).is_some()
}

fn first_secret(message: &MessageDescriptor, seen: &mut BTreeSet<String>) -> Option<FieldDescriptor> {
    if !seen.insert(message.full_name().to_owned()) {
        return None;
    }
    message.fields().find_map(|field| {
        if options::field(&field).secret {
            return Some(field);
        }
        first_secret(&inner(&field)?, seen)
    })
}

/// The message type of a field, of its elements or of its map's values.
fn inner(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let kind = if field.is_map() { field_of_map(field).kind() } else { field.kind() };
    match kind {
        Kind::Message(message) => Some(message),
        _ => None,
    }
}
