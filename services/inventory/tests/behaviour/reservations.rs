//! Reserve, Fulfill, Cancel.

use inventory::*;

use crate::warehouse::{Warehouse, facts};

fn ask(code: &str, location: u64, lines: &[(&str, i64)]) -> ReserveRequest {
    let line = |&(sku, quantity): &(&str, i64)| ReserveLine { sku: sku.into(), quantity };
    ReserveRequest { code: code.into(), location, lines: lines.iter().map(line).collect(), ..ReserveRequest::default() }
}

fn reserved(reservation: u64, code: &str, location: u64, items: &[(u64, i64)]) -> Reserved {
    let item = |&(product, quantity): &(u64, i64)| ReservedItem { product, quantity, location };
    Reserved { reservation, code: code.into(), items: items.iter().map(item).collect() }
}

/// Picks of (product, location, quantity).
fn fulfill(reservation: u64, picks: &[(u64, u64, i64)]) -> FulfillRequest {
    let pick = |&(product, location, quantity): &(u64, u64, i64)| Pick { product, location, quantity };
    FulfillRequest { reservation, picks: picks.iter().map(pick).collect() }
}

/// Items of (product, location, removed, on hand).
fn fulfilled(reservation: u64, items: &[(u64, u64, i64, i64)]) -> Fulfilled {
    let item = |&(product, location, removed, on_hand): &(u64, u64, i64, i64)| FulfilledItem { product, location, removed, on_hand };
    Fulfilled { reservation, items: items.iter().map(item).collect() }
}

fn cancel(reservation: u64) -> CancelRequest {
    CancelRequest { reservation }
}

fn short(location: u64, product: u64, available: i64, wanted: u64) -> NotEnoughAvailable {
    NotEnoughAvailable { location, product, available, wanted }
}

fn stock(location: u64) -> GetStockRequest {
    GetStockRequest { location }
}

fn items(items: &[(u64, i64, i64)]) -> GetStockResponse {
    let item = |&(product, on_hand, available): &(u64, i64, i64)| StockItem { product, on_hand, available };
    GetStockResponse { items: items.iter().map(item).collect() }
}

/// Hall 1 (Shelf 2 with 7 GPU and 3 CPU), Yard 3 with 4 GPU; GPU is product 4, CPU is product 5.
fn stocked() -> Warehouse {
    let location = |location, name: &str, parent| LocationAdded { location, name: name.into(), parent };
    let product = |product, sku: &str| ProductAdded { product, sku: sku.into() };
    let stock = |location, product, change| StockUpdated { location, product, change, on_hand: change };
    let mut warehouse = Warehouse::given(facts![location(1, "Hall", 0), location(2, "Shelf", 1), location(3, "Yard", 0)]);
    warehouse.happened(facts![product(4, "GPU"), product(5, "CPU"), stock(2, 4, 7), stock(2, 5, 3), stock(3, 4, 4)]);
    warehouse
}

#[test]
fn lines_of_one_sku_are_added_together() {
    let mut warehouse = stocked();
    let request = ask("R", 1, &[("CPU", 1), ("GPU", 2), ("CPU", 2), ("GPU", 5)]);
    let facts = facts![reserved(6, "R", 1, &[(5, 3), (4, 7)])];
    warehouse.accepts::<Reserve>(request, ReserveResponse { reservation: 6 }, facts);
    warehouse.answers::<GetStock>(stock(1), items(&[(4, 7, 0), (5, 3, 0)]));
    warehouse.answers::<GetStock>(stock(2), items(&[(4, 7, 7), (5, 3, 3)]));
    warehouse.replays();
}

#[test]
fn a_senseless_reservation_is_refused_first() {
    let mut warehouse = stocked();
    warehouse.refuses::<Reserve>(ask("", 9, &[]), EmptyField { field: "code".into() });
    warehouse.refuses::<Reserve>(ask("R", 9, &[]), EmptyField { field: "lines".into() });
    warehouse.refuses::<Reserve>(ask("R", 9, &[("X", 1), ("", 0)]), EmptyField { field: "lines[1].sku".into() });
    for quantity in [0, -1, i64::MIN] {
        let refusal = QuantityBelowOne { field: "lines[1].quantity".into(), quantity };
        warehouse.refuses::<Reserve>(ask("R", 9, &[("X", 1), ("X", quantity)]), refusal);
    }
}

