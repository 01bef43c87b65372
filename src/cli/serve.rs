//! The serving half of a mount: a process that keeps its memory to itself, a pool, and a
//! filesystem for each `/dev/fuse` descriptor. May use every layer.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tracing_appender::non_blocking::WorkerGuard;

use super::report::Failure;
use super::{exit, log};
use crate::fs::{SecretFs, session};
use crate::sys::hardening;

/// The parts that outlive the set-up of a mount.
pub struct Server {
    pool: Runtime,
    /// Else values could be swapped out.
    pub memory_is_locked: bool,
    /// Writes what is left of the log when it goes.
    _log: Option<WorkerGuard>,
}

impl Server {
    /// Starts threads: who forks has done so, and who waits for signals has blocked them.
    pub fn start() -> Result<Self, Failure> {
        let log = log::start_serving();
        hardening::forbid_dumps().map_err(|error| Failure::new(exit::OS, error))?;
        let memory_is_locked = hardening::lock_memory();
        Ok(Self { pool: pool()?, memory_is_locked, _log: log })
    }

    /// From now on the mount answers. `ended` is told when it is gone.
    pub fn serve(
        &self,
        fs: Arc<SecretFs>,
        device: OwnedFd,
        ended: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> Result<(), Failure> {
        session::serve(fs, device, self.pool.handle().clone(), ended)
            .map_err(|error| Failure::new(exit::OS, format!("cannot serve the mount: {error}")))?;
        Ok(())
    }

    /// Ends without waiting for a provider that does not answer.
    pub fn stop(self) {
        self.pool.shutdown_background();
    }
}

fn pool() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(4)
        .thread_name("secretfs-pool")
        .enable_time()
        .build()
        .map_err(|error| Failure::new(exit::OS, error))
}
