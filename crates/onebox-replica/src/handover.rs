//! Leadership handed over: because an operator asks for it, or because somebody else had better lead.
//!
//! Who is to take over is asked at every tick, for some time; then the next one is, so that nothing waits for a peer that never does.

use std::collections::{BTreeMap, BTreeSet};

use onebox_service::Code;
use onebox_service::attempt::Reply;

use crate::input::Token;
use crate::membership::{Membership, PeerId};
use crate::replica::Replica;

/// Election timeouts within which a successor is to take over.
const PATIENCE_TIMEOUTS: u64 = 10;
/// Election timeouts before one that did not is asked again.
const AGAIN_TIMEOUTS: u64 = 100;

/// What is known of those who could lead.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    /// Peers that said of themselves that somebody else had better lead.
    yielding: BTreeSet<PeerId>,
    /// Who is to take over, and since which tick.
    to: Option<(PeerId, u64)>,
    /// Who did not take over in time, and when that was given up.
    in_vain: BTreeMap<PeerId, u64>,
}

impl Handover {
    /// Forgets those that are no members any more.
    pub(crate) fn keep(&mut self, members: &Membership) {
        self.yielding.retain(|peer| members.contains(*peer));
        self.in_vain.retain(|peer, _| members.contains(*peer));
    }
}

impl Replica {
    /// Hands leadership over; nothing is lost, and callers go on at the other.
    pub(crate) fn hand_over(&mut self, token: Token, to: PeerId) {
        let handed = if self.may_be_given_leadership(to) {
            self.consensus.transfer_leadership(to)
        } else {
            Err(format!(
                "{to} had better not lead: it stops, has no room on its disk or no right state, its log is damaged, its clock is wrong, or it did not take over when asked lately"
            ))
        };
        let reply = match handed {
            Ok(()) => Reply::Done { response: Vec::new(), repeated: false },
            Err(words) => Reply::refused(Code::FailedPrecondition, words),
        };
        self.reply(token, reply);
    }

    pub(crate) fn hear_yielding(&mut self, from: PeerId, yields: bool) {
        if !yields {
            self.handover.yielding.remove(&from);
        } else if self.consensus.membership().contains(from) {
            self.handover.yielding.insert(from);
        }
    }

    /// Whether it lets somebody else lead, if it does: this node is to stop, has no room for writes, or could not read to others what it
    /// has in its log.
    pub(crate) fn yields(&self) -> bool {
        self.draining || self.disk_is_low() || self.jobs.log_damaged()
    }

    /// Whether it is not to be given leadership.
    pub(crate) fn had_better_not_lead(&self) -> bool {
        self.yields() || self.hollow || self.skew.told()
    }

    /// Timeline to avoid: two nodes stop, each hands leadership to the other at once, again and again, and nobody serves.
    pub(crate) fn may_be_given_leadership(&self, peer: PeerId) -> bool {
        !self.has_diverged(peer) && !self.handover.yielding.contains(&peer) && !self.handover.in_vain.contains_key(&peer)
    }

    /// The node is to stop: somebody else leads first, if there is somebody.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.hand_over_if_it_yields();
    }

    pub(crate) fn hand_over_if_it_yields(&mut self) {
        if !self.yields() || !self.consensus.leads() {
            (self.handover.to, self.handover.in_vain) = (None, BTreeMap::new());
            return;
        }
        let (now, timeout) = (self.ticks, self.consensus.election_ticks() as u64);
        self.handover.in_vain.retain(|_, given_up| now - *given_up < AGAIN_TIMEOUTS * timeout);
        if let Some((late, _)) = self.handover.to.take_if(|(_, since)| now - *since >= PATIENCE_TIMEOUTS * timeout) {
            self.handover.in_vain.insert(late, now);
        }
        let Some(successor) = self.successor() else { return };
        let since = self.handover.to.filter(|(to, _)| *to == successor).map_or(now, |(_, since)| since);
        self.handover.to = Some((successor, since));
        // Asked again at the next tick, if it does not come to it.
        let _ = self.consensus.transfer_leadership(successor);
    }

    /// Who is to lead instead: the one that was asked, as long as it may be; else the best.
    fn successor(&self) -> Option<PeerId> {
        let asked = self.handover.to.map(|(to, _)| to);
        let again = asked.and_then(|asked| self.consensus.best_successor(|peer| peer == asked && self.may_be_given_leadership(peer)));
        again.or_else(|| self.consensus.best_successor(|peer| self.may_be_given_leadership(peer)))
    }

    /// Whether somebody who has room is about to lead: writes wait for that, and are not refused.
    pub(crate) fn hands_over_for_room(&self) -> bool {
        self.disk_is_low() && self.hands_over()
    }

    /// Whether somebody is there to whom leadership can be handed.
    pub(crate) fn hands_over(&self) -> bool {
        self.consensus.leads() && self.successor().is_some()
    }
}
