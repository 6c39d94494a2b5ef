//! Where the entries are: about one item per 64 KiB of log, and the terms as runs.
//!
//! Kept true here: items ascend both by index and by place. An item's entries run, without truncation between them, from its
//! first index up to that of the next item; a truncation therefore drops items and begins a new one. So does a segment.
//! The memory is under a mebibyte per gibibyte of log, whatever the entries' sizes. No bytes of the log are known here.

use super::format::Place;
use crate::names::{LogIndex, Term};

/// At least this many bytes lie between two items, unless a truncation or a segment's start forces one.
const ITEM_BYTES: u64 = 64 << 10;

/// A frame that holds entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    /// The first entry of the frame.
    pub(super) first: LogIndex,
    pub(super) place: Place,
}

/// The entries of one frame, as runs of equal terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FrameEntries {
    pub(super) first: LogIndex,
    pub(super) last: LogIndex,
    /// The first index of each run and its term.
    pub(super) terms: Vec<(LogIndex, Term)>,
}

impl FrameEntries {
    /// The summary of consecutive entries; `None` if there are none, or the first that does not follow the one before.
    pub(super) fn of(entries: impl Iterator<Item = (LogIndex, Term)>) -> Result<Option<FrameEntries>, LogIndex> {
        let mut found: Option<FrameEntries> = None;
        for (index, term) in entries {
            match &mut found {
                None => found = Some(FrameEntries { first: index, last: index, terms: vec![(index, term)] }),
                Some(found) if index != found.last.next() => return Err(index),
                Some(found) => {
                    found.last = index;
                    push_run(&mut found.terms, index, term);
                }
            }
        }
        Ok(found)
    }
}

#[derive(Debug)]
pub(super) struct Index {
    items: Vec<Item>,
    terms: Vec<(LogIndex, Term)>,
    last: LogIndex,
}

impl Index {
    /// An index without entries, behind an entry whose term is known.
    pub(super) fn behind(index: LogIndex, term: Term) -> Index {
        Index { items: Vec::new(), terms: vec![(index, term)], last: index }
    }

    /// The last entry of the log.
    pub(super) fn last(&self) -> LogIndex {
        self.last
    }

    /// The lowest entry that [`Index::covering`] finds; one above the last if it finds none.
    pub(super) fn first(&self) -> LogIndex {
        self.items.first().map_or(self.last.next(), |item| item.first)
    }

    /// The place of that entry's frame.
    pub(super) fn first_place(&self) -> Option<Place> {
        self.items.first().map(|item| item.place)
    }

    /// Adds the entries of the next frame.
    pub(super) fn add(&mut self, place: Place, entries: &FrameEntries) {
        assert!(entries.first <= self.last.next(), "entry {} behind {}", entries.first, self.last);
        let truncates = entries.first <= self.last;
        while self.items.last().is_some_and(|item| item.first >= entries.first) {
            self.items.pop();
        }
        let near = |item: &Item| item.place.segment == place.segment && place.offset - item.place.offset < ITEM_BYTES;
        if truncates || !self.items.last().is_some_and(near) {
            self.items.push(Item { first: entries.first, place });
        }
        while self.terms.last().is_some_and(|(first, _)| *first >= entries.first) {
            self.terms.pop();
        }
        for (first, term) in &entries.terms {
            push_run(&mut self.terms, *first, *term);
        }
        self.last = entries.last;
    }

    /// The item from which `index` is read, and the index up to which that item goes.
    pub(super) fn covering(&self, index: LogIndex) -> (Item, LogIndex) {
        assert!(self.first() <= index && index <= self.last, "entry {index} of {} to {}", self.first(), self.last);
        let behind = self.items.partition_point(|item| item.first <= index);
        let until = self.items.get(behind).map_or(self.last.next(), |item| item.first);
        (self.items[behind - 1], until)
    }

    /// The term of an entry, as far back as terms are known.
    pub(super) fn term(&self, index: LogIndex) -> Option<Term> {
        if index > self.last {
            return None;
        }
        let behind = self.terms.partition_point(|(first, _)| *first <= index);
        behind.checked_sub(1).map(|run| self.terms[run].1)
    }

