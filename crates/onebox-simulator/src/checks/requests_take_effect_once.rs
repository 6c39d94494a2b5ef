//! A request, named by session and sequence number, is in the committed log once at most.

use std::collections::BTreeMap;

use onebox_replica::entry::Record;
use onebox_service::attempt::{Sequence, SessionId};
use onebox_store::LogIndex;

use super::Breach;

const PROMISE: &str = "requests take effect once";

/// What took effect: the entry, and the hash of the answer.
#[derive(Debug, Default)]
pub(crate) struct Effects(BTreeMap<(u64, u64), (LogIndex, u64)>);

impl Effects {
    pub(crate) fn happened(&mut self, index: LogIndex, record: &Record<'_>) -> Result<(), Breach> {
        if record.session == 0 {
            // A session is opened by a request that has none.
            return Ok(());
        }
        let effect = (index, xxhash_rust::xxh3::xxh3_64(record.answer));
        match self.0.insert((record.session, record.sequence), effect) {
            None => Ok(()),
            Some((before, _)) => {
                let words = format!(
                    "request {} of session {} took effect in entry {before} and again in entry {index}",
                    record.sequence, record.session
                );
                Err((PROMISE, words))
            }
        }
    }

    /// The entry in which it took effect.
    pub(crate) fn entry(&self, session: SessionId, sequence: Sequence) -> Option<LogIndex> {
        self.0.get(&(session.0, sequence.0)).map(|(entry, _)| *entry)
    }

    /// The hash of the answer of what took effect.
    pub(crate) fn answer(&self, session: SessionId, sequence: Sequence) -> Option<u64> {
        self.0.get(&(session.0, sequence.0)).map(|(_, answer)| *answer)
    }
}
