//! In a term there is one leader at most.

use std::collections::BTreeMap;

use onebox_replica::PeerId;

use super::Breach;

#[derive(Debug, Default)]
pub(crate) struct Leaders(BTreeMap<u64, PeerId>);

impl Leaders {
    pub(crate) fn leads(&mut self, term: u64, who: PeerId) -> Result<(), Breach> {
        match self.0.insert(term, who) {
            Some(before) if before != who => Err(("one leader per term", format!("in term {term} both {before} and {who} lead"))),
            Some(_) | None => Ok(()),
        }
    }

    /// How many terms had a leader that served.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}
