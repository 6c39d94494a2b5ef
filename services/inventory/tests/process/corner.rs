//! One worker's corner of the warehouse: what only this worker changes, as it must be, and as the server shows it.
//!
//! A corner is a location `corner-N` with three children: `shelf`, which holds two products, and `left` and `right`,
//! which hold forests. What it must be follows from the acknowledged deeds alone, by rules written here a second time.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::client::{Ask, Connection, number, text};

/// What a worker asks for.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    UpdateStock { product: usize, change: i64 },
    Reserve { code: String, quantities: [i64; 2] },
    Fulfill { reservation: i64, picks: [i64; 2] },
    Cancel { reservation: i64 },
    AddForest { name: String, side: usize },
    MoveForest { name: String, root: i64, side: usize },
    AddProducts { skus: [String; 3] },
}

/// What anybody can read of a corner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) on_hand: [i64; 2],
    pub(crate) available: [i64; 2],
    /// The side on which each forest stands.
    pub(crate) forests: BTreeMap<String, usize>,
    /// The products that were added, of those asked about.
    pub(crate) skus: BTreeSet<String>,
}

/// Where a corner's things are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    location: i64,
    shelf: i64,
    sides: [i64; 2],
    products: [i64; 2],
    skus: [String; 2],
}

/// A corner as it must be.
#[derive(Debug, Clone)]
pub(crate) struct Corner {
    pub(crate) places: Places,
    pub(crate) books: Books,
    /// Open reservations whose id is known.
    pub(crate) reservations: BTreeMap<i64, [i64; 2]>,
    /// The id of each forest's root, as far as known.
    pub(crate) roots: BTreeMap<String, i64>,
}

/// A forest as the server must show it: five locations, three levels.
const FOREST: &str = "(a(x,y),b)";

impl Corner {
    /// Makes the corner `number` on a server without load.
    pub(crate) fn set_up(connection: &mut Connection, number_of: usize) -> Corner {
        let skus = [0, 1].map(|product| format!("corner-{number_of}-product-{product}"));
        let added = connection.succeed(&Ask::post("/v1/products", &json!({ "skus": skus })));
        let products = [0, 1].map(|place| number(&added["products"][place]));
        let children = json!([{"name": "shelf"}, {"name": "left"}, {"name": "right"}]);
        let tree = json!({"locations": [{"name": format!("corner-{number_of}"), "children": children}]});
        let added = connection.succeed(&Ask::post("/v1/locations", &tree));
        let corner = &added["locations"][0];
        let child = |place: usize| number(&corner["children"][place]["id"]);
        let places = Places { location: number(&corner["id"]), shelf: child(0), sides: [child(1), child(2)], products, skus };
        Corner { places, books: Books::default(), reservations: BTreeMap::new(), roots: BTreeMap::new() }
    }

