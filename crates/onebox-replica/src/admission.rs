//! Who may wait: the bounded queue of attempts that are not executed yet.

use std::collections::VecDeque;

use onebox_service::attempt::{Attempt, Command};

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
        if self.attempts.len() >= limits.queue_requests_max || bytes > limits.queue_bytes_max {
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
        Command::CreateTenant { name } => name.len(),
        Command::OpenSession | Command::TouchSession => 0,
    };
    ATTEMPT_OVERHEAD_BYTES + body
}
