//! Every replica applies the same entries in the same order, and has the same state after each.

use std::collections::BTreeMap;

use onebox_replica::AppliedEntry;
use onebox_store::LogIndex;

use super::Breach;

/// What each position was seen to be.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    entries: BTreeMap<LogIndex, AppliedEntry>,
}

impl Agreement {
    /// A replica applied an entry; gives whether it is the first to do so.
    pub(crate) fn applied(&mut self, who: usize, entry: AppliedEntry) -> Result<bool, Breach> {
        match self.entries.get(&entry.index) {
            None => {
                self.entries.insert(entry.index, entry);
                Ok(true)
            }
            Some(first) if *first == entry => Ok(false),
            Some(first) if first.term != entry.term => {
                let words = format!(
                    "entry {} is of {:?}, and of {:?} at machine {who}: what was committed is another",
                    entry.index, first.term, entry.term
                );
                Err(("committed entries stay", words))
            }
            Some(first) => {
                let words = format!(
                    "after entry {} the state is {:032x}, rows {:032x}; at machine {who} {:032x}, rows {:032x}",
                    entry.index, first.chain, first.digest, entry.chain, entry.digest
                );
                Err(("replicas agree", words))
            }
        }
    }

    /// The last entry that anybody applied.
    pub(crate) fn last(&self) -> LogIndex {
        self.entries.keys().next_back().copied().unwrap_or_default()
    }
}
