//! Secrets of AWS, judged: which of its services, where, and as whom it is asked. Pure.

use super::auth;
use super::network::{Refused, transport};
use super::ruled::Blur;
use super::source::{SecretSource, TextSource};
use crate::config::base::Base;
use crate::config::raw;
use crate::config::scalar::Label;
use crate::config::transport::{Address, Transport};

/// One of its two places for secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsService {
    SecretsManager,
    Parameters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSecrets {
    pub service: AwsService,
    /// Another place than the usual one of the region.
    pub endpoint: Option<Transport>,
    pub region: Option<String>,
    /// Whose the secrets are: an answer of another one is none.
    pub account: Option<String>,
    /// Whether a secret has but one name, because rules of the config are about secrets.
    pub has_one_name: bool,
    /// What the names there begin with.
    pub prefix: String,
    pub identity: AwsIdentity,
}

/// As whom AWS is asked: what is not said is looked for where every program of AWS looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsIdentity {
    pub keys: Option<AwsKeyPair>,
    pub profile: Option<String>,
    /// To be assumed, with what its account wants to be told.
    pub role: Option<String>,
    pub external_id: Option<String>,
    /// Where STS is asked, if not where it usually is.
    pub sts: Option<Address>,
    pub metadata: Option<Address>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKeyPair {
    pub id: TextSource,
    pub secret: SecretSource,
    pub session: Option<SecretSource>,
}

impl AwsSecrets {
    pub(super) fn place(&self) -> (String, String) {
        let service = match self.service {
            AwsService::SecretsManager => "aws-sm",
            AwsService::Parameters => "aws-ssm",
        };
        let endpoint = self.endpoint.as_ref().map_or_else(String::new, |it| it.address.to_string());
        let region = self.region.as_deref().unwrap_or_default();
        let account = self.account.as_ref().map_or_else(String::new, |it| format!(" {it}"));
        (format!("{service} {region} {endpoint}{account}"), self.prefix.clone())
    }

    pub fn takes_arns(&self) -> bool {
        self.prefix.starts_with("arn:")
    }

    /// By the config alone.
    pub(super) fn has_known_region(&self) -> bool {
        self.region.is_some() || self.takes_arns()
    }

    /// As far as the config says it.
    fn known_account(&self) -> Option<&str> {
        let of_prefix = if self.takes_arns() { self.prefix.split(':').nth(4) } else { None };
        self.account.as_deref().or(of_prefix.filter(|it| it.len() == 12))
    }

    /// Why nobody can say whether two have the same secrets, and what would tell.
    pub(super) fn blurs_with(&self, other: &Self) -> Option<Blur> {
        let differ = |one: Option<&str>, other: Option<&str>| one.zip(other).map(|(one, other)| one != other);
        let address = |it: &Self| it.endpoint.as_ref().map(|it| it.address.to_string());
        let accounts = differ(self.known_account(), other.known_account());
        let regions = differ(self.region.as_deref(), other.region.as_deref());
        let addresses = differ(address(self).as_deref(), address(other).as_deref());
        if self.service != other.service || accounts == Some(true) || regions == Some(true) {
            return None;
        }
        match (addresses, accounts) {
            // Nobody has said that they are the same.
            (Some(true), None) => None,
            (None, _) if address(self) != address(other) => {
                Some(("may be of one place", "say an `address` in both, or a `region` of its own in each"))
            }
            _ if self.region != other.region => Some(("may be of one region", "say the `region` in both")),
            // Each profile may have one of its own.
            _ if self.region.is_none() && self.identity != other.identity => {
                Some(("may be of two regions", "say the `region` in both"))
            }
            (Some(true), Some(_)) => {
                Some(("are of one account and region", "say the same `address` in both, or take one out"))
            }
            (_, None) if self.identity != other.identity => {
                Some(("may be of one account", "say the number of the `account` in both, in quotes"))
            }
            _ if self.account != other.account => {
                Some(("are of one account", "say the number of the `account` in both, in quotes"))
            }
            _ if self.takes_arns() != other.takes_arns() => {
                Some(("have two names for each secret", "let both take names, or both take ARNs"))
            }
            _ => None,
        }
    }

