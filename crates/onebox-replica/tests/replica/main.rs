//! Tests of a replica, driven by hand over a memory disk: its limits, the request table, the output rule, its failures.

mod among_peers;
mod at_most_once;
mod failures;
mod fates;
mod limits;
mod limits_of_budgets;

mod limits_of_requests;
mod output_rule;
mod rig;
mod service;
mod speculation;
mod warming;
