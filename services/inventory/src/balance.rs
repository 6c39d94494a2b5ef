//! The totals of one product in one location: on hand there, on hand within its subtree, reserved within its subtree.
//!
//! Keeps true: every location, the root included, holds the sums over its subtree; a row is there exactly where stock
//! is on hand within; and `0 <= reserved_within <= on_hand_within`, which is the rule of availability itself. The last
//! is asserted where it is written: a feature must have refused before an event says otherwise.

use onebox::Rows;

use crate::{Balance, Tables, tree};

/// The balance of `product` in `location`; zeros where nothing is on hand.
pub(crate) fn of(tables: &impl Tables, location: u64, product: u64) -> Balance {
    let stored = tables.balances().get((location, product));
    stored.unwrap_or_else(|| Balance { location, product, ..Balance::default() })
}

/// What is on hand within a location and not reserved there. It says nothing of the ancestors.
pub(crate) fn available(balance: &Balance) -> i64 {
    balance.on_hand_within - balance.reserved_within
}

/// Adds `change` to what is on hand at `location`, and so within it and every ancestor.
pub(crate) fn add_on_hand(rows: &mut Rows<'_>, location: u64, product: u64, change: i64) {
    shift(rows, location, product, Shift { on_hand: change, on_hand_within: change, reserved_within: 0 });
    for &ancestor in &tree::known_path(rows, location)[1..] {
        shift(rows, ancestor, product, Shift { on_hand: 0, on_hand_within: change, reserved_within: 0 });
    }
}

/// Adds `change` to what is reserved within `location` and every ancestor.
pub(crate) fn add_reserved(rows: &mut Rows<'_>, location: u64, product: u64, change: i64) {
    for ancestor in tree::known_path(rows, location) {
        shift(rows, ancestor, product, Shift { on_hand: 0, on_hand_within: 0, reserved_within: change });
    }
}

/// Adds the totals of a location that has come to lie within `ancestor`.
pub(crate) fn arrive(rows: &mut Rows<'_>, ancestor: u64, moved: &Balance) {
    let shifted = Shift { on_hand: 0, on_hand_within: moved.on_hand_within, reserved_within: moved.reserved_within };
    shift(rows, ancestor, moved.product, shifted);
}

/// Takes away the totals of a location that no longer lies within `ancestor`.
pub(crate) fn leave(rows: &mut Rows<'_>, ancestor: u64, moved: &Balance) {
    let shifted = Shift { on_hand: 0, on_hand_within: -moved.on_hand_within, reserved_within: -moved.reserved_within };
    shift(rows, ancestor, moved.product, shifted);
}

/// What is added to each total; below zero takes away.
struct Shift {
    on_hand: i64,
    on_hand_within: i64,
    reserved_within: i64,
}

fn shift(rows: &mut Rows<'_>, location: u64, product: u64, by: Shift) {
    let old = of(rows, location, product);
    let add = |total: i64, change: i64| total.checked_add(change).expect("a total stays within 64 bits: features refuse OutOfRange");
    let new = Balance {
        location,
        product,
        on_hand: add(old.on_hand, by.on_hand),
        on_hand_within: add(old.on_hand_within, by.on_hand_within),
        reserved_within: add(old.reserved_within, by.reserved_within),
    };
    assert!(new.on_hand >= 0, "on hand is below zero: {new:?}");
    assert!(new.on_hand <= new.on_hand_within, "more is on hand at the location than within it: {new:?}");
    assert!(new.reserved_within >= 0, "reserved is below zero: {new:?}");
    assert!(new.reserved_within <= new.on_hand_within, "more is reserved than is on hand: {new:?}");
    if new.on_hand_within == 0 {
        rows.delete::<Balance>(&(location, product));
    } else {
        rows.put(&new);
    }
}
