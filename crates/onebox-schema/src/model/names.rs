//! Names: what proto names become in Rust, and that no two generated things share one.

use std::collections::BTreeMap;

use prost_reflect::FileDescriptor;

use super::Model;
use crate::SchemaError;
use crate::place::Place;

/// Words of Rust that stand for themselves with `r#`.
const KEYWORDS: [&str; 46] = [
    "as", "break", "const", "continue", "else", "enum", "false", "fn", "for", "if", "impl", "in", "let", "loop", "match", "mod", "move",
    "mut", "pub", "ref", "return", "static", "struct", "trait", "true", "type", "unsafe", "use", "where", "while", "dyn", "abstract",
    "become", "box", "do", "final", "macro", "override", "priv", "typeof", "unsized", "virtual", "yield", "async", "await", "try",
];

/// What the generated module itself uses by these names.
const TAKEN: [&str; 14] =
    ["Tables", "SCHEMA", "Self", "Some", "None", "Ok", "Err", "Option", "Result", "Vec", "String", "Box", "ToString", "Iterator"];

/// Modules that the generated module uses; a message with messages inside becomes a module, too.
const MODULES_TAKEN: [&str; 3] = ["prost", "pbjson", "serde"];

/// Whether a name is lower_snake_case, as every converter of names understands it.
pub(crate) fn is_snake_case(name: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.split('_').all(word)
}

/// Whether a name is a word of Rust.
pub(crate) fn is_keyword(name: &str) -> bool {
    KEYWORDS.contains(&name) || ["self", "super", "crate", "extern", "gen"].contains(&name)
}

/// The Rust name of a field.
pub(crate) fn field(name: &str) -> String {
    if KEYWORDS.contains(&name) { format!("r#{name}") } else { name.to_owned() }
}

/// `two_words` as `TwoWords`.
pub(crate) fn upper_camel(name: &str) -> String {
    let mut camel = String::new();
    for word in name.split('_') {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

/// `TwoWords` as `two_words`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

/// The Rust path of a message or enum, inside the generated module.
pub(crate) fn rust_path(package: &str, full_name: &str) -> String {
    let inside = full_name.strip_prefix(package).and_then(|rest| rest.strip_prefix('.')).unwrap_or(full_name);
    let mut parts: Vec<&str> = inside.split('.').collect();
    let last = parts.pop().unwrap_or_default().to_owned();
    parts.iter().map(|outer| format!("{}::", field(&snake(outer)))).chain([last]).collect()
}

/// Whether a message's or enum's name stays what it is when Rust's converters of names have seen it: each capital
/// starts a word, so it follows a small letter or is followed by one.
fn is_upper_camel(name: &str) -> bool {
    let bytes = name.as_bytes();
    let after_small = |at: usize| bytes[..at].iter().rev().find(|byte| byte.is_ascii_alphabetic()).is_some_and(u8::is_ascii_lowercase);
    let before_small = |at: usize| bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
    bytes[0].is_ascii_uppercase()
        && bytes.iter().all(u8::is_ascii_alphanumeric)
        && (1..bytes.len()).all(|at| !bytes[at].is_ascii_uppercase() || after_small(at) || before_small(at))
}

/// Refuses names that Rust would change, and two things of one name.
pub(crate) fn check(model: &Model, files: &[FileDescriptor]) -> Result<(), SchemaError> {
    let enums = || {
        files
            .iter()
            .flat_map(FileDescriptor::enums)
            .chain(model.messages.iter().flat_map(|message| message.child_enums().collect::<Vec<_>>()))
    };
    let camel = "write it UpperCamelCase, with only the first letter of each word a capital, for example `GpuRack`";
    for message in &model.messages {
        if !is_upper_camel(message.name()) {
            return Err(message.wrong(format!("message `{}`: {camel}", message.name())));
        }
        if MODULES_TAKEN.contains(&snake(message.name()).as_str()) || TAKEN.contains(&message.name()) {
            return Err(
                message.wrong(format!("a message cannot be called {}, which generated code needs; choose another name", message.name()))
            );
        }
    }
    for enumeration in enums() {
        if !is_upper_camel(enumeration.name()) || TAKEN.contains(&enumeration.name()) {
            return Err(enumeration.wrong(format!("enum `{}`: {camel}, and not like a word of Rust", enumeration.name())));
        }
    }
    let mut claims = Claims::default();
    for message in model.messages.iter().filter(|message| message.parent_message().is_none()) {
        claims.claim(message.name().to_owned(), "a message", message)?;
    }
    for enumeration in enums().filter(|enumeration| enumeration.parent_message().is_none()) {
        claims.claim(enumeration.name().to_owned(), "an enum", &enumeration)?;
    }
    claims.claim(model.service.name().to_owned(), "the service", &model.service)?;
    for method in &model.methods {
        claims.claim(method.descriptor.name().to_owned(), "a method", &method.descriptor)?;
    }
    for table in &model.tables {
        claims.claim(accessor(&table.name), "a table's accessor", &table.row)?;
    }
    Ok(())
}

/// The name of a table's accessor struct.
pub(crate) fn accessor(table: &str) -> String {
    format!("{}Table", upper_camel(table))
}

/// Who has which name in the generated module.
#[derive(Default)]
struct Claims {
    taken: BTreeMap<String, &'static str>,
}

impl Claims {
    fn claim(&mut self, name: String, what: &'static str, place: &impl Place) -> Result<(), SchemaError> {
        if !name.starts_with(|first: char| first.is_ascii_uppercase()) || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(place.wrong(format!("{what} cannot be called `{name}`; write it UpperCamelCase, for example `GpuRack`")));
        }
        if TAKEN.contains(&name.as_str()) {
            return Err(place.wrong(format!("{what} cannot be called {name}, which generated code needs; choose another name")));
        }
        match self.taken.insert(name.clone(), what) {
            None => Ok(()),
            Some(other) => {
                Err(place.wrong(format!("{what} is called {name}, and so is {other}; both become Rust types of that name: rename one")))
            }
        }
    }
}
