//! What the consensus says becomes true here: entries are committed, applied, published; what was executed and not
//! committed is taken back when leadership is lost.
//!
//! A leader commits what it executed itself; a follower applies what is in the log. Timeline that must never be forgotten:
//! executed here, leadership lost, executed again by another leader: the first must be gone before the second is applied.

use onebox_service::attempt::Reply;
use onebox_service::buggify::{self, buggify};
use onebox_service::planted::planted;
use onebox_store::{LogIndex, Term};

use crate::consensus::{Agreed, Committed};
use crate::effect::{Note, Stop};
use crate::input::Token;
use crate::reads::Held;
use crate::replica::{InFlight, Replica};

/// An entry that is applied here, for whoever watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedEntry {
    /// Its position.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The chain after it.
    pub chain: u128,
    /// The digest of all rows after it.
    pub digest: u128,
}

impl Replica {
    pub(crate) fn hear_consensus(&mut self) -> Result<(), Stop> {
        let mut applied_bytes = 0;
        if self.replaying && self.execution.state.dirty_bytes() > self.limits.dirty_bytes_max {
            // A replay waits for the flusher like any execution; the end of the flush brings the next turn.
            return Ok(());
        }
        while let Some(news) = self.consensus.news().map_err(Stop::Fault)? {
            if let Some((round, index)) = news.confirmed {
                self.reads.confirm(round, index);
            }
            if news.role_changed {
                self.role_changed();
            }
            let mut last = None;
            for committed in news.committed {
                let index = committed.index;
                match self.commit(committed) {
                    Ok(bytes) => applied_bytes += bytes,
                    Err(Stop::Diverged { at, what }) => {
                        self.diverged(at, what)?;
                        break;
                    }
                    Err(stop) => return Err(stop),
                }
                last = Some(index);
            }
            if let Some(last) = last {
                self.consensus.applied_to(last);
                self.end_replay();
                self.publish();
            }
            self.reads.reached(self.consensus.progress().0);
            self.tell_leadership();
            if self.replaying && applied_bytes > 0 {
                // A long replay yields after each page, so that the node can say how far it is.
                self.effects.again = true;
                return Ok(());
            }
        }
        Ok(())
    }

    /// A replay ends when everything is applied that was known to be committed at the start. A single voter then leads.
    fn end_replay(&mut self) {
        let done = if self.consensus.is_alone() { self.consensus.leads() } else { self.consensus.progress().0 >= self.replay_to };
        if self.replaying && done {
            self.replaying = false;
            self.execution.state.set_replaying(false);
        }
    }

    fn tell_leadership(&mut self) {
        let term = self.consensus.term();
        if self.consensus.leads() && self.led != Some(term) {
            self.led = Some(term);
            // What an earlier leader committed is not yet known to be confirmed: answers from it wait for that.
            let (number, index, time) = (self.last_number() + 1, self.consensus.progress().0, self.clock.last());
            self.confirming.committed(InFlight { number, index, term, time, replies: Vec::new() });
            self.effects.notes.push(Note::Leads { term: term.0, at: self.consensus.progress().0 });
        }
    }

    /// Gives the bytes of the entry.
    fn commit(&mut self, committed: Committed) -> Result<u64, Stop> {
        let Committed { index, term, what } = committed;
        let mut bytes = 0;
        match what {
            Agreed::Term => self.execution.state.advance(index, term, self.execution.state.applied().time),
            Agreed::Members(membership) => {
                self.execution.state.set_membership(membership.encode());
                self.execution.state.advance(index, term, self.execution.state.applied().time);
                self.members_changed(index, term);
            }
            Agreed::Data(data) => {
                bytes = data.len() as u64;
                self.commit_data(index, term, &data)?;
            }
        }
        let (chain, digest) = self.execution.state.committed_digests();
        self.effects.applied.push(AppliedEntry { index, term, chain: chain.0, digest: digest.0 });
        Ok(bytes)
    }

    fn commit_data(&mut self, index: LogIndex, term: Term, data: &[u8]) -> Result<(), Stop> {
        if self.in_flight.front().is_some_and(|first| first.index == index && first.term == term) {
            let first = self.in_flight.pop_front().expect("its front was just looked at");
            self.execution.state.commit_entry(index, term, first.time);
            self.confirming.committed(first);
            return Ok(());
        }
        if !self.in_flight.is_empty() || !self.execution.is_empty() {
            // What was executed here and not committed never happened.
            self.undo_speculation("leadership was lost");
        }
        // Once in a run: of two that differ at one entry nobody can say which is right.
        if !self.consensus.is_alone() && !buggify::happened("memory fails") && buggify("memory fails", 1_024) {
            self.execution.corrupt().map_err(Stop::Fault)?;
        }
        let time = self.execution.apply(index, data)?;
        self.clock.seen(time);
        self.execution.state.commit_entry(index, term, time);
        self.log_bytes_unflushed += data.len() as u64;
        Ok(())
    }

    fn role_changed(&mut self) {
        if !self.consensus.leads() {
            self.undo_speculation("leadership was lost");
            self.change_is_unknown();
            self.divergence.forget_others();
        }
    }

    /// Takes back everything that was executed here and is not committed; its callers may try again.
    pub(crate) fn undo_speculation(&mut self, why: &'static str) {
        self.execution.abandon();
        let mut callers = self.take_open_callers();
        while let Some(last) = self.in_flight.pop_back() {
            if !planted("speculation not undone") {
                self.execution.undo_entry();
            }
            // The entry may be on a disk, and another leader may yet commit it.
            for (token, _) in last.replies {
                self.reply(token, Reply::Unknown(why.to_owned()));
            }
        }
        while let Some((token, _)) = self.queue.pop() {
            callers.push(token);
        }
        for token in callers {
            self.reply(token, Reply::Retry(why));
        }
        self.forget_confirming(why);
        self.retry_held(why);
    }

    pub(crate) fn retry_held(&mut self, why: &'static str) {
        let (held, reads) = self.reads.take_all();
        for held in held {
            let (Held::Reply(token, _) | Held::Fate(token, _)) = held;
            self.reply(token, Reply::Retry(why));
        }
        self.effects.refused_reads.extend(reads.into_iter().map(|read| (read.token, Reply::Retry(why))));
    }

    /// Who waits for a change of the members.
    pub(crate) fn take_changing(&mut self) -> Option<Token> {
        self.changing.take().map(|(_, _, token)| token)
    }
}
