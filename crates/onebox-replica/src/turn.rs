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
    fn send(&mut self, message: PeerMessage);
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

fn perform(effects: Effects, world: &mut dyn World) -> bool {
    let Effects { persist, messages, applied, publish, replies, fates, queries, refused_reads, jobs, discard, notes, again, drained, stop } =
        effects;
    if let Some(batch) = persist {
        world.persist(batch);
    }
    for message in messages {
        world.send(message);
    }
    for entry in applied {
        world.applied(entry);
    }
    if let Some(view) = publish {
        world.publish(view);
    }
    for (token, reply, at) in replies {
        world.reply(token, reply, at);
    }
    for (token, fate) in fates {
        world.tell_fate(token, fate);
    }
    for query in queries {
        world.query(query);
    }
    for (token, reply) in refused_reads {
        world.reply(token, reply, LogIndex(0));
    }
    for job in jobs {
        world.start(job);
    }
    for retired in discard {
        world.discard(retired);
    }
    for note in notes {
        world.note(note);
    }
    if drained {
        world.drained();
    }
    if let Some(stop) = stop {
        world.stop(stop);
    }
    again
}
