//! Tests of the vocabulary over a plain map: tables and their indexes, budgets, ids and chance, and the wall around code.

mod identifiers;
mod ids_and_chance;
mod limits;
mod stage;
mod tables;
mod walls;
