//! The audit at the mount: the line is on its way to the disk before the reader has its answer, says
//! who got what by which rule, and what becomes of the log decides whether anybody gets anything.

mod blocked;
#[path = "../common/mod.rs"]
mod common;
mod cut;
mod disk;
mod hung;
mod journal;
mod lines;
mod order;
mod slow_disk;
