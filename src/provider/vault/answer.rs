//! What an answer of a Vault holds: fields, versions, leases. Nothing is asked here; pure but for the clock.

use jiff::{SignedDuration, Timestamp};

use super::api::{json, odd};
use crate::net::{Json, JsonError, Response};
use crate::provider::ProviderError;
use crate::provider::fields::{Fields, MOST};
use crate::secret::{FieldName, SecretBytes, SecretType, SecretVersion};

/// Of a question to a KV 2.
pub(super) enum Found {
    Version(Box<SecretVersion>),
    /// This version, or the newest, was deleted or destroyed.
    Gone(Option<u64>),
    Nothing,
    /// It is no KV 2.
    Other,
    Refusal,
}

/// Of a question to anything else.
pub(super) struct Plain {
    pub(super) fields: Fields,
    pub(super) lease: Option<Lent>,
}

/// What ends by itself.
pub(super) struct Lent {
    pub(super) by: Tie,
    /// In seconds. 0: a lease without an end, or a certificate that has ended.
    pub(super) ttl: u64,
    pub(super) is_renewable: bool,
}

impl Lent {
    /// When it ends whatever we do: a lease may be renewed.
    pub(super) fn end(&self) -> Option<Timestamp> {
        let time = SignedDuration::from_secs(self.ttl.try_into().ok()?);
        match self.by {
            Tie::Certificate(_) => Timestamp::now().checked_add(time).ok(),
            Tie::Lease(_) => None,
        }
    }
}

/// By what it is known where it comes from.
pub(super) enum Tie {
    /// It can be renewed and given back, and ends with the token that it was made with.
    Lease(String),
    /// Its serial number. Nothing but its own end ends it, if nobody revokes it.
    Certificate(String),
}

pub(super) fn versioned(response: &Response) -> Result<Found, ProviderError> {
    match response.status() {
        200 => Ok(version(json(response)?)?.map_or(Found::Other, Found::Version)),
        404 => missing(response).map_err(odd),
        _ => Ok(Found::Refusal),
    }
}

/// A secret that was deleted is answered with what is left of it.
/// Only a Vault itself says that there is nothing: whatever stands before it, and a route that is gone, has
/// a 404 of its own.
pub(super) fn missing(response: &Response) -> Result<Found, JsonError> {
    let Ok(answer) = response.json() else { return Ok(Found::Refusal) };
    if let Some(metadata) = answer.get("data")?.map(|data| data.get("metadata")).transpose()?.flatten() {
        return Ok(Found::Gone(metadata.get("version")?.map(Json::whole).transpose()?));
    }
    let errors = answer.get("errors")?.map(Json::items).transpose()?;
    let has_warnings =
        answer.get("warnings")?.is_some_and(|warnings| warnings.items().is_ok_and(|it| !it.is_empty()));
    Ok(match () {
        () if has_warnings => Found::Other,
        () if errors.is_some_and(|errors| errors.is_empty()) => Found::Nothing,
        () => Found::Refusal,
    })
}

/// Read by its own path, past what tells versions apart.
pub(super) fn is_of_kv2(response: &Response) -> bool {
    response
        .json()
        .is_ok_and(|it| it.at(&["data", "metadata", "version"]).is_ok() && it.at(&["data", "data"]).is_ok())
}

/// `None`: it is not of a KV 2.
fn version(answer: Json<'_>) -> Result<Option<Box<SecretVersion>>, ProviderError> {
    let data = answer.at(&["data"]).map_err(odd)?;
    let (members, metadata) = (data.get("data").map_err(odd)?, data.get("metadata").map_err(odd)?);
    let (Some(members), Some(metadata)) = (members, metadata) else { return Ok(None) };
    let number = metadata.at(&["version"]).and_then(Json::whole).map_err(odd)?;
    let created_at = moment(metadata, "created_time").map_err(odd)?;
    let created_at =
        created_at.ok_or_else(|| odd(JsonError::Missing("data.metadata.created_time".to_owned())))?;
    let fields = fields(members)?;
    Ok(Some(Box::new(SecretVersion {
        turned_out: None,
        kind: kind_of(&fields),
        fields,
        version: number,
        created_at,
        updated_at: created_at,
        expires_at: moment(metadata, "deletion_time").map_err(odd)?,
        uses: None,
    })))
}

