//! Where in the proto a thing stands, so that every complaint can name file and line.

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor, MethodDescriptor, ServiceDescriptor};

use crate::SchemaError;

/// Something declared in a proto file.
pub(crate) trait Place {
    /// Its file, and its path in the file's descriptor.
    fn place(&self) -> (FileDescriptor, &[i32]);

    /// A complaint about it.
    fn wrong(&self, message: impl Into<String>) -> SchemaError {
        let (file, path) = self.place();
        SchemaError { file: file.name().to_owned(), line: line(&file, path), message: message.into() }
    }

    /// A complaint about one of its options; `inner` is the option's path in this thing's descriptor.
    fn wrong_option(&self, inner: &[i32], message: impl Into<String>) -> SchemaError {
        let (file, path) = self.place();
        let path = [path, inner].concat();
        SchemaError { file: file.name().to_owned(), line: line(&file, &path), message: message.into() }
    }
}

/// The line of the declaration at `path`, or of the nearest one around it; 0 if the file has no line information.
fn line(file: &FileDescriptor, path: &[i32]) -> usize {
    let Some(info) = &file.file_descriptor_proto().source_code_info else { return 0 };
    for depth in (0..=path.len()).rev() {
        let exact = info.location.iter().find(|location| location.path == path[..depth]);
        if let Some(start) = exact.and_then(|location| location.span.first()) {
            return usize::try_from(*start).map_or(0, |line| line + 1);
        }
    }
    0
}

macro_rules! place {
    ($($type:ty),*) => {
        $(impl Place for $type {
            fn place(&self) -> (FileDescriptor, &[i32]) {
                (self.parent_file(), self.path())
            }
        })*
    };
}
place!(MessageDescriptor, FieldDescriptor, EnumDescriptor, ServiceDescriptor, MethodDescriptor);

impl Place for FileDescriptor {
    fn place(&self) -> (FileDescriptor, &[i32]) {
        (self.clone(), &[])
    }
}
