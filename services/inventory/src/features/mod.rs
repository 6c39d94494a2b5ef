//! One file per method: its decisions, and the `apply` of the events that it owns.

mod add_locations;
mod add_locations_specs;
mod add_products;
mod add_products_specs;
mod cancel;
mod cancel_specs;
mod fulfill;
mod fulfill_specs;
mod get_stock;
mod get_stock_specs;
mod list_locations;
mod list_locations_specs;
mod move_location;
mod move_location_specs;
mod reserve;
mod reserve_specs;
mod update_stock;
mod update_stock_specs;
