//! The keys of a profile, as AWS' library has them; but a program that prints them (`credential_process`) is run as all
//! our programs are: the library would give it our environment, with secrets of other providers in it, and leave it alone
//! when nobody waits any more. Uses `sys`.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use aws_config::profile::{self, ProfileFileCredentialsProvider, ProfileSet, load};
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_types::os_shim_internal::{Env, Fs};
use jiff::Timestamp;

use super::http::{Http, Trouble};
use crate::net::{Json, JsonError};
use crate::provider::exec::{bare, how_it_ended};
use crate::sys::leftover;
use crate::sys::program::{self, Ended};

/// By the config's name, or the one that AWS' programs take.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) name: Option<String>,
    pub(super) config: ProviderConfig,
    /// Remembers what went wrong.
    pub(super) http: Http,
}

struct Program {
    command: String,
    /// Whose keys they are, if it does not say so.
    account: Option<String>,
    http: Http,
}

/// The most bytes that it may print.
const LARGEST: usize = 64 << 10;
/// What programs of AWS look for, beside what every program gets. There is no secret in them.
const SETTINGS: [&str; 5] =
    ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE"];
/// What it is called in the profile, in place of its command.
const SOURCE: &str = "secretfs";
/// What the library takes in place of a program, if a profile has both.
const BEFORE: [&str; 8] = [
    "credential_source",
    "web_identity_token_file",
    "login_session",
    "sso_session",
    "sso_start_url",
    "sso_region",
    "sso_account_id",
    "sso_role_name",
];

impl Profile {
    async fn keys(&self) -> Result<Credentials, CredentialsError> {
        let mut way = ProfileFileCredentialsProvider::builder().configure(&self.config);
        if let Some(name) = &self.name {
            way = way.profile_name(name);
        }
        if let Some((name, program)) = self.program().await {
            let files = EnvConfigFiles::builder().include_default_config_file(true);
            let files = files.include_default_credentials_file(true);
            let instead = format!("[{name}]\ncredential_source = {SOURCE}\n");
            let files = files.with_contents(EnvConfigFileKind::Credentials, instead).build();
            way = way.profile_files(files).with_custom_provider(SOURCE, program);
        }
        way.build().provide_credentials().await
    }

    /// What is to be run, and for which profile.
    async fn program(&self) -> Option<(String, Program)> {
        let name = self.name.clone().map(Cow::Owned);
        // What is wrong with the files the library finds, too.
        let all = load(&Fs::real(), &Env::real(), &EnvConfigFiles::default(), name).await.ok()?;
        let first = first(&all)?;
        let text = |name: &str| first.get(name).map(str::to_owned);
        let command = text("credential_process").filter(|_| !BEFORE.iter().any(|it| text(it).is_some()))?;
        let program = Program { command, account: text("aws_account_id"), http: self.http.clone() };
        Some((first.name().to_owned(), program))
    }
}

/// The profile with whose keys the way begins: with them the roles of the others are taken on.
fn first(all: &ProfileSet) -> Option<&profile::Profile> {
    let mut first = all.get_profile(all.selected_profile())?;
    // A way in circles is the library's to refuse.
    for _ in all.profiles() {
        match first.get("role_arn").and_then(|_| first.get("source_profile")) {
            Some(next) => first = all.get_profile(next)?,
            None => break,
        }
    }
    Some(first)
}

impl Program {
    async fn keys(&self) -> Result<Credentials, CredentialsError> {
        self.run().await.map_err(|how| {
            self.http.note(Trouble::Program(how));
            CredentialsError::provider_error("it prints no keys")
        })
    }

    /// `Err`: how it goes wrong.
    async fn run(&self) -> Result<Credentials, String> {
        let mut shell = bare("sh");
        shell.args(["-c", &self.command]);
        shell.envs(SETTINGS.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        match program::run(&mut shell, LARGEST).await.map_err(|error| format!("cannot be run: {error}"))? {
            Ended::TooLarge => Err(format!("prints more than {} KiB", LARGEST >> 10)),
            Ended::With(status, printed) if status.success() => {
                let read = leftover::wiped(|| read(&printed, self.account.as_deref()));
                read.map_err(|error| format!("prints no keys: {error}"))
            }
            Ended::With(status, _) => Err(how_it_ended(status)),
        }
    }
}

fn read(printed: &[u8], account: Option<&str>) -> Result<Credentials, JsonError> {
    let json = Json::read(printed)?;
    if json.at(&["Version"])?.whole()? != 1 {
        return Err(JsonError::Other { expected: "`Version` 1" });
    }
    let text = |name: &str| json.at(&[name])?.text();
    let until = json.maybe("Expiration", Json::text)?.map(|it| it.parse::<Timestamp>());
    let until =
        until.transpose().map_err(|_| JsonError::Other { expected: "the time of an `Expiration`" })?;
    let account = json.maybe("AccountId", Json::text)?.or_else(|| account.map(str::to_owned));
    let keys = Credentials::builder().provider_name("program");
    let mut keys = keys.access_key_id(text("AccessKeyId")?).secret_access_key(text("SecretAccessKey")?);
    keys.set_session_token(json.maybe("SessionToken", Json::text)?);
    keys.set_expiry(until.map(SystemTime::from));
    keys.set_account_id(account.map(Into::into));
    Ok(keys.build())
}

impl ProvideCredentials for Profile {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.keys())
    }
}

impl ProvideCredentials for Program {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.keys())
    }
}

/// Its command may hold a secret.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Program")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_nothing_is_quoted() {
        let whole = r#"{"Version": 1, "AccessKeyId": "AKID", "SecretAccessKey": "s", "SessionToken": "t",
            "Expiration": "2030-01-01T00:00:00+00:00", "AccountId": "111122223333"}"#;
        let keys = read(whole.as_bytes(), Some("444455556666")).unwrap();
        assert_eq!(
            (keys.access_key_id(), keys.secret_access_key(), keys.session_token()),
            ("AKID", "s", Some("t"))
        );
        assert_eq!(keys.expiry(), "2030-01-01T00:00:00Z".parse::<Timestamp>().ok().map(SystemTime::from));
        assert_eq!(keys.account_id().map(|it| it.as_str()), Some("111122223333"));
        let bare = r#"{"Version": 1, "AccessKeyId": "AKID", "SecretAccessKey": "s"}"#;
        let keys = read(bare.as_bytes(), Some("444455556666")).unwrap();
        assert!(keys.session_token().is_none() && keys.expiry().is_none());
        assert_eq!(keys.account_id().map(|it| it.as_str()), Some("444455556666"), "that of the profile");
        for wrong in [
            "hunter2",
            r#"{"AccessKeyId": "hunter2", "SecretAccessKey": "hunter2"}"#,
            r#"{"Version": 2, "AccessKeyId": "hunter2", "SecretAccessKey": "hunter2"}"#,
            r#"{"Version": 1, "AccessKeyId": "hunter2"}"#,
            r#"{"Version": 1, "AccessKeyId": "hunter2", "SecretAccessKey": 31337}"#,
            r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "Expiration": "hunter2"}"#,
        ] {
            let why = read(wrong.as_bytes(), None).unwrap_err().to_string();
            assert!(!why.contains("hunter2") && !why.contains("31337"), "{why}");
        }
    }
}
