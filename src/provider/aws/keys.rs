//! The keys that a request is signed with: those that the config names, or what `chain` finds, with a role or without.
//! Kept as any login is: had once for all, and renewed beside those who go on with the old ones. Uses `chain` and
//! `login`.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use tokio::sync::OnceCell;

use super::chain::Chain;
use super::http::Http;
use crate::config::{AwsIdentity, AwsKeyPair, Tls};
use crate::provider::login::{Login, Pass};
use crate::provider::{OwnSecret, Provider, ProviderError};
use crate::secret::SecretBytes;

pub(in crate::provider) struct KeySource {
    given: Option<Arc<Given>>,
    /// As the config says it.
    given_region: Option<String>,
    region: OnceCell<String>,
    chain: Arc<Chain>,
    login: Login<Credentials>,
}

/// Where the config says that they are.
struct Given {
    id: OwnSecret,
    secret: OwnSecret,
    session: Option<OwnSecret>,
}

pub(in crate::provider) enum Keys {
    /// By the config, as they were when they were read.
    Given(Credentials),
    Had(Arc<Pass<Credentials>>),
}

/// Of those that do not end: somebody may have written others. Looked for anew after half of it.
const USUAL: Duration = Duration::from_secs(120);

impl KeySource {
    /// `tls` is that of the server that is asked with the keys; `store` is where our own secrets may be.
    pub(in crate::provider) fn new(
        identity: AwsIdentity,
        given_region: Option<String>,
        tls: Tls,
        timeout: Duration,
        store: Option<Arc<dyn Provider>>,
    ) -> Self {
        let given = identity.keys.clone().map(|AwsKeyPair { id, secret, session }| {
            Arc::new(Given {
                id: OwnSecret::of_text(id, store.clone()),
                secret: OwnSecret::new(secret, store.clone()),
                session: session.map(|source| OwnSecret::new(source, store.clone())),
            })
        });
        let chain = Arc::new(Chain::new(identity, Http::new(tls, timeout)));
        Self { given, given_region, region: OnceCell::new(), chain, login: Login::default() }
    }

    pub(in crate::provider) fn sweep(&self) {
        self.chain.sweep();
    }

    pub(in crate::provider) async fn keys(&self) -> Result<Keys, ProviderError> {
        if let Some(given) = self.used_as_they_are() {
            return given.read().await.map(Keys::Given);
        }
        let (chain, given) = (self.chain.clone(), self.given.clone());
        let region = self.region.get().or(self.given_region.as_ref()).cloned();
        self.login.pass(|| had(chain, given, region)).await.map(Keys::Had)
    }

    /// These are void. Whether it is worth while to ask for others.
    pub(in crate::provider) async fn refuse(&self, void: &Keys, why: &ProviderError) -> bool {
        match (void, &self.given) {
            (Keys::Had(pass), _) => {
                self.login.refuse(pass, || why.clone());
                true
            }
            // Of two that belong together one may have been read before the other was written.
            (Keys::Given(old), Some(given)) => given.read().await.is_ok_and(|now| now != *old),
            (Keys::Given(_), None) => false,
        }
    }

    fn used_as_they_are(&self) -> Option<&Given> {
        self.given.as_deref().filter(|_| !self.chain.takes_on_a_role())
    }

    /// The config's, else that of the variables, the profile or the machine.
    pub(in crate::provider) async fn region(&self) -> Result<&str, ProviderError> {
        let region = self.region.get_or_try_init(|| async {
            if let Some(region) = &self.given_region {
                return Ok(region.clone());
            }
            let found = self.chain.region(self.given.is_some()).await?;
            // It becomes a part of a host's name.
            let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            found.filter(|it| !it.is_empty() && it.bytes().all(is_fit)).ok_or_else(|| {
                let why = "no region for AWS: set `region` in the provider, or AWS_REGION where the daemon is started";
                ProviderError::Unavailable(why.to_owned())
            })
        });
        region.await.map(String::as_str)
    }
}

impl Deref for Keys {
    type Target = Credentials;

    fn deref(&self) -> &Credentials {
        match self {
            Self::Given(keys) => keys,
            Self::Had(pass) => pass,
        }
    }
}

impl Given {
    async fn read(&self) -> Result<Credentials, ProviderError> {
        let text = |secret: SecretBytes| {
            std::str::from_utf8(secret.expose()).map(str::to_owned).map_err(|_| {
                ProviderError::Denied("the keys of AWS that the config names are no text".to_owned())
            })
        };
        let session = match &self.session {
            Some(session) => Some(text(session.read().await?)?),
            None => None,
        };
        let (id, secret) = (text(self.id.read().await?)?, text(self.secret.read().await?)?);
        Ok(Credentials::new(id, secret, session, None, "config"))
    }
}

/// By the chain, and how long they are good.
async fn had(
    chain: Arc<Chain>,
    given: Option<Arc<Given>>,
    region: Option<String>,
) -> Result<(Credentials, Duration), ProviderError> {
    let first = match &given {
        Some(given) => Some(given.read().await?),
        None => None,
    };
    let keys = match (chain.keys(first.clone(), region.clone()).await, &given) {
        (Err(error), Some(given)) if error.is_refusal() => {
            let now = Some(given.read().await?).filter(|now| first.as_ref() != Some(now));
            chain.keys(Some(now.ok_or(error)?), region).await?
        }
        (outcome, _) => outcome?,
    };
    let life = life(SystemTime::now(), keys.expiry());
    Ok((keys, life))
}

fn life(now: SystemTime, end: Option<SystemTime>) -> Duration {
    end.map_or(USUAL, |end| end.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SecretSource, TextSource};

    #[test]
    fn keys_are_good_until_they_end() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let hour = Duration::from_secs(3600);
        assert_eq!(life(now, None), USUAL);
        assert_eq!(life(now, Some(now + hour)), hour);
        assert_eq!(life(now, Some(now - hour)), Duration::ZERO);
    }

    #[tokio::test]
    async fn given_ones_are_worth_another_try_if_they_are_others_now() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "old").unwrap();
        let pair = AwsKeyPair {
            id: TextSource::Text("AKID".to_owned()),
            secret: SecretSource::File(file.clone()),
            session: None,
        };
        let identity = AwsIdentity { keys: Some(pair), ..AwsIdentity::default() };
        let source = KeySource::new(identity, None, Tls::default(), Duration::from_secs(1), None);
        let keys = source.keys().await.unwrap();
        assert_eq!(keys.secret_access_key(), "old");
        let why = ProviderError::Denied("no".to_owned());
        assert!(!source.refuse(&keys, &why).await, "the control: they are the same");
        std::fs::write(&file, "new").unwrap();
        assert!(source.refuse(&keys, &why).await);
        assert_eq!(source.keys().await.unwrap().secret_access_key(), "new");
    }
}
