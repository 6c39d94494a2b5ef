//! What UpdateStock does, example by example.

use onebox::{Spec, spec};

use crate::given::{cancelled, fulfilled, location, moved, product, reserved, stock, warehouse};
use crate::{
    NotEnoughAvailable, NotEnoughOnHand, OutOfRange, RootHoldsNoStock, UnknownLocation, UnknownProduct, UpdateStockRequest,
    UpdateStockResponse,
};

pub(crate) fn all() -> Vec<Spec> {
    [changes(), no_changes(), senseless_and_unknown(), not_on_hand(), reserved_stock(), spare_stock(), released_stock(), range()].concat()
}

fn update(location: u64, product: u64, change: i64) -> UpdateStockRequest {
    UpdateStockRequest { location, product, change }
}

fn left(on_hand: i64) -> UpdateStockResponse {
    UpdateStockResponse { on_hand }
}

/// Too few GPU, the product 4 of the warehouse, are not reserved.
fn short(location: u64, available: i64, wanted: u64) -> NotEnoughAvailable {
    NotEnoughAvailable { location, product: 4, available, wanted }
}

/// Too few GPU, the product 4 of the warehouse, are there.
fn missing(location: u64, on_hand: i64, wanted: u64) -> NotEnoughOnHand {
    NotEnoughOnHand { location, product: 4, on_hand, wanted }
}

fn changes() -> Vec<Spec> {
    vec![
        spec("stock is put into a location")
            .given([location(1, "Hall", 0), product(2, "GPU")])
            .when(update(1, 2, 5))
            .returns(left(5))
            .records([stock(1, 2, 5, 5)]),
        spec("stock that is put in is added to what is on hand")
            .given(warehouse())
            .when(update(2, 4, 5))
            .returns(left(12))
            .records([stock(2, 4, 5, 12)]),
        spec("stock is taken out of a location").given(warehouse()).when(update(2, 4, -5)).returns(left(2)).records([stock(2, 4, -5, 2)]),
        spec("all stock can be taken out of a location")
            .given(warehouse())
            .when(update(2, 4, -7))
            .returns(left(0))
            .records([stock(2, 4, -7, 0)]),
        spec("the answer counts what is on hand at the location alone and not what lies in it")
            .given(warehouse())
            .when(update(1, 4, 1))
            .returns(left(1))
            .records([stock(1, 4, 1, 1)]),
        spec("stock that was just put in can be taken out again")
            .given(warehouse())
            .given_requests([update(2, 4, 5)])
            .when(update(2, 4, -12))
            .returns(left(0))
            .records([stock(2, 4, -12, 0)]),
        spec("stock stays on hand where it is when its location moves")
            .given(warehouse())
            .given([moved(2, 1, 3)])
            .when(update(2, 4, -6))
            .returns(left(1))
            .records([stock(2, 4, -6, 1)]),
    ]
}

fn no_changes() -> Vec<Spec> {
    vec![
        spec("a change of nothing answers what is on hand and records nothing").given(warehouse()).when(update(2, 4, 0)).returns(left(7)),
        spec("a change of nothing to a product that was never there answers zero")
            .given(warehouse())
            .when(update(3, 5, 0))
            .returns(left(0)),
        spec("even a change of nothing needs a location").given(warehouse()).when(update(9, 9, 0)).refused(UnknownLocation { location: 9 }),
        spec("even a change of nothing needs a product").given(warehouse()).when(update(2, 9, 0)).refused(UnknownProduct { product: 9 }),
        spec("even a change of nothing is refused in the root")
            .given(warehouse())
            .when(update(0, 4, 0))
            .refused(RootHoldsNoStock { field: "location".into() }),
    ]
}

