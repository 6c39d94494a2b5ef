//! UpdateStock, GetStock.

use inventory::*;

use crate::warehouse::{Warehouse, facts};

fn update(location: u64, product: u64, change: i64) -> UpdateStockRequest {
    UpdateStockRequest { location, product, change }
}

fn updated(location: u64, product: u64, change: i64, on_hand: i64) -> StockUpdated {
    StockUpdated { location, product, change, on_hand }
}

fn get(location: u64) -> GetStockRequest {
    GetStockRequest { location }
}

fn items(items: &[(u64, i64, i64)]) -> GetStockResponse {
    let item = |&(product, on_hand, available): &(u64, i64, i64)| StockItem { product, on_hand, available };
    GetStockResponse { items: items.iter().map(item).collect() }
}

/// Hall 1 (Shelf 2), Yard 3, products 4 and 5.
fn empty_hall() -> Warehouse {
    let location = |location, name: &str, parent| LocationAdded { location, name: name.into(), parent };
    let product = |product, sku: &str| ProductAdded { product, sku: sku.into() };
    Warehouse::given(facts![location(1, "Hall", 0), location(2, "Shelf", 1), location(3, "Yard", 0), product(4, "GPU"), product(5, "CPU")])
}

fn reserved(reservation: u64, location: u64, product: u64, quantity: i64) -> Reserved {
    Reserved { reservation, code: format!("R{reservation}"), items: vec![ReservedItem { product, quantity, location }] }
}

#[test]
fn stock_goes_in_and_out() {
    let mut warehouse = empty_hall();
    let on_hand = |on_hand| UpdateStockResponse { on_hand };
    warehouse.accepts::<UpdateStock>(update(2, 4, 7), on_hand(7), facts![updated(2, 4, 7, 7)]);
    warehouse.accepts::<UpdateStock>(update(1, 4, 1), on_hand(1), facts![updated(1, 4, 1, 1)]);
    warehouse.accepts::<UpdateStock>(update(2, 4, -5), on_hand(2), facts![updated(2, 4, -5, 2)]);
    warehouse.answers::<GetStock>(get(1), items(&[(4, 3, 3)]));
    warehouse.accepts::<UpdateStock>(update(2, 4, 0), on_hand(2), vec![]);
    warehouse.accepts::<UpdateStock>(update(2, 5, 0), on_hand(0), vec![]);
    warehouse.accepts::<UpdateStock>(update(2, 4, -2), on_hand(0), facts![updated(2, 4, -2, 0)]);
    warehouse.replays();
}

#[test]
fn stock_is_listed_by_product_over_the_subtree() {
    let mut warehouse = empty_hall();
    warehouse.happened(facts![updated(2, 5, 7, 7), updated(1, 4, 1, 1), updated(3, 4, 2, 2), reserved(6, 1, 5, 3)]);
    warehouse.answers::<GetStock>(get(0), items(&[(4, 3, 3), (5, 7, 4)]));
    warehouse.answers::<GetStock>(get(1), items(&[(4, 1, 1), (5, 7, 4)]));
    warehouse.answers::<GetStock>(get(2), items(&[(5, 7, 7)]));
    warehouse.answers::<GetStock>(get(3), items(&[(4, 2, 2)]));
    warehouse.happened(facts![updated(3, 4, -2, 0)]);
    warehouse.answers::<GetStock>(get(3), items(&[]));
    warehouse.refuses_query::<GetStock>(get(9), UnknownLocation { location: 9 });
}

#[test]
fn bad_places_and_products_are_refused() {
    let mut warehouse = empty_hall();
    warehouse.refuses::<UpdateStock>(update(0, 9, 1), RootHoldsNoStock { field: "location".into() });
    warehouse.refuses::<UpdateStock>(update(9, 9, 0), UnknownLocation { location: 9 });
    warehouse.refuses::<UpdateStock>(update(1, 9, 0), UnknownProduct { product: 9 });
    warehouse.refuses::<UpdateStock>(update(4, 4, 1), UnknownLocation { location: 4 });
}

#[test]
fn what_is_not_there_cannot_be_taken() {
    let mut warehouse = empty_hall();
    warehouse.happened(facts![updated(2, 4, 7, 7)]);
    let short = |location, on_hand, wanted| NotEnoughOnHand { location, product: 4, on_hand, wanted };
    warehouse.refuses::<UpdateStock>(update(2, 4, -8), short(2, 7, 8));
    warehouse.refuses::<UpdateStock>(update(1, 4, -1), short(1, 0, 1));
    warehouse.refuses::<UpdateStock>(update(2, 4, i64::MIN), short(2, 7, 1 << 63));
}

#[test]
fn what_is_reserved_anywhere_above_cannot_be_taken() {
    let mut warehouse = empty_hall();
    warehouse.happened(facts![updated(2, 4, 7, 7), updated(3, 4, 3, 3), reserved(6, 1, 4, 5), reserved(7, 0, 4, 5)]);
    let short = NotEnoughAvailable { location: 0, product: 4, available: 0, wanted: 1 };
    warehouse.refuses::<UpdateStock>(update(2, 4, -1), short);
    warehouse.refuses::<UpdateStock>(update(3, 4, -1), short);
    warehouse.happened(facts![updated(3, 4, 5, 8)]);
    warehouse.refuses::<UpdateStock>(update(2, 4, -3), NotEnoughAvailable { location: 1, product: 4, available: 2, wanted: 3 });
    warehouse.accepts::<UpdateStock>(update(2, 4, -2), UpdateStockResponse { on_hand: 5 }, facts![updated(2, 4, -2, 5)]);
}

#[test]
fn no_total_leaves_its_range() {
    let mut warehouse = empty_hall();
    warehouse.happened(facts![updated(2, 4, i64::MAX, i64::MAX)]);
    let full = OutOfRange { total: "the stock of product 4 over all locations".into() };
    warehouse.refuses::<UpdateStock>(update(2, 4, 1), full.clone());
    warehouse.refuses::<UpdateStock>(update(3, 4, 1), full);
    warehouse.accepts::<UpdateStock>(update(3, 5, 1), UpdateStockResponse { on_hand: 1 }, facts![updated(3, 5, 1, 1)]);
    warehouse.accepts::<UpdateStock>(update(2, 4, -i64::MAX), UpdateStockResponse { on_hand: 0 }, facts![updated(2, 4, -i64::MAX, 0)]);
}
