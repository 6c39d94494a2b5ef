//! Refusals: their codes, and their sentences with fields filled in.

use prost_reflect::{Kind, MessageDescriptor};

use super::{Piece, Refusal, is_optional, is_singular};
use crate::SchemaError;
use crate::options;
use crate::place::Place;

/// The refusal that a message is, if it is one.
pub(crate) fn read(message: &MessageDescriptor) -> Option<Result<Refusal, SchemaError>> {
    options::refusal(message).map(|options| checked(message, options.code, options.message))
}

fn checked(message: &MessageDescriptor, code: i32, sentence: String) -> Result<Refusal, SchemaError> {
    let wrong = |words: String| message.wrong_option(options::REFUSAL, format!("refusal {}: {words}", message.name()));
    if code == 0 {
        return Err(wrong("it has no code; add one, for example `code: FAILED_PRECONDITION`".to_owned()));
    }
    if !CODE_NAMES.iter().any(|(number, _)| *number == code) {
        return Err(wrong(format!("there is no code {code}; take a name of onebox.Code")));
    }
    if sentence.trim().is_empty() {
        return Err(wrong(
            "it has no message; add the sentence that a caller reads, for example `message: \"only {free} left\"`".to_owned(),
        ));
    }
    let pieces = pieces(&sentence).map_err(wrong)?;
    for piece in &pieces {
        if let Piece::Field(name) = piece {
            check_field(message, name).map_err(wrong)?;
        }
    }
    Ok(Refusal { message: message.clone(), code, sentence, pieces })
}

fn check_field(message: &MessageDescriptor, name: &str) -> Result<(), String> {
    let Some(field) = message.fields().find(|field| field.name() == name) else {
        return Err(format!("its message uses {{{name}}}, which is not one of its fields (`{{{{` stands for a brace)"));
    };
    let printable = !matches!(field.kind(), Kind::Message(_) | Kind::Enum(_) | Kind::Bytes);
    if !printable || !is_singular(&field) || is_optional(&field) {
        return Err(format!("its message uses {{{name}}}, which is not a number, bool or string; a sentence can hold only those"));
    }
    if options::field(&field).secret {
        return Err(format!("its message uses {{{name}}}, which is secret; leave it out of the sentence"));
    }
    Ok(())
}

/// The sentence in pieces.
fn pieces(sentence: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = sentence;
    while let Some(brace) = rest.find(['{', '}']) {
        let (before, tail) = rest.split_at(brace);
        text.push_str(before);
        if tail.starts_with("{{") || tail.starts_with("}}") {
            text.push_str(&tail[..1]);
            rest = &tail[2..];
            continue;
        }
        let Some((name, after)) = tail.strip_prefix('{').and_then(|tail| tail.split_once('}')) else {
            return Err("its message has a single brace; write `{field}` for a field, `{{` or `}}` for a brace".to_owned());
        };
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(Piece::Field(name.to_owned()));
        rest = after;
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// gRPC's codes, and the names that the vocabulary's `Code` gives them.
pub(crate) const CODE_NAMES: [(i32, &str); 15] = [
    (2, "Unknown"),
    (3, "InvalidArgument"),
    (4, "DeadlineExceeded"),
    (5, "NotFound"),
    (6, "AlreadyExists"),
    (7, "PermissionDenied"),
    (8, "ResourceExhausted"),
    (9, "FailedPrecondition"),
    (10, "Aborted"),
    (11, "OutOfRange"),
    (12, "Unimplemented"),
    (13, "Internal"),
    (14, "Unavailable"),
    (15, "DataLoss"),
    (16, "Unauthenticated"),
];
