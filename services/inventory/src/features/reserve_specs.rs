//! What Reserve does, example by example.

use onebox::{Spec, spec};

use crate::given::{cancelled, fulfilled, location, moved, product, reserve, reserved, stock, warehouse};
use crate::{
    CodeTaken, EmptyField, NotEnoughAvailable, OutOfRange, QuantityBelowOne, ReserveRequest, ReserveResponse, UnknownLocation, UnknownSku,
};

pub(crate) fn all() -> Vec<Spec> {
    let accepted = [places(), lines(), ids(), spare_stock(), freed_stock()];
    let refused = [empty_fields(), quantities(), unknowns(), codes(), least_available(), too_little(), range()];
    [accepted.concat(), refused.concat()].concat()
}

fn given_id(reservation: u64) -> ReserveResponse {
    ReserveResponse { reservation }
}

fn empty(field: &str) -> EmptyField {
    EmptyField { field: field.to_owned() }
}

fn below_one(field: &str, quantity: i64) -> QuantityBelowOne {
    QuantityBelowOne { field: field.to_owned(), quantity }
}

fn taken(code: &str) -> CodeTaken {
    CodeTaken { code: code.to_owned() }
}

fn short(location: u64, product: u64, available: i64, wanted: u64) -> NotEnoughAvailable {
    NotEnoughAvailable { location, product, available, wanted }
}

fn places() -> Vec<Spec> {
    vec![
        spec("stock is reserved in the location where it lies")
            .given(warehouse())
            .when(reserve("R", 2, &[("GPU", 5)]))
            .returns(given_id(6))
            .records([reserved(6, "R", 2, &[(4, 5)])]),
        spec("stock is reserved in a hall whichever shelf it lies on")
            .given(warehouse())
            .when(reserve("R", 1, &[("GPU", 7)]))
            .returns(given_id(6))
            .records([reserved(6, "R", 1, &[(4, 7)])]),
        spec("stock is reserved in the root wherever it lies")
            .about("Seven lie on the shelf and four in the yard; whoever fulfils the reservation picks from both.")
            .given(warehouse())
            .when(reserve("R", 0, &[("GPU", 11)]))
            .returns(given_id(6))
            .records([reserved(6, "R", 0, &[(4, 11)])]),
        spec("stock is reserved where its location has moved")
            .given(warehouse())
            .given([moved(2, 1, 3)])
            .when(reserve("R", 3, &[("GPU", 11)]))
            .returns(given_id(6))
            .records([reserved(6, "R", 3, &[(4, 11)])]),
    ]
}

fn lines() -> Vec<Spec> {
    vec![
        spec("several products are reserved together, in the order of the lines")
            .given(warehouse())
            .when(reserve("R", 1, &[("CPU", 3), ("GPU", 2)]))
            .returns(given_id(6))
            .records([reserved(6, "R", 1, &[(5, 3), (4, 2)])]),
        spec("lines of one sku are added together where the sku first appears")
            .given(warehouse())
            .when(reserve("R", 1, &[("CPU", 1), ("GPU", 2), ("CPU", 2), ("GPU", 5)]))
            .returns(given_id(6))
            .records([reserved(6, "R", 1, &[(5, 3), (4, 7)])]),
        spec("tags are for scripts and are not stored")
            .given(warehouse())
            .when(ReserveRequest { tags: [("colour".to_owned(), "red".to_owned())].into(), ..reserve("R", 1, &[("GPU", 1)]) })
            .returns(given_id(6))
            .records([reserved(6, "R", 1, &[(4, 1)])]),
    ]
}

