//! What a file of credentials says, as gcloud and Google's console write them. What it asks for and we do not do is
//! refused in words; nothing of it is shown but names. Pure.

use crate::config::Address;
use crate::net::{Json, JsonError, Route};
use crate::secret::SecretBytes;

/// Who somebody is, and where that can be had confirmed.
pub(super) struct Credentials {
    pub(super) kind: Kind,
    /// Who pays for the question, if it is not the secret's project.
    pub(super) quota_project: Option<String>,
}

pub(super) enum Kind {
    /// A service account by its key.
    Key { email: String, id: String, key: SecretBytes },
    /// A person who has logged in.
    User { client: Client, refresh_token: SecretBytes, token_url: Place },
    /// Somebody whom another authority vouches for (workload identity federation).
    External(Box<External>),
    /// A service account whose part somebody else may play.
    Impersonated { url: Place, delegates: Vec<String>, by: Box<Kind> },
}

pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: SecretBytes,
}

pub(super) struct External {
    pub(super) audience: String,
    pub(super) token_type: String,
    pub(super) token_url: Place,
    pub(super) client: Option<Client>,
    /// Of a workforce.
    pub(super) user_project: Option<String>,
    pub(super) subject: Subject,
    /// Its token is a member of an object of JSON; else it is all of the text.
    pub(super) member: Option<String>,
}

/// Where the other authority's token is.
pub(super) enum Subject {
    File(String),
    Url { place: Place, headers: Vec<(String, SecretBytes)> },
}

/// A URL that somebody else has written.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) address: Address,
    pub(super) route: Route,
}

/// What is wrong with a file of credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("is no file of credentials of Google: {0}")]
    Broken(String),
    #[error("is of the type `{0}`, which is not known here")]
    Type(String),
    #[error("has a `{0}` that is no https:// address (http:// is for this machine only)")]
    Url(&'static str),
    #[error("{0}")]
    Refused(&'static str),
}

const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const OF_AWS: &str =
    "is a federation with AWS as its source, which is not known here: use one of a file or a URL";
const OF_PROGRAM: &str =
    "has an `executable` as its source, which is not run here: use one of a file or a URL";
const OF_CERTIFICATE: &str =
    "has a certificate as its source, which is not known here: use one of a file or a URL";
const NO_SOURCE: &str = "has a `credential_source` without a `file` or a `url`";
const NESTED: &str = "impersonates by way of another impersonation: name the accounts between as `delegates`";
const UNIVERSE: &str = "is of another universe than googleapis.com, which is not known here";

/// In the words of a file, not of an answer.
impl From<JsonError> for Unusable {
    fn from(error: JsonError) -> Self {
        Self::Broken(match error {
            JsonError::Missing(name) => format!("it has no `{name}`"),
            JsonError::Other { expected } => format!("it has something else where {expected} belongs"),
            JsonError::Broken { line, column } => format!("it is no JSON (line {line}, column {column})"),
            JsonError::Deep | JsonError::Twice => "it is no JSON that can be read in one way only".to_owned(),
        })
    }
}

impl Credentials {
    pub(super) fn read(text: &SecretBytes) -> Result<Self, Unusable> {
        let json = Json::read(text.expose())?;
        let universe = optional(json, "universe_domain")?;
        if universe.is_some_and(|it| it != "googleapis.com") {
            return Err(Unusable::Refused(UNIVERSE));
        }
        let quota_project = optional(json, "quota_project_id")?;
        Ok(Self { kind: Kind::of(json)?, quota_project })
    }
}

impl Kind {
    fn of(json: Json<'_>) -> Result<Self, Unusable> {
        let kind = match text(json, "type")?.as_str() {
            "service_account" => Self::Key {
                email: text(json, "client_email")?,
                id: text(json, "private_key_id")?,
                key: json.at(&["private_key"])?.secret()?,
            },
            "authorized_user" => Self::User {
                client: Client {
                    id: text(json, "client_id")?,
                    secret: json.at(&["client_secret"])?.secret()?,
                },
                refresh_token: json.at(&["refresh_token"])?.secret()?,
                token_url: match optional(json, "token_uri")? {
                    Some(url) => Place::of_server("token_uri", &url)?,
                    None => Place::of_server("token_uri", TOKEN_URL)?,
                },
            },
            "external_account" => Self::External(Box::new(External::of(json)?)),
            "impersonated_service_account" => {
                let by = Self::of(json.at(&["source_credentials"])?)?;
                let delegates = json.maybe("delegates", Json::items)?.unwrap_or_default();
                let delegates = delegates.into_iter().map(Json::text).collect::<Result<_, _>>()?;
                return by.impersonating(&text(json, IMPERSONATION)?, delegates);
            }
            other => return Err(Unusable::Type(word(other))),
        };
        match optional(json, IMPERSONATION)? {
            Some(url) => kind.impersonating(&url, Vec::new()),
            None => Ok(kind),
        }
    }

    fn impersonating(self, url: &str, delegates: Vec<String>) -> Result<Self, Unusable> {
        if matches!(self, Self::Impersonated { .. }) {
            return Err(Unusable::Refused(NESTED));
        }
        let url = Place::of_server(IMPERSONATION, url)?;
        Ok(Self::Impersonated { url, delegates, by: Box::new(self) })
    }

    /// Whom Google takes us for.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Key { email, .. } => format!("service account {email}"),
            Self::User { .. } => "a user's own login".to_owned(),
            Self::External(_) => "federated identity".to_owned(),
            Self::Impersonated { url, .. } => {
                let account = url.route.as_str().rsplit('/').next().unwrap_or_default();
                format!("service account {}, impersonated", account.trim_end_matches(":generateAccessToken"))
            }
        }
    }
}

