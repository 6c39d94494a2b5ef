//! The rules of a client, as a pure state machine: a session, numbered requests, safe retries, deadlines.
//!
//! The gateway drives it against its node, the simulator against a simulated one. It knows no clock, thread or socket:
//! `now` is an argument, and what is to be sent comes out as an [`Effect`].
//!
//! It keeps: an attempt is repeated only under its own id; a call is answered once; an answer says 'unknown' only
//! when the request may have taken effect. What a caller was not told for certain stays unacknowledged for a while
//! ([`LINGER_MICROS`]), so that its outcome can be asked.

mod calls;
mod client;
mod network;
mod placement;
mod routes;

pub use client::{Answer, Caller, Client, Effect, Input, Now, Outcome};
pub use network::{Errand, NetworkClient, Whom};
pub use placement::placement;
pub use routes::Routes;

/// Microseconds before the first repetition of an attempt; each further one waits twice as long.
pub const RETRY_FIRST_MICROS: u64 = 10_000;
/// The longest wait between two repetitions.
pub const RETRY_MAX_MICROS: u64 = 200_000;
/// Microseconds after which an attempt over a network is taken for lost, and repeated under its id.
pub const ATTEMPT_MICROS: u64 = 1_000_000;
/// Microseconds for which the outcome of a request can be asked whose caller was not told it.
pub const LINGER_MICROS: u64 = 300_000_000;
/// Requests whose outcome can be asked so; past it the oldest is acknowledged early.
pub const LINGERING_MAX: usize = 10_000;
/// Requests between the acknowledged ones and the newest at which a new session is opened, so that one unsettled request
/// holds up nobody: half of what a replica allows.
pub const WINDOW_OPEN_NEXT: u64 = 32_768;
/// Microseconds after which the session is kept alive by a request of its own, whatever else it carries: only what takes
/// effect would do it otherwise.
pub const TOUCH_MICROS: u64 = 600_000_000;
/// Calls under way at once; a further one is told to come back.
pub const CALLS_MAX: usize = 32_768;
/// Microseconds without an answer after which another node is tried.
pub const SILENCE_MICROS: u64 = 200_000;
/// Microseconds after which a read that is not answered is asked again.
pub const READ_AGAIN_MICROS: u64 = 500_000;
/// Microseconds after which a read is asked again that a node could not answer.
pub const READ_RETRY_MICROS: u64 = 20_000;
