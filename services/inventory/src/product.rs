//! Whether a product is there.

use onebox::Outcome;

use crate::{Tables, UnknownProduct};

/// Refuses unless there is such a product.
pub(crate) fn require(tables: &impl Tables, product: u64) -> Outcome<()> {
    tables.products().get(product).map(|_| ()).ok_or_else(|| UnknownProduct { product }.into())
}
