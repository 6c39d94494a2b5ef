//! One file per method: its decisions, and the `apply` of the events that it owns.

mod add_locations;
mod add_products;
mod cancel;
mod fulfill;
mod get_stock;
mod list_locations;
mod move_location;
mod reserve;
mod update_stock;
