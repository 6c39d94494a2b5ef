//! The service's specs: that they hold, in every way of running them; that those ways can fail; their text, pages and
//! protocol; and the verbs of the binary that stand on them.

mod against;
mod binary;
mod broken;
mod differences;
mod holds;
mod modes;
mod text;
