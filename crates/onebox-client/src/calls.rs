//! The requests of one session that are not settled: under way, or lingering because nobody was told how they ended.

use std::collections::BTreeMap;

use onebox_service::attempt::Command;
use onebox_service::buggify::buggify;
use onebox_service::{Refusal, Time};

use crate::client::Caller;
use crate::{ATTEMPT_MICROS, LINGER_MICROS, LINGERING_MAX, RETRY_FIRST_MICROS};

/// A request under way.
#[derive(Debug)]
pub(crate) struct Call {
    /// Who waits; nobody for the client's own requests and for those whose deadline passed.
    pub(crate) caller: Option<Caller>,
    /// What is asked, as long as it may have to be sent again.
    pub(crate) command: Option<Command>,
    /// Until when the caller waits, in uptime.
    pub(crate) deadline: u64,
    /// Until when it may be executed, in log time.
    pub(crate) not_after: Time,
    /// When the last attempt was sent, in uptime.
    pub(crate) sent_at: u64,
    /// When to repeat the attempt; `None` while one is out.
    pub(crate) retry_at: Option<u64>,
    pub(crate) retry_wait: u64,
    /// An attempt may have taken effect.
    pub(crate) ambiguous: bool,
    /// What its caller is told once it is withdrawn.
    pub(crate) refusal: Option<Refusal>,
}

impl Call {
    /// Whether it has an idempotency key.
    pub(crate) fn is_keyed(&self) -> bool {
        matches!(&self.command, Some(Command::Call { key: Some(_), .. }))
    }
}

/// The unsettled requests of one session.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    under_way: BTreeMap<u64, Call>,
    /// Until when each lingers.
    lingering: BTreeMap<u64, u64>,
    next: u64,
}

impl Calls {
    /// Numbers a request.
    pub(crate) fn add(&mut self, call: Call) -> u64 {
        self.next += 1;
        self.under_way.insert(self.next, call);
        self.next
    }

    pub(crate) fn get_mut(&mut self, sequence: u64) -> Option<&mut Call> {
        self.under_way.get_mut(&sequence)
    }

    /// Takes a request off, for good.
    pub(crate) fn settle(&mut self, sequence: u64) -> Option<Call> {
        self.under_way.remove(&sequence)
    }

    /// Keeps a request unacknowledged for a while, because its caller was not told how it ended.
    pub(crate) fn linger(&mut self, sequence: u64, now: u64) {
        if self.lingering.len() >= LINGERING_MAX {
            self.lingering.pop_first();
        }
        self.lingering.insert(sequence, now.saturating_add(LINGER_MICROS));
    }

    pub(crate) fn end_lingering(&mut self, now: u64) {
        self.lingering.retain(|_, until| *until > now);
    }

    /// Gives up lingering altogether: there is no room for it.
    pub(crate) fn forget_lingering(&mut self) {
        self.lingering.clear();
    }

    /// Every answer below this was delivered, or nobody will ask for it.
    pub(crate) fn acknowledged_below(&self) -> u64 {
        let oldest = self.under_way.keys().next();
        let lingering = self.lingering.keys().next();
        oldest.into_iter().chain(lingering).min().copied().unwrap_or(self.next + 1)
    }

    /// How many requests are between the acknowledged ones and the newest.
    pub(crate) fn window(&self) -> u64 {
        self.next + 1 - self.acknowledged_below()
    }

    pub(crate) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Attempts that have been out for long are taken for lost; they may have taken effect.
    pub(crate) fn repeat_unanswered(&mut self, now: u64) {
        for call in self.under_way.values_mut() {
            let unanswered = call.sent_at.saturating_add(ATTEMPT_MICROS) <= now || buggify("an attempt is repeated early", 64);
            if call.command.is_some() && call.retry_at.is_none() && unanswered {
                call.ambiguous = true;
                call.retry_at = Some(now);
            }
        }
    }

    /// What waits to be sent again is to be sent now.
    pub(crate) fn hurry(&mut self, now: u64) {
        for call in self.under_way.values_mut().filter(|call| call.retry_at.is_some()) {
            (call.retry_at, call.retry_wait) = (Some(now), RETRY_FIRST_MICROS);
        }
    }

    /// The requests whose attempt is to be repeated now.
    pub(crate) fn due(&self, now: u64) -> Vec<u64> {
        let due = self.under_way.iter().filter(|(_, call)| call.retry_at.is_some_and(|at| at <= now));
        due.map(|(sequence, _)| *sequence).collect()
    }

    /// The requests whose callers wait no longer.
    pub(crate) fn past_deadline(&self, now: u64) -> Vec<u64> {
        let past = self.under_way.iter().filter(|(_, call)| call.deadline <= now && call.caller.is_some());
        past.map(|(sequence, _)| *sequence).collect()
    }

    /// Every request under way, in order, leaving none.
    pub(crate) fn drain(&mut self) -> Vec<(u64, Call)> {
        std::mem::take(&mut self.under_way).into_iter().collect()
    }
}
