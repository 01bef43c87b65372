//! A new connection: the name, TCP, a proxy if there is one, TLS. Each step says by itself why it goes no
//! further. Uses tokio, tokio-rustls, `proxy` and `tls`.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ProtocolVersion;

use super::error::{Fault, NetErrorKind, Phase};
use super::proxy::{self, Proxy};
use super::tls::{Given, Offer, TlsError, Trust};
use crate::config::{Address, Tls};

/// What bytes go over.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// The moment by which a request must be over, and how long that was at its beginning.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    end: Instant,
    limit: Duration,
}

impl Deadline {
    pub(super) fn within(limit: Duration) -> Self {
        Self { end: Instant::now() + limit, limit }
    }

    /// Ends half-way from here, for a step that may be tried once more.
    pub(super) fn half(self) -> Self {
        Self { end: Instant::now() + self.left() / 2, limit: self.left() / 2 }
    }

    pub(super) fn left(self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    pub(super) async fn bound<T>(
        self,
        phase: Phase,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let done = timeout_at(self.end, work).await;
        done.unwrap_or(Err(Fault::Timeout { phase, limit: self.limit }))
    }
}

/// What connections of one provider share.
pub(super) struct Connector {
    address: Address,
    trust: Arc<Trust>,
    /// A resolver that hangs must not fill this process with threads that wait for it.
    lookups: Arc<Semaphore>,
}

/// How long an address that does not answer may keep us from the next one.
const NEXT: Duration = Duration::from_millis(500);
const LOOKUPS: usize = 4;

/// What to speak HTTP over.
pub(super) struct Line {
    pub(super) wire: Box<dyn Wire>,
    /// Connections from before were made with other files.
    pub(super) is_renewed: bool,
}

impl Connector {
    pub(super) fn new(address: Address, trust: Trust) -> Self {
        Self { address, trust: Arc::new(trust), lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }

    pub(super) async fn connect(&self, deadline: Deadline) -> Result<Line, Fault> {
        // Files first: if they cannot be used, nobody has to be asked for anything.
        let offer = match self.address.is_tls {
            true => Some(deadline.bound(Phase::Files, offer(&self.trust)).await?),
            false => None,
        };
        let stream = match proxy::of_environment(&self.address)? {
            None => self.reach(&self.address.host, self.address.port, deadline).await?,
            Some(proxy) => self.through(&proxy, deadline).await?,
        };
        // Small requests, each waited for.
        stream.set_nodelay(true).map_err(|error| NetErrorKind::of_io(&error))?;
        keep_alive(&stream).map_err(|error| NetErrorKind::of_io(&error.into()))?;
        match offer {
            None => Ok(Line { wire: Box::new(stream), is_renewed: false }),
            Some(offer) => self.encrypt(stream, offer, deadline).await,
        }
    }

    async fn through(&self, proxy: &Proxy, deadline: Deadline) -> Result<TcpStream, Fault> {
        let stream = self.reach(&proxy.host, proxy.port, deadline).await;
        let stream = stream.map_err(|fault| proxy.blame(fault))?;
        deadline.bound(Phase::Tunnel, proxy.tunnel(stream, &self.address)).await
    }

    async fn encrypt(&self, stream: TcpStream, offer: Offer, deadline: Deadline) -> Result<Line, Fault> {
        let is_renewed = offer.is_new;
        let shaken = deadline.bound(Phase::Handshake, shake(&self.trust, offer, stream, &self.address.host));
        let stream = shaken.await.map_err(|fault| self.at_first(fault))?;
        Ok(Line { wire: Box::new(stream), is_renewed })
    }

    /// TLS and no more: its version.
    pub(super) async fn shaken(&self, stream: TcpStream, deadline: Deadline) -> Result<String, Fault> {
        let offer = deadline.bound(Phase::Files, offer(&self.trust)).await?;
        let shaken = deadline.bound(Phase::Handshake, shake(&self.trust, offer, stream, &self.address.host));
        let stream = shaken.await.map_err(|fault| self.at_first(fault))?;
        Ok(match stream.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2".to_owned(),
            _ => "TLS 1.3".to_owned(),
        })
    }

