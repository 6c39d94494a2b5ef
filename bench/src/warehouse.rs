//! The warehouse that is measured: its locations and products, the requests about it, and what must be in it at the end.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::load::{http1, http2};
use crate::server::Server;

/// Zones of the warehouse: the locations of the first level.
const ZONES: usize = 10;
/// Shelves of one zone: the leaves.
const SHELVES_PER_ZONE: usize = 100;
/// Products of one shelf. Shelf by shelf the next ones, round and round.
const PRODUCTS_PER_SHELF: usize = 10;
/// Products.
const PRODUCTS: usize = 1_000;

/// A method that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum Method {
    /// Puts one piece of one product into one shelf: one event, synced before the answer.
    UpdateStock,
    /// Reads the ten products of one shelf.
    GetStock,
}

/// A protocol that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// HTTP/1.1 with JSON, keep-alive.
    Http,
    /// Unary gRPC over HTTP/2, with one connection per client too.
    Grpc,
}

impl Method {
    pub(crate) const ALL: [Method; 2] = [Method::UpdateStock, Method::GetStock];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::UpdateStock => "UpdateStock",
            Method::GetStock => "GetStock",
        }
    }
}

impl Protocol {
    pub(crate) const ALL: [Protocol; 2] = [Protocol::Http, Protocol::Grpc];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Http => "HTTP/JSON",
            Protocol::Grpc => "gRPC",
        }
    }
}

/// The ids of what was added.
pub(crate) struct Warehouse {
    shelves: Vec<u64>,
    products: Vec<u64>,
}

impl Warehouse {
    /// Adds the locations and the products, without stock.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn build(server: &Server) -> Result<Warehouse, String> {
        let mut shelves = Vec::new();
        for zone in 0..ZONES {
            let children: Vec<Value> = (0..SHELVES_PER_ZONE).map(|shelf| json!({ "name": format!("shelf {shelf}") })).collect();
            let body = json!({ "locations": [{ "name": format!("zone {zone}"), "children": children }] });
            let added = ask(server, "POST", "/v1/locations", Some(&body))?;
            let added = added["locations"][0]["children"].as_array().cloned().unwrap_or_default();
            shelves.extend(added.iter().filter_map(|shelf| number(&shelf["id"])));
        }
        let mut products = Vec::new();
        let skus: Vec<String> = (0..PRODUCTS).map(|product| format!("SKU-{product}")).collect();
        for skus in skus.chunks(SHELVES_PER_ZONE) {
            let added = ask(server, "POST", "/v1/products", Some(&json!({ "skus": skus })))?;
            products.extend(added["products"].as_array().into_iter().flatten().filter_map(number));
        }
        let expected = (ZONES * SHELVES_PER_ZONE, PRODUCTS);
        if (shelves.len(), products.len()) != expected {
            return Err(format!("{} shelves and {} products were added instead of {expected:?}", shelves.len(), products.len()));
        }
        Ok(Warehouse { shelves, products })
    }

    /// What is in it, in words.
    pub(crate) fn words(&self) -> String {
        let Warehouse { shelves, products } = self;
        let rows = shelves.len() * PRODUCTS_PER_SHELF;
        format!("{} shelves in {ZONES} zones, {} products, {rows} stock rows", shelves.len(), products.len())
    }

    /// All requests of a method: of UpdateStock one for each stock row, of GetStock one for each shelf.
    pub(crate) fn requests(&self, method: Method, protocol: Protocol) -> Arc<Vec<Vec<u8>>> {
        let shelves = self.shelves.iter();
        let requests = match method {
            Method::UpdateStock => shelves
                .enumerate()
                .flat_map(|(number, shelf)| {
                    let first = number * PRODUCTS_PER_SHELF;
                    let products = (first..first + PRODUCTS_PER_SHELF).map(|product| self.products[product % self.products.len()]);
                    products.map(move |product| update_stock(*shelf, product, protocol))
                })
                .collect(),
            Method::GetStock => shelves.map(|shelf| get_stock(*shelf, protocol)).collect(),
        };
        Arc::new(requests)
    }

    /// The stock on hand in the whole warehouse.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn on_hand(&self, server: &Server) -> Result<u64, String> {
        let mut total = 0;
        for shelf in &self.shelves {
            let stock = ask(server, "GET", &format!("/v1/locations/{shelf}/stock"), None)?;
            let items = stock["items"].as_array().into_iter().flatten();
            total += items.filter_map(|item| number(&item["onHand"])).sum::<u64>();
        }
        Ok(total)
    }
}

fn update_stock(shelf: u64, product: u64, protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Http => {
            let body = format!(r#"{{"product":"{product}","change":"1"}}"#);
            http1::request("POST", &format!("/v1/locations/{shelf}/stock"), Some(&body))
        }
        Protocol::Grpc => {
            // `change` is zigzag-encoded: 1 is 2.
            let message = [field(1, shelf), field(2, product), field(3, 2)].concat();
            http2::request("/inventory.v1.Inventory/UpdateStock", &message)
        }
    }
}

fn get_stock(shelf: u64, protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Http => http1::request("GET", &format!("/v1/locations/{shelf}/stock"), None),
        Protocol::Grpc => http2::request("/inventory.v1.Inventory/GetStock", &field(1, shelf)),
    }
}

/// A varint field of a protobuf message.
fn field(tag: u8, mut value: u64) -> Vec<u8> {
    let mut bytes = vec![tag << 3];
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn ask(server: &Server, verb: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
    let body = body.map(Value::to_string);
    let (status, answer) = server.ask(&http1::request(verb, path, body.as_deref()))?;
    let text = String::from_utf8_lossy(&answer);
    if status != 200 {
        return Err(format!("{verb} {path} was answered with {status}: {text}"));
    }
    serde_json::from_slice(&answer).map_err(|error| format!("the answer to {verb} {path} is not JSON: {error}: {text}"))
}

/// A 64-bit integer, which JSON carries as text.
fn number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_varints() {
        assert_eq!(field(1, 5), [0x08, 5]);
        assert_eq!(field(2, 300), [0x10, 0xac, 0x02]);
    }
}
