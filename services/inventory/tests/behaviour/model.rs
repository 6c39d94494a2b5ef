//! Random requests, answered by the service and by the reference: same answers, same refusals, same sight of the state
//! after each; and the recorded events, replayed on an empty keyspace, give the rows that are there.

use std::fmt::Debug;

use inventory::*;
use onebox_service::Code;

use crate::random::Random;
use crate::reference::{Answer, Reference};
use crate::warehouse::{Shown, Warehouse};

const SEEDS: u64 = 24;
const STEPS: usize = 700;

#[test]
fn the_service_agrees_with_the_reference() {
    let mut seen = Seen::default();
    for seed in 1..=SEEDS {
        let (random, warehouse) = (Random::new(seed), Warehouse::default());
        let mut run = Run { at: String::new(), random, warehouse, reference: Reference::default(), seen: &mut seen };
        for step in 0..STEPS {
            run.at = format!("seed {seed}, step {step}");
            run.step();
            run.compare_sights();
        }
        run.warehouse.replays();
    }
    seen.require_every_branch();
}

struct Run<'s> {
    at: String,
    random: Random,
    warehouse: Warehouse,
    reference: Reference,
    seen: &'s mut Seen,
}

/// Which outcomes the requests had; a comparison that never meets a refusal proves little about it.
#[derive(Default)]
struct Seen(std::collections::BTreeMap<(&'static str, &'static str), u32>);

