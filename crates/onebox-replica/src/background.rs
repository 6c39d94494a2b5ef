//! The replica's work that others do: which jobs it starts, one of each kind at a time, and what follows from their ends.
//!
//! Nothing here may hold up a turn, and no answer waits for a job, except that a full set of dirty rows makes execution
//! wait for the flush.

use onebox_service::buggify::buggify;
use onebox_service::{Fault, FaultKind};
use onebox_store::LogIndex;
use onebox_store::log::{LogScrub, SegmentNumber};
use onebox_store::state::{ScrubJob, ScrubProgress};

use crate::effect::{Job, JobDone, Note, Stop};
use crate::replica::Replica;
use crate::warming::{WARM_READS_MIN, WARM_REQUESTS_MAX, WarmJob};

/// Ticks until a flush that found no room is tried again: one second.
const FLUSH_RETRY_TICKS: u64 = 20;
/// Rows that the scrub checks per tick.
const SCRUB_ROWS_PER_TICK: usize = 8_000;
/// Flushes after which an unfinished scan is given up and begun anew later.
const SCRUB_FLUSHES_MAX: u64 = 64;
/// Once writes are refused, this part more than the least must be free before they are taken again.
const DISK_ROOM_AGAIN_PART: u64 = 8;
/// Ticks between two whole scans of the base: ten minutes.
const SCRUB_PAUSE_TICKS: u64 = 12_000;
/// Ticks between two scans of the log: four minutes.
const LOG_SCRUB_PAUSE_TICKS: u64 = 4_800;
/// Ticks between two segments of the log that are checked: one second.
const SEGMENT_SCRUB_TICKS: u64 = 20;

/// Which jobs are under way: one of each kind at most.
#[derive(Default)]
pub(crate) struct Jobs {
    flush: bool,
    flush_at: u64,
    /// Flushes done.
    flushes: u64,
    postponed: bool,
    merge: bool,
    spare: bool,
    /// The writer has not been told of it.
    spare_made: bool,
    history: bool,
    /// The base's position and the tick at which it was last looked whether segments may move.
    history_looked: Option<(LogIndex, u64)>,
    scrub: bool,
    scrub_at: u64,
    /// Flushes done when the scrub began.
    scrub_began: u64,
    /// The scan of the base that goes on at the next tick.
    scrubbing: Option<Box<ScrubJob>>,
    log_scrub: bool,
    /// The tick at which the last scan of the log ended. At a start, all that is needed of it was read.
    log_scrubbed: u64,
    /// The scan of the log that goes on later.
    log_scrubbing: Option<Box<LogScrub>>,
    /// A scan of the log found damage, and none since has read it all without.
    log_damaged: bool,
    warm: bool,
    /// Points read from the base when it was last looked at.
    base_reads: u64,
}

impl Jobs {
    pub(crate) fn flushing(&self) -> bool {
        self.flush
    }

    /// Whether a flush found no room and waits to be tried again.
    pub(crate) fn flush_postponed(&self) -> bool {
        self.postponed
    }

    /// Whether the log is known to be damaged.
    pub(crate) fn log_damaged(&self) -> bool {
        self.log_damaged
    }

    /// Whether a spare segment was made that the log's writer has not been told of; it is told now.
    pub(crate) fn take_spare_made(&mut self) -> bool {
        std::mem::take(&mut self.spare_made)
    }
}

