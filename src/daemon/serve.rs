//! The serving half of a mount: a process that keeps its memory to itself, a pool, and a
//! filesystem for each `/dev/fuse` descriptor. Uses `fs` and `sys`.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tracing_appender::non_blocking::WorkerGuard;

use crate::fs::{SecretFs, session};
use crate::ledger::Ledger;
use crate::sys::{allocator, hardening, identity, leftover, namespace};

/// Where filesystems are served.
#[derive(Clone)]
pub struct Pool(Handle);

/// The parts that outlive the set-up of a mount.
pub struct Server {
    runtime: Runtime,
    /// Else values could be swapped out.
    pub memory_is_locked: bool,
    /// Writes what is left of the log when it goes.
    _log: Option<WorkerGuard>,
}

impl Server {
    /// Starts threads: who forks has done so, and who waits for signals has blocked them. The log
    /// lasts as long as the server does.
    pub fn start(log: Option<WorkerGuard>) -> io::Result<Self> {
        allocator::stay_small();
        hardening::forbid_dumps()?;
        let memory_is_locked = hardening::lock_memory();
        Ok(Self { runtime: runtime()?, memory_is_locked, _log: log })
    }

    /// Says what is weaker here than elsewhere.
    pub fn warn(&self) {
        if let Some(hidden) = identity::sight().hides() {
            tracing::warn!("{hidden}");
        }
        if !self.memory_is_locked {
            tracing::warn!(
                "memory could not be locked (no CAP_IPC_LOCK, and a memlock limit): values could be swapped out"
            );
        }
        if !namespace::is_first_of_pids() {
            tracing::warn!(
                "runs in a pid namespace of its own: readers outside of it are unknown, and denied \
                 (a container needs the host's pid namespace: --pid=host)"
            );
        }
    }

    pub fn pool(&self) -> Pool {
        Pool(self.runtime.handle().clone())
    }

    /// Ends without waiting for a provider that does not answer.
    pub fn stop(self) {
        self.runtime.shutdown_background();
    }
}

impl Pool {
    /// From now on the mount answers. `ended` is told when it is gone.
    pub fn serve(
        &self,
        fs: Arc<SecretFs>,
        ledger: &Ledger,
        device: OwnedFd,
        ended: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> io::Result<()> {
        session::serve(fs, ledger, device, self.0.clone(), ended)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot serve the mount: {error}")))?;
        Ok(())
    }

    /// The same with a mount that another process has served, which is dead.
    pub fn resume(
        &self,
        fs: Arc<SecretFs>,
        ledger: &Ledger,
        device: OwnedFd,
        ended: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> io::Result<()> {
        session::resume(fs, ledger, device, self.0.clone(), ended).map(drop)
    }

    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(work);
    }
}

fn runtime() -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(4).thread_name("secretfs-pool").enable_all();
    // Who waits has nothing in his hands.
    builder.on_thread_park(leftover::wipe_stack).build()
}
