//! A service's rows as a SQLite database: one table for each table of the schema, typed by its fields.
//!
//! Whole numbers are INTEGER, and TEXT in a column where one is beyond 64 bits with a sign; what SQLite has no type for,
//! lists, maps and messages, is JSON. A field that is absent is NULL.

use std::fs;
use std::path::Path;

use onebox_service::keyspace;
use onebox_service::service::TableInfo;
use onebox_spec::Catalogue;
use onebox_spec::catalogue::decode;
use onebox_spec::stage::TenantRows;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value};
use rusqlite::Connection;
use rusqlite::types::Value as Cell;

/// Marks the databases that `explore` writes, so that it overwrites nothing else ("1box").
const APPLICATION_ID: i32 = 0x3162_6f78;
/// Where a SQLite file holds its application id.
const APPLICATION_ID_OFFSET: usize = 68;

/// One table with all its rows.
pub(crate) struct SqlTable {
    info: &'static TableInfo,
    columns: Vec<(String, &'static str)>,
    rows: Vec<Vec<Cell>>,
}

/// The tables of a tenant's rows.
///
/// # Errors
/// A sentence, if a row does not decode.
pub(crate) fn tables(catalogue: &Catalogue, rows: &TenantRows) -> Result<Vec<SqlTable>, String> {
    catalogue.schema.tables.iter().map(|info| table(catalogue, info, rows)).collect()
}

fn table(catalogue: &Catalogue, info: &'static TableInfo, rows: &TenantRows) -> Result<SqlTable, String> {
    let message = catalogue.known(info.row);
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    let mut head = Vec::new();
    // Index 0 of a table holds its rows.
    keyspace::pack_onto(&(info.id, 0_u32), &mut head);
    let own = rows.iter().filter(|(key, _)| key.starts_with(&head));
    let decoded = own.map(|(_, value)| decode(message.clone(), value)).collect::<Result<Vec<_>, _>>()?;
    let is_large = |field: &FieldDescriptor| {
        decoded.iter().any(|row| matches!(&*row.get_field(field), Value::U64(large) if i64::try_from(*large).is_err()))
    };
    let large: Vec<bool> = fields.iter().map(is_large).collect();
    let columns = fields.iter().zip(&large).map(|(field, large)| (field.name().to_owned(), if *large { "TEXT" } else { type_of(field) }));
    let row = |row: &DynamicMessage| fields.iter().zip(&large).map(|(field, large)| cell(row, field, *large)).collect();
    Ok(SqlTable { info, columns: columns.collect(), rows: decoded.iter().map(row).collect() })
}

fn type_of(field: &FieldDescriptor) -> &'static str {
    if field.is_list() || field.is_map() {
        return "TEXT";
    }
    match field.kind() {
        Kind::Double | Kind::Float => "REAL",
        Kind::String | Kind::Enum(_) | Kind::Message(_) => "TEXT",
        Kind::Bytes => "BLOB",
        Kind::Bool
        | Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Fixed32
        | Kind::Fixed64
        | Kind::Sfixed32
        | Kind::Sfixed64 => "INTEGER",
    }
}

fn cell(row: &DynamicMessage, field: &FieldDescriptor, large: bool) -> Cell {
    if field.supports_presence() && !row.has_field(field) {
        return Cell::Null;
    }
    match &*row.get_field(field) {
        Value::Bool(value) => Cell::Integer(i64::from(*value)),
        Value::I32(value) => Cell::Integer(i64::from(*value)),
        Value::I64(value) => Cell::Integer(*value),
        Value::U32(value) => Cell::Integer(i64::from(*value)),
        Value::U64(value) if large => Cell::Text(value.to_string()),
        Value::U64(value) => Cell::Integer(i64::try_from(*value).expect("a column with a larger number is text")),
        Value::F32(value) => Cell::Real(f64::from(*value)),
        Value::F64(value) => Cell::Real(*value),
        Value::String(value) => Cell::Text(value.clone()),
        Value::Bytes(value) => Cell::Blob(value.to_vec()),
        Value::EnumNumber(number) => match field.kind() {
            Kind::Enum(kind) => Cell::Text(kind.get_value(*number).map_or_else(|| number.to_string(), |value| value.name().to_owned())),
            _ => Cell::Integer(i64::from(*number)),
        },
        Value::Message(_) | Value::List(_) | Value::Map(_) => Cell::Text(json(row, field)),
    }
}

