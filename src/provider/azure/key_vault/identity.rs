//! Who we are for Azure: what the config says, else what the environment says, in an order that is written down. What is
//! set is meant: one that does not work is told, and no other one is taken in its place. Uses `entra` and the machine.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::challenge::Resource;
use super::entra::{App, Proof};
use crate::config::{Address, AzureIdentity, SecretSource, TextSource, Tls, Transport};
use crate::net::{Client, Json, Request, Route};
use crate::poison::EvenPoisoned;
use crate::provider::azure::{Machine, Token};
use crate::provider::exec::bare;
use crate::provider::remote::of_machine;
use crate::provider::{OwnSecret, Provider, ProviderError, refusal};
use crate::sys::leftover;
use crate::sys::program::{self, Ended};

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
    Secret(App, OwnSecret),
    Certificate(App, OwnSecret),
    Federated(App, OwnSecret),
    /// Where the platform runs us: at its address, with its header.
    Platform(Client, OwnSecret, Option<String>),
    Machine(Machine, Option<String>),
    /// Whoever has logged in with `az`.
    Program(Option<String>),
}

const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
const USUAL: &str = "https://login.microsoftonline.com";
const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
const SECRET: &str = "AZURE_CLIENT_SECRET";
const CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
const FEDERATED: &str = "AZURE_FEDERATED_TOKEN_FILE";
const ENDPOINT: &str = "IDENTITY_ENDPOINT";
const HEADER: &str = "IDENTITY_HEADER";
/// The most that `az` may print.
const LARGEST: usize = 64 << 10;
/// What `az` finds its logins by.
const AZ_FOLDER: &str = "AZURE_CONFIG_DIR";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn of_variable(name: &str) -> TextSource {
    TextSource::From(SecretSource::Variable(name.to_owned()))
}

impl Identity {
    pub(super) fn new(said: Said, timeout: Duration, store: Option<Arc<dyn Provider>>) -> Self {
        Self { said, timeout, store, found: Mutex::default() }
    }

    pub(super) async fn token(&self, resource: &Resource) -> Result<Token, ProviderError> {
        self.found().await?.token(resource).await
    }

    /// In a few words, once it is known.
    pub(super) fn name(&self) -> &'static str {
        self.known().map_or("not known yet", |found| found.name())
    }

    pub(super) fn sweep(&self) {
        match self.known().as_deref() {
            Some(Found::Secret(app, _) | Found::Certificate(app, _) | Found::Federated(app, _)) => {
                app.sweep()
            }
            Some(Found::Platform(client, ..)) => client.sweep(),
            _ => {}
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
        let found = match &self.said.identity {
            AzureIdentity::Secret { tenant, client_id, secret } => {
                Found::Secret(self.app_of(tenant, client_id)?, self.own(secret.clone()))
            }
            AzureIdentity::Certificate { tenant, client_id, certificate } => {
                Found::Certificate(self.app_of(tenant, client_id)?, self.own(certificate.clone()))
            }
            AzureIdentity::Workload { tenant, client_id } => {
                let token = self.file(FEDERATED).ok_or_else(|| {
                    let why = format!("{FEDERATED} is not set: the webhook of workload identity sets it");
                    ProviderError::Unavailable(why)
                })?;
                let word = |given: &Option<String>, name| match given {
                    Some(text) => TextSource::Text(text.clone()),
                    None => of_variable(name),
                };
                Found::Federated(self.app(word(tenant, TENANT), word(client_id, CLIENT))?, token)
            }
            AzureIdentity::Managed { client_id } => match self.platform(client_id.clone())? {
                Some(platform) => platform,
                None => Found::Machine(Machine::new(self.said.metadata.clone()), client_id.clone()),
            },
            AzureIdentity::Cli => Found::Program(variable(TENANT)),
            AzureIdentity::Any { secret } => self.usual(secret).await?,
        };
        Ok(found)
    }

    /// The first that is set; and if none is, the machine's, or that of `az` where no machine answers.
    async fn usual(&self, secret: &SecretSource) -> Result<Found, ProviderError> {
        let app = || self.app(of_variable(TENANT), of_variable(CLIENT));
        if variable(SECRET).is_some() {
            return Ok(Found::Secret(app()?, self.own(secret.clone())));
        }
        if let Some(certificate) = self.file(CERTIFICATE) {
            return Ok(Found::Certificate(app()?, certificate));
        }
        if let Some(token) = self.file(FEDERATED) {
            return Ok(Found::Federated(app()?, token));
        }
        let client = variable(CLIENT);
        if let Some(platform) = self.platform(client.clone())? {
            return Ok(platform);
        }
        let machine = Machine::new(self.said.metadata.clone());
        Ok(match machine.is_there().await {
            true => Found::Machine(machine, client),
            false => Found::Program(variable(TENANT)),
        })
    }

    fn platform(&self, client: Option<String>) -> Result<Option<Found>, ProviderError> {
        let (Some(endpoint), Some(_)) = (variable(ENDPOINT), variable(HEADER)) else { return Ok(None) };
        let wrong = |why: String| ProviderError::Invalid(format!("{ENDPOINT}: {why}"));
        let address = Address::read(&endpoint).map_err(wrong)?;
        if !address.is_tls && !address.is_loopback() && !address.is_on_link() {
            return Err(wrong(format!("`{endpoint}` is neither on this machine nor https://")));
        }
        let asked = Client::new(Transport { address, tls: Tls::default() }, self.timeout);
        Ok(Some(Found::Platform(asked, self.own(SecretSource::Variable(HEADER.to_owned())), client)))
    }

    fn app_of(&self, tenant: &str, id: &str) -> Result<App, ProviderError> {
        self.app(TextSource::Text(tenant.to_owned()), TextSource::Text(id.to_owned()))
    }

    fn app(&self, tenant: TextSource, id: TextSource) -> Result<App, ProviderError> {
        let address = self.said.authority.clone().map_or_else(usual_authority, Ok)?;
        let tls = if address.is_tls { self.said.tls.clone() } else { Tls::default() };
        let authority = Client::new(Transport { address, tls }, self.timeout);
        let word = |source| OwnSecret::of_text(source, self.store.clone());
        Ok(App::new(authority, word(tenant), word(id)))
    }

    fn own(&self, source: SecretSource) -> OwnSecret {
        OwnSecret::new(source, self.store.clone())
    }

    /// Whose path is in this variable.
    fn file(&self, name: &str) -> Option<OwnSecret> {
        variable(name).map(|path| self.own(SecretSource::File(path.into())))
    }
}

