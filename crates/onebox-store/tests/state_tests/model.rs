//! Random interleavings of everything that a state can do, against a plain map.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use onebox_service::{Keyspace, KeyspaceMut};
use onebox_store::memory::{CrashKind, MemoryDisk};
use onebox_store::state::{Applied, FlushJob, Mark, MergeJob, State, View};

use crate::random::Random;
use crate::world::{self, Rows, Writes, apply, assert_holds, chain_after, digest_of, position};

const FLUSH_BYTES_TARGET: usize = 6000;

struct Sealed {
    before: Rows,
    chain_before: u128,
    writes: Writes,
}

struct Model {
    random: Random,
    disk: MemoryDisk,
    state: State,
    /// As the writer sees them.
    rows: Rows,
    open: Writes,
    open_before: Rows,
    marks: Vec<(Mark, Rows, usize)>,
    chain: u128,
    in_flight: VecDeque<Sealed>,
    committed: Vec<Writes>,
    /// Rows, chain and membership at every committed position.
    history: BTreeMap<u64, (Rows, u128, Option<Vec<u8>>)>,
    views: Vec<(View, Rows)>,
    flush: Option<FlushJob>,
    merge: Option<MergeJob>,
    flushes: u32,
    restarts: u32,
    entries_undone_across_a_generation: u32,
}

impl Model {
    fn new(seed: u64) -> Model {
        let disk = MemoryDisk::new();
        let (state, facts) = world::open(&disk, FLUSH_BYTES_TARGET).expect("opens");
        assert_eq!((facts.applied, facts.rows, facts.membership), (Applied::default(), 0, None));
        Model {
            random: Random::new(seed),
            disk,
            state,
            rows: Rows::new(),
            open: Writes::new(),
            open_before: Rows::new(),
            marks: Vec::new(),
            chain: 0,
            in_flight: VecDeque::new(),
            committed: Vec::new(),
            history: BTreeMap::from([(0, (Rows::new(), 0, None))]),
            views: Vec::new(),
            flush: None,
            merge: None,
            flushes: 0,
            restarts: 0,
            entries_undone_across_a_generation: 0,
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let len = 1 + self.random.below(3);
        (0..len).map(|_| self.random.below(5) as u8).collect()
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..40 => self.write(),
            40..48 => self.marks.push((self.state.mark(), self.rows.clone(), self.open.len())),
            48..53 => self.undo_to_mark(),
            53..63 => self.seal(),
            63..67 => self.undo_entries(),
            67..77 => self.commit(),
            77..81 => self.publish(),
            81..84 => drop(self.views.pop()),
            84..88 => self.begin_flush(),
            88..92 => self.finish_flush(),
            92..95 => self.finish_merge(),
            95 => self.state.request_flush(),
            96 if self.random.below(4) == 0 => self.restart(),
            _ => self.scan_somewhere(),
        }
        assert_eq!(self.state.digest().0, digest_of(&self.rows));
        assert_eq!(self.state.rows(), self.rows.len() as u64);
        assert_eq!(self.state.chain().0, self.chain);
        let key = self.key();
        assert_eq!(self.state.get(&key).expect("reads").as_deref(), self.rows.get(&key).map(|value| &value[..]));
    }

    fn write(&mut self) {
        let key = self.key();
        if self.random.below(4) == 0 {
            self.state.delete(&key).expect("deletes");
            if self.rows.remove(&key).is_some() {
                self.open.push((key, None));
            }
        } else {
            let value = self.random.bytes(60);
            self.state.put(&key, &value).expect("puts");
            self.rows.insert(key.clone(), value.clone());
            self.open.push((key, Some(value)));
        }
    }

    fn undo_to_mark(&mut self) {
        let Some((mark, rows, writes)) = self.marks.pop() else { return };
        self.state.undo_to(mark);
        self.rows = rows;
        self.open.truncate(writes);
    }