impl Replica {
    pub(crate) fn start_jobs(&mut self) {
        if self.hollow {
            // There is no state, or one that nothing may be made of.
            return;
        }
        if self.log_bytes_unflushed > self.limits.log_replay_bytes_max {
            self.log_bytes_unflushed = 0;
            self.execution.state.request_flush();
        }
        if self.execution.state.dirty_bytes() > self.limits.dirty_bytes_max {
            // Execution waits for a flush; with a target above the bound none would come.
            self.execution.state.request_flush();
        }
        if !self.jobs.flush
            && self.ticks >= self.jobs.flush_at
            && let Some(job) = self.execution.state.begin_flush()
        {
            self.jobs.flush = true;
            self.log_bytes_unflushed = 0;
            self.effects.jobs.push(Job::Flush(Box::new(job)));
        }
        if !self.jobs.merge
            && let Some(job) = self.execution.state.merge_job()
        {
            self.jobs.merge = true;
            self.effects.jobs.push(Job::Merge(job));
        }
        let now = Some((self.execution.state.base_applied().index, self.ticks));
        if !self.jobs.history && self.jobs.history_looked != now {
            self.jobs.history_looked = now;
            let segments = self.segments_for_history();
            if !segments.is_empty() && !buggify("segments stay a while", 4) {
                self.jobs.history = true;
                let scrub = self.consensus.reader().scrub_of(&segments);
                self.effects.jobs.push(Job::MoveToHistory(segments, scrub));
            }
        }
        self.warm();
        if !self.jobs.scrub && self.ticks >= self.jobs.scrub_at && !self.replaying {
            self.jobs.scrub = true;
            self.jobs.scrub_began = self.jobs.flushes;
            self.jobs.scrubbing = Some(Box::new(self.execution.state.scrub_job()));
        }
        if !self.jobs.log_scrub
            && (self.ticks >= self.jobs.log_scrubbed + LOG_SCRUB_PAUSE_TICKS || buggify("the log is scrubbed early", 1_024))
        {
            self.jobs.log_scrub = true;
            self.jobs.log_scrubbing = Some(Box::new(self.consensus.reader().scrub()));
        }
    }

    /// Segments whose rows are in the base and which no peer needs any more; if too many are kept for peers, the oldest.
    fn segments_for_history(&mut self) -> Vec<SegmentNumber> {
        let flushed = self.execution.state.base_applied().index;
        let mut segments = self.consensus.reader().sealed_below(flushed);
        if segments.is_empty() || self.consensus.is_alone() {
            return segments;
        }
        let peers = self.consensus.needed_above();
        let needed = [peers, self.snapshots.needed_above()].into_iter().flatten().min().unwrap_or(flushed).min(flushed);
        let free = self.consensus.reader().sealed_below(needed).len();
        let needed_by_peers = peers.is_some() || self.snapshots.needed_above().is_some();
        let kept_max = if needed_by_peers { self.limits.log_segments_kept_max } else { self.limits.log_segments_kept_by_followers };
        let overflow = segments.len().saturating_sub(kept_max);
        segments.truncate(if peers.is_some() { free.max(overflow) } else { free.min(overflow) });
        segments
    }

    fn scrubbed(&mut self, progress: ScrubProgress, job: Box<ScrubJob>) {
        match progress {
            // Its read transaction keeps the base from reusing pages, so it is not held over many flushes.
            ScrubProgress::Ongoing { .. } if self.jobs.flushes - self.jobs.scrub_began >= SCRUB_FLUSHES_MAX => self.scrub_later(),
            ScrubProgress::Ongoing { .. } => self.jobs.scrubbing = Some(job),
            ScrubProgress::Sound { rows } => {
                self.scrub_later();
                self.effects.notes.push(Note::Scrubbed { rows });
            }
        }
    }

    /// Has requests rehearsed that wait behind those of the next turn, if this turn had to look into the base.
    fn warm(&mut self) {
        let reads = self.execution.state.base_reads();
        let looked = reads - std::mem::replace(&mut self.jobs.base_reads, reads);
        if self.jobs.warm || looked < WARM_READS_MIN || self.queue.len() <= self.limits.turn_requests_max {
            return;
        }
        self.jobs.warm = true;
        let commands = self.queue.commands(self.limits.turn_requests_max, WARM_REQUESTS_MAX);
        let (service, view) = (std::sync::Arc::clone(&self.execution.service), self.view.clone());
        self.effects.jobs.push(Job::Warm(WarmJob { service, view, commands, budget: self.limits.budget }));
    }

    /// Heard how much room the disk has.
    pub(crate) fn disk_free(&mut self, free: u64) {
        let min = self.limits.disk_free_min;
        // Between two nodes at the edge, leadership would go back and forth.
        let wanted = if self.disk_low { min.saturating_add(min / DISK_ROOM_AGAIN_PART) } else { min };
        let low = free < wanted;
        if low != self.disk_low {
            self.effects.notes.push(if low { Note::DiskLow { free, min } } else { Note::DiskRoomAgain { free } });
        }
        self.disk_low = low;
    }

