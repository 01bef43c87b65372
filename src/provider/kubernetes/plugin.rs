//! A program that tells who we are (`exec` of a kubeconfig): it prints an ExecCredential with a token. Run as any
//! program is that prints a secret.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::ProviderError;
use super::super::exec::{bare, how_it_ended};
use crate::net::{Json, JsonError};
use crate::secret::SecretBytes;
use crate::sys::leftover;
use crate::sys::program::{self, Ended};

pub(super) struct Plugin {
    pub(super) api: String,
    pub(super) command: String,
    pub(super) arguments: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
}

/// A token, and when it is no good any more.
pub(super) struct Told {
    pub(super) token: SecretBytes,
    pub(super) until: Option<Timestamp>,
}

/// The most bytes that it may print.
const LARGEST: usize = 64 << 10;
const INFO: &str = "KUBERNETES_EXEC_INFO";

impl Plugin {
    /// Both print the same.
    pub(super) const APIS: [&str; 2] =
        ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

    pub(super) async fn run(&self) -> Result<Told, ProviderError> {
        let failed = |how: &str| ProviderError::Unavailable(format!("who we are: `{}` {how}", self.command));
        let mut command = bare(&self.command);
        let info = serde_json::json!({"apiVersion": self.api, "kind": "ExecCredential", "spec": {"interactive": false}});
        command.args(&self.arguments).env(INFO, info.to_string()).envs(&self.env);
        let ended = program::run(&mut command, LARGEST).await;
        match ended.map_err(|error| failed(&format!("cannot be run: {error}")))? {
            Ended::TooLarge => Err(failed("prints more than 64 KiB")),
            Ended::With(status, printed) if status.success() => {
                leftover::wiped(|| read(&printed)).map_err(|why| failed(&why))
            }
            Ended::With(status, _) => Err(failed(&how_it_ended(status))),
        }
    }
}

fn read(printed: &[u8]) -> Result<Told, String> {
    let no_credential = |_: JsonError| "prints no ExecCredential with a token in its `status`".to_owned();
    let status = Json::read(printed).and_then(|it| it.at(&["status"])).map_err(no_credential)?;
    if status.get("clientCertificateData").map_err(no_credential)?.is_some() {
        return Err("prints a certificate, which is not known here: have it print a token".to_owned());
    }
    let token = status.at(&["token"]).and_then(Json::secret).map_err(no_credential)?;
    let until = status.get("expirationTimestamp").map_err(no_credential)?;
    let until = until.map(|it| it.text().ok().and_then(|text| text.parse().ok()));
    match until {
        Some(None) => Err("prints an `expirationTimestamp` that is no time".to_owned()),
        until => Ok(Told { token, until: until.flatten() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_and_nothing_is_quoted() {
        let whole = r#"{"kind": "ExecCredential", "status": {"token": "hunter2", "expirationTimestamp": "2030-01-01T00:00:00Z"}}"#;
        let told = read(whole.as_bytes()).ok().unwrap();
        assert!(told.token.same_as(b"hunter2") && told.until == "2030-01-01T00:00:00Z".parse().ok());
        for wrong in [
            "hunter2",
            r#"{"status": {}}"#,
            r#"{"status": {"token": 31337, "x": "hunter2"}}"#,
            r#"{"status": {"token": "hunter2", "expirationTimestamp": "hunter2"}}"#,
            r#"{"status": {"token": "hunter2", "clientCertificateData": "hunter2"}}"#,
        ] {
            let Err(why) = read(wrong.as_bytes()) else { panic!("{wrong}") };
            assert!(!why.contains("hunter2") && !why.contains("31337"), "{why}");
        }
    }
}
