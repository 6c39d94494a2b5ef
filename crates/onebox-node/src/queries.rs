//! The readers: a few threads that answer read-only requests on views, beside the writer.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use onebox_replica::Query;
use onebox_service::attempt::Reply;
use onebox_service::execute::{self, Context};
use onebox_service::{Budget, Code, Failure, Fault, Refusal, Service};

use crate::link::Link;
use crate::partition::{Events, spawn};

/// Reads that wait for a thread. Past it callers are told to come back.
const QUERIES_WAITING_MAX: usize = 4_096;

/// The pool of readers. Dropping it ends the threads once the queue is empty.
pub(crate) struct Readers {
    line: Arc<Line>,
    link: Arc<Link>,
}

/// Where reads wait for a thread, and idle threads for a read. One arrival wakes one idle thread, and none if all are
/// busy: the next free one finds the read by itself.
#[derive(Default)]
struct Line {
    state: Mutex<Waiting>,
    arrival: Condvar,
}

#[derive(Default)]
struct Waiting {
    queries: VecDeque<Query>,
    idle: usize,
    closed: bool,
}

impl Line {
    /// Puts a read in the line, or gives it back if that is full.
    fn push(&self, query: Query) -> Option<Query> {
        let mut waiting = self.lock();
        if waiting.queries.len() >= QUERIES_WAITING_MAX {
            return Some(query);
        }
        waiting.queries.push_back(query);
        let wake = waiting.idle > 0;
        drop(waiting);
        if wake {
            self.arrival.notify_one();
        }
        None
    }

    /// The next read, `None` once the line is closed and empty.
    fn next(&self) -> Option<Query> {
        let mut waiting = self.lock();
        loop {
            if let Some(query) = waiting.queries.pop_front() {
                return Some(query);
            }
            if waiting.closed {
                return None;
            }
            waiting.idle += 1;
            waiting = self.arrival.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.idle -= 1;
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.arrival.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.line.close();
    }
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
        let line = Arc::new(Line::default());
        for _ in 0..threads.max(1) {
            let (line, link, service, on_fault) = (Arc::clone(&line), Arc::clone(link), Arc::clone(service), on_fault.clone());
            let run = move || {
                while let Some(query) = line.next() {
                    answer(query, &link, &*service, budget, &on_fault)
                }
            };
            spawn("reader", events, run);
        }
        Readers { line, link: Arc::clone(link) }
    }

    /// Has a read answered, now or by telling its caller to come back.
    pub(crate) fn run(&self, query: Query) {
        if let Some(query) = self.line.push(query) {
            self.link.reply(query.token, Reply::Overloaded, query.view.position().index);
        }
    }
}

fn answer(query: Query, link: &Link, service: &dyn Service, budget: Budget, on_fault: &impl Fn(Fault)) {
    let Query { token, tenant, method, body, view, deadline } = query;
    let position = view.position();
    if link.uptime() > deadline {
        // Nobody waits for it any more; whoever does is served sooner.
        let refusal = Refusal::platform(Code::DeadlineExceeded, "the read came to its turn after its deadline");
        return link.answer_read(token, Err(refusal), position.index);
    }
    let outcome = match onebox_replica::tenant(&view, &tenant) {
        Ok(Some(tenant)) => execute::query(service, method, &body, &view, &Context { tenant, now: position.time, seed: 0, budget }),
        Ok(None) => Err(onebox_replica::absent_tenant(&view, &tenant).map_or_else(Failure::Fault, Failure::Refused)),
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
    link.answer_read(token, outcome, position.index);
}
