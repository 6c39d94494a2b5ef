//! A listing stays within the budget of queries, which specs do not choose.

use inventory::*;
use onebox_service::Code;

use crate::warehouse::Warehouse;

#[test]
fn listing_is_bounded_by_the_budget() {
    let mut warehouse = Warehouse::default();
    let locations = (1..=200).map(|number| NewLocation { name: format!("N{number}"), children: vec![] }).collect();
    warehouse.execute::<AddLocations>(&AddLocationsRequest { parent: 0, locations }).unwrap();
    let refusal = warehouse.query_within::<ListLocations>(&ListLocationsRequest { location: 0 }, 100).unwrap_err();
    assert_eq!(refusal.code, Code::ResourceExhausted);
}