    /// The code with which a deed must be refused in this state, if it must.
    pub(crate) fn refusal(&self, deed: &Deed) -> Option<&'static str> {
        let (on_hand, available) = (self.books.on_hand, self.books.available);
        let fits = match deed {
            Deed::UpdateStock { product, change } => available[*product] + change >= 0,
            Deed::Reserve { quantities, .. } => (0..2).all(|product| quantities[product] <= available[product]),
            Deed::Fulfill { reservation, picks } => {
                let released = self.reservations[reservation];
                (0..2).all(|product| picks[product] <= on_hand[product] && picks[product] <= available[product] + released[product])
            }
            Deed::Cancel { .. } | Deed::AddForest { .. } | Deed::MoveForest { .. } | Deed::AddProducts { .. } => true,
        };
        (!fits).then_some("FAILED_PRECONDITION")
    }

    /// Notes that a deed took effect, and its answer if that is known. The answer must fit.
    pub(crate) fn apply(&mut self, deed: &Deed, answer: Option<&Value>) {
        match deed {
            Deed::UpdateStock { product, change } => {
                self.books.on_hand[*product] += change;
                self.books.available[*product] += change;
                if let Some(answer) = answer {
                    assert_eq!(number(&answer["onHand"]), self.books.on_hand[*product], "{deed:?} was answered {answer}");
                }
            }
            Deed::Reserve { quantities, .. } => {
                (0..2).for_each(|product| self.books.available[product] -= quantities[product]);
                if let Some(answer) = answer {
                    let before = self.reservations.insert(number(&answer["reservation"]), *quantities);
                    assert!(before.is_none(), "{deed:?} was answered with an id in use: {answer}");
                }
            }
            Deed::Fulfill { reservation, picks } => {
                let released = self.reservations.remove(reservation).expect("only open reservations are fulfilled");
                for product in 0..2 {
                    self.books.on_hand[product] -= picks[product];
                    self.books.available[product] += released[product] - picks[product];
                }
            }
            Deed::Cancel { reservation } => {
                let released = self.reservations.remove(reservation).expect("only open reservations are cancelled");
                (0..2).for_each(|product| self.books.available[product] += released[product]);
            }
            Deed::AddForest { name, side } => {
                self.books.forests.insert(name.clone(), *side);
                if let Some(answer) = answer {
                    let (root, shape) = shape_of(&answer["locations"][0]);
                    assert_eq!(shape, format!("{name}{FOREST}"), "{deed:?} was answered {answer}");
                    self.roots.insert(name.clone(), root);
                }
            }
            Deed::MoveForest { name, side, .. } => {
                self.books.forests.insert(name.clone(), *side);
            }
            Deed::AddProducts { skus } => {
                self.books.skus.extend(skus.iter().cloned());
                if let Some(answer) = answer {
                    assert_eq!(answer["products"].as_array().map(Vec::len), Some(skus.len()), "{deed:?} was answered {answer}");
                }
            }
        }
    }

    /// What the server shows of this corner now. Asks about the products of `deed` too, and forgets older ones.
    pub(crate) fn read(&mut self, connection: &mut Connection, deed: Option<&Deed>) -> Books {
        let mut books = Books::default();
        let stock = connection.succeed(&Ask::get(format!("/v1/locations/{}/stock", self.places.location)));
        for item in stock["items"].as_array().into_iter().flatten() {
            let place = self.places.products.iter().position(|product| *product == number(&item["product"]));
            let place = place.unwrap_or_else(|| panic!("a product of somebody else lies in this corner: {stock}"));
            (books.on_hand[place], books.available[place]) = (number(&item["onHand"]), number(&item["available"]));
        }
        let listed = connection.succeed(&Ask::get(format!("/v1/locations/{}", self.places.location)));
        for (side, id) in self.places.sides.into_iter().enumerate() {
            let nodes = listed["locations"][0]["children"].as_array().expect("a corner has children");
            let node = nodes.iter().find(|node| number(&node["id"]) == id).expect("a side of the corner is there");
            for forest in node["children"].as_array().into_iter().flatten() {
                self.read_forest(&mut books, forest, side);
            }
        }
        if let Some(Deed::AddProducts { skus }) = deed {
            self.books.skus.retain(|sku| skus.contains(sku));
            books.skus = skus.iter().filter(|sku| is_known(connection, sku)).cloned().collect();
        } else {
            self.books.skus.clear();
        }
        books
    }

    fn read_forest(&mut self, books: &mut Books, forest: &Value, side: usize) {
        let (root, shape) = shape_of(forest);
        let name = text(&forest["name"]).to_owned();
        assert_eq!(shape, format!("{name}{FOREST}"), "a forest is half there");
        let known = *self.roots.entry(name.clone()).or_insert(root);
        assert_eq!(root, known, "the root of forest {name} has another id than was answered");
        assert!(books.forests.insert(name, side).is_none(), "a forest is there twice");
    }

    /// A deed as a request.
    pub(crate) fn ask(&self, deed: &Deed) -> Ask {
        let Places { location, shelf, sides, products, skus } = &self.places;
        match deed {
            Deed::UpdateStock { product, change } => {
                let body = json!({"product": products[*product].to_string(), "change": change.to_string()});
                Ask::post(format!("/v1/locations/{shelf}/stock"), &body)
            }
            Deed::Reserve { code, quantities } => {
                let line = |product: usize| json!({"sku": skus[product], "quantity": quantities[product].to_string()});
                let body = json!({"code": code, "location": location.to_string(), "lines": [line(0), line(1)]});
                Ask::post("/v1/reservations", &body)
            }
            Deed::Fulfill { reservation, picks } => {
                let pick = |product: usize| {
                    let (product, quantity) = (products[product].to_string(), picks[product].to_string());
                    json!({"product": product, "location": shelf.to_string(), "quantity": quantity})
                };
                Ask::post(format!("/v1/reservations/{reservation}:fulfill"), &json!({"picks": [pick(0), pick(1)]}))
            }
            Deed::Cancel { reservation } => Ask::post(format!("/v1/reservations/{reservation}:cancel"), &json!({})),
            Deed::AddForest { name, side } => {
                let children = json!([{"name": "a", "children": [{"name": "x"}, {"name": "y"}]}, {"name": "b"}]);
                let body = json!({"parent": sides[*side].to_string(), "locations": [{"name": name, "children": children}]});
                Ask::post("/v1/locations", &body)
            }
            Deed::MoveForest { root, side, .. } => {
                Ask::post(format!("/v1/locations/{root}:move"), &json!({"newParent": sides[*side].to_string()}))
            }
            Deed::AddProducts { skus } => Ask::post("/v1/products", &json!({ "skus": skus })),
        }
    }
}

/// Whether a product was added, by a reservation that cannot succeed: there is no stock of it.
fn is_known(connection: &mut Connection, sku: &str) -> bool {
    let body = json!({"code": "never given", "lines": [{"sku": sku, "quantity": "1"}]});
    let reply = connection.ask(&Ask::post("/v1/reservations", &body));
    match reply.code().as_str() {
        "FAILED_PRECONDITION" => true,
        "NOT_FOUND" => false,
        _ => panic!("a reservation of a product without stock: {reply}"),
    }
}

/// The id of a tree's root, and the tree's names as `root(child(leaf,leaf),child)`.
fn shape_of(node: &Value) -> (i64, String) {
    let children: Vec<String> = node["children"].as_array().into_iter().flatten().map(|child| shape_of(child).1).collect();
    let below = if children.is_empty() { String::new() } else { format!("({})", children.join(",")) };
    (number(&node["id"]), format!("{}{below}", text(&node["name"])))
}