fn ids() -> Vec<Spec> {
    vec![
        spec("a reservation's id follows those of all that was added before")
            .given(warehouse())
            .given([reserved(6, "A", 1, &[(4, 1)]), location(7, "Dock", 0), product(8, "RAM")])
            .when(reserve("R", 1, &[("GPU", 1)]))
            .returns(given_id(9))
            .records([reserved(9, "R", 1, &[(4, 1)])]),
        spec("a closed reservation's id is not given again")
            .given(warehouse())
            .given([reserved(6, "A", 1, &[(4, 1)]), cancelled(6, &[(4, 1, 1)])])
            .when(reserve("R", 1, &[("GPU", 1)]))
            .returns(given_id(7))
            .records([reserved(7, "R", 1, &[(4, 1)])]),
        spec("a reservation gets its id from the tenant's counter, wherever that stands")
            .tenant("acme")
            .given(warehouse())
            .next_id(1_000_000)
            .when(reserve("R", 1, &[("GPU", 1)]))
            .returns(given_id(1_000_000))
            .records([reserved(1_000_000, "R", 1, &[(4, 1)])]),
    ]
}

fn spare_stock() -> Vec<Spec> {
    vec![
        spec("what others did not reserve can be reserved, to the last piece")
            .given(warehouse())
            .given([reserved(6, "A", 0, &[(4, 6)])])
            .when(reserve("R", 1, &[("GPU", 5)]))
            .returns(given_id(7))
            .records([reserved(7, "R", 1, &[(4, 5)])]),
        spec("a reservation in the yard takes nothing from the hall")
            .given(warehouse())
            .given([reserved(6, "A", 3, &[(4, 4)])])
            .when(reserve("R", 2, &[("GPU", 7)]))
            .returns(given_id(7))
            .records([reserved(7, "R", 2, &[(4, 7)])]),
        spec("one product can be reserved where all of another is")
            .given(warehouse())
            .given([reserved(6, "A", 0, &[(4, 6)]), reserved(7, "B", 1, &[(4, 5)])])
            .when(reserve("R", 0, &[("CPU", 3)]))
            .returns(given_id(8))
            .records([reserved(8, "R", 0, &[(5, 3)])]),
        spec("codes that differ only in case are different codes")
            .given(warehouse())
            .given([reserved(6, "r", 1, &[(4, 1)])])
            .when(reserve("R", 1, &[("GPU", 1)]))
            .returns(given_id(7))
            .records([reserved(7, "R", 1, &[(4, 1)])]),
    ]
}

fn freed_stock() -> Vec<Spec> {
    vec![
        spec("what a cancelled reservation held can be reserved again")
            .given(warehouse())
            .given([reserved(6, "A", 1, &[(4, 7)]), cancelled(6, &[(4, 1, 7)])])
            .when(reserve("R", 1, &[("GPU", 7)]))
            .returns(given_id(7))
            .records([reserved(7, "R", 1, &[(4, 7)])]),
        spec("what a fulfilled reservation left behind can be reserved again")
            .given(warehouse())
            .given([reserved(6, "A", 1, &[(4, 7)]), fulfilled(6, &[(4, 2, 2, 5)])])
            .when(reserve("R", 1, &[("GPU", 5)]))
            .returns(given_id(7))
            .records([reserved(7, "R", 1, &[(4, 5)])]),
        spec("stock that comes in can be reserved where everything was")
            .given(warehouse())
            .given([reserved(6, "A", 0, &[(4, 11)]), stock(2, 4, 2, 9)])
            .when(reserve("R", 1, &[("GPU", 2)]))
            .returns(given_id(7))
            .records([reserved(7, "R", 1, &[(4, 2)])]),
    ]
}

fn empty_fields() -> Vec<Spec> {
    vec![
        spec("a reservation needs a code, which is looked at before its lines")
            .given(warehouse())
            .when(reserve("", 9, &[]))
            .refused(empty("code")),
        spec("a reservation without lines is refused before its location is looked up")
            .given(warehouse())
            .when(reserve("R", 9, &[]))
            .refused(empty("lines")),
        spec("a line needs a sku, which is looked at before its quantity")
            .given(warehouse())
            .when(reserve("R", 9, &[("X", 1), ("", 0)]))
            .refused(empty("lines[1].sku")),
    ]
}

