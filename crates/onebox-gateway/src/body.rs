//! Reading a request's body within its bounds: bytes of one body, bytes of all bodies in flight, and the deadline.
//!
//! A body that is not read (the request was refused first) is thrown away beside the answer, so that an HTTP/1.1 client
//! which sends everything before it reads gets to see the answer.

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::request::Parts;
use http::{Version, header};
use http_body_util::BodyExt;
use onebox_service::Code;
use std::sync::Arc;
use tokio::time::Instant;

use crate::limits::{DISCARD_TIME_MAX, DISCARDED_BYTES_MAX};
use crate::problem::Problem;
use crate::room::{Room, Taken};

/// The body of a request that is being looked at.
pub(crate) struct Incoming {
    body: Body,
    /// What `Content-Length` says.
    declared: Option<u64>,
    /// Whether to throw away what is not read.
    discard: bool,
}

/// What a body may take.
pub(crate) struct Bounds<'b> {
    pub(crate) bytes_max: usize,
    pub(crate) in_flight: &'b Arc<Room>,
    pub(crate) until: Instant,
}

impl Incoming {
    pub(crate) fn new(parts: &Parts, body: Body) -> Incoming {
        let declared = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        // A client that asked first whether to send has not sent, and HTTP/2 resets a stream without losing the answer.
        let discard = parts.version < Version::HTTP_2 && !parts.headers.contains_key(header::EXPECT);
        Incoming { body, declared, discard }
    }

    /// Reads it all. The bytes count as in flight until what is given beside them is dropped.
    pub(crate) async fn read(&mut self, bounds: &Bounds<'_>) -> Result<(Bytes, Taken), Box<Problem>> {
        if self.declared.is_some_and(|declared| declared > bounds.bytes_max as u64) {
            return Err(Problem::body_too_large(bounds.bytes_max));
        }
        let mut taken = bounds.in_flight.take_none();
        let mut first = Bytes::new();
        let mut rest: Vec<u8> = Vec::new();
        while let Some(chunk) = self.chunk(bounds.until).await? {
            let length = rest.len().max(first.len()) + chunk.len();
            if length > bounds.bytes_max {
                return Err(Problem::body_too_large(bounds.bytes_max));
            }
            if !taken.grow(chunk.len()) {
                return Err(Problem::overloaded("bytes of requests"));
            }
            if first.is_empty() {
                first = chunk;
            } else {
                if rest.is_empty() {
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&chunk);
            }
        }
        Ok((if rest.is_empty() { first } else { Bytes::from(rest) }, taken))
    }

    async fn chunk(&mut self, until: Instant) -> Result<Option<Bytes>, Box<Problem>> {
        loop {
            if self.body.is_end_stream() {
                return Ok(None);
            }
            match tokio::time::timeout_at(until, self.body.frame()).await {
                Err(_) => return Err(Problem::new(Code::DeadlineExceeded, "the body did not arrive before the request's deadline")),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(Problem::invalid(format!("the body ended early: {error}"))),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(chunk) if chunk.is_empty() => {}
                    Ok(chunk) => return Ok(Some(chunk)),
                    Err(_trailers) => {}
                },
            }
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.discard || self.body.is_end_stream() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let body = std::mem::take(&mut self.body);
            runtime.spawn(tokio::time::timeout(DISCARD_TIME_MAX, discard(body)));
        }
    }
}

async fn discard(mut body: Body) {
    let mut bytes: u64 = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, |chunk| chunk.len() as u64);
        if bytes > DISCARDED_BYTES_MAX {
            return;
        }
    }
}
