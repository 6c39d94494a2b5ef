//! One generation of dirty rows: what was written since the generation before it, each key once.
//!
//! Points are found by hash, ranges by an ordered set of the same keys. The map is never iterated: whatever leaves
//! in an order leaves in the order of the keys.

#![allow(clippy::disallowed_types, reason = "the map is for points only; order comes from the ordered set beside it")]

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use foldhash::fast::FixedState;
use onebox_service::Bytes;

/// A written row: its value, or `None` where it was removed.
pub(crate) type Slot = Option<Bytes>;

/// What one row costs beside its key and value: two reference counts each, a map slot, an ordered set slot.
const ROW_OVERHEAD_BYTES: usize = 160;

#[derive(Debug)]
struct Row {
    key: Bytes,
    slot: Slot,
}

/// The rows written in one generation.
#[derive(Debug)]
pub(crate) struct Generation {
    rows: HashMap<Bytes, Row, FixedState>,
    keys: BTreeSet<Bytes>,
    bytes: usize,
}

impl Generation {
    /// An empty one. The seed keeps callers from choosing keys that collide.
    pub(crate) fn new(hash_seed: u64) -> Generation {
        let rows = HashMap::with_hasher(FixedState::with_seed(hash_seed));
        Generation { rows, keys: BTreeSet::new(), bytes: 0 }
    }

    /// What was written at `key`, if anything was.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Slot> {
        self.rows.get(key).map(|row| &row.slot)
    }

    /// Writes a slot; gives the shared key and what this generation held there before.
    pub(crate) fn write(&mut self, key: &[u8], slot: Slot) -> (Bytes, Option<Slot>) {
        let added = len_of(&slot);
        if let Some(row) = self.rows.get_mut(key) {
            let before = std::mem::replace(&mut row.slot, slot);
            self.bytes = self.bytes + added - len_of(&before);
            return (row.key.clone(), Some(before));
        }
        let key = Bytes::from(key);
        self.bytes += added + key.len() + ROW_OVERHEAD_BYTES;
        self.keys.insert(key.clone());
        self.rows.insert(key.clone(), Row { key: key.clone(), slot });
        (key, None)
    }

    /// Takes one write back: `before` is what [`Generation::write`] gave.
    pub(crate) fn restore(&mut self, key: &Bytes, before: Option<Slot>) {
        match before {
            Some(slot) => {
                let row = self.rows.get_mut(key).expect("a write that is taken back is in its generation");
                self.bytes = self.bytes + len_of(&slot) - len_of(&row.slot);
                row.slot = slot;
            }
            None => {
                let row = self.rows.remove(key).expect("a write that is taken back is in its generation");
                self.keys.remove(key);
                self.bytes -= len_of(&row.slot) + key.len() + ROW_OVERHEAD_BYTES;
            }
        }
    }

    /// Every row, ascending by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Slot)> {
        self.keys.iter().map(|key| (key, self.slot(key)))
    }

    /// The rows of `from <= key < to`, ascending by key. `from` is not above `to`.
    pub(crate) fn range<'a>(&'a self, from: &[u8], to: &[u8]) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let keys = self.keys.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        keys.map(|key| (&key[..], self.slot(key).as_deref()))
    }

    /// Bytes of memory that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many rows were written.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn slot(&self, key: &Bytes) -> &Slot {
        &self.rows.get(key).expect("map and ordered set hold the same keys").slot
    }
}

fn len_of(slot: &Slot) -> usize {
    slot.as_ref().map_or(0, |value| value.len())
}
