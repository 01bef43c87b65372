//! The way to a running daemon: one request over its control socket. Uses hyper and the words of
//! `control::wire`.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::report::{Failure, warn};
use super::{Common, config, exit};
use crate::control::{socket, wire};

/// Which daemon is meant.
#[derive(clap::Args)]
pub struct Reach {
    /// The daemon's control socket (else the config's, else the usual place)
    #[arg(long, value_name = "FILE")]
    socket: Option<PathBuf>,
}

pub struct Client {
    socket: PathBuf,
}

/// A daemon waits no longer for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why there is no answer.
pub enum Silence {
    /// Nobody has heard the request.
    Unreached(io::Error),
    /// It was heard, and the connection ended without an answer.
    Broken,
    /// The answer is a failure, or none that we know.
    Refused(Failure),
}

impl Client {
    pub fn new(reach: &Reach, common: &Common) -> Result<Self, Failure> {
        let chosen = match &reach.socket {
            Some(socket) => Some(socket.clone()),
            None => configured(common)?.or_else(|| socket::default_path(socket::CONTROL)),
        };
        let socket = chosen.ok_or_else(|| {
            Failure::new(exit::USAGE, "there is no folder for a daemon's socket: XDG_RUNTIME_DIR is not set")
                .hint("--socket FILE")
        })?;
        Ok(Self { socket })
    }

    pub fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, Failure> {
        self.ask(Method::GET, target).map_err(|silence| self.failure(silence))
    }

    pub fn post<T: DeserializeOwned>(&self, target: &str) -> Result<T, Failure> {
        self.ask(Method::POST, target).map_err(|silence| self.failure(silence))
    }

    /// One request and its answer.
    pub fn ask<T: DeserializeOwned>(&self, method: Method, target: &str) -> Result<T, Silence> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answer = async {
            match tokio::time::timeout(PATIENCE, self.exchange(method, target)).await {
                Ok(answer) => answer,
                Err(_) => Err(Silence::Refused(Failure::new(
                    exit::TEMPORARY,
                    format!("no answer on {} within {PATIENCE:?}", self.socket.display()),
                ))),
            }
        };
        let (status, body) = runtime.map_err(Silence::Unreached)?.block_on(answer)?;
        read(status, &body).map_err(Silence::Refused)
    }

    async fn exchange(&self, method: Method, target: &str) -> Result<(StatusCode, Bytes), Silence> {
        let stream = UnixStream::connect(&self.socket).await.map_err(Silence::Unreached)?;
        let broken = |_| Silence::Broken;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(target).header(HOST, "secretfs");
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| {
            Silence::Refused(Failure::new(exit::SOFTWARE, format!("no request: {error}")))
        })?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(broken)?;
        Ok((status, body.to_bytes()))
    }

    pub fn failure(&self, silence: Silence) -> Failure {
        let socket = self.socket.display();
        match silence {
            Silence::Refused(failure) => failure,
            Silence::Broken => Failure::new(
                exit::TEMPORARY,
                format!("the daemon on {socket} has gone away while it was asked"),
            )
            .hint("ask again"),
            Silence::Unreached(error) if error.kind() == ErrorKind::PermissionDenied => {
                Failure::new(exit::NO_PERMISSION, format!("{socket} is for the daemon's user alone"))
                    .hint("ask as that user, or as root")
            }
            Silence::Unreached(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
            {
                Failure::new(exit::UNAVAILABLE, format!("no daemon answers on {socket}"))
                    .hint("systemctl start secretfs, or: secretfs daemon --config FILE; --socket FILE asks one elsewhere")
            }
            Silence::Unreached(error) => {
                Failure::new(exit::UNAVAILABLE, format!("cannot ask the daemon on {socket}: {error}"))
            }
        }
    }
}

/// The config's socket. A config with a mistake must not keep anybody from the daemon that still runs
/// by an older one, nor lead to another daemon.
fn configured(common: &Common) -> Result<Option<PathBuf>, Failure> {
    let failure = match config::load(common) {
        Ok(config) => return Ok(config.control.socket),
        Err(failure) => failure,
    };
    match config::socket(common) {
        Some(socket) => {
            warn(format!(
                "{}\n  the daemon, if one runs, goes on with the config of before",
                failure.problem
            ));
            Ok(socket)
        }
        None => Err(failure.hint("mend it, or say which daemon is meant: --socket FILE")),
    }
}

fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, Failure> {
    if status.is_success() {
        // An answer without a body is `null`.
        let body = if body.is_empty() { b"null" } else { body };
        return serde_json::from_slice(body).map_err(|error| {
            Failure::new(exit::SOFTWARE, format!("an answer that this version does not know: {error}"))
                .hint("secretfs upgrade, if the daemon is older")
        });
    }
    let exit = match status {
        StatusCode::NOT_FOUND => exit::NO_INPUT,
        StatusCode::UNPROCESSABLE_ENTITY => exit::CONFIG,
        _ => exit::TEMPORARY,
    };
    Err(match serde_json::from_slice(body) {
        Ok(wire::Failed { error }) => Failure { problem: error.problem, hint: error.hint, status: exit },
        Err(_) => Failure::new(exit, format!("the daemon says {status}")),
    })
}
