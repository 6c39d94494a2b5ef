//! `Debug` for messages with maps. What prost derives for an ordered map names the crate `prost` by itself, which an
//! author's crate need not have, so it is left out there and written here.
//!
//! prost leaves it out of everything inside such a message, too.

use std::fmt::Write;

use prost_reflect::{EnumDescriptor, FieldDescriptor, MessageDescriptor};

use crate::model::{Model, is_optional, names};

/// The full names of the messages in which prost must not derive `Debug`, as prost wants them.
pub(crate) fn without_derived(model: &Model) -> Vec<String> {
    model.messages.iter().filter(|message| has_map(message)).map(|message| format!(".{}", message.full_name())).collect()
}

/// `Debug` for all that those names cover.
pub(crate) fn text(model: &Model) -> String {
    let mut text = String::new();
    for message in model.messages.iter().filter(|message| is_inside(message)) {
        text.push_str(&message_text(model, message));
        for enumeration in message.child_enums() {
            text.push_str(&enum_text(model, &enumeration));
        }
    }
    text
}

fn has_map(message: &MessageDescriptor) -> bool {
    message.fields().any(|field| field.is_map())
}

fn is_inside(message: &MessageDescriptor) -> bool {
    has_map(message) || message.parent_message().is_some_and(|outer| is_inside(&outer))
}

fn message_text(model: &Model, message: &MessageDescriptor) -> String {
    // The type of a oneof has no `Debug` either, and no name here.
    let printable = |field: &FieldDescriptor| field.containing_oneof().is_none() || is_optional(field);
    let mut fields = String::new();
    for field in message.fields().filter(printable) {
        let _ = writeln!(fields, "debug.field({:?}, &self.{});", field.name(), names::field(field.name()));
    }
    let finish = if message.fields().all(|field| printable(&field)) { "finish" } else { "finish_non_exhaustive" };
    format!(
        "impl ::core::fmt::Debug for {path} {{\n\
         fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n\
         let mut debug = formatter.debug_struct({name:?});\n{fields}debug.{finish}()\n}}\n}}\n",
        path = names::rust_path(&model.package, message.full_name()),
        name = message.name(),
    )
}

fn enum_text(model: &Model, enumeration: &EnumDescriptor) -> String {
    format!(
        "impl ::core::fmt::Debug for {path} {{\n\
         fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{ formatter.write_str(self.as_str_name()) }}\n}}\n",
        path = names::rust_path(&model.package, enumeration.full_name()),
    )
}
