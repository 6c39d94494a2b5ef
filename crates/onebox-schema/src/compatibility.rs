//! What everything that was stored demands of a new schema: it must still be read as it was meant.
//!
//! The committed lock is compared with the new schema from its roots downwards: the numbers of events and tables, and the
//! names of methods that write, whose requests stand in the log and whose answers are kept. Names inside may change, since
//! only numbers are stored; but a name that turns up at another number of the same scope says that the meaning moved,
//! which the numbers and types alone cannot tell.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, MessageDescriptor};

use crate::SchemaError;
use crate::lock::{Lock, LockedField, LockedMessage, LockedMethod, LockedTable};
use crate::model::Model;
use crate::options;
use crate::place::Place;

/// Refuses a schema under which something that `old` describes could not be read.
pub(crate) fn check(old: &Lock, new: &Lock, model: &Model) -> Result<(), SchemaError> {
    let mut comparison = Comparison { old, new, model, seen: BTreeSet::new() };
    comparison.moved_roots()?;
    for (id, old_name) in &old.events {
        let Some(new_name) = new.events.get(id) else { return Err(comparison.lost_event(*id, old_name)) };
        comparison.messages(old_name, new_name)?;
    }
    for (id, old_table) in &old.tables {
        let Some(new_table) = new.tables.get(id) else { return Err(comparison.lost_table(*id, old_table)) };
        comparison.messages(&old_table.row, &new_table.row)?;
        comparison.tables(old_table, new_table)?;
    }
    for old_method in &old.methods {
        comparison.methods(old_method)?;
    }
    Ok(())
}

struct Comparison<'c> {
    old: &'c Lock,
    new: &'c Lock,
    model: &'c Model,
    /// Pairs of messages and enums, old and new, that were compared.
    seen: BTreeSet<(String, String)>,
}

