//! The specs themselves.

use std::path::Path;

use inventory::Inventory;
use onebox::Service;

/// So many the service must have at least: every method, every refusal, every rule of the contract.
const SPECS_MIN: usize = 60;

#[test]
fn every_spec_holds_in_every_mode() {
    onebox::check_specs(Inventory);
}

#[test]
fn every_method_event_and_refusal_is_shown() {
    assert!(Inventory.specs().len() >= SPECS_MIN);
    assert_eq!(onebox::not_shown_by_specs(Inventory), Vec::<String>::new());
}

#[test]
fn the_pages_are_what_the_specs_say() {
    onebox::check_pages(Inventory, Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/inventory"));
}
