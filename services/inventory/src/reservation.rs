//! A reservation from the outside of its making: found while it is open, closed once and for all.
//!
//! A closed reservation keeps its row, for its code stays taken; it holds nothing, and nobody finds it.

use onebox::{Outcome, Rows, refuse};

use crate::{Reservation, Tables, UnknownReservation, balance};

/// The open reservation with this id.
pub(crate) fn open(tables: &impl Tables, reservation: u64) -> Outcome<Reservation> {
    match tables.reservations().get(reservation) {
        Some(row) if !row.closed => Ok(row),
        Some(_) | None => refuse(UnknownReservation { reservation }),
    }
}

/// Releases all that a reservation holds, and closes it.
///
/// # Panics
/// If it is not there or already closed.
pub(crate) fn close(rows: &mut Rows<'_>, reservation: u64) {
    let row = rows.reservations().get(reservation).unwrap_or_else(|| panic!("there is no reservation {reservation} to close"));
    assert!(!row.closed, "reservation {reservation} is closed twice");
    for item in &row.items {
        balance::add_reserved(rows, item.location, item.product, -item.quantity);
    }
    rows.put(&Reservation { items: Vec::new(), closed: true, ..row });
}
