//! A question to a server. Names in its path are data: they are encoded, and those that would lead
//! elsewhere are refused. Every header that is given as a secret stays one. Uses hyper's words.

use std::fmt;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
use zeroize::Zeroizing;

use super::error::NetErrorKind;
use crate::config::Address;
use crate::secret::SecretBytes;

/// What means itself in a path and in a query (RFC 3986, unreserved).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const AGENT: &str = concat!("secretfs/", env!("CARGO_PKG_VERSION"));

/// A path on the server, below the prefix of its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route(String);

impl Route {
    /// Words of ours, from `/` on: `Route::to("/v1/auth/approle/login")`.
    pub fn to(words: &'static str) -> Self {
        Self(words.to_owned())
    }

    /// One segment more, whatever is in it: a `/` becomes `%2F`.
    pub fn name(mut self, name: &str) -> Result<Self, NetErrorKind> {
        // Servers resolve these also if they are encoded.
        if matches!(name, "" | "." | "..") {
            return Err(NetErrorKind::Name("a name that is empty, `.` or `..` cannot be asked for"));
        }
        if name.chars().any(char::is_control) {
            return Err(NetErrorKind::Name("a name with a control character cannot be asked for"));
        }
        self.0.push('/');
        self.0.extend(utf8_percent_encode(name, ENCODED));
        Ok(self)
    }

    /// A segment more for each part between slashes.
    pub fn names(self, path: &str) -> Result<Self, NetErrorKind> {
        path.split('/').try_fold(self, Self::name)
    }

    /// Words of ours behind that, as they are: `.then("/metadata")`, `.then(":access")`.
    pub fn then(mut self, words: &'static str) -> Self {
        self.0.push_str(words);
        self
    }

    /// What a URL names that somebody else has written, and where: `https://host/path?query`.
    pub fn of_url(url: &str) -> Option<(Address, Self)> {
        let begin = url.find("://")? + 3;
        let end = url[begin..].find('/')? + begin;
        Some((Address::of_origin(&url[..end])?, Self::given(&url[end..])?))
    }

