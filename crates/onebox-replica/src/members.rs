//! A replica among its peers: what they say, changes of the members.

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
                self.take_rows(from, piece);
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
        self.handover.keep(&members);
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
}
