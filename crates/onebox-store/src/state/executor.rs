//! The writer's side of the state: reads that see every write, writes, and taking them back.
//!
//! A point is looked for in the active generation, the older one, the base. Every write needs the value that was
//! visible before it, for the digest; what it takes to undo it goes to the journal, except while replaying.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use onebox_service::keyspace::EachRow;
use onebox_service::{Bytes, Fault, Keyspace, KeyspaceMut};

use super::digest::{Chain, StateDigest, removal_hash, row_hash};
use super::generation::{Generation, Slot};
use super::journal::{Mark, SealedEntry, Write};
use super::merge::{self, Layer};
use super::{Applied, Committed, State};
use crate::{LogIndex, Term};
use onebox_service::Time;

/// What a sealed entry did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntrySeal {
    /// The chain up to and with this entry.
    pub chain: Chain,
    /// The digest of all rows after it.
    pub digest: StateDigest,
    /// How many writes it made.
    pub writes: u32,
}

/// Rows lately read from the base, so that reading and then writing one costs one lookup there, and one that many requests
/// read costs few. Each has its place by its hash, and stays until another takes it; a flush brings it up to date.
#[derive(Debug, Default)]
pub(super) struct Memo {
    places: Vec<Option<(Bytes, Slot)>>,
    hasher: FixedState,
}

/// How many rows the memo keeps at most.
const MEMO_ROWS: usize = 1024;

impl Memo {
    fn place(&self, key: &[u8]) -> usize {
        self.hasher.hash_one(key) as usize % MEMO_ROWS
    }

    fn get(&self, key: &[u8]) -> Option<Slot> {
        let held = self.places.get(self.place(key))?.as_ref()?;
        (held.0[..] == *key).then(|| held.1.clone())
    }

    fn keep(&mut self, key: &[u8], slot: &Slot) {
        self.places.resize(MEMO_ROWS, None);
        let place = self.place(key);
        self.places[place] = Some((Bytes::from(key), slot.clone()));
    }

    /// The base holds these rows as well from now on.
    pub(super) fn flushed(&mut self, rows: &Generation) {
        for (key, slot) in self.places.iter_mut().flatten() {
            if let Some(written) = rows.get(key) {
                slot.clone_from(written);
            }
        }
    }
}

impl State {
    /// Where the open entry is now. A request starts with it, so that it can be taken back.
    pub fn mark(&self) -> Mark {
        Mark { entry: self.open.number, writes: self.open.writes.len() }
    }

    /// Takes back what was written since the mark.
    ///
    /// # Panics
    /// If the mark is not of the open entry, or while replaying.
    pub fn undo_to(&mut self, mark: Mark) {
        assert!(!self.replaying, "nothing is taken back in a replay");
        assert_eq!(mark.entry, self.open.number, "a mark is of the open entry");
        assert!(mark.writes <= self.open.writes.len(), "a mark is of a write that is still there");
        while self.open.writes.len() > mark.writes
            && let Some(write) = self.open.pop()
        {
            self.sums = write.sums_before;
            self.active.restore(&write.key, write.before);
        }
    }

    /// Ends the open entry. It may be empty. From here on it is in flight, until committed or taken back.
    pub fn seal_entry(&mut self) -> EntrySeal {
        let open = &mut self.open;
        let chain = self.chain.after(&open.hashes);
        let writes = u32::try_from(open.hashes.len() / 16).expect("an entry's writes are bounded");
        let sums_before = self.in_flight.back().map_or(self.committed.sums, |entry| entry.sums);
        self.in_flight.push_back(SealedEntry {
            generation: self.active_number,
            writes: std::mem::take(&mut open.writes),
            chain_before: self.chain,
            sums_before,
            chain,
            sums: self.sums,
        });
        self.chain = chain;
        open.hashes.clear();
        open.number += 1;
        self.rotate_if_due();
        EntrySeal { chain, digest: self.sums.digest, writes }
    }

    /// Takes back the newest sealed entry.
    ///
    /// # Panics
    /// If none is in flight, if something is written in the open entry (take that back first), or while replaying.
    pub fn undo_entry(&mut self) {
        assert!(!self.replaying, "nothing is taken back in a replay");
        assert!(self.open.is_empty(), "the open entry is taken back before the sealed ones");
        let entry = self.in_flight.pop_back().expect("an entry is in flight");
        for write in entry.writes.into_iter().rev() {
            self.generation_mut(entry.generation).restore(&write.key, write.before);
        }
        self.chain = entry.chain_before;
        self.sums = entry.sums_before;
        // Marks of the entry that was open are of no use any more.
        self.open.number += 1;
        self.left_flight(entry.generation);
    }

