//! What is refused, and in which words; what the lock lets pass.

use std::collections::BTreeMap;

use protox::file::{File, FileResolver};

use crate::{Compiled, SchemaError, compile_sources};

mod compatibility;
mod mistakes;

/// Files in memory.
struct Files(BTreeMap<String, String>);

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(source) => File::from_source(name, source),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// Compiles a schema that consists of the header, a service and `text`. The first line of `text` is line 1.
fn compile_text(text: &str, lock: Option<&str>) -> Result<Compiled, SchemaError> {
    let head = "syntax = \"proto3\"; package shop.v1; import \"onebox/options.proto\"; import \"google/api/annotations.proto\"; ";
    let service = if text.contains("service ") { "" } else { "service Shop { rpc Ask(AskRequest) returns (AskResponse); } message AskRequest {} message AskResponse {} " };
    compile_files(&[("shop.proto", &format!("{head}{service}{text}"))], lock)
}

fn compile_files(files: &[(&str, &str)], lock: Option<&str>) -> Result<Compiled, SchemaError> {
    let sources = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    compile_sources(Files(sources), files[0].0, lock)
}
