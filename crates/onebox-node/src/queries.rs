//! The readers: a few threads that answer read-only requests on views, beside the writer.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use onebox_replica::{Query, unknown_tenant};
use onebox_service::attempt::Reply;
use onebox_service::execute::{self, Context};
use onebox_service::{Budget, Code, Failure, Fault, Refusal, Service};

use crate::link::Link;
use crate::partition::{Events, spawn};

/// Reads that wait for a thread. Past it callers are told to come back.
const QUERIES_WAITING_MAX: usize = 4_096;

/// The pool of readers. Dropping it ends the threads once the queue is empty.
pub(crate) struct Readers {
    queue: SyncSender<Query>,
    link: Arc<Link>,
}

impl Readers {
    /// Starts `threads` readers. `on_fault` is told of a row that could not be read.
    pub(crate) fn start(
        threads: usize,
        link: &Arc<Link>,
        service: &Arc<dyn Service>,
        budget: Budget,
        on_fault: impl Fn(Fault) + Clone + Send + 'static,
        events: &Events,
    ) -> Readers {
        let (queue, source) = sync_channel(QUERIES_WAITING_MAX);
        let source = Arc::new(Mutex::new(source));
        for _ in 0..threads.max(1) {
            let (source, link, service, on_fault) = (Arc::clone(&source), Arc::clone(link), Arc::clone(service), on_fault.clone());
            let run = move || {
                while let Some(query) = next(&source) {
                    answer(query, &link, &*service, budget, &on_fault)
                }
            };
            spawn("reader", events, run);
        }
        Readers { queue, link: Arc::clone(link) }
    }

    /// Has a read answered, now or by telling its caller to come back.
    pub(crate) fn run(&self, query: Query) {
        if let Err(TrySendError::Full(query) | TrySendError::Disconnected(query)) = self.queue.try_send(query) {
            self.link.reply(query.token, Reply::Overloaded, query.view.position().index);
        }
    }
}

fn next(source: &Mutex<Receiver<Query>>) -> Option<Query> {
    source.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn answer(query: Query, link: &Link, service: &dyn Service, budget: Budget, on_fault: &impl Fn(Fault)) {
    let Query { token, tenant, method, body, view, deadline } = query;
    let position = view.position();
    if link.uptime() > deadline {
        // Nobody waits for it any more; whoever does is served sooner.
        let refusal = Refusal::platform(Code::DeadlineExceeded, "the read came to its turn after its deadline");
        return link.answer_read(token, Err(refusal), position.index, None);
    }
    let outcome = match onebox_replica::tenant(&view, &tenant) {
        Ok(Some(tenant)) => execute::query(service, method, &body, &view, &Context { tenant, now: position.time, seed: 0, budget }),
        Ok(None) => Err(Failure::Refused(Refusal::platform(Code::NotFound, unknown_tenant(&tenant)))),
        Err(fault) => Err(Failure::Fault(fault)),
    };
    let outcome = outcome.map_err(|failure| match failure {
        Failure::Refused(refusal) => refusal,
        Failure::Bug(what) => {
            let method = service.schema().info(method).name;
            tracing::error!(method, what, "the service's code failed on a read");
            Refusal::platform(Code::Internal, format!("the code of {method} failed on this request: {what}"))
        }
        Failure::Fault(fault) => {
            let refusal = Refusal::platform(Code::Unavailable, fault.to_string());
            on_fault(fault);
            refusal
        }
    });
    link.answer_read(token, outcome, position.index, None);
}