    /// The oldest sealed entry is committed at this position. Its writes are in the next view.
    ///
    /// # Panics
    /// If none is in flight, or the position is not after the last one.
    pub fn commit_entry(&mut self, index: LogIndex, term: Term, time: Time) {
        let entry = self.in_flight.pop_front().expect("an entry is in flight");
        self.committed = Committed { applied: self.next_position(index, term, time), chain: entry.chain, sums: entry.sums };
        if !self.replaying {
            let runs = self.runs_mut(entry.generation);
            for write in entry.writes {
                runs.collect(write.key, write.after);
            }
        }
        self.left_flight(entry.generation);
    }

    /// An entry that writes no rows is committed at this position: it was not sealed here, and the position moves.
    ///
    /// # Panics
    /// If the position is not after the last one.
    pub fn advance(&mut self, index: LogIndex, term: Term, time: Time) {
        self.committed.applied = self.next_position(index, term, time);
    }

    /// The membership that holds from the entry on whose commit is told next; it goes to the base with that entry.
    pub fn set_membership(&mut self, membership: Vec<u8>) {
        self.membership = Some(membership);
    }

    /// Points looked for in the base so far: what the writer may have waited for a disk for.
    #[must_use]
    pub fn base_reads(&self) -> u64 {
        self.base_reads.get()
    }

    fn next_position(&self, index: LogIndex, term: Term, time: Time) -> Applied {
        let before = self.committed.applied;
        assert!(index > before.index, "entry {index} is committed after entry {}", before.index);
        assert!(term >= before.term, "the term of entry {index} is not below the one before it");
        assert!(time >= before.time, "the time of entry {index} is not before that of the one before it");
        Applied { index, term, time }
    }

    fn visible(&self, key: &[u8]) -> Result<Slot, Fault> {
        match self.active.get(key) {
            Some(slot) => Ok(slot.clone()),
            None => self.below_active(key),
        }
    }

    /// What was visible at a key before the active generation.
    fn below_active(&self, key: &[u8]) -> Result<Slot, Fault> {
        if let Some(slot) = self.older.as_ref().and_then(|older| older.rows.get(key)) {
            return Ok(slot.clone());
        }
        if self.base.is_empty() {
            return Ok(None);
        }
        if let Some(slot) = self.memo.borrow().get(key) {
            return Ok(slot);
        }
        self.base_reads.set(self.base_reads.get() + 1);
        let slot = self.base.get(key)?;
        self.memo.borrow_mut().keep(key, &slot);
        Ok(slot)
    }

    /// Notes a write that the active generation has taken: `replaced` is what it held there, `before` what was visible.
    fn note(&mut self, key: Bytes, replaced: Option<Slot>, before: &Slot, after: Slot) {
        let sums_before = self.sums;
        if let Some(value) = before {
            self.sums.remove(row_hash(&key, value, &mut self.scratch));
        }
        let hash = match &after {
            Some(value) => {
                let hash = row_hash(&key, value, &mut self.scratch);
                self.sums.add(hash);
                hash
            }
            None => removal_hash(&key, &mut self.scratch),
        };
        self.open.note(hash);
        if !self.replaying {
            self.open.writes.push(Write { key, before: replaced, after, sums_before });
        }
    }
}

impl Keyspace for State {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.visible(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut EachRow<'_>) -> Result<(), Fault> {
        if from >= to {
            return Ok(());
        }
        if self.older.is_none() && self.base.is_empty() {
            // One layer needs no merge: a new service, or a spec.
            let rows = self.active.range(from, to).filter_map(|(key, value)| Some((key, value?)));
            for (key, value) in rows {
                if each(key, value).is_break() {
                    break;
                }
            }
            return Ok(());
        }
        let mut layers = vec![Layer::new(self.active.range(from, to))];
        layers.extend(self.older.as_ref().map(|older| Layer::new(older.rows.range(from, to))));
        merge::scan(layers, &self.base, from, to, each)
    }
}

impl KeyspaceMut for State {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        // Written first: most keys are in the active generation, which then need not be asked twice.
        let after = Some(Bytes::from(value));
        let (key, replaced) = self.active.write(key, after.clone());
        let before = match &replaced {
            Some(slot) => Ok(slot.clone()),
            None => self.below_active(&key),
        };
        let before = before.inspect_err(|_| self.active.restore(&key, None))?;
        self.note(key, replaced, &before, after);
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        let before = self.visible(key)?;
        if before.is_some() {
            let (key, replaced) = self.active.write(key, None);
            self.note(key, replaced, &before, None);
        }
        Ok(())
    }
}
