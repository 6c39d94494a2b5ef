//! What Fulfill does, example by example.

use onebox::{Fact, Spec, spec};

use crate::given::{cancelled, fulfilled, moved, reserve, reserved, stock, warehouse};
use crate::{
    FulfillRequest, FulfillResponse, NotEnoughAvailable, NotEnoughOnHand, Pick, QuantityBelowOne, RootHoldsNoStock, UnknownLocation,
    UnknownProduct, UnknownReservation,
};

pub(crate) fn all() -> Vec<Spec> {
    let accepted = [picks(), pickers_decisions(), beside_others()];
    let refused = [senseless_picks(), closed_reservations(), unknown_picks(), not_on_hand(), left_short(), other_places_left_short()];
    [accepted.concat(), refused.concat()].concat()
}

/// Picks of (product, location, quantity).
fn fulfill(reservation: u64, picks: &[(u64, u64, i64)]) -> FulfillRequest {
    let pick = |&(product, location, quantity): &(u64, u64, i64)| Pick { product, location, quantity };
    FulfillRequest { reservation, picks: picks.iter().map(pick).collect() }
}

fn root(field: &str) -> RootHoldsNoStock {
    RootHoldsNoStock { field: field.to_owned() }
}

fn below_one(field: &str, quantity: i64) -> QuantityBelowOne {
    QuantityBelowOne { field: field.to_owned(), quantity }
}

fn missing(location: u64, product: u64, on_hand: i64, wanted: u64) -> NotEnoughOnHand {
    NotEnoughOnHand { location, product, on_hand, wanted }
}

fn short(location: u64, product: u64, available: i64, wanted: u64) -> NotEnoughAvailable {
    NotEnoughAvailable { location, product, available, wanted }
}

/// The warehouse, with five GPU reserved in the hall as R, which is 6.
fn five_reserved() -> Vec<Fact> {
    [warehouse(), vec![reserved(6, "R", 1, &[(4, 5)])]].concat()
}

/// The warehouse, with three reservations of GPU: R, which is 6, and S, which is 7, in the hall; T, which is 8, in the root.
fn shared() -> Vec<Fact> {
    [warehouse(), vec![reserved(6, "R", 1, &[(4, 3)]), reserved(7, "S", 1, &[(4, 2)]), reserved(8, "T", 0, &[(4, 5)])]].concat()
}

fn picks() -> Vec<Spec> {
    vec![
        spec("a reservation is fulfilled from where its stock lies")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 2, 5)]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[(4, 2, 5, 2)])]),
        spec("picks are taken one after the other, each from what the one before left")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 2, 2), (5, 2, 1), (4, 2, 3)]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[(4, 2, 2, 5), (5, 2, 1, 2), (4, 2, 3, 2)])]),
        spec("a reservation in the root is fulfilled from several places")
            .given(warehouse())
            .given([reserved(6, "R", 0, &[(4, 9)])])
            .when(fulfill(6, &[(4, 3, 3), (4, 2, 6)]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[(4, 3, 3, 1), (4, 2, 6, 1)])]),
        spec("a reservation is fulfilled where its location has moved")
            .given(warehouse())
            .given([reserved(6, "R", 2, &[(4, 5)]), moved(2, 1, 3)])
            .when(fulfill(6, &[(4, 2, 5)]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[(4, 2, 5, 2)])]),
        spec("what a request has just reserved can be fulfilled")
            .given(warehouse())
            .given_requests([reserve("R", 1, &[("GPU", 7), ("CPU", 3)])])
            .when(fulfill(6, &[(5, 2, 3), (4, 2, 7)]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[(5, 2, 3, 0), (4, 2, 7, 0)])]),
    ]
}

