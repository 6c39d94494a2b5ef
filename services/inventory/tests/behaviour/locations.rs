//! AddLocations, MoveLocation, ListLocations.

use inventory::*;
use onebox_service::Code;

use crate::warehouse::{Warehouse, facts};

fn new(name: &str, children: Vec<NewLocation>) -> NewLocation {
    NewLocation { name: name.into(), children }
}

fn add(parent: u64, locations: Vec<NewLocation>) -> AddLocationsRequest {
    AddLocationsRequest { parent, locations }
}

fn node(id: u64, name: &str, parent: u64, children: Vec<LocationNode>) -> LocationNode {
    LocationNode { id, name: name.into(), parent, children }
}

fn added(location: u64, name: &str, parent: u64) -> LocationAdded {
    LocationAdded { location, name: name.into(), parent }
}

fn go(location: u64, new_parent: u64) -> MoveLocationRequest {
    MoveLocationRequest { location, new_parent }
}

fn list(location: u64) -> ListLocationsRequest {
    ListLocationsRequest { location }
}

/// Hall 1 (Shelf 2 (Box 3)), Yard 4, and product 5.
fn two_places() -> Warehouse {
    let product = ProductAdded { product: 5, sku: "GPU".into() };
    Warehouse::given(facts![added(1, "Hall", 0), added(2, "Shelf", 1), added(3, "Box", 2), added(4, "Yard", 0), product])
}

fn stock(location: u64, change: i64) -> StockUpdated {
    StockUpdated { location, product: 5, change, on_hand: change }
}

fn reserved(reservation: u64, location: u64, quantity: i64) -> Reserved {
    let items = vec![ReservedItem { product: 5, quantity, location }];
    Reserved { reservation, code: format!("R{reservation}"), items }
}

#[test]
fn a_forest_is_added_parents_first_and_siblings_in_order() {
    let mut warehouse = Warehouse::given(facts![added(1, "Hall", 0)]);
    warehouse.accepts::<AddLocations>(
        add(1, vec![new("B", vec![new("x", vec![]), new("y", vec![])]), new("A", vec![new("x", vec![])])]),
        AddLocationsResponse {
            locations: vec![
                node(2, "B", 1, vec![node(3, "x", 2, vec![]), node(4, "y", 2, vec![])]),
                node(5, "A", 1, vec![node(6, "x", 5, vec![])]),
            ],
        },
        facts![added(2, "B", 1), added(3, "x", 2), added(4, "y", 2), added(5, "A", 1), added(6, "x", 5)],
    );
}

#[test]
fn empty_names_are_refused_before_the_parent_is_looked_up() {
    let mut warehouse = Warehouse::default();
    warehouse.refuses::<AddLocations>(add(9, vec![]), EmptyField { field: "locations".into() });
    let inner = EmptyField { field: "locations[1].children[0].name".into() };
    warehouse.refuses::<AddLocations>(add(9, vec![new("A", vec![]), new("B", vec![new("", vec![])])]), inner);
    warehouse.refuses::<AddLocations>(add(9, vec![new("A", vec![])]), UnknownLocation { location: 9 });
}

#[test]
fn a_name_is_unique_among_siblings_only() {
    let mut warehouse = Warehouse::given(facts![added(1, "Hall", 0)]);
    warehouse.refuses::<AddLocations>(add(0, vec![new("Hall", vec![])]), NameTaken { name: "Hall".into(), parent: 0 });
    let twice = vec![new("A", vec![new("x", vec![]), new("y", vec![]), new("x", vec![])])];
    let repeated = NameRepeated { field: "locations[0].children[2].name".into(), name: "x".into() };
    warehouse.refuses::<AddLocations>(add(1, twice), repeated);
    let tops = vec![new("A", vec![]), new("A", vec![]), new("Hall", vec![])];
    warehouse.refuses::<AddLocations>(add(0, tops), NameRepeated { field: "locations[1].name".into(), name: "A".into() });
    let same_below = AddLocationsResponse { locations: vec![node(2, "Hall", 1, vec![node(3, "Hall", 2, vec![])])] };
    let request = add(1, vec![new("Hall", vec![new("Hall", vec![])])]);
    warehouse.accepts::<AddLocations>(request, same_below, facts![added(2, "Hall", 1), added(3, "Hall", 2)]);
}

#[test]
fn children_are_listed_by_id_not_by_name() {
    let warehouse = Warehouse::given(facts![added(1, "Z", 0), added(2, "b", 1), added(3, "a", 1), added(4, "Y", 0)]);
    let z = node(1, "Z", 0, vec![node(2, "b", 1, vec![]), node(3, "a", 1, vec![])]);
    warehouse.answers::<ListLocations>(list(1), ListLocationsResponse { locations: vec![z.clone()] });
    warehouse.answers::<ListLocations>(list(0), ListLocationsResponse { locations: vec![z, node(4, "Y", 0, vec![])] });
    warehouse.refuses_query::<ListLocations>(list(9), UnknownLocation { location: 9 });
    Warehouse::default().answers::<ListLocations>(list(0), ListLocationsResponse { locations: vec![] });
}

