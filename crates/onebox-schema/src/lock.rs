//! `schema.lock`: the shape of everything that is stored, as text that is committed beside the proto.
//!
//! It lists the events, the tables, the methods, and every message and enum that is stored for them: a method that writes
//! names its request, which stands in the log, and its response, which is kept to answer a repeated request; one that only
//! reads stores nothing and is there for the record. One line a fact, in a fixed order, so that a change of the schema is a
//! small difference. The format:
//!
//! ```text
//! version 1
//! event 7 Reserved
//! table 3 balances Balance
//!   key location product
//!   index 1 unique code
//! message Reserved
//!   1 reservation uint64 single new_id
//!   3 items ReservedItem repeated
//!   reserved 2
//! enum Kind
//!   0 KIND_UNKNOWN
//! method Reserve ReserveRequest ReserveResponse
//! method GetStock
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use crate::SchemaError;
use crate::model::{KeyField, Method, Model, is_optional, type_text};
use crate::options;

const HEAD: &str = "# What is stored under this schema. Written by the build; commit it, and edit it only where the build tells you to.\n";
const VERSION: &str = "version 1";

/// The shape of everything that is stored.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) events: BTreeMap<u32, String>,
    pub(crate) tables: BTreeMap<u32, LockedTable>,
    pub(crate) messages: BTreeMap<String, LockedMessage>,
    pub(crate) enums: BTreeMap<String, LockedEnum>,
    /// In the order of the service.
    pub(crate) methods: Vec<LockedMethod>,
}

/// A table: the names of its key's fields are names in its row.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LockedTable {
    pub(crate) name: String,
    pub(crate) row: String,
    pub(crate) key: Vec<String>,
    pub(crate) indexes: Vec<LockedIndex>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LockedIndex {
    pub(crate) unique: bool,
    pub(crate) fields: Vec<String>,
}

/// A method, which is stored by its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LockedMethod {
    pub(crate) name: String,
    /// What is stored of it. A method that only reads has nothing here, nor has one of a lock that listed names alone.
    pub(crate) stored: Option<StoredCall>,
}