fn pickers_decisions() -> Vec<Spec> {
    vec![
        spec("a fulfilment with no picks takes nothing and closes the reservation")
            .given(five_reserved())
            .when(fulfill(6, &[]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[])]),
        spec("less than was reserved may be picked")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 2, 2)]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[(4, 2, 2, 5)])]),
        spec("more than was reserved may be picked")
            .about("What is reserved is a promise and no order to the picker, who sees what is wanted in the end.")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 2, 7)]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[(4, 2, 7, 0)])]),
        spec("another product than was reserved may be picked")
            .given(five_reserved())
            .when(fulfill(6, &[(5, 2, 3)]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[(5, 2, 3, 0)])]),
        spec("the picker may pick outside the location in which was reserved")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 3, 4)]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[(4, 3, 4, 0)])]),
        spec("the picker may take everything that is there")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 2, 7), (4, 3, 4), (5, 2, 3)]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[(4, 2, 7, 0), (4, 3, 4, 0), (5, 2, 3, 0)])]),
    ]
}

fn beside_others() -> Vec<Spec> {
    vec![
        spec("what others did not reserve may be picked, to the last piece")
            .given(shared())
            .when(fulfill(6, &[(4, 2, 4)]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[(4, 2, 4, 3)])]),
        spec("stock in the yard lets the picker take more from the hall when only the root was short")
            .given(shared())
            .given([stock(3, 4, 9, 13)])
            .when(fulfill(6, &[(4, 2, 5)]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[(4, 2, 5, 2)])]),
        spec("picks elsewhere leave more in the hall for others")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 4)]), reserved(7, "S", 1, &[(4, 3)])])
            .when(fulfill(6, &[(4, 3, 4)]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[(4, 3, 4, 0)])]),
        spec("a fulfilment without picks is possible where everything is reserved")
            .given(warehouse())
            .given([reserved(6, "R", 0, &[(4, 6)]), reserved(7, "S", 1, &[(4, 5)])])
            .when(fulfill(6, &[]))
            .returns(FulfillResponse {})
            .records([fulfilled(6, &[])]),
    ]
}

fn senseless_picks() -> Vec<Spec> {
    vec![
        spec("nothing is picked from the root, which is said before anything is looked up")
            .given(five_reserved())
            .when(fulfill(9, &[(9, 9, 1), (9, 0, 1)]))
            .refused(root("picks[1].location")),
        spec("a pick of nothing is refused before anything is looked up")
            .given(five_reserved())
            .when(fulfill(9, &[(9, 9, 0)]))
            .refused(below_one("picks[0].quantity", 0)),
        spec("a pick puts nothing back")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 2, 5), (4, 3, -1)]))
            .refused(below_one("picks[1].quantity", -1)),
        spec("the least integer there is makes no pick")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 2, i64::MIN)]))
            .refused(below_one("picks[0].quantity", i64::MIN)),
        spec("of one pick the root is refused before the quantity")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 0, 0)]))
            .refused(root("picks[0].location")),
        spec("the first pick that makes no sense decides")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 2, 0), (4, 0, 1)]))
            .refused(below_one("picks[0].quantity", 0)),
    ]
}

fn closed_reservations() -> Vec<Spec> {
    let unknown = |reservation| UnknownReservation { reservation };
    vec![
        spec("a reservation that does not exist is not fulfilled, and is looked up before its picks")
            .given(five_reserved())
            .when(fulfill(9, &[(9, 9, 1)]))
            .refused(unknown(9)),
        spec("a location is no reservation to fulfil").given(five_reserved()).when(fulfill(1, &[])).refused(unknown(1)),
        spec("there is no reservation zero to fulfil").given(five_reserved()).when(fulfill(0, &[])).refused(unknown(0)),
        spec("a reservation is fulfilled once, even if something was left of it")
            .given(five_reserved())
            .given([fulfilled(6, &[(4, 2, 2, 5)])])
            .when(fulfill(6, &[(4, 2, 3)]))
            .refused(unknown(6)),
        spec("a cancelled reservation is not fulfilled")
            .given(five_reserved())
            .given([cancelled(6, &[(4, 1, 5)])])
            .when(fulfill(6, &[]))
            .refused(unknown(6)),
    ]
}