#[test]
fn unknown_comes_before_taken_before_too_much() {
    let mut warehouse = stocked();
    warehouse.happened(facts![reserved(6, "R", 1, &[(4, 1)])]);
    warehouse.refuses::<Reserve>(ask("R", 9, &[("X", 99)]), UnknownLocation { location: 9 });
    warehouse.refuses::<Reserve>(ask("R", 4, &[("GPU", 99)]), UnknownLocation { location: 4 });
    warehouse.refuses::<Reserve>(ask("R", 1, &[("GPU", 99), ("X", 99)]), UnknownSku { sku: "X".into() });
    warehouse.refuses::<Reserve>(ask("R", 1, &[("GPU", 99)]), CodeTaken { code: "R".into() });
    warehouse.refuses::<Reserve>(ask("S", 1, &[("GPU", 99)]), short(1, 4, 6, 99));
}

#[test]
fn what_can_be_reserved_is_the_least_of_a_place_and_those_around_it() {
    let mut warehouse = stocked();
    warehouse.refuses::<Reserve>(ask("R", 1, &[("GPU", 8)]), short(1, 4, 7, 8));
    warehouse.happened(facts![reserved(6, "A", 0, &[(4, 6)])]);
    warehouse.refuses::<Reserve>(ask("R", 1, &[("GPU", 6)]), short(0, 4, 5, 6));
    warehouse.happened(facts![reserved(7, "B", 1, &[(4, 5)])]);
    warehouse.refuses::<Reserve>(ask("R", 2, &[("CPU", 1), ("GPU", 1)]), short(0, 4, 0, 1));
    warehouse.refuses::<Reserve>(ask("R", 2, &[("CPU", 2), ("CPU", 2)]), short(2, 5, 3, 4));
    let facts = facts![reserved(8, "R", 0, &[(5, 3)])];
    warehouse.accepts::<Reserve>(ask("R", 0, &[("CPU", 3)]), ReserveResponse { reservation: 8 }, facts);
}

#[test]
fn lines_that_do_not_add_up_are_out_of_range() {
    let mut warehouse = stocked();
    let total = "the quantity of product 4, all lines added together,".into();
    warehouse.refuses::<Reserve>(ask("R", 1, &[("GPU", i64::MAX), ("GPU", 1)]), OutOfRange { total });
    warehouse.refuses::<Reserve>(ask("R", 1, &[("GPU", i64::MAX)]), short(1, 4, 7, i64::MAX.unsigned_abs()));
}

#[test]
fn cancelling_releases_but_keeps_the_code() {
    let mut warehouse = stocked();
    warehouse.happened(facts![reserved(6, "R", 1, &[(5, 3), (4, 7)])]);
    let item = |product, released| CancelledItem { product, location: 1, released };
    let facts = facts![Cancelled { reservation: 6, items: vec![item(5, 3), item(4, 7)] }];
    warehouse.accepts::<Cancel>(cancel(6), CancelResponse {}, facts);
    warehouse.answers::<GetStock>(stock(1), items(&[(4, 7, 7), (5, 3, 3)]));
    warehouse.refuses::<Cancel>(cancel(6), UnknownReservation { reservation: 6 });
    warehouse.refuses::<Cancel>(cancel(1), UnknownReservation { reservation: 1 });
    warehouse.refuses::<Cancel>(cancel(0), UnknownReservation { reservation: 0 });
    warehouse.refuses::<Fulfill>(fulfill(6, &[]), UnknownReservation { reservation: 6 });
    warehouse.refuses::<Reserve>(ask("R", 1, &[("GPU", 1)]), CodeTaken { code: "R".into() });
    warehouse.replays();
}

#[test]
fn fulfilling_takes_one_pick_after_the_other() {
    let mut warehouse = stocked();
    warehouse.happened(facts![reserved(6, "R", 1, &[(4, 5)])]);
    let request = fulfill(6, &[(4, 2, 2), (5, 2, 1), (4, 2, 3)]);
    let facts = facts![fulfilled(6, &[(4, 2, 2, 5), (5, 2, 1, 2), (4, 2, 3, 2)])];
    warehouse.accepts::<Fulfill>(request, FulfillResponse {}, facts);
    warehouse.answers::<GetStock>(stock(1), items(&[(4, 2, 2), (5, 2, 2)]));
    warehouse.refuses::<Fulfill>(fulfill(6, &[]), UnknownReservation { reservation: 6 });
    warehouse.refuses::<Reserve>(ask("R", 1, &[("GPU", 1)]), CodeTaken { code: "R".into() });
    warehouse.replays();
}

