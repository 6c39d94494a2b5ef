//! What a client sends to a replica and gets back: one attempt at a request, and its reply.
//!
//! Shared by `onebox-client`, which numbers and retries, and `onebox-replica`, which carries out; neither knows the
//! other. Every attempt is named by a session and a sequence number, so that it takes effect at most once.

use std::fmt;

use crate::{Code, MethodId, Refusal, Time};

/// A session: one numbered stream of requests. Given by the log, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A request's number in its session, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// Names one request for ever, and tells until when it can act. Shown to callers as `Onebox-Request-Id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// Its session.
    pub session: SessionId,
    /// Its number there.
    pub sequence: Sequence,
    /// Log time after which it is refused instead of executed.
    pub not_after: Time,
}

impl RequestId {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<RequestId> {
        let mut parts = text.split('-').map(|part| u64::from_str_radix(part, 16).ok().filter(|_| canonical(part)));
        let (session, sequence, not_after) = (parts.next()??, parts.next()??, parts.next()??);
        if parts.next().is_some() {
            return None;
        }
        Some(RequestId { session: SessionId(session), sequence: Sequence(sequence), not_after: Time(not_after) })
    }
}

fn canonical(part: &str) -> bool {
    !part.is_empty()
        && (part == "0" || !part.starts_with('0'))
        && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}", self.session.0, self.sequence.0, self.not_after.0)
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A method of the service that may record events.
    Call {
        /// The tenant's name.
        tenant: String,
        /// The method.
        method: MethodId,
        /// The canonical encoding of the request.
        body: Vec<u8>,
        /// The caller's idempotency key.
        key: Option<String>,
    },
    /// Create a tenant.
    CreateTenant {
        /// Its name.
        name: String,
    },
    /// Say of a tenant that is to be created that it is of another partition.
    PlaceTenant {
        /// Its name.
        name: String,
        /// The partition.
        partition: u32,
    },
    /// Open a session. The only command without a session.
    OpenSession,
    /// Keep an idle session from expiring.
    TouchSession,
    /// Make sure that the request of this id does not take effect any more, unless it did: asked by a client that was told of
    /// a refusal while an earlier attempt may still be on its way.
    Withdraw,
}

/// One attempt at a request. A repeated attempt is equal to the first, but for `acknowledged_below`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The request. For [`Command::OpenSession`] the session is 0.
    pub id: RequestId,
    /// The client has every answer below this sequence number and will not ask again.
    pub acknowledged_below: Sequence,
    /// What is asked.
    pub command: Command,
}

/// What a replica says of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It was carried out.
    Done {
        /// The encoded response.
        response: Vec<u8>,
        /// Whether it took effect before, under this id or this idempotency key.
        repeated: bool,
    },
    /// The session that was opened.
    Opened(SessionId),
    /// A domain answer, or a limit. It changed nothing.
    Refused(Refusal),
    /// The queue is full. It changed nothing; asking again later may help.
    Overloaded,
    /// It was not carried out, and certainly changed nothing; another attempt may be.
    Retry(&'static str),
    /// This replica does not lead: it certainly changed nothing here. Another replica, named if it is known, may take it.
    Elsewhere(Option<u64>),
    /// To [`Command::Withdraw`], and to what was withdrawn: it took no effect, and can no longer.
    Withdrawn,
    /// It was carried out and then neither confirmed nor undone for good: another attempt under the same id is safe
    /// and will tell.
    Unknown(String),
    /// Its session is closed or expired: under this id it can no longer take effect, and whether it did is forgotten.
    SessionGone,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It took effect.
    TookEffect {
        /// The name of its method.
        method: String,
        /// The encoded response.
        response: Vec<u8>,
    },
    /// It has not taken effect, and can no longer.
    NoEffect,
    /// It may still take effect.
    Pending,
    /// Its answer was delivered and forgotten, or its session has expired.
    Forgotten,
}

impl Reply {
    /// A refusal of the platform.
    pub fn refused(code: Code, message: impl Into<String>) -> Reply {
        Reply::Refused(Refusal::platform(code, message))
    }
}
