//! A daemon that may make no connections, as the shipped unit has it, with a config that wants some: told when it
//! starts, and not only when somebody reads. Uses config and net.

use crate::config::Config;
use crate::net::{self, NetErrorKind};

pub(super) fn warn(config: &Config) {
    let elsewhere =
        config.providers.iter().filter(|(_, it)| it.is_elsewhere()).map(|(name, _)| name.as_str());
    let listens = config.control.listen.map(|_| "control.listen");
    let wanted = elsewhere.chain(listens).collect::<Vec<_>>().join(", ");
    if !wanted.is_empty() && net::is_shut_in() {
        tracing::warn!(wanted, "{}", NetErrorKind::ShutIn);
    }
}
