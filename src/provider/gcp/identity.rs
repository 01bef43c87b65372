//! Who we are for Google: one token however many ask, had anew before its end and when it is void. While no new one
//! is to be had, the old one is used as long as it is good. Uses `grant` and `machine`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::credentials::Credentials;
use super::grant::{Granted, Grantor};
use super::machine;
use crate::config::{Address, GcpIdentity, SecretSource, Tls};
use crate::provider::apart::Apart;
use crate::provider::{OwnSecret, Provider, ProviderError};
use crate::secret::SecretBytes;
use crate::sys::leftover;
use crate::sys::uptime::Uptime;

pub(super) struct Identity {
    source: Source,
    grantor: Grantor,
    /// Held while somebody logs in: the others need the same.
    held: Mutex<Held>,
}

enum Source {
    /// A file of credentials, from its place.
    Given(File),
    Machine(Option<Address>),
    /// Where Google's own programs look.
    Usual {
        metadata: Option<Address>,
        apart: Apart,
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
    end: Uptime,
}

#[derive(Default)]
struct Held {
    token: Option<Arc<Token>>,
    /// Until then nobody asks for another one.
    rest: Option<Uptime>,
    failed: Option<(Uptime, ProviderError)>,
}

/// So long before its end a new one is asked for.
const MARGIN: Duration = Duration::from_secs(240);
/// A token is not had anew more often than this, and one that is refused not asked for more often than that.
const REST: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);
/// Nobody's token is good for longer.
const LONGEST: Duration = Duration::from_secs(12 * 3600);

const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const FOLDER: &str = "CLOUDSDK_CONFIG";
const FILE: &str = "application_default_credentials.json";

impl Identity {
    /// `store` is where the credentials may be.
    pub(super) fn new(who: GcpIdentity, tls: &Tls, store: Option<Arc<dyn Provider>>) -> Self {
        let source = match who {
            GcpIdentity::Key(source) => Source::Given(File::new(source, store)),
            GcpIdentity::Machine { metadata } => Source::Machine(metadata),
            GcpIdentity::Default { metadata } => Source::Usual { metadata, apart: Apart::new() },
        };
        let tls = Tls { ca: tls.ca.clone(), min: tls.min, ..Tls::default() };
        Self { source, grantor: Grantor { tls }, held: Mutex::default() }
    }

    /// One that was had before, or a new one. `patience` is for each question that it takes.
    pub(super) async fn token(&self, patience: Duration) -> Result<Arc<Token>, ProviderError> {
        let mut held = self.held.lock().await;
        let now = Uptime::now();
        let good = held.token.clone().filter(|token| now < token.end);
        if let Some(token) = &good
            && held.rest.is_some_and(|rest| now < rest)
        {
            return Ok(token.clone());
        }
        if let Some((_, why)) = held.failed.as_ref().filter(|(at, _)| now.since(*at) < PAUSE) {
            return good.ok_or_else(|| why.clone());
        }
        match self.log_in(patience).await {
            Ok(token) => {
                let token = Arc::new(token);
                held.rest = Some(token.renewal(now).max(now + REST));
                held.failed = None;
                held.token = Some(token.clone());
                Ok(token)
            }
            Err(why) => {
                // Only what has refused us is left in peace: there may be an answer at once where there was none.
                held.failed = why.is_refusal().then(|| (now, why.clone()));
                held.rest = Some(now + REST);
                good.filter(|_| !why.is_refusal()).ok_or(why)
            }
        }
    }

    /// Unless somebody has a newer one already.
    pub(super) async fn forget(&self, void: &Arc<Token>) {
        let mut held = self.held.lock().await;
        if held.token.as_ref().is_some_and(|token| Arc::ptr_eq(token, void)) {
            held.token = None;
        }
    }

    async fn log_in(&self, patience: Duration) -> Result<Token, ProviderError> {
        match &self.source {
            Source::Given(file) => self.of_file(file, patience).await,
            Source::Machine(metadata) => of_machine(metadata.clone()).await,
            Source::Usual { metadata, apart } => match usual_file(apart).await? {
                Some(path) => self.of_file(&File::new(SecretSource::File(path), None), patience).await,
                None => of_machine(metadata.clone()).await.map_err(nobody),
            },
        }
    }

    async fn of_file(&self, file: &File, patience: Duration) -> Result<Token, ProviderError> {
        let text = file.secret.read().await?;
        let credentials = leftover::wiped(|| Credentials::read(&text));
        let unusable = |why| ProviderError::Denied(format!("its credential {} {why}", file.place));
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
    fn of(granted: Granted, of: String, quota_project: Option<String>) -> Self {
        let end = Uptime::now() + granted.life.min(LONGEST);
        Self { value: granted.token, quota_project, of, end }
    }

    /// When it is time for another one.
    fn renewal(&self, now: Uptime) -> Uptime {
        now + self.end.since(now).saturating_sub(MARGIN)
    }
}

async fn of_machine(metadata: Option<Address>) -> Result<Token, ProviderError> {
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
    let is_there = apart.does(move || sought.exists()).await;
    let is_there =
        is_there.map_err(|error| ProviderError::Unavailable(format!("{}: {error}", path.display())))?;
    Ok(is_there.then_some(path))
}

fn nobody(error: ProviderError) -> ProviderError {
    let why = format!("no credentials: {VARIABLE} is not set, gcloud has left none, and {error}");
    match error {
        ProviderError::Timeout(_) => ProviderError::Timeout(why),
        _ => ProviderError::Unavailable(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn held(life: Duration) -> Identity {
        let nowhere = GcpIdentity::Key(SecretSource::File("/nowhere/key.json".into()));
        let mut identity = Identity::new(nowhere, &Tls::default(), None);
        let granted = Granted { token: SecretBytes::copy_of(b"token"), life };
        identity.held.get_mut().token = Some(Arc::new(Token::of(granted, String::new(), None)));
        identity
    }

    /// A file that cannot be read is an outage, and no refusal.
    #[tokio::test]
    async fn an_old_token_is_used_while_no_new_one_is_to_be_had() {
        let identity = held(Duration::from_secs(60));
        assert!(identity.token(PATIENCE).await.is_ok_and(|it| it.value.same_as(b"token")));
        let over = held(Duration::ZERO);
        assert!(over.token(PATIENCE).await.is_err_and(|it| it.to_string().contains("/nowhere/key.json")));
    }

    #[test]
    fn it_is_renewed_before_its_end_and_lives_no_longer_than_that() {
        let token = |seconds| {
            let granted = Granted { token: SecretBytes::copy_of(b"t"), life: Duration::from_secs(seconds) };
            Token::of(granted, String::new(), None)
        };
        let now = Uptime::now();
        let left = |seconds| token(seconds).renewal(now).since(now).as_secs();
        assert!((3355..=3365).contains(&left(3600)), "{}", left(3600));
        assert!(left(100) == 0 && token(u64::MAX).end.since(now) <= LONGEST + PATIENCE);
    }
}
