//! Facts from which specs begin, in short words, and the parts of messages that specs of several methods share.
//!
//! It knows nothing of what any request does: a fact is stated here, never computed.

use onebox::Fact;

use crate::{
    Cancelled, CancelledItem, Fulfilled, FulfilledItem, LocationAdded, LocationMoved, LocationNode, ProductAdded, ReserveLine,
    ReserveRequest, Reserved, ReservedItem, StockUpdated,
};

/// Two places, two products, and stock of both:
///
/// ```text
/// 0 the root
/// ├── 1 Hall
/// │   └── 2 Shelf   7 GPU, 3 CPU
/// └── 3 Yard        4 GPU
/// ```
///
/// The products are 4, the GPU, and 5, the CPU; the next id is 6.
pub(crate) fn warehouse() -> Vec<Fact> {
    vec![
        location(1, "Hall", 0),
        location(2, "Shelf", 1),
        location(3, "Yard", 0),
        product(4, "GPU"),
        product(5, "CPU"),
        stock(2, 4, 7, 7),
        stock(2, 5, 3, 3),
        stock(3, 4, 4, 4),
    ]
}

/// A location was added under a parent.
pub(crate) fn location(location: u64, name: &str, parent: u64) -> Fact {
    LocationAdded { location, name: name.to_owned(), parent }.into()
}

/// A location was moved from one parent to another.
pub(crate) fn moved(location: u64, old_parent: u64, new_parent: u64) -> Fact {
    LocationMoved { location, old_parent, new_parent }.into()
}

/// A product was added.
pub(crate) fn product(product: u64, sku: &str) -> Fact {
    ProductAdded { product, sku: sku.to_owned() }.into()
}

/// Stock was put in or taken out, after which so much was on hand.
pub(crate) fn stock(location: u64, product: u64, change: i64, on_hand: i64) -> Fact {
    StockUpdated { location, product, change, on_hand }.into()
}

/// Items of (product, quantity) were reserved in one location.
pub(crate) fn reserved(reservation: u64, code: &str, location: u64, items: &[(u64, i64)]) -> Fact {
    let item = |&(product, quantity): &(u64, i64)| ReservedItem { product, quantity, location };
    Reserved { reservation, code: code.to_owned(), items: items.iter().map(item).collect() }.into()
}

/// A reservation was fulfilled with items of (product, location, removed, on hand after it).
pub(crate) fn fulfilled(reservation: u64, items: &[(u64, u64, i64, i64)]) -> Fact {
    let item = |&(product, location, removed, on_hand): &(u64, u64, i64, i64)| FulfilledItem { product, location, removed, on_hand };
    Fulfilled { reservation, items: items.iter().map(item).collect() }.into()
}

/// A reservation was cancelled, which released items of (product, location, released).
pub(crate) fn cancelled(reservation: u64, items: &[(u64, u64, i64)]) -> Fact {
    let item = |&(product, location, released): &(u64, u64, i64)| CancelledItem { product, location, released };
    Cancelled { reservation, items: items.iter().map(item).collect() }.into()
}

/// A request to reserve lines of (sku, quantity).
pub(crate) fn reserve(code: &str, location: u64, lines: &[(&str, i64)]) -> ReserveRequest {
    let line = |&(sku, quantity): &(&str, i64)| ReserveLine { sku: sku.to_owned(), quantity };
    ReserveRequest { code: code.to_owned(), location, lines: lines.iter().map(line).collect(), ..ReserveRequest::default() }
}

/// A location as answers show it.
pub(crate) fn node(id: u64, name: &str, parent: u64, children: Vec<LocationNode>) -> LocationNode {
    LocationNode { id, name: name.to_owned(), parent, children }
}
