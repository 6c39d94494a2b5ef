//! What a client was told to be refused never takes effect, also not by an earlier attempt that comes late.

use std::collections::BTreeSet;

use onebox_service::attempt::RequestId;

use super::Breach;
use super::requests_take_effect_once::Effects;

const PROMISE: &str = "refusals change nothing";

#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeSet<(u64, u64)>);

impl Refusals {
    /// A client was told that its request changed nothing.
    pub(crate) fn told(&mut self, id: RequestId, effects: &Effects) -> Result<(), Breach> {
        self.0.insert((id.session.0, id.sequence.0));
        match effects.of(id, None) {
            None => Ok(()),
            Some(_) => Err((PROMISE, format!("request {id} had taken effect when its client was told that it was refused"))),
        }
    }

    /// A request took effect.
    pub(crate) fn happened(&self, session: u64, sequence: u64) -> Result<(), Breach> {
        if self.0.contains(&(session, sequence)) {
            let words = format!("request {sequence} of session {session} took effect after its client was told that it was refused");
            return Err((PROMISE, words));
        }
        Ok(())
    }
}
