//! One generation of dirty rows: what was written since the generation before it, each key once.
//!
//! Points are found by hash, ranges by an ordered set of the same keys. The map is never iterated: whatever leaves
//! in an order leaves in the order of the keys.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::ops::Bound;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
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
    rows: HashTable<Row>,
    hasher: FixedState,
    keys: BTreeSet<Bytes>,
    bytes: usize,
}

impl Generation {
    /// An empty one. The seed keeps callers from choosing keys that collide.
    pub(crate) fn new(hash_seed: u64) -> Generation {
        Generation { rows: HashTable::new(), hasher: FixedState::with_seed(hash_seed), keys: BTreeSet::new(), bytes: 0 }
    }

    /// What was written at `key`, if anything was.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Slot> {
        self.rows.find(self.hasher.hash_one(key), |row| row.key[..] == *key).map(|row| &row.slot)
    }

    /// Writes a slot; gives the shared key and what this generation held there before.
    pub(crate) fn write(&mut self, key: &[u8], slot: Slot) -> (Bytes, Option<Slot>) {
        let (added, hasher) = (len_of(&slot), &self.hasher);
        match self.rows.entry(hasher.hash_one(key), |row| row.key[..] == *key, |row| hasher.hash_one(&row.key[..])) {
            Entry::Occupied(mut entry) => {
                let row = entry.get_mut();
                let before = std::mem::replace(&mut row.slot, slot);
                self.bytes = self.bytes + added - len_of(&before);
                (row.key.clone(), Some(before))
            }
            Entry::Vacant(entry) => {
                let key = Bytes::from(key);
                self.bytes += added + key.len() + ROW_OVERHEAD_BYTES;
                self.keys.insert(key.clone());
                entry.insert(Row { key: key.clone(), slot });
                (key, None)
            }
        }
    }

    /// Takes one write back: `before` is what [`Generation::write`] gave.
    pub(crate) fn restore(&mut self, key: &Bytes, before: Option<Slot>) {
        let found = self.rows.find_entry(self.hasher.hash_one(&key[..]), |row| row.key == *key);
        let Ok(mut entry) = found else { panic!("a write that is taken back is in its generation") };
        match before {
            Some(slot) => {
                let row = entry.get_mut();
                self.bytes = self.bytes + len_of(&slot) - len_of(&row.slot);
                row.slot = slot;
            }
            None => {
                let (row, _) = entry.remove();
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
        self.get(key).expect("map and ordered set hold the same keys")
    }
}

fn len_of(slot: &Slot) -> usize {
    slot.as_ref().map_or(0, |value| value.len())
}