impl Comparison<'_> {
    /// Events and tables whose ids were exchanged.
    fn moved_roots(&self) -> Result<(), SchemaError> {
        if let Some(Moved { name, was, now }) = moved(names(&self.old.events), names(&self.new.events)) {
            let found = self.model.events.iter().find(|event| event.id == now);
            return Err(found.expect("the new lock was made from this model").message.wrong_option(
                options::EVENT,
                format!(
                    "`{name}` was event {was} and is now event {now}: old events would be read wrongly; give it back id {was}, or give a \
                     new event another name"
                ),
            ));
        }
        let by_name = moved(table_names(self.old), table_names(self.new)).map(|moved| (moved, "table"));
        let by_row = moved(table_rows(self.old), table_rows(self.new)).map(|moved| (moved, "the row of table"));
        let Some((Moved { name, was, now }, what)) = by_name.or(by_row) else { return Ok(()) };
        let found = self.model.tables.iter().find(|table| table.id == now);
        Err(found.expect("the new lock was made from this model").row.wrong_option(
            options::TABLE,
            format!(
                "`{name}` was {what} {was} and is now {what} {now}: stored rows would be read wrongly; give it back id {was}, or give a new \
                 table another name"
            ),
        ))
    }

    fn lost_event(&self, id: u32, old_name: &str) -> SchemaError {
        let moved = self.model.events.iter().find(|event| event.message.name() == old_name);
        match moved {
            Some(event) => event.message.wrong_option(
                options::EVENT,
                format!(
                    "event {old_name} had id {id} and now has {}; the log stores the id: write {id} again, and new kinds of facts as new \
                     events",
                    event.id
                ),
            ),
            None => self.model.service.parent_file().wrong(format!(
                "event {old_name} (id {id}) is gone, but logs hold it; put it back with its `Apply`, and just record it no more"
            )),
        }
    }

    fn lost_table(&self, id: u32, old: &LockedTable) -> SchemaError {
        let moved = self.model.tables.iter().find(|table| table.row.name() == old.row);
        match moved {
            Some(table) => table.row.wrong_option(
                options::TABLE,
                format!(
                    "table `{}` had id {id} and now has {}; its rows are stored under {id}: write {id} again, or make a new message for a \
                     new table",
                    old.name, table.id
                ),
            ),
            None => self.model.service.parent_file().wrong(format!(
                "table `{}` (id {id}, rows {}) is gone, but rows of it are stored; put it back, and just write to it no more",
                old.name, old.row
            )),
        }
    }

    /// Compares what is stored of a method: by its name, since that is how the log and the kept answers tell it.
    fn methods(&mut self, old: &LockedMethod) -> Result<(), SchemaError> {
        let Some(old_stored) = &old.stored else { return Ok(()) };
        let now = self.new.methods.iter().find(|method| method.name == old.name);
        match now.and_then(|method| method.stored.as_ref()) {
            Some(new_stored) => {
                self.messages(&old_stored.request, &new_stored.request)?;
                self.messages(&old_stored.response, &new_stored.response)
            }
            None => Err(self.lost_method(old)),
        }
    }

    fn lost_method(&self, old: &LockedMethod) -> SchemaError {
        let (name, line) = (&old.name, old.line());
        let way_out = format!(
            "retained idempotency keys and sessions that used it would be misread or refused; keep it as it was for one release (it may \
             refuse every request). Removing it is allowed only if its line `{line}` is removed from schema.lock by hand in the same commit"
        );
        match self.model.methods.iter().find(|method| method.descriptor.name() == name) {
            Some(method) => method.descriptor.wrong(format!("method {name} wrote and is now read_only: {way_out}")),
            None => self.model.service.wrong(format!("method {name} is gone or has another name: {way_out}")),
        }
    }

    /// Compares what was stored as `old_name` with what would read it.
    fn messages(&mut self, old_name: &str, new_name: &str) -> Result<(), SchemaError> {
        if !self.seen.insert((old_name.to_owned(), new_name.to_owned())) {
            return Ok(());
        }
        let (Some(old), Some(new)) = (self.old.messages.get(old_name), self.new.messages.get(new_name)) else {
            return Err(broken_lock(old_name));
        };
        if let Some(Moved { name, was, now }) = moved(field_names(old), field_names(new)) {
            return Err(self.field(new_name, now).wrong(format!(
                "`{name}` was field {was} of {old_name} and is now field {now}: stored messages would be read wrongly; give it back number \
                 {was}, or give a new field another name"
            )));
        }
        for (number, old_field) in &old.fields {
            match new.fields.get(number) {
                Some(new_field) => self.fields(new_name, *number, old_field, new_field)?,
                None if old_field.new_id => return Err(self.lost_new_id(new_name, *number, &old_field.name)),
                None if new.reserves(*number) => {}
                None => return Err(self.lost_field(new_name, *number, &old_field.name, new)),
            }
        }
        self.reserved(new_name, old, new)
    }

    fn lost_field(&self, message: &str, number: u32, name: &str, new: &LockedMessage) -> SchemaError {
        match new.fields.iter().find(|(_, field)| field.name == name) {
            Some((now, _)) => self.field(message, *now).wrong(format!(
                "field `{name}` of {message} had number {number} and now has {now}; stored messages hold it under {number}: write {number} \
                 again, or keep {now} and put `reserved {number};` beside it"
            )),
            None => self.message(message).wrong(format!(
                "field `{name}` = {number} of {message} is gone, but stored messages hold it; put it back, or write `reserved {number};` in \
                 its place"
            )),
        }
    }

    /// No reserved number makes up for a field that replay counts ids by.
    fn lost_new_id(&self, message: &str, number: u32, name: &str) -> SchemaError {
        self.message(message).wrong(format!(
            "field `{name}` = {number} of {message} is marked new_id and is gone: replaying stored events would no longer move the counter \
             of ids, and ids would be given out twice; keep it as it was, unused"
        ))
    }

    /// A number that was reserved stays so: stored messages may still hold what it once meant.
    fn reserved(&self, new_name: &str, old: &LockedMessage, new: &LockedMessage) -> Result<(), SchemaError> {
        for (number, field) in &new.fields {
            if old.reserves(*number) {
                return Err(self.field(new_name, *number).wrong(format!(
                    "field `{}` of {new_name} takes number {number}, which was reserved: stored messages may hold something else under it; \
                     take a new number and put `reserved {number};` back",
                    field.name
                )));
            }
        }
        for range in &old.reserved {
            if let Some(number) = not_reserved(*range, &new.reserved) {
                return Err(self.message(new_name).wrong(format!(
                    "{new_name} no longer reserves number {number}: stored messages may hold something else under it; put `reserved {number};` back"
                )));
            }
        }
        Ok(())
    }

    fn fields(&mut self, message: &str, number: u32, old: &LockedField, new: &LockedField) -> Result<(), SchemaError> {
        let way_out = format!("write it as it was, or make a new field with a new number and put `reserved {number};` in its place");
        if !self.kinds(&old.kind, &new.kind)? {
            return Err(self.field(message, number).wrong(format!(
                "number {number} of {message} was `{}` of type {} and now is `{}` of type {}; stored messages would be misread: {way_out}",
                old.name, old.kind, new.name, new.kind
            )));
        }
        let one = |label: &str| label == "single" || label == "optional";
        if old.label != new.label && !(one(&old.label) && one(&new.label)) {
            return Err(self.field(message, number).wrong(format!(
                "field `{}` of {message} was {} and now is {}; stored messages would be misread: {way_out}",
                new.name,
                words(&old.label),
                words(&new.label)
            )));
        }
        if old.new_id != new.new_id {
            let (before, now) = if old.new_id { ("was marked new_id", "is not") } else { ("was not marked new_id", "is") };
            return Err(self.field(message, number).wrong(format!(
                "field `{}` of {message} {before} and now {now}; replaying stored events would count ids differently: leave it as it was, \
                 and make a new event",
                new.name
            )));
        }
        Ok(())
    }

    /// Whether values of the old type are read rightly as the new one.
    fn kinds(&mut self, old: &str, new: &str) -> Result<bool, SchemaError> {
        if let (Some((old_key, old_value)), Some((new_key, new_value))) = (map_kinds(old), map_kinds(new)) {
            return Ok(old_key == new_key && self.kinds(old_value, new_value)?);
        }
        if self.old.messages.contains_key(old) && self.new.messages.contains_key(new) {
            let read = self.messages(old, new);
            // If the old type is still there, the field was given another one; otherwise the type has a new name, and
            // what is wrong is inside it.
            let exchanged = old != new && self.new.messages.contains_key(old);
            return if exchanged { Ok(read.is_ok()) } else { read.map(|()| true) };
        }
        if self.old.enums.contains_key(old) && self.new.enums.contains_key(new) {
            // What the old type's values meant cannot be what another type's values mean.
            let exchanged = old != new && self.new_enum(old).is_some();
            return if exchanged { Ok(false) } else { self.enums(old, new).map(|()| true) };
        }
        Ok(old == new)
    }

    fn enums(&mut self, old_name: &str, new_name: &str) -> Result<(), SchemaError> {
        let (old, new) = (&self.old.enums[old_name], &self.new.enums[new_name]);
        let file = self.model.service.parent_file();
        let found = self.new_enum(new_name);
        let wrong = |message: String| found.as_ref().map_or_else(|| file.wrong(message.clone()), |found| found.wrong(message.clone()));
        if let Some(Moved { name, was, now }) = moved(names(&old.values), names(&new.values)) {
            return Err(wrong(format!(
                "`{name}` was value {was} of enum {old_name} and is now value {now}: stored messages would be read wrongly; give it back \
                 number {was}, or give a new value another name"
            )));
        }
        for (number, name) in &old.values {
            if !new.values.contains_key(number) && !new.reserves(*number) {
                return Err(wrong(format!(
                    "value {name} = {number} of enum {new_name} is gone, but stored messages hold it; put it back, or write `reserved {number};`"
                )));
            }
        }
        for (number, name) in &new.values {
            if old.reserves(*number) {
                return Err(wrong(format!(
                    "value {name} of enum {new_name} takes number {number}, which was reserved; take a new number and put `reserved {number};` back"
                )));
            }
        }
        for range in &old.reserved {
            if let Some(number) = not_reserved(*range, &new.reserved) {
                return Err(wrong(format!(
                    "enum {new_name} no longer reserves number {number}: stored messages may mean something else by it; put `reserved {number};` back"
                )));
            }
        }
        Ok(())
    }

    /// Keys and indexes are compared by the numbers of their fields, so that a field may change its name.
    fn tables(&self, old: &LockedTable, new: &LockedTable) -> Result<(), SchemaError> {
        let (Some(old_row), Some(new_row)) = (self.old.messages.get(&old.row), self.new.messages.get(&new.row)) else {
            return Err(broken_lock(&old.row));
        };
        let wrong = |message: String| self.message(&new.row).wrong_option(options::TABLE, message);
        let name = &new.name;
        if numbers(old_row, &old.key) != numbers(new_row, &new.key) {
            return Err(wrong(format!(
                "the key of table `{name}` was [{}] and now is [{}]; stored rows stand under the old one: write it as it was, or make a new \
                 table with a new id",
                old.key.join(", "),
                new.key.join(", ")
            )));
        }
        for (position, old_index) in old.indexes.iter().enumerate() {
            let same = new.indexes.get(position).is_some_and(|new_index| {
                new_index.unique == old_index.unique && numbers(old_row, &old_index.fields) == numbers(new_row, &new_index.fields)
            });
            if !same {
                return Err(wrong(format!(
                    "index {} of table `{name}` was {}[{}] and is not so any more; its stored entries stand under its position and fields: write \
                     it as it was, in its place, or make a new table with a new id",
                    position + 1,
                    if old_index.unique { "unique " } else { "" },
                    old_index.fields.join(", ")
                )));
            }
        }
        if let Some(added) = new.indexes.get(old.indexes.len()) {
            return Err(wrong(format!(
                "index [{}] was added to table `{name}`, whose stored rows have no entries in it and would not be found; make a new table \
                 with a new id that has the index",
                added.fields.join(", ")
            )));
        }
        Ok(())
    }

    /// An enum of the new schema, whether or not anything stored reaches it.
    fn new_enum(&self, name: &str) -> Option<EnumDescriptor> {
        self.model.service.parent_file().parent_pool().get_enum_by_name(&format!("{}.{name}", self.model.package))
    }

    fn message(&self, name: &str) -> MessageDescriptor {
        let full = format!("{}.{name}", self.model.package);
        let found = self.model.messages.iter().find(|message| message.full_name() == full);
        found.expect("the new lock was made from this model").clone()
    }

    fn field(&self, message: &str, number: u32) -> prost_reflect::FieldDescriptor {
        self.message(message).get_field(number).expect("the new lock was made from this model")
    }
}

