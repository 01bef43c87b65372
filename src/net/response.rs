//! What a server has answered: a status, a few headers, and a body that is wiped. Never a redirect that
//! was followed. Uses hyper's words and `json`.

use std::fmt;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, DATE, HeaderMap, LOCATION, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::error::{Fault, NetErrorKind, Part};
use super::json::Json;
use super::request::Route;
use crate::config::Address;
use crate::secret::SecretBytes;

/// The most bytes of a body.
pub const LARGEST: usize = 8 << 20;
/// The longest time that a server can have us not ask again.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

pub struct Response {
    status: u16,
    headers: HeaderMap,
    body: SecretBytes,
}

impl Response {
    /// Reads the body to its end, and no further than it may be long.
    pub(super) async fn read(response: hyper::Response<Incoming>) -> Result<Self, Fault> {
        let (head, mut incoming) = response.into_parts();
        let is_plain = |encoding: &[u8]| encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity");
        if head.headers.get(CONTENT_ENCODING).is_some_and(|it| !is_plain(it.as_bytes())) {
            return Err(Fault::strange("its answer is compressed, which was not asked for"));
        }
        if incoming.size_hint().lower() > LARGEST as u64 {
            return Err(Fault::TooLarge(Part::Body));
        }
        let mut body = Vec::with_capacity(incoming.size_hint().lower() as usize);
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| NetErrorKind::of_http(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            if body.len() + data.len() > LARGEST {
                return Err(Fault::TooLarge(Part::Body));
            }
            body.extend_from_slice(&data);
        }
        Ok(Self { status: head.status.as_u16(), headers: head.headers, body: SecretBytes::new(body) })
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    /// From 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Those that are text.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }

    pub fn body(&self) -> &SecretBytes {
        &self.body
    }

    pub fn json(&self) -> Result<Json<'_>, NetErrorKind> {
        Ok(Json::read(self.body.expose())?)
    }

    /// How long not to ask again, if it says so: seconds, or a date.
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let pause = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => Duration::try_from(moment(text)?.duration_since(now)).unwrap_or_default(),
        };
        Some(pause.min(LONGEST_PAUSE))
    }

    /// When it was answered, by the clock of who did.
    pub fn date(&self) -> Option<Timestamp> {
        moment(self.headers.get(DATE)?.to_str().ok()?)
    }

    /// Where it wants us to go. See [`Client::stays`](super::Client::stays) before anybody goes there.
    pub fn location(&self) -> Option<&str> {
        self.headers.get(LOCATION)?.to_str().ok()
    }
}

/// The obsolete forms of a date are nobody's any more.
fn moment(text: &str) -> Option<Timestamp> {
    Some(rfc2822::parse(&text.trim().replace("GMT", "+0000")).ok()?.timestamp())
}

/// Only the status: headers may hold cookies.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({}, {} bytes)", self.status, self.body.len())
    }
}

/// Whether a location, as a redirect gives it, is on the server of this address. Only there may a
/// credential go.
pub fn same_origin(address: &Address, location: &str) -> bool {
    let Some((scheme, rest)) = location.split_once("://") else {
        // `//host/x` goes elsewhere; `/\host` does so in the eyes of some.
        return location.starts_with('/') && !location.starts_with("//") && !location.starts_with("/\\");
    };
    let is_tls = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return false,
    };
    let authority = &rest[..rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())];
    let Ok(other) = authority.parse::<hyper::http::uri::Authority>() else { return false };
    let host = other.host().trim_start_matches('[').trim_end_matches(']');
    let port = other.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let is_bare = !authority.contains('@');
    is_bare && is_tls == address.is_tls && host.eq_ignore_ascii_case(&address.host) && port == address.port
}

/// The route of a location on the same server, if it is one and has nothing that leads elsewhere.
pub(super) fn route_of(address: &Address, location: &str) -> Option<Route> {
    if !same_origin(address, location) {
        return None;
    }
    let path = match location.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => location,
    };
    Route::given(path.strip_prefix(address.prefix.as_str())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address { is_tls: true, host: "vault".into(), port: 8200, prefix: String::new() }
    }

    #[test]
    fn the_same_origin_is_the_same_in_all_parts() {
        for location in ["/v1/x", "https://vault:8200/v1", "https://VAULT:8200", "https://vault:8200?x"] {
            assert!(same_origin(&address(), location), "{location}");
        }
        for location in [
            "http://vault:8200/v1",
            "https://vault/v1",
            "https://vault:8201/v1",
            "https://vault.evil:8200/v1",
            "https://vault:8200@evil/v1",
            "https://evil\\@vault:8200/v1",
            "https://x@vault:8200/v1",
            "//evil/v1",
            "/\\evil/v1",
            "v1/x",
            "",
            "javascript://vault:8200/",
        ] {
            assert!(!same_origin(&address(), location), "{location}");
        }
    }

    #[test]
    fn a_route_is_taken_from_a_location_as_it_is() {
        let route = |location| route_of(&address(), location).map(|route| route.as_str().to_owned());
        assert_eq!(route("https://vault:8200/v1/a%2Fb?x=1").as_deref(), Some("/v1/a%2Fb?x=1"));
        assert_eq!(route("/v1/x").as_deref(), Some("/v1/x"));
        for location in ["https://evil/v1", "/v1/../x", "/v1/%2e%2E/x", "/v1//x", "/v1/a b", "/v1/\r\nx: y"] {
            assert_eq!(route(location), None, "{location}");
        }
    }

    fn after(text: &str, now: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        let response = Response { status: 429, headers, body: SecretBytes::new(Vec::new()) };
        response.retry_after(now.parse().unwrap())
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let now = "2026-11-06T08:49:00Z";
        for (text, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Fri, 06 Nov 2026 08:49:37 GMT", Some(37)),
            ("Fri, 06 Nov 2026 08:00:00 GMT", Some(0)),
            ("99999999999", Some(3600)),
            ("Fri, 06 Nov 2099 08:00:00 GMT", Some(3600)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
        ] {
            assert_eq!(after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
