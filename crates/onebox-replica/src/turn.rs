//! One turn: inputs in, effects performed in their one correct order. Shared by the node and the simulator.
//!
//! The order, and why:
//! 1. persist: the disk starts first, because everything else can happen while it works;
//! 2. messages to peers: whatever they depend on is on the disk already, so that their disks work in parallel;
//! 3. publish before replies: a client's next read must see what its answer was computed from;
//! 4. replies, then queries, then background jobs;
//! 5. stop last: what was committed before the fault is still answered.

use onebox_service::attempt::{Fate, Reply};
use onebox_store::LogIndex;
use onebox_store::state::{Retired, View};

use crate::committing::AppliedEntry;
use crate::consensus::PersistBatch;
use crate::effect::{Effects, Job, Note, Query, Stop};
use crate::input::{Clock, Input, Token};
use crate::peer::PeerMessage;
use crate::replica::Replica;

/// What surrounds a replica: the node's threads, or the simulator.
pub trait World {
    /// Writes a frame and syncs it, then gives [`Input::Persisted`] or [`Input::PersistFailed`].
    fn persist(&mut self, batch: PersistBatch);
    /// Sends a message to a peer. It may be lost, delayed, doubled and overtaken.
    fn send(&mut self, message: Box<PeerMessage>);
    /// An entry was applied. Of use to whoever watches; nothing needs to be done.
    fn applied(&mut self, _entry: AppliedEntry) {}
    /// Makes a state visible to readers.
    fn publish(&mut self, view: View);
    /// Answers an attempt.
    fn reply(&mut self, to: Token, reply: Reply, at: LogIndex);
    /// Answers a question for an outcome.
    fn tell_fate(&mut self, to: Token, fate: Fate);
    /// Runs a read on its view and answers it.
    fn query(&mut self, query: Query);
    /// Runs a job elsewhere, then gives [`Input::JobDone`].
    fn start(&mut self, job: Job);
    /// Frees memory elsewhere.
    fn discard(&mut self, retired: Retired);
    /// Tells an operator.
    fn note(&mut self, note: Note);
    /// The replica has finished after [`Input::Drain`].
    fn drained(&mut self);
    /// The replica has stopped.
    fn stop(&mut self, stop: Stop);
}

/// Takes one turn. Gives whether another should follow at once, even without inputs.
pub fn take_turn(replica: &mut Replica, clock: Clock, inputs: impl IntoIterator<Item = Input>, world: &mut dyn World) -> bool {
    for input in inputs {
        replica.step(clock, input);
    }
    perform(replica.finish_turn(clock), world)
}

/// Takes everything out of `effects`, whose lists stay for the next turn.
fn perform(effects: &mut Effects, world: &mut dyn World) -> bool {
    if effects.are_but_words() {
        effects.messages.drain(..).for_each(|message| world.send(message));
        return std::mem::take(&mut effects.again);
    }
    if let Some(batch) = effects.persist.take() {
        world.persist(batch);
    }
    effects.messages.drain(..).for_each(|message| world.send(message));
    effects.applied.drain(..).for_each(|entry| world.applied(entry));
    if let Some(view) = effects.publish.take() {
        world.publish(view);
    }
    effects.replies.drain(..).for_each(|(token, reply, at)| world.reply(token, reply, at));
    effects.fates.drain(..).for_each(|(token, fate)| world.tell_fate(token, fate));
    effects.queries.drain(..).for_each(|query| world.query(query));
    effects.refused_reads.drain(..).for_each(|(token, reply)| world.reply(token, reply, LogIndex(0)));
    effects.jobs.drain(..).for_each(|job| world.start(job));
    effects.discard.drain(..).for_each(|retired| world.discard(retired));
    effects.notes.drain(..).for_each(|note| world.note(note));
    if std::mem::take(&mut effects.drained) {
        world.drained();
    }
    if let Some(stop) = effects.stop.take() {
        world.stop(stop);
    }
    std::mem::take(&mut effects.again)
}