    /// A path and a query as a server gives them, if they are written out and lead nowhere else.
    pub(super) fn given(text: &str) -> Option<Self> {
        let path = text.split('?').next().unwrap_or(text);
        let is_fit = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#');
        let is_way_up =
            |part: &str| matches!(part.to_ascii_lowercase().replace("%2e", ".").as_str(), "" | "." | "..");
        let is_plain = path.strip_prefix('/').is_some_and(|path| !path.split('/').any(is_way_up));
        (is_plain && text.bytes().all(is_fit)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// To be sent by a [`Client`](super::Client).
#[derive(Clone)]
pub struct Request {
    method: Method,
    route: Route,
    query: String,
    headers: HeaderMap,
    body: Bytes,
    /// Asking twice is as good as once.
    is_repeatable: bool,
}

impl Request {
    fn new(method: Method, route: Route) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let is_repeatable = matches!(method.as_str(), "GET" | "LIST");
        Self { method, route, query: String::new(), headers, body: Bytes::new(), is_repeatable }
    }

    pub fn get(route: Route) -> Self {
        Self::new(Method::GET, route)
    }

    pub fn post(route: Route) -> Self {
        Self::new(Method::POST, route)
    }

    pub fn put(route: Route) -> Self {
        Self::new(Method::PUT, route)
    }

    /// As a library of others has made it, which knows what it does. Whatever it is, it is sent once.
    pub fn made(request: hyper::Request<Vec<u8>>) -> Self {
        let (head, body) = request.into_parts();
        let mut headers = head.headers;
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        let path = head.uri.path_and_query().map_or("/", |it| it.as_str());
        Self {
            method: head.method,
            route: Route(path.to_owned()),
            query: String::new(),
            headers,
            body: Bytes::from_owner(Zeroizing::new(body)),
            is_repeatable: false,
        }
    }

    /// Vault's own method.
    pub fn list(route: Route) -> Self {
        Self::new(Method::from_bytes(b"LIST").expect("a token"), route)
    }

    /// A pair of the query.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let is_first = self.query.is_empty() && !self.route.0.contains('?');
        self.query.push(if is_first { '?' } else { '&' });
        self.query.extend(utf8_percent_encode(name, ENCODED));
        self.query.push('=');
        self.query.extend(utf8_percent_encode(value, ENCODED));
        self
    }

    /// A header that tells nothing: a namespace, a content type.
    pub fn header(self, name: &str, value: &str) -> Result<Self, NetErrorKind> {
        self.with(name, value.as_bytes(), false)
    }

    /// A header that holds a credential. `prefix` stands before it: `"Bearer "`, or nothing.
    pub fn secret(self, name: &str, prefix: &str, value: &SecretBytes) -> Result<Self, NetErrorKind> {
        let value = Zeroizing::new([prefix.as_bytes(), value.expose()].concat());
        self.with(name, &value, true)
    }

    fn with(mut self, name: &str, value: &[u8], is_secret: bool) -> Result<Self, NetErrorKind> {
        let mut value = HeaderValue::from_bytes(value).map_err(|_| {
            NetErrorKind::Name("a credential or setting with a line break cannot be a header")
        })?;
        value.set_sensitive(is_secret);
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| NetErrorKind::Name("this cannot be the name of a header"))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// A body of JSON, which may hold credentials: it is wiped after it was sent.
    pub fn json(self, body: Vec<u8>) -> Self {
        self.body("application/json", body)
    }

    /// A form, whose values may be credentials: written in one piece, so that no smaller copy stays behind.
    pub fn form(self, pairs: &[(&str, &[u8])]) -> Self {
        let most = pairs.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
        let mut body = Vec::with_capacity(most);
        for (name, value) in pairs {
            if !body.is_empty() {
                body.push(b'&');
            }
            body.extend_from_slice(name.as_bytes());
            body.push(b'=');
            percent_encode(value, ENCODED).for_each(|piece| body.extend_from_slice(piece.as_bytes()));
        }
        self.body("application/x-www-form-urlencoded", body)
    }

    pub fn body(mut self, kind: &'static str, body: Vec<u8>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        self.body = Bytes::from_owner(Zeroizing::new(body));
        self
    }

    /// Changes nothing there, whatever its method.
    pub fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    /// Each time something else is made of it, whatever its method.
    pub fn once(mut self) -> Self {
        self.is_repeatable = false;
        self
    }

    pub(super) fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// As it goes to this server.
    pub(super) fn to(&self, address: &Address) -> Result<hyper::Request<Full<Bytes>>, NetErrorKind> {
        let cannot = |_| NetErrorKind::strange("the request cannot be put into HTTP");
        let path = format!("{}{}{}", address.prefix, self.route.0, self.query);
        let mut request = hyper::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = path.parse::<Uri>().map_err(|_| ()).map_err(cannot)?;
        *request.headers_mut() = self.headers.clone();
        let host = HeaderValue::from_str(&address.authority()).map_err(|_| ()).map_err(cannot)?;
        request.headers_mut().insert(HOST, host);
        Ok(request)
    }
}

/// Neither headers nor the body.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} {})", self.method, self.route.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_a_name() {
        let route = || Route::to("/v1/secret/data");
        for (name, path) in [
            ("app", "/v1/secret/data/app"),
            ("a/b", "/v1/secret/data/a%2Fb"),
            ("a?b#c%d e", "/v1/secret/data/a%3Fb%23c%25d%20e"),
            ("..%2f", "/v1/secret/data/..%252f"),
            ("ä;=&", "/v1/secret/data/%C3%A4%3B%3D%26"),
            ("...", "/v1/secret/data/..."),
        ] {
            assert_eq!(route().name(name).unwrap().as_str(), path);
        }
        for name in ["", ".", "..", "a\nb", "a\0", "\u{85}"] {
            assert!(route().name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_form_is_encoded() {
        let form = Request::post(Route::to("/token")).form(&[("a", b"x"), ("b", "ä&= -\0".as_bytes())]);
        assert_eq!(form.body, "a=x&b=%C3%A4%26%3D%20-%00");
        assert_eq!(form.headers[CONTENT_TYPE], "application/x-www-form-urlencoded");
    }

    #[test]
    fn a_url_of_somebody_else_leads_over_tls_or_nowhere() {
        let (address, route) = Route::of_url("https://sts.example/v1/token?a=b").unwrap();
        assert_eq!((address.to_string().as_str(), route.as_str()), ("https://sts.example", "/v1/token?a=b"));
        for url in ["http://127.0.0.1:80/t", "http://169.254.169.254/metadata/x", "https://a:1/x:y"] {
            assert!(Route::of_url(url).is_some(), "{url}");
        }
        for url in [
            "http://sts.example/t",
            "ftp://a/t",
            "https://a@b/t",
            "https://a",
            "https://a/",
            "https://a/../t",
            "https://a/t#x",
            "https://a/t u",
            "/t",
            "",
            "https://a\\b/t",
            "http://127.0.0.1.evil.example/t",
        ] {
            assert!(Route::of_url(url).is_none(), "{url}");
        }
    }

    #[test]
    fn a_path_has_only_segments() {
        let route = || Route::to("/v1");
        assert_eq!(route().names("a/b c").unwrap().then("/x").as_str(), "/v1/a/b%20c/x");
        for path in ["a/../b", "../b", "a//b", "/a", "a/", "a/./b", ""] {
            assert!(route().names(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn it_shows_no_secret() {
        let token = SecretBytes::copy_of(b"hunter2");
        let request = Request::post(Route::to("/v1"))
            .secret("x-vault-token", "", &token)
            .unwrap()
            .json(b"{\"secret_id\":\"hunter2\"}".to_vec());
        assert_eq!(format!("{request:?}"), "Request(POST /v1)");
        assert!(!format!("{:?}", request.headers).contains("hunter2"), "hyper's own words for it");
        let broken = SecretBytes::copy_of(b"hunter2\r\nx: y");
        let why = Request::get(Route::to("/v1")).secret("x-vault-token", "", &broken).unwrap_err();
        assert!(!why.to_string().contains("hunter2") && !format!("{why:?}").contains("hunter2"));
    }

    #[test]
    fn it_goes_below_the_prefix_with_its_query() {
        let address = Address { is_tls: true, host: "::1".into(), port: 8200, prefix: "/vault".into() };
        let request = Request::get(Route::to("/v1/x")).query("a b", "c&d").query("e", "");
        let request = request.to(&address).unwrap();
        assert_eq!(request.uri(), "/vault/v1/x?a%20b=c%26d&e=");
        assert_eq!(request.headers()["host"], "[::1]:8200");
    }
}
