//! The server of a connection string: reached, and logged in at where that is simple. Uses the protocols
//! beside it.

use std::path::{Path, PathBuf};

use super::net::{self, Stream, Trust};
use super::url::{Url, decoded};
use super::{Seen, Stop, mysql, postgres, redis};
use crate::secret::SecretBytes;

/// Ports by scheme, and whether TLS is spoken from the first byte on. Others are reached only.
const SCHEMES: [(&str, u16, bool); 16] = [
    ("postgres", 5432, false),
    ("postgresql", 5432, false),
    ("mysql", 3306, false),
    ("mariadb", 3306, false),
    ("redis", 6379, false),
    ("rediss", 6379, true),
    ("mongodb", 27017, false),
    ("amqp", 5672, false),
    ("amqps", 5671, true),
    ("mqtt", 1883, false),
    ("mqtts", 8883, true),
    ("nats", 4222, false),
    ("ldap", 389, false),
    ("ldaps", 636, true),
    ("http", 80, false),
    ("https", 443, true),
];

/// Where a server listens.
enum Place<'a> {
    Tcp(&'a str, u16),
    Unix(PathBuf),
}

pub(super) async fn log_in(url: &SecretBytes, seen: &mut Seen) -> Result<(), Stop> {
    let url = Url::parse(url.expose()).ok_or_else(|| Stop::Unknown("its URL has no `//host`".into()))?;
    let known = SCHEMES.iter().find(|(scheme, ..)| *scheme == url.scheme);
    let (port, is_tls) = known.map_or((None, false), |&(_, port, is_tls)| (Some(port), is_tls));
    let places = places(&url, port)?;
    let mut last = Stop::Unknown("its URL names no server".into());
    // As a driver does: the first one that is there.
    for place in &places {
        match open(place, is_tls).await {
            Ok(stream) => {
                seen.push("its server is there".into());
                return greet(&url, place, stream, seen).await;
            }
            Err(stop) => last = stop,
        }
    }
    Err(last)
}

fn places<'a>(url: &Url<'a>, port: Option<u16>) -> Result<Vec<Place<'a>>, Stop> {
    if let Some(socket) = socket(url, port.unwrap_or_default()) {
        return Ok(vec![Place::Unix(socket)]);
    }
    let place = |&(host, named): &(&'a str, Option<u16>)| Some(Place::Tcp(host, named.or(port)?));
    let places: Option<Vec<_>> = url.hosts.iter().map(place).collect();
    places.ok_or_else(|| Stop::Unknown("its URL names no port, and the usual one is not known here".into()))
}

/// A socket that is named as a parameter, by the rules of the driver.
fn socket(url: &Url<'_>, port: u16) -> Option<PathBuf> {
    let named = match url.scheme.as_str() {
        "postgres" | "postgresql" => "host",
        "mysql" | "mariadb" => "socket",
        _ => return None,
    };
    let named = url.parameter(named).or_else(|| url.parameter("unix_socket")).and_then(decoded)?;
    let path = Path::new(std::str::from_utf8(named.expose()).ok()?).to_owned();
    let is_postgres = url.scheme.starts_with("postgres");
    let port = url.parameter("port").and_then(|port| port.parse().ok()).unwrap_or(port);
    path.is_absolute().then(|| if is_postgres { path.join(format!(".s.PGSQL.{port}")) } else { path })
}

/// Before TLS, where that is agreed on later.
enum Opened {
    Plain(tokio::net::TcpStream),
    Ready(Stream),
}

async fn open(place: &Place<'_>, is_tls: bool) -> Result<Opened, Stop> {
    Ok(match place {
        Place::Unix(path) => Opened::Ready(net::unix(path).await?),
        Place::Tcp(host, port) => match (net::tcp(host, *port).await?, is_tls) {
            (stream, true) => Opened::Ready(net::tls(stream, host, Trust::Authorities).await?),
            (stream, false) => Opened::Plain(stream),
        },
    })
}

async fn greet(url: &Url<'_>, place: &Place<'_>, opened: Opened, seen: &mut Seen) -> Result<(), Stop> {
    let (stream, trust) = match (opened, place) {
        (Opened::Plain(stream), Place::Tcp(host, _)) => match url.scheme.as_str() {
            "postgres" | "postgresql" => postgres::secured(stream, host, url.parameter("sslmode")).await?,
            _ => (Box::new(stream) as Stream, None),
        },
        (Opened::Ready(stream), _) => (stream, Some(Trust::Authorities)),
        (Opened::Plain(stream), Place::Unix(_)) => (Box::new(stream) as Stream, None),
    };
    match url.scheme.as_str() {
        "postgres" | "postgresql" => postgres::log_in(stream, url, trust).await?,
        "mysql" | "mariadb" => mysql::log_in(stream, url).await?,
        "redis" | "rediss" => redis::log_in(stream, url).await?,
        _ => return Err(Stop::Unknown("whether it lets anybody in is not tried for this scheme".into())),
    }
    seen.push(match url.has_password() {
        true => "it lets in with this user and password".into(),
        false => "it lets in without a password".into(),
    });
    Ok(())
}
