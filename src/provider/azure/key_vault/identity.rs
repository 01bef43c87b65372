//! Who we are for Azure: what the config says, else what the environment says, in an order that is written down. What is
//! set is meant: one that does not work is told, and no other one is taken in its place. Uses `entra`, `platform`, `az`
//! and the machine.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::az;
use super::entra::{App, Proof};
use super::platform::Platform;
use crate::config::{Address, AzureIdentity, AzureResource, SecretSource, TextSource, Tls, Transport};
use crate::net::Client;
use crate::poison::EvenPoisoned;
use crate::provider::azure::{Machine, Token};
use crate::provider::{OwnSecret, Provider, ProviderError};

/// What the config says of it.
pub(super) struct Said {
    pub(super) identity: AzureIdentity,
    pub(super) authority: Option<Address>,
    pub(super) metadata: Address,
    /// Whom to believe beside the system's authorities.
    pub(super) tls: Tls,
}

pub(super) struct Identity {
    said: Said,
    timeout: Duration,
    store: Option<Arc<dyn Provider>>,
    /// Who we are does not change by itself; that nothing else says it may.
    found: Mutex<Option<Arc<Found>>>,
}

enum Found {
    App(Box<App>),
    Platform(Platform),
    /// And which of its identities, if it has several.
    Machine(Machine, Option<String>),
    /// Whoever has logged in with `az`, in this directory.
    Program(Option<String>),
}

const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
const USUAL: &str = "https://login.microsoftonline.com";
const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
const CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
const FEDERATED: &str = "AZURE_FEDERATED_TOKEN_FILE";
const ENDPOINT: &str = "IDENTITY_ENDPOINT";

impl Identity {
    pub(super) fn new(said: Said, timeout: Duration, store: Option<Arc<dyn Provider>>) -> Self {
        Self { said, timeout, store, found: Mutex::default() }
    }

    pub(super) async fn token(&self, resource: &AzureResource) -> Result<Token, ProviderError> {
        match &*self.found().await? {
            Found::App(app) => app.token(resource).await,
            Found::Platform(platform) => platform.token(resource).await,
            Found::Machine(machine, id) => machine.token(&resource.to_string(), id.as_deref()).await,
            Found::Program(tenant) => az::token(tenant.as_deref(), resource).await,
        }
    }

