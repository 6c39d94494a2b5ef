//! GetStock: what is on hand and available in a subtree, product by product.

use onebox::{Outcome, Query, Reader, Spec, refuse};

use crate::{Balance, GetStock, GetStockRequest, GetStockResponse, StockItem, Tables, UnknownLocation, balance, tree};

impl Query for GetStock {
    fn run(reader: &Reader<'_>, ask: GetStockRequest) -> Outcome<GetStockResponse> {
        if !tree::exists(reader, ask.location) {
            return refuse(UnknownLocation { location: ask.location });
        }
        // A balance is there exactly where stock is on hand, and its key sorts by product.
        let item = |row: Balance| StockItem { product: row.product, on_hand: row.on_hand_within, available: balance::available(&row) };
        Ok(GetStockResponse { items: reader.balances().by_location(ask.location).map(item).collect() })
    }

    fn specs() -> Vec<Spec> {
        super::get_stock_specs::all()
    }
}
