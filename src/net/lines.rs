//! An answer that has no end, line by line: over a connection of its own, which is closed with it. Uses hyper.

use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::error::{Fault, NetError, NetErrorKind, Part};
use super::pool::Link;
use super::response::{LARGEST, Response};
use crate::config::Address;
use crate::secret::SecretBytes;

/// What comes of a request for lines.
pub enum Streamed {
    Lines(Lines),
    /// It has answered with another status than success.
    Refused(Response),
}

/// The lines of one answer, as they come.
pub struct Lines {
    incoming: Incoming,
    /// What has come of the next lines, up to where no line ends.
    held: Vec<u8>,
    searched: usize,
    address: Address,
    /// The connection goes with it.
    _link: Link,
}

impl Lines {
    pub(super) fn new(link: Link, incoming: Incoming, address: Address) -> Self {
        Self { incoming, held: Vec::new(), searched: 0, address, _link: link }
    }

    /// The next line that is not empty, however long that takes; `None` if there is none any more. Who stops
    /// waiting may go on later. One that is longer than a body may be is an error.
    pub async fn next(&mut self) -> Result<Option<SecretBytes>, NetError> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            match self.incoming.frame().await {
                Some(Ok(frame)) => self.hold(&frame.into_data().unwrap_or_default())?,
                Some(Err(error)) => return Err(self.fault(NetErrorKind::of_http(&error))),
                None if self.held.is_empty() => return Ok(None),
                None => return Err(self.fault(Fault::Reset)),
            }
        }
    }

    fn hold(&mut self, data: &[u8]) -> Result<(), NetError> {
        if self.held.len() + data.len() > LARGEST {
            return Err(self.fault(Fault::TooLarge(Part::Body)));
        }
        self.held.extend_from_slice(data);
        Ok(())
    }

    fn take(&mut self) -> Option<SecretBytes> {
        loop {
            let end = self.held[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(end) = end.map(|at| self.searched + at) else {
                self.searched = self.held.len();
                return None;
            };
            let rest = self.held.split_off(end + 1);
            let mut line = std::mem::replace(&mut self.held, rest);
            self.searched = 0;
            line.truncate(line.trim_ascii_end().len());
            if !line.is_empty() {
                return Some(SecretBytes::new(line));
            }
        }
    }

    fn fault(&self, fault: Fault) -> NetError {
        fault.of(&self.address)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::config::{Tls, Transport};
    use crate::net::{Client, NetErrorKind, Request, Route};

    /// A server that sends these pieces to whoever comes, one after the other.
    fn client(pieces: Vec<Vec<u8>>) -> Client {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            for piece in pieces {
                let _ = stream.write_all(&piece);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let address = Address { is_tls: false, host: "127.0.0.1".to_owned(), port, prefix: String::new() };
        Client::new(Transport { address, tls: Tls::default() }, Duration::from_secs(5))
    }

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn chunk(data: &[u8]) -> Vec<u8> {
        [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
    }

    async fn lines(pieces: Vec<Vec<u8>>) -> Lines {
        let request = Request::post(Route::to("/watch")).repeatable();
        match client(pieces).stream(request).await.unwrap() {
            Streamed::Lines(lines) => lines,
            Streamed::Refused(response) => panic!("{response:?}"),
        }
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_are_cut() {
        let pieces = ["one\n\ntw", "o\r\nthr", "ee", "\n"].map(|data| chunk(data.as_bytes()));
        let pieces = [vec![HEAD.to_vec()], pieces.to_vec(), vec![b"0\r\n\r\n".to_vec()]].concat();
        let mut lines = lines(pieces).await;
        let mut told = Vec::new();
        // Who stops waiting loses nothing.
        loop {
            match tokio::time::timeout(Duration::from_millis(3), lines.next()).await {
                Err(_) => {}
                Ok(Ok(Some(line))) => told.push(String::from_utf8(line.expose().to_vec()).unwrap()),
                Ok(end) => break assert!(end.unwrap().is_none()),
            }
        }
        assert_eq!(told, ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn half_a_line_is_none_and_one_without_end_is_not_waited_for() {
        let mut cut = lines(vec![HEAD.to_vec(), chunk(b"one\ntw")]).await;
        assert!(cut.next().await.unwrap().unwrap().same_as(b"one"));
        assert_eq!(cut.next().await.err().unwrap().kind, NetErrorKind::Reset);
        let endless = std::iter::repeat_n(chunk(&vec![b'a'; LARGEST / 4]), 8);
        let mut endless = lines([HEAD.to_vec()].into_iter().chain(endless).collect()).await;
        assert_eq!(endless.next().await.err().unwrap().kind, NetErrorKind::TooLarge(Part::Body));
    }

    #[tokio::test]
    async fn another_status_is_an_answer() {
        let refusal = b"HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\nvoid".to_vec();
        let request = Request::post(Route::to("/watch"));
        match client(vec![refusal]).stream(request).await.unwrap() {
            Streamed::Refused(response) => {
                assert!(response.status() == 401 && response.body().same_as(b"void"))
            }
            Streamed::Lines(_) => panic!("lines"),
        }
    }
}
