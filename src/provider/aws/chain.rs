//! The way to the keys by AWS' own library: where every program of AWS looks (variables, profile, web identity,
//! container, machine), and the role that is taken on with what is found. In a thread of its own, since the library
//! reads files on the one that polls it. Uses `http` and `profile`; the library's errors are never shown.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::{runtime, time};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::codes::{is_denial, is_of_keys, is_throttling};
use super::http::{Http, Trouble};
use super::profile::Profile;
use crate::config::AwsIdentity;
use crate::provider::ProviderError;
use crate::provider::apart::Apart;
use crate::provider::login::LONGEST_LOGIN;
use crate::provider::remote::of_machine;

pub(super) struct Chain {
    identity: AwsIdentity,
    http: Http,
    apart: Apart,
    /// The number of the source that has given keys; of several, the first.
    source: AtomicUsize,
}

const NONE_YET: usize = usize::MAX;
/// For each question to the machine: it is near, or it is not there.
const PATIENCE: Duration = Duration::from_secs(1);
/// What AWS writes down as the name of who has taken a role on.
const SESSION: &str = "secretfs";
const NO_KEYS: &str =
    "no keys for AWS: AWS_ACCESS_KEY_ID is not set, there is no profile, and the machine gives none";
const NO_MORE_KEYS: &str = "no keys for AWS: what has given some before gives none now";

impl Chain {
    pub(super) fn new(identity: AwsIdentity, http: Http) -> Self {
        Self { identity, http, apart: Apart::new(), source: AtomicUsize::new(NONE_YET) }
    }

    pub(super) fn takes_on_a_role(&self) -> bool {
        self.identity.role.is_some()
    }

    pub(super) fn sweep(&self) {
        self.http.sweep();
    }

    /// `given` are those of the config, if it has some.
    pub(super) async fn keys(
        self: &Arc<Self>,
        given: Option<Credentials>,
        region: Option<String>,
    ) -> Result<Credentials, ProviderError> {
        // A role is taken on somewhere, whatever region the secrets are of.
        let region = region.map(Region::new);
        self.http.trouble();
        let all = |chain: Arc<Self>, http: Http| async move {
            let keys = match given {
                Some(given) => Ok(given),
                None => chain.found(&http, region.clone()).await,
            };
            chain.with_role(&http, keys?, region).await
        };
        self.apart(all).await?.map_err(|error| self.told(&error))
    }

    /// Of the variables, the profile or the machine; the machine is not asked where `is_given` says who we are.
    pub(super) async fn region(self: &Arc<Self>, is_given: bool) -> Result<Option<String>, ProviderError> {
        let found = move |chain: Arc<Self>, http: Http| async move {
            let config = config(&http, None);
            let mut profile = ProfileFileRegionProvider::builder().configure(&config);
            if let Some(name) = &chain.identity.profile {
                profile = profile.profile_name(name.clone());
            }
            let mut all = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(profile.build());
            if !is_given && chain.identity.profile.is_none() {
                let machine = ImdsRegionProvider::builder().imds_client(chain.machine(&config)).build();
                all = all.or_else(machine);
            }
            all.region().await.map(|region| region.to_string())
        };
        self.apart(found).await
    }

