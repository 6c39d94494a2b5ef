//! The contract once more, as plainly as it can be said: nothing is kept but facts, and every sum is made by walking.
//!
//! It shares no code and no table with the service. Sums are made in 128 bits and compared with the range afterwards.

use std::collections::{BTreeMap, BTreeSet};

use inventory::*;
use onebox_service::Code;

pub(crate) type Answer<T> = Result<T, Code>;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Reference {
    pub(crate) locations: BTreeMap<u64, Place>,
    pub(crate) products: BTreeMap<u64, String>,
    /// On hand by (location, product), where it is not zero.
    pub(crate) stock: BTreeMap<(u64, u64), i128>,
    pub(crate) reservations: BTreeMap<u64, Held>,
    ids: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) parent: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Held {
    code: String,
    location: u64,
    open: bool,
    items: Vec<(u64, i128)>,
}

impl Reference {
    pub(crate) fn add_locations(&mut self, ask: &AddLocationsRequest) -> Answer<AddLocationsResponse> {
        let mut wanted = Vec::new();
        flatten(&ask.locations, None, &mut wanted);
        demand(!wanted.is_empty() && wanted.iter().all(|(_, name)| !name.is_empty()), Code::InvalidArgument)?;
        demand(self.is_location(ask.parent), Code::NotFound)?;
        let mut names: BTreeSet<(Option<usize>, &str)> =
            self.locations.values().filter(|place| place.parent == ask.parent).map(|place| (None, place.name.as_str())).collect();
        demand(wanted.iter().all(|&(parent, name)| names.insert((parent, name))), Code::AlreadyExists)?;
        let first = self.ids + 1;
        for (parent, name) in wanted {
            let parent = parent.map_or(ask.parent, |position| first + position as u64);
            let id = self.new_id();
            self.locations.insert(id, Place { name: name.to_owned(), parent });
        }
        let tops = self.locations.range(first..).filter(|(_, place)| place.parent == ask.parent);
        Ok(AddLocationsResponse { locations: tops.map(|(&id, _)| self.node(id)).collect() })
    }

    pub(crate) fn move_location(&mut self, ask: &MoveLocationRequest) -> Answer<MoveLocationResponse> {
        demand(self.is_location(ask.location) && self.is_location(ask.new_parent), Code::NotFound)?;
        let moved = self.locations.get(&ask.location).cloned().ok_or(Code::FailedPrecondition)?;
        if moved.parent == ask.new_parent {
            return Ok(MoveLocationResponse {});
        }
        let taken = self.locations.values().any(|place| place.parent == ask.new_parent && place.name == moved.name);
        demand(!taken, Code::AlreadyExists)?;
        demand(!self.lies_in(ask.new_parent, ask.location), Code::FailedPrecondition)?;
        self.attempt(|after| {
            after.locations.get_mut(&ask.location).unwrap().parent = ask.new_parent;
        })?;
        Ok(MoveLocationResponse {})
    }

    pub(crate) fn list_locations(&self, location: u64) -> Answer<ListLocationsResponse> {
        demand(self.is_location(location), Code::NotFound)?;
        let tops = self.locations.iter().filter(|&(&id, place)| if location == 0 { place.parent == 0 } else { id == location });
        Ok(ListLocationsResponse { locations: tops.map(|(&id, _)| self.node(id)).collect() })
    }

    pub(crate) fn add_products(&mut self, ask: &AddProductsRequest) -> Answer<AddProductsResponse> {
        demand(!ask.skus.is_empty() && ask.skus.iter().all(|sku| !sku.is_empty()), Code::InvalidArgument)?;
        let mut skus: BTreeSet<&String> = self.products.values().collect();
        demand(ask.skus.iter().all(|sku| skus.insert(sku)), Code::AlreadyExists)?;
        let mut products = Vec::new();
        for sku in &ask.skus {
            let id = self.new_id();
            self.products.insert(id, sku.clone());
            products.push(id);
        }
        Ok(AddProductsResponse { products })
    }

    pub(crate) fn update_stock(&mut self, ask: &UpdateStockRequest) -> Answer<UpdateStockResponse> {
        demand(ask.location != 0, Code::InvalidArgument)?;
        demand(self.is_location(ask.location) && self.products.contains_key(&ask.product), Code::NotFound)?;
        self.attempt(|after| after.put(ask.location, ask.product, i128::from(ask.change)))?;
        let on_hand = self.stock.get(&(ask.location, ask.product)).copied().unwrap_or(0);
        Ok(UpdateStockResponse { on_hand: narrow(on_hand) })
    }

    pub(crate) fn get_stock(&self, location: u64) -> Answer<GetStockResponse> {
        demand(self.is_location(location), Code::NotFound)?;
        let items = self.products.keys().filter_map(|&product| {
            let on_hand = self.on_hand(location, product);
            let available = on_hand - self.reserved(location, product);
            (on_hand != 0).then(|| StockItem { product, on_hand: narrow(on_hand), available: narrow(available) })
        });
        Ok(GetStockResponse { items: items.collect() })
    }

