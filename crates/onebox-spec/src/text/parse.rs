//! Reading specs from their text. Whatever is wrong is said with line, column, message and field.

use std::collections::BTreeSet;
use std::fmt;

use miette::Diagnostic;
use onebox_service::spec::{Given, SPEC_TIME, Spec, Then};
use onebox_service::{Code, EventId, Fact, MethodId, Refusal};
use prost_reflect::{DynamicMessage, MessageDescriptor};

use crate::catalogue::{Catalogue, Role, encode};

/// Levels of braces in a text; the binary decoder of messages stops there, too.
const NESTING_MAX: usize = 100;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The message in which it is; empty outside of any.
    pub message: String,
    /// The field in which it is; empty if it is not one's fault.
    pub field: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.message.is_empty() {
            write!(f, "{}: ", self.message)?;
        }
        if !self.field.is_empty() {
            write!(f, "field {}: ", self.field)?;
        }
        f.write_str(&self.problem)
    }
}

/// The specs in a text, in order.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(catalogue: &Catalogue, text: &str) -> Result<Vec<Spec>, TextError> {
    let mut reader = Reader { catalogue, text, at: 0 };
    let mut specs = Vec::new();
    loop {
        reader.skip_blank();
        match reader.peek_line() {
            None => return Ok(specs),
            Some(line) if line.trim_end() == "---" => reader.next_line(),
            Some(_) => specs.push(reader.spec()?),
        }
    }
}

struct Reader<'t> {
    catalogue: &'t Catalogue,
    text: &'t str,
    /// Where reading goes on: always the start of a line.
    at: usize,
}

/// What a spec says so far.
#[derive(Default)]
struct Parts {
    seen: BTreeSet<String>,
    when: Option<(MethodId, Vec<u8>)>,
    response: Option<(usize, MessageDescriptor, Vec<u8>)>,
    events: Vec<Fact>,
    events_at: Option<usize>,
    refused: Option<Refusal>,
}

impl<'t> Reader<'t> {
    fn spec(&mut self) -> Result<Spec, TextError> {
        let began = self.at;
        let name = self.value_of("SPEC")?;
        let mut spec = Spec {
            name: name.to_owned(),
            about: String::new(),
            place: ("", 0),
            tenant: "default".to_owned(),
            at: SPEC_TIME,
            next_id: None,
            given: Vec::new(),
            method: MethodId(0),
            request: Vec::new(),
            then: Then::Returns { response: Vec::new(), events: Vec::new() },
        };
        let mut parts = Parts::default();
        loop {
            self.skip_blank();
            let Some(line) = self.peek_line().filter(|line| line.trim_end() != "---") else { break };
            let word = line.split_whitespace().next().unwrap_or("");
            if word == "SPEC" {
                break;
            }
            self.part(word, &mut spec, &mut parts)?;
        }
        self.finish(began, spec, parts)
    }

    fn part(&mut self, word: &str, spec: &mut Spec, parts: &mut Parts) -> Result<(), TextError> {
        let at = self.at;
        if ["ABOUT", "GIVEN", "WHEN", "THEN", "EVENTS", "REFUSED"].contains(&word)
            && self.peek_line().is_some_and(|line| line.trim_end() != word)
        {
            return Err(self.wrong(at, format!("nothing follows {word} on its line; what it holds stands on the lines below, indented")));
        }
        if !parts.seen.insert(word.to_owned()) {
            return Err(self.wrong(at, format!("the spec has {word} twice")));
        }
        match word {
            "ABOUT" => spec.about = self.about(),
            "TENANT" => self.value_of("TENANT")?.clone_into(&mut spec.tenant),
            "AT" => {
                let text = self.value_of("AT")?;
                let time = text.parse().ok().and_then(crate::text::log_time);
                spec.at = time.ok_or_else(|| self.wrong(at, "AT wants a time since 1970 like 2020-01-01T00:00:00Z"))?;
            }
            "NEXT_ID" => {
                let id = self.value_of("NEXT_ID")?.parse().ok().filter(|id: &u64| *id > 0);
                spec.next_id = Some(id.ok_or_else(|| self.wrong(at, "NEXT_ID wants a whole number from 1"))?);
            }
            "GIVEN" => {
                for (at, message, bytes) in self.messages()? {
                    spec.given.push(self.given(at, &message, bytes)?);
                }
            }
            "WHEN" => {
                let (at, message, bytes) = self.only("WHEN")?;
                match self.catalogue.role(&message) {
                    Role::Request(method) => parts.when = Some((method, bytes)),
                    Role::Event(_) | Role::Response | Role::Refusal(_) | Role::Other => {
                        return Err(self.wrong_in(at, &message, "it is not the request of a method, which WHEN wants"));
                    }
                }
            }
            "THEN" => parts.response = Some(self.only("THEN")?),
            "EVENTS" => {
                parts.events_at = Some(at);
                for (at, message, bytes) in self.messages()? {
                    parts.events.push(Fact { event: self.event(at, &message)?, bytes });
                }
            }
            "REFUSED" => parts.refused = Some(self.refused()?),
            _ => {
                let words = "expected SPEC, ABOUT, TENANT, AT, NEXT_ID, GIVEN, WHEN, THEN, EVENTS, REFUSED or --- at the start of the line";
                return Err(self.wrong(at, words));
            }
        }
        Ok(())
    }

