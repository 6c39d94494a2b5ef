//! The benchmarks; `cargo xtask bench` runs them.

fn main() {}
