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
}

const TOKEN: &str = "OP_CONNECT_TOKEN";

pub(super) fn judge(given: &mut raw::Provider, base: &Base<'_>) -> Result<OnePassword, Refused> {
    let mut auth = given.auth.take().unwrap_or_default();
    let transport = transport(given, base)?;
    let token = auth.token.0.take().map(|it| it.under(base));
    let token = token.unwrap_or_else(|| SecretSource::Variable(TOKEN.to_owned()));
    auth::refuse_rest(&auth, "a provider of this type")?;
    Ok(OnePassword { transport, token, vault: given.vault.0.take().map(|it| it.0) })
}
