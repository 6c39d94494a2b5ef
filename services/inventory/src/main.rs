//! The binary of the inventory service.

use std::process::ExitCode;

fn main() -> ExitCode {
    onebox::main_with(inventory::Inventory, inventory::Life::default)
}