#[test]
fn fulfilling_with_no_picks_takes_nothing() {
    let mut warehouse = stocked();
    warehouse.happened(facts![reserved(6, "R", 1, &[(4, 5)])]);
    warehouse.accepts::<Fulfill>(fulfill(6, &[]), FulfillResponse {}, facts![fulfilled(6, &[])]);
    warehouse.answers::<GetStock>(stock(1), items(&[(4, 7, 7), (5, 3, 3)]));
}

#[test]
fn the_picker_may_take_everything_that_is_there() {
    let mut warehouse = stocked();
    warehouse.happened(facts![reserved(6, "R", 1, &[(4, 5)])]);
    let facts = facts![fulfilled(6, &[(4, 2, 7, 0), (4, 3, 4, 0), (5, 2, 3, 0)])];
    warehouse.accepts::<Fulfill>(fulfill(6, &[(4, 2, 7), (4, 3, 4), (5, 2, 3)]), FulfillResponse {}, facts);
    warehouse.answers::<GetStock>(stock(0), items(&[]));
    warehouse.replays();
}

#[test]
fn senseless_and_unknown_picks_are_refused() {
    let mut warehouse = stocked();
    warehouse.happened(facts![reserved(6, "R", 1, &[(4, 5)])]);
    let root = RootHoldsNoStock { field: "picks[1].location".into() };
    warehouse.refuses::<Fulfill>(fulfill(9, &[(9, 9, 1), (9, 0, 1)]), root);
    for quantity in [0, -1, i64::MIN] {
        let refusal = QuantityBelowOne { field: "picks[0].quantity".into(), quantity };
        warehouse.refuses::<Fulfill>(fulfill(9, &[(9, 9, quantity)]), refusal);
    }
    warehouse.refuses::<Fulfill>(fulfill(9, &[(9, 9, 1)]), UnknownReservation { reservation: 9 });
    warehouse.refuses::<Fulfill>(fulfill(6, &[(4, 2, 99), (9, 9, 1)]), UnknownProduct { product: 9 });
    warehouse.refuses::<Fulfill>(fulfill(6, &[(4, 2, 99), (4, 9, 1)]), UnknownLocation { location: 9 });
}

#[test]
fn picks_that_are_not_on_hand_are_refused() {
    let mut warehouse = stocked();
    warehouse.happened(facts![reserved(6, "R", 1, &[(4, 5)])]);
    let missing = NotEnoughOnHand { location: 2, product: 4, on_hand: 1, wanted: 2 };
    warehouse.refuses::<Fulfill>(fulfill(6, &[(4, 2, 6), (4, 2, 2)]), missing);
    let missing = NotEnoughOnHand { location: 1, product: 4, on_hand: 0, wanted: 1 };
    warehouse.refuses::<Fulfill>(fulfill(6, &[(4, 1, 1)]), missing);
}

#[test]
fn picks_leave_what_others_reserved() {
    let mut warehouse = stocked();
    warehouse.happened(facts![reserved(6, "R", 1, &[(4, 3)]), reserved(7, "S", 1, &[(4, 2)]), reserved(8, "T", 0, &[(4, 5)])]);
    // With R released, the hall has 5 to spare and the root 4.
    warehouse.refuses::<Fulfill>(fulfill(6, &[(4, 2, 5)]), short(0, 4, 4, 5));
    warehouse.refuses::<Fulfill>(fulfill(6, &[(4, 2, 2), (4, 3, 3)]), short(0, 4, 4, 5));
    warehouse.happened(facts![StockUpdated { location: 3, product: 4, change: 9, on_hand: 13 }]);
    warehouse.refuses::<Fulfill>(fulfill(6, &[(4, 2, 6)]), short(1, 4, 5, 6));
    warehouse.accepts::<Fulfill>(fulfill(6, &[(4, 2, 5)]), FulfillResponse {}, facts![fulfilled(6, &[(4, 2, 5, 2)])]);
    warehouse.answers::<GetStock>(stock(1), items(&[(4, 2, 0), (5, 3, 3)]));
    warehouse.answers::<GetStock>(stock(0), items(&[(4, 15, 8), (5, 3, 3)]));
    warehouse.replays();
}

#[test]
fn tags_are_not_stored() {
    let mut warehouse = stocked();
    let mut request = ask("R", 1, &[("GPU", 1)]);
    request.tags.insert("colour".into(), "red".into());
    let facts = facts![reserved(6, "R", 1, &[(4, 1)])];
    warehouse.accepts::<Reserve>(request, ReserveResponse { reservation: 6 }, facts);
}