/// The messages of a method that writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StoredCall {
    pub(crate) request: String,
    pub(crate) response: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LockedMessage {
    pub(crate) fields: BTreeMap<u32, LockedField>,
    /// First and last number of each reserved range.
    pub(crate) reserved: BTreeSet<(u32, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockedField {
    pub(crate) name: String,
    /// A scalar's name, a message's or enum's name inside the package, or `map<key,value>`.
    pub(crate) kind: String,
    /// `single`, `optional`, `repeated`, `map`, or `oneof:name`.
    pub(crate) label: String,
    pub(crate) new_id: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LockedEnum {
    pub(crate) values: BTreeMap<i32, String>,
    pub(crate) reserved: BTreeSet<(i32, i32)>,
}

impl LockedMessage {
    pub(crate) fn reserves(&self, number: u32) -> bool {
        self.reserved.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }
}

impl LockedEnum {
    pub(crate) fn reserves(&self, number: i32) -> bool {
        self.reserved.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }
}

impl LockedMethod {
    /// Its line in the text.
    pub(crate) fn line(&self) -> String {
        match &self.stored {
            Some(StoredCall { request, response }) => format!("method {} {request} {response}", self.name),
            None => format!("method {}", self.name),
        }
    }
}

impl Lock {
    /// What a schema stores.
    pub(crate) fn of(model: &Model) -> Lock {
        let mut lock = Lock::default();
        for event in &model.events {
            lock.events.insert(event.id, event.message.name().to_owned());
            lock.reach(&model.package, &event.message);
        }
        for table in &model.tables {
            let names = |fields: &[KeyField]| fields.iter().map(|field| field.name.clone()).collect();
            let index = |index: &crate::model::Index| LockedIndex { unique: index.unique, fields: names(&index.fields) };
            let indexes = table.indexes.iter().map(index).collect();
            let locked = LockedTable { name: table.name.clone(), row: table.row.name().to_owned(), key: names(&table.key), indexes };
            lock.tables.insert(table.id, locked);
            lock.reach(&model.package, &table.row);
        }
        for method in &model.methods {
            let locked = lock.locked_method(&model.package, method);
            lock.methods.push(locked);
        }
        lock
    }

    fn locked_method(&mut self, package: &str, method: &Method) -> LockedMethod {
        let mut reached = |message: MessageDescriptor| {
            self.reach(package, &message);
            inside(package, message.full_name())
        };
        let stored = (!method.read_only)
            .then(|| StoredCall { request: reached(method.descriptor.input()), response: reached(method.descriptor.output()) });
        LockedMethod { name: method.descriptor.name().to_owned(), stored }
    }

    fn reach(&mut self, package: &str, message: &MessageDescriptor) {
        let name = inside(package, message.full_name());
        if self.messages.contains_key(&name) {
            return;
        }
        let reserved = message.reserved_ranges().map(|range| (range.start, range.end - 1)).collect();
        self.messages.insert(name.clone(), LockedMessage { fields: BTreeMap::new(), reserved });
        for field in message.fields() {
            let locked = self.locked_field(package, &field);
            let message = self.messages.get_mut(&name).expect("it was put there above");
            message.fields.insert(field.number(), locked);
        }
    }

    fn locked_field(&mut self, package: &str, field: &FieldDescriptor) -> LockedField {
        let (kind, label) = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let (key, value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
                self.reach_kind(package, &value);
                (format!("map<{},{}>", type_text(package, &key), type_text(package, &value)), "map".to_owned())
            }
            kind => {
                self.reach_kind(package, &kind);
                (type_text(package, &kind), label(field))
            }
        };
        LockedField { name: field.name().to_owned(), kind, label, new_id: options::field(field).new_id }
    }

    fn reach_kind(&mut self, package: &str, kind: &Kind) {
        match kind {
            Kind::Message(message) => self.reach(package, message),
            Kind::Enum(enumeration) => self.reach_enum(package, enumeration),
            _ => {}
        }
    }

    fn reach_enum(&mut self, package: &str, enumeration: &EnumDescriptor) {
        let values = enumeration.values().map(|value| (value.number(), value.name().to_owned())).collect();
        let reserved = enumeration.reserved_ranges().map(|range| (*range.start(), *range.end())).collect();
        self.enums.insert(inside(package, enumeration.full_name()), LockedEnum { values, reserved });
    }

    /// The text.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{HEAD}{VERSION}\n");
        for (id, name) in &self.events {
            let _ = writeln!(text, "event {id} {name}");
        }
        for (id, table) in &self.tables {
            let _ = writeln!(text, "table {id} {} {}\n  key {}", table.name, table.row, table.key.join(" "));
            for (position, index) in table.indexes.iter().enumerate() {
                let unique = if index.unique { "unique" } else { "many" };
                let _ = writeln!(text, "  index {} {unique} {}", position + 1, index.fields.join(" "));
            }
        }
        for (name, message) in &self.messages {
            let _ = writeln!(text, "message {name}");
            for (number, field) in &message.fields {
                let new_id = if field.new_id { " new_id" } else { "" };
                let _ = writeln!(text, "  {number} {} {} {}{new_id}", field.name, field.kind, field.label);
            }
            for (first, last) in &message.reserved {
                let _ = writeln!(text, "  reserved {first} {last}");
            }
        }
        for (name, enumeration) in &self.enums {
            let _ = writeln!(text, "enum {name}");
            for (number, name) in &enumeration.values {
                let _ = writeln!(text, "  {number} {name}");
            }
            for (first, last) in &enumeration.reserved {
                let _ = writeln!(text, "  reserved {first} {last}");
            }
        }
        for method in &self.methods {
            let _ = writeln!(text, "{}", method.line());
        }
        text
    }

    /// Reads the text.
    pub(crate) fn parse(text: &str) -> Result<Lock, SchemaError> {
        let mut reader = LockReader::default();
        let mut versioned = false;
        for (number, line) in text.lines().enumerate() {
            let fail = |message: &str| SchemaError { file: "schema.lock".to_owned(), line: number + 1, message: message.to_owned() };
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if !versioned {
                versioned = line == VERSION;
                if !versioned {
                    return Err(fail(
                        "this is not a lock that this onebox reads; restore the committed file, or build with the version that wrote it",
                    ));
                }
                continue;
            }
            reader
                .line(line)
                .ok_or_else(|| fail("this line is not understood; restore the committed file (the build writes it, people do not)"))?;
        }
        if !versioned {
            return Err(SchemaError {
                file: "schema.lock".to_owned(),
                line: 0,
                message: "the lock is empty; restore the committed file".to_owned(),
            });
        }
        Ok(reader.lock)
    }
}

/// What the indented lines that follow belong to.
#[derive(Default)]
enum Section {
    #[default]
    None,
    Table(u32),
    Message(String),
    Enum(String),
}

#[derive(Default)]
struct LockReader {
    lock: Lock,
    section: Section,
}

impl LockReader {
    /// Takes one line; `None` if it is not understood.
    fn line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with(' ') {
            return self.inner(&words);
        }
        self.section = Section::None;
        match words[..] {
            ["event", id, name] => not_twice(self.lock.events.insert(id.parse().ok()?, name.to_owned())),
            ["table", id, name, row] => {
                let id = id.parse().ok()?;
                self.section = Section::Table(id);
                let table = LockedTable { name: name.to_owned(), row: row.to_owned(), ..LockedTable::default() };
                not_twice(self.lock.tables.insert(id, table))
            }
            ["message", name] => {
                self.section = Section::Message(name.to_owned());
                not_twice(self.lock.messages.insert(name.to_owned(), LockedMessage::default()))
            }
            ["enum", name] => {
                self.section = Section::Enum(name.to_owned());
                not_twice(self.lock.enums.insert(name.to_owned(), LockedEnum::default()))
            }
            ["method", name] => {
                self.lock.methods.push(LockedMethod { name: name.to_owned(), stored: None });
                Some(())
            }
            ["method", name, request, response] => {
                let stored = StoredCall { request: request.to_owned(), response: response.to_owned() };
                self.lock.methods.push(LockedMethod { name: name.to_owned(), stored: Some(stored) });
                Some(())
            }
            _ => None,
        }
    }

    fn inner(&mut self, words: &[&str]) -> Option<()> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match &self.section {
            Section::None => None,
            Section::Table(id) => {
                let table = self.lock.tables.get_mut(id)?;
                match words {
                    ["key", fields @ ..] => table.key = owned(fields),
                    ["index", _, unique @ ("unique" | "many"), fields @ ..] => {
                        table.indexes.push(LockedIndex { unique: *unique == "unique", fields: owned(fields) });
                    }
                    _ => return None,
                }
                Some(())
            }
            Section::Message(name) => {
                let message = self.lock.messages.get_mut(name)?;
                match words {
                    ["reserved", first, last] => {
                        message.reserved.insert((first.parse().ok()?, last.parse().ok()?));
                        Some(())
                    }
                    [number, name, kind, label, flags @ ..] if flags.is_empty() || *flags == ["new_id"] => {
                        let (name, kind, label) = ((*name).to_owned(), (*kind).to_owned(), (*label).to_owned());
                        let field = LockedField { name, kind, label, new_id: !flags.is_empty() };
                        not_twice(message.fields.insert(number.parse().ok()?, field))
                    }
                    _ => None,
                }
            }
            Section::Enum(name) => {
                let enumeration = self.lock.enums.get_mut(name)?;
                match words {
                    ["reserved", first, last] => {
                        enumeration.reserved.insert((first.parse().ok()?, last.parse().ok()?));
                        Some(())
                    }
                    [number, name] => not_twice(enumeration.values.insert(number.parse().ok()?, (*name).to_owned())),
                    _ => None,
                }
            }
        }
    }
}

fn not_twice<T>(before: Option<T>) -> Option<()> {
    before.is_none().then_some(())
}

fn label(field: &FieldDescriptor) -> String {
    match field.containing_oneof() {
        _ if field.is_list() => "repeated".to_owned(),
        _ if is_optional(field) => "optional".to_owned(),
        None => "single".to_owned(),
        Some(oneof) => format!("oneof:{}", oneof.name()),
    }
}

fn inside(package: &str, full_name: &str) -> String {
    full_name.strip_prefix(package).and_then(|rest| rest.strip_prefix('.')).unwrap_or(full_name).to_owned()
}
