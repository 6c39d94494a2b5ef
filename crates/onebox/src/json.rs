//! Requests and answers as JSON: from untrusted text to a canonical request, with words for whatever is wrong.
//!
//! JSON is canonical proto3 JSON. Unknown fields, trailing text and deep nesting are refused; the variables of a path or
//! query string are set after the body, and may not contradict it.

use onebox_service::{BadRequest, Method, RefusalMessage};
use prost::Message;
use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, DeserializeOwned};
use serde::ser::Serialize;
use serde_json::error::Category;

/// Levels of nested objects and arrays in a request; checked before parsing, so that no parser recurses deeper.
/// Requests of people have fewer than ten, and the binary decoder stops at 100.
const NESTING_MAX: usize = 64;

/// Setting a request's fields by name; implemented by generated code.
pub trait Variables {
    /// Sets the field `name`, by its name in the schema or in JSON, to what `text` says.
    ///
    /// # Errors
    /// Why it cannot be set.
    fn set(&mut self, name: &str, text: &str) -> Result<(), VariableError>;
}

/// Why a variable cannot be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VariableError {
    /// The request has no field of that name.
    Unknown,
    /// The field is a list, a map, a message or in a oneof.
    NotScalar,
    /// The text is not a value of the field; this is what it wants.
    Wanted(&'static str),
    /// The body, or an earlier variable, sets the field to something else.
    Contradiction,
}

/// The canonical encoding of a request of `M` given as JSON; an empty body stands for an empty object.
///
/// # Errors
/// What is wrong and where.
pub fn request_from_json<M>(body: &[u8], variables: &[(&str, &str)]) -> Result<Vec<u8>, BadRequest>
where
    M: Method<Request: Variables + DeserializeOwned>,
{
    let mut request = if body.is_empty() { M::Request::default() } else { parse::<M::Request>(body)? };
    for (name, text) in variables {
        request.set(name, text).map_err(|error| bad_variable(name, text, &error))?;
    }
    Ok(request.encode_to_vec())
}

/// The canonical encoding of a request of `M` given as protobuf.
///
/// # Errors
/// What is wrong.
pub fn request_from_binary<M: Method>(body: &[u8]) -> Result<Vec<u8>, BadRequest> {
    let request = M::Request::decode(body);
    let request = request
        .map_err(|error| BadRequest { problem: format!("the bytes are not a {} request: {error}", M::NAME), ..BadRequest::default() })?;
    Ok(request.encode_to_vec())
}

/// An encoded response of `M` as JSON.
///
/// # Errors
/// A sentence, if the bytes are not one.
pub fn response_to_json<M: Method<Response: Serialize>>(response: &[u8]) -> Result<Vec<u8>, String> {
    let response = M::Response::decode(response).map_err(|error| format!("the bytes are not a response of {}: {error}", M::NAME))?;
    serde_json::to_vec(&response).map_err(|error| format!("the response of {} cannot be written as JSON: {error}", M::NAME))
}

/// An encoded refusal as JSON; `None` if the bytes are not one.
pub fn refusal_to_json<R: RefusalMessage + Serialize>(detail: &[u8]) -> Option<Vec<u8>> {
    serde_json::to_vec(&R::decode(detail).ok()?).ok()
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadRequest> {
    check_nesting(body)?;
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        bad_json(error.inner(), path)
    })?;
    json.end().map_err(|error| bad_json(&error, String::new()))?;
    Ok(value)
}

/// Refuses what is nested too deep. Text that is not JSON at all is left to the parser.
fn check_nesting(body: &[u8]) -> Result<(), BadRequest> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let (mut line, mut line_start) = (1, 0);
    for (position, &byte) in body.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'\n' => (line, line_start) = (line + 1, position + 1),
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            let problem = format!("objects and arrays are nested more than {NESTING_MAX} levels deep");
            return Err(BadRequest { problem, field: String::new(), at: Some((line, position - line_start + 1)) });
        }
    }
    Ok(())
}