/// A name that stood at one number and now stands at another of the same scope.
struct Moved<'n, N> {
    name: &'n str,
    was: N,
    now: N,
}

/// The first name that left its number to another name, or took the number of another.
///
/// A name that went from a number that is now free to one that was free is not among them: nothing stored is read by a
/// wrong name, and whether the old number may be free is a question of what is lost.
fn moved<'n, N: Copy + Ord>(old: BTreeMap<N, &'n str>, new: BTreeMap<N, &'n str>) -> Option<Moved<'n, N>> {
    old.iter().find_map(|(was, name)| {
        let (now, _) = new.iter().find(|(_, new_name)| *new_name == name)?;
        let misread = was != now && (new.contains_key(was) || old.contains_key(now));
        misread.then_some(Moved { name, was: *was, now: *now })
    })
}

fn names<N: Copy + Ord>(named: &BTreeMap<N, String>) -> BTreeMap<N, &str> {
    named.iter().map(|(number, name)| (*number, name.as_str())).collect()
}

fn field_names(message: &LockedMessage) -> BTreeMap<u32, &str> {
    message.fields.iter().map(|(number, field)| (*number, field.name.as_str())).collect()
}

fn table_names(lock: &Lock) -> BTreeMap<u32, &str> {
    lock.tables.iter().map(|(id, table)| (*id, table.name.as_str())).collect()
}

