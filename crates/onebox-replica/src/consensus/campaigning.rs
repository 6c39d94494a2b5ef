//! When this replica campaigns: alone at once, told to by its leader once it has caught up, and otherwise by the election timeout,
//! which is drawn from the seed.

use onebox_store::Term;
use raft::StateRole;
use raft::eraftpb::{Message, MessageType};

use super::Consensus;
use crate::membership::PeerId;

/// A leader handed leadership over to this replica while it had entries to apply, which comes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    by: PeerId,
    in_term: Term,
    /// After them the leader has given up and goes on by itself.
    ticks_left: usize,
}

impl Consensus {
    /// A single voter campaigns as soon as it may: nobody else can win, so there is nothing to wait for.
    pub(super) fn campaign_if_alone(&mut self) {
        if self.is_alone() && self.node.raft.state == StateRole::Follower && self.is_caught_up() && !self.hollow {
            self.node.campaign().expect("a single voter may campaign");
        }
    }

    /// It is told to campaign, and may not yet.
    pub(super) fn campaign_later(&mut self, by: PeerId, in_term: Term) {
        if !self.hollow {
            self.told = Some(Told { by, in_term, ticks_left: self.election_ticks });
        }
    }

    /// Campaigns if it was told to a moment ago, and has caught up.
    pub(super) fn campaign_if_told(&mut self) {
        if !self.may_campaign() {
            return;
        }
        let Some(Told { by, in_term, .. }) = self.told.take() else { return };
        if in_term == self.term() && self.leader() == Some(by) {
            let told = Message { msg_type: MessageType::MsgTimeoutNow, from: by.0, to: self.id.0, term: in_term.0, ..Message::default() };
            // Who is no voter any more does not campaign, and that is no mistake.
            let _ = self.node.step(told);
            self.draw_timeout();
        }
    }

    pub(super) fn tick_told(&mut self) {
        self.told = self.told.and_then(|told| Some(Told { ticks_left: told.ticks_left.checked_sub(1)?, ..told }));
    }

    pub(super) fn may_campaign(&self) -> bool {
        self.is_caught_up() && !self.hollow
    }

    /// The library draws its election timeout from a random generator of its own; every input overwrites it.
    pub(super) fn draw_timeout(&mut self) {
        let of = (self.node.raft.term, self.rolls);
        let (ticks, _) = match self.timeout.filter(|timeout| timeout.1 == of) {
            Some(timeout) => timeout,
            None => *self.timeout.insert((self.timeout_for(of), of)),
        };
        self.node.raft.set_randomized_election_timeout(ticks);
    }

    fn timeout_for(&self, (term, roll): (u64, u64)) -> usize {
        let mut input = [0; 32];
        for (place, part) in input.chunks_exact_mut(8).zip([self.seed, self.id.0, term, roll]) {
            place.copy_from_slice(&part.to_le_bytes());
        }
        self.election_ticks + (xxhash_rust::xxh3::xxh3_64(&input) % self.election_ticks as u64) as usize
    }
}
