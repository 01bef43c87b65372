//! The HTTP of AWS' library for credentials, over our own: one TLS, one reading of proxies, one bound for all. It
//! remembers what went wrong last, since the library's own errors show what they were answered. Uses `net`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use tokio::runtime::Handle;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::codes::code_of;
use crate::config::{Address, Tls, Transport};
use crate::net::{Client, NetError, NetErrorKind, Request, Response};
use crate::poison::EvenPoisoned;

/// Shared by all parts of the library that ask for the credentials of one provider.
#[derive(Clone)]
pub(super) struct Http {
    shared: Arc<Shared>,
    /// Where connections live on when the library's own runtime has ended.
    runtime: Option<Handle>,
}

struct Shared {
    /// What is believed, beside the system's authorities.
    tls: Tls,
    timeout: Duration,
    clients: Mutex<HashMap<(String, Duration), Arc<Client>>>,
    last: Mutex<Option<Trouble>>,
}

/// What went wrong last, and where.
pub(super) enum Trouble {
    Silence(NetError),
    /// The status, and the code of AWS if there is one.
    Refused(String, u16, Option<String>),
    /// How a program went wrong that prints keys.
    Program(String),
}

impl Http {
    pub(super) fn new(tls: Tls, timeout: Duration) -> Self {
        // A pin is of the server of the secrets, and so are a name and a certificate of ours.
        let tls = Tls { ca: tls.ca, min: tls.min, ..Tls::default() };
        let (clients, last) = (Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { tls, timeout, clients, last }), runtime: None }
    }

    /// For the library, which is in another one.
    pub(super) fn by_this_runtime(&self) -> Self {
        Self { shared: self.shared.clone(), runtime: Handle::try_current().ok() }
    }

    pub(super) fn note(&self, trouble: Trouble) {
        self.shared.note(trouble);
    }

    /// And forgets it.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.shared.last.lock().even_poisoned().take()
    }

    pub(super) fn sweep(&self) {
        self.shared.clients.lock().even_poisoned().values().for_each(|client| client.sweep());
    }
}

impl Shared {
    async fn answer(&self, request: HttpRequest, patience: Duration) -> Result<HttpResponse, ConnectorError> {
        let unfit = |_| ConnectorError::user("it cannot be put into HTTP".into());
        let request = request.try_into_http1x().map_err(unfit)?;
        let (head, body) = request.into_parts();
        let address = address_of(&head.uri).ok_or_else(|| {
            let why = "credentials are asked for by https://, or near and in the clear: nowhere else";
            ConnectorError::user(why.into())
        })?;
        let body = body.bytes().unwrap_or_default().to_vec();
        let request = Request::made(hyper::Request::from_parts(head, body));
        match self.client(address.clone(), patience).send(request).await {
            Ok(response) => {
                if !response.is_success() {
                    self.note(Trouble::Refused(address.authority(), response.status(), code_of(&response)));
                }
                passed_on(&response)
            }
            Err(error) => {
                let is_late = matches!(error.kind, NetErrorKind::Timeout { .. });
                self.note(Trouble::Silence(error));
                let why = "it has not answered".into();
                Err(if is_late { ConnectorError::timeout(why) } else { ConnectorError::io(why) })
            }
        }
    }

    fn note(&self, trouble: Trouble) {
        *self.last.lock().even_poisoned() = Some(trouble);
    }

    /// One for each server.
    fn client(&self, address: Address, patience: Duration) -> Arc<Client> {
        let mut clients = self.clients.lock().even_poisoned();
        let client = clients.entry((address.to_string(), patience)).or_insert_with(|| {
            let tls = if address.is_tls { self.tls.clone() } else { Tls::default() };
            Arc::new(Client::new(Transport { address, tls }, patience))
        });
        client.clone()
    }
}

/// Where it is, if one may go there.
fn address_of(uri: &hyper::Uri) -> Option<Address> {
    let is_tls = uri.scheme_str() == Some("https");
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let address = Address { is_tls, host, port, prefix: String::new() };
    (is_tls || address.is_loopback() || address.is_metadata()).then_some(address)
}

fn passed_on(response: &Response) -> Result<HttpResponse, ConnectorError> {
    let unfit = || ConnectorError::other("it does not answer as HTTP does".into(), None);
    let status = response.status().try_into().map_err(|_| unfit())?;
    let mut passed = HttpResponse::new(status, SdkBody::from(response.body().expose()));
    for (name, value) in response.headers() {
        passed.headers_mut().try_append(name.to_owned(), value.to_owned()).map_err(|_| unfit())?;
    }
    Ok(passed)
}

#[derive(Clone)]
struct Connector {
    http: Http,
    patience: Duration,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { http, patience } = self.clone();
        HttpConnectorFuture::new(async move {
            let Http { shared, runtime } = http;
            let answer = async move { shared.answer(request, patience).await };
            match runtime {
                Some(runtime) => {
                    let answer = runtime.spawn(answer.with_subscriber(NoSubscriber::default())).await;
                    answer.unwrap_or_else(|_| Err(ConnectorError::other("it was given up".into(), None)))
                }
                None => answer.await,
            }
        })
    }
}

impl HttpClient for Http {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let patience = settings.read_timeout().map_or(self.shared.timeout, |it| it.min(self.shared.timeout));
        SharedHttpConnector::new(Connector { http: self.clone(), patience })
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_asked_for_in_the_clear_where_they_are_and_nowhere_else() {
        let is_fine = |uri: &str| address_of(&uri.parse().unwrap()).is_some();
        for uri in [
            "https://sts.eu-central-1.amazonaws.com/",
            "http://169.254.169.254/latest/api/token",
            "http://169.254.170.2/v2/credentials",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://127.0.0.1:1338/latest",
            "http://localhost:5000/",
        ] {
            assert!(is_fine(uri), "{uri}");
        }
        for uri in ["http://sts.amazonaws.com/", "http://10.0.0.1/x", "http://169.254.169.253/", "/x"] {
            assert!(!is_fine(uri), "{uri}");
        }
    }
}
