//! Questions to a service of AWS: signed, sent, and once more with other keys if these are void. Where the service is
//! follows from the region, which may have to be found out first. Uses `net`, `keys` and `sign`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::codes::{Refusal, judge};
use super::keys::KeySource;
use super::sign::{Scope, ToSign};
use crate::config::{Address, AwsSecrets, Tls, Transport};
use crate::net::{Client, Json, Request, Response, Route};
use crate::poison::EvenPoisoned;
use crate::provider::remote;
use crate::provider::{Provider, ProviderError, Step};

/// What is asked.
pub(super) struct Service {
    /// As hosts and signatures name it.
    pub(super) name: &'static str,
    /// Before the name of each of its actions.
    pub(super) target: &'static str,
    /// What its rights begin with.
    pub(super) rights: &'static str,
    /// What lists its secrets, and where they are in the answer.
    pub(super) list: &'static str,
    pub(super) listed: &'static str,
}

pub(super) struct Api {
    service: &'static Service,
    /// What the names there begin with.
    prefix: String,
    has_one_name: bool,
    /// Where it is, if that does not follow from the region.
    endpoint: Option<Transport>,
    timeout: Mutex<Duration>,
    /// Whose the secrets have to be, if the config says it.
    account: Option<String>,
    keys: KeySource,
    client: OnceCell<Client>,
}

/// The content type of all of them.
const KIND: &str = "application/x-amz-json-1.1";
/// The header that says what is asked.
const TARGET: &str = "x-amz-target";
/// Of one list.
const MOST_PAGES: usize = 10_000;

impl Api {
    /// `store` is where our own secrets may be.
    pub(super) fn new(
        service: &'static Service,
        settings: AwsSecrets,
        timeout: Duration,
        store: Option<Arc<dyn Provider>>,
    ) -> Self {
        let AwsSecrets { endpoint, region, account, prefix, has_one_name, identity, .. } = settings;
        let tls = endpoint.as_ref().map(|it| it.tls.clone()).unwrap_or_default();
        let keys = KeySource::new(identity, region, tls, timeout, store);
        let (timeout, client) = (Mutex::new(timeout), OnceCell::new());
        Self { service, prefix, has_one_name, endpoint, timeout, account, keys, client }
    }

    pub(super) fn sweep(&self) {
        self.keys.sweep();
        if let Some(client) = self.client.get() {
            client.sweep();
        }
    }