/// None, if there is none or it is empty.
fn moment(metadata: Json<'_>, name: &str) -> Result<Option<Timestamp>, JsonError> {
    let text = metadata.get(name)?.map(Json::text).transpose()?.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|_| JsonError::Other { expected: "a time" })).transpose()
}

/// What can be no field is not one; nor is nothing.
fn fields(data: Json<'_>) -> Result<Fields, ProviderError> {
    fields_by(data, |json| json.value())
}

fn fields_by(data: Json<'_>, value: impl Fn(Json<'_>) -> SecretBytes) -> Result<Fields, ProviderError> {
    let members = data.members().map_err(odd)?.into_iter().filter(|(_, value)| !value.is_null());
    let fields = members.filter_map(|(name, it)| Some((FieldName::parse(&name).ok()?, value(it))));
    let fields: Fields = fields.collect();
    match fields.len() <= MOST {
        true => Ok(fields),
        false => Err(ProviderError::Invalid(format!("a secret has more than {MOST} fields"))),
    }
}

pub(super) fn kind_of(fields: &Fields) -> SecretType {
    let is_plain = fields.len() == 1 && fields.contains_key(FieldName::VALUE);
    if is_plain { SecretType::Plain } else { SecretType::Custom }
}

pub(super) fn plain(response: &Response) -> Result<Plain, ProviderError> {
    let answer = json(response)?;
    Ok(Plain { fields: fields(answer.at(&["data"]).map_err(odd)?)?, lease: lent(answer).map_err(odd)? })
}

/// What was made of what we have sent.
pub(super) fn made(response: &Response) -> Result<Plain, ProviderError> {
    let answer = json(response)?;
    let data = answer.at(&["data"]).map_err(odd)?;
    let lease = lent(answer).map_err(odd)?;
    // Only the server's own clock tells how long that is.
    let now = response.date().unwrap_or_else(Timestamp::now);
    let lease = if lease.is_some() { lease } else { certificate(data, now).map_err(odd)? };
    Ok(Plain { fields: fields_by(data, chained)?, lease })
}

fn lent(answer: Json<'_>) -> Result<Option<Lent>, JsonError> {
    let id = answer.get("lease_id")?.map(Json::text).transpose()?.filter(|id| !id.is_empty());
    let Some(id) = id else { return Ok(None) };
    let ttl = answer.at(&["lease_duration"])?.whole()?;
    let is_renewable = answer.get("renewable")?.map_or(Ok(false), Json::flag)?;
    Ok(Some(Lent { by: Tie::Lease(id), ttl, is_renewable }))
}

/// One without a lease says itself when it ends.
fn certificate(data: Json<'_>, now: Timestamp) -> Result<Option<Lent>, JsonError> {
    let (serial, end) = (data.get("serial_number")?, data.get("expiration")?);
    let (Some(serial), Some(end)) = (serial, end) else { return Ok(None) };
    let ttl = end.whole()?.saturating_sub(now.as_second().unsigned_abs());
    Ok(Some(Lent { by: Tie::Certificate(serial.text()?), ttl, is_renewable: false }))
}

/// A list of certificates becomes the text that programs read.
fn chained(json: Json<'_>) -> SecretBytes {
    let items = json.items().unwrap_or_default();
    let parts: Vec<SecretBytes> = items.iter().map_while(|item| item.secret().ok()).collect();
    let is_chain =
        parts.len() == items.len() && parts.iter().all(|it| it.expose().starts_with(b"-----BEGIN "));
    if parts.is_empty() || !is_chain {
        return json.value();
    }
    let mut text = Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in &parts {
        text.extend_from_slice(part.expose().trim_ascii_end());
        text.push(b'\n');
    }
    text.pop();
    SecretBytes::new(text)
}
