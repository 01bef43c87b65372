//! The listening half: who may connect, how many at once and for how long, in a thread of its own,
//! so that an operator is answered whatever the pool does. Uses hyper and tokio.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::unistd::geteuid;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore};

use super::{Daemon, routes};
use crate::caller::Caller;
use crate::metrics;

/// Connections at once: more wait, so that nobody can use up the daemon's descriptors.
const CONNECTIONS: usize = 32;
/// Of a client that says nothing.
const SILENCE: Duration = Duration::from_secs(5);
/// Of one connection, whatever it is about.
const LONGEST: Duration = Duration::from_secs(150);
/// The same of one that anybody on this machine can have: one question each.
const LONGEST_OF_ANYBODY: Duration = Duration::from_secs(5);
/// Between two attempts to listen on an address that a predecessor may still have.
const AGAIN: Duration = Duration::from_millis(250);

/// Answers until it is dropped.
pub struct Server {
    stop: Arc<Notify>,
}

impl Server {
    /// Answers on the socket, and on the loopback address, if there is one, as soon as it is free.
    pub fn start(
        socket: StdListener,
        loopback: Option<SocketAddr>,
        daemon: Arc<dyn Daemon>,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // Of two kinds of threads: a daemon that looks something up may block.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("secretfs-control")
            .enable_all()
            .build()?;
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let serve = move || {
            runtime.block_on(async {
                tokio::spawn(serve_socket(socket, routes::all(daemon.clone())));
                if let Some(address) = loopback {
                    tokio::spawn(serve_loopback(address, routes::public(daemon)));
                }
                stopped.notified().await;
            });
            // Whoever waits for a provider that does not answer is left.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("secretfs-control".to_owned()).spawn(serve)?;
        Ok(Self { stop })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

async fn serve_socket(socket: StdListener, routes: Router) {
    let Ok(socket) = UnixListener::from_std(socket) else { return };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        match socket.accept().await {
            Ok((stream, _)) => match may_ask(&stream) {
                Some(caller) => {
                    let routes = routes.clone().layer(Extension(caller));
                    converse(stream, routes, &room, LONGEST).await;
                }
                None => _ = metrics::get().control_refused.inc(),
            },
            Err(error) => pause_after(&error).await,
        }
    }
}

/// The daemon's user and root. The socket's mode says the same; this holds if somebody opens it.
fn may_ask(stream: &UnixStream) -> Option<Caller> {
    let may = |uid| uid == 0 || uid == geteuid().as_raw();
    let peer = stream.peer_cred().ok()?;
    if !may(peer.uid()) {
        tracing::warn!(uid = peer.uid(), pid = peer.pid(), "may not use the control socket");
        return None;
    }
    let pid = peer.pid().map_or(0, i32::cast_unsigned);
    Some(Caller { uid: peer.uid(), gid: peer.gid(), pid })
}

async fn serve_loopback(address: SocketAddr, routes: Router) {
    let Some(listener) = listen(address).await else { return };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => converse(stream, routes.clone(), &room, LONGEST_OF_ANYBODY).await,
            Err(error) => pause_after(&error).await,
        }
    }
}

/// The address may be a predecessor's for a moment; one that is somebody else's is no reason not
/// to serve files.
async fn listen(address: SocketAddr) -> Option<TcpListener> {
    if !address.ip().is_loopback() {
        tracing::error!(%address, "figures are told on a loopback address only");
        return None;
    }
    let mut is_told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Some(listener),
            Err(error) if !is_told => {
                tracing::warn!(%address, %error, "cannot listen yet");
                is_told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Waits for room, and answers one question in a task.
async fn converse<S>(stream: S, routes: Router, room: &Arc<Semaphore>, longest: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(place) = room.clone().acquire_owned().await else { return };
    let service = TowerToHyperService::new(routes);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE.min(longest / 2))
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::spawn(async move {
        // A client that goes away, or says nothing, has only itself to tell.
        let _ = tokio::time::timeout(longest, connection).await;
        drop(place);
    });
}

/// Without descriptors a listener would spin.
async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "cannot take a connection");
    tokio::time::sleep(AGAIN).await;
}
