//! The binary of the inventory service.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A service allocates and frees on several threads; this allocator is made for that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    onebox::main_with(inventory::Inventory, inventory::Life::default)
}
