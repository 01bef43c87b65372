//! One form, posted to a URL: no redirect is followed, no answer is longer than 64 KiB. Uses hyper and `net`.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

use super::Stop;
use super::net::{self, Stream, Trust};
use crate::secret::SecretBytes;

const WHO: &str = "HTTP";
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const LIMIT: usize = 1 << 16;

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: SecretBytes,
}

/// `http` or `https`, host, port, and what is asked there.
pub(super) struct Address<'a> {
    is_tls: bool,
    host: &'a str,
    port: u16,
    authority: &'a str,
    path: &'a str,
}

impl<'a> Address<'a> {
    pub(super) fn parse(url: &'a [u8]) -> Option<Self> {
        let url = std::str::from_utf8(url).ok()?;
        let (scheme, rest) = url.split_once("://")?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let parsed: hyper::http::uri::Authority = authority.parse().ok()?;
        let port = parsed.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let host = &authority[..parsed.host().len()];
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(Self { is_tls, host, port, authority, path })
    }
}

/// Name and value of each field, and the login of whoever posts, if it goes into the head.
pub(super) async fn post(
    address: &Address<'_>,
    form: &[(&str, &[u8])],
    login: Option<&[u8]>,
) -> Result<Answer, Stop> {
    let stream = net::tcp(address.host, address.port).await?;
    let stream: Stream = match address.is_tls {
        true => net::tls(stream, address.host, Trust::Authorities).await?,
        false => Box::new(stream),
    };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|_| Stop::strange(WHO))?;
    tokio::spawn(connection);
    let path =
        if address.path.starts_with('/') { address.path.to_owned() } else { format!("/{}", address.path) };
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, address.authority)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(login) = login {
        let mut value =
            HeaderValue::from_bytes(login).map_err(|_| Stop::Fails("its client cannot be named".into()))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let request =
        request.body(Full::new(encoded(form))).map_err(|_| Stop::Fails("its URL cannot be asked".into()))?;
    let response = sender.send_request(request).await.map_err(|_| Stop::strange(WHO))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), LIMIT).collect().await.map_err(|_| Stop::strange(WHO))?;
    Ok(Answer { status, body: SecretBytes::new(body.to_bytes().to_vec()) })
}

/// As a form's field is written.
pub(super) fn quoted(value: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(percent_encode(value, FORM).to_string())
}

/// Wiped when the request is gone.
fn encoded(form: &[(&str, &[u8])]) -> Bytes {
    let mut body =
        Zeroizing::new(Vec::with_capacity(form.iter().map(|(_, value)| 32 + 3 * value.len()).sum()));
    for (name, value) in form {
        if !body.is_empty() {
            body.push(b'&');
        }
        body.extend_from_slice(name.as_bytes());
        body.push(b'=');
        body.extend_from_slice(quoted(value).as_bytes());
    }
    Bytes::from_owner(body)
}
