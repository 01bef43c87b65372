//! What tests of the network stand on: certificates of every kind, and servers with faults that can be
//! switched while they run. Named by those tests alone, beside `common`:
//! `#[path = "common/net/mod.rs"] mod harness;`
#![allow(dead_code, unused_imports, unreachable_pub)]

mod certificates;
mod door;
mod faults;
mod proxy;
mod tunnel;

pub use certificates::{Authority, Leaf};
pub use faults::Fault;
pub use proxy::Proxy;
pub use tunnel::Tunnel;
