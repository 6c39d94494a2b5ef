//! The rule of availability, asked before something is reserved in a location or leaves it.
//!
//! For every location, what is on hand in its subtree covers what is reserved in its subtree. So what may be reserved
//! in a location, or be taken out of it, is the least that it and its ancestors have available.

use onebox::{Outcome, refuse};

use crate::{NotEnoughAvailable, Tables, balance};

/// Refuses unless `wanted` (at least 0) of `product` is available in every location of `path`.
/// The refusal names the location with the least.
pub(crate) fn require(tables: &impl Tables, path: &[u64], product: u64, wanted: i64) -> Outcome<()> {
    let available = |&location: &u64| (balance::available(&balance::of(tables, location, product)), location);
    let least = path.iter().map(available).min_by_key(|&(available, _)| available);
    match least {
        Some((available, location)) if available < wanted => {
            refuse(NotEnoughAvailable { location, product, available, wanted: wanted.unsigned_abs() })
        }
        Some(_) | None => Ok(()),
    }
}