fn quantities() -> Vec<Spec> {
    vec![
        spec("a quantity of nothing is refused before anything is looked up")
            .given(warehouse())
            .when(reserve("R", 9, &[("X", 1), ("X", 0)]))
            .refused(below_one("lines[1].quantity", 0)),
        spec("a line cannot take back what another asks for")
            .given(warehouse())
            .when(reserve("R", 1, &[("GPU", 5), ("GPU", -1)]))
            .refused(below_one("lines[1].quantity", -1)),
        spec("the least integer there is makes no quantity")
            .given(warehouse())
            .when(reserve("R", 1, &[("GPU", i64::MIN)]))
            .refused(below_one("lines[0].quantity", i64::MIN)),
        spec("the first line that makes no sense decides")
            .given(warehouse())
            .when(reserve("R", 1, &[("GPU", 0), ("", 1)]))
            .refused(below_one("lines[0].quantity", 0)),
        spec("a quantity of nothing is refused before a code that was given")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 1)])])
            .when(reserve("R", 1, &[("GPU", 0)]))
            .refused(below_one("lines[0].quantity", 0)),
    ]
}

fn unknowns() -> Vec<Spec> {
    vec![
        spec("nothing is reserved in a location that does not exist, which is looked up before the skus")
            .given(warehouse())
            .when(reserve("R", 9, &[("X", 99)]))
            .refused(UnknownLocation { location: 9 }),
        spec("nothing is reserved in a product")
            .given(warehouse())
            .when(reserve("R", 4, &[("GPU", 1)]))
            .refused(UnknownLocation { location: 4 }),
        spec("a sku that no product has is refused before another line is short")
            .given(warehouse())
            .when(reserve("R", 1, &[("GPU", 99), ("X", 1)]))
            .refused(UnknownSku { sku: "X".into() }),
        spec("the first sku that no product has decides")
            .given(warehouse())
            .when(reserve("R", 1, &[("GPU", 1), ("Y", 1), ("X", 1)]))
            .refused(UnknownSku { sku: "Y".into() }),
        spec("a sku in another case is another sku")
            .given(warehouse())
            .when(reserve("R", 1, &[("gpu", 1)]))
            .refused(UnknownSku { sku: "gpu".into() }),
        spec("an unknown location is refused before a code that was given")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 1)])])
            .when(reserve("R", 9, &[("GPU", 1)]))
            .refused(UnknownLocation { location: 9 }),
        spec("an unknown sku is refused before a code that was given")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 1)])])
            .when(reserve("R", 1, &[("X", 1)]))
            .refused(UnknownSku { sku: "X".into() }),
    ]
}

fn codes() -> Vec<Spec> {
    vec![
        spec("a code that was given is refused before it matters how much is available")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 1)])])
            .when(reserve("R", 1, &[("GPU", 99)]))
            .refused(taken("R")),
        spec("a code is given once in the tenant, not once in each location")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 1)])])
            .when(reserve("R", 3, &[("GPU", 1)]))
            .refused(taken("R")),
        spec("a code is not given again after its reservation was cancelled")
            .about("A code is what people write on a parcel or a list: it means one reservation for ever.")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 5)]), cancelled(6, &[(4, 1, 5)])])
            .when(reserve("R", 1, &[("GPU", 1)]))
            .refused(taken("R")),
        spec("a code is not given again after its reservation was fulfilled")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 5)]), fulfilled(6, &[(4, 2, 5, 2)])])
            .when(reserve("R", 1, &[("GPU", 1)]))
            .refused(taken("R")),
        spec("a code that a request was given just now is taken")
            .given(warehouse())
            .given_requests([reserve("R", 1, &[("GPU", 1)])])
            .when(reserve("R", 1, &[("GPU", 1)]))
            .refused(taken("R")),
    ]
}

