//! A proxy of the kind that HTTPS_PROXY names: opens a way on CONNECT. Every way leads to the same server.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

pub struct Tunnel {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    /// `status` other than 200: it opens no way.
    pub fn to(server: SocketAddr, status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, heads) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let seen = heads.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                thread::spawn(move || open(stream, server, status, &seen));
            }
        });
        Self { address, heads }
    }

    /// What it was asked, each with its headers.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn open(mut stream: TcpStream, server: SocketAddr, status: u16, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    // It is read to the end of the head, and no client says more before it is answered.
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    seen.lock().unwrap().push(head);
    write!(stream, "HTTP/1.1 {status} -\r\n\r\n")?;
    if status != 200 {
        return Ok(());
    }
    let upstream = TcpStream::connect(server)?;
    let (mut from, mut to) = (stream.try_clone()?, upstream.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        to.shutdown(std::net::Shutdown::Write)
    });
    io::copy(&mut { upstream }, &mut stream)?;
    stream.shutdown(std::net::Shutdown::Write)
}