    fn seal(&mut self) {
        let seal = self.state.seal_entry();
        let writes = std::mem::take(&mut self.open);
        let before = std::mem::replace(&mut self.open_before, self.rows.clone());
        let sealed = Sealed { before, chain_before: self.chain, writes };
        self.chain = chain_after(self.chain, &sealed.writes);
        assert_eq!((seal.chain.0, seal.digest.0), (self.chain, digest_of(&self.rows)));
        assert_eq!(seal.writes as usize, sealed.writes.len());
        self.in_flight.push_back(sealed);
        self.marks.clear();
    }

    fn undo_entries(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        if let Some((mark, _, _)) = self.marks.first() {
            self.state.undo_to(*mark);
        }
        // Whatever was written before the first mark is taken back by an entry that is sealed and undone.
        self.state.seal_entry();
        self.state.undo_entry();
        self.marks.clear();
        self.open.clear();
        for _ in 0..=self.random.below(self.in_flight.len() as u64) {
            let closing = self.state.begin_flush().is_none() && !self.state.flushing() && self.state.dirty_bytes() > FLUSH_BYTES_TARGET;
            self.entries_undone_across_a_generation += u32::from(closing);
            self.state.undo_entry();
            let sealed = self.in_flight.pop_back().expect("counted");
            self.rows = sealed.before;
            self.chain = sealed.chain_before;
            // The question above may have begun a flush.
            if self.state.flushing() && self.flush.is_none() {
                self.state.flush_failed();
            }
        }
        self.open_before = self.rows.clone();
    }

    fn commit(&mut self) {
        let Some(sealed) = self.in_flight.pop_front() else { return };
        let (mut rows, chain, mut membership) = self.history.last_entry().expect("the beginning").get().clone();
        apply(&mut rows, &sealed.writes);
        let at = position(self.committed.len() as u64 + 1);
        if self.random.below(5) == 0 {
            membership = Some(self.random.bytes(9));
            self.state.set_membership(membership.clone().expect("just made"));
        }
        self.state.commit_entry(at.index, at.term, at.time);
        self.history.insert(at.index.0, (rows, chain_after(chain, &sealed.writes), membership));
        self.committed.push(sealed.writes);
    }

    fn publish(&mut self) {
        let view = self.state.publish();
        let at = self.committed.len() as u64;
        assert_eq!(view.position().index.0, at);
        self.views.push((view, self.history[&at].0.clone()));
        if self.merge.is_none() {
            self.merge = self.state.merge_job();
        }
    }

    fn begin_flush(&mut self) {
        if self.flush.is_none() {
            self.flush = self.state.begin_flush();
        }
    }

    fn finish_flush(&mut self) {
        let Some(job) = self.flush.take() else { return };
        if self.random.below(5) == 0 {
            return self.state.flush_failed();
        }
        drop(self.state.flushed(job.run().expect("flushes")));
        self.flushes += 1;
        let view = self.state.view();
        let at = view.position().index.0;
        assert!(at >= self.state.base_applied().index.0);
        self.views.push((view, self.history[&at].0.clone()));
        let rows = self.history[&self.state.base_applied().index.0].0.len() as u64;
        assert_eq!(world::scrub(self.state.scrub_job(), 7), Ok(rows));
    }

    fn finish_merge(&mut self) {
        if let Some(job) = self.merge.take() {
            self.state.merged(job.run());
        }
    }