    /// A fault of the first request over a connection.
    pub(super) fn at_first(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Reset => self.trust.closed().map_or(Fault::Reset, Fault::Tls),
            other => other,
        }
    }

    /// A fault of TLS, in the light of what is set.
    pub(super) fn under(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Tls(error) => Fault::Tls(error.under(&self.trust)),
            other => other,
        }
    }

    /// The first of its addresses that answers. The last one is given all the time that is left.
    async fn reach(&self, host: &str, port: u16, deadline: Deadline) -> Result<TcpStream, Fault> {
        let addresses = deadline.bound(Phase::Resolve, self.resolve(host, port)).await?;
        self.reach_one(addresses, deadline).await
    }

    pub(super) async fn reach_one(
        &self,
        addresses: Vec<SocketAddr>,
        deadline: Deadline,
    ) -> Result<TcpStream, Fault> {
        let mut fault = Fault::Dns("it has no address".to_owned());
        let last = addresses.len().saturating_sub(1);
        for (index, address) in addresses.into_iter().enumerate() {
            // Plain HTTP is for this machine and its link, whatever a resolver makes of `localhost`.
            if !self.address.is_tls && !address.ip().is_loopback() && !self.address.is_on_link() {
                fault = Fault::Dns("it is not this machine, and http:// goes nowhere else".to_owned());
                continue;
            }
            let patience = if index == last { deadline.left() } else { NEXT.min(deadline.left()) };
            fault = match timeout(patience, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => deadline.late(Phase::Connect),
                Ok(Err(error)) => NetErrorKind::of_io(&error),
                Err(_) => deadline.late(Phase::Connect),
            };
        }
        Err(fault)
    }

    /// In a thread that nobody waits for: the resolver of the system cannot be stopped.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let turn = self.lookups.clone().acquire_owned().await.expect("it is never closed");
        let (tell, told) = oneshot::channel();
        let host = host.to_owned();
        let look = move || {
            // Whoever asked may have gone.
            let _ = tell.send((&*host, port).to_socket_addrs().map(Vec::from_iter));
            drop(turn);
        };
        let spawned = thread::Builder::new().name("resolve".to_owned()).spawn(look);
        spawned.map_err(|error| Fault::Dns(error.to_string()))?;
        match told.await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(Fault::of_lookup(&error)),
            Err(_) => Err(Fault::Dns("the resolver was lost".to_owned())),
        }
    }
}

impl Deadline {
    fn late(self, phase: Phase) -> Fault {
        Fault::Timeout { phase, limit: self.limit }
    }
}

pub(super) async fn encrypt(stream: TcpStream, host: &str) -> Result<Box<dyn Wire>, TlsError> {
    let trust = Arc::new(Trust::new(Tls::default(), Given::default()));
    let shaken = async {
        shake(&trust, offer(&trust).await?, stream, host).await.map(|it| Box::new(it) as Box<dyn Wire>)
    };
    shaken.await.map_err(|fault| match fault {
        Fault::Tls(error) => error,
        other => TlsError::Other(other.to_string()),
    })
}

async fn offer(trust: &Arc<Trust>) -> Result<Offer, Fault> {
    let trust = trust.clone();
    let read = tokio::task::spawn_blocking(move || trust.offer()).await;
    let lost = |_| Err(TlsError::Files("the files of TLS could not be read".to_owned()));
    read.unwrap_or_else(lost).map_err(Fault::Tls)
}

async fn shake(
    trust: &Trust,
    offer: Offer,
    stream: TcpStream,
    host: &str,
) -> Result<TlsStream<TcpStream>, Fault> {
    let name = trust.server_name(host).map_err(Fault::Tls)?;
    let shaken = TlsConnector::from(offer.config).connect(name, stream).await;
    shaken.map_err(|error| NetErrorKind::of_io(&error))
}

/// Who waits for a server that is gone is told so by the kernel, after some 20 s.
fn keep_alive(stream: &TcpStream) -> nix::Result<()> {
    setsockopt(stream, sockopt::TcpKeepIdle, &10)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &5)?;
    setsockopt(stream, sockopt::TcpKeepCount, &2)?;
    setsockopt(stream, sockopt::KeepAlive, &true)
}
