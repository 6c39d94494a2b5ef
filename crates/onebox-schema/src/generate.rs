//! The Rust text of a schema: prost's messages, pbjson's JSON, and what onebox adds.
//!
//! Generated code stays thin: it names types and numbers, and calls `onebox::private` for whatever can be written once.
//! It needs only the `onebox` crate beside it, and it is the same, byte for byte, for the same schema.

use prost_build::Module;
use prost_types::FileDescriptorProto;

use crate::SchemaError;
use crate::model::Model;
use crate::place::Place;
use crate::source::Sources;

mod debug;
mod messages;
mod service;
mod tables;

/// Where the generated module finds everything.
const PROST_PATH: &str = "::onebox::private::prost";

/// The text of the generated module.
pub(crate) fn module(model: &Model, sources: &Sources) -> Result<String, SchemaError> {
    let failed = |error: std::io::Error| sources.main.wrong(format!("no code could be generated: {error}"));
    let files = own_files(model, sources);
    let mut text = String::new();
    text.push_str(&head(&model.package));
    text.push_str(&prost_text(model, &files).map_err(failed)?);
    text.push_str(&pbjson_text(model, &files).map_err(failed)?);
    text.push_str(&debug::text(model));
    text.push_str(&messages::text(model));
    text.push_str(&tables::text(model));
    text.push_str(&service::text(model));
    text.push_str("}\n#[allow(unused_imports)]\npub use schema::*;\n");
    Ok(text)
}

/// The name of the file with the encoded descriptors, beside the generated module.
pub(crate) fn descriptors_file(package: &str) -> String {
    format!("onebox.{package}.descriptors")
}

fn head(package: &str) -> String {
    format!(
        "// Generated from the schema {package} by onebox-schema. Do not edit.\n\
         /// What the schema `{package}` is in Rust: messages, tables, methods and the service.\n\
         #[allow(missing_docs, unreachable_pub, unused, clippy::all, clippy::pedantic, clippy::nursery, rustdoc::all)]\n\
         pub mod schema {{\n\
         use ::onebox::private as onebox_private;\n\
         use ::onebox::private::{{pbjson, prost, serde}};\n"
    )
}

fn own_files(model: &Model, sources: &Sources) -> Vec<FileDescriptorProto> {
    let own = sources.pool.files().filter(|file| file.package_name() == model.package);
    own.map(|file| with_plain_comments(file.file_descriptor_proto().clone())).collect()
}

/// Comments become documentation of the Rust types. Code in them is not Rust, so nothing may look like a code block,
/// which `cargo test` would run.
fn with_plain_comments(mut file: FileDescriptorProto) -> FileDescriptorProto {
    let locations = file.source_code_info.iter_mut().flat_map(|info| &mut info.location);
    for location in locations {
        for comment in [&mut location.leading_comments, &mut location.trailing_comments].into_iter().flatten() {
            let plain = |line: &str| format!(" {}\n", line.trim_start().replace("```", "").replace("~~~", ""));
            *comment = comment.lines().map(plain).collect();
        }
        location.leading_detached_comments.clear();
    }
    file
}

fn prost_text(model: &Model, files: &[FileDescriptorProto]) -> std::io::Result<String> {
    let module = Module::from_protobuf_package_name(&model.package);
    let requests = files.iter().map(|file| (module.clone(), file.clone())).collect();
    let mut config = prost_build::Config::new();
    config.prost_path(PROST_PATH).btree_map(["."]).skip_debug(debug::without_derived(model));
    let mut modules = config.generate(requests)?;
    Ok(modules.remove(&module).unwrap_or_default())
}

fn pbjson_text(model: &Model, files: &[FileDescriptorProto]) -> std::io::Result<String> {
    let package = format!(".{}", model.package);
    let mut builder = pbjson_build::Builder::new();
    builder.btree_map([package.as_str()]);
    for file in files {
        builder.register_file_descriptor(file.clone());
    }
    let mut text = Vec::new();
    for (_, bytes) in builder.generate(&[package.as_str()], |_| Ok(Vec::new()))? {
        text.extend(bytes);
    }
    let text = String::from_utf8(text).map_err(std::io::Error::other)?;
    // Values that JSON writes as strings are collected into a map first; an ordered one keeps answers reproducible.
    let text = text.replace("std::collections::HashMap<", "std::collections::BTreeMap<");
    Ok(text.replace(" ::pbjson::", " ::onebox::private::pbjson::").replace("<::pbjson::", "<::onebox::private::pbjson::"))
}
