//! Reserve: a code that holds stock anywhere in a subtree until it is fulfilled or cancelled. Owns [`Reserved`].
//!
//! Keeps true: a code is given once and never again, and what is reserved is covered by what is on hand.

use std::collections::BTreeMap;

use onebox::{Apply, Feature, Outcome, Rows, Spec, Tx, refuse};

use crate::{
    CodeTaken, EmptyField, OutOfRange, QuantityBelowOne, Reservation, Reserve, ReserveLine, ReserveRequest, ReserveResponse, Reserved,
    ReservedItem, Tables, UnknownLocation, UnknownSku, availability, balance, tree,
};

impl Feature for Reserve {
    fn run(tx: &mut Tx<'_>, ask: ReserveRequest) -> Outcome<ReserveResponse> {
        require_sense(&ask)?;
        let path = tree::path(tx, ask.location).ok_or(UnknownLocation { location: ask.location })?;
        let lines = known_lines(tx, &ask.lines)?;
        if tx.reservations().by_code(&ask.code).is_some() {
            return refuse(CodeTaken { code: ask.code });
        }
        let items = added_together(ask.location, &lines)?;
        for item in &items {
            availability::require(tx, &path, item.product, item.quantity)?;
        }
        let reservation = tx.new_id();
        tx.record(Reserved { reservation, code: ask.code, items });
        Ok(ReserveResponse { reservation })
    }

    fn specs() -> Vec<Spec> {
        super::reserve_specs::all()
    }
}

impl Apply for Reserved {
    fn apply(self, rows: &mut Rows<'_>) {
        for item in &self.items {
            balance::add_reserved(rows, item.location, item.product, item.quantity);
        }
        rows.put(&Reservation { id: self.reservation, code: self.code, items: self.items, closed: false });
    }
}

fn require_sense(ask: &ReserveRequest) -> Outcome<()> {
    if ask.code.is_empty() {
        return refuse(EmptyField { field: "code".into() });
    }
    if ask.lines.is_empty() {
        return refuse(EmptyField { field: "lines".into() });
    }
    for (position, line) in ask.lines.iter().enumerate() {
        if line.sku.is_empty() {
            return refuse(EmptyField { field: format!("lines[{position}].sku") });
        }
        if line.quantity < 1 {
            return refuse(QuantityBelowOne { field: format!("lines[{position}].quantity"), quantity: line.quantity });
        }
    }
    Ok(())
}

/// The product of each line, with its quantity. A sku is looked up once, however often it is named.
fn known_lines(tx: &Tx<'_>, lines: &[ReserveLine]) -> Outcome<Vec<(u64, i64)>> {
    let mut known: BTreeMap<&str, u64> = BTreeMap::new();
    let mut found = Vec::with_capacity(lines.len());
    for line in lines {
        let product = match known.get(line.sku.as_str()) {
            Some(&product) => product,
            None => tx.products().by_sku(&line.sku).ok_or_else(|| UnknownSku { sku: line.sku.clone() })?.id,
        };
        known.insert(&line.sku, product);
        found.push((product, line.quantity));
    }
    Ok(found)
}

/// One item per product, in the order in which the products first appear.
fn added_together(location: u64, lines: &[(u64, i64)]) -> Outcome<Vec<ReservedItem>> {
    let mut items: Vec<ReservedItem> = Vec::with_capacity(lines.len());
    let mut positions: BTreeMap<u64, usize> = BTreeMap::new();
    for &(product, quantity) in lines {
        let position = *positions.entry(product).or_insert(items.len());
        match items.get_mut(position) {
            Some(item) => item.quantity = item.quantity.checked_add(quantity).ok_or_else(|| too_many(product))?,
            None => items.push(ReservedItem { product, quantity, location }),
        }
    }
    Ok(items)
}

fn too_many(product: u64) -> OutOfRange {
    OutOfRange { total: format!("the quantity of product {product}, all lines added together,") }
}
