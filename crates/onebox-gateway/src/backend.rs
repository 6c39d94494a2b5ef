//! What the gateway needs of the node behind it: calls in, answers out. The gateway translates; it decides nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use onebox_service::{MethodId, Refusal, Service};

use crate::specs::SpecAnswers;

/// A future that the node gives.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The node, as the gateway sees it.
pub trait Backend: Send + Sync + 'static {
    /// The service that this node runs.
    fn service(&self) -> &Arc<dyn Service>;

    /// Carries out one call. The answer comes by the call's deadline, or says DEADLINE_EXCEEDED or UNKNOWN then.
    /// Dropping the future does not take the call back.
    fn call(&self, call: Call) -> Pending<Answer>;

    /// Creates a tenant, in a partition that is named or in that of its name. Creating one that exists is ALREADY_EXISTS. The name was
    /// checked by [`tenant_name`](crate::tenant_name).
    fn create_tenant(&self, name: String, partition: Option<u32>, deadline: Duration) -> Pending<Answer>;

    /// Tells what became of a request. The id was given by [`Answer::request_id`]; one of another form is
    /// INVALID_ARGUMENT. Ids that start with `local-` are the gateway's own and never come here.
    fn outcome(&self, request_id: String, deadline: Duration) -> Pending<Result<RequestOutcome, Refusal>>;

    /// Whether this node can serve. Cheap: it is asked by every probe.
    fn health(&self) -> Health;

    /// Who answers specs that others send; `None` where they are not taken.
    fn specs(&self) -> Option<Arc<dyn SpecAnswers>> {
        None
    }

    /// The position token of the state that readers of this node see; where there are several such states, one that asks for nothing of
    /// any. Answers that no call gave are stamped with it.
    fn position(&self) -> String;

    /// The same, for an answer about a request.
    fn position_of(&self, request_id: &str) -> String;
}

/// One call, with its body already parsed and in canonical encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: MethodId,
    /// The tenant's name, well formed.
    pub tenant: String,
    /// The client's idempotency key, well formed.
    pub key: Option<String>,
    /// For a read: what it must see.
    pub consistency: Consistency,
    /// How long the caller waits.
    pub deadline: Duration,
    /// The encoded request.
    pub body: Vec<u8>,
}

/// What a read must see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Consistency {
    /// Everything that was acknowledged to anybody before it was asked.
    #[default]
    Linearizable,
    /// A state that has reached this position token, on any node.
    AtLeast(String),
    /// Whatever state the node that is asked has.
    Stale,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The id under which the outcome of this request can be asked; `Onebox-Request-Id`. Visible ASCII, and never
    /// starting with `local-`.
    pub request_id: String,
    /// The position token of the state that answered; `Onebox-Position`. Visible ASCII.
    pub position: String,
    /// The encoded response, or why there is none.
    pub outcome: Result<Vec<u8>, Refusal>,
    /// Whether the response is the first answer to an idempotency key, given again.
    pub repeated: bool,
    /// When an overloaded node says so: after how long to try again; `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestOutcome {
    /// It took effect; this is its method and encoded response.
    TookEffect {
        /// The method; `None` for a request of the platform, such as the creation of a tenant.
        method: Option<MethodId>,
        /// The encoded response.
        response: Vec<u8>,
    },
    /// It has not taken effect, and can no longer.
    NoEffect,
    /// It may still take effect; ask again.
    Pending,
    /// Its answer was delivered and forgotten, or its session has expired.
    Forgotten,
}

/// Whether a node can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether requests are taken.
    pub ready: bool,
    /// Why, in words for an operator; for example `recovering: replayed 12,000 of 80,000 entries`.
    pub reason: String,
}