    /// Puts the index of all that was written before this one's first item in front of it.
    pub(super) fn prepend(&mut self, older: Index) {
        let first = self.first();
        let items = older.items.into_iter().filter(|item| item.first < first);
        self.items.splice(0..0, items);
        // Runs of the older part, up to where this part's own knowledge begins.
        let known_from = self.terms.first().map_or(first, |(index, _)| *index);
        let mut terms: Vec<_> = older.terms.into_iter().filter(|(index, _)| *index < known_from).collect();
        for (index, term) in self.terms.drain(..) {
            push_run(&mut terms, index, term);
        }
        self.terms = terms;
    }

    /// Forgets the items of segments below this place; their entries can still be found by scanning.
    pub(super) fn forget_below(&mut self, place: Place) {
        let kept = self.items.partition_point(|item| item.place < place);
        self.items.drain(..kept);
    }
}

fn push_run(runs: &mut Vec<(LogIndex, Term)>, first: LogIndex, term: Term) {
    if runs.last().is_none_or(|(_, last)| *last != term) {
        runs.push((first, term));
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::SegmentNumber;
    use super::*;

    fn entries(range: std::ops::RangeInclusive<u64>, term: u64) -> FrameEntries {
        let found = FrameEntries::of(range.map(|index| (LogIndex(index), Term(term))));
        found.expect("consecutive").expect("not empty")
    }

    fn place(segment: u64, offset: u64) -> Place {
        Place { segment: SegmentNumber(segment), offset }
    }

    #[test]
    fn a_truncation_drops_items_and_terms_and_begins_new_ones() {
        let mut index = Index::behind(LogIndex(0), Term(0));
        index.add(place(1, 4096), &entries(1..=10, 1));
        index.add(place(1, 100 << 10), &entries(11..=20, 2));
        index.add(place(1, 101 << 10), &entries(6..=12, 3));
        assert_eq!(index.covering(LogIndex(5)), (Item { first: LogIndex(1), place: place(1, 4096) }, LogIndex(6)));
        assert_eq!(index.covering(LogIndex(12)).0.place, place(1, 101 << 10));
        assert_eq!(
            [0, 1, 5, 6, 12, 13].map(|at| index.term(LogIndex(at)).map(|term| term.0)),
            [Some(0), Some(1), Some(1), Some(3), Some(3), None]
        );
    }

    #[test]
    fn an_older_part_is_cut_where_the_newer_one_begins() {
        let mut older = Index::behind(LogIndex(0), Term(0));
        older.add(place(1, 4096), &entries(1..=10, 1));
        older.add(place(2, 4096), &entries(11..=20, 1));
        let mut index = Index::behind(LogIndex(20), Term(1));
        index.add(place(3, 4096), &entries(8..=30, 2));
        assert_eq!(index.first(), LogIndex(8));
        assert_eq!(index.term(LogIndex(7)), None);
        index.prepend(older);
        assert_eq!(index.first(), LogIndex(1));
        assert_eq!(index.covering(LogIndex(7)), (Item { first: LogIndex(1), place: place(1, 4096) }, LogIndex(8)));
        assert_eq!(index.covering(LogIndex(15)).0.place, place(3, 4096));
        assert_eq!([7, 8, 30].map(|at| index.term(LogIndex(at))), [Some(Term(1)), Some(Term(2)), Some(Term(2))]);
    }

    #[test]
    fn memory_is_bounded_whatever_the_size_of_entries() {
        let mut index = Index::behind(LogIndex(0), Term(0));
        for frame in 0..100_000 {
            index.add(place(1, 4096 * (frame + 1)), &entries(frame + 1..=frame + 1, 1));
        }
        let log_bytes = 100_000 * 4096;
        assert!(index.items.len() as u64 <= log_bytes / ITEM_BYTES + 1, "{} items", index.items.len());
        assert!(size_of::<Item>() <= 24);
    }
}