impl Seen {
    fn require_every_branch(&self) {
        let possible: [(&str, &[&str]); 7] = [
            ("AddLocations", &["OK", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS"]),
            ("MoveLocation", &["OK", "nothing", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION"]),
            ("AddProducts", &["OK", "INVALID_ARGUMENT", "ALREADY_EXISTS"]),
            ("UpdateStock", &["OK", "nothing", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE"]),
            ("Reserve", &["OK", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE"]),
            ("Fulfill", &["OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"]),
            ("Cancel", &["OK", "NOT_FOUND"]),
        ];
        for (method, outcomes) in possible {
            for outcome in outcomes {
                let count = self.0.get(&(method, outcome)).copied().unwrap_or(0);
                assert!(count >= 3, "{method} answered {outcome} only {count} times; the requests are too tame: {:?}", self.0);
            }
        }
    }
}

impl Run<'_> {
    fn step(&mut self) {
        match self.random.below(100) {
            0..8 => {
                let ask = self.new_locations();
                self.compare::<AddLocations>(ask, Reference::add_locations);
            }
            8..12 => {
                let skus = (0..self.random.below(4)).map(|_| self.sku()).collect();
                self.compare::<AddProducts>(AddProductsRequest { skus }, Reference::add_products);
            }
            12..25 => {
                let ask = MoveLocationRequest { location: self.location(), new_parent: self.location() };
                self.compare::<MoveLocation>(ask, Reference::move_location);
            }
            25..60 => {
                let ask = UpdateStockRequest { location: self.location(), product: self.product(), change: self.change() };
                self.compare::<UpdateStock>(ask, Reference::update_stock);
            }
            60..80 => {
                let ask = self.new_reservation();
                self.compare::<Reserve>(ask, Reference::reserve);
            }
            80..94 => {
                let ask = FulfillRequest { reservation: self.reservation(), picks: self.picks() };
                self.compare::<Fulfill>(ask, Reference::fulfill);
            }
            _ => {
                let ask = CancelRequest { reservation: self.reservation() };
                self.compare::<Cancel>(ask, Reference::cancel);
            }
        }
    }

    fn compare<M: Shown>(&mut self, ask: M::Request, answer: fn(&mut Reference, &M::Request) -> Answer<M::Response>) {
        let before = self.reference.clone();
        let expected = answer(&mut self.reference, &ask);
        let got = self.warehouse.execute::<M>(&ask);
        let recorded = matches!(&got, Ok((_, facts)) if !facts.is_empty());
        let shown = got.map(|(response, _)| response).map_err(|refusal| refusal.code);
        same(&self.at, &ask, &shown, &expected);
        assert_eq!(recorded, before != self.reference, "{}: {ask:?} records events exactly when something changes", self.at);
        let outcome = match &expected {
            Ok(_) if recorded => "OK",
            Ok(_) => "nothing",
            Err(code) => code.name(),
        };
        *self.seen.0.entry((M::NAME, outcome)).or_insert(0) += 1;
    }

    fn compare_sights(&self) {
        for location in self.reference.locations.keys().copied().chain([0, 1, 1_000_000]) {
            let ask = GetStockRequest { location };
            let got = self.warehouse.query::<GetStock>(&ask).map_err(|refusal| refusal.code);
            same(&self.at, &ask, &got, &self.reference.get_stock(location));
        }
        for location in [0, self.reference.locations.keys().last().copied().unwrap_or(7), 1_000_000] {
            let ask = ListLocationsRequest { location };
            let got = self.warehouse.query::<ListLocations>(&ask).map_err(|refusal| refusal.code);
            same(&self.at, &ask, &got, &self.reference.list_locations(location));
        }
    }

    fn new_locations(&mut self) -> AddLocationsRequest {
        // A small tree is met more often; once it is there, most additions are made to fail.
        let few = self.reference.locations.len() < 14;
        let parent = if few || self.random.once_in(3) { self.location() } else { 1_000_000 };
        let count = self.random.below(3) + u64::from(few && !self.random.once_in(6));
        AddLocationsRequest { parent, locations: self.forest(count, 3) }
    }

    fn forest(&mut self, count: u64, levels: u32) -> Vec<NewLocation> {
        let one = |_| {
            let children = if levels > 1 { self.random.below(3) } else { 0 };
            let name = if self.random.once_in(30) { "" } else { self.random.pick(&["A", "B", "C", "D"]) };
            NewLocation { name: name.into(), children: if children == 0 { vec![] } else { self.forest(children - 1, levels - 1) } }
        };
        (0..count).map(one).collect()
    }

    fn new_reservation(&mut self) -> ReserveRequest {
        let code = if self.random.once_in(40) { String::new() } else { format!("R{}", self.random.below(400)) };
        let mut lines: Vec<ReserveLine> =
            (0..self.random.below(4)).map(|_| ReserveLine { sku: self.sku(), quantity: self.quantity() }).collect();
        if self.random.once_in(30) {
            let sku = self.sku();
            lines.extend([i64::MAX, 1].map(|quantity| ReserveLine { sku: sku.clone(), quantity }));
        }
        ReserveRequest { code, location: self.location(), lines, ..ReserveRequest::default() }
    }

    fn picks(&mut self) -> Vec<Pick> {
        let mut picks = Vec::new();
        for _ in 0..self.random.below(4) {
            let stocked: Vec<(u64, u64)> = self.reference.stock.keys().copied().collect();
            let (location, product) =
                if stocked.is_empty() || self.random.once_in(8) { (self.location(), self.product()) } else { self.random.pick(&stocked) };
            picks.push(Pick { product, location, quantity: self.quantity() });
        }
        picks
    }

    /// Mostly one that is there; now and then the root, or none.
    fn location(&mut self) -> u64 {
        let known: Vec<u64> = self.reference.locations.keys().copied().collect();
        match self.random.below(20) {
            0 | 1 => 0,
            2 => self.random.below(60),
            _ if known.is_empty() => 0,
            _ => self.random.pick(&known),
        }
    }

    fn product(&mut self) -> u64 {
        let known: Vec<u64> = self.reference.products.keys().copied().collect();
        if known.is_empty() || self.random.once_in(20) { self.random.below(60) } else { self.random.pick(&known) }
    }

    fn reservation(&mut self) -> u64 {
        let open = self.reference.open_reservations();
        if open.is_empty() || self.random.once_in(10) { self.random.below(200) } else { self.random.pick(&open) }
    }

    fn sku(&mut self) -> String {
        if self.random.once_in(60) { String::new() } else { self.random.pick(&["GPU", "CPU", "RAM", "SSD"]).to_owned() }
    }

    fn quantity(&mut self) -> i64 {
        if self.random.once_in(40) { self.random.pick(&[0, -1, i64::MIN, i64::MAX]) } else { self.small() }
    }

    fn change(&mut self) -> i64 {
        match self.random.below(40) {
            0 => self.random.pick(&[i64::MIN, i64::MAX, i64::MAX - 3, 1 << 62]),
            1..4 => 0,
            4..18 => -self.small(),
            _ => self.small(),
        }
    }

    fn small(&mut self) -> i64 {
        i64::try_from(self.random.below(6)).unwrap() + 1
    }
}

#[track_caller]
fn same<T: Debug + PartialEq>(at: &str, ask: &impl Debug, got: &Result<T, Code>, expected: &Result<T, Code>) {
    assert_eq!(got, expected, "{at}: the service (left) and the reference (right) differ on {ask:?}");
}
