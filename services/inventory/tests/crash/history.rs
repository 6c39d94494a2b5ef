//! What was handed to the log, seen from outside: which entry left which state, and which request acted where.
//!
//! It keeps three promises checked: what was durable is never written again, no request and no key acts twice, and a
//! state that comes back from a disk is the one that was there after some entry at or above the last durable one.

use std::collections::BTreeMap;

use onebox_replica::entry::{Entry, RecordKind};
use onebox_service::attempt::RequestId;
use onebox_store::log::LogEntry;

/// A session and a number in it.
pub(crate) type RequestKey = (u64, u64);

pub(crate) fn key_of(id: RequestId) -> RequestKey {
    (id.session.0, id.sequence.0)
}

/// Where a request took effect.
#[derive(Debug, Clone)]
pub(crate) struct Effect {
    pub(crate) entry: u64,
    pub(crate) answer: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) struct KeyEffect {
    pub(crate) entry: u64,
    pub(crate) answer: Vec<u8>,
    /// Log time at which the key may be forgotten.
    pub(crate) expires: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// The chain after each entry.
    chains: BTreeMap<u64, u128>,
    /// The digest of the state after an entry, where one was seen.
    digests: BTreeMap<u64, u128>,
    effects: BTreeMap<RequestKey, Effect>,
    /// Requests that can take no effect any more, by an entry.
    withdrawn: BTreeMap<RequestKey, u64>,
    keys: BTreeMap<String, KeyEffect>,
    /// The last entry whose frame was reported as synced.
    durable: u64,
    /// The last entry of the last frame that was handed over.
    handed: u64,
    /// Nothing is noted or checked.
    off: bool,
}

impl History {
    /// For a machine that is only looked at.
    pub(crate) fn unchecked() -> History {
        History { off: true, ..History::default() }
    }

    pub(crate) fn log(&mut self, entry: &LogEntry) {
        if self.off {
            return;
        }
        let index = entry.index.0;
        assert!(index > self.durable, "entry {index} is written again, and everything up to {} was durable", self.durable);
        self.supersede(index);
        self.handed = index;
        let before = self.chain_at(index - 1);
        if entry.data.is_empty() {
            self.chains.insert(index, before);
            return;
        }
        let decoded = Entry::decode(&entry.data).expect("an entry that was just written can be read");
        assert_eq!(decoded.head.chain_before, before, "entry {index} was executed on another state than entry {} left", index - 1);
        self.chains.insert(index, decoded.head.chain_after);
        let expires = decoded.head.time.0 + decoded.head.retention.idempotency;
        for record in decoded.records() {
            let record = record.expect("a record that was just written can be read");
            if record.kind == RecordKind::OpenSession {
                continue;
            }
            let key = (record.session, record.sequence);
            if record.kind == RecordKind::Withdraw {
                assert!(!self.effects.contains_key(&key), "request {key:?} took effect, and is withdrawn in entry {index}");
                self.withdrawn.insert(key, index);
                continue;
            }
            assert!(!self.withdrawn.contains_key(&key), "request {key:?} takes effect in entry {index}, and was withdrawn");
            let effect = Effect { entry: index, answer: record.answer.to_vec() };
            if let Some(first) = self.effects.insert(key, effect) {
                panic!("request {}-{} takes effect in entry {index}, and did in entry {}", record.session, record.sequence, first.entry);
            }
            if record.key.is_empty() {
                continue;
            }
            let effect = KeyEffect { entry: index, answer: record.answer.to_vec(), expires };
            if let Some(first) = self.keys.insert(record.key.to_owned(), effect) {
                assert!(first.expires <= decoded.head.time.0, "key {} acts in entry {index}, and did in entry {}", record.key, first.entry);
            }
        }
    }

    /// Forgets what was handed over and never became part of the log.
    fn supersede(&mut self, from: u64) {
        if self.chains.split_off(&from).is_empty() {
            return;
        }
        self.digests.split_off(&from);
        self.effects.retain(|_, effect| effect.entry < from);
        self.withdrawn.retain(|_, entry| *entry < from);
        self.keys.retain(|_, effect| effect.entry < from);
    }

    /// The process ended: what was handed over and not synced may be lost.
    pub(crate) fn process_ended(&mut self) {
        self.handed = self.durable;
    }

    /// The frame that was handed over last is on the disk.
    pub(crate) fn synced(&mut self) {
        self.durable = self.handed;
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    fn chain_at(&self, index: u64) -> u128 {
        if index == 0 {
            return 0;
        }
        *self.chains.get(&index).unwrap_or_else(|| panic!("entry {index} was never handed to the log"))
    }

    /// Takes note of the state after an entry behind which nothing is under way.
    pub(crate) fn saw(&mut self, index: u64, (chain, digest): (u128, u128)) {
        if self.off {
            return;
        }
        assert_eq!(self.chain_at(index), chain, "the chain after entry {index}");
        let known = *self.digests.entry(index).or_insert(digest);
        assert_eq!(known, digest, "the state after entry {index} has two digests");
    }

    /// The state that came back from a disk, with the entry that begins a term behind it. Gives whether its digest
    /// could be compared.
    pub(crate) fn came_back(&self, index: u64, (chain, digest): (u128, u128)) -> bool {
        let last = index - 1;
        assert!(last >= self.durable.saturating_sub(1), "the log ends at {last}, and {} was durable", self.durable);
        assert_eq!(self.chain_at(last), chain, "the state that came back is not the one after entry {last}");
        let known = self.digests.get(&last);
        assert!(known.is_none_or(|known| *known == digest), "the state after entry {last} has another digest: rows differ");
        known.is_some()
    }

    pub(crate) fn effect(&self, request: RequestKey) -> Option<&Effect> {
        self.effects.get(&request)
    }

    /// What a key that has not expired was answered.
    pub(crate) fn keyed(&self, key: &str) -> Option<&KeyEffect> {
        self.keys.get(key)
    }

    pub(crate) fn effects(&self) -> usize {
        self.effects.len()
    }
}