/// A field as the JSON of its message has it.
fn json(row: &DynamicMessage, field: &FieldDescriptor) -> String {
    let mut alone = DynamicMessage::new(prost_reflect::ReflectMessage::descriptor(row));
    alone.set_field(field, row.get_field(field).into_owned());
    let whole = serde_json::to_value(&alone).unwrap_or_default();
    let empty = if field.is_list() { "[]" } else { "{}" };
    whole.get(field.json_name()).map_or_else(|| empty.to_owned(), ToString::to_string)
}

/// Writes a database. One that this wrote before is replaced, anything else is left alone.
///
/// # Errors
/// A sentence that says what hinders.
pub(crate) fn write(file: &Path, tables: &[SqlTable]) -> Result<(), String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what} {}: {error}", file.display());
    let fresh = file.with_extension("sqlite-new");
    match fs::read(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at", &error)),
        Ok(bytes) if bytes.get(APPLICATION_ID_OFFSET..APPLICATION_ID_OFFSET + 4) == Some(&APPLICATION_ID.to_be_bytes()[..]) => {}
        Ok(_) => return Err(format!("{} is there and was not written by explore or export; give another --out", file.display())),
    }
    // Of an attempt that was interrupted.
    let _ = fs::remove_file(&fresh);
    let written = fill(&fresh, tables).map_err(|error| failed("write", &error));
    written.and_then(|()| fs::rename(&fresh, file).map_err(|error| failed("make", &error))).inspect_err(|_| {
        let _ = fs::remove_file(&fresh);
    })
}

fn fill(file: &Path, tables: &[SqlTable]) -> rusqlite::Result<()> {
    let mut database = Connection::open(file)?;
    database.pragma_update(None, "application_id", APPLICATION_ID)?;
    let transaction = database.transaction()?;
    for table in tables {
        transaction.execute_batch(&table.definition())?;
        let places = vec!["?"; table.columns.len()].join(", ");
        let mut insert = transaction.prepare(&format!("INSERT INTO {} VALUES ({places})", quoted(table.info.name)))?;
        for row in &table.rows {
            insert.execute(rusqlite::params_from_iter(row))?;
        }
    }
    transaction.commit()
}

impl SqlTable {
    fn definition(&self) -> String {
        let name = quoted(self.info.name);
        let columns: Vec<String> = self.columns.iter().map(|(column, kind)| format!("{} {kind}", quoted(column))).collect();
        let list = |fields: &[onebox_service::FieldInfo]| fields.iter().map(|field| quoted(field.name)).collect::<Vec<_>>().join(", ");
        let mut out = format!("CREATE TABLE {name} ({}, PRIMARY KEY ({}));\n", columns.join(", "), list(self.info.key));
        for index in self.info.indexes {
            let unique = if index.unique { "UNIQUE " } else { "" };
            let index_name = quoted(&format!("{}_{}", self.info.name, index.name));
            out += &format!("CREATE {unique}INDEX {index_name} ON {name} ({});\n", list(index.fields));
        }
        out
    }

    /// The table as text, at most so many rows of it.
    pub(crate) fn shown(&self, rows_max: usize) -> String {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let shown: Vec<Vec<String>> = self.rows.iter().take(rows_max).map(|row| row.iter().map(cell_text).collect()).collect();
        let width = |at: usize| shown.iter().map(|row| &row[at]).chain([&names[at]]).map(|text| text.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..names.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            format!("  {}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
        };
        let count = self.rows.len();
        let mut out = format!("{} ({count} {})\n", self.info.name, if count == 1 { "row" } else { "rows" });
        if count > 0 {
            out += &line(&names);
            out += &line(&widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>());
            shown.iter().for_each(|row| out += &line(row));
        }
        if count > rows_max {
            out += &format!("  and {} more\n", count - rows_max);
        }
        out
    }
}

fn cell_text(cell: &Cell) -> String {
    match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text.replace(['\n', '\r'], " "),
        Cell::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
