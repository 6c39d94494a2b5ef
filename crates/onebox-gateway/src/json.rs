//! HTTP/JSON: from a request's line, headers and body to a call, and from its answer to JSON.

use std::borrow::Cow;

use axum::body::Body;
use http::header;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use onebox_service::{Code, MethodId};
use tokio::time::Instant;

use crate::body::{Bounds, Incoming};
use crate::gateway::{Content, Gateway, Reply};
use crate::headers::RequestHeaders;
use crate::limits::QUERY_PARAMETERS_MAX;
use crate::platform;
use crate::problem::Problem;
use crate::routes::{Found, Missed, Target, percent_decode};
use crate::specs;

/// A request whose route is known.
pub(crate) struct Asked<'r> {
    pub(crate) parts: &'r Parts,
    pub(crate) found: Found<'r>,
    pub(crate) incoming: Incoming,
    pub(crate) started: Instant,
}

/// Answers one HTTP request.
pub(crate) async fn answer(gateway: &Gateway, parts: &Parts, body: Body, started: Instant) -> Reply {
    let incoming = Incoming::new(parts, body);
    let path = parts.uri.path();
    let found = match gateway.routes.find(&parts.method, path) {
        Ok(found) => found,
        Err(missed) => return gateway.local("unmatched", Err(explain(gateway, parts, missed))),
    };
    let (target, template) = (found.target, found.template);
    let asked = Asked { parts, found, incoming, started };
    let result = match target {
        Target::Method { id, body } => call(gateway, asked, id, body).await,
        Target::Index => {
            let index = Content { status: StatusCode::OK, bytes: gateway.index.clone() };
            Ok(Reply { refusable: true, ..gateway.local(template, Ok(index)) })
        }
        Target::Live => Ok(gateway.local(template, Ok(platform::live()))),
        Target::Ready => Ok(gateway.local(template, Ok(platform::ready(&gateway.backend.health())))),
        Target::CreateTenant => platform::create_tenant(gateway, asked).await,
        Target::RequestOutcome => platform::request_outcome(gateway, asked).await,
        Target::Spec(ask) => specs::over_http(gateway, asked, ask).await,
    };
    let what = match target {
        Target::Method { id, .. } => gateway.schema.info(id).name,
        Target::Index | Target::Live | Target::Ready | Target::CreateTenant | Target::RequestOutcome | Target::Spec(_) => template,
    };
    result.unwrap_or_else(|problem| gateway.local(what, Err(problem)))
}

async fn call(gateway: &Gateway, mut asked: Asked<'_>, method: MethodId, body: bool) -> Result<Reply, Box<Problem>> {
    let info = gateway.schema.info(method);
    let headers = RequestHeaders::read(&asked.parts.headers, &gateway.settings)?;
    if !info.read_only {
        headers.refuse_consistency(info.name)?;
    }
    let query = query_of(asked.parts.uri.query().unwrap_or_default())?;
    refuse_stray_query(&query, &asked.found, body)?;
    let until = asked.started + headers.timeout;
    let (bytes, _taken) = if body { json_body(gateway, &mut asked, until).await? } else { no_body(gateway, &mut asked, until).await? };
    let request = {
        let path = asked.found.variables.iter().map(|(name, value)| (*name, value.as_ref()));
        let variables: Vec<(&str, &str)> = path.chain(query.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))).collect();
        gateway.service.request_from_json(method, or_empty_object(&bytes), &variables).map_err(Problem::bad_request)?
    };
    drop(bytes);
    let place = gateway.enter()?;
    let answer = gateway.call(method, headers, until, request).await?;
    Ok(gateway.reply(info.name, answer, |response| to_json(gateway, method, &response)).holding(place, info.read_only))
}

/// A response as JSON.
pub(crate) fn to_json(gateway: &Gateway, method: MethodId, response: &[u8]) -> Result<Content, Box<Problem>> {
    match gateway.service.response_to_json(method, response) {
        Ok(bytes) => Ok(Content { status: StatusCode::OK, bytes }),
        Err(why) => {
            let name = gateway.schema.info(method).name;
            Err(Problem::new(Code::Internal, format!("the response of {name} does not read as one: {why}")))
        }
    }
}

/// Reads a body that must be JSON, if there is one.
pub(crate) async fn json_body(
    gateway: &Gateway,
    asked: &mut Asked<'_>,
    until: Instant,
) -> Result<(bytes::Bytes, crate::room::Taken), Box<Problem>> {
    check_media(&asked.parts.headers)?;
    let bounds = Bounds { bytes_max: gateway.settings.body_bytes_max, in_flight: &gateway.bodies, until };
    asked.incoming.read(&bounds).await
}

