//! `schema`: what the service can be asked, records, refuses and keeps.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;

use onebox_service::service::{FieldInfo, Verb};
use onebox_service::{Schema, Service};
use onebox_spec::Catalogue;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::verbs::terminal::print;

/// Prints the schema.
pub(crate) fn run(service: &Arc<dyn Service>) -> Result<ExitCode, String> {
    print(&text(service.schema()))?;
    Ok(ExitCode::SUCCESS)
}

fn text(schema: &'static Schema) -> String {
    let catalogue = Catalogue::new(schema);
    let mut out = format!("SERVICE {}\n\nMETHODS\n", schema.service);
    for method in schema.methods {
        let kind = if method.read_only { " (read only)" } else { "" };
        let (request, response) = (catalogue.known(method.request), catalogue.known(method.response));
        let _ = writeln!(out, "  {}{kind}", method.name);
        for route in method.routes {
            let verb = match route.verb {
                Verb::Get => "GET",
                Verb::Post => "POST",
                Verb::Put => "PUT",
                Verb::Patch => "PATCH",
                Verb::Delete => "DELETE",
            };
            let _ = writeln!(out, "    {verb} {}", route.path);
        }
        let _ = writeln!(out, "    asks    {}", shape(&catalogue, &request));
        let _ = writeln!(out, "    answers {}", shape(&catalogue, &response));
    }
    out.push_str("\nEVENTS\n");
    for event in schema.events {
        let shape = catalogue.event(event.id).map_or_else(|| event.name.to_owned(), |message| shape(&catalogue, &message));
        let _ = writeln!(out, "  {:>3} {shape}", event.id.0);
    }
    out.push_str("\nREFUSALS\n");
    for refusal in schema.refusals {
        let _ = writeln!(out, "  {} {}", refusal.code.name(), shape(&catalogue, &catalogue.known(refusal.name)));
        let _ = writeln!(out, "    \"{}\"", refusal.message);
    }
    out.push_str("\nTABLES\n");
    for table in schema.tables {
        let _ = writeln!(out, "  {:>3} {} of {}", table.id, table.name, shape(&catalogue, &catalogue.known(table.row)));
        let _ = writeln!(out, "      key {}", names(table.key));
        for index in table.indexes {
            let unique = if index.unique { ", unique" } else { "" };
            let _ = writeln!(out, "      index {} on {}{unique}", index.name, names(index.fields));
        }
    }
    out
}

fn names(fields: &[FieldInfo]) -> String {
    fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ")
}

/// A message with the names, types and numbers of its fields.
fn shape(catalogue: &Catalogue, message: &MessageDescriptor) -> String {
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    let fields =
        fields.iter().map(|field| format!("{} {} = {}{}", type_of(catalogue, field), field.name(), field.number(), options(field)));
    let fields: Vec<String> = fields.collect();
    let name = catalogue.short(message);
    if fields.is_empty() { format!("{name} {{}}") } else { format!("{name} {{ {} }}", fields.join("; ")) }
}

fn type_of(catalogue: &Catalogue, field: &FieldDescriptor) -> String {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        return format!("map<{}, {}>", type_of(catalogue, &key), type_of(catalogue, &value));
    }
    let name = match field.kind() {
        Kind::Message(message) => catalogue.short(&message).to_owned(),
        Kind::Enum(enumeration) => enumeration.name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    match () {
        () if field.is_list() => format!("repeated {name}"),
        () if field.field_descriptor_proto().proto3_optional() => format!("optional {name}"),
        () => name,
    }
}

/// The options of a field that matter to whoever reads the schema.
fn options(field: &FieldDescriptor) -> String {
    let options = field.options();
    let Some((_, own)) = options.extensions().find(|(extension, _)| extension.full_name() == "onebox.field") else {
        return String::new();
    };
    let Some(own) = own.as_message() else { return String::new() };
    let set: Vec<String> =
        own.fields().filter(|(_, value)| value.as_bool() == Some(true)).map(|(field, _)| field.name().to_owned()).collect();
    if set.is_empty() { String::new() } else { format!(" [{}]", set.join(", ")) }
}
