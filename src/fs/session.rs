//! The serving threads of one mount, from a `/dev/fuse` descriptor to its end.
//! With `fuse` the only file that names `fuser` types.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use fuser::{Config, Session, SessionACL};
use tokio::runtime::Handle;

use super::SecretFs;
use super::fuse::{Adapter, Told};

/// They never block, so a few are enough; more would only share the same work.
const THREADS: usize = 3;

/// Answers the kernel's first request, starts the serving threads, and calls `ended` when the
/// mount is gone. From then on the mount answers.
pub fn serve(
    fs: Arc<SecretFs>,
    device: OwnedFd,
    pool: Handle,
    ended: impl FnOnce(io::Result<()>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let mut config = Config::default();
    config.n_threads = Some(THREADS);
    // `clone_fd` stays off: requests read through a clone die with us instead of waiting for a
    // successor. `All`: who may read what is for policy to say, not for the kernel's mount owner.
    let session = Session::from_fd(Adapter::new(fs.clone(), pool.clone()), device, SessionACL::All, config)?;
    fs.connect(Box::new(Told(session.notifier())));
    pool.spawn(fs.keep_house());
    thread::Builder::new().name("secretfs-serve".to_owned()).spawn(move || ended(session.run()))
}
