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
use crate::partitions::Partitions;

/// Before a question that nobody could answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The gateway's side of the partitions.
pub(crate) struct Door(pub(crate) Arc<Partitions>, pub(crate) Option<Arc<dyn SpecAnswers>>);

impl Backend for Door {
    fn specs(&self) -> Option<Arc<dyn SpecAnswers>> {
        self.1.clone()
    }

    fn service(&self) -> &Arc<dyn Service> {
        self.0.service()
    }

    fn call(&self, call: Call) -> Pending<Answer> {
        let link = self.0.of_tenant(&call.tenant);
        if link.partitions == 1 || link.partition != self.0.home_of(&call.tenant).partition {
            return ask(&link, call);
        }
        Box::pin(ask_where_it_is(Arc::clone(&self.0), link, call))
    }

    fn create_tenant(&self, name: String, partition: Option<u32>, deadline: Duration) -> Pending<Answer> {
        Box::pin(create_tenant(Arc::clone(&self.0), name, partition, Instant::now() + deadline))
    }

    fn outcome(&self, request_id: String, deadline: Duration) -> Pending<Result<RequestOutcome, Refusal>> {
        if request_id.starts_with(READ_ID) || request_id.starts_with("local-") {
            return Box::pin(std::future::ready(Ok(RequestOutcome::NoEffect)));
        }
        let Some((link, id)) = self.0.of_request(&request_id) else {
            let words = format!("{request_id:?} is not a request id; it is what an answer carries as Onebox-Request-Id");
            return Box::pin(std::future::ready(Err(Refusal::platform(Code::InvalidArgument, words))));
        };
        Box::pin(outcome(Arc::clone(link), id, Instant::now() + deadline))
    }

    fn health(&self) -> Health {
        self.0.health()
    }

    fn position(&self) -> String {
        let link = self.0.first();
        // Of several partitions, nobody knows which one the next call is for.
        if link.partitions == 1 { link.position() } else { link.tokens.write(link.partition, LogIndex(0)) }
    }

    fn position_of(&self, request_id: &str) -> String {
        self.0.of_request(request_id).map_or_else(|| self.position(), |(link, _)| link.position())
    }
}

/// Hands a call to the partition of a link.
fn ask(link: &Arc<Link>, call: Call) -> Pending<Answer> {
    let Call { method, tenant, key, body, consistency, deadline } = call;
    if !link.service().schema().info(method).read_only {
        return Box::pin(answered(link.command(Command::Call { tenant, method, body, key }, deadline)));
    }
    let consistency = match consistency {
        Consistency::Linearizable => replica::Consistency::Linearizable,
        Consistency::Stale => replica::Consistency::AtLeast(LogIndex(0)),
        Consistency::AtLeast(token) => match link.tokens.read(&token) {
            // Position 0 is what is answered without a look at any state: every state has reached it.
            Some((partition, index)) if partition == link.partition || index == LogIndex(0) => replica::Consistency::AtLeast(index),
            read => {
                let words = match read {
                    Some(_) => format!("{token:?} is a position of another tenant's partition; it says nothing of {tenant:?}"),
                    None => {
                        format!("{token:?} is not a position that this service gave; at-least takes an Onebox-Position as it was")
                    }
                };
                return Box::pin(std::future::ready(refused_read(link, Refusal::platform(Code::InvalidArgument, words))));
            }
        },
    };
    let deadline = link.uptime().saturating_add(micros(deadline));
    Box::pin(answered(link.read(ReadAsk { tenant, method, body: body.into(), consistency, deadline })))
}

/// Asks the partition that a tenant is of by its name, and the one where it was placed if that says so.
async fn ask_where_it_is(partitions: Arc<Partitions>, link: Arc<Link>, call: Call) -> Answer {
    let until = Instant::now() + call.deadline;
    let is_of_another = |(partition, index)| partition != link.partition && index != LogIndex(0);
    let elsewhere = match &call.consistency {
        // A write has no position.
        Consistency::AtLeast(_) if !link.service().schema().info(call.method).read_only => false,
        Consistency::AtLeast(token) => link.tokens.read(token).is_some_and(is_of_another),
        Consistency::Linearizable | Consistency::Stale => false,
    };
    // A position of another partition makes sense for a tenant that was placed there, which this node may not have heard of yet.
    let first = if elsewhere { Call { consistency: Consistency::Linearizable, ..call.clone() } } else { call.clone() };
    let answer = ask(&link, first).await;
    let placed = partitions.note_placement(&call.tenant, &answer);
    if placed.is_none() && !elsewhere {
        return answer;
    }
    let deadline = until.saturating_duration_since(Instant::now());
    ask(&placed.unwrap_or(link), Call { deadline, ..call }).await
}

/// Says first where it is to be, where it would be otherwise, and then creates it: asked again, it is created after all.
async fn create_tenant(partitions: Arc<Partitions>, name: String, wanted: Option<u32>, until: Instant) -> Answer {
    let left = || until.saturating_duration_since(Instant::now());
    let home = partitions.home_of(&name);
    let create = |link: &Arc<Link>| answered(link.command(Command::CreateTenant { name: name.clone() }, left()));
    let Some(partition) = wanted.filter(|wanted| *wanted != home.partition) else {
        let answer = create(home).await;
        // Without a wish it is created where it was placed, if somebody has said so.
        return match partitions.note_placement(&name, &answer) {
            Some(link) if wanted.is_none() => create(&link).await,
            Some(link) => {
                let words = format!("the tenant {name:?} is placed in partition {}, for good; create it there", link.partition);
                Answer { outcome: Err(Refusal::platform(Code::FailedPrecondition, words)), ..answer }
            }
            None => answer,
        };
    };
    let Some(link) = partitions.get(partition) else {
        let words = format!("there is no partition {partition}; there are {}, counted from 0", home.partitions);
        return refused_read(home, Refusal::platform(Code::InvalidArgument, words));
    };
    let placed = answered(home.command(Command::PlaceTenant { name: name.clone(), partition }, left())).await;
    match placed.outcome {
        Ok(_) => create(link).await,
        // Whatever became of the placing, the creating was not asked for.
        Err(refusal) if matches!(refusal.code, Code::Unknown | Code::DeadlineExceeded) => {
            let words = format!("the tenant {name:?} is not created; ask again with the same partition");
            refused_read(home, Refusal::platform(refusal.code, words))
        }
        Err(_) => placed,
    }
}

fn refused_read(link: &Link, refusal: Refusal) -> Answer {
    Answer { request_id: link.read_id(), position: link.position(), outcome: Err(refusal), repeated: false, retry_after: None }
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
