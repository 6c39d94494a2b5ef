//! AddProducts: products by their skus. Owns [`ProductAdded`].
//!
//! Keeps true: a sku is unique in the tenant.

use std::collections::BTreeSet;

use onebox::{Apply, Feature, Outcome, Rows, Spec, Tx, refuse};

use crate::{AddProducts, AddProductsRequest, AddProductsResponse, EmptyField, Product, ProductAdded, SkuRepeated, SkuTaken, Tables};

impl Feature for AddProducts {
    fn run(tx: &mut Tx<'_>, ask: AddProductsRequest) -> Outcome<AddProductsResponse> {
        if ask.skus.is_empty() {
            return refuse(EmptyField { field: "skus".into() });
        }
        if let Some(position) = ask.skus.iter().position(String::is_empty) {
            return refuse(EmptyField { field: format!("skus[{position}]") });
        }
        let mut seen = BTreeSet::new();
        for (position, sku) in ask.skus.iter().enumerate() {
            if tx.products().by_sku(sku).is_some() {
                return refuse(SkuTaken { sku: sku.clone() });
            }
            if !seen.insert(sku) {
                return refuse(SkuRepeated { field: format!("skus[{position}]"), sku: sku.clone() });
            }
        }
        let add = |sku: String| {
            let product = tx.new_id();
            tx.record(ProductAdded { product, sku });
            product
        };
        Ok(AddProductsResponse { products: ask.skus.into_iter().map(add).collect() })
    }

    fn specs() -> Vec<Spec> {
        super::add_products_specs::all()
    }
}

impl Apply for ProductAdded {
    fn apply(self, rows: &mut Rows<'_>) {
        rows.put(&Product { id: self.product, sku: self.sku });
    }
}
