//! The binary of the inventory service.

use std::process::ExitCode;

fn main() -> ExitCode {
    onebox::main(inventory::Inventory)
}