fn table_rows(lock: &Lock) -> BTreeMap<u32, &str> {
    lock.tables.iter().map(|(id, table)| (*id, table.row.as_str())).collect()
}

fn broken_lock(name: &str) -> SchemaError {
    let message = format!("the lock names {name} and does not describe it; restore the committed file");
    SchemaError { file: "schema.lock".to_owned(), line: 0, message }
}

/// The first number of a reserved range that is reserved no more.
fn not_reserved<N: Into<i64> + Copy>(range: (N, N), now: &BTreeSet<(N, N)>) -> Option<i64> {
    let (mut number, last) = (range.0.into(), range.1.into());
    // Ascending, so that each range can only move the number on.
    let mut ranges: Vec<(i64, i64)> = now.iter().map(|(first, last)| ((*first).into(), (*last).into())).collect();
    ranges.sort_unstable();
    for (first, last) in ranges {
        if (first..=last).contains(&number) {
            number = last + 1;
        }
    }
    (number <= last).then_some(number)
}

fn map_kinds(kind: &str) -> Option<(&str, &str)> {
    kind.strip_prefix("map<")?.strip_suffix('>')?.split_once(',')
}

fn numbers(row: &LockedMessage, names: &[String]) -> Vec<Option<u32>> {
    let number = |name: &String| row.fields.iter().find(|(_, field)| field.name == *name).map(|(number, _)| *number);
    names.iter().map(number).collect()
}

fn words(label: &str) -> String {
    match label.strip_prefix("oneof:") {
        Some(oneof) => format!("in oneof `{oneof}`"),
        None => label.to_owned(),
    }
}
