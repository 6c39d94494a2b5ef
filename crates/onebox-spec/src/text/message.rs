//! One message in protobuf text format, always the same way: fields by number, maps by key, defaults left out, on one
//! line if it fits and indented if not.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, Value};

/// Columns of a line past which a message is broken up.
const LINE_MAX: usize = 110;

/// A message under its name; several lines if one would be long.
#[must_use]
pub fn message(name: &str, message: &DynamicMessage) -> String {
    let whole = line(name, message);
    if whole.chars().count() <= LINE_MAX {
        return whole;
    }
    let mut out = format!("{name} {{\n");
    for field in fields(message) {
        block(&field, 1, &mut out);
    }
    out.push('}');
    out
}

/// A message under its name, on one line.
#[must_use]
pub fn line(name: &str, message: &DynamicMessage) -> String {
    format!("{name} {}", braces(message))
}

/// One `name: value` or `name { ... }`.
struct Field {
    name: String,
    kind: Kind,
    value: Value,
}

fn braces(message: &DynamicMessage) -> String {
    let fields: Vec<String> = fields(message).iter().map(flat).collect();
    if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(" ")) }
}

fn flat(field: &Field) -> String {
    match &field.value {
        Value::Message(inner) => format!("{} {}", field.name, braces(inner)),
        other => format!("{}: {}", field.name, value(other, &field.kind)),
    }
}

fn block(field: &Field, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    let whole = flat(field);
    match &field.value {
        Value::Message(inner) if indent.len() + whole.chars().count() > LINE_MAX => {
            *out += &format!("{indent}{} {{\n", field.name);
            for field in fields(inner) {
                block(&field, depth + 1, out);
            }
            *out += &format!("{indent}}}\n");
        }
        _ => *out += &format!("{indent}{whole}\n"),
    }
}

/// The fields that are not default, by number; the elements of lists of messages and of maps one by one.
fn fields(message: &DynamicMessage) -> Vec<Field> {
    let mut fields: Vec<(FieldDescriptor, &Value)> = message.fields().collect();
    fields.sort_by_key(|(field, _)| field.number());
    fields.into_iter().flat_map(|(field, value)| spread(&field, value)).collect()
}

fn spread(field: &FieldDescriptor, value: &Value) -> Vec<Field> {
    let one = |value: Value| Field { name: field.name().to_owned(), kind: field.kind(), value };
    match (value, field.kind()) {
        (Value::List(items), Kind::Message(_)) => items.iter().cloned().map(one).collect(),
        (Value::Map(entries), Kind::Message(entry)) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let pair = |(key, value): (&MapKey, &Value)| {
                let mut pair = DynamicMessage::new(entry.clone());
                pair.set_field_by_name("key", Value::from(key.clone()));
                pair.set_field_by_name("value", value.clone());
                one(Value::Message(pair))
            };
            entries.into_iter().map(pair).collect()
        }
        (value, _) => vec![one(value.clone())],
    }
}

/// A value that stands alone.
#[must_use]
pub(crate) fn value(value: &Value, kind: &Kind) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => float(f64::from(*value), &format!("{value:?}")),
        Value::F64(value) => float(*value, &format!("{value:?}")),
        Value::String(text) => quoted(text),
        Value::Bytes(bytes) => escaped(bytes),
        Value::EnumNumber(number) => match kind {
            Kind::Enum(descriptor) => descriptor.get_value(*number).map_or_else(|| number.to_string(), |value| value.name().to_owned()),
            _ => number.to_string(),
        },
        Value::Message(message) => braces(message),
        Value::List(items) => format!("[{}]", items.iter().map(|item| self::value(item, kind)).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let inner = entry_kind(kind);
            let pair = |(key, value): (&MapKey, &Value)| format!("{}: {}", map_key(key), self::value(value, &inner));
            format!("{{{}}}", entries.into_iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}

fn entry_kind(kind: &Kind) -> Kind {
    match kind {
        Kind::Message(entry) if entry.is_map_entry() => entry.map_entry_value_field().kind(),
        other => other.clone(),
    }
}

/// The key of a map's entry.
pub(crate) fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => quoted(key),
    }
}

fn float(value: f64, shortest: &str) -> String {
    match () {
        () if value.is_nan() => "nan".to_owned(),
        () if value.is_infinite() => if value > 0.0 { "inf" } else { "-inf" }.to_owned(),
        () => shortest.to_owned(),
    }
}

/// Text in quotes, readable: only what text format cannot hold as it is is escaped.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if (other as u32) < 0x20 || other as u32 == 0x7f => out.push_str(&format!("\\{:03o}", other as u32)),
            // Line ends of Unicode would break the lines of a text.
            '\u{85}' | '\u{2028}' | '\u{2029}' => character.to_string().bytes().for_each(|byte| out.push_str(&format!("\\{byte:03o}"))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn escaped(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x20..0x7f => out.push(char::from(byte)),
            other => out.push_str(&format!("\\{other:03o}")),
        }
    }
    out.push('"');
    out
}