    /// The questions of it to others go by the runtime that we are called in. What hangs does not keep its turn.
    async fn apart<T: Send + 'static, F: Future<Output = T>>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>, Http) -> F + Send + 'static,
    ) -> Result<T, ProviderError> {
        let (chain, http) = (self.clone(), self.http.by_this_runtime());
        let work = move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let work = async { time::timeout(LONGEST_LOGIN, work(chain, http)).await };
            Ok(runtime.block_on(work.with_subscriber(NoSubscriber::default()))?)
        };
        let done: io::Result<T> = self.apart.does(work).await.and_then(|done| done);
        done.map_err(|error| {
            ProviderError::Unavailable(format!("keys for AWS cannot be looked for: {error}"))
        })
    }

    async fn found(&self, http: &Http, region: Option<Region>) -> Result<Credentials, CredentialsError> {
        let config = config(http, region);
        let name = self.identity.profile.clone();
        let profile = Profile { name, config: config.clone(), http: http.clone() };
        if self.identity.profile.is_some() {
            return profile.provide_credentials().await;
        }
        let web = WebIdentityTokenCredentialsProvider::builder().configure(&config).build();
        let container = EcsCredentialsProvider::builder().configure(&config).build();
        let machine =
            ImdsCredentialsProvider::builder().configure(&config).imds_client(self.machine(&config));
        let sources = [
            SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()),
            SharedCredentialsProvider::new(profile),
            SharedCredentialsProvider::new(web),
            SharedCredentialsProvider::new(container),
            SharedCredentialsProvider::new(machine.build()),
        ];
        self.first_of(&sources).await
    }

    /// One that has given keys may be silent for a moment, as while its file is written: what comes after it may be
    /// somebody else, in whose account a secret may be missing.
    async fn first_of(&self, sources: &[SharedCredentialsProvider]) -> Result<Credentials, CredentialsError> {
        let last = self.source.load(Ordering::Relaxed);
        for (number, source) in sources.iter().enumerate().take_while(|(number, _)| *number <= last) {
            match source.provide_credentials().await {
                Ok(keys) => {
                    self.source.fetch_min(number, Ordering::Relaxed);
                    return Ok(keys);
                }
                Err(CredentialsError::CredentialsNotLoaded(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(CredentialsError::not_loaded_no_source())
    }

    async fn with_role(
        &self,
        http: &Http,
        keys: Credentials,
        region: Option<Region>,
    ) -> Result<Credentials, CredentialsError> {
        let Some(role) = &self.identity.role else { return Ok(keys) };
        let loader = aws_config::defaults(BehaviorVersion::latest()).no_credentials();
        let mut loader =
            loader.http_client(http.clone()).region(region).retry_config(RetryConfig::disabled());
        if let Some(sts) = &self.identity.sts {
            loader = loader.endpoint_url(sts.to_string());
        }
        let config = loader.load().await;
        let mut assumed = AssumeRoleProvider::builder(role.clone()).session_name(SESSION).configure(&config);
        if let Some(id) = &self.identity.external_id {
            assumed = assumed.external_id(id.clone());
        }
        assumed.build_from_provider(keys).await.provide_credentials().await
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
        let whose = match (&self.identity.role, &self.identity.profile) {
            (Some(role), _) => format!("AWS does not let us take on the role {role}"),
            (None, Some(profile)) => format!("no keys for AWS in the profile `{profile}`"),
            (None, None) if self.source.load(Ordering::Relaxed) != NONE_YET => NO_MORE_KEYS.to_owned(),
            (None, None) => NO_KEYS.to_owned(),
        };
        match self.http.trouble() {
            Some(Trouble::Silence(error)) => of_machine(&whose, &error.into()),
            Some(Trouble::Refused(who, status, code)) => refused(&whose, &who, status, code.as_deref()),
            Some(Trouble::Program(how)) => {
                ProviderError::Unavailable(format!("{whose}: its `credential_process` {how}"))
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

fn config(http: &Http, region: Option<Region>) -> ProviderConfig {
    // Whoever asks for them knows how often to try, and until when.
    let config = ProviderConfig::without_region().with_retry_config(RetryConfig::disabled());
    config.with_region(region).with_http_client(http.clone())
}

/// Of the way to the keys. That we are nobody is said by a code alone: a status may be of anybody on the way, or of a
/// machine that has no role yet.
fn refused(whose: &str, who: &str, status: u16, code: Option<&str>) -> ProviderError {
    let is = |judge: fn(&str) -> bool| code.is_some_and(judge);
    let told = code.map_or_else(|| format!("status {status}"), str::to_owned);
    let why = format!("{whose}: {who} refuses it ({told})");
    match status {
        429 => ProviderError::Throttled { why, after: None },
        _ if is(is_throttling) => ProviderError::Throttled { why, after: None },
        400..=499 if is(is_denial) || is(is_of_keys) || is(is_of_a_web_identity) => {
            ProviderError::Denied(why)
        }
        _ => ProviderError::Unavailable(why),
    }
}

/// What STS says of a token that is none for it.
fn is_of_a_web_identity(code: &str) -> bool {
    matches!(code, "InvalidIdentityToken" | "IDPRejectedClaim")
}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::future;

    use super::*;
    use crate::config::Tls;

    /// Gives keys if there is a name.
    #[derive(Debug)]
    struct Source(Option<&'static str>);

    impl ProvideCredentials for Source {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let keys = self.0.map(|id| Credentials::new(id, "s", None, None, "test"));
            future::ProvideCredentials::ready(keys.ok_or_else(CredentialsError::not_loaded_no_source))
        }
    }

    fn chain() -> Arc<Chain> {
        let http = Http::new(Tls::default(), Duration::from_secs(1));
        Arc::new(Chain::new(AwsIdentity::default(), http))
    }

    #[tokio::test]
    async fn what_comes_after_a_source_that_has_given_keys_is_not_taken_in_its_place() {
        let chain = chain();
        let asked = async |all: [Option<&'static str>; 3]| {
            let sources = all.map(|it| SharedCredentialsProvider::new(Source(it)));
            chain.first_of(&sources).await.ok().map(|keys| keys.access_key_id().to_owned())
        };
        assert_eq!(asked([None, None, None]).await, None);
        assert_eq!(asked([None, None, Some("machine")]).await.as_deref(), Some("machine"), "the control");
        assert_eq!(asked([None, Some("file"), Some("machine")]).await.as_deref(), Some("file"));
        assert_eq!(asked([None, None, Some("machine")]).await, None, "while the file is written");
        assert_eq!(asked([None, Some("file"), Some("machine")]).await.as_deref(), Some("file"));
        let why = chain.told(&CredentialsError::not_loaded_no_source());
        assert!(why.to_string().contains("gives none now"), "{why}");
    }

    /// A thread that hangs in it is no thread of ours.
    #[tokio::test]
    async fn a_library_that_blocks_keeps_nobody() {
        let (chain, (go, wait)) = (chain(), std::sync::mpsc::channel::<()>());
        let blocks = move |_: Arc<Chain>, _: Http| async move { wait.recv().is_ok() };
        let asking = tokio::spawn({
            let chain = chain.clone();
            async move { chain.apart(blocks).await }
        });
        time::sleep(Duration::from_millis(20)).await;
        assert_eq!(chain.apart(|_, _| async { 7 }).await.unwrap(), 7);
        go.send(()).unwrap();
        assert!(asking.await.unwrap().unwrap());
    }

    #[test]
    fn only_a_code_says_that_we_are_nobody() {
        for (status, code, kind) in [
            (403, Some("AccessDenied"), "auth"),
            (403, Some("InvalidClientTokenId"), "auth"),
            (400, Some("InvalidIdentityToken"), "auth"),
            (400, Some("Throttling"), "throttled"),
            (503, Some("SlowDown"), "throttled"),
            (429, None, "throttled"),
            (404, None, "unavailable"),
            (403, None, "unavailable"),
            (407, None, "unavailable"),
            (400, Some("IDPCommunicationError"), "unavailable"),
            (500, Some("AccessDenied"), "unavailable"),
        ] {
            assert_eq!(refused("x", "y", status, code).kind(), kind, "{status} {code:?}");
        }
    }
}
