//! What our token may do at a path, found out without doing it. Uses `session`.

use std::sync::Arc;

use super::api::{Ask, Member, json, odd};
use super::session::Session;
use crate::net::{Json, Route};
use crate::provider::ProviderError;

#[derive(Clone, Copy)]
pub(super) enum Right {
    Read,
    Write,
}

impl Right {
    /// As the server names what has it.
    fn is_in(self, capability: &str) -> bool {
        match (self, capability) {
            (_, "root" | "sudo") | (Self::Read, "read") => true,
            (Self::Write, other) => matches!(other, "create" | "update"),
            _ => false,
        }
    }
}

pub(super) async fn require(session: &Arc<Session>, right: Right, path: &str) -> Result<(), ProviderError> {
    let ask = Ask::put(Route::to("/v1/sys/capabilities-self")).with("path", Member::Text(path.to_owned()));
    let response = session.ask_for("the question what we may do", &ask).await?;
    let may = json(&response)?.at(&["capabilities"]).and_then(Json::items).map_err(odd)?;
    let has_right = may.into_iter().filter_map(|it| it.text().ok()).any(|it| right.is_in(&it));
    let what = match right {
        Right::Read => "read",
        Right::Write => "write to",
    };
    match has_right {
        true => Ok(()),
        false => Err(ProviderError::Denied(format!("our token may not {what} `{path}`"))),
    }
}
