//! What is left of the settings of a login when it was judged: what was meant to do something. Pure; uses `raw`.

use super::network::Refused;
use crate::config::raw::Auth;

/// `who` takes none of what is left.
pub(super) fn refuse_rest(auth: &Auth, who: &str) -> Result<(), Refused> {
    match given_keys(auth).next() {
        Some(key) => Err(("auth", format!("{who} takes no `{key}` there"))),
        None => Ok(()),
    }
}

/// What is left of the settings.
fn given_keys(auth: &Auth) -> impl Iterator<Item = &'static str> {
    let all = [
        ("method", auth.method.0.is_some()),
        ("mount", auth.mount.0.is_some()),
        ("role", auth.role.0.is_some()),
        ("role_id", auth.role_id.0.is_some()),
        ("secret_id", auth.secret_id.0.is_some()),
        ("wrapped", auth.wrapped.0.is_some()),
        ("token", auth.token.0.is_some()),
        ("jwt", auth.jwt.0.is_some()),
        ("username", auth.username.0.is_some()),
        ("password", auth.password.0.is_some()),
        ("access_key_id", auth.access_key_id.0.is_some()),
        ("secret_access_key", auth.secret_access_key.0.is_some()),
        ("session_token", auth.session_token.0.is_some()),
        ("region", auth.region.0.is_some()),
        ("sts_endpoint", auth.sts_endpoint.0.is_some()),
        ("server_id", auth.server_id.0.is_some()),
        ("profile", auth.profile.0.is_some()),
        ("external_id", auth.external_id.0.is_some()),
        ("tenant_id", auth.tenant_id.0.is_some()),
        ("client_secret", auth.client_secret.0.is_some()),
        ("certificate", auth.certificate.0.is_some()),
        ("authority", auth.authority.0.is_some()),
        ("key", auth.key.0.is_some()),
        ("resource", auth.resource.0.is_some()),
        ("client_id", auth.client_id.0.is_some()),
        ("metadata", auth.metadata.0.is_some()),
    ];
    all.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key)
}
