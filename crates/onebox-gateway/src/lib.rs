//! HTTP/1.1, HTTP/2 and gRPC in front of a node, on one port, for any [`Service`](onebox_service::Service).
//!
//! The gateway translates; it decides nothing. It reads headers, paths and bodies into a [`Call`], hands it to the
//! [`Backend`], and writes the [`Answer`] in the caller's protocol. It holds no state but counters of what is in
//! flight, and it knows no log, replica or disk.
//!
//! Every answer carries `Onebox-Request-Id` and `Onebox-Position`:
//! - a request that reached the node has the node's id, under which `GET /onebox/v1/requests/{id}` tells its outcome;
//! - any other (refused here, or answered by a platform route) has an id `local-N`, counted by this process. It took
//!   no effect, and asking for its outcome says so.
//!
//! Bytes that are not HTTP, a head beyond its bound, and a connection beyond the bound are answered below this, by the
//! connection itself, without them.
//!
//! Reading order: `gateway` (one request, whatever its protocol), `routes` and `json`, `grpc`, `platform` and
//! `discovery` (health, reflection), `specs`, `problem` (errors in both protocols), `delivery` (answers
//! that wait for their client), `serve` (connections).

mod backend;
mod body;
mod delivery;
mod discovery;
mod gateway;
mod google_rpc;
mod grpc;
mod headers;
mod json;
mod limits;
mod platform;
mod problem;
mod room;
mod routes;
mod serve;
mod specs;

pub use backend::{Answer, Backend, Call, Consistency, Health, Pending, RequestOutcome};
pub use gateway::router;
pub use headers::tenant_name;
pub use limits::GatewaySettings;
pub use serve::serve;
pub use specs::{SpecAnswers, SpecAsk, SpecForm};
