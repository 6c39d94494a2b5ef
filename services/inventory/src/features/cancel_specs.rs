//! What Cancel does, example by example.

use onebox::{Spec, spec};

use crate::given::{cancelled, fulfilled, moved, reserve, reserved, warehouse};
use crate::{CancelRequest, CancelResponse, UnknownReservation};

pub(crate) fn all() -> Vec<Spec> {
    [releases(), unknown_reservations()].concat()
}

fn cancel(reservation: u64) -> CancelRequest {
    CancelRequest { reservation }
}

fn unknown(reservation: u64) -> UnknownReservation {
    UnknownReservation { reservation }
}

fn releases() -> Vec<Spec> {
    vec![
        spec("a cancellation releases all that was reserved, in the order of its items")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(5, 3), (4, 7)])])
            .when(cancel(6))
            .returns(CancelResponse {})
            .records([cancelled(6, &[(5, 1, 3), (4, 1, 7)])]),
        spec("a reservation in the root is cancelled like any other")
            .tenant("acme")
            .given(warehouse())
            .given([reserved(6, "R", 0, &[(4, 11)])])
            .when(cancel(6))
            .returns(CancelResponse {})
            .records([cancelled(6, &[(4, 0, 11)])]),
        spec("a cancellation releases nothing that others reserved")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 3)]), reserved(7, "S", 1, &[(4, 4)])])
            .when(cancel(7))
            .returns(CancelResponse {})
            .records([cancelled(7, &[(4, 1, 4)])]),
        spec("what was reserved in a location that moved is released there")
            .given(warehouse())
            .given([reserved(6, "R", 2, &[(4, 5)]), moved(2, 1, 3)])
            .when(cancel(6))
            .returns(CancelResponse {})
            .records([cancelled(6, &[(4, 2, 5)])]),
        spec("what a request has just reserved can be cancelled, with its lines added together")
            .given(warehouse())
            .given_requests([reserve("R", 1, &[("GPU", 1), ("CPU", 1), ("GPU", 1)])])
            .when(cancel(6))
            .returns(CancelResponse {})
            .records([cancelled(6, &[(4, 1, 2), (5, 1, 1)])]),
        spec("a reservation can be cancelled after another one was closed")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 3)]), reserved(7, "S", 1, &[(4, 4)]), fulfilled(6, &[(4, 2, 3, 4)])])
            .when(cancel(7))
            .returns(CancelResponse {})
            .records([cancelled(7, &[(4, 1, 4)])]),
    ]
}

fn unknown_reservations() -> Vec<Spec> {
    vec![
        spec("a reservation that does not exist is not cancelled").given(warehouse()).when(cancel(9)).refused(unknown(9)),
        spec("a location is no reservation to cancel").given(warehouse()).when(cancel(1)).refused(unknown(1)),
        spec("there is no reservation zero to cancel").given(warehouse()).when(cancel(0)).refused(unknown(0)),
        spec("a reservation is cancelled once")
            .about("Whoever is not sure whether a cancellation arrived sends the same request again, under its id, and gets its answer.")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 5)]), cancelled(6, &[(4, 1, 5)])])
            .when(cancel(6))
            .refused(unknown(6)),
        spec("a fulfilled reservation is not cancelled")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 5)]), fulfilled(6, &[(4, 2, 5, 2)])])
            .when(cancel(6))
            .refused(unknown(6)),
    ]
}
