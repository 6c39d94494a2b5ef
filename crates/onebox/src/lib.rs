//! The author's only door to onebox: the vocabulary in which a service is written, and the macro that includes what its
//! schema generates.
//!
//! An author depends on this crate, and on `onebox-schema` in `build.rs`; on nothing else of onebox.

pub use binary::{main, main_with};
pub use onebox_service::{
    Apply, BadRequest, Code, Event, EventId, Fact, Feature, Key, Method, MethodId, Outcome, Query, Read, Reader, Refusal, RefusalMessage,
    Request, Row, Rows, Scan, Schema, Service, Spec, Table, TenantId, Time, Tx, refuse, spec,
};
pub use onebox_simulator::{Ask, Chance, Ended, Operation, Record, Workload};
pub use testing::{check_pages, check_specs, not_shown_by_specs};

mod binary;
mod json;
mod logging;
#[doc(hidden)]
pub mod private;
mod testing;
mod verbs;

/// A list of facts from events of different types: `facts![LocationAdded { .. }, StockUpdated { .. }]`.
#[macro_export]
macro_rules! facts {
    ($($event:expr),* $(,)?) => { [$($crate::Fact::from($event)),*] };
}

/// Includes what `onebox_schema::build` generated from the schema of a package, as the module `schema`, and brings its
/// names into scope. To be called once, in the crate's root: `onebox::schema!("inventory.v1");`.
#[macro_export]
macro_rules! schema {
    ($package:literal) => {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/onebox.", $package, ".rs"));
    };
}
