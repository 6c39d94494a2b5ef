//! A linearizable read sees everything of which anybody was told before it was asked, on whatever replica; a read of at least a position
//! sees that. Positions say so for every service, whatever it reads.

use onebox_store::LogIndex;

use super::Breach;

/// A client was answered from the state at a position.
pub(crate) fn answered(reached: LogIndex, at: LogIndex) -> Result<(), Breach> {
    if at >= reached {
        return Ok(());
    }
    Err(("reads go forward", format!("an answer is from the state at entry {at}, and was to be from entry {reached} or later")))
}
