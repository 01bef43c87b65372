//! Who we are for Azure: what the config says, else what the environment says, in an order that is written down. What is
//! set is meant: one that does not work is told, and no other one is taken in its place. Uses `entra` and the machine.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::assertion;
use super::challenge::Resource;
use super::entra::{App, Proof};
use crate::config::{Address, AzureApp, AzureLogin, SecretSource, TextSource, Tls, Transport};
use crate::net::{Client, Json, Request, Route};
use crate::provider::azure::{Machine, Token};
use crate::provider::exec::bare;
use crate::provider::remote::of_machine;
use crate::provider::{OwnSecret, Provider, ProviderError};
use crate::sys::leftover;
use crate::sys::program::{self, Ended};

pub(super) struct Identity {
    login: AzureLogin,
    tls: Tls,
    timeout: Duration,
    store: Option<Arc<dyn Provider>>,
    /// Found once: who we are does not change by itself.
    found: OnceCell<Found>,
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

fn of_variable(name: &str) -> SecretSource {
    SecretSource::Variable(name.to_owned())
}

/// What the variables say, whole or not.
fn usual_app() -> AzureApp {
    let text = |name| TextSource::From(of_variable(name));
    AzureApp { tenant: text(TENANT), client: text(CLIENT), authority: None }
}

impl Identity {
    pub(super) fn new(
        login: AzureLogin,
        tls: Tls,
        timeout: Duration,
        store: Option<Arc<dyn Provider>>,
    ) -> Self {
        Self { login, tls, timeout, store, found: OnceCell::new() }
    }

    pub(super) async fn token(&self, resource: &Resource) -> Result<Token, ProviderError> {
        self.found.get_or_try_init(|| self.find()).await?.token(resource).await
    }

    /// In a few words, once it is known.
    pub(super) fn name(&self) -> &'static str {
        self.found.get().map_or("not known yet", Found::name)
    }

    pub(super) async fn sweep(&self) {
        match self.found.get() {
            Some(Found::Secret(app, _) | Found::Certificate(app, _) | Found::Federated(app, _)) => {
                app.sweep().await;
            }
            Some(Found::Platform(client, ..)) => client.sweep(),
            _ => {}
        }
    }

    async fn find(&self) -> Result<Found, ProviderError> {
        let found = match self.login.clone() {
            AzureLogin::Secret { app, secret } => Found::Secret(self.app(app), self.own(secret)),
            AzureLogin::Certificate { app, certificate } => {
                Found::Certificate(self.app(app), self.own(certificate))
            }
            AzureLogin::Workload { app, token } => Found::Federated(self.app(app), self.own(token)),
            AzureLogin::Managed { client_id, metadata } => match self.platform(client_id.clone())? {
                Some(platform) => platform,
                None => Found::Machine(Machine::new(metadata), client_id),
            },
            AzureLogin::Cli { tenant } => Found::Program(tenant),
            AzureLogin::Usual { metadata } => self.usual(metadata).await?,
        };
        tracing::info!(identity = found.name(), "it is known who we are for Azure");
        Ok(found)
    }

    /// The first that is set; and if none is, the machine's, or that of `az` where no machine answers.
    async fn usual(&self, metadata: Address) -> Result<Found, ProviderError> {
        let file = |name| variable(name).map(|path| self.own(SecretSource::File(path.into())));
        if variable(SECRET).is_some() {
            return Ok(Found::Secret(self.app(usual_app()), self.own(of_variable(SECRET))));
        }
        if let Some(certificate) = file(CERTIFICATE) {
            return Ok(Found::Certificate(self.app(usual_app()), certificate));
        }
        if let Some(token) = file(FEDERATED) {
            return Ok(Found::Federated(self.app(usual_app()), token));
        }
        let client = variable(CLIENT);
        if let Some(platform) = self.platform(client.clone())? {
            return Ok(platform);
        }
        let machine = Machine::new(metadata);
        Ok(match machine.is_there().await {
            true => Found::Machine(machine, client),
            false => Found::Program(variable(TENANT)),
        })
    }

    fn platform(&self, client: Option<String>) -> Result<Option<Found>, ProviderError> {
        let (Some(endpoint), Some(_)) = (variable(ENDPOINT), variable(HEADER)) else { return Ok(None) };
        let wrong = |why: String| ProviderError::Invalid(format!("{ENDPOINT}: {why}"));
        let address = Address::read(&endpoint).map_err(wrong)?;
        if !address.is_tls && !address.is_loopback() && !address.host.starts_with("169.254.") {
            return Err(wrong(format!("`{endpoint}` is neither on this machine nor https://")));
        }
        let client_of = Client::new(Transport { address, tls: Tls::default() }, self.timeout);
        Ok(Some(Found::Platform(client_of, self.own(of_variable(HEADER)), client)))
    }

    fn app(&self, app: AzureApp) -> App {
        App::new(app, self.tls.clone(), self.timeout, self.store.clone())
    }

    fn own(&self, source: SecretSource) -> OwnSecret {
        OwnSecret::new(source, self.store.clone())
    }
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
                let pem = certificate.read().await?;
                let (client, route) = app.endpoint().await?;
                let endpoint = format!("{}{}", client.address(), route.as_str());
                let client_id = app.client_id().await?;
                let jwt = leftover::wiped(|| assertion::signed(&pem, &client_id, &endpoint))?;
                app.token(resource, Proof::Assertion(jwt)).await
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
    let ask = id.into_iter().fold(ask.query("resource", resource.as_str()), |ask, id| ask.query("client_id", id));
    let ask = ask.secret("x-identity-header", "", &header.read().await?)?;
    let response = client.send(ask).await.map_err(|error| of_machine(WHAT, &error.into()))?;
    match response.status() {
        200 => Ok(Token::read(response.json()?)?),
        400 | 401 | 403 => Err(ProviderError::Denied(format!(
            "{WHAT} (status {}): is one assigned, and is `client_id` its client's id?",
            response.status()
        ))),
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
