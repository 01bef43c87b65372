//! GCP's Secret Manager, judged: which project and region, and as whom it is asked. Pure.

use super::auth;
use super::network::{Refused, transport_or};
use super::ruled::Blur;
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
    /// Names that are not the secret's own are refused.
    pub has_one_name: bool,
    pub identity: GcpIdentity,
}

/// As whom it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GcpIdentity {
    /// A service account by its key, or whom another file of credentials speaks of.
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

    pub(super) fn blurs_with(&self, other: &Self) -> Option<Blur> {
        let is_number = |it: &Self| it.project.bytes().all(|byte| byte.is_ascii_digit());
        if self.location != other.location {
            return None;
        }
        // A project has both.
        if is_number(self) != is_number(other) {
            return Some(("may be of one project", "say the id of the `project` in both, or its number"));
        }
        let is_one = self.project == other.project && self.transport.address != other.transport.address;
        is_one.then_some(("are of one project", "say the same `address` in both, or take one out"))
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
    Ok(GcpSecrets { transport, project, location, has_one_name: false, identity })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, ConfigError, ProviderConfig, RemoteSource};

    fn parse(settings: &str) -> Result<GcpSecrets, ConfigError> {
        let text = format!("providers:\n  p: {{type: gcp-sm, {settings}}}\n");
        let config = Config::parse(Path::new("/etc/secretfs/config.yaml"), &text)?;
        let ProviderConfig::Remote(remote) = &config.providers["p"] else { panic!() };
        let RemoteSource::Gcp(gcp) = &remote.source else { panic!() };
        Ok((**gcp).clone())
    }

    #[test]
    fn what_is_not_said_is_as_usual() {
        let gcp = parse("project: p-1").unwrap();
        assert_eq!(gcp.transport.address.to_string(), "https://secretmanager.googleapis.com");
        assert_eq!(
            (gcp.identity.clone(), gcp.location.clone()),
            (GcpIdentity::Default { metadata: None }, None)
        );
        assert!(!gcp.has_one_name);
        let regional = parse("project: p-1, location: europe-west1, auth: {method: metadata}").unwrap();
        let address = regional.transport.address.to_string();
        assert_eq!(address, "https://secretmanager.europe-west1.rep.googleapis.com");
        assert_eq!(regional.identity, GcpIdentity::Machine { metadata: None });
        let key = parse("project: p-1, auth: {key: 'file:key.json'}").unwrap();
        assert_eq!(key.identity, GcpIdentity::Key(SecretSource::File("/etc/secretfs/key.json".into())));
    }

    #[test]
    fn what_does_not_fit_is_located() {
        for (settings, says) in [
            ("timeout: 1s", "needs a `project`"),
            ("project: p, auth: {method: key}", "needs a `key`"),
            ("project: p, auth: {method: metadata, key: 'file:k'}", "takes no `key`"),
            ("project: p, auth: {method: approle}", "knows no method approle"),
            ("project: p, auth: {role: r}", "takes no `role`"),
            ("project: p, auth: {metadata: 'http://example.com'}", "metadata service"),
            ("project: p, auth: {key: '31337'}", "${VARIABLE}"),
            ("project: p, address: 'http://example.com'", "in the clear"),
            ("project: p, location: 'a b'", "location"),
            ("project: p, prefix: x", "takes no `prefix`"),
        ] {
            let said = parse(settings).unwrap_err().to_string();
            assert!(said.contains(says) && !said.contains("31337"), "{settings}: {said}");
        }
    }

    #[test]
    fn where_rules_are_two_may_not_be_of_one_project() {
        let judge = |one: &str, other: &str, rule: &str| {
            let text =
                format!("providers:\n  a: {{type: gcp-sm, {one}}}\n  b: {{type: gcp-sm, {other}}}\n{rule}");
            Config::parse(Path::new("/c.yaml"), &text).map(drop).map_err(|it| it.to_string())
        };
        let rule = "policy: [{secrets: ['a:db'], deny: anyone}]\n";
        for (one, other, says) in [
            ("project: shop", "project: '123456789'", "may be of one project"),
            ("project: shop", "project: shop, address: 'https://psc.example.com'", "are of one project"),
        ] {
            let said = judge(one, other, rule).unwrap_err();
            assert!(said.contains(says), "{said}");
            assert_eq!(judge(one, other, ""), Ok(()), "the control");
        }
        for other in ["project: web", "project: '123456789', location: europe-west1", "project: shop"] {
            assert_eq!(judge("project: shop", other, rule), Ok(()), "{other}");
        }
    }

    #[test]
    fn rules_on_secrets_leave_one_name() {
        let text = "providers:\n  p: {type: gcp-sm, project: p}\npolicy: [{secrets: [a], deny: anyone}]\n";
        let config = Config::parse(Path::new("/c.yaml"), text).unwrap();
        let ProviderConfig::Remote(remote) = &config.providers["p"] else { panic!() };
        assert!(matches!(&remote.source, RemoteSource::Gcp(gcp) if gcp.has_one_name));
    }
}
