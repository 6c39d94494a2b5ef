//! What is refused, and in which words; what the lock lets pass; and what is generated, compared with the files that
//! the test beside them compiles and runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use expect_test::expect_file;
use protox::file::{File, FileResolver};

use crate::{Compiled, SchemaError, compile, compile_sources};

mod compatibility;
mod compatibility_of_calls;
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
    let service = if text.contains("service ") {
        ""
    } else {
        "service Shop { rpc Ask(AskRequest) returns (AskResponse); } message AskRequest {} message AskResponse {} "
    };
    compile_files(&[("shop.proto", &format!("{head}{service}{text}"))], lock)
}

fn compile_files(files: &[(&str, &str)], lock: Option<&str>) -> Result<Compiled, SchemaError> {
    let sources = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    compile_sources(Files(sources), files[0].0, lock)
}

#[test]
fn what_is_generated_is_what_it_was() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/everything");
    let compiled = compile(&folder.join("everything.proto"), None).unwrap();
    let descriptors = folder.join("onebox.everything.v1.descriptors");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&descriptors, &compiled.descriptors).unwrap();
    }
    expect_file![folder.join("onebox.everything.v1.generated")].assert_eq(&compiled.rust);
    expect_file![folder.join("schema.lock")].assert_eq(&compiled.lock);
    assert!(fs::read(&descriptors).unwrap() == compiled.descriptors, "the descriptors have changed");
    assert!(compile(&folder.join("everything.proto"), Some(&compiled.lock)).is_ok());
}

#[test]
fn a_file_that_is_not_there() {
    let error = compile(Path::new("nowhere/shop.proto"), None).unwrap_err();
    expect_test::expect!["nowhere/shop.proto: there is no such file"].assert_eq(&error.to_string());
}
