//! The vocabulary in which a service is written and run: features decide, events state facts, `apply` writes rows.
//!
//! Everything here is a function of its arguments. This crate knows no clock, thread, socket, file or async runtime;
//! time, entropy and rows come in through [`Context`] and [`Keyspace`].
//!
//! Reading order: [`feature`] (what an author implements), [`tx`] (what a feature is given), [`table`] and
//! [`keyspace`] (rows), [`spec`](mod@spec) (what is so, as data), [`execute`] (how the platform runs one request),
//! [`service`] (the seam: bytes in, bytes out).

pub mod attempt;
pub mod budget;
pub mod buggify;
pub mod execute;
pub mod fault;
pub mod feature;
pub mod keyspace;
pub mod names;
pub mod planted;
pub mod refusal;
pub mod rehearsal;
pub mod service;
pub mod spec;
pub mod table;
pub mod tx;
pub mod version;

pub use budget::{Budget, Resource};
pub use execute::{Context, Executed, Failure};
pub use fault::{Fault, FaultKind};
pub use feature::{Apply, Event, Feature, Method, Query};
pub use keyspace::{Bytes, Keyspace, KeyspaceMut};
pub use names::{EventId, MethodId, TenantId, Time};
pub use refusal::{Code, Outcome, PLACED, Refusal, RefusalMessage, refuse};
pub use service::{BadRequest, EventInfo, FieldInfo, IndexInfo, MethodInfo, RefusalInfo, Route, Schema, Service, TableInfo, Verb};
pub use spec::{Fact, Request, Spec, spec};
pub use table::{Key, Row, Scan, Table};
pub use tx::{Read, Reader, Rows, Tx};
