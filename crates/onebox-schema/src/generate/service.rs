//! What is generated for the service: a marker per method, the exhaustive dispatch, and the description of the schema.

use std::fmt::Write;

use prost_reflect::MessageDescriptor;

use crate::model::{Index, KeyField, Method, Model, Table, Verb, names, reaches_secret};

/// All of it.
pub(crate) fn text(model: &Model) -> String {
    let mut text = String::new();
    for (position, method) in model.methods.iter().enumerate() {
        text.push_str(&method_text(model, position, method));
    }
    text.push_str(&service_text(model));
    text.push_str(&schema_text(model));
    text
}

fn method_text(model: &Model, position: usize, method: &Method) -> String {
    let name = method.descriptor.name();
    format!(
        "/// The method `{name}`.\n#[derive(Debug, Clone, Copy)]\npub struct {name};\n\
         impl onebox_private::Method for {name} {{\n\
         type Request = {request};\n\
         type Response = {response};\n\
         const ID: onebox_private::MethodId = onebox_private::MethodId({position});\n\
         const NAME: &'static str = {name:?};\n}}\n\
         impl onebox_private::Request for {request} {{ type Method = {name}; }}\n",
        request = names::rust_path(&model.package, method.descriptor.input().full_name()),
        response = names::rust_path(&model.package, method.descriptor.output().full_name()),
    )
}

/// One arm per method: its position, and what `arm` makes of it.
fn arms(model: &Model, arm: impl Fn(&Method, &str) -> String) -> String {
    let mut arms = String::new();
    for (position, method) in model.methods.iter().enumerate() {
        let _ = writeln!(arms, "{position} => {},", arm(method, method.descriptor.name()));
    }
    arms.push_str("_ => onebox_private::no_such_method(method, &SCHEMA),\n");
    arms
}

fn service_text(model: &Model) -> String {
    let execute = arms(model, |method, name| match method.read_only {
        false => format!("onebox_private::run_feature::<{name}>(tx, request)"),
        true => format!("onebox_private::only_reads({name:?})"),
    });
    let query = arms(model, |method, name| match method.read_only {
        true => format!("onebox_private::run_query::<{name}>(reader, request)"),
        false => format!("onebox_private::not_read_only({name:?})"),
    });
    let specs = specs_text(model);
    let loggable = |kind: &str, message: fn(&Method) -> MessageDescriptor| {
        let arms = arms(model, |method, name| match reaches_secret(&message(method)) {
            true => format!("onebox_private::without_secrets::<<{name} as onebox_private::Method>::{kind}>(bytes)"),
            false => "::std::borrow::Cow::Borrowed(bytes)".to_owned(),
        });
        format!(
            "fn loggable_{}<'r>(&self, method: onebox_private::MethodId, bytes: &'r [u8]) -> ::std::borrow::Cow<'r, [u8]> \
             {{\nmatch method.0 {{\n{arms}}}\n}}\n",
            kind.to_ascii_lowercase()
        )
    };
    let mut events = String::new();
    for event in &model.events {
        let _ = writeln!(events, "{} => onebox_private::apply_event::<{}>(bytes, rows),", event.id, event.message.name());
    }
    let mut refusals = String::new();
    for refusal in &model.refusals {
        let _ = writeln!(
            refusals,
            "{:?} => onebox_private::refusal_to_json::<{}>(detail),",
            refusal.message.full_name(),
            refusal.message.name()
        );
    }
    let versions = versions_text(model.versions);
    format!(
        "/// The service `{full}`.\n#[derive(Debug, Clone, Copy, Default)]\npub struct {service};\n\
         impl onebox_private::Service for {service} {{\n\
         fn schema(&self) -> &'static onebox_private::Schema {{ &SCHEMA }}\n\
         {versions}\
         fn execute(&self, method: onebox_private::MethodId, tx: &mut onebox_private::Tx<'_>, request: &[u8]) \
         -> onebox_private::Outcome<::std::vec::Vec<u8>> {{\nmatch method.0 {{\n{execute}}}\n}}\n\
         fn query(&self, method: onebox_private::MethodId, reader: &onebox_private::Reader<'_>, request: &[u8]) \
         -> onebox_private::Outcome<::std::vec::Vec<u8>> {{\nmatch method.0 {{\n{query}}}\n}}\n\
         fn apply(&self, event: onebox_private::EventId, bytes: &[u8], rows: &mut onebox_private::Rows<'_>) \
         -> ::core::result::Result<(), ::std::string::String> {{\n\
         match event.0 {{\n{events}_ => onebox_private::no_such_event(event),\n}}\n}}\n\
         fn request_from_json(&self, method: onebox_private::MethodId, body: &[u8], variables: &[(&str, &str)]) \
         -> ::core::result::Result<::std::vec::Vec<u8>, onebox_private::BadRequest> {{\nmatch method.0 {{\n{from_json}}}\n}}\n\
         fn request_from_binary(&self, method: onebox_private::MethodId, body: &[u8]) \
         -> ::core::result::Result<::std::vec::Vec<u8>, onebox_private::BadRequest> {{\nmatch method.0 {{\n{from_binary}}}\n}}\n\
         {loggable_request}{loggable_response}\
         fn response_to_json(&self, method: onebox_private::MethodId, response: &[u8]) \
         -> ::core::result::Result<::std::vec::Vec<u8>, ::std::string::String> {{\nmatch method.0 {{\n{to_json}}}\n}}\n\
         fn specs(&self) -> ::std::vec::Vec<onebox_private::Spec> {{\n\
         let mut specs = ::std::vec::Vec::new();\n{specs}specs\n}}\n\
         fn refusal_to_json(&self, kind: &str, detail: &[u8]) -> ::core::option::Option<::std::vec::Vec<u8>> {{\n\
         match kind {{\n{refusals}_ => ::core::option::Option::None,\n}}\n}}\n}}\n",
        full = model.service.full_name(),
        service = model.service.name(),
        loggable_request = loggable("Request", |method| method.descriptor.input()),
        loggable_response = loggable("Response", |method| method.descriptor.output()),
        from_json = arms(model, |_, name| format!("onebox_private::request_from_json::<{name}>(body, variables)")),
        from_binary = arms(model, |_, name| format!("onebox_private::request_from_binary::<{name}>(body)")),
        to_json = arms(model, |_, name| format!("onebox_private::response_to_json::<{name}>(response)")),
    )
}