    pub(super) fn allow(&self, time: Duration) {
        *self.timeout.lock().even_poisoned() = time;
        if let Some(client) = self.client.get() {
            client.allow(time);
        }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The name there of what is called so here.
    pub(super) fn whole(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Whether what chooses a version is none of a name, because rules of the config are about secrets.
    pub(super) fn has_one_name(&self) -> bool {
        self.has_one_name
    }

    /// Whether secrets are named by ARNs, which say whose they are.
    pub(super) fn takes_arns(&self) -> bool {
        self.prefix.starts_with("arn:")
    }

    /// The region is known then, which a role needs, too, that is taken on.
    async fn client(&self) -> Result<&Client, ProviderError> {
        let client = self.client.get_or_try_init(|| async {
            let region = self.keys.region().await?;
            let usual = || usual_place(self.service.name, region);
            let transport = self.endpoint.clone().unwrap_or_else(usual);
            Ok::<_, ProviderError>(Client::new(transport, *self.timeout.lock().even_poisoned()))
        });
        client.await
    }

    /// `question` changes nothing there.
    pub(super) async fn ask(&self, action: &str, question: &Value) -> Result<Response, Refusal> {
        let client = self.client().await?;
        let body = question.to_string().into_bytes();
        let mut is_second = false;
        loop {
            let keys = self.keys.keys().await?;
            self.judge_keys(&keys)?;
            let request = self.signed(client, action, body.clone(), &keys).await?;
            let response = client.send(request).await.map_err(ProviderError::from)?;
            if response.is_success() {
                return Ok(response);
            }
            match judge(&client.address().authority(), &response) {
                Refusal::Keys(code) => {
                    let why = self.error(Refusal::Keys(code), action);
                    if !self.keys.refuse(&keys, &why).await || is_second {
                        return Err(why.into());
                    }
                    is_second = true;
                }
                refusal => return Err(refusal),
            }
        }
    }

    async fn signed(
        &self,
        client: &Client,
        action: &str,
        body: Vec<u8>,
        keys: &Credentials,
    ) -> Result<Request, ProviderError> {
        let (region, service) = (self.keys.region().await?, self.service);
        let (url, target) = (format!("{}/", client.address()), format!("{}.{action}", service.target));
        let headers = [("content-type", KIND), (TARGET, &*target)];
        let to_sign = ToSign { url: &url, headers: &headers, body: &body };
        let scope = Scope { at: SystemTime::now(), region, service: service.name };
        let signed = to_sign.signed(keys, &scope)?;
        let request = Request::post(Route::to("/")).repeatable().body(KIND, body).header(TARGET, &target)?;
        Ok(signed.iter().try_fold(request, |request, (name, value)| request.secret(name, "", value))?)
    }

    /// With those of another account a secret may be missing that is there.
    fn judge_keys(&self, keys: &Credentials) -> Result<(), ProviderError> {
        match (&self.account, keys.account_id()) {
            (Some(account), Some(theirs)) if !self.takes_arns() && theirs.as_str() != account => {
                let why = format!("the keys are of the account {}, not of {account}", shown(theirs.as_str()));
                Err(ProviderError::Untrusted(why))
            }
            _ => Ok(()),
        }
    }

    /// What is answered says whose it is. What belongs to AWS itself says nobody.
    pub(super) fn judge_arn(&self, arn: Option<&str>) -> Result<(), ProviderError> {
        let Some(account) = &self.account else { return Ok(()) };
        match arn.and_then(|arn| arn.split(':').nth(4)) {
            Some(theirs) if theirs.is_empty() || theirs == account => Ok(()),
            Some(theirs) => Err(ProviderError::Invalid(format!(
                "AWS answers with a secret of the account {}, not of {account}",
                shown(theirs)
            ))),
            None => Err(ProviderError::Invalid("AWS does not say of which account the secret is".to_owned())),
        }
    }

    /// All names, without the prefix: page by page, of which this asks for the first.
    pub(super) async fn names(&self, mut question: Value) -> Result<Vec<String>, ProviderError> {
        let mut names = Vec::new();
        for _ in 0..MOST_PAGES {
            let response = self.ask(self.service.list, &question).await;
            let response = response.map_err(|refusal| self.error(refusal, self.service.list))?;
            let answer = response.json()?;
            for secret in answer.at(&[self.service.listed])?.items()? {
                let name = secret.at(&["Name"])?.text()?;
                names.extend(name.strip_prefix(&*self.prefix).filter(|it| !it.is_empty()).map(str::to_owned));
            }
            match answer.maybe("NextToken", Json::text)? {
                Some(token) => question["NextToken"] = token.into(),
                None => break,
            }
        }
        Ok(names)
    }

    /// Whether a page can be asked for. Who may not list is answered, too.
    pub(super) async fn is_well(&self, question: Value) -> Result<(), ProviderError> {
        match self.ask(self.service.list, &question).await {
            Ok(_) | Err(Refusal::NoRight(_)) => Ok(()),
            Err(refusal) => Err(self.error(refusal, self.service.list)),
        }
    }

    /// For who expects an answer and nothing else.
    pub(super) fn error(&self, refusal: Refusal, action: &str) -> ProviderError {
        let who = self.client.get().map_or_else(String::new, |client| client.address().authority());
        let rights = self.service.rights;
        match refusal {
            Refusal::Error(error) => error,
            Refusal::Missing => ProviderError::Invalid(format!("{who} does not know what it was asked")),
            Refusal::Deleted => ProviderError::Invalid(format!("{who} is about to delete what it was asked")),
            Refusal::NoRight(code) => ProviderError::Denied(format!(
                "{who} gives us no right to this ({code}): a policy has to allow `{rights}:{action}`"
            )),
            Refusal::Keys(code) => {
                ProviderError::Denied(format!("{who} does not accept our keys ({code}): {}", hint(&code)))
            }
        }
    }

    /// The region, the keys, and the way to the server.
    pub(super) async fn way(&self) -> Vec<Step> {
        let start = std::time::Instant::now();
        let region = self.keys.region().await.map(str::to_owned);
        let mut steps = vec![Step::of("region", start, region)];
        if steps[0].is_fine() {
            let start = std::time::Instant::now();
            let keys = self.keys.keys().await.map(|_| "there".to_owned());
            steps.push(Step::of("keys", start, keys));
        }
        if steps.iter().all(Step::is_fine)
            && let Ok(client) = self.client().await
        {
            steps.extend(remote::way(client).await);
        }
        steps
    }
}

/// An account, and nothing else that was answered.
fn shown(account: &str) -> &str {
    let is_number = account.len() == 12 && account.bytes().all(|it| it.is_ascii_digit());
    if is_number { account } else { "of somebody" }
}

fn hint(code: &str) -> &'static str {
    match code {
        "ExpiredTokenException" | "ExpiredToken" | "TokenRefreshRequired" => "they have expired",
        "InvalidSignatureException" | "SignatureDoesNotMatch" => {
            "check the secret key, and the clock of this machine"
        }
        _ => "check whose they are, and whether they are active",
    }
}

fn usual_place(service: &str, region: &str) -> Transport {
    let address = Address { is_tls: true, host: host_of(service, region), port: 443, prefix: String::new() };
    Transport { address, tls: Tls::default() }
}

/// A service in a region. China has names of its own.
pub(in crate::provider) fn host_of(service: &str, region: &str) -> String {
    let end = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("{service}.{region}.{end}")
}
