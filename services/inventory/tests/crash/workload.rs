//! Requests drawn by chance: a warehouse in which most things work, and every method is refused now and then.

use inventory::*;
use onebox::private::prost::Message;
use onebox_service::{Method, MethodId};

use crate::chance::Chance;

/// Ids that an answer has told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workload {
    locations: Vec<u64>,
    products: Vec<(u64, String)>,
    reservations: Vec<u64>,
    names: u64,
}

const LOCATIONS_MAX: usize = 40;
const PRODUCTS_MAX: usize = 12;

fn ask<M: Method>(request: &M::Request) -> (MethodId, Vec<u8>) {
    (M::ID, request.encode_to_vec())
}

impl Workload {
    /// A request that may record events.
    pub(crate) fn request(&mut self, chance: &mut Chance) -> (MethodId, Vec<u8>) {
        self.names += 1;
        match chance.below(100) {
            _ if self.products.len() < 2 => self.add_products(chance),
            _ if self.locations.len() < 3 => self.add_locations(chance),
            0..6 if self.locations.len() < LOCATIONS_MAX => self.add_locations(chance),
            6..10 if self.products.len() < PRODUCTS_MAX => self.add_products(chance),
            10..16 => ask::<MoveLocation>(&MoveLocationRequest { location: self.location(chance), new_parent: self.location(chance) }),
            16..60 => self.update_stock(chance),
            60..80 => self.reserve(chance),
            80..92 => self.fulfill(chance),
            _ => ask::<Cancel>(&CancelRequest { reservation: self.reservation(chance) }),
        }
    }

    /// A read-only request.
    pub(crate) fn read(&self, chance: &mut Chance) -> (MethodId, Vec<u8>) {
        let location = if chance.once_in(3) { 0 } else { self.location(chance) };
        if chance.once_in(3) {
            ask::<ListLocations>(&ListLocationsRequest { location })
        } else {
            ask::<GetStock>(&GetStockRequest { location })
        }
    }

    /// Reads that together show everything that there is to see.
    pub(crate) fn every_read(&self) -> Vec<(MethodId, Vec<u8>)> {
        let locations = [0].into_iter().chain(self.locations.iter().copied());
        locations
            .flat_map(|location| [ask::<GetStock>(&GetStockRequest { location }), ask::<ListLocations>(&ListLocationsRequest { location })])
            .collect()
    }

    /// Takes note of a response.
    pub(crate) fn learn(&mut self, method: MethodId, request: &[u8], response: &[u8]) {
        if method == AddLocations::ID {
            let response = AddLocationsResponse::decode(response).expect("a response of AddLocations");
            response.locations.iter().for_each(|node| self.learn_node(node));
        } else if method == AddProducts::ID {
            let skus = AddProductsRequest::decode(request).expect("a request of AddProducts").skus;
            let products = AddProductsResponse::decode(response).expect("a response of AddProducts").products;
            self.products.extend(products.into_iter().zip(skus));
        } else if method == Reserve::ID {
            self.reservations.push(ReserveResponse::decode(response).expect("a response of Reserve").reservation);
            if self.reservations.len() > 30 {
                self.reservations.remove(0);
            }
        }
    }

    fn learn_node(&mut self, node: &LocationNode) {
        self.locations.push(node.id);
        node.children.iter().for_each(|child| self.learn_node(child));
    }

    fn add_locations(&self, chance: &mut Chance) -> (MethodId, Vec<u8>) {
        let parent = if self.locations.is_empty() || chance.once_in(3) { 0 } else { self.location(chance) };
        // A plain name is taken soon, and then refused.
        let name = if chance.once_in(6) { "Shelf".to_owned() } else { format!("Shelf {}", self.names) };
        let child = NewLocation { name: "Box".to_owned(), children: Vec::new() };
        let locations = vec![NewLocation { name, children: vec![child] }];
        ask::<AddLocations>(&AddLocationsRequest { parent, locations })
    }

    fn add_products(&self, chance: &mut Chance) -> (MethodId, Vec<u8>) {
        let skus =
            (0..1 + chance.below(2)).map(|part| if chance.once_in(12) { "GPU".to_owned() } else { format!("GPU {}-{part}", self.names) });
        ask::<AddProducts>(&AddProductsRequest { skus: skus.collect() })
    }

    fn update_stock(&self, chance: &mut Chance) -> (MethodId, Vec<u8>) {
        let magnitude = chance.below(9) as i64 + 1;
        let change = match chance.below(12) {
            0 => 0,
            1..4 => -magnitude,
            _ => magnitude,
        };
        ask::<UpdateStock>(&UpdateStockRequest { location: self.location(chance), product: self.product(chance), change })
    }

    fn reserve(&self, chance: &mut Chance) -> (MethodId, Vec<u8>) {
        let line = |chance: &mut Chance| {
            let sku = self.products[chance.place(self.products.len())].1.clone();
            ReserveLine { sku, quantity: chance.below(4) as i64 + 1 }
        };
        let lines = (0..1 + chance.below(2)).map(|_| line(chance)).collect();
        let code = format!("R{}", if chance.once_in(10) { chance.below(self.names) } else { self.names });
        let location = if chance.once_in(2) { 0 } else { self.location(chance) };
        ask::<Reserve>(&ReserveRequest { code, location, lines, ..ReserveRequest::default() })
    }

    fn fulfill(&self, chance: &mut Chance) -> (MethodId, Vec<u8>) {
        let pick = |chance: &mut Chance| Pick {
            product: self.product(chance),
            location: self.location(chance),
            quantity: chance.below(3) as i64 + 1,
        };
        let picks = (0..chance.below(3)).map(|_| pick(chance)).collect();
        ask::<Fulfill>(&FulfillRequest { reservation: self.reservation(chance), picks })
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
