//! The world around a replica: what it wants done is laid on a desk, and done when the schedule says so.
//!
//! It checks what every world can see: one frame outstanding at most, and no answer before the state that it speaks of
//! is visible.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Write};

use onebox_replica::turn::World;
use onebox_replica::{Job, Note, PeerMessage, PersistBatch, Query, Stop, Token};
use onebox_service::attempt::{Fate, Reply};
use onebox_store::LogIndex;
use onebox_store::state::{Retired, View};

use crate::history::History;

pub(crate) struct Desk {
    pub(crate) frame: Option<PersistBatch>,
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) queries: VecDeque<Query>,
    pub(crate) retired: VecDeque<Retired>,
    pub(crate) replies: Vec<(Token, Reply, LogIndex)>,
    pub(crate) fates: Vec<(Token, Fate)>,
    pub(crate) notes: Vec<Note>,
    pub(crate) drained: bool,
    pub(crate) stop: Option<Stop>,
    pub(crate) history: History,
    /// A hash of everything that was ever laid here, if it is asked for.
    pub(crate) trace: Option<Trace>,
    visible: LogIndex,
}

impl Desk {
    pub(crate) fn new(history: History) -> Desk {
        Desk {
            frame: None,
            jobs: VecDeque::new(),
            queries: VecDeque::new(),
            retired: VecDeque::new(),
            replies: Vec::new(),
            fates: Vec::new(),
            notes: Vec::new(),
            drained: false,
            stop: None,
            history,
            trace: None,
            visible: LogIndex(0),
        }
    }

    fn trace(&mut self, what: &str, effect: &dyn Debug) {
        if let Some(trace) = &mut self.trace {
            trace.add(what, effect);
        }
    }
}

impl World for Desk {
    fn persist(&mut self, batch: PersistBatch) {
        self.trace("persist", &batch);
        for entry in &batch.batch.entries {
            self.history.log(entry);
        }
        self.frame = Some(batch);
    }

    fn send(&mut self, message: Box<PeerMessage>) {
        panic!("a single member has nobody to talk to: {message:?}");
    }

    fn publish(&mut self, view: View) {
        self.trace("publish", &view.position());
        assert!(view.position().index >= self.visible, "what readers see went back to {:?} from {}", view.position(), self.visible);
        self.visible = view.position().index;
    }

    fn reply(&mut self, to: Token, reply: Reply, at: LogIndex) {
        self.trace("reply", &(to, &reply, at));
        assert!(at <= self.visible, "a reply at {at} leaves while readers see {}", self.visible);
        self.replies.push((to, reply, at));
    }

    fn tell_fate(&mut self, to: Token, fate: Fate) {
        self.trace("fate", &(to, &fate));
        self.fates.push((to, fate));
    }

    fn query(&mut self, query: Query) {
        self.trace("query", &(query.token, query.method, query.view.position()));
        self.queries.push_back(query);
    }

    fn start(&mut self, job: Job) {
        self.trace("job", &JobName(&job));
        self.jobs.push_back(job);
    }

    fn discard(&mut self, retired: Retired) {
        self.retired.push_back(retired);
    }

    fn note(&mut self, note: Note) {
        self.trace("note", &note);
        self.notes.push(note);
    }

    fn drained(&mut self) {
        self.drained = true;
    }

    fn stop(&mut self, stop: Stop) {
        self.trace("stop", &stop);
        assert!(self.stop.is_none(), "it stops twice: {stop}");
        self.stop = Some(stop);
    }
}

/// A job without its contents.
struct JobName<'j>(&'j Job);

impl Debug for JobName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Job::Flush(job) => write!(f, "{job:?}"),
            Job::Merge(_) => f.write_str("merge"),
            Job::PrepareSpare { segment_bytes } => write!(f, "spare of {segment_bytes}"),
            Job::MoveToHistory(segments, _) => write!(f, "history {segments:?}"),
            Job::Scrub { rows, .. } => write!(f, "scrub {rows}"),
            Job::ScrubLog(_) => f.write_str("scrub of the log"),
            Job::ReadRows(_) => f.write_str("rows"),
            Job::Import(_) => f.write_str("import"),
            Job::Warm(job) => write!(f, "{job:?}"),
        }
    }
}

/// An FNV-1a hash over the text of what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) hash: u64,
    pub(crate) events: u64,
}

impl Trace {
    pub(crate) fn new() -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, events: 0 }
    }

    pub(crate) fn add(&mut self, what: &str, effect: &dyn Debug) {
        self.events += 1;
        write!(self, "{what} {effect:?};").expect("a hash takes everything");
    }
}

impl Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
