//! How a generation becomes part of the base, and how committed rows reach the readers.
//!
//! ```text
//!  active    takes writes; large enough or asked: at the end of an entry it becomes
//!  closing   takes none; entries of it may be in flight, so they can be taken back; once the last is committed
//!  frozen    fixed, with position, chain and digest of its last entry; FlushJob writes it to the base
//! ```
//!
//! There is one active generation and at most one that is closing or frozen. Committed rows are collected beside their
//! generation, so that what a flush contains is dropped from the views as a whole.

use std::sync::Arc;

use super::encoding::Meta;
use super::flush::{FlushJob, Flushed, Retired};
use super::generation::Generation;
use super::runs::{MergeJob, Merged, RunStack};
use super::{State, View};

/// The generation before the active one.
pub(super) struct Older {
    pub(super) number: u64,
    /// Shared only once it is frozen.
    pub(super) rows: Arc<Generation>,
    runs: RunStack,
    stage: Stage,
}

enum Stage {
    /// So many entries of it are in flight.
    Closing { in_flight: usize },
    /// Fixed; this is what is to be recorded with it.
    Frozen { meta: Meta, flushing: bool },
}

impl State {
    /// Makes the committed rows visible: a new view, at the last committed position.
    ///
    /// While replaying it is the base alone, at the base's position.
    pub fn publish(&mut self) -> View {
        let mut runs = Vec::new();
        let mut position = self.base.meta().applied;
        if !self.replaying {
            position = self.committed.applied;
            self.active_runs.publish(&mut self.run_ids);
            runs.extend(self.active_runs.newest_first().cloned());
            if let Some(older) = &mut self.older {
                older.runs.publish(&mut self.run_ids);
                runs.extend(older.runs.newest_first().cloned());
            }
        }
        self.view = View::new(runs, self.base.clone(), position);
        self.view.clone()
    }

    /// Starts or ends the mode for replaying a log: nothing can be taken back, and nothing is published but the base.
    ///
    /// # Panics
    /// If entries are open or in flight.
    pub fn set_replaying(&mut self, replaying: bool) {
        assert!(self.open.is_empty(), "a replay starts and ends between entries");
        assert!(self.in_flight.is_empty(), "a replay starts and ends with every entry committed");
        assert!(!replaying || self.replaying || self.dirty_bytes() == 0, "a replay starts on a state that was just opened");
        if self.replaying && !replaying {
            self.active_runs.rebuild(&self.active, &mut self.run_ids);
            if let Some(older) = &mut self.older {
                older.runs.rebuild(&older.rows, &mut self.run_ids);
            }
        }
        self.replaying = replaying;
    }

    /// Whether the active generation should go to the base.
    #[must_use]
    pub fn flush_due(&self) -> bool {
        let asked = self.flush_requested && self.committed_is_ahead();
        asked || self.active.bytes().max(self.active_runs.bytes()) >= self.options.flush_bytes_target
    }

    /// Asks for a flush of everything written so far, however little. Repeat [`State::begin_flush`] until it gives
    /// none while no job is out: then the base holds every committed entry.
    pub fn request_flush(&mut self) {
        self.flush_requested = true;
    }

    /// Whether a flush job is out.
    #[must_use]
    pub fn flushing(&self) -> bool {
        matches!(&self.older, Some(Older { stage: Stage::Frozen { flushing: true, .. }, .. }))
    }

    /// A flush to be run by another thread, if a generation is ready and no other flush is out.
    pub fn begin_flush(&mut self) -> Option<FlushJob> {
        if self.open.is_empty() {
            self.rotate_if_due();
        }
        let older = self.older.as_mut()?;
        match &mut older.stage {
            Stage::Closing { .. } | Stage::Frozen { flushing: true, .. } => None,
            Stage::Frozen { meta, flushing } => {
                *flushing = true;
                Some(FlushJob { disk: self.disk.clone(), base: self.base.clone(), rows: older.rows.clone(), meta: meta.clone() })
            }
        }
    }

    /// The flush is done: the base holds the older generation. Publishes a view on it.
    ///
    /// # Panics
    /// If no flush is out.
    pub fn flushed(&mut self, flushed: Flushed) -> Retired {
        assert!(self.flushing(), "a flush that is done was begun");
        let older = self.older.take().expect("a flush is of the older generation");
        self.memo.get_mut().flushed(&older.rows);
        let base = std::mem::replace(&mut self.base, flushed.base);
        self.publish();
        Retired { _rows: older.rows, _runs: older.runs, _base: base }
    }

