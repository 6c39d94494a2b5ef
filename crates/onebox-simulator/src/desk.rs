//! What a replica wanted done in one turn, laid out for the world to do.

use onebox_replica::turn::World;
use onebox_replica::{AppliedEntry, Job, Note, PeerMessage, PersistBatch, Query, Stop, Token};
use onebox_service::attempt::{Fate, Reply};
use onebox_store::LogIndex;
use onebox_store::state::{Retired, View};

#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) frame: Option<PersistBatch>,
    pub(crate) messages: Vec<Box<PeerMessage>>,
    pub(crate) applied: Vec<AppliedEntry>,
    pub(crate) view: Option<View>,
    /// With the position that each holds at.
    pub(crate) replies: Vec<(Token, Reply, LogIndex)>,
    pub(crate) fates: Vec<(Token, Fate)>,
    pub(crate) queries: Vec<Query>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) notes: Vec<Note>,
    pub(crate) drained: bool,
    pub(crate) stop: Option<Stop>,
}

impl Desk {
    /// Whether nothing lies here but messages to peers.
    pub(crate) fn has_but_messages(&self) -> bool {
        let Desk { frame, messages: _, applied, view, replies, fates, queries, jobs, notes, drained, stop } = self;
        let lists_are_empty = applied.is_empty() && replies.is_empty() && fates.is_empty() && queries.is_empty();
        lists_are_empty && jobs.is_empty() && notes.is_empty() && frame.is_none() && view.is_none() && !drained && stop.is_none()
    }

    /// Throws away what was left undone.
    pub(crate) fn clear(&mut self) {
        let Desk { frame, messages, applied, view, replies, fates, queries, jobs, notes, drained, stop } = self;
        (*frame, *view, *drained, *stop) = (None, None, false, None);
        messages.clear();
        applied.clear();
        replies.clear();
        fates.clear();
        queries.clear();
        jobs.clear();
        notes.clear();
    }
}

impl World for Desk {
    fn persist(&mut self, batch: PersistBatch) {
        self.frame = Some(batch);
    }
    fn send(&mut self, message: Box<PeerMessage>) {
        self.messages.push(message);
    }
    fn applied(&mut self, entry: AppliedEntry) {
        self.applied.push(entry);
    }
    fn publish(&mut self, view: View) {
        self.view = Some(view);
    }
    fn reply(&mut self, to: Token, reply: Reply, at: LogIndex) {
        self.replies.push((to, reply, at));
    }
    fn tell_fate(&mut self, to: Token, fate: Fate) {
        self.fates.push((to, fate));
    }
    fn query(&mut self, query: Query) {
        self.queries.push(query);
    }
    fn start(&mut self, job: Job) {
        self.jobs.push(job);
    }
    fn discard(&mut self, retired: Retired) {
        drop(retired);
    }
    fn note(&mut self, note: Note) {
        self.notes.push(note);
    }
    fn drained(&mut self) {
        self.drained = true;
    }
    fn stop(&mut self, stop: Stop) {
        self.stop = Some(stop);
    }
}
