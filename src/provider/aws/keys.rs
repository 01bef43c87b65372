//! The keys that a request is signed with: those that the config names, or what AWS' own library finds where every
//! program of AWS looks (variables, profile, web identity, container, machine), and the role that is taken on with
//! them. Kept until they are about to end. Uses `http`; the library's errors are never shown.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::imds;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::sync::{Mutex, OnceCell};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::http::{Http, Trouble};
use crate::config::{AwsIdentity, AwsKeyPair, Tls};
use crate::provider::{OwnSecret, Provider, ProviderError};

pub(in crate::provider) struct KeySource {
    given: Option<Given>,
    identity: AwsIdentity,
    /// As the config says it.
    given_region: Option<String>,
    http: Http,
    region: OnceCell<String>,
    /// Held while somebody asks for them: the others need the same.
    held: Mutex<Option<Held>>,
}

/// Where the config says that they are.
struct Given {
    id: OwnSecret,
    secret: OwnSecret,
    session: Option<OwnSecret>,
}

struct Held {
    keys: Credentials,
    since: SystemTime,
    /// From when on there should be newer ones.
    until: SystemTime,
}

/// Of those that do not end: somebody may have written others.
const USUAL: Duration = Duration::from_secs(60);
/// Void ones that are younger are not asked for anew.
const FRESH: Duration = Duration::from_secs(5);
/// So long before their end they are renewed; of short-lived ones a quarter of their time.
const BEFORE: Duration = Duration::from_secs(300);
/// For each question to the machine: it is near, or it is not there.
const PATIENCE: Duration = Duration::from_secs(1);
/// What AWS writes down as the name of who has taken a role on.
const SESSION: &str = "secretfs";

impl KeySource {
    /// `tls` is that of the server that is asked with the keys; `store` is where our own secrets may be.
    pub(in crate::provider) fn new(
        identity: AwsIdentity,
        given_region: Option<String>,
        tls: Tls,
        timeout: Duration,
        store: Option<Arc<dyn Provider>>,
    ) -> Self {
        let given = identity.keys.clone().map(|AwsKeyPair { id, secret, session }| Given {
            id: OwnSecret::of_text(id, store.clone()),
            secret: OwnSecret::new(secret, store.clone()),
            session: session.map(|source| OwnSecret::new(source, store.clone())),
        });
        let http = Http::new(tls, timeout);
        Self { given, identity, given_region, http, region: OnceCell::new(), held: Mutex::default() }
    }

    pub(in crate::provider) fn sweep(&self) {
        self.http.sweep();
    }

    pub(in crate::provider) async fn keys(&self) -> Result<Credentials, ProviderError> {
        if let (Some(given), None) = (&self.given, &self.identity.role) {
            // As they are now.
            return given.read().await;
        }
        let mut held = self.held.lock().await;
        let now = SystemTime::now();
        if let Some(Held { keys, until, .. }) = held.as_ref()
            && now < *until
        {
            return Ok(keys.clone());
        }
        match self.asked_for().await {
            Ok(keys) => {
                *held = Some(Held { until: renewal(now, keys.expiry()), since: now, keys: keys.clone() });
                Ok(keys)
            }
            // What there is is good still.
            Err(error) => match held.as_mut().filter(|it| it.keys.expiry().is_some_and(|end| now < end)) {
                Some(old) => {
                    tracing::warn!(%error, "the keys of AWS could not be renewed yet");
                    old.until = now + PATIENCE;
                    Ok(old.keys.clone())
                }
                None => Err(error),
            },
        }
    }

    /// These are void. Whether others may be had by asking anew: not of those that somebody has just been given.
    pub(in crate::provider) async fn forget(&self, void: &Credentials) -> bool {
        let mut held = self.held.lock().await;
        match held.as_ref().filter(|it| it.keys == *void) {
            Some(it) if it.since.elapsed().is_ok_and(|age| age < FRESH) => false,
            Some(_) => {
                *held = None;
                true
            }
            // Somebody else has newer ones already, or each question has its own.
            None => held.is_some(),
        }
    }

    /// The config's, else that of the variables, the profile or the machine.
    pub(in crate::provider) async fn region(&self) -> Result<&str, ProviderError> {
        let region = self.region.get_or_try_init(|| async {
            if let Some(region) = &self.given_region {
                return Ok(region.clone());
            }
            let found = self.found_region().with_subscriber(NoSubscriber::default()).await;
            // It becomes a part of a host's name.
            let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            found.filter(|it| !it.is_empty() && it.bytes().all(is_fit)).ok_or_else(|| {
                let why = "no region for AWS: set `region` in the provider, or AWS_REGION where the daemon is started";
                ProviderError::Unavailable(why.to_owned())
            })
        });
        region.await.map(String::as_str)
    }

    async fn found_region(&self) -> Option<String> {
        use aws_config::environment::EnvironmentVariableRegionProvider;
        use aws_config::imds::region::ImdsRegionProvider;
        use aws_config::meta::region::RegionProviderChain;
        use aws_config::profile::ProfileFileRegionProvider;
        let config = self.config(None);
        let mut profile = ProfileFileRegionProvider::builder().configure(&config);
        if let Some(name) = &self.identity.profile {
            profile = profile.profile_name(name.clone());
        }
        let mut chain =
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(profile.build());
        if self.given.is_none() && self.identity.profile.is_none() {
            let machine = ImdsRegionProvider::builder().imds_client(self.machine(&config)).build();
            chain = chain.or_else(machine);
        }
        chain.region().await.map(|region| region.to_string())
    }

