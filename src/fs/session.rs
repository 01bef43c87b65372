//! The serving threads of one mount, from a `/dev/fuse` descriptor to its end, or to the process
//! that takes it over. With `fuse` the only file that names `fuser` types.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use fuser::{Config, Session, SessionACL};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::runtime::Handle;

use super::SecretFs;
use super::fuse::{Adapter, Told};
use super::wire::{self, Agreement, Notice};
use crate::ledger::Ledger;
use crate::metrics;
use crate::sys;

/// They never block, so a few are enough; more would only share the same work.
const THREADS: usize = 3;

/// Answers the kernel's first request, starts the serving threads, and calls `ended` when the
/// mount is gone. From then on the mount answers. What another process needs to go on with it is
/// kept in the ledger.
pub fn serve(
    fs: Arc<SecretFs>,
    ledger: &Ledger,
    device: OwnedFd,
    pool: Handle,
    ended: impl FnOnce(io::Result<()>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    fs.inherit(ledger);
    let session = session(&fs, device, &pool)?;
    run(fs, session, pool, ended)
}

/// Goes on with a mount that another process has served, which has ended, by what it has kept.
/// Its readers are answered as if nothing had been; what it has not answered comes again.
/// `Unsupported`: this cannot be gone on with, and the filesystem is as it was.
pub fn resume(
    fs: Arc<SecretFs>,
    ledger: &Ledger,
    device: OwnedFd,
    pool: Handle,
    ended: impl FnOnce(io::Result<()>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let agreement =
        Agreement::left_in(ledger).filter(|it| it.can_resend()).ok_or(io::ErrorKind::Unsupported)?;
    fs.inherit(ledger);
    // fuser begins by being asked INIT, which a mount asks once: it is asked by a socket, which
    // then becomes the device.
    let (kernel, ours) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    nix::unistd::write(&kernel, &agreement.init())?;
    let session = session(&fs, ours, &pool)?;
    sys::redirect(session.as_fd(), device.as_fd())?;
    // Before anything is read: all that is unanswered is then the other process's.
    wire::notify(device.as_fd(), Notice::Resend)?;
    metrics::get().resends.inc();
    run(fs, session, pool, ended)
}

/// Whether another process can go on with this mount: kernels before 6.9 send nothing again.
pub fn can_resume(fs: &SecretFs) -> bool {
    fs.ledger().keeps() && fs.agreement().is_some_and(Agreement::can_resend)
}

fn session(fs: &Arc<SecretFs>, device: OwnedFd, pool: &Handle) -> io::Result<Session<Adapter>> {
    let mut config = Config::default();
    config.n_threads = Some(THREADS);
    // `clone_fd` stays off: requests read through a clone die with us instead of waiting for a
    // successor. `All`: who may read what is for policy to say, not for the kernel's mount owner.
    Session::from_fd(Adapter::new(fs.clone(), pool.clone()), device, SessionACL::All, config)
}

fn run(
    fs: Arc<SecretFs>,
    session: Session<Adapter>,
    pool: Handle,
    ended: impl FnOnce(io::Result<()>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let device = session.as_fd().try_clone_to_owned()?;
    fs.connect(Box::new(Told { notifier: session.notifier(), device }));
    pool.spawn(fs.keep_house());
    thread::Builder::new().name("secretfs-serve".to_owned()).spawn(move || ended(session.run()))
}
