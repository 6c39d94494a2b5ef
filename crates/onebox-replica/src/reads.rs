//! Answers that change nothing, and reads: what they must wait for before they may leave.
//!
//! Such an answer was computed from entries that may not be committed yet, by a leader that may have been deposed. It
//! waits for those entries, and for a read round that began after it was computed.

use std::collections::{BTreeMap, VecDeque};

use onebox_service::attempt::{Fate, Reply};
use onebox_service::planted::planted;
use onebox_store::LogIndex;

use crate::input::{Consistency, Read, Token};
use crate::replica::Replica;

/// What waits to leave.
#[derive(Debug)]
pub(crate) enum Held {
    Reply(Token, Reply),
    Fate(Token, Fate),
}

/// Held answers and reads of one replica.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Held answers: the last entry each was computed from (by this leader's count), its read round.
    held: VecDeque<(u64, u64, Held)>,
    /// Reads that wait for their round.
    unconfirmed: VecDeque<(u64, Read)>,
    /// Reads of a state that has reached a position.
    behind: BTreeMap<LogIndex, Vec<Read>>,
    behind_len: usize,
    /// The round that the next turn's end begins.
    round: u64,
    round_wanted: bool,
    confirmed: u64,
    /// Rounds that are confirmed once these positions are reached.
    ahead: VecDeque<(LogIndex, u64)>,
}

impl Reads {
    /// Holds an answer that was computed on top of entry number `entry`.
    pub(crate) fn hold(&mut self, entry: u64, held: Held) {
        self.round_wanted = true;
        self.held.push_back((entry, self.round + 1, held));
    }

    /// Takes a read in, or gives it back if too many wait. One that need not be linearizable needs no round.
    pub(crate) fn admit(&mut self, read: Read, waiting_max: usize) -> Result<(), Read> {
        if self.unconfirmed.len() + self.behind_len >= waiting_max {
            return Err(read);
        }
        match read.consistency {
            Consistency::Linearizable => {
                self.round_wanted = true;
                self.unconfirmed.push_back((self.round + 1, read));
            }
            Consistency::AtLeast(position) => {
                self.behind_len += 1;
                self.behind.entry(position).or_default().push(read);
            }
        }
        Ok(())
    }

    /// The round to begin now, if anything that arrived needs one.
    pub(crate) fn begin_round(&mut self) -> Option<u64> {
        if !std::mem::take(&mut self.round_wanted) {
            return None;
        }
        self.round += 1;
        if planted("read without a round") {
            self.confirmed = self.round;
        }
        Some(self.round)
    }

    /// All rounds up to this one are confirmed, once the state has reached the position.
    pub(crate) fn confirm(&mut self, round: u64, at: LogIndex) {
        self.ahead.push_back((at, round));
    }

    /// Everything up to here is applied.
    pub(crate) fn reached(&mut self, position: LogIndex) {
        while let Some((_, round)) = self.ahead.pop_front_if(|(at, _)| *at <= position) {
            self.confirmed = self.confirmed.max(round);
        }
    }

    /// The next held answer that may leave, when all entries up to number `published` are.
    pub(crate) fn release(&mut self, published: u64) -> Option<Held> {
        let (entry, round, _) = self.held.front()?;
        if *entry > published || *round > self.confirmed {
            return None;
        }
        self.held.pop_front().map(|(_, _, held)| held)
    }

    /// The reads that may run on a state at `position`.
    pub(crate) fn runnable(&mut self, position: LogIndex) -> Vec<Read> {
        let mut runnable = Vec::new();
        while let Some((_, read)) = self.unconfirmed.pop_front_if(|(round, _)| *round <= self.confirmed) {
            runnable.push(read);
        }
        while let Some(first) = self.behind.first_entry()
            && (*first.key() <= position || planted("a position not waited for"))
        {
            let reached = first.remove();
            self.behind_len -= reached.len();
            runnable.extend(reached);
        }
        runnable
    }

    /// The reads for which nobody waits any more.
    pub(crate) fn expired(&mut self, uptime: u64) -> Vec<Token> {
        let mut expired = Vec::new();
        self.behind.retain(|_, reads| {
            expired.extend(reads.extract_if(.., |read| read.deadline <= uptime).map(|read| read.token));
            !reads.is_empty()
        });
        self.behind_len -= expired.len();
        expired
    }

    /// Everything that waits, when leadership is lost or the replica stops.
    pub(crate) fn take_all(&mut self) -> (Vec<Held>, Vec<Read>) {
        let held = self.held.drain(..).map(|(_, _, held)| held).collect();
        let mut reads: Vec<Read> = self.unconfirmed.drain(..).map(|(_, read)| read).collect();
        reads.extend(std::mem::take(&mut self.behind).into_values().flatten());
        self.behind_len = 0;
        (held, reads)
    }

    /// How many answers are held.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.unconfirmed.is_empty()
    }
}

