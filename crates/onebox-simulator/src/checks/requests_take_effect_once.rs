//! A request, named by session and sequence number, is in the committed log once at most; and so is one that its caller gave a key.

use std::collections::BTreeMap;

use onebox_replica::entry::Record;
use onebox_service::attempt::RequestId;
use onebox_service::{Code, Refusal};
use onebox_store::LogIndex;

use super::Breach;

const PROMISE: &str = "requests take effect once";

/// What took effect: the entry, and the hash of the answer.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    of_requests: BTreeMap<(u64, u64), (LogIndex, u64)>,
    of_keys: BTreeMap<String, (LogIndex, u64)>,
}

/// Somebody asked again, under its key, for what a client had been told to be done, and was refused. The platform refuses for reasons of
/// the moment, a feature because of the state: it must not have been asked. And the key must be known as that of this request.
pub(crate) fn refused_again(refusal: &Refusal) -> Result<(), Breach> {
    if refusal.kind.is_empty() && refusal.code != Code::Aborted {
        return Ok(());
    }
    Err((PROMISE, format!("a request was done, and asked again under its key it was refused: {}", refusal.message)))
}

impl Effects {
    pub(crate) fn happened(&mut self, index: LogIndex, record: &Record<'_>) -> Result<(), Breach> {
        if record.session == 0 {
            // A session is opened by a request that has none.
            return Ok(());
        }
        let effect = (index, xxhash_rust::xxh3::xxh3_64(record.answer));
        if !record.key.is_empty()
            && let Some((before, _)) = self.of_keys.insert(record.key.to_owned(), effect)
        {
            return Err((
                PROMISE,
                format!("the request with the key {} took effect in entry {before} and again in entry {index}", record.key),
            ));
        }
        match self.of_requests.insert((record.session, record.sequence), effect) {
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

    /// The entry in which a request took effect, and the hash of its answer. Asked again under its key, it did so as another.
    pub(crate) fn of(&self, id: RequestId, key: Option<&str>) -> Option<(LogIndex, u64)> {
        let under_key = || self.of_keys.get(key?);
        self.of_requests.get(&(id.session.0, id.sequence.0)).or_else(under_key).copied()
    }
}
