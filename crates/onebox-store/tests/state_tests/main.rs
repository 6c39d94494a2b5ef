//! Tests of the state against a plain map, under power losses, over damage, and of its bytes on the disk.

mod crash;
mod damage;
mod format;
mod model;
mod random;
mod runs;
mod world;
