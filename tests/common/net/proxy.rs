//! A server of HTTP with faults that can be switched while it runs: before a real one, or with answers of
//! its own. Counts what it is asked, and ends with its value.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::door::{Door, Way};
use super::faults::Fault;
use crate::common::http::{Request, Response, read};

pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    source: Source,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    fault: Mutex<Option<Fault>>,
    has_ended: AtomicBool,
    /// Whether the door is as the fault wants it.
    is_set: AtomicBool,
    connections: AtomicUsize,
    requests: Mutex<Vec<Arc<Request>>>,
    sent: AtomicUsize,
}

enum Source {
    Server(SocketAddr),
    Own(Box<dyn Fn(&Request) -> Response + Send + Sync>),
}

trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

const TICK: Duration = Duration::from_millis(2);

impl Proxy {
    /// Before a server that speaks plain HTTP.
    pub fn before(server: SocketAddr) -> Self {
        Self::start(Source::Server(server), None)
    }

    /// The same, spoken to over TLS.
    pub fn before_with_tls(server: SocketAddr, tls: Arc<ServerConfig>) -> Self {
        Self::start(Source::Server(server), Some(tls))
    }

    /// With answers of its own.
    pub fn answering(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        Self::start(Source::Own(Box::new(answer)), None)
    }

    pub fn answering_with_tls(
        tls: Arc<ServerConfig>,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self::start(Source::Own(Box::new(answer)), Some(tls))
    }

    fn start(source: Source, tls: Option<Arc<ServerConfig>>) -> Self {
        let shared = Arc::new(Shared {
            source,
            tls: Mutex::new(tls),
            fault: Mutex::default(),
            has_ended: AtomicBool::new(false),
            is_set: AtomicBool::new(true),
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
            sent: AtomicUsize::new(0),
        });
        let door = Door::new();
        let (address, kept) = (door.address, shared.clone());
        thread::spawn(move || keep(door, &kept));
        Self { address, shared }
    }

    /// From now on. Connections that are there are answered by the new fault, too.
    pub fn set(&self, fault: Fault) {
        self.switch(Some(fault));
    }

    /// Connections from now on get this certificate. Those before a server end with each answer.
    pub fn show(&self, tls: Arc<ServerConfig>) {
        *self.shared.tls.lock().unwrap() = Some(tls);
    }

    /// In order again.
    pub fn mend(&self) {
        self.switch(None);
    }

    fn switch(&self, fault: Option<Fault>) {
        self.shared.is_set.store(false, Ordering::SeqCst);
        *self.shared.fault.lock().unwrap() = fault;
        while !self.shared.is_set.load(Ordering::SeqCst) {
            sleep(TICK);
        }
    }

    /// How many have come.
    pub fn requests(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// All of them, in their order.
    pub fn seen(&self) -> Vec<Arc<Request>> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How much of a flood somebody has taken.
    pub fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
    }
}

fn keep(mut door: Door, shared: &Arc<Shared>) {
    while !shared.has_ended.load(Ordering::SeqCst) {
        let was_set = shared.is_set.load(Ordering::SeqCst);
        door.make(match *shared.fault.lock().unwrap() {
            Some(Fault::Refuse) => Way::Shut,
            Some(Fault::BlackHole) => Way::Clogged,
            _ => Way::Open,
        });
        if !was_set {
            shared.is_set.store(true, Ordering::SeqCst);
        }
        match door.accept() {
            Some(stream) => {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let shared = shared.clone();
                // A client that goes away early is no matter: its own failure is what the test sees.
                thread::spawn(move || shared.serve(stream));
            }
            None => sleep(TICK),
        }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        self.wait_while_silent();
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let bare = stream.try_clone()?;
        let mut stream: BufReader<Box<dyn Wire>> = BufReader::new(match self.tls.lock().unwrap().clone() {
            None => Box::new(stream),
            Some(tls) => {
                let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(connection, stream))
            }
        });
        loop {
            let request = match read(&mut stream) {
                Ok(request) => Arc::new(request),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return stream.get_mut().write_all(b"HTTP/1.1 400 -\r\nConnection: close\r\n\r\n");
                }
                Err(error) => return Err(error),
            };
            self.requests.lock().unwrap().push(request.clone());
            self.wait_while_silent();
            let fault = self.fault.lock().unwrap().clone();
            match &fault {
                Some(Fault::Reset) => {
                    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
                    return Ok(setsockopt(&bare, sockopt::Linger, &at_once)?);
                }
                Some(Fault::Close | Fault::Refuse | Fault::BlackHole) => return Ok(()),
                _ => {}
            }
            let stream = stream.get_mut();
            let canned = fault.as_ref().and_then(Fault::canned);
            let is_last = match (&self.source, canned) {
                (_, Some(response)) => self.answer(stream, fault, response)?,
                (Source::Own(own), None) => self.answer(stream, fault, own(&request))?,
                (Source::Server(server), None) => self.pass(stream, fault, *server, &request)?,
            };
            if is_last || request.header("connection") == Some("close") {
                return Ok(());
            }
        }
    }

    fn wait_while_silent(&self) {
        let is_silent = || matches!(*self.fault.lock().unwrap(), Some(Fault::Silent));
        while is_silent() && !self.has_ended.load(Ordering::SeqCst) {
            sleep(TICK);
        }
    }

    /// Whether the connection is over with it.
    fn answer(&self, stream: &mut dyn Write, fault: Option<Fault>, response: Response) -> io::Result<bool> {
        let Response { status, headers, body } = response;
        let head = format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        self.send(stream, fault, &[head.as_bytes(), &body].concat())
    }

    fn send(&self, stream: &mut dyn Write, fault: Option<Fault>, answer: &[u8]) -> io::Result<bool> {
        let count = |bytes| {
            self.sent.fetch_add(bytes, Ordering::SeqCst);
        };
        if fault.is_some_and(|fault| fault.spoil(stream, answer, &count).unwrap_or(true)) {
            return Ok(true);
        }
        stream.write_all(answer)?;
        stream.flush()?;
        Ok(false)
    }

    /// Passes on as it comes; a fault spoils the whole.
    fn pass(
        &self,
        stream: &mut dyn Write,
        fault: Option<Fault>,
        server: SocketAddr,
        request: &Request,
    ) -> io::Result<bool> {
        let mut upstream = TcpStream::connect(server)?;
        upstream.write_all(&request.written())?;
        if fault.is_none() {
            let mut piece = [0; 1 << 14];
            loop {
                match upstream.read(&mut piece)? {
                    0 => return Ok(true),
                    count => stream.write_all(&piece[..count])?,
                }
                stream.flush()?;
            }
        }
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer)?;
        self.send(stream, fault, &answer)?;
        Ok(true)
    }
}
