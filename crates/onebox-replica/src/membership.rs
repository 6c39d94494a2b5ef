//! Who takes part in a partition: its voters and learners, also while a change is half way (joint consensus).
//!
//! The bytes stand in the log's first frame and in the base; FORMAT.md has the layout.

use std::fmt;

use onebox_store::NodeId;

/// A replica among those of its partition: the identity of its disk, in 63 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

impl PeerId {
    /// The replica whose data this node keeps. Never 0, which stands for nobody.
    pub fn of(node: NodeId) -> PeerId {
        PeerId((node.0 as u64 & (u64::MAX >> 1)).max(1))
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// The members of a partition. Each list ascends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// Who votes, and of whom a majority makes an entry committed.
    pub voters: Vec<u64>,
    /// Who follows without a vote.
    pub learners: Vec<u64>,
    /// While a change is half way: the voters before it, of whom a majority is needed too.
    pub voters_outgoing: Vec<u64>,
    /// While a change is half way: voters of before that become learners.
    pub learners_next: Vec<u64>,
    /// The second half of the change follows by itself.
    pub auto_leave: bool,
}

/// Begins the layout that has all lists. The older one, of voters alone, has a multiple of 8 bytes.
const ALL_LISTS: u8 = 1;

impl Membership {
    /// These voters and nobody else.
    pub fn of_voters(voters: impl IntoIterator<Item = PeerId>) -> Membership {
        let mut voters: Vec<u64> = voters.into_iter().map(|peer| peer.0).collect();
        voters.sort_unstable();
        voters.dedup();
        Membership { voters, ..Membership::default() }
    }

    /// Whether nobody is known: a node that has not yet joined.
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty() && self.learners.is_empty()
    }

    /// Whether this replica votes.
    pub fn votes(&self, peer: PeerId) -> bool {
        self.voters.contains(&peer.0) || self.voters_outgoing.contains(&peer.0)
    }

    /// Everybody, voters or not, ascending.
    pub fn peers(&self) -> Vec<PeerId> {
        let mut peers: Vec<u64> =
            [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next].into_iter().flatten().copied().collect();
        peers.sort_unstable();
        peers.dedup();
        peers.into_iter().map(PeerId).collect()
    }

    /// Whether a peer is among them, in whatever part.
    pub fn contains(&self, peer: PeerId) -> bool {
        [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next].into_iter().any(|part| part.contains(&peer.0))
    }

    /// Whether a change is half way.
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let lists = [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next];
        let mut bytes = vec![ALL_LISTS, u8::from(self.auto_leave)];
        for list in lists {
            bytes.push(u8::try_from(list.len()).expect("members are bounded"));
        }
        for peer in lists.into_iter().flatten() {
            bytes.extend_from_slice(&peer.to_le_bytes());
        }
        bytes
    }

    /// Reads its bytes; `None` if they are none of ours.
    pub fn decode(bytes: &[u8]) -> Option<Membership> {
        let numbers = |bytes: &[u8]| -> Vec<u64> {
            bytes.chunks_exact(8).map(|id| u64::from_le_bytes(id.try_into().expect("chunks are 8 bytes"))).collect()
        };
        if bytes.len().is_multiple_of(8) {
            return Some(Membership { voters: numbers(bytes), ..Membership::default() });
        }
        let ([ALL_LISTS, auto_leave, lengths @ ..], peers) = bytes.split_first_chunk::<6>()? else { return None };
        let mut peers = numbers(peers).into_iter();
        let total: usize = lengths.iter().map(|length| usize::from(*length)).sum();
        if bytes.len() != 6 + 8 * total {
            return None;
        }
        let mut list = |length: u8| peers.by_ref().take(usize::from(length)).collect::<Vec<u64>>();
        Some(Membership {
            voters: list(lengths[0]),
            learners: list(lengths[1]),
            voters_outgoing: list(lengths[2]),
            learners_next: list(lengths[3]),
            auto_leave: *auto_leave == 1,
        })
    }
}

/// A change of the membership. One at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A new replica follows, without a vote.
    AddLearner(PeerId),
    /// A learner that has caught up gets a vote.
    Promote(PeerId),
    /// A replica takes part no more.
    Remove(PeerId),
}

impl Change {
    /// Whom it is about.
    pub fn peer(&self) -> PeerId {
        let (Change::AddLearner(peer) | Change::Promote(peer) | Change::Remove(peer)) = self;
        *peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_say_all_of_it() {
        let whole = Membership {
            voters: vec![1, 2, 3],
            learners: vec![9],
            voters_outgoing: vec![1, 2, 7],
            learners_next: vec![7],
            auto_leave: true,
        };
        for membership in [whole.clone(), Membership::of_voters([PeerId(5)]), Membership::default()] {
            assert_eq!(Membership::decode(&membership.encode()), Some(membership));
        }
        assert_eq!(whole.peers(), [1, 2, 3, 7, 9].map(PeerId));
    }

    #[test]
    fn the_layout_of_voters_alone_is_read() {
        let bytes = [4u64, 9].map(u64::to_le_bytes).concat();
        assert_eq!(Membership::decode(&bytes), Some(Membership::of_voters([PeerId(9), PeerId(4)])));
    }

    #[test]
    fn other_bytes_are_refused() {
        let good = Membership::of_voters([PeerId(5), PeerId(6)]).encode();
        assert_eq!(Membership::decode(&good[..good.len() - 1]), None);
        assert_eq!(Membership::decode(&[2, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Membership::decode(&[1, 0, 9]), None);
    }
}
