//! Who asks, however it hides: the ways in which a process can look like another one, or change
//! while it is judged, each tried through a real mount, and each with its control.
//!
//! The numbers of the cases are those of the table in docs/identity.md, which says of each what is
//! promised.

#[path = "../common/mod.rs"]
mod common;
mod foreign;
mod handed;
mod held;
mod rings;
mod stage;