const IMPERSONATION: &str = "service_account_impersonation_url";

impl External {
    fn of(json: Json<'_>) -> Result<Self, Unusable> {
        let source = json.at(&["credential_source"])?;
        let client = match (optional(json, "client_id")?, json.get("client_secret")?) {
            (Some(id), Some(secret)) => Some(Client { id, secret: secret.secret()? }),
            _ => None,
        };
        let format = source.get("format")?;
        let kind = format.map(|it| optional(it, "type")).transpose()?.flatten();
        let member = match (kind.as_deref(), format) {
            (Some("json"), Some(format)) => Some(text(format, "subject_token_field_name")?),
            (None | Some("text"), _) => None,
            (Some(other), _) => return Err(Unusable::Type(word(other))),
        };
        Ok(Self {
            audience: text(json, "audience")?,
            token_type: text(json, "subject_token_type")?,
            token_url: Place::of_server("token_url", &text(json, "token_url")?)?,
            client,
            user_project: optional(json, "workforce_pool_user_project")?,
            subject: Subject::of(source)?,
            member,
        })
    }
}

impl Subject {
    fn of(source: Json<'_>) -> Result<Self, Unusable> {
        for (member, why) in
            [("environment_id", OF_AWS), ("executable", OF_PROGRAM), ("certificate", OF_CERTIFICATE)]
        {
            if source.get(member)?.is_some() {
                return Err(Unusable::Refused(why));
            }
        }
        if let Some(path) = optional(source, "file")? {
            return Ok(Self::File(path));
        }
        let url = optional(source, "url")?.ok_or(Unusable::Refused(NO_SOURCE))?;
        let headers = source.maybe("headers", Json::members)?.unwrap_or_default();
        let header =
            |(name, value): (std::borrow::Cow<'_, str>, Json<'_>)| Ok((name.into_owned(), value.secret()?));
        let headers = headers.into_iter().map(header).collect::<Result<_, JsonError>>()?;
        let place = Place::of(&url).ok_or(Unusable::Url("credential_source.url"))?;
        Ok(Self::Url { place, headers })
    }
}

impl Place {
    /// Also of what tells a machine of a cloud about itself.
    fn of(url: &str) -> Option<Self> {
        Route::of_url(url).map(|(address, route)| Self { address, route })
    }

    /// To which credentials are sent.
    fn of_server(name: &'static str, url: &str) -> Result<Self, Unusable> {
        Self::of(url).filter(|it| !it.address.is_metadata()).ok_or(Unusable::Url(name))
    }
}

fn text(json: Json<'_>, name: &str) -> Result<String, Unusable> {
    Ok(json.at(&[name])?.text()?)
}

fn optional(json: Json<'_>, name: &str) -> Result<Option<String>, JsonError> {
    json.maybe(name, Json::text)
}

