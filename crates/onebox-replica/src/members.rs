//! A replica among its peers: what they say, changes of the members, leadership handed over.

use onebox_service::Code;
use onebox_service::attempt::Reply;
use onebox_service::buggify::buggify;
use onebox_store::{LogIndex, Term};

use crate::effect::Note;
use crate::input::{Clock, Token};
use crate::membership::{Change, PeerId};
use crate::peer::{ConsensusKind, Here, PeerBody, PeerMessage};
use crate::replica::Replica;

impl Replica {
    pub(crate) fn hear_peer(&mut self, clock: Clock, message: Box<PeerMessage>) {
        if self.stopped.is_some() || message.to != self.consensus.id().0 {
            return;
        }
        if buggify("a message is not taken", 512) {
            return;
        }
        self.hear_build(clock, &message);
        self.hear_clock(clock, &message);
        self.confirming.hear(&message, self.consensus.membership());
        let from = PeerId(message.from);
        self.hear_yielding(from, message.yields);
        let heard = match message.body {
            Some(PeerBody::Consensus(said)) => {
                // Too many rows wait for the flusher: the leader sends the entries again later.
                let full = self.execution.state.dirty_bytes() > self.limits.dirty_bytes_max && !self.hollow;
                if full && said.kind == ConsensusKind::Append as i32 && !self.consensus.leads() {
                    return;
                }
                self.consensus.hear(from, said)
            }
            Some(PeerBody::Behind(behind)) => {
                if behind.first > 0 && Term(behind.term) >= self.consensus.term() && self.consensus.leader() == Some(from) {
                    let committed = self.consensus.committed();
                    if committed.0 + 1 >= behind.first && !self.hollow {
                        self.say(from, PeerBody::Here(Here { committed: committed.0 }));
                    } else {
                        self.want_snapshot(self.consensus.progress().0.next().max(LogIndex(behind.first - 1)));
                    }
                }
                Ok(())
            }
            Some(PeerBody::Here(here)) => {
                self.consensus.is_at(from, LogIndex(here.committed));
                Ok(())
            }
            Some(PeerBody::Fetch(fetch)) => {
                self.give_rows(from, fetch);
                Ok(())
            }
            Some(PeerBody::Rows(piece)) => {
                self.take_rows(piece);
                Ok(())
            }
            None => Err("a message of a kind that this version does not know".to_owned()),
        };
        if let Err(what) = heard {
            self.effects.notes.push(Note::PeerNonsense { from, what });
        }
    }

    /// Changes the members, if that is safe now. The answer comes when the change is committed in both its halves.
    pub(crate) fn change_members(&mut self, token: Token, change: Change) {
        if !self.serves_reads() {
            let leader = self.consensus.leader().map(|leader| leader.0);
            return self.reply(token, Reply::Elsewhere(leader));
        }
        match self.consensus.propose_change(change) {
            Ok(index) => self.changing = Some((index, self.consensus.term(), token)),
            Err(words) => self.reply(token, Reply::refused(Code::FailedPrecondition, words)),
        }
    }

    /// The members are others from here on.
    pub(crate) fn members_changed(&mut self, index: LogIndex, term: Term) {
        let members = self.consensus.membership().clone();
        self.confirming.keep(&members);
        self.builds.keep(&members);
        self.skew.keep(&members);
        self.yielding_peers.retain(|peer| members.contains(*peer));
        if let Some((begun, in_term, _)) = self.changing
            && index > begun
            && term == in_term
            && !members.is_joint()
            && let Some(token) = self.take_changing()
        {
            self.effects.replies.push((token, Reply::Done { response: Vec::new(), repeated: false }, index));
        }
        self.effects.notes.push(Note::Members { at: index, members });
    }

    /// Leadership was lost before the change was known to be committed.
    pub(crate) fn change_is_unknown(&mut self) {
        if let Some(token) = self.take_changing() {
            self.reply(token, Reply::Unknown("leadership was lost while the members were changed: look at them, and ask again".to_owned()));
        }
    }

    /// Hands leadership over; nothing is lost, and callers go on at the other.
    pub(crate) fn hand_over(&mut self, token: Token, to: PeerId) {
        let reply = match self.consensus.transfer_leadership(to) {
            Ok(()) => Reply::Done { response: Vec::new(), repeated: false },
            Err(words) => Reply::refused(Code::FailedPrecondition, words),
        };
        self.reply(token, reply);
    }

    fn hear_yielding(&mut self, from: PeerId, yields: bool) {
        if !yields {
            self.yielding_peers.remove(&from);
        } else if self.consensus.membership().contains(from) {
            self.yielding_peers.insert(from);
        }
    }

    /// Whether somebody else had better lead: this node is to stop, or has no room for writes.
    pub(crate) fn yields(&self) -> bool {
        self.draining || self.disk_is_low()
    }

    /// Timeline to avoid: two nodes stop, each hands leadership to the other at once, again and again, and nobody serves.
    pub(crate) fn may_be_given_leadership(&self, peer: PeerId) -> bool {
        !self.has_diverged(peer) && !self.yielding_peers.contains(&peer)
    }

    /// The node is to stop: somebody else leads first, if there is somebody.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.hand_over_if_it_yields();
    }

    pub(crate) fn hand_over_if_it_yields(&mut self) {
        if !self.yields() {
            return;
        }
        if self.consensus.leads()
            && let Some(successor) = self.consensus.best_successor(|peer| self.may_be_given_leadership(peer))
        {
            // Asked again at the next tick, if it does not come to it.
            let _ = self.consensus.transfer_leadership(successor);
        }
    }

    /// Whether somebody who has room is about to lead: writes wait for that, and are not refused.
    pub(crate) fn hands_over_for_room(&self) -> bool {
        self.disk_is_low() && self.hands_over()
    }

    /// Whether somebody is there to whom leadership can be handed.
    pub(crate) fn hands_over(&self) -> bool {
        self.consensus.leads() && self.consensus.best_successor(|peer| self.may_be_given_leadership(peer)).is_some()
    }
}
