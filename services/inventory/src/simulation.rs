//! A warehouse's life, drawn by chance, for `inventory simulate`; and what must hold whatever goes wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use onebox::{Ask, Chance, Reader, Refusal, Service, Workload};

use crate::*;

const LOCATIONS_MAX: usize = 40;
const PRODUCTS_MAX: usize = 12;
const RESERVATIONS_MAX: usize = 30;

/// Requests in which most things work, and every method is refused now and then; it knows the ids that answers have told.
#[derive(Debug, Clone, Default)]
pub struct Life {
    locations: Vec<u64>,
    products: Vec<(u64, String)>,
    reservations: Vec<u64>,
    names: u64,
}

impl Workload for Life {
    fn service(&self) -> Arc<dyn Service> {
        Arc::new(Inventory)
    }

    fn next(&mut self, _client: usize, chance: &mut Chance) -> Ask {
        self.names += 1;
        match chance.below(100) {
            0..20 => self.read(chance),
            _ if self.products.len() < 2 => self.add_products(chance),
            _ if self.locations.len() < 3 => self.add_locations(chance),
            20..24 if self.locations.len() < LOCATIONS_MAX => self.add_locations(chance),
            24..27 if self.products.len() < PRODUCTS_MAX => self.add_products(chance),
            27..29 => {
                Ask::may_record::<MoveLocation>(&MoveLocationRequest { location: self.location(chance), new_parent: self.location(chance) })
            }
            29..68 => self.update_stock(chance),
            68..84 => self.reserve(chance),
            84..94 => self.fulfill(chance),
            _ => Ask::records::<Cancel>(&CancelRequest { reservation: self.reservation(chance) }),
        }
    }

    fn told(&mut self, ask: &Ask, answer: Result<&[u8], &Refusal>) {
        let Ok(response) = answer else { return };
        if let Some(added) = ask.answer::<AddLocations>(response) {
            added.locations.iter().for_each(|node| self.learn(node));
        } else if let (Some(asked), Some(added)) = (ask.request::<AddProducts>(), ask.answer::<AddProducts>(response)) {
            self.products.extend(added.products.into_iter().zip(asked.skus));
        } else if let Some(reserved) = ask.answer::<Reserve>(response) {
            self.reservations.push(reserved.reservation);
            if self.reservations.len() > RESERVATIONS_MAX {
                self.reservations.remove(0);
            }
        }
    }

    /// Stock is never negative, what is reserved is always there, and every location has what it and those in it have.
    fn holds(&self, state: &Reader<'_>) -> Result<(), String> {
        let parents: BTreeMap<u64, u64> = state.locations().all().map(|location| (location.id, location.parent)).collect();
        let mut sums: BTreeMap<(u64, u64), i64> = BTreeMap::new();
        let balances: Vec<Balance> = state.balances().all().collect();
        for Balance { location, product, on_hand, on_hand_within, reserved_within } in &balances {
            if *on_hand < 0 || *reserved_within < 0 || on_hand_within < reserved_within {
                return Err(format!(
                    "location {location} has {on_hand} of product {product}, {on_hand_within} within, {reserved_within} reserved"
                ));
            }
            *sums.entry((*location, *product)).or_default() += on_hand;
            if let Some(parent) = parents.get(location) {
                *sums.entry((*parent, *product)).or_default() += on_hand_within;
            }
        }
        for balance in &balances {
            let sum = sums[&(balance.location, balance.product)];
            if sum != balance.on_hand_within {
                let (location, product) = (balance.location, balance.product);
                return Err(format!(
                    "location {location} states {} of product {product} within, and there are {sum}",
                    balance.on_hand_within
                ));
            }
        }
        Ok(())
    }
}

impl Life {
    fn learn(&mut self, node: &LocationNode) {
        self.locations.push(node.id);
        node.children.iter().for_each(|child| self.learn(child));
    }

    fn read(&self, chance: &mut Chance) -> Ask {
        let location = if chance.once_in(3) { 0 } else { self.location(chance) };
        // The costliest of all requests.
        if chance.once_in(8) {
            Ask::reads::<ListLocations>(&ListLocationsRequest { location })
        } else {
            Ask::reads::<GetStock>(&GetStockRequest { location })
        }
    }

    fn add_locations(&self, chance: &mut Chance) -> Ask {
        let parent = if self.locations.is_empty() || chance.once_in(3) { 0 } else { self.location(chance) };
        // A plain name is taken soon, and then refused.
        let name = if chance.once_in(6) { "Shelf".to_owned() } else { format!("Shelf {}", self.names) };
        let child = NewLocation { name: "Box".to_owned(), children: Vec::new() };
        let locations = vec![NewLocation { name, children: vec![child] }];
        Ask::records::<AddLocations>(&AddLocationsRequest { parent, locations })
    }

    fn add_products(&self, chance: &mut Chance) -> Ask {
        let sku = |part: u64, chance: &mut Chance| if chance.once_in(12) { "GPU".to_owned() } else { format!("GPU {}-{part}", self.names) };
        let skus = (0..1 + chance.below(2)).map(|part| sku(part, chance)).collect();
        Ask::records::<AddProducts>(&AddProductsRequest { skus })
    }

    fn update_stock(&self, chance: &mut Chance) -> Ask {
        let magnitude = chance.below(9) as i64 + 1;
        let change = match chance.below(12) {
            0 => 0,
            1..4 => -magnitude,
            _ => magnitude,
        };
        let ask = UpdateStockRequest { location: self.location(chance), product: self.product(chance), change };
        if change == 0 { Ask::may_record::<UpdateStock>(&ask) } else { Ask::records::<UpdateStock>(&ask) }
    }

    fn reserve(&self, chance: &mut Chance) -> Ask {
        let line = |chance: &mut Chance| {
            let sku = self.products[chance.place(self.products.len())].1.clone();
            ReserveLine { sku, quantity: chance.below(4) as i64 + 1 }
        };
        let lines = (0..1 + chance.below(2)).map(|_| line(chance)).collect();
        let code = format!("R{}", if chance.once_in(10) { chance.below(self.names) } else { self.names });
        let location = if chance.once_in(2) { 0 } else { self.location(chance) };
        Ask::records::<Reserve>(&ReserveRequest { code, location, lines, ..ReserveRequest::default() })
    }

    fn fulfill(&self, chance: &mut Chance) -> Ask {
        let pick = |chance: &mut Chance| Pick {
            product: self.product(chance),
            location: self.location(chance),
            quantity: chance.below(3) as i64 + 1,
        };
        let picks = (0..chance.below(3)).map(|_| pick(chance)).collect();
        Ask::records::<Fulfill>(&FulfillRequest { reservation: self.reservation(chance), picks })
    }

    fn location(&self, chance: &mut Chance) -> u64 {
        if self.locations.is_empty() || chance.once_in(25) { chance.below(200) } else { chance.pick(&self.locations) }
    }

    fn product(&self, chance: &mut Chance) -> u64 {
        if self.products.is_empty() || chance.once_in(25) { chance.below(200) } else { self.products[chance.place(self.products.len())].0 }
    }

    fn reservation(&self, chance: &mut Chance) -> u64 {
        if self.reservations.is_empty() || chance.once_in(12) { chance.below(400) } else { chance.pick(&self.reservations) }
    }
}
