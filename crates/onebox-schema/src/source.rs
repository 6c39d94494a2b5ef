//! From files to descriptors: finds the schema and its imports, compiles them, and says where a syntax error is.
//!
//! The options of onebox and of `google.api.http` are inside this crate, so that importing them just works.

use std::path::{Path, PathBuf};

use prost_reflect::{DescriptorPool, FileDescriptor};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

use crate::SchemaError;
use crate::model::type_text;

/// A compiled schema, before it was checked.
pub(crate) struct Sources {
    pub(crate) pool: DescriptorPool,
    pub(crate) main: FileDescriptor,
    pub(crate) descriptors: Vec<u8>,
    pub(crate) files: Vec<PathBuf>,
}

/// The folder and the file name of a proto.
pub(crate) fn split(proto: &Path) -> Result<(PathBuf, String), SchemaError> {
    let Some(name) = proto.file_name().and_then(|name| name.to_str()) else {
        return Err(SchemaError { file: proto.display().to_string(), line: 0, message: "not the path of a proto file".to_owned() });
    };
    if !proto.is_file() {
        return Err(SchemaError { file: proto.display().to_string(), line: 0, message: "there is no such file".to_owned() });
    }
    let folder = proto.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((folder.to_owned(), name.to_owned()))
}

/// Finds imports beside the schema.
pub(crate) fn from_folder(folder: PathBuf) -> impl FileResolver + 'static {
    IncludeFileResolver::new(folder)
}

/// Compiles the file `name`.
pub(crate) fn read(resolver: impl FileResolver + 'static, name: &str) -> Result<Sources, SchemaError> {
    let mut compiler = compiler(resolver);
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file(name).map_err(|error| located(&error, name))?;
    let pool = compiler.descriptor_pool();
    let main = pool.get_file_by_name(name).expect("the file that was just compiled is in the pool");
    let files = compiler.files().filter_map(|file| file.path().map(Path::to_owned)).collect();
    Ok(Sources { pool, main, descriptors: compiler.encode_file_descriptor_set(), files })
}

/// A compiler that knows the embedded protos, Google's descriptor types, and what `resolver` finds.
fn compiler(resolver: impl FileResolver + 'static) -> Compiler {
    let mut chain = ChainFileResolver::new();
    chain.add(EmbeddedFiles);
    chain.add(GoogleFileResolver::new());
    chain.add(resolver);
    Compiler::with_file_resolver(chain)
}

/// The protos that this crate brings along.
struct EmbeddedFiles;

const EMBEDDED: [(&str, &str); 3] = [
    ("onebox/options.proto", include_str!("../proto/onebox/options.proto")),
    ("google/api/annotations.proto", include_str!("../proto/google/api/annotations.proto")),
    ("google/api/http.proto", include_str!("../proto/google/api/http.proto")),
];

impl FileResolver for EmbeddedFiles {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match EMBEDDED.iter().find(|(embedded, _)| *embedded == name) {
            Some((_, source)) => File::from_source(name, source),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// The compiler's own words, with the place cut out of its debug form `file:line:column: words`.
fn located(error: &protox::Error, name: &str) -> SchemaError {
    let file = error.file().unwrap_or(name).to_owned();
    let debug = format!("{error:?}");
    let line = debug.strip_prefix(&file).map(|rest| rest.trim_start_matches(':')).and_then(|rest| rest.split(':').next()?.parse().ok());
    SchemaError { file, line: line.unwrap_or(0), message: format!("{error}{}", what_an_option_holds(&error.to_string())) }
}

/// For an option that cannot be read: what could stand in it. The compiler says only its type, in quotes.
fn what_an_option_holds(words: &str) -> String {
    let Some((name, _)) = words.strip_prefix("invalid value of type '").and_then(|rest| rest.split_once('\'')) else {
        return String::new();
    };
    let mut compiler = compiler(EmbeddedFiles);
    let opened = EMBEDDED.iter().try_for_each(|(file, _)| compiler.open_file(file).map(|_| ()));
    opened.expect("the embedded protos compile");
    let Some(message) = compiler.descriptor_pool().get_message_by_name(name) else { return String::new() };
    let package = message.package_name();
    let fields: Vec<String> = message.fields().map(|field| format!("`{}` ({})", field.name(), type_text(package, &field.kind()))).collect();
    format!("; it can hold {}", fields.join(", "))
}
