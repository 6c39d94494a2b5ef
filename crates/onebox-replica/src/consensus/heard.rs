//! Which peers were heard of lately.
//!
//! The library keeps a mark of its own, which it wipes at every look at its quorum: right after one nobody seems to be there.

use std::collections::BTreeMap;

/// When each member was last heard of, in ticks of this process.
#[derive(Debug, Default)]
pub(super) struct Heard {
    ticks: u64,
    last: BTreeMap<u64, u64>,
}

impl Heard {
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
    }

    /// A member said something.
    pub(super) fn from(&mut self, peer: u64) {
        self.last.insert(peer, self.ticks);
    }

    /// Whether it said something within so many ticks.
    pub(super) fn within(&self, peer: u64, ticks: usize) -> bool {
        self.last.get(&peer).is_some_and(|last| self.ticks - last <= ticks as u64)
    }

    /// Forgets those that are no members any more.
    pub(super) fn keep(&mut self, is_member: impl Fn(u64) -> bool) {
        self.last.retain(|peer, _| is_member(*peer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_there_until_it_was_silent_for_long() {
        let mut heard = Heard::default();
        heard.from(7);
        for ticks in 0..5 {
            assert!(heard.within(7, 4), "at every tick, whoever looked at a quorum meanwhile: {ticks}");
            heard.tick();
        }
        assert!(!heard.within(7, 4));
        assert!(!heard.within(8, 4), "it was never heard of");
        heard.from(7);
        heard.keep(|peer| peer != 7);
        assert!(!heard.within(7, 4), "it is no member any more");
    }
}
