//! Who may wait: the bounded queue of attempts that are not executed yet.

use std::collections::VecDeque;

use onebox_service::attempt::{Attempt, Command};
use onebox_service::buggify::buggify;

use crate::input::Token;
use crate::limits::Limits;

/// Bytes that an attempt occupies beside its body.
const ATTEMPT_OVERHEAD_BYTES: usize = 256;

/// Attempts in order of arrival, bounded in number and bytes.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    attempts: VecDeque<(Token, Attempt)>,
    bytes: usize,
}

impl Queue {
    /// Takes an attempt in, or gives back who must be told that there is no room.
    pub(crate) fn admit(&mut self, token: Token, attempt: Attempt, limits: &Limits) -> Result<(), Token> {
        let bytes = self.bytes + bytes_of(&attempt);
        if self.attempts.len() >= limits.queue_requests_max || bytes > limits.queue_bytes_max || buggify("the queue seems full", 256) {
            return Err(token);
        }
        self.bytes = bytes;
        self.attempts.push_back((token, attempt));
        Ok(())
    }

    /// The attempt that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<(Token, Attempt)> {
        let (token, attempt) = self.attempts.pop_front()?;
        self.bytes -= bytes_of(&attempt);
        Some((token, attempt))
    }

    /// What waits behind the next `after` attempts, at most `count` of it.
    pub(crate) fn commands(&self, after: usize, count: usize) -> Vec<Command> {
        self.attempts.iter().skip(after).take(count).map(|(_, attempt)| attempt.command.clone()).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.attempts.len()
    }
}

fn bytes_of(attempt: &Attempt) -> usize {
    let body = match &attempt.command {
        Command::Call { tenant, body, key, .. } => tenant.len() + body.len() + key.as_ref().map_or(0, String::len),
        Command::CreateTenant { name } | Command::PlaceTenant { name, .. } => name.len(),
        Command::OpenSession | Command::TouchSession | Command::Withdraw => 0,
    };
    ATTEMPT_OVERHEAD_BYTES + body
}

#[cfg(test)]
mod tests {
    use onebox_service::attempt::{RequestId, Sequence, SessionId};
    use onebox_service::{MethodId, Time};

    use super::*;

    fn attempt(body_bytes: usize) -> Attempt {
        let id = RequestId { session: SessionId(1), sequence: Sequence(1), not_after: Time(0) };
        let command = Command::Call { tenant: String::new(), method: MethodId(0), body: vec![0; body_bytes], key: None };
        Attempt { id, acknowledged_below: Sequence(0), command }
    }

    #[test]
    fn bytes_are_given_back_with_what_leaves_and_not_taken_by_what_is_turned_away() {
        let limits = Limits { queue_bytes_max: 2 * (ATTEMPT_OVERHEAD_BYTES + 100), ..Limits::default() };
        let mut queue = Queue::default();
        for round in 0..1000 {
            assert_eq!(queue.admit(Token(1), attempt(100), &limits), Ok(()), "round {round}");
            assert_eq!(queue.admit(Token(2), attempt(101), &limits), Err(Token(2)), "round {round}");
            assert_eq!(queue.admit(Token(3), attempt(100), &limits), Ok(()), "round {round}");
            assert_eq!(queue.admit(Token(4), attempt(0), &limits), Err(Token(4)), "round {round}");
            let left = [queue.pop(), queue.pop(), queue.pop()].map(|popped| popped.map(|(token, _)| token));
            assert_eq!(left, [Some(Token(1)), Some(Token(3)), None], "first in, first out");
        }
        assert_eq!((queue.bytes, queue.len(), queue.is_empty()), (0, 0, true));
    }

    #[test]
    fn attempts_without_a_body_are_bounded_by_their_number_and_their_names_by_bytes() {
        let limits = Limits { queue_requests_max: 3, queue_bytes_max: 4 * ATTEMPT_OVERHEAD_BYTES, ..Limits::default() };
        let mut queue = Queue::default();
        let of = |command| Attempt { command, ..attempt(0) };
        let long = of(Command::CreateTenant { name: "n".repeat(4 * ATTEMPT_OVERHEAD_BYTES) });
        assert_eq!(queue.admit(Token(1), long, &limits), Err(Token(1)));
        let keyed = Command::Call { tenant: String::new(), method: MethodId(0), body: Vec::new(), key: Some("k".repeat(1000)) };
        assert_eq!(queue.admit(Token(2), of(keyed), &limits), Err(Token(2)));
        for number in 3..6 {
            assert_eq!(queue.admit(Token(number), of(Command::TouchSession), &limits), Ok(()));
        }
        assert_eq!(queue.admit(Token(6), of(Command::OpenSession), &limits), Err(Token(6)));
    }

    #[test]
    fn commands_are_those_behind_the_next_ones() {
        let mut queue = Queue::default();
        for bytes in 0..5 {
            assert_eq!(queue.admit(Token(0), attempt(bytes), &Limits::default()), Ok(()));
        }
        let sizes = |after, count| -> Vec<usize> {
            let sizes = queue.commands(after, count).into_iter().map(|command| match command {
                Command::Call { body, .. } => body.len(),
                other => panic!("it was not queued: {other:?}"),
            });
            sizes.collect()
        };
        assert_eq!((sizes(1, 2), sizes(3, 9), sizes(9, 9)), (vec![1, 2], vec![3, 4], vec![]));
    }
}
