//! Every bound of the gateway, with its unit and its reason. Those an operator may choose are in [`GatewaySettings`].
//!
//! Memory that strangers can make a gateway hold stays below
//! `bodies_in_flight_bytes_max * 2 + answers_in_flight_bytes_max + connections_max * (head_bytes_max + h2_window_bytes)`,
//! plus the answers of those writes that were under way when the room for answers filled up, plus the streams: up to
//! `connections_max * streams_per_connection_max` heads and refusals, each for `connection_idle_ms_max` or the request's
//! timeout at most.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bytes of a request's head: line and headers. The longest path plus every header of ours fits several times.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Bytes of bodies that one HTTP/2 connection may have sent ahead of being read. One full default body in two windows.
pub(crate) const H2_WINDOW_BYTES: u32 = 512 * 1024;
/// Characters of an idempotency key: two UUIDs and a prefix, and it stays a small retained row.
pub(crate) const KEY_CHARS_MAX: usize = 128;
/// Characters of a tenant's name: it appears in every log line and in file names one day.
pub(crate) const TENANT_CHARS_MAX: usize = 64;
/// Characters of a position token; the node's own are far shorter.
pub(crate) const TOKEN_CHARS_MAX: usize = 128;
/// Characters of a request id in a path; the node's own are far shorter.
pub(crate) const REQUEST_ID_CHARS_MAX: usize = 128;
/// Parameters of a query string. Requests with more fields than this belong into a body.
pub(crate) const QUERY_PARAMETERS_MAX: usize = 64;
/// Bytes of an unknown path that are compared with the known ones to name the closest.
pub(crate) const COMPARED_PATH_BYTES_MAX: usize = 128;
/// Bytes of a refused body that are read and thrown away, so that an HTTP/1.1 client which sends before it reads gets
/// to see why it was refused, not a reset connection.
pub(crate) const DISCARDED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long such a body is waited for.
pub(crate) const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of a gRPC error's details. They travel in a header, and gRPC clients commonly take 8 KiB of headers.
pub(crate) const GRPC_DETAILS_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a gRPC error's message, for the same reason. Each may take three in the header.
pub(crate) const GRPC_MESSAGE_BYTES_MAX: usize = 1024;
/// When to try again after 'not now', where the node does not say: long enough for a queue to drain.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Specs of others that run or wait for the one thread that runs them, each with its body; a tool sends one at a time.
pub(crate) const SPECS_RUNNING_MAX: usize = 8;
/// How often a watched health is looked at.
pub(crate) const HEALTH_WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long to pause when the system has no handle for a new connection.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often a silent HTTP/2 connection is asked whether it is alive, and how long it may take to say so.
pub(crate) const H2_PING_INTERVAL: Duration = Duration::from_secs(20);

/// What an operator may choose. Units and bounds are in the names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// Bytes of one request body. 1 MiB: thousands of lines; larger requests hold up the one writer.
    pub body_bytes_max: usize,
    /// Bytes of all bodies being received or carried out. 64 MiB: 64 of the largest, half a million of 128 bytes.
    pub bodies_in_flight_bytes_max: usize,
    /// Bytes of all answers that their clients have not taken in. 256 MiB: dozens of the largest. When they are reached,
    /// calls are refused; a write that has taken effect by then is answered all the same.
    pub answers_in_flight_bytes_max: usize,
    /// Calls being carried out or answered. 16,384: some ten batches of the executor; more would only wait.
    pub calls_in_flight_max: usize,
    /// Connections. 2,048: more clients than that come through a proxy.
    pub connections_max: usize,
    /// Calls at once on one HTTP/2 connection. 1,024: a whole proxy may share one connection.
    pub streams_per_connection_max: u32,
    /// Milliseconds that a caller waits who says nothing. 10 s: beyond that people have gone.
    pub request_timeout_default_ms: u64,
    /// Milliseconds that a caller may ask to wait. 60 s: a retained request must outlive its attempts by far.
    pub request_timeout_max_ms: u64,
    /// Milliseconds that a connection may wait for its client: for its first bytes, for the next request of HTTP/1.1,
    /// for the client to have taken in the whole of an answer. 75 s: longer than proxies' 60 s, so that the side which
    /// sends is the side which closes.
    pub connection_idle_ms_max: u64,
    /// Milliseconds that a stop waits for calls in flight. 10 s: the default timeout of a request.
    pub drain_ms_max: u64,
}

impl Default for GatewaySettings {
    fn default() -> GatewaySettings {
        GatewaySettings {
            body_bytes_max: 1024 * 1024,
            bodies_in_flight_bytes_max: 64 * 1024 * 1024,
            answers_in_flight_bytes_max: 256 * 1024 * 1024,
            calls_in_flight_max: 16_384,
            connections_max: 2_048,
            streams_per_connection_max: 1_024,
            request_timeout_default_ms: 10_000,
            request_timeout_max_ms: 60_000,
            connection_idle_ms_max: 75_000,
            drain_ms_max: 10_000,
        }
    }
}

impl GatewaySettings {
    /// Whether the numbers make sense together.
    ///
    /// # Errors
    /// A sentence that names the setting and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let none_zero = [
            ("body_bytes_max", self.body_bytes_max == 0),
            ("answers_in_flight_bytes_max", self.answers_in_flight_bytes_max == 0),
            ("calls_in_flight_max", self.calls_in_flight_max == 0),
            ("connections_max", self.connections_max == 0),
            ("streams_per_connection_max", self.streams_per_connection_max == 0),
            ("request_timeout_default_ms", self.request_timeout_default_ms == 0),
            ("connection_idle_ms_max", self.connection_idle_ms_max == 0),
        ];
        if let Some((name, _)) = none_zero.iter().find(|(_, zero)| *zero) {
            return Err(format!("{name} is 0; it must be at least 1"));
        }
        if self.bodies_in_flight_bytes_max < self.body_bytes_max {
            return Err(format!(
                "bodies_in_flight_bytes_max ({}) is below body_bytes_max ({}); no largest body could ever be taken",
                self.bodies_in_flight_bytes_max, self.body_bytes_max
            ));
        }
        if self.body_bytes_max > u32::MAX as usize {
            return Err(format!("body_bytes_max ({}) is above {}, the longest message that gRPC can carry", self.body_bytes_max, u32::MAX));
        }
        if self.request_timeout_max_ms < self.request_timeout_default_ms {
            return Err(format!(
                "request_timeout_max_ms ({}) is below request_timeout_default_ms ({})",
                self.request_timeout_max_ms, self.request_timeout_default_ms
            ));
        }
        Ok(())
    }

    pub(crate) fn timeout_default(&self) -> Duration {
        Duration::from_millis(self.request_timeout_default_ms)
    }

    pub(crate) fn timeout_max(&self) -> Duration {
        Duration::from_millis(self.request_timeout_max_ms)
    }
}
