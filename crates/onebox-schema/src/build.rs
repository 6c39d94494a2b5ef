//! The build script's side: reads the schema and its lock, writes the generated files, and talks to cargo.

use std::path::Path;
use std::{env, fs, io, process};

use crate::{Compiled, SchemaError, compile, generate};

/// The lock's name, beside the proto.
const LOCK_NAME: &str = "schema.lock";

/// Compiles the schema at `proto`, a path from the crate's folder, for `onebox::schema!` to include. The whole of an
/// author's `build.rs` is `fn main() { onebox_schema::build("inventory.proto") }`.
///
/// Beside the proto stands `schema.lock`, to be committed: the shape of all that was stored so far. It is written when
/// it is absent and brought up to date when the schema has grown; where `CI` is set, either is an error instead.
///
/// Whatever is wrong is printed, and the build ends.
#[expect(clippy::disallowed_methods, reason = "a build script is one line for its author, and has nothing to destroy")]
#[expect(clippy::print_stderr, reason = "cargo shows a build script's words on stderr when it fails")]
pub fn build(proto: impl AsRef<Path>) {
    if let Err(error) = run(proto.as_ref()) {
        eprintln!("{error}");
        process::exit(1);
    }
}

#[expect(clippy::print_stdout, reason = "cargo reads a build script's instructions from stdout")]
fn run(proto: &Path) -> Result<(), SchemaError> {
    let lock_path = proto.with_file_name(LOCK_NAME);
    println!("cargo::rerun-if-changed={}", proto.display());
    println!("cargo::rerun-if-changed={}", lock_path.display());
    println!("cargo::rerun-if-env-changed=CI");
    let lock = read_lock(&lock_path)?;
    let compiled = compile(proto, lock.as_deref())?;
    for file in &compiled.files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    if lock.as_deref() != Some(&compiled.lock) {
        let warning = outdated(&lock_path, lock.is_some(), in_ci())?;
        write(&lock_path, compiled.lock.as_bytes())?;
        println!("cargo::warning={warning}");
    }
    write_generated(&compiled)
}

/// The warning with which the lock is written, or the error where nobody could commit it.
fn outdated(lock_path: &Path, there: bool, ci: bool) -> Result<String, SchemaError> {
    let file = lock_path.display().to_string();
    match (ci, there) {
        (false, false) => Ok(format!("{file} was written; commit it: it keeps what was stored readable")),
        (false, true) => Ok(format!("{file} was brought up to date with the schema; commit it with the change")),
        (true, false) => {
            Err(SchemaError { file, line: 0, message: "there is no lock; build once without CI set and commit it".to_owned() })
        }
        (true, true) => {
            let message = "the lock is older than the schema; build once without CI set and commit it with the change".to_owned();
            Err(SchemaError { file, line: 0, message })
        }
    }
}

fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

fn read_lock(path: &Path) -> Result<Option<String>, SchemaError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, "read", &error)),
    }
}

fn write_generated(compiled: &Compiled) -> Result<(), SchemaError> {
    let folder = env::var_os("OUT_DIR");
    let folder = folder.ok_or_else(|| SchemaError {
        file: "build.rs".to_owned(),
        line: 0,
        message: "call this from a build script: OUT_DIR is not set".to_owned(),
    })?;
    let folder = Path::new(&folder);
    write(&folder.join(format!("onebox.{}.rs", compiled.package)), compiled.rust.as_bytes())?;
    write(&folder.join(generate::descriptors_file(&compiled.package)), &compiled.descriptors)
}

/// Writes a file unless it holds these bytes already, so that its time of change tells the truth.
fn write(path: &Path, bytes: &[u8]) -> Result<(), SchemaError> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).map_err(|error| failed(path, "written", &error))
}

fn failed(path: &Path, done: &str, error: &io::Error) -> SchemaError {
    SchemaError { file: path.display().to_string(), line: 0, message: format!("it could not be {done}: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_written_except_where_nobody_could_commit_it() {
        let said = |there, ci| match outdated(Path::new("schema.lock"), there, ci) {
            Ok(warning) => format!("warning: {warning}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(said(false, false), "warning: schema.lock was written; commit it: it keeps what was stored readable");
        assert_eq!(said(true, false), "warning: schema.lock was brought up to date with the schema; commit it with the change");
        assert_eq!(said(false, true), "schema.lock: there is no lock; build once without CI set and commit it");
        assert_eq!(
            said(true, true),
            "schema.lock: the lock is older than the schema; build once without CI set and commit it with the change"
        );
    }
}
