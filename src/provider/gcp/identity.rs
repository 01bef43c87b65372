//! Who we are for Google: what the config says, a file of credentials or the machine. Uses `login`, `grant` and
//! `machine`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::credentials::Credentials;
use super::grant::{Granted, Grantor};
use super::machine;
use crate::config::{Address, GcpIdentity, SecretSource, Tls};
use crate::provider::apart::Apart;
use crate::provider::login::{Login, Outcome, Pass};
use crate::provider::{OwnSecret, Provider, ProviderError, remote};
use crate::secret::SecretBytes;
use crate::sys::leftover;

pub(super) struct Identity {
    who: Arc<Who>,
    login: Login<Token>,
}

/// What the config says of it.
struct Who {
    source: Source,
    grantor: Grantor,
}

enum Source {
    /// A file of credentials, from its place.
    Given(File),
    Machine(Option<Address>),
    /// Where Google's own programs look.
    Usual {
        metadata: Option<Address>,
        apart: Apart,
        /// A file was there once: nobody else stands in for who we were by it.
        had_file: AtomicBool,
    },
}

struct File {
    secret: OwnSecret,
    /// Where it is, in words.
    place: String,
}

pub(super) struct Token {
    pub(super) value: SecretBytes,
    pub(super) quota_project: Option<String>,
    /// Whose it is, in words.
    pub(super) of: String,
}

const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const FOLDER: &str = "CLOUDSDK_CONFIG";
const FILE: &str = "application_default_credentials.json";
const NOBODY: &str = "no credentials: GOOGLE_APPLICATION_CREDENTIALS is not set, gcloud has left none, and no machine tells some";
const GONE: &str =
    "the credentials that gcloud had left are gone; restart secretfs if the machine's own are meant";

impl Identity {
    /// `store` is where the credentials may be.
    pub(super) fn new(who: GcpIdentity, tls: &Tls, store: Option<Arc<dyn Provider>>) -> Self {
        let source = match who {
            GcpIdentity::Key(source) => Source::Given(File::new(source, store)),
            GcpIdentity::Machine { metadata } => Source::Machine(metadata),
            GcpIdentity::Default { metadata } => {
                Source::Usual { metadata, apart: Apart::new(), had_file: AtomicBool::new(false) }
            }
        };
        let tls = Tls { ca: tls.ca.clone(), min: tls.min, ..Tls::default() };
        Self { who: Arc::new(Who { source, grantor: Grantor { tls } }), login: Login::default() }
    }

    /// One that was had before, or a new one. `patience` is for each question that it takes.
    pub(super) async fn token(&self, patience: Duration) -> Outcome<Token> {
        let who = self.who.clone();
        self.login.pass(|| async move { who.log_in(patience).await }).await
    }

    /// Google does not take it.
    pub(super) fn refuse(&self, void: &Arc<Pass<Token>>, why: impl FnOnce() -> ProviderError) {
        self.login.refuse(void, why);
    }
}

impl Who {
    async fn log_in(&self, patience: Duration) -> Result<(Token, Duration), ProviderError> {
        match &self.source {
            Source::Given(file) => self.of_file(file, patience).await,
            Source::Machine(metadata) => of_machine(metadata.clone()).await,
            Source::Usual { metadata, apart, had_file } => match usual_file(apart).await? {
                Some(path) => {
                    had_file.store(true, Ordering::Relaxed);
                    self.of_file(&File::new(SecretSource::File(path), None), patience).await
                }
                None if had_file.load(Ordering::Relaxed) => Err(ProviderError::Unavailable(GONE.to_owned())),
                None => {
                    of_machine(metadata.clone()).await.map_err(|error| remote::of_machine(NOBODY, &error))
                }
            },
        }
    }

    async fn of_file(&self, file: &File, patience: Duration) -> Result<(Token, Duration), ProviderError> {
        let text = file.secret.read().await?;
        let credentials = leftover::wiped(|| Credentials::read(&text));
        // It may just be written anew.
        let unusable = |why| ProviderError::Unavailable(format!("its credential {} {why}", file.place));
        let credentials = credentials.map_err(unusable)?;
        let granted = self.grantor.granted(&credentials.kind, patience).await?;
        Ok(Token::of(granted, credentials.kind.name(), credentials.quota_project))
    }
}

impl File {
    fn new(source: SecretSource, store: Option<Arc<dyn Provider>>) -> Self {
        let place = source.to_string();
        Self { secret: OwnSecret::new(source, store), place }
    }
}

impl Token {
    fn of(granted: Granted, of: String, quota_project: Option<String>) -> (Self, Duration) {
        (Self { value: granted.token, quota_project, of }, granted.life)
    }
}

async fn of_machine(metadata: Option<Address>) -> Result<(Token, Duration), ProviderError> {
    let granted = machine::token(metadata).await?;
    Ok(Token::of(granted, "the machine's service account".to_owned(), None))
}

/// Where gcloud leaves credentials for programs, if there are some.
async fn usual_file(apart: &Apart) -> Result<Option<PathBuf>, ProviderError> {
    let variable = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    if let Some(path) = variable(VARIABLE) {
        return Ok(Some(path));
    }
    let folder = variable(FOLDER).or_else(|| Some(variable("HOME")?.join(".config/gcloud")));
    let Some(path) = folder.map(|folder| folder.join(FILE)) else { return Ok(None) };
    let sought = path.clone();
    // What cannot be looked at may be there: then nobody else is taken for who we are.
    let is_there = apart.does(move || sought.try_exists()).await.and_then(|it| it);
    let is_there =
        is_there.map_err(|error| ProviderError::Unavailable(format!("{}: {error}", path.display())))?;
    Ok(is_there.then_some(path))
}
