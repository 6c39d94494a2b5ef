//! Whether this machine's clock is the one that is wrong: peers tell theirs with every message.
//!
//! A leader's clock makes log time, and log time decides what has expired. A leader whose clock is far from the others' goes by theirs
//! and lets another lead. Of clocks that all differ the one in the middle is believed; of two that differ, nobody knows. A message's
//! time on its way makes a peer's clock look late; of several messages the one that makes it look latest is the truest.

use std::collections::BTreeMap;

use crate::effect::Note;
use crate::input::Clock;
use crate::limits::{CLOCK_KNOWN_TICKS, CLOCK_SKEW_MAX};
use crate::membership::{Membership, PeerId};
use crate::peer::PeerMessage;
use crate::replica::Replica;

/// The clocks of the other voters.
#[derive(Debug, Default)]
pub(crate) struct Skew {
    /// For each: a peer's wall clock minus this process' uptime, which never jumps; and when that was heard, in ticks.
    epochs: BTreeMap<PeerId, (i64, u64)>,
    told: bool,
    /// Kept for its room.
    ahead: Vec<i64>,
}

fn epoch(wall: u64, clock: Clock) -> i64 {
    wall.wrapping_sub(clock.uptime).cast_signed()
}

impl Skew {
    fn hear(&mut self, clock: Clock, ticks: u64, message: &PeerMessage) {
        let (from, told) = (PeerId(message.from), epoch(message.clock, clock));
        match self.epochs.get_mut(&from) {
            Some((known, heard)) if *known > told && ticks - *heard < CLOCK_KNOWN_TICKS => {}
            Some(known) => *known = (told, ticks),
            None => drop(self.epochs.insert(from, (told, ticks))),
        }
    }

    /// How far the voters' clocks, by the one in the middle, are ahead of this one; `None` if no other is known, or if two in the middle
    /// differ, so that either may be wrong.
    fn of_others(&mut self, clock: Clock, ticks: u64, voters: &[u64]) -> Option<i64> {
        let own = epoch(clock.wall.0, clock);
        let lately = |(peer, (_, heard)): &(&PeerId, &(i64, u64))| ticks - heard < 2 * CLOCK_KNOWN_TICKS && voters.contains(&peer.0);
        let ahead = &mut self.ahead;
        ahead.clear();
        ahead.extend(self.epochs.iter().filter(lately).map(|(_, (epoch, _))| epoch.saturating_sub(own)));
        if ahead.is_empty() {
            return None;
        }
        ahead.push(0);
        ahead.sort_unstable();
        let (lower, upper) = (ahead[(ahead.len() - 1) / 2], ahead[ahead.len() / 2]);
        (upper.saturating_sub(lower) <= CLOCK_SKEW_MAX.cast_signed()).then_some(if lower.abs() < upper.abs() { lower } else { upper })
    }

    /// Whether this clock is the one that is wrong.
    pub(crate) fn told(&self) -> bool {
        self.told
    }

    pub(crate) fn keep(&mut self, members: &Membership) {
        self.epochs.retain(|peer, _| members.voters.contains(&peer.0));
    }

    fn is_close(&self, peer: PeerId, clock: Clock, ahead: i64) -> bool {
        let own = epoch(clock.wall.0, clock);
        self.epochs.get(&peer).is_none_or(|(epoch, _)| epoch.saturating_sub(own).saturating_sub(ahead).unsigned_abs() <= CLOCK_SKEW_MAX)
    }
}

impl Replica {
    pub(crate) fn hear_clock(&mut self, clock: Clock, message: &PeerMessage) {
        let members: &Membership = self.consensus.membership();
        if members.voters.contains(&message.from) {
            self.skew.hear(clock, self.ticks, message);
        }
    }

    /// How far the others' clocks are ahead of this one, if that is known.
    pub(crate) fn others_ahead(&mut self, clock: Clock) -> Option<i64> {
        self.skew.of_others(clock, self.ticks, &self.consensus.membership().voters)
    }

    /// A leader with a wrong clock lets another lead.
    pub(crate) fn tend_skew(&mut self, clock: Clock) {
        let ahead = self.others_ahead(clock).unwrap_or(0);
        let skewed = ahead.unsigned_abs() > CLOCK_SKEW_MAX;
        if skewed != std::mem::replace(&mut self.skew.told, skewed) {
            self.effects.notes.push(if skewed { Note::ClockSkewed { ahead } } else { Note::ClockAgrees });
        }
        if skewed && self.consensus.leads() {
            let successor =
                self.consensus.best_successor(|peer| self.skew.is_close(peer, clock, ahead) && self.may_be_given_leadership(peer));
            if let Some(successor) = successor {
                // Asked again at the next tick, if it does not come to it.
                let _ = self.consensus.transfer_leadership(successor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use onebox_service::Time;

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn said(from: u64, clock: u64) -> PeerMessage {
        PeerMessage { from, clock, ..PeerMessage::default() }
    }

    #[test]
    fn of_clocks_that_all_differ_the_middle_one_is_believed() {
        let now = Clock { wall: Time(100 * SECOND), uptime: 7 };
        let mut skew = Skew::default();
        assert_eq!(skew.of_others(now, 0, &[1, 2, 3]), None, "nobody else is known");
        skew.hear(now, 0, &said(2, 105 * SECOND));
        assert_eq!(skew.of_others(now, 0, &[1, 2, 3]), None, "either may be the wrong one");
        skew.hear(now, 0, &said(3, 109 * SECOND));
        assert_eq!(skew.of_others(now, 0, &[1, 2, 3]), Some(5 * SECOND as i64));
        skew.hear(now, 0, &said(3, 91 * SECOND));
        assert_eq!(skew.of_others(now, 0, &[1, 2, 3]), Some(5 * SECOND as i64), "a late message says less than an early one");
        skew.hear(now, CLOCK_KNOWN_TICKS, &said(3, 91 * SECOND));
        skew.hear(now, CLOCK_KNOWN_TICKS, &said(2, 105 * SECOND));
        assert_eq!(skew.of_others(now, CLOCK_KNOWN_TICKS, &[1, 2, 3]), Some(0), "the middle one is this");
        assert_eq!(skew.of_others(now, CLOCK_KNOWN_TICKS, &[1, 2]), None, "who is no voter does not count");
        skew.hear(now, CLOCK_KNOWN_TICKS, &said(2, 100 * SECOND));
        assert_eq!(skew.of_others(now, 3 * CLOCK_KNOWN_TICKS, &[1, 2, 3]), None, "what was heard long ago does not count");
    }

    #[test]
    fn a_leap_of_this_clock_is_seen_at_once() {
        let mut skew = Skew::default();
        let before = Clock { wall: Time(100 * SECOND), uptime: 1 };
        skew.hear(before, 0, &said(2, 100 * SECOND));
        skew.hear(before, 0, &said(3, 100 * SECOND));
        let after = Clock { wall: Time(103 * SECOND), uptime: 2 };
        assert_eq!(skew.of_others(after, 0, &[1, 2, 3]), Some(1 - 3 * SECOND as i64));
    }
}
