//! Runs: sorted rows of committed entries, immutable and shared with readers. Newer runs hide older ones.
//!
//! A stack belongs to one generation and its runs never merge with those of another, so that a flush drops whole
//! stacks. Small runs merge on the spot; eight neighbours of like size become work for another thread, and so do, when
//! runs of unlike sizes pile up, those whose merge gains most.
//!
//! Kept true here: what goes into a job is at least a quarter more rows than its largest run, and each other run at least
//! doubles; so of n rows jobs merge each at most five times log2(n) times on average.

use std::sync::Arc;

use onebox_service::Bytes;

use super::generation::{Generation, Slot};

/// The most rows that are merged on the writer's thread at once: about half a millisecond.
const INLINE_MERGE_ROWS_MAX: usize = 8192;

/// How many neighbours of like size make a merge job.
const MERGE_JOB_RUNS: usize = 8;

/// Neighbours are of like size if the largest has at most so many times the rows of the smallest.
const LIKE_SIZES_RATIO_MAX: usize = 8;

/// With more runs than this, neighbours of any sizes are merged.
const RUNS_UNMERGED_MAX: usize = 16;

/// Neighbours of any sizes have together at least so many thousandths of the rows of the largest.
const GROWTH_PERMILLE_MIN: usize = 1250;

/// What one row of a run costs beside its key and value.
const ROW_OVERHEAD_BYTES: usize = 32;

/// Tells a run from every other of the same state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunId(u64);

/// Sorted rows, each key once.
#[derive(Debug)]
pub(crate) struct Run {
    id: RunId,
    rows: Vec<(Bytes, Slot)>,
    bytes: usize,
}

impl Run {
    /// A run of `rows`, the newest of each key first.
    fn new(id: RunId, mut rows: Vec<(Bytes, Slot)>) -> Run {
        rows.sort_by(|left, right| left.0.cmp(&right.0));
        rows.dedup_by(|later, kept| later.0 == kept.0);
        Run::of_sorted(id, rows)
    }

    fn of_sorted(id: RunId, rows: Vec<(Bytes, Slot)>) -> Run {
        let bytes_of = |(key, slot): &(Bytes, Slot)| key.len() + slot.as_ref().map_or(0, |value| value.len()) + ROW_OVERHEAD_BYTES;
        let bytes = rows.iter().map(bytes_of).sum();
        Run { id, rows, bytes }
    }

    /// One run of what two neighbours hold.
    fn merged_pair(id: RunId, older: &Run, newer: &Run) -> Run {
        let mut rows = Vec::with_capacity(older.rows.len() + newer.rows.len());
        let (mut old, mut new) = (older.rows.iter().peekable(), newer.rows.iter().peekable());
        while let (Some(left), Some(right)) = (old.peek(), new.peek()) {
            let order = left.0.cmp(&right.0);
            rows.extend(if order.is_lt() { old.next() } else { new.next() }.cloned());
            if order.is_eq() {
                // The newer row hides it.
                old.next();
            }
        }
        rows.extend(old.chain(new).cloned());
        Run::of_sorted(id, rows)
    }

    /// One run of what several hold, given from the oldest to the newest.
    fn merged(id: RunId, runs: &[Arc<Run>]) -> Run {
        let mut rows = Vec::with_capacity(runs.iter().map(|run| run.rows.len()).sum());
        for run in runs.iter().rev() {
            rows.extend(run.rows.iter().cloned());
        }
        Run::new(id, rows)
    }

    /// What was written at `key`, if anything was.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Slot> {
        if !self.may_hold(key, key) {
            return None;
        }
        let at = self.rows.binary_search_by(|row| row.0[..].cmp(key)).ok()?;
        Some(&self.rows[at].1)
    }

    /// The rows of `from <= key < to`, ascending by key. `from` is not above `to`.
    pub(crate) fn range<'a>(&'a self, from: &[u8], to: &[u8]) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let start = self.rows.partition_point(|row| row.0[..] < *from);
        // Most scans are short: looking for their end would cost more than meeting it.
        let to = Bytes::from(to);
        self.rows[start..].iter().map(|(key, slot)| (&key[..], slot.as_deref())).take_while(move |(key, _)| *key < &to[..])
    }

    /// Whether a row from `first` to `last`, both included, may be in it. Tells most runs from a scan at a glance.
    pub(crate) fn may_hold(&self, first: &[u8], last: &[u8]) -> bool {
        let ends = self.rows.first().zip(self.rows.last());
        ends.is_some_and(|((low, _), (high, _))| low[..] <= *last && *first <= high[..])
    }
}

