//! A 1Password Connect server, judged. Pure.

use super::auth;
use super::network::{Refused, transport};
use super::source::SecretSource;
use crate::config::base::Base;
use crate::config::raw;
use crate::config::transport::Transport;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnePassword {
    pub transport: Transport,
    pub token: SecretSource,
    /// Of names that say none.
    pub vault: Option<String>,
    /// Of the ways to name a value one alone is taken: a rule on one would not hold for the others.
    pub has_one_name: bool,
}

const TOKEN: &str = "OP_CONNECT_TOKEN";

pub(super) fn judge(given: &mut raw::Provider, base: &Base<'_>) -> Result<OnePassword, Refused> {
    let mut auth = given.auth.take().unwrap_or_default();
    let transport = transport(given, base)?;
    let token = auth.token.0.take().map(|it| it.under(base));
    let token = token.unwrap_or_else(|| SecretSource::Variable(TOKEN.to_owned()));
    auth::refuse_rest(&auth, "a provider of this type")?;
    Ok(OnePassword { transport, token, vault: given.vault.0.take().map(|it| it.0), has_one_name: false })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, ConfigError, ProviderConfig, RemoteSource};

    fn parse(settings: &str, rest: &str) -> Result<OnePassword, ConfigError> {
        let text = format!("providers:\n  op: {{type: 1password, {settings}}}\n{rest}");
        let config = Config::parse(Path::new("/etc/secretfs/config.yaml"), &text)?;
        let ProviderConfig::Remote(remote) = &config.providers["op"] else { panic!() };
        let RemoteSource::OnePassword(connect) = &remote.source else { panic!() };
        Ok((**connect).clone())
    }

    #[test]
    fn a_token_has_its_usual_place() {
        let connect = parse("address: 'https://connect', vault: Prod", "").unwrap();
        assert_eq!(connect.token, SecretSource::Variable(TOKEN.to_owned()));
        assert_eq!((connect.vault.as_deref(), connect.has_one_name), (Some("Prod"), false));
        let connect = parse("address: 'https://connect', auth: {token: 'file:t'}", "").unwrap();
        assert_eq!(connect.token, SecretSource::File("/etc/secretfs/t".into()));
        assert!(
            parse("address: 'https://c'", "policy: [{secrets: [a], deny: anyone}]\n").unwrap().has_one_name
        );
    }

    #[test]
    fn what_does_not_fit_is_located() {
        for (settings, says) in [
            ("vault: Prod", "https://host:8200"),
            ("address: 'https://c', auth: {token: eyJ31337}", "${VARIABLE}"),
            ("address: 'https://c', auth: {method: token}", "takes no `method`"),
            ("address: 'https://c', namespace: n", "takes no `namespace`"),
        ] {
            let said = parse(settings, "").unwrap_err().to_string();
            assert!(said.contains(says) && !said.contains("31337"), "{settings}: {said}");
        }
    }
}
