//! Compiles a service's proto, at build time, into its typed tables, events, refusals, methods and routes.
//!
//! An author's `build.rs` is one line: `fn main() { onebox_schema::build("inventory.proto") }`. Whatever is wrong with
//! the schema is said as `inventory.proto:LINE: message`, and nothing is generated.
//!
//! Reading order: [`compile`], `source` (files to descriptors), `model` (descriptors to a checked schema), `generate`
//! (the Rust text), `lock` and `compatibility` (what old events and rows demand of a new schema). Nothing but
//! [`build`] knows of cargo and its environment.

use std::fmt;
use std::path::{Path, PathBuf};

mod build;
mod compatibility;
mod generate;
mod lock;
mod model;
mod options;
mod place;
mod source;
#[cfg(test)]
mod tests;

pub use build::build;

/// What a schema is compiled into.
#[derive(Debug)]
pub struct Compiled {
    /// The proto package, for example `inventory.v1`.
    pub package: String,
    /// The generated module.
    pub rust: String,
    /// The encoded `FileDescriptorSet`, with imports, comments and custom options.
    pub descriptors: Vec<u8>,
    /// The text of `schema.lock` that belongs to this schema.
    pub lock: String,
    /// The files that were read.
    pub files: Vec<PathBuf>,
}

/// What is wrong with a schema, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// The proto file, or the lock.
    pub file: String,
    /// The line, from 1; 0 if it is about the whole file.
    pub line: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for SchemaError {}

/// Compiles the schema at `proto`, whose imports stand beside it. `lock` is the committed `schema.lock`, if there is
/// one: a schema under which old events or rows could not be read is refused.
///
/// # Errors
/// The first mistake found.
pub fn compile(proto: &Path, lock: Option<&str>) -> Result<Compiled, SchemaError> {
    let (folder, name) = source::split(proto)?;
    compile_sources(source::from_folder(folder), &name, lock)
}

fn compile_sources(resolver: impl protox::file::FileResolver + 'static, name: &str, lock: Option<&str>) -> Result<Compiled, SchemaError> {
    let sources = source::read(resolver, name)?;
    let model = model::read(&sources)?;
    let fresh = lock::Lock::of(&model);
    if let Some(text) = lock {
        compatibility::check(&lock::Lock::parse(text)?, &fresh, &model)?;
    }
    let rust = generate::module(&model, &sources)?;
    Ok(Compiled { package: model.package.clone(), rust, lock: fresh.text(), descriptors: sources.descriptors, files: sources.files })
}
