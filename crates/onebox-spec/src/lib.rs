//! Specs at work: run on a service's own execution, made harder, written and read as text, compared, drawn as pages,
//! and sent to other implementations.
//!
//! Everything here is a function of its arguments: no clock, thread, socket or file. Whoever runs many specs, the verbs
//! of a binary or a test, brings its own threads.
//!
//! Reading order: [`stage`] (where one spec runs), [`hardening`] (the ways in which it must not matter how), [`run`]
//! (one spec, judged), [`catalogue`] (messages by their names), [`text`] (the canonical form), [`difference`], [`page`],
//! [`wire`] (a spec as a request to whatever implements the service).

pub mod catalogue;
pub mod coverage;
pub mod difference;
pub mod hardening;
pub mod page;
pub mod run;
pub mod stage;
pub mod text;
pub mod wire;

pub use catalogue::Catalogue;
pub use difference::Difference;
pub use run::{Mode, Problem, Rigour, Runner, Verdict};
pub use stage::{Mistake, Stage};