    pub(super) fn asker(&self) -> Vec<String> {
        let AwsIdentity { keys, profile, role, external_id, .. } = &self.identity;
        let keys = keys.as_ref().map_or_else(String::new, |it| format!("{} {}", it.id.words(), it.secret));
        let others = [profile, role, external_id].map(|it| it.clone().unwrap_or_default());
        [vec![keys], others.to_vec()].concat()
    }
}

/// Where every program of AWS looks for keys, or for what gives it some.
const VARIABLES: [&str; 4] =
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"];

impl AwsKeyPair {
    /// Takes it out of the settings, if it is there. `Err` says what is missing of it.
    pub(super) fn taken(auth: &mut raw::Auth, base: &Base<'_>) -> Result<Option<Self>, &'static str> {
        let session = auth.session_token.0.take().map(|it| it.under(base));
        match (auth.access_key_id.0.take(), auth.secret_access_key.0.take()) {
            (Some(id), Some(secret)) => {
                Ok(Some(Self { id: id.under(base), secret: secret.under(base), session }))
            }
            (None, None) if session.is_none() => Ok(None),
            _ => Err("an `access_key_id` and a `secret_access_key` belong together"),
        }
    }

    fn secrets(&self) -> Vec<&SecretSource> {
        let id = match &self.id {
            TextSource::From(source) => Some(source),
            TextSource::Text(_) => None,
        };
        id.into_iter().chain([&self.secret]).chain(&self.session).collect()
    }
}

impl AwsIdentity {
    pub(super) fn secrets(&self) -> Vec<&SecretSource> {
        self.keys.iter().flat_map(AwsKeyPair::secrets).collect()
    }

    /// Those that may say who we are.
    pub(super) fn variables(&self) -> &'static [&'static str] {
        if self.keys.is_none() && self.profile.is_none() { &VARIABLES } else { &[] }
    }

    /// The id of the keys and their secret, or where they are looked for first.
    pub fn words(&self) -> [String; 2] {
        match &self.keys {
            Some(keys) => [keys.id.words(), keys.secret.to_string()],
            None => [VARIABLES[0], VARIABLES[1]].map(|name| format!("${{{name}}}")),
        }
    }

    fn judge(&self) -> Result<(), Refused> {
        let problem = match self {
            Self { keys: Some(_), profile: Some(_), .. } => "no `profile` beside an `access_key_id`",
            Self { keys: Some(_), metadata: Some(_), .. } => "no `metadata` beside an `access_key_id`",
            Self { profile: Some(_), metadata: Some(_), .. } => "no `metadata` beside a `profile`",
            Self { role: None, external_id: Some(_), .. } => "an `external_id` is told with a `role`",
            Self { role: None, sts: Some(_), .. } => "an `sts_endpoint` is asked for a `role`",
            _ => return Ok(()),
        };
        Err(("auth", problem.to_owned()))
    }
}

pub(super) fn judge(
    service: AwsService,
    given: &mut raw::Provider,
    base: &Base<'_>,
) -> Result<AwsSecrets, Refused> {
    let mut auth = given.auth.take().unwrap_or_default();
    let endpoint = match given.address.0.is_some() {
        true => Some(transport(given, base)?),
        false if given.tls.is_some() => {
            return Err(("tls", "the usual address of AWS takes none: name one as `address`".to_owned()));
        }
        false => None,
    };
    let plain = |it: Option<crate::config::reaction::Argument>| it.map(|it| it.0);
    let keys = AwsKeyPair::taken(&mut auth, base).map_err(|why| ("auth", why.to_owned()))?;
    let identity = AwsIdentity {
        keys,
        profile: plain(auth.profile.0.take()),
        role: plain(auth.role.0.take()),
        external_id: plain(auth.external_id.0.take()),
        sts: auth.sts_endpoint.0.take(),
        metadata: auth.metadata.0.take().map(|it| it.0),
    };
    auth::refuse_rest(&auth, "a provider of this type")?;
    identity.judge()?;
    let region = given.region.0.take().map(|it: Label| it.0);
    let account = given.account.0.take().map(|it| it.0);
    let prefix = given.prefix.0.take().map_or_else(String::new, |it| it.0);
    judge_account(account.as_deref(), &prefix, &identity)?;
    Ok(AwsSecrets { service, endpoint, region, account, has_one_name: false, prefix, identity })
}