/// What is no word is not shown.
fn word(text: &str) -> String {
    let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let is_word = !text.is_empty() && text.len() < 64 && text.bytes().all(is_fit);
    if is_word { text.to_owned() } else { "?".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Credentials, Unusable> {
        Credentials::read(&SecretBytes::copy_of(text.as_bytes()))
    }

    const KEY: &str = r#"{"type": "service_account", "project_id": "p", "client_email": "a@p.example", "private_key_id": "id",
        "private_key": "31337", "token_uri": "http://evil.example/", "universe_domain": "googleapis.com"}"#;
    const USER: &str = r#"{"type": "authorized_user", "client_id": "c", "client_secret": "31337", "refresh_token": "31337",
        "quota_project_id": "q"}"#;
    const URL: &str = "https://iam.example/v1/projects/-/serviceAccounts/b@p.example:generateAccessToken";

    fn external(source: &str) -> String {
        format!(
            r#"{{"type": "external_account", "audience": "//iam/x", "subject_token_type": "jwt",
            "token_url": "https://sts.example/v1/token", "credential_source": {source}}}"#
        )
    }

    #[test]
    fn each_kind_is_read() {
        let key = read(KEY).ok().unwrap();
        assert!(matches!(key.kind, Kind::Key { .. }) && key.kind.name() == "service account a@p.example");
        let user = read(USER).ok().unwrap();
        let Kind::User { token_url, .. } = &user.kind else { panic!() };
        assert_eq!(
            (token_url.address.host.as_str(), token_url.route.as_str()),
            ("oauth2.googleapis.com", "/token")
        );
        assert_eq!(user.quota_project.as_deref(), Some("q"));
        let by = format!(
            r#"{{"type": "impersonated_service_account", "{IMPERSONATION}": "{URL}", "source_credentials": {USER}}}"#
        );
        let impersonated = read(&by).ok().unwrap();
        assert_eq!(impersonated.kind.name(), "service account b@p.example, impersonated");
        let file = read(&external(
            r#"{"file": "/t", "format": {"type": "json", "subject_token_field_name": "id"}}"#,
        ));
        let Ok(Credentials { kind: Kind::External(it), .. }) = file else { panic!() };
        assert!(
            matches!(&it.subject, Subject::File(path) if path == "/t") && it.member.as_deref() == Some("id")
        );
        let url = external(r#"{"url": "http://169.254.169.254/x?y=1", "headers": {"Metadata": "True"}}"#);
        let Ok(Credentials { kind: Kind::External(it), .. }) = read(&url) else { panic!() };
        let Subject::Url { place, headers } = &it.subject else { panic!() };
        assert!(
            place.route.as_str() == "/x?y=1" && headers[0].0 == "Metadata" && headers[0].1.same_as(b"True")
        );
    }

    #[test]
    fn what_is_not_done_is_said_and_nothing_is_shown() {
        let user = |token_uri: &str| USER.replacen('{', &format!(r#"{{"token_uri": "{token_uri}","#), 1);
        let nested = format!(
            r#"{{"type": "impersonated_service_account", "{IMPERSONATION}": "{URL}", "source_credentials":
            {{"type": "impersonated_service_account", "{IMPERSONATION}": "{URL}", "source_credentials": {USER}}}}}"#
        );
        for (text, why) in [
            ("31337".to_owned(), "something else where an object belongs"),
            ("{\"type\": \"31337".to_owned(), "no JSON"),
            ("{}".to_owned(), "no `type`"),
            (r#"{"type": "31337"}"#.to_owned(), "the type `?`"),
            (r#"{"type": "gdch_service_account"}"#.to_owned(), "the type `gdch_service_account`"),
            (KEY.replace("client_email", "x"), "no `client_email`"),
            (KEY.replace("googleapis.com", "other"), "another universe"),
            (user("http://evil.example/31337"), "`token_uri` that is no https://"),
            (user("http://169.254.169.254/token"), "`token_uri` that is no https://"),
            (user("https://x@evil.example/token"), "`token_uri` that is no https://"),
            (nested, "delegates"),
            (external(r#"{"environment_id": "aws1"}"#), "AWS"),
            (external(r#"{"executable": {"command": "31337"}}"#), "executable"),
            (external(r#"{"certificate": {}}"#), "certificate"),
            (external(r#"{"x": "31337"}"#), "without a `file`"),
            (external(r#"{"url": "http://evil.example/31337"}"#), "`credential_source.url`"),
            (external(r#"{"file": "/t", "format": {"type": "json"}}"#), "no `subject_token_field_name`"),
        ] {
            let error = read(&text).err().unwrap_or_else(|| panic!("{text}")).to_string();
            assert!(error.contains(why) && !error.contains("31337"), "{error}");
        }
    }
}