fn senseless_and_unknown() -> Vec<Spec> {
    vec![
        spec("the root holds no stock of its own, and says so before the product is looked up")
            .given(warehouse())
            .when(update(0, 9, 1))
            .refused(RootHoldsNoStock { field: "location".into() }),
        spec("stock is put into locations that exist; the location is looked up before the product")
            .given(warehouse())
            .when(update(9, 9, 1))
            .refused(UnknownLocation { location: 9 }),
        spec("stock is of products that exist").given(warehouse()).when(update(2, 9, 1)).refused(UnknownProduct { product: 9 }),
        spec("the id of a product is not the id of a location")
            .given(warehouse())
            .when(update(4, 4, 1))
            .refused(UnknownLocation { location: 4 }),
        spec("the id of a location is not the id of a product")
            .given(warehouse())
            .when(update(2, 1, 1))
            .refused(UnknownProduct { product: 1 }),
        spec("that a product is unknown is said before that nothing of it is there")
            .given(warehouse())
            .when(update(2, 9, -1))
            .refused(UnknownProduct { product: 9 }),
    ]
}

fn not_on_hand() -> Vec<Spec> {
    vec![
        spec("more than is on hand cannot be taken out").given(warehouse()).when(update(2, 4, -8)).refused(missing(2, 7, 8)),
        spec("what lies on a shelf cannot be taken out of the hall around it")
            .given(warehouse())
            .when(update(1, 4, -1))
            .refused(missing(1, 0, 1)),
        spec("a product that was never there cannot be taken out").given(warehouse()).when(update(3, 5, -1)).refused(NotEnoughOnHand {
            location: 3,
            product: 5,
            on_hand: 0,
            wanted: 1,
        }),
        spec("the least integer there is can be asked for and is refused like any other")
            .given(warehouse())
            .when(update(2, 4, i64::MIN))
            .refused(missing(2, 7, 1 << 63)),
        spec("that stock is not there is said before that it is reserved")
            .given(warehouse())
            .given([reserved(6, "R", 2, &[(4, 7)])])
            .when(update(2, 4, -8))
            .refused(missing(2, 7, 8)),
    ]
}

fn reserved_stock() -> Vec<Spec> {
    vec![
        spec("stock that is reserved at its location cannot be taken out")
            .given(warehouse())
            .given([reserved(6, "R", 2, &[(4, 5)])])
            .when(update(2, 4, -3))
            .refused(short(2, 2, 3)),
        spec("stock that a reservation in the hall relies on cannot be taken off the shelf")
            .about(concat!(
                "The shelf has no reservation of its own, but only two of the seven in the hall are available.\n",
                "\n",
                "```\n",
                "0 the root       11 on hand, 5 reserved, 6 available\n",
                "├── 1 Hall        7 on hand, 5 reserved, 2 available\n",
                "│   └── 2 Shelf   7 on hand, 0 reserved, 7 available\n",
                "└── 3 Yard        4 on hand\n",
                "```\n",
            ))
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 5)])])
            .when(update(2, 4, -3))
            .refused(short(1, 2, 3)),
        spec("stock that a reservation in the root relies on cannot be taken out anywhere")
            .given(warehouse())
            .given([reserved(6, "R", 0, &[(4, 9)])])
            .when(update(3, 4, -3))
            .refused(short(0, 2, 3)),
        spec("what can be taken out is the least that a location and all around it have available")
            .given(warehouse())
            .given([reserved(6, "A", 1, &[(4, 5)]), reserved(7, "B", 0, &[(4, 6)])])
            .when(update(2, 4, -1))
            .refused(short(0, 0, 1)),
        spec("one piece too many cannot be taken out")
            .given(warehouse())
            .given([stock(3, 4, 5, 9), reserved(6, "A", 1, &[(4, 5)]), reserved(7, "B", 0, &[(4, 5)])])
            .when(update(2, 4, -3))
            .refused(short(1, 2, 3)),
        spec("stock that moved away covers no reservation in the hall any more")
            .given(warehouse())
            .given([location(6, "Box", 2), stock(6, 4, 2, 2), moved(6, 2, 3), reserved(7, "R", 1, &[(4, 7)])])
            .when(update(2, 4, -1))
            .refused(short(1, 0, 1)),
    ]
}

