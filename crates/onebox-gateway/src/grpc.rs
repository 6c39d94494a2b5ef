//! gRPC, unary: any `/<service>/<Method>` of the schema, bytes in, bytes out, without generated code.
//!
//! Framing by the gRPC over HTTP/2 specification: a message is one byte 'compressed' and four bytes of length before
//! it. Errors are trailers-only. Compression is not offered.

use std::convert::Infallible;

use axum::body::Body;
use bytes::{BufMut, Bytes};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use onebox_service::{Code, MethodId};
use tokio::time::Instant;

use crate::body::{Bounds, Incoming};
use crate::delivery::Held;
use crate::gateway::{Content, Gateway, Reply, stamp};
use crate::headers::{self, RequestHeaders};
use crate::problem::Problem;
use crate::specs::{self, SpecAsk, SpecForm};

/// Bytes before a message: compressed or not, and its length.
const PREFIX_BYTES: usize = 5;

/// Answers one gRPC request.
pub(crate) async fn answer(gateway: &Gateway, parts: &Parts, body: Body, started: Instant) -> Reply {
    if let Some((what, ask)) = specs::of_path(gateway, parts.uri.path()) {
        let result = spec(gateway, &parts.headers, Incoming::new(parts, body), (what, ask), started).await;
        return result.unwrap_or_else(|problem| gateway.local(what, Err(problem)));
    }
    let Some(method) = method_of(gateway, parts.uri.path()) else {
        let sentence = format!("there is no such method; this is {}, and gRPC reflection lists its methods", gateway.schema.service);
        return gateway.local("unmatched", Err(Problem::new(Code::Unimplemented, sentence)));
    };
    let incoming = Incoming::new(parts, body);
    let result = call(gateway, &parts.headers, incoming, method, started).await;
    result.unwrap_or_else(|problem| gateway.local(gateway.schema.info(method).name, Err(problem)))
}

/// A reply as gRPC writes it.
pub(crate) fn response(reply: Reply, held: Held) -> Response<Body> {
    let problem = match reply.outcome {
        Err(problem) => problem,
        Ok(content) => match framed(&content.bytes) {
            Some(frame) => return success(held.carried_by(frame), reply.request_id, reply.position, reply.repeated),
            None => Problem::new(Code::Internal, "the response is longer than gRPC can carry"),
        },
    };
    let (message, details) = problem.to_grpc(&reply.request_id);
    let status = tonic::Status::with_details(tonic::Code::from(problem.refusal.code as i32), message, details.into());
    let mut response = status.into_http::<Body>();
    stamp(response.headers_mut(), reply.request_id, reply.position);
    response
}

async fn call(
    gateway: &Gateway,
    headers: &HeaderMap,
    mut incoming: Incoming,
    method: MethodId,
    started: Instant,
) -> Result<Reply, Box<Problem>> {
    let info = gateway.schema.info(method);
    let headers = RequestHeaders::read(headers, &gateway.settings)?;
    if !info.read_only {
        headers.refuse_consistency(info.name)?;
    }
    let until = started + headers.timeout;
    let bounds = Bounds { bytes_max: gateway.settings.body_bytes_max + PREFIX_BYTES, in_flight: &gateway.bodies, until };
    let (body, _taken) = incoming.read(&bounds).await?;
    let request = gateway.service.request_from_binary(method, message_of(&body)?).map_err(Problem::bad_request)?;
    drop(body);
    let place = gateway.enter()?;
    let answer = gateway.call(method, headers, until, request).await?;
    Ok(gateway.reply(info.name, answer, |bytes| Ok(Content { status: StatusCode::OK, bytes })).holding(place, info.read_only))
}

async fn spec(
    gateway: &Gateway,
    headers: &HeaderMap,
    mut incoming: Incoming,
    (what, ask): (&'static str, SpecAsk),
    started: Instant,
) -> Result<Reply, Box<Problem>> {
    let headers = RequestHeaders::read(headers, &gateway.settings)?;
    headers.refuse_consistency("a spec")?;
    let until = started + headers.timeout;
    let bounds = Bounds { bytes_max: gateway.settings.body_bytes_max + PREFIX_BYTES, in_flight: &gateway.bodies, until };
    let (body, _taken) = incoming.read(&bounds).await?;
    let request = message_of(&body)?.to_vec();
    specs::answered(gateway, what, ask, SpecForm::Binary, request, until).await
}

fn method_of(gateway: &Gateway, path: &str) -> Option<MethodId> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    if service != gateway.schema.service {
        return None;
    }
    gateway.schema.method(method)
}

/// The one message of a unary request.
fn message_of(body: &[u8]) -> Result<&[u8], Box<Problem>> {
    let Some((prefix, rest)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(Problem::invalid("the request holds no gRPC message"));
    };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(Problem::new(Code::Unimplemented, "compressed messages are not taken; send with grpc-encoding identity"));
    }
    let length = u32::from_be_bytes(length) as usize;
    if rest.len() != length {
        let sentence =
            format!("the request holds {} bytes after a message prefix that says {length}; it must hold one message", rest.len());
        return Err(Problem::invalid(sentence));
    }
    Ok(rest)
}

fn framed(message: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(message.len()).ok()?;
    let mut frame = Vec::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put_slice(message);
    Some(frame)
}

fn success(frame: Bytes, request_id: String, position: String, repeated: bool) -> Response<Body> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    let body = Full::new(frame).with_trailers(std::future::ready(Some(Ok::<_, Infallible>(trailers))));
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    stamp(headers, request_id, position);
    if repeated {
        headers.insert(headers::REPEATED.clone(), HeaderValue::from_static("true"));
    }
    response
}
