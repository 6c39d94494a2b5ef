//! UpdateStock: stock of one product is put into a location, or taken out. Owns [`StockUpdated`].
//!
//! Keeps true: nothing is on hand below zero, what leaves was not reserved, and the product's total over all locations
//! stays within 64 bits, and with it every total below.

use onebox::{Apply, Feature, Outcome, Rows, Spec, Tx, refuse};

use crate::{
    NotEnoughOnHand, OutOfRange, RootHoldsNoStock, StockUpdated, UnknownLocation, UpdateStock, UpdateStockRequest, UpdateStockResponse,
    availability, balance, product, tree,
};

impl Feature for UpdateStock {
    fn run(tx: &mut Tx<'_>, ask: UpdateStockRequest) -> Outcome<UpdateStockResponse> {
        let UpdateStockRequest { location, product, change } = ask;
        if location == tree::ROOT {
            return refuse(RootHoldsNoStock { field: "location".into() });
        }
        let path = tree::path(tx, location).ok_or(UnknownLocation { location })?;
        product::require(tx, product)?;
        let held = balance::of(tx, location, product).on_hand;
        if change == 0 {
            return Ok(UpdateStockResponse { on_hand: held });
        }
        if change > 0 {
            require_room(tx, product, change)?;
        }
        // On hand is part of the root's total, for which there is room; and taking away from it cannot leave 64 bits.
        let on_hand = held.checked_add(change).expect("on hand stays within 64 bits");
        if on_hand < 0 {
            return refuse(NotEnoughOnHand { location, product, on_hand: held, wanted: change.unsigned_abs() });
        }
        if change < 0 {
            availability::require(tx, &path, product, -change)?;
        }
        tx.record(StockUpdated { location, product, change, on_hand });
        Ok(UpdateStockResponse { on_hand })
    }

    fn specs() -> Vec<Spec> {
        super::update_stock_specs::all()
    }
}

impl Apply for StockUpdated {
    fn apply(self, rows: &mut Rows<'_>) {
        balance::add_on_hand(rows, self.location, self.product, self.change);
    }
}

/// Refuses unless the product's total over all locations can grow by `change`.
fn require_room(tx: &Tx<'_>, product: u64, change: i64) -> Outcome<()> {
    let total = balance::of(tx, tree::ROOT, product).on_hand_within;
    match total.checked_add(change) {
        Some(_) => Ok(()),
        None => refuse(OutOfRange { total: format!("the stock of product {product} over all locations") }),
    }
}