/// The specs of each method, one after the other.
fn specs_text(model: &Model) -> String {
    let of = |method: &Method| {
        let role = if method.read_only { "Query" } else { "Feature" };
        format!("specs.extend(<{} as onebox_private::{role}>::specs());\n", method.descriptor.name())
    };
    model.methods.iter().map(of).collect()
}

fn versions_text(versions: (u32, u32)) -> String {
    match versions {
        (1, 1) => String::new(),
        (oldest, newest) => format!("fn versions(&self) -> ::core::ops::RangeInclusive<u32> {{ {oldest}..={newest} }}\n"),
    }
}

fn schema_text(model: &Model) -> String {
    let methods: String = model.methods.iter().map(method_info).collect();
    let events: String = model
        .events
        .iter()
        .map(|event| {
            format!("onebox_private::EventInfo {{ id: onebox_private::EventId({}), name: {:?} }},\n", event.id, event.message.name())
        })
        .collect();
    let refusals: String = model
        .refusals
        .iter()
        .map(|refusal| {
            let (name, code) = (refusal.message.full_name(), code_path(refusal.code));
            format!("onebox_private::RefusalInfo {{ name: {name:?}, code: {code}, message: {:?} }},\n", refusal.sentence)
        })
        .collect();
    let tables: String = model.tables.iter().map(table_info).collect();
    format!(
        "/// The description of this schema.\n\
         pub static SCHEMA: onebox_private::Schema = onebox_private::Schema {{\n\
         name: {name:?},\nservice: {service:?},\n\
         methods: &[\n{methods}],\nevents: &[\n{events}],\nrefusals: &[\n{refusals}],\ntables: &[\n{tables}],\n\
         descriptors: ::core::include_bytes!({descriptors:?}),\n}};\n",
        name = model.service.name().to_ascii_lowercase(),
        service = model.service.full_name(),
        descriptors = super::descriptors_file(&model.package),
    )
}

fn method_info(method: &Method) -> String {
    let routes: String = method
        .routes
        .iter()
        .map(|route| format!("onebox_private::Route {{ verb: {}, path: {:?}, body: {} }},", verb_path(route.verb), route.path, route.body))
        .collect();
    format!(
        "onebox_private::MethodInfo {{ name: {:?}, read_only: {}, routes: &[{routes}], request: {:?}, response: {:?} }},\n",
        method.descriptor.name(),
        method.read_only,
        method.descriptor.input().full_name(),
        method.descriptor.output().full_name(),
    )
}

fn table_info(table: &Table) -> String {
    let index = |index: &Index| {
        format!(
            "onebox_private::IndexInfo {{ name: {:?}, fields: &[{}], unique: {} }},",
            index.name,
            field_infos(&index.fields),
            index.unique
        )
    };
    format!(
        "onebox_private::TableInfo {{ id: {}, name: {:?}, row: {:?}, key: &[{}], indexes: &[{}] }},\n",
        table.id,
        table.name,
        table.row.full_name(),
        field_infos(&table.key),
        table.indexes.iter().map(index).collect::<String>(),
    )
}

fn field_infos(fields: &[KeyField]) -> String {
    fields.iter().map(|field| format!("onebox_private::FieldInfo {{ name: {:?} }},", field.name)).collect()
}

fn verb_path(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "onebox_private::Verb::Get",
        Verb::Post => "onebox_private::Verb::Post",
        Verb::Put => "onebox_private::Verb::Put",
        Verb::Patch => "onebox_private::Verb::Patch",
        Verb::Delete => "onebox_private::Verb::Delete",
    }
}

/// The vocabulary's name of a gRPC code that the model has checked.
pub(crate) fn code_path(code: i32) -> String {
    let found = crate::model::CODE_NAMES.iter().find(|(number, _)| *number == code);
    let (_, name) = found.expect("the model refuses codes without a name");
    format!("onebox_private::Code::{name}")
}
