//! The keys that a request is signed with: given by the config, in the variables that all programs of AWS know, or
//! those of the machine's role, which the machine is told (IMDSv2). Read anew each time; never through a proxy.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Address, AwsKeys, SecretSource, TextSource, Tls, Transport};
use crate::net::{Client, JsonError, NetErrorKind, Request, Response, Route};
use crate::provider::remote::of_machine;
use crate::provider::{OwnSecret, Provider, ProviderError};
use crate::secret::SecretBytes;

pub(in crate::provider) struct Keys {
    /// Names the key and is no secret, but nobody's business.
    pub(in crate::provider) id: SecretBytes,
    pub(in crate::provider) secret: SecretBytes,
    pub(in crate::provider) session: Option<SecretBytes>,
}

pub(in crate::provider) struct KeySource {
    id: OwnSecret,
    secret: OwnSecret,
    session: Option<OwnSecret>,
    /// The variable without which the others are none.
    variable: Option<String>,
    session_variable: Option<String>,
    machine: Option<Client>,
}

const NO_KEYS: &str = "no keys for AWS: AWS_ACCESS_KEY_ID is not set, and the machine gives none";
/// For each question to the machine: it is near, or it is not there.
const PATIENCE: Duration = Duration::from_secs(1);
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const ROLE: &str = "/latest/meta-data/iam/security-credentials";

impl Keys {
    /// All of it, to be compared.
    pub(in crate::provider) fn whole(&self) -> SecretBytes {
        let session = self.session.as_ref().map_or(&[][..], SecretBytes::expose);
        let parts = [self.id.expose(), self.secret.expose(), session];
        SecretBytes::new(parts.join(&b'\n'))
    }
}

impl KeySource {
    /// `machine` is where the keys come from if the variables are not set.
    pub(in crate::provider) fn new(
        keys: AwsKeys,
        machine: Option<Address>,
        store: Option<Arc<dyn Provider>>,
    ) -> Self {
        let variable = match &keys.id {
            TextSource::From(SecretSource::Variable(name)) if machine.is_some() => Some(name.clone()),
            _ => None,
        };
        let session_variable = match &keys.session {
            Some(SecretSource::Variable(name)) if machine.is_some() => Some(name.clone()),
            _ => None,
        };
        let transport = |address| Transport { address, tls: Tls::default() };
        Self {
            id: OwnSecret::of_text(keys.id, store.clone()),
            secret: OwnSecret::new(keys.secret, store.clone()),
            session: keys.session.map(|source| OwnSecret::new(source, store)),
            variable,
            session_variable,
            machine: machine.map(|address| Client::new(transport(address), PATIENCE)),
        }
    }

    pub(in crate::provider) async fn keys(&self) -> Result<Keys, ProviderError> {
        match &self.machine {
            Some(machine) if !is_set(&self.variable) => {
                let keys = keys_of(machine).await;
                keys.map_err(|error| of_machine(NO_KEYS, &error))
            }
            _ => self.given().await,
        }
    }

    async fn given(&self) -> Result<Keys, ProviderError> {
        let session = match &self.session {
            Some(session) if self.session_variable.is_none() || is_set(&self.session_variable) => {
                Some(session.read().await?)
            }
            _ => None,
        };
        Ok(Keys { id: self.id.read().await?, secret: self.secret.read().await?, session })
    }
}

fn is_set(variable: &Option<String>) -> bool {
    variable.as_ref().is_some_and(|name| std::env::var_os(name).is_some_and(|it| !it.is_empty()))
}

/// Of the role that the machine has.
async fn keys_of(client: &Client) -> Result<Keys, ProviderError> {
    let route = Route::to("/latest/api/token");
    let ask = Request::put(route).repeatable().header("x-aws-ec2-metadata-token-ttl-seconds", "300")?;
    let token = answered(client.send(ask).await?)?;
    let get = |route| Request::get(route).secret("x-aws-ec2-metadata-token", "", token.body());
    let roles = answered(client.send(get(Route::to(ROLES))?).await?)?;
    let roles = String::from_utf8_lossy(roles.body().expose()).into_owned();
    let role = roles.lines().next().unwrap_or_default().trim();
    if role.is_empty() {
        return Err(ProviderError::Unavailable("it has no role".to_owned()));
    }
    let route = Route::to(ROLE).name(role)?;
    let answer = answered(client.send(get(route)?).await?)?;
    let read = || -> Result<Keys, JsonError> {
        let json = answer.json().map_err(|_| JsonError::Other { expected: "an object" })?;
        Ok(Keys {
            id: json.at(&["AccessKeyId"])?.secret()?,
            secret: json.at(&["SecretAccessKey"])?.secret()?,
            session: Some(json.at(&["Token"])?.secret()?),
        })
    };
    Ok(read()?)
}

fn answered(response: Response) -> Result<Response, ProviderError> {
    match response.status() {
        200 => Ok(response),
        404 => Err(ProviderError::Unavailable("it has no role".to_owned())),
        status => {
            Err(ProviderError::from(NetErrorKind::Protocol(format!("it answers with status {status}"))))
        }
    }
}