/// A body left out means no fields, as in gRPC's own JSON mapping; `curl -X POST` then does what it says.
pub(crate) fn or_empty_object(body: &[u8]) -> &[u8] {
    if body.is_empty() { b"{}" } else { body }
}

/// Refuses every query parameter, on a route that has none.
pub(crate) fn refuse_query(asked: &Asked<'_>) -> Result<(), Box<Problem>> {
    let query = query_of(asked.parts.uri.query().unwrap_or_default())?;
    match query.first() {
        None => Ok(()),
        Some((name, _)) => Err(Problem::invalid(format!("query parameter {name}: {} takes none", asked.found.template))),
    }
}

async fn no_body(gateway: &Gateway, asked: &mut Asked<'_>, until: Instant) -> Result<(bytes::Bytes, crate::room::Taken), Box<Problem>> {
    let bounds = Bounds { bytes_max: 0, in_flight: &gateway.bodies, until };
    asked.incoming.read(&bounds).await.map_err(|problem| {
        if problem.status == StatusCode::PAYLOAD_TOO_LARGE {
            let sentence = format!("{} {} takes no body; give its fields as query parameters", asked.parts.method, asked.found.template);
            return Problem::invalid(sentence);
        }
        problem
    })
}

fn explain(gateway: &Gateway, parts: &Parts, missed: Missed) -> Box<Problem> {
    let path = parts.uri.path();
    match missed {
        Missed::BadEscape { variable } => Problem::invalid(format!("path variable {variable}: it is not percent-encoded UTF-8")),
        Missed::WrongVerb { allow } => Problem::wrong_verb(format!("{path} does not take {}; it takes {allow}", parts.method), allow),
        Missed::UnknownPath { closest } => {
            let grpc =
                path.strip_prefix('/').and_then(|path| path.strip_prefix(gateway.schema.service)).is_some_and(|rest| rest.starts_with('/'));
            let hint = if grpc {
                "that is a gRPC path: call it over HTTP/2 with content-type application/grpc".to_owned()
            } else {
                format!("closest is {closest}; GET / lists every route")
            };
            Problem::new(Code::NotFound, format!("nothing is at this path; {hint}"))
        }
    }
}

fn check_media(headers: &HeaderMap) -> Result<(), Box<Problem>> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let given = value.to_str().unwrap_or("(not ASCII)");
    let mut pieces = given.split(';').map(str::trim);
    let media = pieces.next().unwrap_or_default();
    let json = media.eq_ignore_ascii_case("application/json");
    let charsets = pieces.filter_map(|piece| piece.split_once('=')).filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    let utf8 = charsets.map(|(_, value)| value.trim().trim_matches('"')).all(|value| value.eq_ignore_ascii_case("utf-8"));
    if json && utf8 {
        return Ok(());
    }
    Err(Problem::wrong_media(format!("content-type {given} is not taken; send application/json, in UTF-8")))
}

type Parameters<'q> = Vec<(Cow<'q, str>, Cow<'q, str>)>;

fn query_of(query: &str) -> Result<Parameters<'_>, Box<Problem>> {
    let mut parameters = Vec::new();
    for piece in query.split('&').filter(|piece| !piece.is_empty()) {
        if parameters.len() == QUERY_PARAMETERS_MAX {
            return Err(Problem::invalid(format!("the query string has more than {QUERY_PARAMETERS_MAX} parameters")));
        }
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        match (plus_decode(name), plus_decode(value)) {
            (Some(name), Some(value)) => parameters.push((name, value)),
            (None, _) | (_, None) => return Err(Problem::invalid(format!("query parameter {piece}: it is not percent-encoded UTF-8"))),
        }
    }
    Ok(parameters)
}

fn plus_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('+') {
        return percent_decode(text);
    }
    let spaced = text.replace('+', " ");
    percent_decode(&spaced).map(|decoded| Cow::Owned(decoded.into_owned()))
}

/// Refuses parameters that cannot be fields; whether the others are, the service tells.
fn refuse_stray_query(query: &Parameters<'_>, found: &Found<'_>, body: bool) -> Result<(), Box<Problem>> {
    let Some((name, _)) = query.iter().find(|(name, _)| body || found.variables.iter().any(|(variable, _)| variable == name)) else {
        return Ok(());
    };
    let why = if body { "this route takes its fields in the body" } else { "it is already given in the path" };
    Err(Problem::invalid(format!("query parameter {name}: {why}")))
}
