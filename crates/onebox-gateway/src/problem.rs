//! Why a request got no response, ready for both protocols: problem+json (RFC 9457) and google.rpc.Status.
//!
//! Codes map to HTTP statuses as `google.rpc.Code` documents, except UNKNOWN: it says that the outcome cannot be told,
//! which is a 503, not a bug's 500.

use std::time::Duration;

use http::StatusCode;
use onebox_service::{BadRequest, Code, Refusal, Service};
use prost::Message;
use serde::Serialize;

use crate::google_rpc;
use crate::limits::{GRPC_DETAILS_BYTES_MAX, GRPC_MESSAGE_BYTES_MAX, RETRY_AFTER};

/// Why a request got no response.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The HTTP status; follows from the code, unless HTTP has a word of its own for it (405, 413, 415).
    pub(crate) status: StatusCode,
    pub(crate) refusal: Refusal,
    /// The path of the field to blame, or empty.
    field: String,
    /// Line and column in a JSON body, from 1.
    at: Option<(usize, usize)>,
    pub(crate) retry_after: Option<Duration>,
    /// The methods that a path does have, for `Allow`.
    pub(crate) allow: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: Code, sentence: impl Into<String>) -> Box<Problem> {
        Problem::refused(Refusal::platform(code, sentence), None)
    }

    /// What a node answered, and when to try again if it said so.
    pub(crate) fn refused(refusal: Refusal, retry_after: Option<Duration>) -> Box<Problem> {
        let retry_after = retry_after.or((refusal.code == Code::Unavailable).then_some(RETRY_AFTER));
        Box::new(Problem { status: status_of(refusal.code), refusal, field: String::new(), at: None, retry_after, allow: None })
    }

    pub(crate) fn invalid(sentence: impl Into<String>) -> Box<Problem> {
        Problem::new(Code::InvalidArgument, sentence)
    }

    pub(crate) fn bad_request(bad: BadRequest) -> Box<Problem> {
        let mut problem = Problem::invalid(bad.to_string());
        problem.field = bad.field;
        problem.at = bad.at;
        problem
    }

    /// Too much is in flight; nothing was done.
    pub(crate) fn overloaded(what: &str) -> Box<Problem> {
        let refusal =
            Refusal::platform(Code::ResourceExhausted, format!("too many {what} are in flight; nothing was done; try again later"));
        Problem::refused(refusal, Some(RETRY_AFTER))
    }

    pub(crate) fn body_too_large(bytes_max: usize) -> Box<Problem> {
        let sentence = format!("the body is larger than {bytes_max} bytes; send it in several requests");
        Problem::new(Code::ResourceExhausted, sentence).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    }

    pub(crate) fn wrong_media(sentence: String) -> Box<Problem> {
        Problem::invalid(sentence).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    }

    pub(crate) fn wrong_verb(sentence: String, allow: String) -> Box<Problem> {
        let mut problem = Problem::new(Code::Unimplemented, sentence).with_status(StatusCode::METHOD_NOT_ALLOWED);
        problem.allow = Some(allow);
        problem
    }

    fn with_status(mut self: Box<Problem>, status: StatusCode) -> Box<Problem> {
        self.status = status;
        self
    }

    /// As the body of an `application/problem+json` answer.
    pub(crate) fn to_json(&self, service: &dyn Service, request_id: &str) -> Vec<u8> {
        let unknown = self.refusal.code == Code::Unknown;
        let members = Members {
            status: self.status.as_u16(),
            title: if unknown { "Outcome Unknown" } else { self.status.canonical_reason().unwrap_or("Error") },
            detail: &self.refusal.message,
            code: self.refusal.code.name(),
            field: &self.field,
            line: self.at.map(|(line, _)| line),
            column: self.at.map(|(_, column)| column),
            request_id: unknown.then_some(request_id),
        };
        let mut json = serde_json::to_vec(&members).expect("strings and numbers are always JSON");
        if !self.refusal.kind.is_empty() {
            json.pop();
            json.extend_from_slice(b",\"refusal\":");
            write_refusal(&self.refusal, service, &mut json);
            json.push(b'}');
        }
        json
    }

    /// As an encoded google.rpc.Status, and its sentence cut to what a header can carry.
    pub(crate) fn to_grpc(&self, request_id: &str) -> (String, Vec<u8>) {
        let message = cut(&self.refusal.message, GRPC_MESSAGE_BYTES_MAX).to_owned();
        let mut status = google_rpc::Status { code: self.refusal.code as i32, message, details: self.grpc_details(request_id) };
        if status.encoded_len() > GRPC_DETAILS_BYTES_MAX {
            status.details.clear();
        }
        let encoded = status.encode_to_vec();
        (status.message, encoded)
    }

    fn grpc_details(&self, request_id: &str) -> Vec<google_rpc::Any> {
        let mut details = Vec::new();
        if !self.refusal.kind.is_empty() {
            details.push(google_rpc::any(self.refusal.kind, self.refusal.detail.clone()));
        }
        if !self.field.is_empty() {
            let violation = google_rpc::FieldViolation { field: self.field.clone(), description: self.refusal.message.clone() };
            let bad = google_rpc::BadRequest { field_violations: vec![violation] };
            details.push(google_rpc::any("google.rpc.BadRequest", bad.encode_to_vec()));
        }
        if let Some(delay) = self.retry_after {
            let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
            let nanos = i32::try_from(delay.subsec_nanos()).expect("less than a second");
            let retry = google_rpc::RetryInfo { retry_delay: Some(google_rpc::Delay { seconds, nanos }) };
            details.push(google_rpc::any("google.rpc.RetryInfo", retry.encode_to_vec()));
        }
        if self.refusal.code == Code::Unknown {
            let info = google_rpc::RequestInfo { request_id: request_id.to_owned() };
            details.push(google_rpc::any("google.rpc.RequestInfo", info.encode_to_vec()));
        }
        details
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    status: u16,
    title: &'a str,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    field: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// Writes `{"type": kind, ...fields}`. A refusal that does not render still names its type.
fn write_refusal(refusal: &Refusal, service: &dyn Service, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":");
    out.extend_from_slice(&json_string(refusal.kind));
    let fields = service.refusal_to_json(refusal.kind, &refusal.detail).unwrap_or_default();
    let fields = fields.trim_ascii().strip_prefix(b"{").map_or(&b""[..], <[u8]>::trim_ascii_start);
    if fields.len() > 1 {
        out.push(b',');
        out.extend_from_slice(fields);
    } else {
        out.push(b'}');
    }
}

/// A string as JSON.
pub(crate) fn json_string(text: &str) -> Vec<u8> {
    serde_json::to_vec(text).expect("a string is always JSON")
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn status_of(code: Code) -> StatusCode {
    match code {
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unknown | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
    }
}
