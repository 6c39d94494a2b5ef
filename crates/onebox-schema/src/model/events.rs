//! Events: their numbers, and the fields that hold ids which they create.

use prost_reflect::{Kind, MessageDescriptor};

use super::{Event, is_optional};
use crate::SchemaError;
use crate::options;
use crate::place::Place;

/// All events, ascending by number.
pub(crate) fn read(messages: &[MessageDescriptor]) -> Result<Vec<Event>, SchemaError> {
    let mut events: Vec<Event> = Vec::new();
    for message in messages {
        check_new_ids(message)?;
        let Some(options) = options::event(message) else { continue };
        if options.id == 0 {
            return Err(message.wrong_option(
                options::EVENT,
                format!(
                    "event {} has no id; give it a number from 1 that no event ever had: `(onebox.event) = {{ id: N }}`",
                    message.name()
                ),
            ));
        }
        if let Some(other) = events.iter().find(|event| event.id == options.id) {
            return Err(message.wrong_option(
                options::EVENT,
                format!(
                    "event {} has id {}, which {} already has; take a number that no event ever had",
                    message.name(),
                    options.id,
                    other.message.name()
                ),
            ));
        }
        events.push(Event { id: options.id, message: message.clone() });
    }
    events.sort_by_key(|event| event.id);
    Ok(events)
}

fn check_new_ids(message: &MessageDescriptor) -> Result<(), SchemaError> {
    for field in message.fields().filter(|field| options::field(field).new_id) {
        let name = field.name();
        if options::event(message).is_none() {
            return Err(field.wrong(format!(
                "field `{name}` is marked new_id, but {} is not an event; only an event creates ids (a repeated uint64 in the event \
                 itself can hold many)",
                message.name()
            )));
        }
        let plain = !field.is_map() && !is_optional(&field) && super::messages::is_singular(&field) || field.is_list();
        if field.kind() != Kind::Uint64 || !plain {
            return Err(
                field.wrong(format!("field `{name}` is marked new_id; ids are `uint64` or `repeated uint64`, without optional or oneof"))
            );
        }
    }
    Ok(())
}
