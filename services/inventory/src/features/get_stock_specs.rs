//! What GetStock answers, example by example.

use onebox::{Spec, spec};

use crate::given::{cancelled, fulfilled, location, moved, product, reserve, reserved, stock, warehouse};
use crate::{GetStockRequest, GetStockResponse, StockItem, UnknownLocation};

pub(crate) fn all() -> Vec<Spec> {
    [totals(), products(), available(), after_reservations(), after_moves(), unknown_locations()].concat()
}

fn get(location: u64) -> GetStockRequest {
    GetStockRequest { location }
}

/// Items of (product, on hand, available).
fn items(items: &[(u64, i64, i64)]) -> GetStockResponse {
    let item = |&(product, on_hand, available): &(u64, i64, i64)| StockItem { product, on_hand, available };
    GetStockResponse { items: items.iter().map(item).collect() }
}

fn totals() -> Vec<Spec> {
    vec![
        spec("a location's stock is all that lies in its subtree").given(warehouse()).when(get(1)).returns(items(&[(4, 7, 7), (5, 3, 3)])),
        spec("a location's own stock is added to what lies further down in it")
            .given(warehouse())
            .given([stock(1, 4, 2, 2)])
            .when(get(1))
            .returns(items(&[(4, 9, 9), (5, 3, 3)])),
        spec("a location's stock is no stock of what lies in it")
            .given(warehouse())
            .given([stock(1, 4, 2, 2)])
            .when(get(2))
            .returns(items(&[(4, 7, 7), (5, 3, 3)])),
        spec("the root has the stock of all locations").given(warehouse()).when(get(0)).returns(items(&[(4, 11, 11), (5, 3, 3)])),
        spec("a reservation is felt in the stock as soon as its request is answered")
            .given(warehouse())
            .given_requests([reserve("R", 1, &[("GPU", 2)])])
            .when(get(1))
            .returns(items(&[(4, 7, 5), (5, 3, 3)])),
    ]
}

fn products() -> Vec<Spec> {
    vec![
        spec("only products with stock on hand are listed").given(warehouse()).when(get(3)).returns(items(&[(4, 4, 4)])),
        spec("a location without stock lists no product")
            .given([location(1, "Hall", 0), product(2, "GPU")])
            .when(get(1))
            .returns(items(&[])),
        spec("the root of a new tenant has no stock").tenant("acme").when(get(0)).returns(items(&[])),
        spec("a product of which the last piece was taken out is not listed any more")
            .given(warehouse())
            .given([stock(3, 4, -4, 0)])
            .when(get(3))
            .returns(items(&[])),
        spec("products are listed by id, whichever came in first and whatever its sku")
            .given([location(1, "Hall", 0), product(2, "Z"), product(3, "A"), stock(1, 3, 5, 5), stock(1, 2, 6, 6)])
            .when(get(1))
            .returns(items(&[(2, 6, 6), (3, 5, 5)])),
        spec("product ids are listed in the order of numbers and not of digits")
            .given([location(1, "Hall", 0), product(9, "A"), product(10, "B"), product(300, "C")])
            .given([stock(1, 300, 1, 1), stock(1, 10, 1, 1), stock(1, 9, 1, 1)])
            .when(get(1))
            .returns(items(&[(9, 1, 1), (10, 1, 1), (300, 1, 1)])),
    ]
}