    /// In a few words, once it is known.
    pub(super) fn name(&self) -> &'static str {
        self.known().map_or("not known yet", |found| found.name())
    }

    pub(super) fn sweep(&self) {
        match self.known().as_deref() {
            Some(Found::App(app)) => app.sweep(),
            Some(Found::Platform(platform)) => platform.client.sweep(),
            Some(Found::Machine(machine, _)) => machine.sweep(),
            Some(Found::Program(_)) | None => {}
        }
    }

    fn known(&self) -> Option<Arc<Found>> {
        self.found.lock().even_poisoned().clone()
    }

    async fn found(&self) -> Result<Arc<Found>, ProviderError> {
        let is_last_resort = |found: &Found| {
            matches!((found, &self.said.identity), (Found::Program(_), AzureIdentity::Any { .. }))
        };
        if let Some(found) = self.known().filter(|found| !is_last_resort(found)) {
            return Ok(found);
        }
        let found = Arc::new(self.find().await?);
        let before = self.found.lock().even_poisoned().replace(found.clone());
        if before.is_none_or(|before| before.name() != found.name()) {
            tracing::info!(identity = found.name(), "it is known who we are for Azure");
        }
        Ok(found)
    }

    async fn find(&self) -> Result<Found, ProviderError> {
        let said = |text: &String| TextSource::Text(text.clone());
        match &self.said.identity {
            AzureIdentity::Any { secret, header } => self.usual(secret, header).await,
            AzureIdentity::Managed { client_id, header } => {
                let platform = self.platform(header, client_id.clone())?;
                let machine = || Machine::new(self.said.metadata.clone());
                Ok(platform.unwrap_or_else(|| Found::Machine(machine(), client_id.clone())))
            }
            AzureIdentity::Secret { tenant, client_id, secret } => {
                self.app(said(tenant), said(client_id), Proof::Secret(self.own(secret)))
            }
            AzureIdentity::Certificate { tenant, client_id, certificate } => {
                self.app(said(tenant), said(client_id), Proof::Certificate(self.own(certificate)))
            }
            AzureIdentity::Workload { tenant, client_id } => {
                let unset = || format!("{FEDERATED} is not set: the webhook of workload identity sets it");
                let token = self.file(FEDERATED).ok_or_else(|| ProviderError::Unavailable(unset()))?;
                let or = |it: &Option<String>, name| it.as_ref().map_or_else(|| of_variable(name), said);
                self.app(or(tenant, TENANT), or(client_id, CLIENT), Proof::Federated(token))
            }
            AzureIdentity::Cli => Ok(Found::Program(variable(TENANT))),
        }
    }

    /// The first that is set; and if none is, the machine's, or that of `az` where no machine answers.
    async fn usual(&self, secret: &SecretSource, header: &SecretSource) -> Result<Found, ProviderError> {
        let secret = is_set(secret).then(|| Proof::Secret(self.own(secret)));
        let certificate = || self.file(CERTIFICATE).map(Proof::Certificate);
        let federated = || self.file(FEDERATED).map(Proof::Federated);
        if let Some(proof) = secret.or_else(certificate).or_else(federated) {
            return self.app(of_variable(TENANT), of_variable(CLIENT), proof);
        }
        let client = variable(CLIENT);
        if let Some(platform) = self.platform(header, client.clone())? {
            return Ok(platform);
        }
        let machine = Machine::new(self.said.metadata.clone());
        Ok(match machine.is_there().await {
            true => Found::Machine(machine, client),
            false => Found::Program(variable(TENANT)),
        })
    }

    /// `None`: it tells no programs of identities.
    fn platform(&self, header: &SecretSource, id: Option<String>) -> Result<Option<Found>, ProviderError> {
        let Some(endpoint) = variable(ENDPOINT).filter(|_| is_set(header)) else { return Ok(None) };
        let wrong = |why: String| ProviderError::Invalid(format!("{ENDPOINT}: {why}"));
        let address = Address::read(&endpoint).map_err(wrong)?;
        if !address.is_tls && !address.is_loopback() && !address.is_on_link() {
            return Err(wrong(format!("`{endpoint}` is neither on this machine nor https://")));
        }
        let client = Client::new(Transport { address, tls: Tls::default() }, self.timeout);
        Ok(Some(Found::Platform(Platform { client, header: self.own(header), id })))
    }

    fn app(&self, tenant: TextSource, id: TextSource, proof: Proof) -> Result<Found, ProviderError> {
        let address = self.said.authority.clone().map_or_else(usual_authority, Ok)?;
        let tls = if address.is_tls { self.said.tls.clone() } else { Tls::default() };
        let authority = Client::new(Transport { address, tls }, self.timeout);
        let [tenant, id] = [tenant, id].map(|it| OwnSecret::of_text(it, self.store.clone()));
        Ok(Found::App(Box::new(App { authority, tenant, id, proof })))
    }

    fn own(&self, source: &SecretSource) -> OwnSecret {
        OwnSecret::new(source.clone(), self.store.clone())
    }

    /// Whose path is in this variable.
    fn file(&self, name: &str) -> Option<OwnSecret> {
        variable(name).map(|path| self.own(&SecretSource::File(path.into())))
    }
}

impl Found {
    fn name(&self) -> &'static str {
        match self {
            Self::App(app) => app.name(),
            Self::Platform(_) => "a managed identity of the platform",
            Self::Machine(..) => "a managed identity of the machine",
            Self::Program(_) => "whoever has logged in with az",
        }
    }
}

/// Where applications are registered: a cloud of its own has its own.
fn usual_authority() -> Result<Address, ProviderError> {
    let given = variable(AUTHORITY).unwrap_or_else(|| USUAL.to_owned());
    let given = if given.contains("://") { given } else { format!("https://{given}") };
    let address = Address::read(&given).ok().filter(|it| it.is_tls || it.is_loopback());
    address.ok_or_else(|| ProviderError::Invalid(format!("{AUTHORITY}: `{given}` is no https:// address")))
}

/// One that is empty is not set.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn of_variable(name: &str) -> TextSource {
    TextSource::From(SecretSource::Variable(name.to_owned()))
}

fn is_set(source: &SecretSource) -> bool {
    matches!(source, SecretSource::Variable(name) if variable(name).is_some())
}
