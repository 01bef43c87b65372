//! What works and what does not, step by step, for who sets a Vault up. Uses `session`.

use std::sync::Arc;
use std::time::Instant;

use super::api::{Api, Ask, json, odd};
use super::mounts::Mounts;
use super::names;
use super::refusal::short;
use super::session::Session;
use crate::net::{Json, Route};
use crate::provider::remote::way;
use crate::provider::{ProviderError, Step};

/// Reaches it, asks how it is, logs in, and lists what there is. Ends at the first that fails.
pub(super) async fn all(session: &Arc<Session>, mounts: &Mounts) -> Vec<Step> {
    let mut steps = way(session.api().client()).await;
    if steps.iter().all(Step::is_fine) {
        let start = Instant::now();
        steps.push(Step::of("answers", start, state(session.api()).await));
    }
    if steps.iter().all(Step::is_fine) {
        let start = Instant::now();
        steps.push(Step::of("login", start, whoami(session).await));
    }
    if steps.iter().all(Step::is_fine) {
        let start = Instant::now();
        let listed = names::all(session, mounts).await.map(|names| format!("{} names", names.len()));
        steps.push(Step::of("list", start, listed));
    }
    steps
}

/// As whom it knows us, and what for.
async fn whoami(session: &Arc<Session>) -> Result<String, ProviderError> {
    let ask = Ask::get(Route::to("/v1/auth/token/lookup-self"));
    let response = session.ask_for("a look at our own token", &ask).await?;
    let data = json(&response)?.at(&["data"]).map_err(odd)?;
    let policies = data.at(&["policies"]).and_then(Json::items).map_err(odd)?;
    let policies: Vec<String> = policies.into_iter().filter_map(|policy| policy.text().ok()).collect();
    Ok(short(&format!("policies: {}", policies.join(", "))))
}

/// Which server it is, if it can answer. Asked without a login, and outside of every namespace.
pub(super) async fn state(api: &Api) -> Result<String, ProviderError> {
    let ask = Ask::get(Route::to("/v1/sys/health")).of_root();
    let response = api.send(&ask, None).await?;
    let is_standby = match response.status() {
        200 => false,
        // It answers, and asks its leader where it has to.
        429 | 473 => true,
        503 => return Err(ProviderError::Unavailable("it is sealed: it has to be unsealed".to_owned())),
        _ => return Err(api.refusal("the question how it is", &ask, &response)),
    };
    let version = json(&response)?.get("version").ok().flatten().and_then(|it| Json::text(it).ok());
    let version = version.map(|version| short(&version)).unwrap_or_default();
    Ok(format!("version {version}{}", if is_standby { ", a standby" } else { "" }))
}
