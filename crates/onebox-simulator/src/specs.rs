//! Specs as a workload: every request that stands in one, in any order. For a service that brings nothing else, and for orders that
//! nobody thought of.

use std::sync::Arc;

use onebox_service::Service;
use onebox_service::spec::Given;

use crate::chance::Chance;
use crate::workload::{Ask, Workload};

/// The requests of all specs of a service. What a spec says was so before is not made so: many requests are refused, and the others make
/// a life of their own.
pub struct SpecWorkload {
    service: Arc<dyn Service>,
    asks: Vec<Ask>,
}

impl SpecWorkload {
    /// A workload of this service's specs; `None` if no spec asks for anything that may write, because a cluster shows only by a write
    /// that it works.
    pub fn new(service: Arc<dyn Service>) -> Option<SpecWorkload> {
        let mut asks = Vec::new();
        for spec in service.specs() {
            let before = spec.given.into_iter().filter_map(|given| match given {
                Given::Request(method, body) => Some((method, body)),
                Given::Event(_) => None,
            });
            let requests: Vec<_> = before.chain([(spec.method, spec.request)]).collect();
            asks.extend(requests.into_iter().map(|(method, body)| {
                let reads = service.schema().info(method).read_only;
                Ask { method, body, reads, records: false }
            }));
        }
        asks.iter().any(|ask| !ask.reads).then_some(SpecWorkload { service, asks })
    }
}

impl Workload for SpecWorkload {
    fn service(&self) -> Arc<dyn Service> {
        Arc::clone(&self.service)
    }

    fn runs_out(&self) -> bool {
        true
    }

    fn next(&mut self, _client: usize, chance: &mut Chance) -> Ask {
        self.asks[chance.place(self.asks.len())].clone()
    }
}