    /// The flush found no room on the disk and did nothing; [`State::begin_flush`] gives it again.
    ///
    /// # Panics
    /// If no flush is out.
    pub fn flush_failed(&mut self) {
        assert!(self.flushing(), "a flush that failed was begun");
        if let Some(Older { stage: Stage::Frozen { flushing, .. }, .. }) = &mut self.older {
            *flushing = false;
        }
    }

    /// Runs to be merged by another thread, if enough wait and no other merge of that generation is out.
    pub fn merge_job(&mut self) -> Option<MergeJob> {
        self.active_runs.merge_job(&mut self.run_ids)
    }

    /// The merge is done: the next view has its run. One whose generation was flushed meanwhile has no effect.
    pub fn merged(&mut self, merged: Merged) {
        let left = self.active_runs.merged(merged);
        if let (Some(merged), Some(older)) = (left, &mut self.older) {
            let _flushed_meanwhile = older.runs.merged(merged);
        }
    }

    /// Memory of rows that the base does not hold yet, about: what admission bounds.
    #[must_use]
    pub fn dirty_bytes(&self) -> usize {
        let older = self.older.as_ref().map_or(0, |older| older.rows.bytes().max(older.runs.bytes()));
        self.active.bytes().max(self.active_runs.bytes()) + older
    }

    /// The active generation becomes the older one, if it should and there is room. Only between entries.
    pub(super) fn rotate_if_due(&mut self) {
        if self.older.is_some() || !self.flush_due() {
            return;
        }
        assert!(self.open.is_empty(), "a generation ends between entries");
        let rows = std::mem::replace(&mut self.active, Generation::new(self.options.hash_seed));
        let number = self.active_number;
        self.active_number += 1;
        self.flush_requested = false;
        let stage = Stage::Closing { in_flight: self.in_flight.len() };
        self.older = Some(Older { number, rows: Arc::new(rows), runs: std::mem::take(&mut self.active_runs), stage });
        self.freeze_if_settled();
    }

    /// An entry of this generation is committed or taken back.
    pub(super) fn left_flight(&mut self, generation: u64) {
        if let Some(Older { number, stage: Stage::Closing { in_flight }, .. }) = &mut self.older
            && *number == generation
        {
            *in_flight -= 1;
            self.freeze_if_settled();
        }
    }

    fn freeze_if_settled(&mut self) {
        if let Some(older) = &mut self.older
            && matches!(older.stage, Stage::Closing { in_flight: 0 })
        {
            let (node, committed) = (self.options.node, self.committed);
            let (digest, rows) = (committed.sums.digest, committed.sums.rows);
            let meta = Meta { node, applied: committed.applied, chain: committed.chain, digest, rows, membership: self.membership.clone() };
            older.stage = Stage::Frozen { meta, flushing: false };
        }
    }

    fn committed_is_ahead(&self) -> bool {
        !self.active.is_empty() || self.committed.applied > self.newest_frozen()
    }

    /// The position up to which rows are in the base or frozen for it.
    fn newest_frozen(&self) -> super::Applied {
        match &self.older {
            Some(Older { stage: Stage::Frozen { meta, .. }, .. }) => meta.applied,
            Some(Older { stage: Stage::Closing { .. }, .. }) | None => self.base.meta().applied,
        }
    }

    pub(super) fn generation_mut(&mut self, number: u64) -> &mut Generation {
        match &mut self.older {
            Some(older) if older.number == number => Arc::get_mut(&mut older.rows).expect("a closing generation is not shared"),
            Some(_) | None => {
                assert_eq!(number, self.active_number, "entries in flight are in the active or the closing generation");
                &mut self.active
            }
        }
    }

    pub(super) fn runs_mut(&mut self, number: u64) -> &mut RunStack {
        match &mut self.older {
            Some(older) if older.number == number => &mut older.runs,
            Some(_) | None => {
                assert_eq!(number, self.active_number, "entries in flight are in the active or the closing generation");
                &mut self.active_runs
            }
        }
    }
}
