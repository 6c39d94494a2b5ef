//! What is generated for tables: how a row is packed, and the typed accessors with their lookups.

use std::fmt::Write;

use crate::model::{Index, KeyField, KeyKind, Model, Table, names};

/// All of it.
pub(crate) fn text(model: &Model) -> String {
    let mut text = String::new();
    let mut methods = String::new();
    for table in &model.tables {
        text.push_str(&row_text(table));
        text.push_str(&accessor_text(table));
        let accessor = names::accessor(&table.name);
        let _ = writeln!(
            methods,
            "/// The table `{name}`, whose rows are [`{row}`].\nfn {name}(&self) -> {accessor}<'_> {{ {accessor}::new(self.as_read()) }}",
            name = table.name,
            row = table.row.name(),
        );
    }
    let _ = write!(
        text,
        "/// The tables of this schema, on whatever gives read access: a `Tx`, a `Reader`, `Rows`, or a `&dyn Read`.\n\
         pub trait Tables: onebox_private::Read {{\n\
         #[doc(hidden)]\nfn as_read(&self) -> &dyn onebox_private::Read;\n{methods}}}\n\
         impl<T: onebox_private::Read> Tables for T {{\nfn as_read(&self) -> &dyn onebox_private::Read {{ self }}\n}}\n\
         impl Tables for dyn onebox_private::Read + '_ {{\nfn as_read(&self) -> &dyn onebox_private::Read {{ self }}\n}}\n"
    );
    text
}

fn row_text(table: &Table) -> String {
    let mut indexes = String::new();
    for (position, index) in table.indexes.iter().enumerate() {
        let packed = own_values(&index.fields);
        let _ = writeln!(indexes, "each({}, {}, onebox_private::packed(&{packed}));", position + 1, index.unique);
    }
    format!(
        "impl onebox_private::Row for {row} {{\n\
         const TABLE: u32 = {id};\n\
         const NAME: &'static str = {name:?};\n\
         const INDEXED: bool = {indexed};\n\
         fn pack_key(&self, out: &mut ::std::vec::Vec<u8>) {{ onebox_private::pack(&{key}, out); }}\n\
         fn pack_indexes(&self, each: &mut dyn ::core::ops::FnMut(u32, bool, ::std::vec::Vec<u8>)) {{\n{indexes}}}\n}}\n",
        row = table.row.name(),
        id = table.id,
        name = table.name,
        indexed = !table.indexes.is_empty(),
        key = own_values(&table.key),
    )
}

/// A way to find rows by fields.
struct Lookup<'m> {
    name: String,
    index: usize,
    fields: &'m [KeyField],
    unique: bool,
}

/// The declared lookups, then one for each proper prefix of the key and of the indexes, unless its name is taken.
fn lookups<'m>(table: &'m Table) -> Vec<Lookup<'m>> {
    let declared = |(position, index): (usize, &'m Index)| Lookup {
        name: index.name.clone(),
        index: position + 1,
        fields: &index.fields,
        unique: index.unique,
    };
    let mut lookups: Vec<Lookup<'m>> = table.indexes.iter().enumerate().map(declared).collect();
    let keys = std::iter::once(&table.key).chain(table.indexes.iter().map(|index| &index.fields));
    for (number, fields) in keys.enumerate() {
        for length in 1..fields.len() {
            let prefix = &fields[..length];
            let words: Vec<&str> = prefix.iter().map(|field| field.name.as_str()).collect();
            let name = format!("by_{}", words.join("_"));
            if lookups.iter().all(|lookup| lookup.name != name) {
                lookups.push(Lookup { name, index: number, fields: prefix, unique: false });
            }
        }
    }
    lookups
}

fn accessor_text(table: &Table) -> String {
    let (row, accessor) = (table.row.name(), names::accessor(&table.name));
    let key_type = tuple(table.key.iter().map(|field| argument_type(field.kind).to_owned()));
    let key_names: Vec<&str> = table.key.iter().map(|field| field.name.as_str()).collect();
    let mut methods = String::new();
    for lookup in lookups(table) {
        methods.push_str(&lookup_text(row, &lookup));
    }
    format!(
        "/// Read access to the table `{name}`.\n\
         pub struct {accessor}<'t> {{ table: onebox_private::Table<'t, {row}> }}\n\
         impl<'t> {accessor}<'t> {{\n\
         /// The table, seen through `read`.\n\
         pub fn new(read: &'t dyn onebox_private::Read) -> Self {{ Self {{ table: onebox_private::Table::new(read) }} }}\n\
         /// The row with this primary key: {key_names}.\n\
         pub fn get(&self, key: {key_type}) -> ::core::option::Option<{row}> {{ self.table.get(&key) }}\n\
         /// Every row, in the order of the primary key.\n\
         pub fn all(&self) -> onebox_private::Scan<'t, {row}> {{ self.table.all() }}\n\
         {methods}}}\n",
        name = table.name,
        key_names = key_names.join(", "),
    )
}

fn lookup_text(row: &str, lookup: &Lookup<'_>) -> String {
    let argument = |field: &KeyField| format!("{}: {}", names::field(&field.name), argument_type(field.kind));
    let arguments: Vec<String> = lookup.fields.iter().map(argument).collect();
    let values = tuple(lookup.fields.iter().map(|field| names::field(&field.name)));
    let (what, result, call) = match lookup.unique {
        true => ("The row with these fields.", format!("::core::option::Option<{row}>"), "unique"),
        false => ("The rows with these fields, in the order of the index.", format!("onebox_private::Scan<'t, {row}>"), "starting_with"),
    };
    format!(
        "/// {what}\npub fn {name}(&self, {arguments}) -> {result} {{ self.table.{call}({index}, &{values}) }}\n",
        name = lookup.name,
        arguments = arguments.join(", "),
        index = lookup.index,
    )
}

/// One value as itself, several as a tuple. Packed, one value and the tuple of it are the same.
fn tuple(values: impl ExactSizeIterator<Item = String>) -> String {
    let several = values.len() > 1;
    let values = values.collect::<Vec<_>>().join(", ");
    if several { format!("({values})") } else { values }
}

fn own_values(fields: &[KeyField]) -> String {
    tuple(fields.iter().map(|field| {
        let member = format!("self.{}", names::field(&field.name));
        match field.kind {
            KeyKind::Text => format!("{member}.as_str()"),
            KeyKind::Bytes => format!("{member}.as_slice()"),
            KeyKind::U32 | KeyKind::U64 | KeyKind::I32 | KeyKind::I64 | KeyKind::Bool | KeyKind::Enumeration => member,
        }
    }))
}

fn argument_type(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::U32 => "u32",
        KeyKind::U64 => "u64",
        KeyKind::I32 | KeyKind::Enumeration => "i32",
        KeyKind::I64 => "i64",
        KeyKind::Bool => "bool",
        KeyKind::Text => "&str",
        KeyKind::Bytes => "&[u8]",
    }
}