fn bad_json(error: &serde_json::Error, path: String) -> BadRequest {
    let (line, column) = (error.line(), error.column());
    let words = error.to_string();
    let words = words.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&words);
    let field = match error.classify() {
        // Before a value is understood, the path says only where the parser stood.
        Category::Syntax | Category::Eof | Category::Io => String::new(),
        Category::Data if path == "." => String::new(),
        Category::Data => path,
    };
    let at = (line > 0).then_some((line, column.max(1)));
    BadRequest { problem: plain_words(words), field, at }
}

/// The parsers' words where they speak of their own workings: numbers are read as 'plain or text', bytes as symbols.
fn plain_words(words: &str) -> String {
    const NUMBERS: [&str; 6] = [
        "data did not match any variant of untagged enum",
        "invalid digit found in string",
        "invalid float literal",
        "number too large to fit",
        "number too small to fit",
        "cannot parse ",
    ];
    const BYTES: [&str; 4] = ["Invalid symbol", "Invalid last symbol", "Invalid input length", "Invalid padding"];
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| words.starts_with(beginning));
    match () {
        () if begins(&NUMBERS) => "expected a number that fits the field, plain or in quotes".to_owned(),
        () if begins(&BYTES) => "expected bytes as base64".to_owned(),
        // The JSON code of an enum says it twice.
        () => words.replace("expected expected", "expected"),
    }
}

fn bad_variable(name: &str, text: &str, error: &VariableError) -> BadRequest {
    let problem = match error {
        VariableError::Unknown => "the request has no such field".to_owned(),
        VariableError::NotScalar => "a list, a map or a message cannot be given in the URL; send it in a JSON body".to_owned(),
        VariableError::Wanted(what) => format!("`{text}` is not {what}"),
        VariableError::Contradiction => format!("the URL says `{text}`, but the field is also given with another value; give it once"),
    };
    BadRequest { problem, field: name.to_owned(), at: None }
}

/// Sets one field from text, unless it already holds another value than the default.
///
/// # Errors
/// What is wanted instead, or that it contradicts.
pub fn set_scalar<T: Scalar>(field: &mut T, text: &str) -> Result<(), VariableError> {
    let value = T::read(text).ok_or(VariableError::Wanted(T::WANTED))?;
    place(field, value)
}

/// Sets an enum's field from the name of a value, as `by_name` knows it, or from its number.
///
/// # Errors
/// What is wanted instead, or that it contradicts.
pub fn set_enumeration<E>(field: &mut i32, text: &str, by_name: fn(&str) -> Option<E>) -> Result<(), VariableError>
where
    E: TryFrom<i32> + Into<i32>,
{
    let by_number = || E::try_from(text.parse().ok()?).ok();
    let value = by_name(text).or_else(by_number).ok_or(VariableError::Wanted("the name or number of a value of the enum"))?;
    place(field, value.into())
}

fn place<T: Default + PartialEq>(field: &mut T, value: T) -> Result<(), VariableError> {
    if *field != T::default() && *field != value {
        return Err(VariableError::Contradiction);
    }
    *field = value;
    Ok(())
}

/// A field's type that a variable can set.
pub trait Scalar: Default + PartialEq {
    /// What a text must be.
    const WANTED: &'static str;
    /// The value that `text` says.
    fn read(text: &str) -> Option<Self>;
}

macro_rules! scalar_by_parsing {
    ($($type:ty: $wanted:literal),*) => {
        $(impl Scalar for $type {
            const WANTED: &'static str = $wanted;
            fn read(text: &str) -> Option<$type> {
                text.parse().ok()
            }
        })*
    };
}
scalar_by_parsing! {
    bool: "true or false",
    u32: "a whole number from 0 to 4294967295",
    u64: "a whole number from 0 to 18446744073709551615",
    i32: "a whole number from -2147483648 to 2147483647",
    i64: "a whole number from -9223372036854775808 to 9223372036854775807",
    f32: "a number",
    f64: "a number",
    String: "a text"
}

impl Scalar for Vec<u8> {
    const WANTED: &'static str = "base64";
    fn read(text: &str) -> Option<Vec<u8>> {
        let text: StrDeserializer<'_, serde::de::value::Error> = StrDeserializer::new(text);
        pbjson::private::BytesDeserialize::deserialize(text).ok().map(|bytes| bytes.0)
    }
}