fn unknown_picks() -> Vec<Spec> {
    vec![
        spec("an unknown product is refused before another pick is missing")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 2, 99), (9, 2, 1)]))
            .refused(UnknownProduct { product: 9 }),
        spec("an unknown location is refused before another pick is missing")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 2, 99), (4, 9, 1)]))
            .refused(UnknownLocation { location: 9 }),
        spec("of one pick the product is looked up before the location")
            .given(five_reserved())
            .when(fulfill(6, &[(9, 9, 1)]))
            .refused(UnknownProduct { product: 9 }),
        spec("the first pick that names something unknown decides")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 9, 1), (9, 2, 1)]))
            .refused(UnknownLocation { location: 9 }),
    ]
}

fn not_on_hand() -> Vec<Spec> {
    vec![
        spec("more than a location holds cannot be picked there")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 2, 8)]))
            .refused(missing(2, 4, 7, 8)),
        spec("a pick is missing what an earlier pick took")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 2, 6), (4, 2, 2)]))
            .refused(missing(2, 4, 1, 2)),
        spec("what lies on a shelf is not picked from the hall around it")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 1, 1)]))
            .refused(missing(1, 4, 0, 1)),
        spec("the first pick that is missing decides")
            .given(five_reserved())
            .when(fulfill(6, &[(4, 2, 5), (5, 2, 4), (4, 3, 5)]))
            .refused(missing(2, 5, 3, 4)),
        spec("that a pick is not there is said before that others reserved it")
            .given(shared())
            .when(fulfill(6, &[(4, 2, 8)]))
            .refused(missing(2, 4, 7, 8)),
    ]
}

fn left_short() -> Vec<Spec> {
    vec![
        spec("picks may not take what a reservation in the root relies on")
            .about(concat!(
                "With R released the hall could spare five, but the root only four.\n",
                "\n",
                "```\n",
                "0 the root       11 on hand, reserved: R 3, S 2, T 5\n",
                "├── 1 Hall        7 on hand, reserved: R 3, S 2\n",
                "│   └── 2 Shelf   7 on hand  ──► 5 picked for R\n",
                "└── 3 Yard        4 on hand\n",
                "```\n",
            ))
            .given(shared())
            .when(fulfill(6, &[(4, 2, 5)]))
            .refused(short(0, 4, 4, 5)),
        spec("picks in several places are felt together in the root")
            .given(shared())
            .when(fulfill(6, &[(4, 2, 2), (4, 3, 3)]))
            .refused(short(0, 4, 4, 5)),
        spec("picks may not take what another reservation in the hall relies on")
            .given(shared())
            .given([stock(3, 4, 9, 13)])
            .when(fulfill(6, &[(4, 2, 6)]))
            .refused(short(1, 4, 5, 6)),
    ]
}

fn other_places_left_short() -> Vec<Spec> {
    vec![
        spec("picks outside the reservation's own location may not take what others reserved there")
            .given(five_reserved())
            .given([reserved(7, "S", 3, &[(4, 4)])])
            .when(fulfill(6, &[(4, 3, 1)]))
            .refused(short(3, 4, 0, 1)),
        spec("another product cannot be picked if others reserved all of it")
            .given(five_reserved())
            .given([reserved(7, "S", 0, &[(5, 3)])])
            .when(fulfill(6, &[(4, 2, 5), (5, 2, 1)]))
            .refused(short(0, 5, 0, 1)),
        spec("a small reservation is no way to take what a large one holds")
            .given(warehouse())
            .given([reserved(6, "R", 2, &[(4, 1)]), reserved(7, "S", 2, &[(4, 6)])])
            .when(fulfill(6, &[(4, 2, 1), (4, 2, 1)]))
            .refused(short(1, 4, 1, 2)),
    ]
}