#[test]
fn a_tree_too_deep_to_read_is_listed_in_parts() {
    let name = |id| format!("N{id}");
    let mut warehouse = Warehouse::given((1..=61).flat_map(|id| facts![added(id, &name(id), id - 1)]).collect());
    let depth = |answer: ListLocationsResponse| std::iter::successors(answer.locations.first(), |node| node.children.first()).count();
    assert_eq!(depth(warehouse.query::<ListLocations>(&list(2)).unwrap()), 60);
    warehouse.refuses_query::<ListLocations>(list(1), ListingTooDeep { location: 1, levels_max: 60 });
    warehouse.refuses_query::<ListLocations>(list(0), ListingTooDeep { location: 0, levels_max: 60 });
    warehouse.execute::<MoveLocation>(&go(61, 0)).unwrap();
    assert_eq!(depth(warehouse.query::<ListLocations>(&list(0)).unwrap()), 60);
}

#[test]
fn a_location_moves_with_all_in_it() {
    let mut warehouse = two_places();
    warehouse.accepts::<MoveLocation>(
        go(2, 4),
        MoveLocationResponse {},
        facts![LocationMoved { location: 2, old_parent: 1, new_parent: 4 }],
    );
    let yard = node(4, "Yard", 0, vec![node(2, "Shelf", 4, vec![node(3, "Box", 2, vec![])])]);
    warehouse.answers::<ListLocations>(list(0), ListLocationsResponse { locations: vec![node(1, "Hall", 0, vec![]), yard] });
    warehouse.replays();
}

#[test]
fn a_move_to_where_it_is_changes_nothing() {
    let mut warehouse = two_places();
    warehouse.accepts::<MoveLocation>(go(2, 1), MoveLocationResponse {}, vec![]);
    warehouse.accepts::<MoveLocation>(go(4, 0), MoveLocationResponse {}, vec![]);
}

#[test]
fn a_move_that_would_break_the_tree_is_refused() {
    let mut warehouse = two_places();
    warehouse.refuses::<MoveLocation>(go(9, 8), UnknownLocation { location: 9 });
    warehouse.refuses::<MoveLocation>(go(1, 8), UnknownLocation { location: 8 });
    warehouse.refuses::<MoveLocation>(go(0, 8), UnknownLocation { location: 8 });
    warehouse.refuses::<MoveLocation>(go(0, 1), RootCannotMove {});
    warehouse.refuses::<MoveLocation>(go(0, 0), RootCannotMove {});
    warehouse.refuses::<MoveLocation>(go(1, 1), MoveIntoItself { location: 1, new_parent: 1 });
    warehouse.refuses::<MoveLocation>(go(1, 3), MoveIntoItself { location: 1, new_parent: 3 });
}

#[test]
fn a_taken_name_is_refused_before_the_tree_is_considered() {
    let mut warehouse = Warehouse::given(facts![added(1, "A", 0), added(2, "A", 1), added(3, "B", 0), added(4, "A", 3)]);
    warehouse.refuses::<MoveLocation>(go(1, 3), NameTaken { name: "A".into(), parent: 3 });
    warehouse.refuses::<MoveLocation>(go(1, 1), NameTaken { name: "A".into(), parent: 1 });
}

#[test]
fn a_move_takes_stock_and_reservations_along() {
    let mut warehouse = two_places();
    let set_up = UpdateStockRequest { location: 3, product: 5, change: 7 };
    warehouse.execute::<UpdateStock>(&set_up).unwrap();
    let hold = |code: &str, location, quantity| ReserveRequest {
        code: code.into(),
        location,
        lines: vec![ReserveLine { sku: "GPU".into(), quantity }],
        ..ReserveRequest::default()
    };
    let reservation = warehouse.execute::<Reserve>(&hold("R", 2, 3)).unwrap().0.reservation;
    warehouse.execute::<MoveLocation>(&go(2, 4)).unwrap();
    let item = |available| GetStockResponse { items: vec![StockItem { product: 5, on_hand: 7, available }] };
    warehouse.answers::<GetStock>(GetStockRequest { location: 1 }, GetStockResponse { items: vec![] });
    warehouse.answers::<GetStock>(GetStockRequest { location: 4 }, item(4));
    warehouse.answers::<GetStock>(GetStockRequest { location: 0 }, item(4));
    warehouse.execute::<Cancel>(&CancelRequest { reservation }).unwrap();
    warehouse.answers::<GetStock>(GetStockRequest { location: 4 }, item(7));
    warehouse.replays();
}

#[test]
fn a_move_may_not_take_away_what_is_reserved_in_a_place_left_behind() {
    let mut warehouse = two_places();
    warehouse.happened(facts![stock(3, 5), stock(1, 1), reserved(6, 1, 4), reserved(7, 3, 2)]);
    let short = NotEnoughAvailable { location: 1, product: 5, available: 0, wanted: 3 };
    warehouse.refuses::<MoveLocation>(go(3, 4), short);
    warehouse.refuses::<MoveLocation>(go(2, 0), short);
    // The hall itself loses nothing to a move within it.
    warehouse.accepts::<MoveLocation>(
        go(3, 1),
        MoveLocationResponse {},
        facts![LocationMoved { location: 3, old_parent: 2, new_parent: 1 }],
    );
}

#[test]
fn listing_is_bounded_by_the_budget() {
    let warehouse = Warehouse::given((1..=200).flat_map(|id| facts![added(id, &format!("N{id}"), 0)]).collect());
    let refusal = warehouse.query_within::<ListLocations>(&list(0), 100).unwrap_err();
    assert_eq!(refusal.code, Code::ResourceExhausted);
}
