//! The gateway over a real loopback connection: a request in, the answer out, for every promise it makes about errors.

mod client;
mod fake;

mod bounds;
mod calls;
mod errors;
mod grpc;
mod platform;
mod slow;
mod specs;
mod stop;
