//! A small HTTP server on loopback or on a unix socket, in the test's own process: what clients log
//! in to. One request a connection; it ends with the process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub struct Request {
    pub method: String,
    pub target: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// As it goes on to another server, which closes after it.
    pub fn written(&self) -> Vec<u8> {
        let headers = self.headers.iter().filter(|(name, _)| name != "connection");
        let headers: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("{} {} HTTP/1.1\r\n{headers}connection: close\r\n\r\n", self.method, self.target);
        [head.as_bytes(), &self.body].concat()
    }
}

pub struct Response {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: String::new(), body: body.into() }
    }

    /// `line` is `Name: value`.
    pub fn header(mut self, line: &str) -> Self {
        self.headers += &format!("{line}\r\n");
        self
    }
}

/// A server that may be ended, and begun again at its address with what it knew.
#[derive(Clone)]
pub struct Served {
    pub address: SocketAddr,
    is_on: Arc<AtomicBool>,
    answer: Arc<dyn Fn(&Request) -> Response + Send + Sync>,
}

impl Served {
    pub fn start(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = Self { address, is_on: Arc::default(), answer: Arc::new(answer) };
        served.serve(listener);
        served
    }

    pub fn stop(&self) {
        self.is_on.store(false, Ordering::SeqCst);
        // Who waits for a connection has one, and goes.
        while TcpStream::connect(self.address).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn start_again(&self) {
        let listener = (0..200).find_map(|_| {
            thread::sleep(Duration::from_millis(10));
            TcpListener::bind(self.address).ok()
        });
        self.serve(listener.expect("the port is free again"));
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn serve(&self, listener: TcpListener) {
        self.is_on.store(true, Ordering::SeqCst);
        let answer = self.answer.clone();
        serve_while(listener, self.is_on.clone(), move |request| answer(request));
    }
}

/// A server that answers who logs in as the one that it knows at that moment, and refuses all others
/// with 401.
pub struct Guarded {
    /// `127.0.0.1:PORT`
    pub host: String,
    known: Arc<Mutex<String>>,
}

impl Guarded {
    /// Greets.
    pub fn start(username: &str, password: &str) -> Self {
        Self::before(username, password, |_| Response::new(200, "welcome\n"))
    }

    pub fn before(
        username: &str,
        password: &str,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let known = Arc::new(Mutex::new(credentials(username, password)));
        let expected = known.clone();
        serve(
            move || listener.accept().map(|(stream, _)| stream),
            move |request| match request.header("authorization") {
                Some(given) if given == *expected.lock().unwrap() => answer(request),
                _ => Response::new(401, "who are you?\n").header("WWW-Authenticate: Basic realm=\"test\""),
            },
        );
        Self { host, known }
    }

    /// From now on this is the one login that counts.
    pub fn know(&self, username: &str, password: &str) {
        *self.known.lock().unwrap() = credentials(username, password);
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.host)
    }
}

fn credentials(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// What is answered on a unix socket to a GET, without the head.
#[track_caller]
pub fn get_unix(at: &Path, target: &str) -> String {
    let mut stream = UnixStream::connect(at).expect("a socket");
    write!(stream, "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{target}: {answer}");
    body.to_owned()
}

/// Answers on loopback, at the address that it gives back.
pub fn serve_tcp(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    serve_on(listener, answer);
    host
}

pub fn serve_on(listener: TcpListener, answer: impl Fn(&Request) -> Response + Send + Sync + 'static) {
    serve(move || listener.accept().map(|(stream, _)| stream), answer);
}

/// The same, until it is said to be over: the connection after that ends it, and the port is free.
pub fn serve_while(
    listener: TcpListener,
    is_on: Arc<AtomicBool>,
    answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
) {
    let accept = move || match listener.accept() {
        Ok((stream, _)) if is_on.load(Ordering::SeqCst) => Ok(stream),
        Ok(_) => Err(io::ErrorKind::Interrupted.into()),
        Err(error) => Err(error),
    };
    serve(accept, answer);
}

/// What another server answers to this.
pub fn pass_on(request: &Request, port: u16) -> Response {
    let asked = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        // Of the elder kind: its answer comes in one piece.
        stream.write_all(
            String::from_utf8_lossy(&request.written()).replacen("HTTP/1.1", "HTTP/1.0", 1).as_bytes(),
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = asked().unwrap_or_default();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or(("", ""));
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(502);
    Response::new(status, body)
}

/// Answers on a unix socket.
pub fn serve_unix(at: &Path, answer: impl Fn(&Request) -> Response + Send + Sync + 'static) {
    let listener = UnixListener::bind(at).expect("a socket");
    serve(move || listener.accept().map(|(stream, _)| stream), answer);
}

fn serve<S: Read + Write + Send + 'static>(
    accept: impl Fn() -> io::Result<S> + Send + 'static,
    answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
) {
    let answer = Arc::new(answer);
    thread::spawn(move || {
        while let Ok(stream) = accept() {
            let answer = answer.clone();
            // A client that goes away early is no matter: its own failure is what the test sees.
            thread::spawn(move || converse(stream, &*answer));
        }
    });
}

fn converse<S: Read + Write>(stream: S, answer: &dyn Fn(&Request) -> Response) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = read(&mut stream)?;
    let Response { status, headers, body } = answer(&request);
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} -\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    let stream = stream.get_mut();
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        stream.write_all(&body)?;
    }
    stream.flush()
}

/// Its head, and its body if the head says how long that is.
pub fn read(stream: &mut impl BufRead) -> io::Result<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut words = lines.first().map(String::as_str).unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = lines.iter().filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut request = Request { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body)?;
    Ok(request)
}
