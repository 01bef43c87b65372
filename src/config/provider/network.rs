//! Providers of the network, judged: where they are, and as whom they are asked. Pure; uses `transport`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::auth;
use super::cloud::{self, Aws, Azure};
use super::source::{SecretSource, TextSource};
use super::words::Method;
use super::write::Datum;
use crate::config::base::Base;
use crate::config::raw::{self, Auth};
use crate::config::scalar::Label;
use crate::config::transport::{Address, Transport};
use crate::config::word::{Table, Word};

/// A HashiCorp Vault or an OpenBao.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    pub transport: Transport,
    pub namespace: Option<String>,
    /// Where the method of login is enabled, without slashes at its ends.
    pub mount: String,
    pub login: Login,
    /// By path: what is sent there so that something is made of it.
    pub writes: BTreeMap<String, BTreeMap<String, String>>,
    /// Certificates that were made are revoked at the orderly end.
    pub revokes: bool,
    /// What was lent is given back when nobody has asked for it in so long.
    pub give_back_after: Duration,
}

/// Who we are for a Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    Token(SecretSource),
    AppRole {
        role_id: TextSource,
        secret_id: SecretSource,
        is_wrapped: bool,
    },
    /// Also kubernetes: a token that somebody else has signed.
    Jwt {
        role: String,
        jwt: SecretSource,
    },
    UserPass {
        username: String,
        password: SecretSource,
    },
    /// By the certificate of the connection.
    Cert {
        role: Option<String>,
    },
    Aws(Box<Aws>),
    Azure(Box<Azure>),
}