    pub(crate) fn reserve(&mut self, ask: &ReserveRequest) -> Answer<ReserveResponse> {
        let lines_make_sense = ask.lines.iter().all(|line| !line.sku.is_empty() && line.quantity >= 1);
        demand(!ask.code.is_empty() && !ask.lines.is_empty() && lines_make_sense, Code::InvalidArgument)?;
        demand(self.is_location(ask.location), Code::NotFound)?;
        let mut items: Vec<(u64, i128)> = Vec::new();
        for line in &ask.lines {
            let product = *self.products.iter().find(|(_, sku)| **sku == line.sku).ok_or(Code::NotFound)?.0;
            match items.iter_mut().find(|item| item.0 == product) {
                Some(item) => item.1 += i128::from(line.quantity),
                None => items.push((product, i128::from(line.quantity))),
            }
        }
        demand(self.reservations.values().all(|held| held.code != ask.code), Code::AlreadyExists)?;
        demand(items.iter().all(|item| item.1 <= i128::from(i64::MAX)), Code::OutOfRange)?;
        let reservation = self.ids + 1;
        self.attempt(|after| {
            after.new_id();
            after.reservations.insert(reservation, Held { code: ask.code.clone(), location: ask.location, open: true, items });
        })?;
        Ok(ReserveResponse { reservation })
    }

    pub(crate) fn fulfill(&mut self, ask: &FulfillRequest) -> Answer<FulfillResponse> {
        demand(ask.picks.iter().all(|pick| pick.quantity >= 1 && pick.location != 0), Code::InvalidArgument)?;
        demand(self.is_open(ask.reservation), Code::NotFound)?;
        let known = |pick: &Pick| self.products.contains_key(&pick.product) && self.is_location(pick.location);
        demand(ask.picks.iter().all(known), Code::NotFound)?;
        self.attempt(|after| {
            after.reservations.get_mut(&ask.reservation).unwrap().open = false;
            for pick in &ask.picks {
                after.put(pick.location, pick.product, -i128::from(pick.quantity));
            }
        })?;
        Ok(FulfillResponse {})
    }

    pub(crate) fn cancel(&mut self, ask: &CancelRequest) -> Answer<CancelResponse> {
        demand(self.is_open(ask.reservation), Code::NotFound)?;
        self.reservations.get_mut(&ask.reservation).unwrap().open = false;
        Ok(CancelResponse {})
    }

    /// Makes a change if the rules hold after it, and not at all otherwise.
    fn attempt(&mut self, change: impl FnOnce(&mut Reference)) -> Answer<()> {
        let mut after = self.clone();
        change(&mut after);
        for &product in after.products.keys() {
            demand(after.on_hand(0, product) <= i128::from(i64::MAX), Code::OutOfRange)?;
        }
        demand(after.stock.values().all(|&on_hand| on_hand > 0), Code::FailedPrecondition)?;
        for location in after.locations.keys().copied().chain([0]) {
            for &product in after.products.keys() {
                let covered = after.on_hand(location, product) >= after.reserved(location, product);
                demand(covered, Code::FailedPrecondition)?;
            }
        }
        *self = after;
        Ok(())
    }

    fn on_hand(&self, within: u64, product: u64) -> i128 {
        self.stock.iter().filter(|((at, of), _)| *of == product && self.lies_in(*at, within)).map(|(_, on_hand)| on_hand).sum()
    }

    fn reserved(&self, within: u64, product: u64) -> i128 {
        let held = self.reservations.values().filter(|held| held.open && self.lies_in(held.location, within));
        held.flat_map(|held| &held.items).filter(|item| item.0 == product).map(|item| item.1).sum()
    }

    /// Whether `location` is `within` or lies in its subtree.
    fn lies_in(&self, location: u64, within: u64) -> bool {
        let mut at = location;
        while at != within && at != 0 {
            at = self.locations[&at].parent;
        }
        at == within
    }

    fn node(&self, id: u64) -> LocationNode {
        let place = &self.locations[&id];
        let children = self.locations.iter().filter(|(_, child)| child.parent == id).map(|(&child, _)| self.node(child));
        LocationNode { id, name: place.name.clone(), parent: place.parent, children: children.collect() }
    }

    fn put(&mut self, location: u64, product: u64, change: i128) {
        *self.stock.entry((location, product)).or_insert(0) += change;
        self.stock.retain(|_, on_hand| *on_hand != 0);
    }

    fn new_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn is_location(&self, id: u64) -> bool {
        id == 0 || self.locations.contains_key(&id)
    }

    fn is_open(&self, reservation: u64) -> bool {
        self.reservations.get(&reservation).is_some_and(|held| held.open)
    }

    pub(crate) fn open_reservations(&self) -> Vec<u64> {
        self.reservations.iter().filter(|(_, held)| held.open).map(|(&id, _)| id).collect()
    }
}

/// Position of the parent in the list, and name; a parent before its children.
fn flatten<'a>(locations: &'a [NewLocation], parent: Option<usize>, into: &mut Vec<(Option<usize>, &'a str)>) {
    for location in locations {
        into.push((parent, &location.name));
        let position = into.len() - 1;
        flatten(&location.children, Some(position), into);
    }
}

fn demand(holds: bool, otherwise: Code) -> Answer<()> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn narrow(sum: i128) -> i64 {
    i64::try_from(sum).expect("every sum was checked to fit")
}
