//! GCP's Secret Manager, judged: which project and region, and as whom it is asked. Pure.

use super::auth;
use super::network::{Refused, transport_or};
use super::source::SecretSource;
use super::words::Method;
use crate::config::base::Base;
use crate::config::raw;
use crate::config::transport::{Address, Transport};
use crate::config::word::Scalar;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcpSecrets {
    pub transport: Transport,
    pub project: String,
    pub location: Option<String>,
    pub identity: GcpIdentity,
}

/// As whom it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GcpIdentity {
    /// A service account, by its key.
    Key(SecretSource),
    /// What every program of GCP finds (Application Default Credentials), at last the machine.
    Default { metadata: Option<Address> },
    /// Who the machine is.
    Machine { metadata: Option<Address> },
}

impl GcpSecrets {
    pub(super) fn place(&self) -> (String, String) {
        let location = self.location.as_deref().unwrap_or("global");
        (format!("gcp {} {} {location}", self.transport.address, self.project), String::new())
    }

    pub(super) fn asker(&self) -> Vec<String> {
        match &self.identity {
            GcpIdentity::Key(key) => vec!["key".to_owned(), key.to_string()],
            GcpIdentity::Default { .. } => vec!["default".to_owned()],
            GcpIdentity::Machine { .. } => vec!["machine".to_owned()],
        }
    }

    pub(super) fn secrets(&self) -> Vec<&SecretSource> {
        match &self.identity {
            GcpIdentity::Key(source) => vec![source],
            _ => Vec::new(),
        }
    }
}

pub(super) fn judge(given: &mut raw::Provider, base: &Base<'_>) -> Result<GcpSecrets, Refused> {
    let mut auth = given.auth.take().unwrap_or_default();
    let location = given.location.0.take().map(|it| it.0);
    let usual = || {
        let host = match &location {
            Some(location) => format!("secretmanager.{location}.rep.googleapis.com"),
            None => "secretmanager.googleapis.com".to_owned(),
        };
        Address::judge(&format!("https://{host}")).map_err(|why| ("location", why))
    };
    let transport = transport_or(given, base, usual)?;
    let Some(project) = given.project.0.take().map(|it| it.0) else {
        return Err(("type", "a provider of this type needs a `project`".to_owned()));
    };
    let metadata = auth.metadata.0.take().map(|it| it.0);
    let identity = match (auth.method.0.take(), auth.key.0.take()) {
        (None | Some(Method::Key), Some(key)) => GcpIdentity::Key(key.under(base)),
        (Some(Method::Key), None) => return Err(("auth", "the method key needs a `key`".to_owned())),
        (_, Some(_)) => return Err(("auth", "this method takes no `key`".to_owned())),
        (None | Some(Method::Adc), None) => GcpIdentity::Default { metadata },
        (Some(Method::Metadata), None) => GcpIdentity::Machine { metadata },
        (Some(other), None) => return Err(("auth", format!("gcp-sm knows no method {}", other.name()))),
    };
    auth::refuse_rest(&auth, "a provider of this type")?;
    Ok(GcpSecrets { transport, project, location, identity })
}