impl Login {
    pub(super) fn secrets(&self) -> Vec<&SecretSource> {
        match self {
            Self::Token(source) | Self::Jwt { jwt: source, .. } | Self::UserPass { password: source, .. } => {
                vec![source]
            }
            Self::AppRole { role_id: TextSource::From(role_id), secret_id, .. } => vec![role_id, secret_id],
            Self::AppRole { secret_id, .. } => vec![secret_id],
            Self::Aws(aws) => aws.identity.secrets(),
            Self::Cert { .. } | Self::Azure(_) => Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    pub transport: Transport,
    /// What the names there begin with.
    pub prefix: String,
    /// A user, and where the password comes from; else who the connection's certificate says, or nobody.
    pub user: Option<(String, SecretSource)>,
}

/// The key that is wrong, and why.
pub(super) type Refused = (&'static str, String);

const TOKEN: &str = "VAULT_TOKEN";
const GIVE_BACK_AFTER: Duration = Duration::from_secs(24 * 3600);
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

pub(super) fn vault(given: &mut raw::Provider, base: &Base<'_>) -> Result<Vault, Refused> {
    let mut auth = given.auth.take().unwrap_or_default();
    let transport = transport(given, base)?;
    let method = auth.method.0.take().unwrap_or_default();
    let mount = auth.mount.0.take().map_or_else(|| method.name().to_owned(), |it| it.0);
    let login = login(method, &mut auth, base, &transport)?;
    auth::refuse_rest(&auth, &format!("the method {}", method.name()))?;
    let plain = |text: &str| text.trim_matches('/').to_owned();
    let namespace = given.namespace.0.take().map(|it| plain(&it.0)).filter(|it| !it.is_empty());
    let writes = given.writes.take().unwrap_or_default().0.into_iter();
    let data =
        |data: Table<Label, Word<Datum>>| data.0.into_iter().map(|(name, it)| (name.0, it.0.0)).collect();
    let writes = writes.map(|(path, it)| (path.0, data(it))).collect();
    let revokes = given.revoke.0.take().unwrap_or(false);
    let give_back_after = given.give_back_after.0.take().unwrap_or(GIVE_BACK_AFTER);
    Ok(Vault { transport, namespace, mount: plain(&mount), login, writes, revokes, give_back_after })
}

pub(super) fn etcd(given: &mut raw::Provider, base: &Base<'_>) -> Result<Etcd, Refused> {
    let mut auth = given.auth.take().unwrap_or_default();
    let transport = transport(given, base)?;
    let user = match (auth.username.0.take(), auth.password.0.take()) {
        (Some(name), Some(password)) => Some((name.0, password.under(base))),
        (None, None) => None,
        _ => return Err(("auth", "a `username` and a `password` belong together".to_owned())),
    };
    auth::refuse_rest(&auth, "a provider of this type")?;
    let prefix = given.prefix.0.take().map_or_else(String::new, |it| it.0);
    Ok(Etcd { transport, prefix, user })
}

pub(super) fn transport(given: &mut raw::Provider, base: &Base<'_>) -> Result<Transport, Refused> {
    Transport::judge(given.address.0.take(), given.tls.take(), |path| base.path(path))
}

/// The same, for what has its usual place.
pub(super) fn transport_or(
    given: &mut raw::Provider,
    base: &Base<'_>,
    usual: impl FnOnce() -> Result<Address, Refused>,
) -> Result<Transport, Refused> {
    let address = given.address.0.take().map_or_else(usual, Ok)?;
    Transport::judge(Some(address), given.tls.take(), |path| base.path(path))
}

/// Takes out what the method takes.
fn login(method: Method, auth: &mut Auth, base: &Base<'_>, transport: &Transport) -> Result<Login, Refused> {
    let needs = |what: &str| Err(("auth", format!("the method {} needs {what}", method.name())));
    let mut role = auth.role.0.take().map(|role| role.0);
    let given = |source: &mut Option<SecretSource>| source.take().map(|it| it.under(base));
    match method {
        _ if matches!(method, Method::Token | Method::AppRole | Method::UserPass) && role.is_some() => {
            Err(("auth", format!("the method {} takes no `role`", method.name())))
        }
        Method::Token => Ok(Login::Token(
            given(&mut auth.token.0).unwrap_or_else(|| SecretSource::Variable(TOKEN.to_owned())),
        )),
        Method::AppRole => match (auth.role_id.0.take(), given(&mut auth.secret_id.0)) {
            (Some(role_id), Some(secret_id)) => {
                let is_wrapped = auth.wrapped.0.take().unwrap_or(false);
                Ok(Login::AppRole { role_id: role_id.under(base), secret_id, is_wrapped })
            }
            _ => needs("a `role_id` and a `secret_id`"),
        },
        Method::Kubernetes | Method::Jwt => {
            let file = || SecretSource::File(PathBuf::from(SERVICE_ACCOUNT));
            let usual = (method == Method::Kubernetes).then(file);
            match (role.take(), given(&mut auth.jwt.0).or(usual)) {
                (Some(role), Some(jwt)) => Ok(Login::Jwt { role, jwt }),
                (None, _) => needs("a `role`"),
                (_, None) => needs("a `jwt`"),
            }
        }
        Method::UserPass => match (auth.username.0.take(), given(&mut auth.password.0)) {
            (Some(username), Some(password)) => Ok(Login::UserPass { username: username.0, password }),
            _ => needs("a `username` and a `password`"),
        },
        Method::Cert if transport.tls.identity.is_none() => needs("a `cert` and a `key` under `tls`"),
        Method::Cert => Ok(Login::Cert { role }),
        Method::ManagedIdentity
        | Method::ClientSecret
        | Method::ClientCertificate
        | Method::WorkloadIdentity
        | Method::Cli
        | Method::Key
        | Method::Adc
        | Method::Metadata => Err(("auth", format!("vault knows no method {}", method.name()))),
        Method::Aws if !cfg!(feature = "aws") => {
            let problem = "this secretfs was built without aws: build it with `--features aws`";
            Err(("auth", problem.to_owned()))
        }
        Method::Aws => cloud::aws(auth, role, base).map(|it| Login::Aws(Box::new(it))).or_else(needs),
        Method::Azure => cloud::azure(auth, role).map(|it| Login::Azure(Box::new(it))).or_else(needs),
    }
}
