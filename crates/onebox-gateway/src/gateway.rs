//! One request, whatever its protocol: which protocol it speaks, the call to the node, the stamped reply, the log line.
//!
//! Keeps true that every answer carries a request id and a position, and that what is in flight is bounded, answers
//! until they are taken in. Logs never hold bodies or keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use onebox_service::{MethodId, Schema, Service};
use tokio::time::Instant;

use crate::backend::{Answer, Backend, Call, Consistency};
use crate::delivery::{Held, Undelivered};
use crate::headers::{self, RequestHeaders, header_value};
use crate::limits::{GatewaySettings, SPECS_RUNNING_MAX};
use crate::problem::Problem;
use crate::room::{Room, Taken};
use crate::routes::Routes;
use crate::specs::Specs;
use crate::{discovery, grpc, json, platform};

/// How an id begins that this process gave to a request which never reached the node.
pub(crate) const LOCAL_ID_PREFIX: &str = "local-";

/// What there is no room for, in a refusal's sentence.
const ANSWERS: &str = "bytes of answers";

/// Everything on one port: the service's routes and methods, health, reflection, the platform's routes.
///
/// # Panics
/// If `settings` do not pass [`GatewaySettings::check`], or the schema holds routes that no build should have let
/// through (malformed, or two for the same paths).
pub fn router(backend: Arc<dyn Backend>, settings: GatewaySettings) -> axum::Router {
    settings.check().expect("settings are checked before they are used");
    let gateway = Arc::new(Gateway::new(backend, settings));
    let router = discovery::mount(axum::Router::new(), &gateway);
    router.fallback(move |request: Request<Body>| {
        let gateway = gateway.clone();
        async move { gateway.handle(request).await }
    })
}

/// What every request is handled with.
pub(crate) struct Gateway {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) service: Arc<dyn Service>,
    pub(crate) schema: &'static Schema,
    pub(crate) settings: GatewaySettings,
    pub(crate) routes: Routes,
    pub(crate) specs: Specs,
    pub(crate) specs_running: Arc<Room>,
    /// The answer to `GET /`.
    pub(crate) index: Vec<u8>,
    pub(crate) bodies: Arc<Room>,
    answers: Arc<Room>,
    calls: Arc<Room>,
    local_ids: AtomicU64,
}

/// The answer to one request, before it takes the form of a protocol.
pub(crate) struct Reply {
    /// The method or route, for the log.
    pub(crate) what: &'static str,
    pub(crate) request_id: String,
    pub(crate) position: String,
    pub(crate) repeated: bool,
    pub(crate) outcome: Result<Content, Box<Problem>>,
    /// The place of its call, if the node was asked.
    pub(crate) place: Option<Taken>,
    /// Whether it may become a refusal where there is no room for it: nothing took effect that it tells of.
    pub(crate) refusable: bool,
}

impl Reply {
    /// The reply to a call that had this place; one that was `read_only` may be refused even now.
    pub(crate) fn holding(self, place: Taken, read_only: bool) -> Reply {
        Reply { place: Some(place), refusable: read_only, ..self }
    }
}

/// What is sent when all went well: JSON, or an encoded message for gRPC.
pub(crate) struct Content {
    pub(crate) status: StatusCode,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Protocol {
    Grpc,
    Json,
}

impl Gateway {
    fn new(backend: Arc<dyn Backend>, settings: GatewaySettings) -> Gateway {
        let service = backend.service().clone();
        let schema = service.schema();
        let specs = backend.specs();
        Gateway {
            routes: Routes::new(schema, specs.is_some()),
            index: platform::index(schema, specs.is_some()),
            specs,
            specs_running: Room::new(SPECS_RUNNING_MAX),
            bodies: Room::new(settings.bodies_in_flight_bytes_max),
            answers: Room::new(settings.answers_in_flight_bytes_max),
            calls: Room::new(settings.calls_in_flight_max),
            local_ids: AtomicU64::new(1),
            backend,
            service,
            schema,
            settings,
        }
    }

    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let protocol = protocol_of(&parts);
        let mut reply = match protocol {
            Protocol::Grpc => grpc::answer(self, &parts, body, started).await,
            Protocol::Json => json::answer(self, &parts, body, started).await,
        };
        let held = self.hold(&mut reply, parts.extensions.get().cloned());
        log(&reply, protocol, started);
        match protocol {
            Protocol::Grpc => grpc::response(reply, held),
            Protocol::Json => self.http_response(reply, held, parts.method == Method::HEAD),
        }
    }

    /// A reply that the node has no part in.
    pub(crate) fn local(&self, what: &'static str, outcome: Result<Content, Box<Problem>>) -> Reply {
        Reply {
            what,
            request_id: self.local_id(),
            position: self.backend.position(),
            repeated: false,
            outcome,
            place: None,
            refusable: false,
        }
    }

    /// A reply to what the node answered; `render` writes the response in the caller's protocol.
    pub(crate) fn reply(&self, what: &'static str, answer: Answer, render: impl FnOnce(Vec<u8>) -> Result<Content, Box<Problem>>) -> Reply {
        let outcome = match answer.outcome {
            Ok(response) => render(response),
            Err(refusal) => Err(Problem::refused(refusal, answer.retry_after)),
        };
        let Answer { request_id, position, repeated, .. } = answer;
        Reply { what, request_id, position, repeated, outcome, place: None, refusable: false }
    }

