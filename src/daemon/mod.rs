//! What serves: from a config to a broker, to planned mounts, to filesystems that answer. What it
//! refuses is a typed error; how that is told is the command line's part. Uses every layer below.

pub mod apart;
pub mod assemble;
pub mod holder;
mod lacking;
pub mod load;
pub mod message;
pub mod plan;
pub mod probe;
pub mod readiness;
pub mod reload;
pub mod rules;
pub mod serve;
mod shut_in;
mod watch;
pub mod worker;