/// Gives out the ids of a state's runs.
#[derive(Debug, Default)]
pub(crate) struct RunIds {
    last: u64,
}

impl RunIds {
    fn next(&mut self) -> RunId {
        self.last += 1;
        RunId(self.last)
    }
}

/// The runs of one generation, and the committed writes that are not in a run yet.
#[derive(Debug, Default)]
pub(crate) struct RunStack {
    /// From the oldest to the newest.
    runs: Vec<Arc<Run>>,
    pending: Vec<(Bytes, Slot)>,
    /// The runs that a merge job holds.
    merging: Vec<RunId>,
}

impl RunStack {
    /// Notes one committed write.
    pub(crate) fn collect(&mut self, key: Bytes, slot: Slot) {
        self.pending.push((key, slot));
    }

    /// Makes a run of what was collected, and merges small ones.
    pub(crate) fn publish(&mut self, ids: &mut RunIds) {
        if self.pending.is_empty() {
            return;
        }
        let mut rows = std::mem::take(&mut self.pending);
        rows.reverse();
        self.runs.push(Arc::new(Run::new(ids.next(), rows)));
        while let [.., older, newer] = &self.runs[..] {
            let alike = older.rows.len() <= 2 * newer.rows.len();
            let small = older.rows.len() + newer.rows.len() <= INLINE_MERGE_ROWS_MAX;
            if !alike || !small || self.merging.contains(&older.id) {
                break;
            }
            let merged = Run::merged_pair(ids.next(), older, newer);
            self.runs.truncate(self.runs.len() - 2);
            self.runs.push(Arc::new(merged));
        }
    }

    /// Replaces everything by one run of the generation's rows.
    pub(crate) fn rebuild(&mut self, generation: &Generation, ids: &mut RunIds) {
        assert!(self.pending.is_empty(), "a rebuilt stack has no rows waiting");
        self.runs.clear();
        self.merging.clear();
        if !generation.is_empty() {
            let rows = generation.iter().map(|(key, slot)| (key.clone(), slot.clone())).collect();
            self.runs.push(Arc::new(Run::of_sorted(ids.next(), rows)));
        }
    }

    /// Work for another thread, if enough runs wait and none is out.
    pub(crate) fn merge_job(&mut self, ids: &mut RunIds) -> Option<MergeJob> {
        if !self.merging.is_empty() {
            return None;
        }
        let runs = self.runs.windows(MERGE_JOB_RUNS).find(|runs| of_like_size(runs)).or_else(|| self.best_growth())?.to_vec();
        self.merging = runs.iter().map(|run| run.id).collect();
        Some(MergeJob { id: ids.next(), runs })
    }

    /// Of too many runs, the neighbours whose merge makes the largest of them grow most, if that is worth it.
    fn best_growth(&self) -> Option<&[Arc<Run>]> {
        if self.runs.len() <= RUNS_UNMERGED_MAX {
            return None;
        }
        let mut best = (GROWTH_PERMILLE_MIN, None);
        for from in 0..self.runs.len() {
            let (mut rows, mut largest) = (0, 1);
            for (to, run) in (from + 1..).zip(&self.runs[from..]) {
                rows += run.rows.len();
                largest = largest.max(run.rows.len());
                // Of equal ones the last, which is the newest: it is the smallest as a rule.
                if rows * 1000 / largest >= best.0 {
                    best = (rows * 1000 / largest, Some(&self.runs[from..to]));
                }
            }
        }
        best.1
    }

