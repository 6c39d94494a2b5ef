//! What of a schema no spec shows: methods never asked, events never recorded by a request, refusals never met.

use std::collections::BTreeSet;

use onebox_service::Spec;
use onebox_service::spec::Then;

use crate::Catalogue;

/// What no spec shows, in words, in the order of the schema.
#[must_use]
pub fn not_shown(catalogue: &Catalogue, specs: &[Spec]) -> Vec<String> {
    let schema = catalogue.schema;
    let asked: BTreeSet<_> = specs.iter().map(|spec| spec.method).collect();
    let (mut recorded, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for spec in specs {
        match &spec.then {
            Then::Returns { events, .. } => recorded.extend(events.iter().map(|fact| fact.event)),
            Then::Refused(refusal) => drop(refused.insert(refusal.kind)),
        }
    }
    let methods = schema.methods.iter().filter(|method| schema.method(method.name).is_none_or(|id| !asked.contains(&id)));
    let events = schema.events.iter().filter(|event| !recorded.contains(&event.id));
    let refusals = schema.refusals.iter().filter(|refusal| !refused.contains(refusal.name));
    let methods = methods.map(|method| format!("the method {}", method.name));
    let events = events.map(|event| format!("a request that records {}", event.name));
    let refusals = refusals.map(|refusal| format!("the refusal {}", catalogue.short(&catalogue.known(refusal.name))));
    methods.chain(events).chain(refusals).collect()
}