    /// A place among the calls in flight. It is taken when a request has been read: those still being read have bounds
    /// of their own, and a few clients that send slowly must not keep all others out.
    pub(crate) fn enter(&self) -> Result<Taken, Box<Problem>> {
        if self.answers.is_full() {
            return Err(Problem::overloaded(ANSWERS));
        }
        self.calls.take(1).ok_or_else(|| Problem::overloaded("requests"))
    }

    /// Takes room for a reply that is about to be sent; one that finds none and may be refused is refused.
    fn hold(&self, reply: &mut Reply, connection: Option<Arc<Undelivered>>) -> Held {
        let length = reply.outcome.as_ref().map_or(0, |content| content.bytes.len());
        let mut bytes = self.answers.take_none();
        if !bytes.grow(length) {
            if reply.refusable {
                reply.outcome = Err(Problem::overloaded(ANSWERS));
            } else {
                bytes.grow_beyond(length);
            }
        }
        Held { _place: reply.place.take(), bytes, connection }
    }

    /// Hands a call to the node.
    pub(crate) async fn call(
        &self,
        method: MethodId,
        headers: RequestHeaders,
        until: Instant,
        body: Vec<u8>,
    ) -> Result<Answer, Box<Problem>> {
        let deadline = remaining(until)?;
        // A read changes nothing however often it is repeated, so its key has nothing to guard.
        let key = headers.key.filter(|_| !self.schema.info(method).read_only);
        let consistency = headers.consistency.map_or(Consistency::Linearizable, |(consistency, _)| consistency);
        let call = Call { method, tenant: headers.tenant, key, consistency, deadline, body };
        Ok(self.backend.call(call).await)
    }

    /// Stamps an answer that another service of this port gave.
    pub(crate) fn stamp(&self, headers: &mut HeaderMap) {
        stamp(headers, self.local_id(), self.backend.position());
    }

    fn local_id(&self) -> String {
        format!("{LOCAL_ID_PREFIX}{}", self.local_ids.fetch_add(1, Ordering::Relaxed))
    }

    fn http_response(&self, reply: Reply, held: Held, head: bool) -> Response<Body> {
        let (status, media, bytes, problem) = match reply.outcome {
            Ok(content) => (content.status, "application/json", content.bytes, None),
            Err(problem) => {
                let json = problem.to_json(self.service.as_ref(), &reply.request_id);
                (problem.status, "application/problem+json", json, Some(problem))
            }
        };
        let length = bytes.len();
        let mut response = Response::new(if head { Body::empty() } else { Body::from(held.carried_by(bytes)) });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        stamp(headers, reply.request_id, reply.position);
        if head {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if reply.repeated {
            headers.insert(headers::REPEATED.clone(), HeaderValue::from_static("true"));
        }
        if let Some(delay) = problem.as_ref().and_then(|problem| problem.retry_after) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
        }
        if let Some(allow) = problem.and_then(|problem| problem.allow) {
            headers.insert(header::ALLOW, header_value(allow));
        }
        response
    }
}

/// What is left until the deadline.
pub(crate) fn remaining(until: Instant) -> Result<Duration, Box<Problem>> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Problem::new(onebox_service::Code::DeadlineExceeded, "the deadline passed before the request was carried out"));
    }
    Ok(left)
}

/// Writes the two headers that every answer carries.
pub(crate) fn stamp(headers: &mut HeaderMap, request_id: String, position: String) {
    for (name, text) in [(&headers::REQUEST_ID, request_id), (&headers::POSITION, position)] {
        let mut value = header_value(text);
        // No two answers carry the same, so HTTP/2 is told not to put them into its table of repeated headers: it would
        // compare each with all that it holds, and hold nothing else soon.
        value.set_sensitive(true);
        headers.insert(name.clone(), value);
    }
}

/// gRPC is HTTP/2, POST, and a media type of `application/grpc` or `application/grpc+...`.
fn protocol_of(parts: &Parts) -> Protocol {
    if parts.version != Version::HTTP_2 || parts.method != Method::POST {
        return Protocol::Json;
    }
    let media = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    match media.strip_prefix(b"application/grpc") {
        Some([] | [b'+' | b';' | b' ', ..]) => Protocol::Grpc,
        Some(_) | None => Protocol::Json,
    }
}

fn whole_seconds(delay: Duration) -> u64 {
    (delay.as_secs() + u64::from(delay.subsec_nanos() > 0)).max(1)
}

fn log(reply: &Reply, protocol: Protocol, started: Instant) {
    let protocol = match protocol {
        Protocol::Grpc => "grpc",
        Protocol::Json => "http",
    };
    let (status, code) = match &reply.outcome {
        Ok(content) => (content.status.as_u16(), "OK"),
        Err(problem) => (problem.status.as_u16(), problem.refusal.code.name()),
    };
    match &reply.outcome {
        Err(problem) if problem.status.is_server_error() => {
            // A schema's refusal may quote the request; the platform's own sentences do not.
            let detail = if problem.refusal.kind.is_empty() { problem.refusal.message.as_str() } else { problem.refusal.kind };
            tracing::warn!(request_id = %reply.request_id, method = reply.what, protocol, status, code, detail, "request failed");
        }
        Ok(_) | Err(_) => {
            let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            tracing::debug!(request_id = %reply.request_id, method = reply.what, protocol, status, code, micros, "request");
        }
    }
}
