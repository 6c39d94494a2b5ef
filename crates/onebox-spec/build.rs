//! Compiles the protocol in which specs are sent to other implementations.

use std::path::Path;
use std::{env, fs};

use prost::Message;

#[expect(clippy::disallowed_methods, reason = "a build script writes files where cargo says; the crate itself does not")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = "onebox/spec/v1/spec.proto";
    println!("cargo::rerun-if-changed=proto/{name}");
    let mut compiler = protox::Compiler::new(["proto"])?;
    let files = compiler.include_imports(true).include_source_info(false).open_file(name)?.file_descriptor_set();
    let folder = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    fs::write(Path::new(&folder).join("onebox.spec.v1.descriptors"), files.encode_to_vec())?;
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
