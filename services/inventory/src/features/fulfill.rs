//! Fulfill: the picked stock leaves its locations, and the reservation is closed. Owns [`Fulfilled`].
//!
//! The picker decides what is picked; this decides only that it was there, and that what others reserved stays covered
//! once this reservation is released.

use std::collections::BTreeMap;

use onebox::{Apply, Feature, Outcome, Rows, Spec, Tx, refuse};

use crate::{
    Fulfill, FulfillRequest, FulfillResponse, Fulfilled, FulfilledItem, NotEnoughAvailable, NotEnoughOnHand, Pick, QuantityBelowOne,
    Reservation, RootHoldsNoStock, Tables, UnknownLocation, balance, product, reservation, tree,
};

impl Feature for Fulfill {
    fn run(tx: &mut Tx<'_>, ask: FulfillRequest) -> Outcome<FulfillResponse> {
        for (position, pick) in ask.picks.iter().enumerate() {
            require_sense(position, pick)?;
        }
        let held = reservation::open(tx, ask.reservation)?;
        for pick in &ask.picks {
            product::require(tx, pick.product)?;
            if !tree::exists(tx, pick.location) {
                return refuse(UnknownLocation { location: pick.location });
            }
        }
        let items = take(tx, &ask.picks)?;
        require_available(tx, &held, &ask.picks)?;
        tx.record(Fulfilled { reservation: ask.reservation, items });
        Ok(FulfillResponse {})
    }

    fn specs() -> Vec<Spec> {
        super::fulfill_specs::all()
    }
}

impl Apply for Fulfilled {
    fn apply(self, rows: &mut Rows<'_>) {
        // Released first: in between, the rule of availability then never asks for more than it does at the end.
        reservation::close(rows, self.reservation);
        for item in self.items {
            balance::add_on_hand(rows, item.location, item.product, -item.removed);
        }
    }
}

fn require_sense(position: usize, pick: &Pick) -> Outcome<()> {
    if pick.location == tree::ROOT {
        return refuse(RootHoldsNoStock { field: format!("picks[{position}].location") });
    }
    if pick.quantity < 1 {
        return refuse(QuantityBelowOne { field: format!("picks[{position}].quantity"), quantity: pick.quantity });
    }
    Ok(())
}

/// Takes one pick after the other out of what is on hand at its location.
fn take(tx: &Tx<'_>, picks: &[Pick]) -> Outcome<Vec<FulfilledItem>> {
    let mut left = BTreeMap::new();
    let take_one = |&Pick { product, location, quantity }: &Pick| {
        let on_hand = left.entry((location, product)).or_insert_with(|| balance::of(tx, location, product).on_hand);
        if *on_hand < quantity {
            return refuse(NotEnoughOnHand { location, product, on_hand: *on_hand, wanted: quantity.unsigned_abs() });
        }
        *on_hand -= quantity;
        Ok(FulfilledItem { product, location, removed: quantity, on_hand: *on_hand })
    };
    picks.iter().map(take_one).collect()
}

/// Refuses unless availability holds, everywhere a pick is felt, with the reservation released.
///
/// The sums cannot leave their range: picks are covered by what is on hand at their locations, the reservation by what
/// is reserved within its own.
fn require_available(tx: &Tx<'_>, held: &Reservation, picks: &[Pick]) -> Outcome<()> {
    let released = sums(tx, held.items.iter().map(|item| (item.location, item.product, item.quantity)));
    let picked = sums(tx, picks.iter().map(|pick| (pick.location, pick.product, pick.quantity)));
    for (&(location, product), &wanted) in &picked {
        let reserved_here = released.get(&(location, product)).copied().unwrap_or(0);
        let available = balance::available(&balance::of(tx, location, product)) + reserved_here;
        if available < wanted {
            return refuse(NotEnoughAvailable { location, product, available, wanted: wanted.unsigned_abs() });
        }
    }
    Ok(())
}

/// The quantities of (location, product, quantity), added up for each location and every ancestor.
fn sums(tables: &impl Tables, items: impl Iterator<Item = (u64, u64, i64)>) -> BTreeMap<(u64, u64), i64> {
    let mut sums = BTreeMap::new();
    for (location, product, quantity) in items {
        for ancestor in tree::known_path(tables, location) {
            *sums.entry((ancestor, product)).or_insert(0) += quantity;
        }
    }
    sums
}
