//! The way through a proxy, where the environment names one: HTTPS_PROXY and ALL_PROXY, except for what
//! NO_PROXY has, each in both cases. A server of this machine is never behind one; that is why HTTP_PROXY
//! has no part in it. Uses hyper-util's reading of them.

use hyper::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::error::{Fault, NetErrorKind};
use crate::config::Address;

/// The most that a proxy may say before the way is open.
const HEAD: usize = 16 << 10;

pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// As the header has it.
    login: Option<Zeroizing<Vec<u8>>>,
}

/// What the environment says of this address.
pub(super) fn of_environment(address: &Address) -> Result<Option<Proxy>, Fault> {
    of(&Matcher::from_env(), address)
}

fn of(matcher: &Matcher, address: &Address) -> Result<Option<Proxy>, Fault> {
    if address.is_loopback() || address.is_on_link() {
        return Ok(None);
    }
    let uri: Option<Uri> = format!("https://{}/", address.authority()).parse().ok();
    uri.and_then(|uri| matcher.intercept(&uri)).as_ref().map(Proxy::of).transpose()
}

impl Proxy {
    fn of(found: &Intercept) -> Result<Self, Fault> {
        let uri = found.uri();
        let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(Fault::Proxy(format!(
                "that the environment names is spoken to by {}, which is not known here: name one by http://",
                uri.scheme_str().unwrap_or("nothing")
            )));
        };
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(80),
            login: found.basic_auth().map(|login| Zeroizing::new(login.as_bytes().to_vec())),
        })
    }

    /// What is wrong with the proxy itself.
    pub(super) fn blame(&self, fault: Fault) -> Fault {
        match fault {
            ours @ (NetErrorKind::Timeout { .. } | NetErrorKind::ShutIn) => ours,
            fault => Fault::Proxy(format!("{}:{}: {fault}", self.host, self.port)),
        }
    }

    /// Has it open the way. From then on the stream is the server's.
    pub(super) async fn tunnel(&self, mut stream: TcpStream, address: &Address) -> Result<TcpStream, Fault> {
        let host = match address.host.contains(':') {
            true => format!("[{}]:{}", address.host, address.port),
            false => format!("{}:{}", address.host, address.port),
        };
        let mut head = Zeroizing::new(format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n").into_bytes());
        if let Some(login) = &self.login {
            head.extend_from_slice(b"Proxy-Authorization: ");
            head.extend_from_slice(login);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let faulty = |error: std::io::Error| self.blame(NetErrorKind::of_io(&error));
        stream.write_all(&head).await.map_err(faulty)?;
        match self.status(&mut stream).await? {
            200..=299 => Ok(stream),
            407 => Err(self.refuses("wants a login: http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY")),
            status => Err(self.refuses(&format!("does not open the way ({status})"))),
        }
    }

    /// Read byte by byte, since what comes after the head is the server's.
    async fn status(&self, stream: &mut TcpStream) -> Result<u16, Fault> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= HEAD {
                return Err(self.refuses("says too much"));
            }
            head.push(stream.read_u8().await.map_err(|error| self.blame(NetErrorKind::of_io(&error)))?);
        }
        let line = head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
        let status = line.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        status.ok_or_else(|| self.refuses("does not speak HTTP"))
    }

    fn refuses(&self, what: &str) -> Fault {
        Fault::Proxy(format!("{}:{} {what}", self.host, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(matcher: &Matcher, is_tls: bool, host: &str) -> Option<(String, u16, bool)> {
        let address = Address { is_tls, host: host.to_owned(), port: 8200, prefix: String::new() };
        let proxy = of(matcher, &address).unwrap();
        proxy.map(|proxy| (proxy.host, proxy.port, proxy.login.is_some()))
    }

    #[test]
    fn it_is_taken_where_the_environment_says_so() {
        let matcher = Matcher::builder().https("http://u:p@proxy:3128").no(".corp, 10.0.0.0/8").build();
        let found = Some(("proxy".to_owned(), 3128, true));
        assert_eq!(way(&matcher, true, "vault.example.com"), found);
        assert_eq!(way(&matcher, true, "vault.corp"), None);
        assert_eq!(way(&matcher, true, "10.1.2.3"), None);
        assert_eq!(way(&matcher, true, "11.1.2.3"), found);
        assert_eq!(way(&Matcher::builder().all("http://proxy").build(), true, "vault").unwrap().1, 80);
        assert_eq!(way(&Matcher::builder().build(), true, "vault"), None);
    }

    #[test]
    fn this_machine_is_behind_none() {
        let matcher = Matcher::builder().all("http://proxy:3128").build();
        for host in ["127.0.0.1", "localhost", "::1"] {
            assert_eq!(way(&matcher, false, host), None);
            assert_eq!(way(&matcher, true, host), None);
        }
        for host in ["169.254.169.254", "169.254.131.2"] {
            assert_eq!(way(&matcher, false, host), None, "nor what tells it about itself");
        }
        assert!(way(&matcher, false, "169.254.x.example").is_some(), "a name is no number");
        assert!(way(&matcher, true, "vault").is_some(), "the control");
    }

    #[test]
    fn one_that_is_not_known_is_refused() {
        let matcher = Matcher::builder().https("socks5://u:hunter2@proxy:1080").build();
        let address = Address { is_tls: true, host: "vault".into(), port: 443, prefix: String::new() };
        let Err(why) = of(&matcher, &address) else { panic!("taken") };
        assert!(why.to_string().contains("socks5") && !why.to_string().contains("hunter2"), "{why}");
    }
}