    fn scan_somewhere(&mut self) {
        let (from, to) = (self.key(), self.key());
        let limit = self.random.below(20) as usize;
        let mut found = Vec::new();
        let ended = self.state.scan(&from, &to, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            if found.len() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        ended.expect("scans");
        let inside = self.rows.iter().filter(|(key, _)| from <= **key && **key < to);
        let expected: Vec<_> = inside.take(limit + 1).map(|(key, value)| (key.clone(), value.clone())).collect();
        assert_eq!(found, expected);
    }

    /// The power is gone; what the log has is replayed on the base.
    fn restart(&mut self) {
        self.check_views();
        self.views.clear();
        (self.flush, self.merge) = (None, None);
        self.disk = self.disk.crash_image(self.random.next(), CrashKind::Random);
        let (mut state, facts) = world::open(&self.disk, FLUSH_BYTES_TARGET).expect("opens");
        let at = facts.applied.index.0;
        let (rows, chain, membership) = &self.history[&at];
        assert_eq!((facts.chain.0, facts.digest.0, facts.rows), (*chain, digest_of(rows), rows.len() as u64));
        assert_eq!(&facts.membership, membership);
        if at > 0 {
            assert_eq!(facts.applied, position(at));
        }
        assert_holds(&state, rows, "the base");
        state.set_replaying(true);
        for (index, writes) in (at + 1..).zip(&self.committed[at as usize..]) {
            if let Some(membership) = &self.history[&index].2 {
                state.set_membership(membership.clone());
            }
            world::commit(&mut state, writes, index);
            if self.random.below(10) == 0 {
                assert_eq!(state.publish().position(), state.base_applied());
            }
            if self.random.below(10) == 0
                && let Some(job) = state.begin_flush()
            {
                drop(state.flushed(job.run().expect("flushes")));
            }
        }
        state.set_replaying(false);
        let (rows, chain, membership) = self.history.last_entry().expect("the beginning").get().clone();
        assert_eq!(state.membership(), membership.as_deref());
        assert_holds(&state.publish(), &rows, "the first view after a replay");
        (self.rows, self.open_before, self.chain) = (rows.clone(), rows, chain);
        self.open.clear();
        self.marks.clear();
        self.in_flight.clear();
        self.state = state;
        self.restarts += 1;
    }

    fn check_views(&self) {
        for (view, rows) in &self.views {
            assert_holds(view, rows, "a held view");
        }
    }
}

#[test]
fn a_state_is_a_map_under_any_interleaving() {
    let (mut flushes, mut restarts, mut undone) = (0, 0, 0);
    for seed in 0..60 {
        eprintln!("seed {seed}");
        let mut model = Model::new(seed);
        for step in 0..1500 {
            model.step();
            if step % 97 == 0 {
                model.check_views();
                assert_holds(&model.state, &model.rows, "the state");
            }
        }
        model.restart();
        flushes += model.flushes;
        restarts += model.restarts;
        undone += model.entries_undone_across_a_generation;
    }
    assert!(flushes > 200, "only {flushes} flushes");
    assert!(restarts > 100, "only {restarts} restarts");
    assert!(undone > 20, "only {undone} entries of a closing generation were taken back");
}

#[test]
#[should_panic(expected = "a mark is of the open entry")]
fn a_mark_of_a_sealed_entry_is_a_bug() {
    let (mut state, _) = world::open(&MemoryDisk::new(), 1000).expect("opens");
    let mark = state.mark();
    state.seal_entry();
    state.undo_to(mark);
}

#[test]
fn rows_read_from_the_base_are_known_after_a_flush_and_those_it_wrote_are_new() {
    let (mut state, _) = world::open(&MemoryDisk::new(), usize::MAX).expect("opens");
    let put = |key: &[u8], value: &[u8]| (key.to_vec(), Some(value.to_vec()));
    world::commit(&mut state, &vec![put(b"changed", b"1"), put(b"removed", b"1"), put(b"same", b"1")], 1);
    world::flush_all(&mut state).expect("flushes");
    let read =
        |state: &State| [&b"changed"[..], b"removed", b"same", b"absent"].map(|key| state.get(key).expect("reads").map(|row| row.to_vec()));
    read(&state);
    world::commit(&mut state, &vec![put(b"changed", b"2"), (b"removed".to_vec(), None), put(b"absent", b"2")], 2);
    world::flush_all(&mut state).expect("flushes");
    let reads = state.base_reads();
    assert_eq!(read(&state), [Some(b"2".to_vec()), None, Some(b"1".to_vec()), Some(b"2".to_vec())]);
    assert_eq!(state.base_reads(), reads, "the base is asked for none of them again");
}
