//! AddProducts.

use inventory::*;

use crate::warehouse::{Warehouse, facts};

fn add(skus: &[&str]) -> AddProductsRequest {
    AddProductsRequest { skus: skus.iter().map(|sku| (*sku).to_owned()).collect() }
}

fn added(product: u64, sku: &str) -> ProductAdded {
    ProductAdded { product, sku: sku.into() }
}

#[test]
fn products_get_ids_in_the_order_of_their_skus() {
    let mut warehouse = Warehouse::given(facts![LocationAdded { location: 1, name: "Hall".into(), parent: 0 }]);
    let facts = facts![added(2, "GPU"), added(3, "CPU")];
    warehouse.accepts::<AddProducts>(add(&["GPU", "CPU"]), AddProductsResponse { products: vec![2, 3] }, facts);
    warehouse.accepts::<AddProducts>(add(&["RAM"]), AddProductsResponse { products: vec![4] }, facts![added(4, "RAM")]);
    warehouse.replays();
}

#[test]
fn empty_and_taken_skus_are_refused() {
    let mut warehouse = Warehouse::given(facts![added(1, "GPU")]);
    warehouse.refuses::<AddProducts>(add(&[]), EmptyField { field: "skus".into() });
    warehouse.refuses::<AddProducts>(add(&["GPU", ""]), EmptyField { field: "skus[1]".into() });
    warehouse.refuses::<AddProducts>(add(&["CPU", "GPU"]), SkuTaken { sku: "GPU".into() });
    warehouse.refuses::<AddProducts>(add(&["CPU", "CPU", "GPU"]), SkuRepeated { field: "skus[1]".into(), sku: "CPU".into() });
    warehouse.accepts::<AddProducts>(add(&["gpu"]), AddProductsResponse { products: vec![2] }, facts![added(2, "gpu")]);
}