/// Where applications are registered: a cloud of its own has its own.
fn usual_authority() -> Result<Address, ProviderError> {
    let given = variable(AUTHORITY).unwrap_or_else(|| USUAL.to_owned());
    let given = if given.contains("://") { given } else { format!("https://{given}") };
    let address = Address::read(&given).ok().filter(|it| it.is_tls || it.is_loopback());
    address.ok_or_else(|| ProviderError::Invalid(format!("{AUTHORITY}: `{given}` is no https:// address")))
}

impl Found {
    fn name(&self) -> &'static str {
        match self {
            Self::Secret(..) => "an application, by its secret",
            Self::Certificate(..) => "an application, by its certificate",
            Self::Federated(..) => "a workload's identity",
            Self::Platform(..) => "a managed identity of the platform",
            Self::Machine(..) => "a managed identity of the machine",
            Self::Program(_) => "whoever has logged in with az",
        }
    }

    async fn token(&self, resource: &Resource) -> Result<Token, ProviderError> {
        match self {
            Self::Secret(app, secret) => app.token(resource, Proof::Secret(secret.read().await?)).await,
            Self::Certificate(app, certificate) => {
                let proof = app.assertion(&certificate.read().await?).await?;
                app.token(resource, proof).await
            }
            // Read each time: whoever wrote it writes it anew.
            Self::Federated(app, token) => app.token(resource, Proof::Assertion(token.read().await?)).await,
            Self::Platform(client, header, id) => of_platform(client, header, id.as_deref(), resource).await,
            Self::Machine(machine, id) => machine.token(resource.as_str(), id.as_deref()).await,
            Self::Program(tenant) => of_program(tenant.as_deref(), resource).await,
        }
    }
}

async fn of_platform(
    client: &Client,
    header: &OwnSecret,
    id: Option<&str>,
    resource: &Resource,
) -> Result<Token, ProviderError> {
    const WHAT: &str = "the platform gives no token of a managed identity";
    let ask = Request::get(Route::to("")).query("api-version", "2019-08-01");
    let ask =
        id.into_iter().fold(ask.query("resource", resource.as_str()), |ask, id| ask.query("client_id", id));
    let ask = ask.secret("x-identity-header", "", &header.read().await?)?;
    let response = client.send(ask).await.map_err(|error| of_machine(WHAT, &error.into()))?;
    match response.status() {
        200 => Ok(Token::read(response.json()?)?),
        400 | 401 | 403 => Err(ProviderError::Denied(format!(
            "{WHAT} (status {}): is one assigned, and is `client_id` its client's id?",
            response.status()
        ))),
        429 => Err(refusal("the platform's endpoint of identities", &response)),
        status => Err(ProviderError::Unavailable(format!("{WHAT}: it answers with status {status}"))),
    }
}

async fn of_program(tenant: Option<&str>, resource: &Resource) -> Result<Token, ProviderError> {
    let mut az = command(tenant, resource);
    let failed = |how: &str| ProviderError::Unavailable(format!("`az account get-access-token` {how}"));
    match program::run(&mut az, LARGEST).await {
        Err(error) => Err(failed(&format!(
            "cannot be run ({error}), and nothing else says who we are: name it as `auth`"
        ))),
        Ok(Ended::TooLarge) => Err(failed("prints too much")),
        Ok(Ended::With(status, printed)) if status.success() => leftover::wiped(|| {
            let token = Json::read(&printed).and_then(Token::printed);
            token.map_err(|_| failed("prints no token"))
        }),
        Ok(Ended::With(..)) => Err(failed("fails: has this user logged in with `az login`?")),
    }
}

fn command(tenant: Option<&str>, resource: &Resource) -> Command {
    let mut az = bare("az");
    az.args(["account", "get-access-token", "--output", "json", "--resource", resource.as_str()]);
    az.args(tenant.into_iter().flat_map(|tenant| ["--tenant", tenant]));
    az.envs(std::env::var_os(AZ_FOLDER).map(|folder| (AZ_FOLDER, folder)));
    az
}
