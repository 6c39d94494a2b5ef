//! Cancel: an open reservation gives back what it holds. Owns [`Cancelled`].

use onebox::{Apply, Feature, Outcome, Rows, Spec, Tx};

use crate::{Cancel, CancelRequest, CancelResponse, Cancelled, CancelledItem, ReservedItem, reservation};

impl Feature for Cancel {
    fn run(tx: &mut Tx<'_>, ask: CancelRequest) -> Outcome<CancelResponse> {
        let held = reservation::open(tx, ask.reservation)?;
        let release = |item: ReservedItem| CancelledItem { product: item.product, location: item.location, released: item.quantity };
        let items = held.items.into_iter().map(release).collect();
        tx.record(Cancelled { reservation: ask.reservation, items });
        Ok(CancelResponse {})
    }

    fn specs() -> Vec<Spec> {
        super::cancel_specs::all()
    }
}

impl Apply for Cancelled {
    fn apply(self, rows: &mut Rows<'_>) {
        reservation::close(rows, self.reservation);
    }
}