fn least_available() -> Vec<Spec> {
    vec![
        spec("what can be reserved in a location is the least that it and all around it have available")
            .about(concat!(
                "A reservation in the root may be fulfilled from the hall. If the hall gave away six of its seven, one piece\n",
                "there and four in the yard would be left for the six that the root promised.\n",
                "\n",
                "```\n",
                "0 the root       11 on hand, 6 reserved, 5 available   ◄ the least\n",
                "├── 1 Hall        7 on hand, 0 reserved, 7 available   ◄ asked for 6\n",
                "│   └── 2 Shelf   7 on hand\n",
                "└── 3 Yard        4 on hand\n",
                "```\n",
            ))
            .given(warehouse())
            .given([reserved(6, "A", 0, &[(4, 6)])])
            .when(reserve("R", 1, &[("GPU", 6)]))
            .refused(short(0, 4, 5, 6)),
        spec("what is reserved in a hall cannot be reserved on its shelf")
            .given(warehouse())
            .given([reserved(6, "A", 1, &[(4, 5)])])
            .when(reserve("R", 2, &[("GPU", 3)]))
            .refused(short(1, 4, 2, 3)),
        spec("what is reserved on a shelf cannot be reserved in the hall around it")
            .given(warehouse())
            .given([reserved(6, "A", 2, &[(4, 5)])])
            .when(reserve("R", 1, &[("GPU", 3)]))
            .refused(short(1, 4, 2, 3)),
        spec("reservations that were asked for one after the other share what is there")
            .given(warehouse())
            .given_requests([reserve("A", 1, &[("GPU", 2)]), reserve("B", 2, &[("GPU", 2)])])
            .when(reserve("R", 1, &[("GPU", 4)]))
            .refused(short(1, 4, 3, 4)),
        spec("a reservation of which one line is short is refused as a whole")
            .given(warehouse())
            .given([reserved(6, "A", 0, &[(4, 6)]), reserved(7, "B", 1, &[(4, 5)])])
            .when(reserve("R", 2, &[("CPU", 1), ("GPU", 1)]))
            .refused(short(0, 4, 0, 1)),
    ]
}

fn too_little() -> Vec<Spec> {
    vec![
        spec("more than lies in a location cannot be reserved there")
            .given(warehouse())
            .when(reserve("R", 1, &[("GPU", 8)]))
            .refused(short(1, 4, 7, 8)),
        spec("a product that was never in stock cannot be reserved")
            .given([location(1, "Hall", 0), product(2, "GPU")])
            .when(reserve("R", 1, &[("GPU", 1)]))
            .refused(short(1, 2, 0, 1)),
        spec("stock that moved away cannot be reserved where it was")
            .given(warehouse())
            .given([moved(2, 1, 3)])
            .when(reserve("R", 1, &[("GPU", 1)]))
            .refused(short(1, 4, 0, 1)),
        spec("lines of one sku are short together where each alone would not be")
            .given(warehouse())
            .when(reserve("R", 2, &[("CPU", 2), ("CPU", 2)]))
            .refused(short(2, 5, 3, 4)),
        spec("of several products that are short the one that the request names first decides")
            .given(warehouse())
            .when(reserve("R", 1, &[("CPU", 4), ("GPU", 8)]))
            .refused(short(1, 5, 3, 4)),
        spec("a product that is short only with its last line is named where its sku first appears")
            .given(warehouse())
            .when(reserve("R", 1, &[("GPU", 4), ("CPU", 4), ("GPU", 4)]))
            .refused(short(1, 4, 7, 8)),
    ]
}

fn range() -> Vec<Spec> {
    vec![
        spec("lines whose sum would not fit into an integer are refused")
            .given(warehouse())
            .when(reserve("R", 1, &[("GPU", i64::MAX), ("GPU", 1)]))
            .refused(OutOfRange { total: "the quantity of product 4, all lines added together,".into() }),
        spec("lines that add up to the greatest integer are merely more than is available")
            .given(warehouse())
            .when(reserve("R", 1, &[("GPU", i64::MAX - 1), ("GPU", 1)]))
            .refused(short(1, 4, 7, i64::MAX.unsigned_abs())),
    ]
}