fn available() -> Vec<Spec> {
    vec![
        spec("what is reserved in a location is on hand there and not available")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(5, 2)])])
            .when(get(1))
            .returns(items(&[(4, 7, 7), (5, 3, 1)])),
        spec("what is reserved in a hall is not available in the root either")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(5, 2)])])
            .when(get(0))
            .returns(items(&[(4, 11, 11), (5, 3, 1)])),
        spec("what is reserved on a shelf is not available in the hall around it")
            .given(warehouse())
            .given([reserved(6, "R", 2, &[(4, 5)])])
            .when(get(1))
            .returns(items(&[(4, 7, 2), (5, 3, 3)])),
        spec("a reservation in a hall does not say which shelf it will be taken from")
            .about(concat!(
                "The number is the location's own: on hand in its subtree less what is reserved in its subtree. What can be\n",
                "reserved on the shelf is less: the least that it and all around it have available, here 1.\n",
                "\n",
                "```\n",
                "0 the root       3 CPU on hand, 2 reserved, 1 available\n",
                "└── 1 Hall       3 CPU on hand, 2 reserved, 1 available\n",
                "    └── 2 Shelf  3 CPU on hand, 0 reserved, 3 available\n",
                "```\n",
            ))
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(5, 2)])])
            .when(get(2))
            .returns(items(&[(4, 7, 7), (5, 3, 3)])),
        spec("a reservation in the root lowers what is available in the root")
            .given(warehouse())
            .given([reserved(6, "R", 0, &[(4, 6)])])
            .when(get(0))
            .returns(items(&[(4, 11, 5), (5, 3, 3)])),
        spec("a reservation in the root lowers no number of a hall")
            .given(warehouse())
            .given([reserved(6, "R", 0, &[(4, 6)])])
            .when(get(1))
            .returns(items(&[(4, 7, 7), (5, 3, 3)])),
        spec("a product of which everything is reserved is still listed")
            .given(warehouse())
            .given([reserved(6, "R", 0, &[(5, 3)])])
            .when(get(0))
            .returns(items(&[(4, 11, 11), (5, 3, 0)])),
    ]
}

fn after_reservations() -> Vec<Spec> {
    vec![
        spec("what was reserved is available again after a cancellation")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(5, 3), (4, 7)]), cancelled(6, &[(5, 1, 3), (4, 1, 7)])])
            .when(get(1))
            .returns(items(&[(4, 7, 7), (5, 3, 3)])),
        spec("after a fulfilment less is on hand, and nothing is held for it any more")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 5)]), fulfilled(6, &[(4, 2, 4, 3)])])
            .when(get(1))
            .returns(items(&[(4, 3, 3), (5, 3, 3)])),
        spec("a fulfilment without picks only releases")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 5)]), fulfilled(6, &[])])
            .when(get(1))
            .returns(items(&[(4, 7, 7), (5, 3, 3)])),
        spec("a fulfilment leaves what others reserved in the hall")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 3)]), reserved(7, "S", 1, &[(4, 2)]), reserved(8, "T", 0, &[(4, 4)])])
            .given([fulfilled(6, &[(4, 2, 3, 4)])])
            .when(get(1))
            .returns(items(&[(4, 4, 2), (5, 3, 3)])),
        spec("a fulfilment leaves what others reserved in the root")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 3)]), reserved(7, "S", 1, &[(4, 2)]), reserved(8, "T", 0, &[(4, 4)])])
            .given([fulfilled(6, &[(4, 2, 3, 4)])])
            .when(get(0))
            .returns(items(&[(4, 8, 2), (5, 3, 3)])),
        spec("nothing is listed once everything was picked")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 5)]), fulfilled(6, &[(4, 2, 7, 0), (4, 3, 4, 0), (5, 2, 3, 0)])])
            .when(get(0))
            .returns(items(&[])),
    ]
}

fn after_moves() -> Vec<Spec> {
    let moved_with_a_reservation = || [reserved(6, "R", 2, &[(4, 3)]), moved(2, 1, 3)];
    vec![
        spec("stock leaves a hall together with the shelf that moves out of it")
            .given(warehouse())
            .given(moved_with_a_reservation())
            .when(get(1))
            .returns(items(&[])),
        spec("stock and what is reserved of it arrive with the shelf that moves in")
            .given(warehouse())
            .given(moved_with_a_reservation())
            .when(get(3))
            .returns(items(&[(4, 11, 8), (5, 3, 3)])),
        spec("a move changes nothing for the root")
            .given(warehouse())
            .given(moved_with_a_reservation())
            .when(get(0))
            .returns(items(&[(4, 11, 8), (5, 3, 3)])),
        spec("a reservation that moved is released where it is now")
            .given(warehouse())
            .given(moved_with_a_reservation())
            .given([cancelled(6, &[(4, 2, 3)])])
            .when(get(3))
            .returns(items(&[(4, 11, 11), (5, 3, 3)])),
    ]
}

fn unknown_locations() -> Vec<Spec> {
    vec![
        spec("a location that does not exist has no stock to ask for")
            .given(warehouse())
            .when(get(9))
            .refused(UnknownLocation { location: 9 }),
        spec("a product is no location with stock").given(warehouse()).when(get(4)).refused(UnknownLocation { location: 4 }),
    ]
}