    fn finish(&self, began: usize, mut spec: Spec, parts: Parts) -> Result<Spec, TextError> {
        let Parts { seen: _, when, response, events, events_at, refused } = parts;
        let Some((method, request)) = when else { return Err(self.wrong(began, "the spec has no WHEN: say what is asked")) };
        (spec.method, spec.request) = (method, request);
        spec.then = match (response, refused) {
            (Some((at, message, bytes)), None) => {
                let expected = self.catalogue.response(method);
                if message != expected {
                    let name = self.catalogue.schema.info(method).name;
                    let words = format!("{name} answers {}, not this", self.catalogue.short(&expected));
                    return Err(self.wrong_in(at, &message, words));
                }
                Then::Returns { response: bytes, events }
            }
            (None, Some(refusal)) => match events_at {
                None => Then::Refused(refusal),
                Some(at) => return Err(self.wrong(at, "a refused request records no events: leave out EVENTS, or REFUSED")),
            },
            (Some(_), Some(_)) => return Err(self.wrong(began, "the spec has both THEN and REFUSED: a request ends in one way")),
            (None, None) => return Err(self.wrong(began, "the spec has neither THEN nor REFUSED: say how the request ends")),
        };
        Ok(spec)
    }

    fn given(&self, at: usize, message: &MessageDescriptor, bytes: Vec<u8>) -> Result<Given, TextError> {
        match self.catalogue.role(message) {
            Role::Event(event) => Ok(Given::Event(Fact { event, bytes })),
            Role::Request(method) => Ok(Given::Request(method, bytes)),
            Role::Response | Role::Refusal(_) | Role::Other => Err(self.wrong_in(at, message, "it is neither an event nor a request")),
        }
    }

    fn event(&self, at: usize, message: &MessageDescriptor) -> Result<EventId, TextError> {
        match self.catalogue.role(message) {
            Role::Event(event) => Ok(event),
            Role::Request(_) | Role::Response | Role::Refusal(_) | Role::Other => Err(self.wrong_in(at, message, "it is not an event")),
        }
    }

    fn refused(&mut self) -> Result<Refusal, TextError> {
        let at = self.at;
        self.next_line();
        self.skip_blank();
        let line = self.peek_line().unwrap_or("");
        let word = line.split_whitespace().next().unwrap_or("");
        if let Some(code) = Code::ALL.into_iter().find(|code| code.name() == word) {
            let (at, rest) = (self.at, line.trim().strip_prefix(word).unwrap_or("").trim());
            self.next_line();
            let message: Option<String> = if rest.is_empty() { Some(String::new()) } else { serde_json::from_str(rest).ok() };
            let words = "after the code comes the sentence in quotes, or nothing if any sentence will do";
            return Ok(Refusal::platform(code, message.ok_or_else(|| self.wrong(at, words))?));
        }
        self.at = at;
        let (at, message, bytes) = self.only("REFUSED")?;
        match self.catalogue.role(&message) {
            Role::Refusal(info) => {
                // Its sentence follows from its fields.
                Ok(Refusal { code: info.code, kind: info.name, message: String::new(), detail: bytes })
            }
            Role::Event(_) | Role::Request(_) | Role::Response | Role::Other => {
                Err(self.wrong_in(at, &message, "it is not a refusal of the schema; one of the platform is a code like RESOURCE_EXHAUSTED"))
            }
        }
    }

    fn about(&mut self) -> String {
        self.next_line();
        let mut about = Vec::new();
        while let Some(line) = self.peek_line().filter(|line| line.starts_with("  ") || line.trim().is_empty()) {
            about.push(line.strip_prefix("  ").unwrap_or("").trim_end());
            self.next_line();
        }
        about.join("\n").trim_end().to_owned()
    }

    /// The one message under a word.
    fn only(&mut self, word: &str) -> Result<(usize, MessageDescriptor, Vec<u8>), TextError> {
        let at = self.at;
        let mut messages = self.messages()?;
        match (messages.pop(), messages.len()) {
            (Some(message), 0) => Ok(message),
            (Some((at, message, _)), _) => Err(self.wrong_in(at, &message, format!("only one message stands under {word}"))),
            (None, _) => Err(self.wrong(at, format!("a message stands under {word}, indented, like `Name {{ field: 1 }}`"))),
        }
    }

    /// The messages under a word: where each begins, what it is, its encoding.
    fn messages(&mut self) -> Result<Vec<(usize, MessageDescriptor, Vec<u8>)>, TextError> {
        self.next_line();
        let mut messages = Vec::new();
        loop {
            self.skip_blank();
            match self.peek_line() {
                Some(line) if line.starts_with([' ', '\t']) => messages.push(self.message()?),
                Some(_) | None => return Ok(messages),
            }
        }
    }