/// Names are those of the account of who asks; an ARN says whose it is.
fn judge_account(account: Option<&str>, prefix: &str, identity: &AwsIdentity) -> Result<(), Refused> {
    let (what, arn) = match prefix.starts_with("arn:") {
        true => ("prefix", Some(prefix)),
        false => ("role", identity.role.as_deref()),
    };
    let named = arn.and_then(|arn| arn.split(':').nth(4)).filter(|it| it.len() == 12);
    match account.zip(named) {
        Some((account, named)) if account != named => {
            Err(("account", format!("the `{what}` is of the account {named}")))
        }
        _ => Ok(()),
    }
}

#[cfg(all(test, feature = "aws"))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, ProviderConfig, RemoteSource};

    fn parse(settings: &str) -> Result<AwsSecrets, String> {
        let text = format!("providers:\n  a: {{{settings}}}\n");
        let config = Config::parse(Path::new("/etc/secretfs.yaml"), &text).map_err(|it| it.to_string())?;
        let ProviderConfig::Remote(remote) = &config.providers["a"] else { panic!() };
        let RemoteSource::Aws(aws) = &remote.source else { panic!() };
        Ok((**aws).clone())
    }

    #[test]
    fn who_asks_and_where() {
        let bare = parse("type: aws-sm").unwrap();
        assert_eq!((bare.service, &bare.identity), (AwsService::SecretsManager, &AwsIdentity::default()));
        assert!(bare.endpoint.is_none() && bare.region.is_none() && bare.prefix.is_empty());
        let full = parse(
            "type: aws-ssm, region: eu-central-1, prefix: /app/, address: 'http://127.0.0.1:5000', auth: \
             {access_key_id: 'store:aws#id', secret_access_key: 'store:aws#secret', \
             role: 'arn:aws:iam::111122223333:role/app', external_id: x, sts_endpoint: 'http://127.0.0.1:5000'}",
        );
        let AwsSecrets { service, endpoint, identity, .. } = full.unwrap();
        assert_eq!(service, AwsService::Parameters);
        assert_eq!(endpoint.unwrap().address.port, 5000);
        assert_eq!(identity.keys.unwrap().secret.to_string(), "store:aws#secret");
        assert_eq!(identity.external_id.as_deref(), Some("x"));
    }

    #[test]
    fn where_rules_are_nobody_may_have_to_guess_whether_two_are_one() {
        let rule = "policy: [{secrets: ['x'], deny: anyone}]\n";
        let judge = |one: &str, other: &str, rule: &str| {
            let text =
                format!("providers:\n  a: {{type: aws-sm, {one}}}\n  b: {{type: aws-sm, {other}}}\n{rule}");
            Config::parse(Path::new("/c.yaml"), &text).map(drop).map_err(|it| it.to_string())
        };
        let [dev, prod] = ["dev", "prod"].map(|it| format!("region: r, auth: {{profile: {it}}}"));
        let of = |settings: &str, account: &str| format!("{settings}, account: '{account}'");
        let (one, two) = ("111122223333", "444455556666");
        for (this, that, says) in [
            (&*dev, &*prod, "may be of one account"),
            (&of(&dev, one), &prod, "may be of one account"),
            ("region: r", "timeout: 1s", "may be of one region"),
            (&of("auth: {profile: dev}", one), &of("auth: {profile: prod}", one), "may be of two regions"),
            ("region: r", "region: r, address: 'https://vpce.example.com'", "may be of one place"),
            (&of(&dev, one), &of("region: r, address: 'https://x.example.com'", one), "may be of one place"),
            (
                &of(&dev, one),
                "region: r, prefix: 'arn:aws:secretsmanager:r:111122223333:secret:'",
                "are of one account",
            ),
        ] {
            let error = judge(this, that, rule).unwrap_err();
            assert!(error.contains(says), "{this} {that}: {error}");
            assert!(judge(this, that, "").is_ok(), "the control: {this} {that}");
        }
        for (this, that) in [
            (of(&dev, one), of(&prod, two)),
            (of(&dev, one), of(&prod, one)),
            (dev.clone(), dev.clone()),
            (dev.clone(), prod.replace("region: r", "region: s")),
            ("timeout: 1s".to_owned(), "timeout: 2s".to_owned()),
            ("address: 'https://a'".to_owned(), "address: 'https://b', auth: {profile: p}".to_owned()),
        ] {
            let outcome = judge(&this, &that, rule);
            assert!(outcome.is_ok(), "{this} {that}: {outcome:?}");
        }
        let one_name = format!("providers: {{a: {{type: aws-ssm}}}}\n{rule}");
        let config = Config::parse(Path::new("/c.yaml"), &one_name).unwrap();
        let ProviderConfig::Remote(remote) = &config.providers["a"] else { panic!() };
        assert!(matches!(&remote.source, RemoteSource::Aws(aws) if aws.has_one_name));
        assert_eq!(remote.limits.per_second, Some(30));
    }

    #[test]
    fn copies_are_kept_where_the_region_is_said() {
        let mirrored = |settings: &str| parse(&format!("type: aws-sm{settings}, cache: {{mirror: true}}"));
        assert!(mirrored("").unwrap_err().contains("`mirror` wants a `region`"));
        assert!(parse("type: aws-sm").is_ok(), "the control");
        assert!(mirrored(", region: r").is_ok());
        assert!(mirrored(", prefix: 'arn:aws:secretsmanager:r:111122223333:secret:'").is_ok());
    }

    #[test]
    fn an_account_is_part_of_the_place() {
        let place = |settings: &str| parse(&format!("type: aws-sm, region: r{settings}")).unwrap().place().0;
        assert_eq!(place(""), "aws-sm r ", "copies have names that are made of this");
        assert_eq!(place(", account: '012345678901'"), "aws-sm r  012345678901");
        for (settings, says) in [
            ("account: '1234'", "12 digits"),
            (
                "account: '123456789012', auth: {role: 'arn:aws:iam::111122223333:role/x'}",
                "`role` is of the account 111122223333",
            ),
            (
                "account: '123456789012', prefix: 'arn:aws:secretsmanager:r:111122223333:secret:'",
                "`prefix` is of",
            ),
        ] {
            let error = parse(&format!("type: aws-sm, {settings}")).unwrap_err();
            assert!(error.contains(says), "{settings}: {error}");
        }
    }

    #[test]
    fn variables_that_may_say_who_we_are_are_our_own() {
        let own = |settings: &str| {
            let text = format!("providers:\n  a: {{{settings}}}\n");
            Config::parse(Path::new("/c.yaml"), &text).unwrap().own_variables()
        };
        let all = VARIABLES.map(str::to_owned).into();
        assert_eq!(own("type: aws-ssm, auth: {role: 'arn:aws:iam::111122223333:role/app'}"), all);
        #[cfg(feature = "vault")]
        assert_eq!(own("type: vault, address: 'https://v', auth: {method: aws}"), all);
        let keys = own("type: aws-sm, auth: {access_key_id: AKIA, secret_access_key: '${S}'}");
        assert_eq!(keys, ["S".to_owned()].into());
        assert!(own("type: aws-sm, auth: {profile: p}").is_empty(), "they are the user's");
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let keys = "access_key_id: AKIA, secret_access_key: '${S}'";
        for (settings, says) in [
            ("auth: {access_key_id: AKIA}".to_owned(), "belong together"),
            (format!("auth: {{{keys}, profile: p}}"), "no `profile` beside"),
            (format!("auth: {{{keys}, metadata: 'http://169.254.169.254'}}"), "no `metadata` beside"),
            ("auth: {external_id: x}".to_owned(), "told with a `role`"),
            ("auth: {sts_endpoint: 'https://sts.example.com'}".to_owned(), "asked for a `role`"),
            ("auth: {method: aws}".to_owned(), "takes no `method`"),
            ("tls: {ca: /ca.pem}".to_owned(), "name one as `address`"),
            ("namespace: x".to_owned(), "takes no `namespace`"),
        ] {
            let error = parse(&format!("type: aws-sm, {settings}")).unwrap_err();
            assert!(error.contains(says), "{settings}: {error}");
        }
    }
}