    async fn asked_for(&self) -> Result<Credentials, ProviderError> {
        // A role is taken on somewhere, whatever region the secrets are of.
        let region = self.region().await.ok().map(|region| Region::new(region.to_owned()));
        self.http.trouble();
        let outcome = match &self.given {
            Some(given) => {
                let keys = given.read().await?;
                self.with_role(keys, region).with_subscriber(NoSubscriber::default()).await
            }
            None => self.found(region).with_subscriber(NoSubscriber::default()).await,
        };
        outcome.map_err(|error| self.told(&error))
    }

    async fn found(&self, region: Option<Region>) -> Result<Credentials, CredentialsError> {
        let config = self.config(region.clone());
        let found: SharedCredentialsProvider = match &self.identity.profile {
            Some(name) => {
                let profile = ProfileFileCredentialsProvider::builder().profile_name(name.clone());
                SharedCredentialsProvider::new(profile.configure(&config).build())
            }
            None => {
                let chain = DefaultCredentialsChain::builder().imds_client(self.machine(&config));
                let chain = chain.region(region.clone()).configure(config).build();
                SharedCredentialsProvider::new(chain.await)
            }
        };
        match self.identity.role {
            Some(_) => self.with_role(found, region).await,
            None => found.provide_credentials().await,
        }
    }

    async fn with_role(
        &self,
        source: impl ProvideCredentials + 'static,
        region: Option<Region>,
    ) -> Result<Credentials, CredentialsError> {
        let Some(role) = &self.identity.role else { return source.provide_credentials().await };
        let loader = aws_config::defaults(BehaviorVersion::latest()).no_credentials();
        let mut loader =
            loader.http_client(self.http.clone()).region(region).retry_config(RetryConfig::disabled());
        if let Some(sts) = &self.identity.sts {
            loader = loader.endpoint_url(sts.to_string());
        }
        let config = loader.load().await;
        let mut assumed = AssumeRoleProvider::builder(role.clone()).session_name(SESSION).configure(&config);
        if let Some(id) = &self.identity.external_id {
            assumed = assumed.external_id(id.clone());
        }
        assumed.build_from_provider(source).await.provide_credentials().await
    }

    fn config(&self, region: Option<Region>) -> ProviderConfig {
        // Whoever asks for them knows how often to try, and until when.
        let config = ProviderConfig::without_region().with_retry_config(RetryConfig::disabled());
        config.with_region(region).with_http_client(self.http.clone())
    }

    /// What the machine is told of itself.
    fn machine(&self, config: &ProviderConfig) -> imds::Client {
        let client = imds::Client::builder().configure(config).max_attempts(1);
        let client = client.connect_timeout(PATIENCE).read_timeout(PATIENCE).operation_timeout(4 * PATIENCE);
        match &self.identity.metadata {
            None => client.build(),
            Some(address) => client.endpoint(address.to_string()).expect("an address is a URL").build(),
        }
    }

    /// In our own words: the library's show what it was answered.
    fn told(&self, error: &CredentialsError) -> ProviderError {
        let trouble = self.http.trouble();
        let whose = match (&self.identity.role, &self.identity.profile) {
            (Some(role), _) => format!("AWS does not let us take on the role {role}"),
            (None, Some(profile)) => format!("no keys for AWS in the profile `{profile}`"),
            (None, None) => NO_KEYS.to_owned(),
        };
        match trouble {
            Some(Trouble::Silence(error)) => {
                crate::provider::remote::of_machine(&whose, &ProviderError::from(error))
            }
            Some(Trouble::Refused(who, status, code)) => {
                let code = code.unwrap_or_else(|| format!("status {status}"));
                let why = format!("{whose}: {who} refuses it ({code})");
                if status >= 500 { ProviderError::Unavailable(why) } else { ProviderError::Denied(why) }
            }
            None => match error {
                CredentialsError::ProviderTimedOut(_) => ProviderError::Timeout(format!("{whose} in time")),
                CredentialsError::InvalidConfiguration(_) => {
                    ProviderError::Unavailable(format!("{whose}: what is set for it cannot be used"))
                }
                _ => ProviderError::Unavailable(whose),
            },
        }
    }
}

const NO_KEYS: &str =
    "no keys for AWS: AWS_ACCESS_KEY_ID is not set, there is no profile, and the machine gives none";

impl Given {
    async fn read(&self) -> Result<Credentials, ProviderError> {
        let text = |secret: crate::secret::SecretBytes| {
            String::from_utf8(secret.expose().to_vec()).map_err(|_| {
                ProviderError::Denied("the keys of AWS that the config names are no text".to_owned())
            })
        };
        let session = match &self.session {
            Some(session) => Some(text(session.read().await?)?),
            None => None,
        };
        Ok(Credentials::new(
            text(self.id.read().await?)?,
            text(self.secret.read().await?)?,
            session,
            None,
            "config",
        ))
    }
}

/// When to ask for newer ones.
fn renewal(now: SystemTime, end: Option<SystemTime>) -> SystemTime {
    let Some(end) = end else { return now + USUAL };
    let left = end.duration_since(now).unwrap_or_default();
    end.checked_sub(BEFORE.min(left / 4)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_renewed_before_they_end() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let after = |end: Option<u64>| {
            let end = end.map(|seconds| now + Duration::from_secs(seconds));
            renewal(now, end).duration_since(now).unwrap().as_secs()
        };
        assert_eq!(after(None), 60);
        assert_eq!(after(Some(3600)), 3300);
        assert_eq!(after(Some(100)), 75, "short-lived ones, too, are used more than once");
        assert_eq!(after(Some(0)), 0);
    }
}
