//! A client that does nothing but ask: what the same calls cost without us. HTTP/1.1 by hand over connections that stay.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A question: method, route with what is before it, body.
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) route: String,
    pub(crate) body: String,
}

struct Line(BufReader<TcpStream>);

impl Line {
    fn to(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        Self(BufReader::new(stream))
    }

    fn ask(&mut self, call: &Call, token: &str) -> Vec<u8> {
        let Call { method, route, body } = call;
        let length = body.len();
        let head = format!(
            "{method} {route} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\nContent-Length: {length}\r\n\r\n"
        );
        self.0.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat()).expect("it takes it");
        let (mut length, mut is_chunked, mut line) = (0, false, String::new());
        loop {
            line.clear();
            self.0.read_line(&mut line).expect("a head");
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            assert!(!header.starts_with("http/1.1") || header.contains(" 20"), "{route}: {header}");
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse().expect("a length");
            }
            is_chunked |= header == "transfer-encoding: chunked";
        }
        if is_chunked { self.chunks() } else { self.bytes(length) }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        body
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a chunk");
            let length = usize::from_str_radix(line.trim_end(), 16).expect("a length");
            body.extend(self.bytes(length));
            self.bytes(2);
            if length == 0 {
                return body;
            }
        }
    }
}

/// Asks all of it over so many connections, and says how long that took.
pub(crate) fn asked(port: u16, token: &str, connections: usize, calls: &[Call]) -> Duration {
    let (next, start) = (AtomicUsize::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut line = Line::to(port);
                while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                    assert!(!line.ask(call, token).is_empty() || call.method == "POST");
                }
            });
        }
    });
    start.elapsed()
}
