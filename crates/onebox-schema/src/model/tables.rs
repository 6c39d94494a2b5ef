//! Tables: keys and indexes made of fields that can be ordered, numbers and names that no two tables share.

use prost_reflect::{Kind, MessageDescriptor};

use super::{Index, KeyField, KeyKind, Table, is_optional, is_singular, names};
use crate::SchemaError;
use crate::options::{self, TableOptions};
use crate::place::Place;

/// A key is a tuple, and tuples have at most this many elements.
const KEY_FIELDS_MAX: usize = 12;
/// What the accessors of a `Tx`, a `Reader` and a `Rows` must leave free, since these have methods of those names.
const TABLE_NAMES_TAKEN: [&str; 12] =
    ["get", "scan", "now", "tenant", "put", "delete", "apply", "record", "new_id", "random", "as_read", "work"];
/// What the lookups of a table must leave free.
const INDEX_NAMES_TAKEN: [&str; 3] = ["get", "all", "new"];

/// All tables, ascending by number.
pub(crate) fn read(messages: &[MessageDescriptor]) -> Result<Vec<Table>, SchemaError> {
    let mut tables: Vec<Table> = Vec::new();
    for message in messages {
        let Some(options) = options::table(message) else { continue };
        let table = read_one(message, options)
            .map_err(|words| message.wrong_option(options::TABLE, format!("table of {}: {words}", message.name())))?;
        for other in &tables {
            let wrong = |words: String| message.wrong_option(options::TABLE, format!("table of {}: {words}; take another", message.name()));
            if other.id == table.id {
                return Err(wrong(format!("the table of {} already has id {}", other.row.name(), table.id)));
            }
            if names::accessor(&other.name) == names::accessor(&table.name) {
                return Err(wrong(format!("the name `{}` is too like `{}` of {}", table.name, other.name, other.row.name())));
            }
        }
        tables.push(table);
    }
    tables.sort_by_key(|table| table.id);
    Ok(tables)
}

fn read_one(row: &MessageDescriptor, options: TableOptions) -> Result<Table, String> {
    if options.id == 0 {
        return Err("it has no id; give it a number from 1 that no table ever had: `id: N`".to_owned());
    }
    if options.name.is_empty() {
        return Err("it has no name; name its accessor, lower_snake_case and plural: `name: \"locations\"`".to_owned());
    }
    if !names::is_snake_case(&options.name) || names::is_keyword(&options.name) {
        return Err(format!("the name `{}` cannot be a method's name; write it lower_snake_case, for example `locations`", options.name));
    }
    if TABLE_NAMES_TAKEN.contains(&options.name.as_str()) {
        return Err(format!("the name `{}` is taken by the platform; choose another", options.name));
    }
    if options.key.is_empty() {
        return Err("it has no key; name the fields of its primary key: `key: [\"id\"]`".to_owned());
    }
    let key = key_fields(row, &options.key, "key")?;
    let mut indexes: Vec<Index> = Vec::new();
    for index in options.index {
        if index.fields.is_empty() {
            return Err("an index has no fields; name them: `index: [{ fields: [\"parent\"] }]`".to_owned());
        }
        let name = if index.name.is_empty() { format!("by_{}", index.fields.join("_")) } else { index.name };
        if !names::is_snake_case(&name) || names::is_keyword(&name) || INDEX_NAMES_TAKEN.contains(&name.as_str()) {
            return Err(format!("an index cannot be called `{name}`; write a free lower_snake_case name, for example `by_parent`"));
        }
        if indexes.iter().any(|other| other.name == name) {
            return Err(format!("two indexes are called `{name}`; remove one, or give one a `name`"));
        }
        let fields = key_fields(row, &index.fields, "index")?;
        indexes.push(Index { name, fields, unique: index.unique });
    }
    Ok(Table { id: options.id, name: options.name, row: row.clone(), key, indexes })
}

fn key_fields(row: &MessageDescriptor, names: &[String], what: &str) -> Result<Vec<KeyField>, String> {
    if names.len() > KEY_FIELDS_MAX {
        return Err(format!("its {what} has {} fields; at most {KEY_FIELDS_MAX} are possible", names.len()));
    }
    let mut fields: Vec<KeyField> = Vec::new();
    for name in names {
        if fields.iter().any(|field| field.name == *name) {
            return Err(format!("its {what} names field `{name}` twice"));
        }
        fields.push(key_field(row, name, what)?);
    }
    Ok(fields)
}

fn key_field(row: &MessageDescriptor, name: &str, what: &str) -> Result<KeyField, String> {
    let Some(field) = row.fields().find(|field| field.name() == name) else {
        let known: Vec<String> = row.fields().map(|field| format!("`{}`", field.name())).collect();
        return Err(format!("its {what} names `{name}`, which is not a field of it; its fields are {}", known.join(", ")));
    };
    if !is_singular(&field) || is_optional(&field) {
        return Err(format!(
            "its {what} names `{name}`, which is repeated, optional, a map or in a oneof; the fields of a key have exactly one value"
        ));
    }
    let kind = match field.kind() {
        Kind::Uint32 | Kind::Fixed32 => KeyKind::U32,
        Kind::Uint64 | Kind::Fixed64 => KeyKind::U64,
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => KeyKind::I32,
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => KeyKind::I64,
        Kind::Bool => KeyKind::Bool,
        Kind::String => KeyKind::Text,
        Kind::Bytes => KeyKind::Bytes,
        Kind::Enum(_) => KeyKind::Enumeration,
        Kind::Double | Kind::Float | Kind::Message(_) => {
            return Err(format!(
                "its {what} names `{name}` of type {}; the fields of a key are whole numbers, bool, string, bytes or enums",
                super::type_text(row.package_name(), &field.kind())
            ));
        }
    };
    Ok(KeyField { name: name.to_owned(), kind })
}