    fn message(&mut self) -> Result<(usize, MessageDescriptor, Vec<u8>), TextError> {
        let rest = &self.text[self.at..];
        let begins = self.at + rest.len() - rest.trim_start().len();
        let name_len =
            self.text[begins..].find(|c: char| !(c.is_alphanumeric() || c == '.' || c == '_')).unwrap_or(self.text.len() - begins);
        let name = &self.text[begins..begins + name_len];
        let Some(message) = self.catalogue.named(name) else {
            return Err(self
                .wrong(begins, format!("the schema has no message {name:?}; names are those of the .proto, like `Name {{ field: 1 }}`")));
        };
        let open = begins + name_len + (self.text[begins + name_len..].len() - self.text[begins + name_len..].trim_start().len());
        if !self.text[open..].starts_with('{') {
            return Err(self.wrong_in(open, &message, "its fields stand in braces: `{ field: 1 }`, or `{}`"));
        }
        let close = closing_brace(&self.text[open..]).ok_or_else(|| {
            self.wrong_in(open, &message, format!("this brace is not closed, or has more than {NESTING_MAX} levels in it"))
        })? + open;
        let after = self.text[close + 1..].split('\n').next().unwrap_or("");
        if !after.trim().is_empty() && !after.trim_start().starts_with('#') {
            return Err(self.wrong_in(close + 1, &message, "each message begins on a line of its own"));
        }
        let body = &self.text[open + 1..close];
        let parsed = DynamicMessage::parse_text_format(message.clone(), body);
        let parsed = parsed.map_err(|error| self.bad_field(open + 1, body, &message, &error))?;
        self.at = close + 1;
        self.next_line();
        Ok((begins, message, encode(&parsed)))
    }

    fn bad_field(&self, from: usize, body: &str, message: &MessageDescriptor, error: &prost_reflect::text_format::ParseError) -> TextError {
        let offset = error.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset().min(body.len()));
        let field = field_at(body, offset);
        TextError { field, ..self.wrong_in(from + offset, message, error.to_string()) }
    }

    // ---- lines ----

    /// What follows a word on its line.
    fn value_of(&mut self, word: &str) -> Result<&'t str, TextError> {
        let (at, line) = (self.at, self.peek_line().unwrap_or(""));
        let value = line.strip_prefix(word).filter(|rest| rest.is_empty() || rest.starts_with(' ')).map(str::trim);
        match value {
            Some("") => Err(self.wrong(at, format!("something must follow {word} on its line"))),
            Some(value) => {
                self.next_line();
                Ok(value)
            }
            None => Err(self.wrong(at, format!("a spec begins with {word} and its name"))),
        }
    }

    fn peek_line(&self) -> Option<&'t str> {
        let rest = &self.text[self.at..];
        if rest.is_empty() { None } else { rest.split('\n').next() }
    }

    fn next_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.find('\n').map_or(rest.len(), |end| end + 1);
    }

    fn skip_blank(&mut self) {
        while self.peek_line().is_some_and(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            self.next_line();
        }
    }

    fn wrong(&self, at: usize, problem: impl Into<String>) -> TextError {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        TextError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: String::new(),
            field: String::new(),
            problem: problem.into(),
        }
    }

    fn wrong_in(&self, at: usize, message: &MessageDescriptor, problem: impl Into<String>) -> TextError {
        TextError { message: self.catalogue.short(message).to_owned(), ..self.wrong(at, problem) }
    }
}

/// Where the brace with which `text` begins is closed; what stands in quotes or comments does not count.
fn closing_brace(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped, mut comment) = (0_usize, None, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match (byte, quote) {
            (b'\n', _) => (comment, escaped) = (false, false),
            _ if comment => {}
            _ if escaped => escaped = false,
            (b'\\', Some(_)) => escaped = true,
            (byte, Some(open)) if byte == open => quote = None,
            (_, Some(_)) => {}
            (b'"' | b'\'', None) => quote = Some(byte),
            (b'#', None) => comment = true,
            (b'{', None) if depth == NESTING_MAX => return None,
            (b'{', None) => depth += 1,
            (b'}', None) => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            (_, None) => {}
        }
    }
    None
}

/// The name of the field at or before a place in a message's body.
fn field_at(body: &str, offset: usize) -> String {
    let word = |character: char| character.is_alphanumeric() || character == '_';
    let mut end = offset;
    while !body.is_char_boundary(end) {
        end -= 1;
    }
    let ahead = body[end..].find(|c| !word(c)).map_or(body.len(), |length| end + length);
    let after = body[ahead..].trim_start();
    if ahead > end && (after.starts_with(':') || after.starts_with('{')) {
        let start = body[..ahead].rfind(|c| !word(c)).map_or(0, |at| at + body[at..].chars().next().map_or(1, char::len_utf8));
        return body[start..ahead].to_owned();
    }
    let before = body[..end].trim_end_matches(|c: char| c != ':' && c != '{');
    let name = before.trim_end_matches([':', '{']).trim_end();
    name[name.rfind(|c| !word(c)).map_or(0, |at| at + 1)..].to_owned()
}