impl Replica {
    pub(crate) fn admit_read(&mut self, read: Read) {
        let serves = match read.consistency {
            Consistency::Linearizable => self.serves_reads(),
            Consistency::AtLeast(_) => self.has_a_state(),
        };
        if let Some(reply) = self.not_here(serves) {
            return self.effects.refused_reads.push((read.token, reply));
        }
        if let Err(read) = self.reads.admit(read, self.limits.reads_waiting_max) {
            self.effects.refused_reads.push((read.token, Reply::Overloaded));
        }
    }

    /// Whether what readers see is a state of the partition, however old.
    fn has_a_state(&self) -> bool {
        self.stopped.is_none() && !self.hollow && !self.replaying
    }
}

#[cfg(test)]
mod tests {
    use onebox_service::MethodId;

    use super::*;

    /// The round is confirmed at a position that the state has.
    fn confirmed(reads: &mut Reads, round: u64) {
        reads.confirm(round, LogIndex(1));
        reads.reached(LogIndex(1));
    }

    fn read_as(token: u64, consistency: Consistency, deadline: u64) -> Read {
        let (tenant, body) = (String::new(), Vec::new());
        Read { token: Token(token), tenant, method: MethodId(0), body, consistency, deadline }
    }

    fn read(token: u64) -> Read {
        read_as(token, Consistency::Linearizable, 99)
    }

    fn at_least(token: u64, position: u64, deadline: u64) -> Read {
        read_as(token, Consistency::AtLeast(LogIndex(position)), deadline)
    }

    fn tokens(reads: Vec<Read>) -> Vec<u64> {
        reads.into_iter().map(|read| read.token.0).collect()
    }

    fn released(reads: &mut Reads, published: u64) -> Vec<u64> {
        let held = std::iter::from_fn(|| reads.release(published));
        held.map(|held| match held {
            Held::Reply(token, _) | Held::Fate(token, _) => token.0,
        })
        .collect()
    }

    #[test]
    fn what_is_held_needs_its_entry_and_a_round_begun_after_it() {
        let mut reads = Reads::default();
        assert_eq!(reads.begin_round(), None, "nobody asks for one");
        reads.hold(1, Held::Fate(Token(1), Fate::Pending));
        reads.hold(1, Held::Reply(Token(2), Reply::Overloaded));
        assert_eq!(reads.begin_round(), Some(1), "one round for all of a turn");
        assert_eq!(reads.begin_round(), None);
        reads.hold(2, Held::Reply(Token(3), Reply::Overloaded));
        assert_eq!(released(&mut reads, 9), [0; 0], "no round is confirmed");
        confirmed(&mut reads, 1);
        assert_eq!(released(&mut reads, 0), [0; 0], "entry 1 is not published");
        assert_eq!(released(&mut reads, 9), [1, 2], "3 came after the round began");
        assert_eq!(reads.begin_round(), Some(2));
        confirmed(&mut reads, 2);
        confirmed(&mut reads, 1);
        assert_eq!(released(&mut reads, 1), [0; 0], "entry 2 is not published");
        assert_eq!(released(&mut reads, 2), [3]);
        assert!(reads.is_empty());
    }

    #[test]
    fn linearizable_reads_need_a_round_begun_after_them_and_others_their_position() {
        let mut reads = Reads::default();
        reads.admit(at_least(4, 0, 99), 9).expect("there is room");
        reads.admit(at_least(2, 7, 99), 9).expect("there is room");
        assert_eq!(reads.begin_round(), None, "neither needs one");
        reads.admit(read(1), 9).expect("there is room");
        reads.begin_round();
        reads.admit(read(3), 9).expect("there is room");
        assert_eq!(tokens(reads.runnable(LogIndex(5))), [4]);
        confirmed(&mut reads, 1);
        assert_eq!(tokens(reads.runnable(LogIndex(5))), [1]);
        assert_eq!(tokens(reads.runnable(LogIndex(7))), [2]);
        assert_eq!(reads.begin_round(), Some(2));
        confirmed(&mut reads, 2);
        assert_eq!(tokens(reads.runnable(LogIndex(5))), [3]);
    }

    #[test]
    fn every_read_that_waits_is_counted_once_wherever_it_waits() {
        let mut reads = Reads::default();
        for round in 0..100 {
            reads.admit(read(1), 3).expect("there is room for one");
            reads.admit(at_least(2, 99, 10), 3).expect("for two");
            reads.admit(at_least(3, 99, 20), 3).expect("and for three");
            assert!(reads.admit(read(4), 3).is_err(), "round {round}");
            let begun = reads.begin_round().expect("they ask for a round");
            confirmed(&mut reads, begun);
            assert_eq!(tokens(reads.runnable(LogIndex(5))), [1]);
            reads.admit(read(5), 3).expect("there is room for another");
            assert!(reads.admit(at_least(6, 0, 10), 3).is_err());
            assert_eq!(reads.expired(10), [Token(2)], "5 is not confirmed yet, and will be at once");
            assert_eq!(reads.expired(10), [Token(0); 0]);
            reads.admit(read(7), 3).expect("it left room");
            assert!(reads.admit(read(8), 3).is_err());
            let (held, left) = reads.take_all();
            assert_eq!((held.len(), tokens(left)), (0, vec![5, 7, 3]));
        }
    }
}
