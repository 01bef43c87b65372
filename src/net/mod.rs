//! The one way to servers elsewhere: HTTP over TLS, for all providers of the network. Follows no redirect,
//! waits for nothing without an end, takes no more than it should, and tells in words what is wrong.
//! Nothing is made before the first request: no connection, no thread, no list of authorities.
//!
//! ```no_run
//! # async fn f(transport: secretfs::config::Transport, token: secretfs::secret::SecretBytes) -> Result<(), Box<dyn std::error::Error>> {
//! use secretfs::net::{Client, Request, Route};
//!
//! let client = Client::new(transport, std::time::Duration::from_secs(4));
//! let route = Route::to("/v1").name("secret")?.then("/data").names("team/app")?;
//! let response = client.send(Request::get(route).secret("x-vault-token", "", &token)?).await?;
//! if response.status() == 200 {
//!     let fields = response.json()?.at(&["data", "data"])?.members()?;
//! }
//! # Ok(()) }
//! ```

mod connect;
mod error;
mod json;
mod lines;
mod pool;
mod probe;
mod proxy;
mod request;
mod response;
mod sign;
mod tls;
mod verify;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::{Address, Transport};
pub use connect::Wire;
use connect::{Connector, Deadline};
use error::Fault;
pub use error::{NetError, NetErrorKind, Part, Phase, is_shut_in};
pub use json::{Json, JsonError};
pub use lines::{Lines, Streamed};
use pool::{Link, Pool};
pub use probe::Probed;
pub use request::{Request, Route};
pub use response::{LARGEST, LONGEST_PAUSE, Response, same_origin};
pub use sign::{NoRsaKey, certificate_of, ps256, rs256};
use tls::Trust;
pub use tls::{Given, TlsError};

/// Asks one server. Shared by all who ask; its connections are closed with it.
pub struct Client {
    address: Address,
    connector: Connector,
    pool: Pool,
    /// In milliseconds.
    timeout: AtomicU64,
}

/// The most bytes of a head, and of what is read at once.
const BUFFER: usize = 64 << 10;

/// TLS for who speaks something else than HTTP, with the system's authorities. Whoever asks bounds the time.
pub async fn encrypt(stream: TcpStream, host: &str) -> Result<Box<dyn Wire>, TlsError> {
    connect::encrypt(stream, host).await
}

impl Client {
    /// `timeout` bounds each request as a whole: less than whoever asks is ready to wait, so that there is
    /// time left to say what was waited for.
    pub fn new(transport: Transport, timeout: Duration) -> Self {
        Self::given(transport, Given::default(), timeout)
    }

    /// The same, where authorities or our certificate were handed over.
    pub fn given(transport: Transport, given: Given, timeout: Duration) -> Self {
        let Transport { address, tls } = transport;
        let connector = Connector::new(address.clone(), Trust::new(tls, given));
        let client = Self { address, connector, pool: Pool::default(), timeout: AtomicU64::default() };
        client.allow(timeout);
        client
    }

    /// From now on each request is bounded by this.
    pub fn allow(&self, timeout: Duration) {
        self.timeout.store(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout.load(Ordering::Relaxed))
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The answer, whatever its status: `Err` means that there is none. A connection that has waited and
    /// turns out to be dead is replaced once, if asking twice does no harm.
    pub async fn send(&self, request: Request) -> Result<Response, NetError> {
        self.answer(&request).await.map_err(|fault| self.connector.under(fault).of(&self.address))
    }

    /// An answer that has no end, over a connection of its own. Only its beginning is bounded in time.
    pub async fn stream(&self, request: Request) -> Result<Streamed, NetError> {
        let streamed = self.begin(&request).await;
        streamed.map_err(|fault| self.connector.under(fault).of(&self.address))
    }

    /// The route of a location that a redirect gives, if it is on this server: to be asked by whoever
    /// wants to. On any other server our credentials have no business.
    pub fn stays(&self, location: &str) -> Option<Route> {
        response::route_of(&self.address, location)
    }

    /// Closes connections that have waited for long enough: what went through them lies in their buffers
    /// until then. To be called from the `sweep` of a provider, each second; never waits.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    async fn answer(&self, request: &Request) -> Result<Response, Fault> {
        let deadline = Deadline::within(self.timeout());
        // One that has waited may be closed in the moment in which it is used: then nobody knows what came of it.
        if request.is_repeatable()
            && let Some(mut link) = self.pool.take()
        {
            match self.ask(&mut link, request, deadline.half()).await {
                Ok(response) => return self.read(link, response, deadline).await,
                // Others that have waited as long are no better.
                Err(_) => self.pool.clear(),
            }
        }
        let mut link = self.connect(deadline).await?;
        let asked = self.ask(&mut link, request, deadline).await;
        let response = asked.map_err(|fault| self.connector.at_first(fault))?;
        self.read(link, response, deadline).await
    }

    async fn begin(&self, request: &Request) -> Result<Streamed, Fault> {
        let deadline = Deadline::within(self.timeout());
        let mut link = self.connect(deadline).await?;
        let response = self.ask(&mut link, request, deadline).await?;
        match response.status().is_success() {
            true => Ok(Streamed::Lines(Lines::new(link, response.into_body(), self.address.clone()))),
            false => self.read(link, response, deadline).await.map(Streamed::Refused),
        }
    }

    async fn connect(&self, deadline: Deadline) -> Result<Link, Fault> {
        let line = self.connector.connect(deadline).await?;
        if line.is_renewed {
            self.pool.clear();
        }
        let shake = http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(line.wire));
        let (sender, connection) = shake.await.map_err(|error| NetErrorKind::of_http(&error))?;
        // Ends with the sender, or when the server closes.
        tokio::spawn(connection);
        Ok(Link::new(sender))
    }

    async fn ask(
        &self,
        link: &mut Link,
        request: &Request,
        deadline: Deadline,
    ) -> Result<hyper::Response<Incoming>, Fault> {
        let request = request.to(&self.address)?;
        let asked = deadline.bound(Phase::Head, async {
            link.sender.ready().await.map_err(|error| NetErrorKind::of_http(&error))?;
            link.sender.send_request(request).await.map_err(|error| NetErrorKind::of_http(&error))
        });
        asked.await
    }

    /// Keeps the connection, if the answer was read to its end.
    async fn read(
        &self,
        link: Link,
        response: hyper::Response<Incoming>,
        deadline: Deadline,
    ) -> Result<Response, Fault> {
        let response = deadline.bound(Phase::Body, Response::read(response)).await?;
        self.pool.put(link);
        Ok(response)
    }
}
