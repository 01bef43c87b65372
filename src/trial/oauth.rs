//! A token is asked of an OAuth server (RFC 6749): for the client alone, or, if that is wanted, with the
//! refresh token, which some servers take only once. Uses `http`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::http::{self, Address, Answer, quoted};
use super::{Fields, Reach, Seen, Stop};
use crate::secret::{FieldName, SecretBytes};

/// What is told of an answer. Whatever else is in it is passed over.
#[derive(Deserialize)]
struct Told {
    access_token: Option<SecretBytes>,
    refresh_token: Option<SecretBytes>,
    expires_in: Option<i64>,
    error: Option<String>,
}

pub(super) async fn ask(
    fields: &Fields,
    reach: Reach,
    seen: &mut Seen,
    fresh: &mut BTreeMap<FieldName, SecretBytes>,
) -> Result<(), Stop> {
    let value = |name: &str| fields.get(name).map(SecretBytes::expose);
    let Some(url) = value("token_url") else {
        return Err(Stop::Unknown("it has no token_url that could be asked".into()));
    };
    let address = Address::parse(url).ok_or_else(|| Stop::Fails("its token_url is no URL".into()))?;
    let client = Client {
        address,
        id: value("client_id").unwrap_or_default(),
        secret: value("client_secret").unwrap_or_default(),
    };
    let refresh = value("refresh_token").filter(|_| reach.refresh);
    let told = match refresh {
        Some(token) => {
            client.ask(&[("grant_type", b"refresh_token"), ("refresh_token", token)], seen).await?
        }
        None => client.ask(&[("grant_type", b"client_credentials")], seen).await?,
    };
    match (told.error.as_deref(), &told.access_token, refresh.is_some()) {
        (None, Some(_), true) => {
            keep(told, fresh);
            seen.push("it gave an access token for the refresh token".into());
            Ok(())
        }
        (None, Some(_), false) => {
            seen.push("it gave an access token to the client".into());
            Ok(())
        }
        (Some("invalid_client"), ..) => {
            Err(Stop::Fails("its server does not know this client and secret".into()))
        }
        (Some("invalid_grant"), _, true) => {
            Err(Stop::Fails("its server does not take the refresh token any more".into()))
        }
        (Some("unauthorized_client"), _, false) => {
            seen.push("it knows the client, and gives it no token for itself".into());
            Ok(())
        }
        (Some("unsupported_grant_type"), _, false) => {
            Err(Stop::Unknown("its server gives no token to a client for itself".into()))
        }
        (Some(error), ..) if is_word(error) => Err(Stop::Fails(format!("its server refuses ({error})"))),
        _ => Err(Stop::strange("an OAuth server")),
    }
}

/// Of those that the standard has: anything else could be a piece of what was sent.
fn is_word(error: &str) -> bool {
    ["invalid_request", "invalid_grant", "invalid_scope", "unauthorized_client", "unsupported_grant_type"]
        .contains(&error)
}

struct Client<'a> {
    address: Address<'a>,
    id: &'a [u8],
    secret: &'a [u8],
}

impl Client<'_> {
    /// With its login in the head, as every server must take it; else in the form.
    async fn ask(&self, grant: &[(&str, &[u8])], seen: &mut Seen) -> Result<Told, Stop> {
        let login = Zeroizing::new(format!("{}:{}", *quoted(self.id), *quoted(self.secret)));
        let login = Zeroizing::new(format!("Basic {}", *Zeroizing::new(STANDARD.encode(&*login))));
        let answer = http::post(&self.address, grant, Some(login.as_bytes())).await?;
        seen.push("its server is there".into());
        let told = read(&answer)?;
        if told.error.as_deref() != Some("invalid_client") {
            return Ok(told);
        }
        let form = [grant, &[("client_id", self.id), ("client_secret", self.secret)]].concat();
        read(&http::post(&self.address, &form, None).await?)
    }
}

fn read(answer: &Answer) -> Result<Told, Stop> {
    let told: Option<Told> = serde_json::from_slice(answer.body.expose()).ok();
    match (told, answer.status) {
        (Some(told), 200 | 400 | 401 | 403) => Ok(told),
        (_, status) => Err(Stop::Fails(format!("its server answers with HTTP {status}, and no token"))),
    }
}

/// The tokens that are to be kept in place of those before.
fn keep(told: Told, fresh: &mut BTreeMap<FieldName, SecretBytes>) {
    let mut put = |name, value: &[u8]| {
        fresh.extend(FieldName::parse(name).ok().map(|name| (name, SecretBytes::copy_of(value))));
    };
    let tokens = [("access_token", told.access_token), ("refresh_token", told.refresh_token)];
    for (name, token) in tokens {
        token.iter().for_each(|token| put(name, token.expose()));
    }
    let end = told
        .expires_in
        .and_then(|seconds| Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).ok());
    end.iter().for_each(|end| put("expires_at", end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().as_bytes()));
}
