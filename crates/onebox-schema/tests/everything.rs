//! What is generated from a schema that uses everything compiles beside `onebox` alone, and does what the schema says.
//!
//! The generated files are brought up to date by the unit tests: `UPDATE_EXPECT=1 cargo test -p onebox-schema --lib`.

include!("everything/onebox.everything.v1.generated");

#[path = "everything/json.rs"]
mod json;
#[path = "everything/run.rs"]
mod run;