    fn scrub_later(&mut self) {
        self.jobs.scrub = false;
        self.jobs.scrub_at = self.ticks + SCRUB_PAUSE_TICKS;
    }

    /// Has a spare segment made, unless that is under way.
    pub(crate) fn prepare_spare(&mut self) {
        // A spare takes as much room as a segment, which a disk that is nearly full keeps for what is under way.
        if !self.jobs.spare && !self.jobs.spare_made && !self.disk_is_low() {
            self.jobs.spare = true;
            self.effects.jobs.push(Job::PrepareSpare { segment_bytes: self.segment_bytes });
        }
    }

    /// Goes on with the scrubs, a few rows a tick, and now and then a segment.
    pub(crate) fn scrub_on(&mut self) {
        if self.ticks.is_multiple_of(SEGMENT_SCRUB_TICKS)
            && let Some(job) = self.jobs.log_scrubbing.take()
        {
            self.effects.jobs.push(Job::ScrubLog(job));
        }
        if let Some(job) = self.jobs.scrubbing.take() {
            self.effects.jobs.push(Job::Scrub { job, rows: SCRUB_ROWS_PER_TICK });
        }
    }

    fn log_is_unsound(&mut self, fault: Fault) {
        self.jobs.log_damaged |= fault.kind == FaultKind::Damage;
        self.effects.notes.push(Note::LogScrub(fault));
    }

    pub(crate) fn job_done(&mut self, done: JobDone) {
        match done {
            JobDone::Flush(Ok(flushed)) => {
                self.jobs.flush = false;
                self.jobs.flushes += 1;
                self.jobs.postponed = false;
                self.effects.discard.push(self.execution.state.flushed(*flushed));
                self.effects.notes.push(Note::Flushed { at: self.execution.state.base_applied().index, rows: self.execution.state.rows() });
                self.publish();
            }
            JobDone::Flush(Err(fault)) if fault.kind == FaultKind::DiskFull => {
                self.jobs.flush = false;
                self.jobs.flush_at = self.ticks + FLUSH_RETRY_TICKS;
                self.execution.state.flush_failed();
                if !std::mem::replace(&mut self.jobs.postponed, true) {
                    self.effects.notes.push(Note::FlushPostponed(fault));
                }
            }
            JobDone::Merge(merged) => {
                self.jobs.merge = false;
                self.execution.state.merged(merged);
                self.publish();
            }
            JobDone::PrepareSpare(Ok(())) => (self.jobs.spare, self.jobs.spare_made) = (false, true),
            // Without a spare the writer makes its segment itself, and says then whether there is room.
            JobDone::PrepareSpare(Err(fault)) if fault.kind == FaultKind::DiskFull => self.jobs.spare = false,
            JobDone::MoveToHistory(Ok(moved), found) => {
                self.jobs.history = false;
                self.consensus.reader().retire(&moved);
                if let Some(fault) = found {
                    self.log_is_unsound(fault);
                }
            }
            JobDone::Warm => self.jobs.warm = false,
            JobDone::ReadRows(read) => self.rows_read(read),
            JobDone::Import(written) => self.rows_written(written),
            JobDone::Scrub(Ok(progress), job) => self.scrubbed(progress, job),
            JobDone::ScrubLog(Ok(Some(job))) => self.jobs.log_scrubbing = Some(job),
            JobDone::ScrubLog(ended) => {
                (self.jobs.log_scrub, self.jobs.log_scrubbed) = (false, self.ticks);
                match ended {
                    Ok(_) => self.jobs.log_damaged = false,
                    Err(fault) => self.log_is_unsound(fault),
                }
            }
            JobDone::Flush(Err(fault))
            | JobDone::PrepareSpare(Err(fault))
            | JobDone::MoveToHistory(Err(fault), _)
            | JobDone::Scrub(Err(fault), _) => self.stop(Stop::Fault(fault)),
        }
    }
}