fn spare_stock() -> Vec<Spec> {
    vec![
        spec("exactly what is not reserved can be taken out")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 5)])])
            .when(update(2, 4, -2))
            .returns(left(5))
            .records([stock(2, 4, -2, 5)]),
        spec("stock elsewhere in the subtree covers a reservation as well")
            .given(warehouse())
            .given([stock(1, 4, 5, 5), reserved(6, "R", 1, &[(4, 5)])])
            .when(update(2, 4, -7))
            .returns(left(0))
            .records([stock(2, 4, -7, 0)]),
        spec("a reservation of one product holds nothing of another")
            .given(warehouse())
            .given([reserved(6, "R", 2, &[(5, 3)])])
            .when(update(2, 4, -7))
            .returns(left(0))
            .records([stock(2, 4, -7, 0)]),
        spec("a reservation in the yard holds nothing in the hall")
            .given(warehouse())
            .given([reserved(6, "R", 3, &[(4, 4)])])
            .when(update(2, 4, -7))
            .returns(left(0))
            .records([stock(2, 4, -7, 0)]),
        spec("stock can be put in where everything is reserved")
            .given(warehouse())
            .given([reserved(6, "R", 0, &[(4, 11)])])
            .when(update(2, 4, 1))
            .returns(left(8))
            .records([stock(2, 4, 1, 8)]),
    ]
}

fn released_stock() -> Vec<Spec> {
    vec![
        spec("what a cancelled reservation held can be taken out")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 7)]), cancelled(6, &[(4, 1, 7)])])
            .when(update(2, 4, -7))
            .returns(left(0))
            .records([stock(2, 4, -7, 0)]),
        spec("what a fulfilled reservation left behind can be taken out")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 7)]), fulfilled(6, &[(4, 2, 5, 2)])])
            .when(update(2, 4, -2))
            .returns(left(0))
            .records([stock(2, 4, -2, 0)]),
        spec("what a fulfilled reservation took is gone")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 7)]), fulfilled(6, &[(4, 2, 5, 2)])])
            .when(update(2, 4, -3))
            .refused(missing(2, 2, 3)),
    ]
}

fn range() -> Vec<Spec> {
    let places = || [location(1, "Hall", 0), location(2, "Yard", 0), product(3, "GPU"), product(4, "CPU")];
    let full = OutOfRange { total: "the stock of product 3 over all locations".into() };
    vec![
        spec("the stock of a product over all locations may be the greatest integer there is")
            .given(places())
            .given([stock(1, 3, i64::MAX - 1, i64::MAX - 1)])
            .when(update(2, 3, 1))
            .returns(left(1))
            .records([stock(2, 3, 1, 1)]),
        spec("no stock is put in that would not fit into an integer")
            .given(places())
            .given([stock(1, 3, i64::MAX, i64::MAX)])
            .when(update(1, 3, 1))
            .refused(full.clone()),
        spec("no stock is put in where the total over all locations would not fit into an integer")
            .about("The root can be asked for its stock like any location, and has to be able to answer.")
            .given(places())
            .given([stock(1, 3, i64::MAX, i64::MAX)])
            .when(update(2, 3, 1))
            .refused(full),
        spec("a total that is full leaves room for other products")
            .given(places())
            .given([stock(1, 3, i64::MAX, i64::MAX)])
            .when(update(1, 4, i64::MAX))
            .returns(left(i64::MAX))
            .records([stock(1, 4, i64::MAX, i64::MAX)]),
        spec("the greatest stock there can be can be taken out at once")
            .given(places())
            .given([stock(1, 3, i64::MAX, i64::MAX)])
            .when(update(1, 3, -i64::MAX))
            .returns(left(0))
            .records([stock(1, 3, -i64::MAX, 0)]),
    ]
}
