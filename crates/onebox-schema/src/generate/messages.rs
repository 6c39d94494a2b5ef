//! What is generated for events, refusals and requests: their numbers, sentences, setters and what of them is secret.

use std::collections::BTreeSet;
use std::fmt::Write;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::model::{Event, Model, Piece, Refusal, is_optional, is_scalar, is_singular, names, reaches_secret};
use crate::options;

/// All of it.
pub(crate) fn text(model: &Model) -> String {
    let mut text = String::new();
    for event in &model.events {
        text.push_str(&event_text(event));
    }
    for refusal in &model.refusals {
        text.push_str(&refusal_text(refusal));
    }
    let mut seen = BTreeSet::new();
    for method in &model.methods {
        let request = method.descriptor.input();
        if seen.insert(request.full_name().to_owned()) {
            text.push_str(&variables_text(model, &request));
        }
    }
    for message in model.messages.iter().filter(|message| reaches_secret(message)) {
        text.push_str(&secrets_text(model, message));
    }
    text
}

fn event_text(event: &Event) -> String {
    let name = event.message.name();
    let mut new_ids = String::new();
    for field in event.message.fields().filter(|field| options::field(field).new_id) {
        let value = names::field(field.name());
        let _ = match field.is_list() {
            true => writeln!(new_ids, "for id in &self.{value} {{ each(*id); }}"),
            false => writeln!(new_ids, "each(self.{value});"),
        };
    }
    format!(
        "impl onebox_private::Event for {name} {{\n\
         const ID: onebox_private::EventId = onebox_private::EventId({id});\n\
         const NAME: &'static str = {name:?};\n\
         fn new_ids(&self, each: &mut dyn ::core::ops::FnMut(u64)) {{\n{new_ids}}}\n}}\n",
        id = event.id,
    )
}

fn refusal_text(refusal: &Refusal) -> String {
    let name = refusal.message.name();
    let mut sentence = String::new();
    for piece in &refusal.pieces {
        let _ = match piece {
            Piece::Text(words) => writeln!(sentence, "sentence.push_str({words:?});"),
            Piece::Field(field) => writeln!(sentence, "onebox_private::fill(&mut sentence, &self.{});", names::field(field)),
        };
    }
    format!(
        "impl onebox_private::RefusalMessage for {name} {{\n\
         const CODE: onebox_private::Code = {code};\n\
         const KIND: &'static str = {kind:?};\n\
         fn sentence(&self) -> ::std::string::String {{\n\
         let mut sentence = ::std::string::String::new();\n{sentence}sentence\n}}\n}}\n\
         impl ::core::convert::From<{name}> for onebox_private::Refusal {{\n\
         fn from(refusal: {name}) -> Self {{ onebox_private::Refusal::of(&refusal) }}\n}}\n",
        code = super::service::code_path(refusal.code),
        kind = refusal.message.full_name(),
    )
}

/// The setter of a request's fields by name, for the variables of paths and query strings.
fn variables_text(model: &Model, request: &MessageDescriptor) -> String {
    let mut arms = String::new();
    for field in request.fields() {
        let _ = writeln!(arms, "{} => {},", name_pattern(&field), setter(model, &field));
    }
    format!(
        "impl onebox_private::Variables for {path} {{\n\
         fn set(&mut self, name: &str, text: &str) -> ::core::result::Result<(), onebox_private::VariableError> {{\n\
         match name {{\n{arms}_ => ::core::result::Result::Err(onebox_private::VariableError::Unknown),\n}}\n}}\n}}\n",
        path = names::rust_path(&model.package, request.full_name()),
    )
}

/// Both names of a field: the schema's and JSON's.
fn name_pattern(field: &FieldDescriptor) -> String {
    match field.name() == field.json_name() {
        true => format!("{:?}", field.name()),
        false => format!("{:?} | {:?}", field.name(), field.json_name()),
    }
}

fn setter(model: &Model, field: &FieldDescriptor) -> String {
    if !is_scalar(field) || !is_singular(field) {
        return "::core::result::Result::Err(onebox_private::VariableError::NotScalar)".to_owned();
    }
    let member = format!("self.{}", names::field(field.name()));
    let place = match is_optional(field) {
        true => format!("{member}.get_or_insert_with(::core::default::Default::default)"),
        false => format!("&mut {member}"),
    };
    match field.kind() {
        Kind::Enum(enumeration) => {
            let path = names::rust_path(&model.package, enumeration.full_name());
            format!("onebox_private::set_enumeration({place}, text, {path}::from_str_name)")
        }
        _ => format!("onebox_private::set_scalar({place}, text)"),
    }
}

/// How to clear what is secret in a message, at any depth.
fn secrets_text(model: &Model, message: &MessageDescriptor) -> String {
    let mut lines = String::new();
    for field in message.fields() {
        let member = format!("self.{}", names::field(field.name()));
        if options::field(&field).secret {
            let _ = writeln!(lines, "{member} = ::core::default::Default::default();");
        } else if field.is_map() && holds_secrets(&field) {
            let _ = writeln!(lines, "for inner in {member}.values_mut() {{ inner.clear_secrets(); }}");
        } else if field.is_list() && holds_secrets(&field) {
            let _ = writeln!(lines, "for inner in &mut {member} {{ inner.clear_secrets(); }}");
        } else if holds_secrets(&field) {
            let _ = writeln!(lines, "if let ::core::option::Option::Some(inner) = &mut {member} {{ inner.clear_secrets(); }}");
        }
    }
    format!(
        "impl onebox_private::Secrets for {path} {{\nfn clear_secrets(&mut self) {{\n{lines}}}\n}}\n",
        path = names::rust_path(&model.package, message.full_name()),
    )
}

/// Whether the messages in a field hold secrets. A map's entry is a message, too, and reaches its values.
fn holds_secrets(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(inner) => reaches_secret(&inner),
        _ => false,
    }
}
