//! The gateway's way to a node: its backend.

use std::sync::Arc;
use std::time::Duration;

use onebox_gateway::{Answer, Backend, Call, Consistency, Health, Pending, RequestOutcome, SpecAnswers};
use onebox_replica as replica;
use onebox_service::attempt::{Command, Fate, Reply, RequestId};
use onebox_service::{Code, Refusal, Service};
use onebox_store::LogIndex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::link::{Link, READ_ID, ReadAsk, micros, refusal_of};

/// Before a question that nobody could answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The gateway's side of a link.
pub(crate) struct Door(pub(crate) Arc<Link>, pub(crate) Option<Arc<dyn SpecAnswers>>);

impl Backend for Door {
    fn specs(&self) -> Option<Arc<dyn SpecAnswers>> {
        self.1.clone()
    }

    fn service(&self) -> &Arc<dyn Service> {
        self.0.service()
    }

    fn call(&self, call: Call) -> Pending<Answer> {
        let Call { method, tenant, key, body, consistency, deadline } = call;
        if !self.0.service().schema().info(method).read_only {
            return Box::pin(answered(self.0.command(Command::Call { tenant, method, body, key }, deadline)));
        }
        let consistency = match consistency {
            Consistency::Linearizable => replica::Consistency::Linearizable,
            Consistency::Stale => replica::Consistency::AtLeast(LogIndex(0)),
            Consistency::AtLeast(token) => match self.0.tokens.read(&token) {
                Some(index) => replica::Consistency::AtLeast(index),
                None => {
                    let words = format!("{token:?} is not a position that this service gave; at-least takes an Onebox-Position as it was");
                    return Box::pin(std::future::ready(self.refused_read(Refusal::platform(Code::InvalidArgument, words))));
                }
            },
        };
        let deadline = self.0.uptime().saturating_add(micros(deadline));
        Box::pin(answered(self.0.read(ReadAsk { tenant, method, body: body.into(), consistency, deadline })))
    }

    fn create_tenant(&self, name: String, deadline: Duration) -> Pending<Answer> {
        Box::pin(answered(self.0.command(Command::CreateTenant { name }, deadline)))
    }

    fn outcome(&self, request_id: String, deadline: Duration) -> Pending<Result<RequestOutcome, Refusal>> {
        if request_id.starts_with(READ_ID) || request_id.starts_with("local-") {
            return Box::pin(std::future::ready(Ok(RequestOutcome::NoEffect)));
        }
        let Some(id) = RequestId::parse(&request_id) else {
            let words = format!("{request_id:?} is not a request id; it is what an answer carries as Onebox-Request-Id");
            return Box::pin(std::future::ready(Err(Refusal::platform(Code::InvalidArgument, words))));
        };
        Box::pin(outcome(Arc::clone(&self.0), id, Instant::now() + deadline))
    }

    fn health(&self) -> Health {
        self.0.health()
    }

    fn position(&self) -> String {
        self.0.tokens.write(self.0.published())
    }
}

impl Door {
    fn refused_read(&self, refusal: Refusal) -> Answer {
        Answer { request_id: self.0.read_id(), position: self.position(), outcome: Err(refusal), repeated: false, retry_after: None }
    }
}

/// Waits for an answer. The client keeps its deadline, because only the client knows what may be said of it.
async fn answered(receiver: oneshot::Receiver<Answer>) -> Answer {
    receiver.await.expect("a caller is answered before it is forgotten")
}

/// Asks until somebody who leads has answered.
async fn outcome(link: Arc<Link>, id: RequestId, until: Instant) -> Result<RequestOutcome, Refusal> {
    loop {
        let reply = match tokio::time::timeout_at(until, link.ask_fate(id)).await {
            Ok(Ok(Ok(fate))) => return Ok(outcome_of(&link, fate)),
            Ok(Ok(Err(reply))) => reply,
            Ok(Err(_)) => Reply::Retry("this node has stopped"),
            Err(_) => return Err(Refusal::platform(Code::DeadlineExceeded, "no answer before the deadline")),
        };
        let may_change = matches!(reply, Reply::Elsewhere(_) | Reply::Retry(_) | Reply::Unknown(_));
        if !may_change || Instant::now() + ASK_AGAIN >= until {
            return Err(refusal_of(reply));
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

fn outcome_of(link: &Link, fate: Fate) -> RequestOutcome {
    match fate {
        Fate::TookEffect { method, response } => RequestOutcome::TookEffect { method: link.service().schema().method(&method), response },
        Fate::NoEffect => RequestOutcome::NoEffect,
        Fate::Pending => RequestOutcome::Pending,
        Fate::Forgotten => RequestOutcome::Forgotten,
    }
}