    /// Puts the outcome of a merge job in the place of its runs. Gives it back if they are not here.
    pub(crate) fn merged(&mut self, merged: Merged) -> Option<Merged> {
        if self.merging.is_empty() || self.merging != merged.replaced {
            return Some(merged);
        }
        self.merging.clear();
        let first = self.runs.iter().position(|run| run.id == merged.replaced[0]).expect("runs that are being merged stay");
        let replaced: Vec<RunId> = self.runs[first..].iter().take(merged.replaced.len()).map(|run| run.id).collect();
        assert_eq!(replaced, merged.replaced, "runs that are being merged stay neighbours");
        self.runs.splice(first..first + replaced.len(), [Arc::new(merged.run)]);
        None
    }

    /// The runs, from the newest to the oldest.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.runs.iter().rev()
    }

    /// Bytes of the rows in its runs, counting a row once for every run that has it.
    pub(crate) fn bytes(&self) -> usize {
        self.runs.iter().map(|run| run.bytes).sum()
    }
}

fn of_like_size(runs: &[Arc<Run>]) -> bool {
    let sizes = || runs.iter().map(|run| run.rows.len());
    let (smallest, largest) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
    largest <= smallest * LIKE_SIZES_RATIO_MAX
}

/// Runs to be merged into one. A plain value: another thread may run it.
#[derive(Debug)]
pub struct MergeJob {
    id: RunId,
    runs: Vec<Arc<Run>>,
}

impl MergeJob {
    /// Merges. It reads no disk and cannot fail.
    #[must_use]
    pub fn run(self) -> Merged {
        let replaced = self.runs.iter().map(|run| run.id).collect();
        Merged { replaced, run: Run::merged(self.id, &self.runs) }
    }
}

/// The outcome of a [`MergeJob`].
#[derive(Debug)]
pub struct Merged {
    replaced: Vec<RunId>,
    run: Run,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Publishes come in while a merge job is out.
    const PUBLISHES_PER_JOB: usize = 4;

    /// The runs that may be there: those left alone, those that arrive during a job, and as many before the next one.
    const RUNS_HELD_MAX: usize = RUNS_UNMERGED_MAX + 2 * PUBLISHES_PER_JOB;

    /// Publishes runs of these sizes in turn, each row with a key of its own; gives the most runs that there were at once,
    /// and how often a row was merged on average, in hundredths.
    fn pile_up(sizes: &[usize], publishes: usize) -> (usize, usize) {
        let (mut stack, mut ids) = (RunStack::default(), RunIds::default());
        let (mut rows, mut merged_rows, mut most) = (0u64, 0, 0);
        let mut out = None;
        for publish in 0..publishes {
            for _ in 0..sizes[publish % sizes.len()] {
                stack.collect(Bytes::from(&rows.to_be_bytes()[..]), None);
                rows += 1;
            }
            let before = stack.runs.last().map(|run| run.id);
            stack.publish(&mut ids);
            if stack.runs.len() > 1 && stack.runs.iter().all(|run| Some(run.id) != before) {
                merged_rows += stack.runs.last().map_or(0, |run| run.rows.len());
            }
            if out.is_none() {
                out = stack.merge_job(&mut ids).map(|job| (job.run(), publish));
            }
            if let Some((merged, _)) = out.take_if(|(_, begun)| *begun + PUBLISHES_PER_JOB <= publish) {
                merged_rows += merged.run.rows.len();
                assert!(stack.merged(merged).is_none(), "its runs are here");
            }
            most = most.max(stack.runs.len());
        }
        let held: usize = stack.runs.iter().map(|run| run.rows.len()).sum();
        assert_eq!(held as u64, rows, "no row is lost");
        (most, merged_rows * 100 / held)
    }

    #[test]
    fn runs_of_any_sizes_in_turn_stay_few_and_rows_are_merged_seldom() {
        let patterns: [&[usize]; 6] =
            [&[4000, 5000], &[9000, 3000], &[40_000, 2100], &[8500, 1], &[9000, 1600, 300, 60, 12, 2], &[2000, 9000, 2000, 70_000]];
        for sizes in patterns {
            let (most, merged_hundredths) = pile_up(sizes, 160);
            assert!(most <= RUNS_HELD_MAX, "{sizes:?}: {most} runs");
            let rows = 160 * sizes.iter().sum::<usize>() / sizes.len();
            assert!(merged_hundredths <= 100 * rows.ilog2() as usize / 4, "{sizes:?}: {merged_hundredths} hundredths of {rows} rows");
        }
    }
}
