//! What a command asks of the broker on behalf of somebody who waits for a message: single values,
//! all that a template lacks, and the names that were perhaps meant.

use std::sync::Arc;

use crate::caller::{Caller, Facts, Identity, Refusal};
use crate::nearest::nearest;
use crate::policy::{Access, Action, Denial, Door, Grant};
use crate::resolver::{Basis, Resolved};
use crate::secret::{Absent, FieldName, Reference, SecretBytes, SecretKey, SecretName, SecretVersion, Uses};
use crate::sys::identity;
use crate::template::{Kind, Template, TemplateError};

use super::{Broker, Error, shown};

/// A value, and where it is counted that somebody is given it.
pub struct Found {
    pub value: SecretBytes,
    pub version: u64,
    /// Which secret it is of, where it was asked for by what that is like.
    turned_out: Option<SecretName>,
    pub uses: Option<Arc<Uses>>,
    /// What it rests on, with all that was found with it.
    pub(super) basis: Arc<Basis>,
}

impl Found {
    fn of(version: &SecretVersion, value: &SecretBytes, basis: &Arc<Basis>) -> Self {
        Self {
            value: SecretBytes::copy_of(value.expose()),
            version: version.version,
            turned_out: version.turned_out.clone(),
            uses: version.uses.clone(),
            basis: basis.clone(),
        }
    }

    /// What was given, as it was asked for and as what it is.
    pub(super) fn shown(&self, asked: &SecretKey) -> Vec<(SecretKey, u64)> {
        let is = self.turned_out.as_ref();
        let is = is.map(|name| SecretKey { path: name.to_string(), version: None, ..asked.clone() });
        [Some(asked.clone()), is].into_iter().flatten().map(|key| (key, self.version)).collect()
    }
}

/// A reference that has no value.
#[derive(Clone, Debug)]
pub struct Lack {
    pub problem: String,
    pub hint: Option<String>,
    /// The name, if it is the name that nobody knows.
    pub(super) unknown: Option<String>,
}

impl Lack {
    /// Whether there is no such secret at all.
    pub fn is_of_name(&self) -> bool {
        self.unknown.is_some()
    }

    /// Of several readings that miss: the secret that lacks the field, else the last name.
    pub fn most_telling(mut lacks: Vec<Self>) -> Self {
        let known = lacks.iter().position(|lack| !lack.is_of_name());
        lacks.swap_remove(known.unwrap_or(lacks.len() - 1))
    }
}

impl Broker {
    /// Yes, with its proof, for a command of this caller; perhaps for placeholders only.
    pub fn grant(&self, caller: &Caller, door: Door, keys: &[SecretKey]) -> Result<Grant, Error> {
        self.granted(&self.sight(caller, door), door, keys)
    }

    /// What rules can hang on of who runs a command.
    pub(super) fn sight(&self, caller: &Caller, door: Door) -> Result<Identity, Refusal> {
        // No rule is about who holds the key.
        let wanted = match door {
            Door::Command => Facts::NONE.into(),
            _ => self.inquiry(caller, None),
        };
        identity::gather(caller, wanted)
    }

    pub(super) fn granted(
        &self,
        who: &Result<Identity, Refusal>,
        door: Door,
        keys: &[SecretKey],
    ) -> Result<Grant, Error> {
        let granted = match who {
            Ok(who) => self.judge(who, &Access { door, action: Action::Read, file: None, keys }).granted(),
            Err(refusal) => Err(Denial::refused(*refusal)),
        };
        granted.map_err(Error::Denied)
    }

    /// The values of these references, in their order and as of one moment. For who gives them to
    /// nobody: nothing is written down.
    pub async fn values(
        &self,
        caller: &Caller,
        door: Door,
        references: &[Reference],
    ) -> Result<Vec<Result<Found, Lack>>, Error> {
        let keys: Vec<SecretKey> = references.iter().map(|reference| reference.key.clone()).collect();
        let grant = self.grant(caller, door, &keys)?;
        self.values_of(&grant, &keys, references).await
    }

    pub(super) async fn values_of(
        &self,
        grant: &Grant,
        keys: &[SecretKey],
        references: &[Reference],
    ) -> Result<Vec<Result<Found, Lack>>, Error> {
        let resolved = shown(grant, self.resolver.resolve(grant, keys).await?);
        self.check_behind(grant, &resolved)?;
        self.tell(references, &resolved);
        let basis = Arc::new(resolved.basis.clone());
        Ok(references.iter().map(|reference| value(reference, &resolved, &basis)).collect())
    }

    /// All that this template could not do without, in branches not taken too.
    pub async fn missing(
        &self,
        caller: &Caller,
        door: Door,
        template: &Template,
    ) -> Result<Vec<TemplateError>, Error> {
        let grant = self.grant(caller, door, template.keys())?;
        let resolved = shown(&grant, self.resolver.resolve(&grant, template.keys()).await?);
        let names = self.resolver.names().await;
        Ok(self
            .with_inputs(template, None, &resolved, |inputs| template.missing(inputs))
            .into_iter()
            .map(|error| with_nearest(error, &names))
            .collect())
    }

    /// Every name that a reference without a provider can mean, as far as the providers answer.
    pub async fn names(&self) -> Vec<String> {
        self.resolver.names().await
    }

    /// The same failure with "did you mean": lists names, so never on the path of an open.
    pub async fn explain(&self, error: Error) -> Error {
        match error {
            Error::Template(error) if matches!(error.kind, Kind::Missing(_)) => {
                Error::Template(with_nearest(error, &self.resolver.names().await))
            }
            error => error,
        }
    }

    /// The same lack with "did you mean".
    pub async fn explain_lack(&self, lack: Lack) -> Lack {
        match &lack.unknown {
            None => lack,
            Some(name) => Lack { hint: did_you_mean(name, &self.resolver.names().await), ..lack },
        }
    }
}

fn value(reference: &Reference, resolved: &Resolved, basis: &Arc<Basis>) -> Result<Found, Lack> {
    let key = &reference.key;
    // What was found to be not meant is not asked for.
    let answer = resolved.answers.get(key).map_or(Err(&Absent::Missing), |answer| answer.as_ref());
    let version = match answer {
        Ok(version) => version,
        Err(Absent::Missing) if let Some(number) = key.version => {
            let problem = format!("there is no version {number} of `{}`", key.path);
            return Err(Lack { problem, hint: None, unknown: None });
        }
        Err(Absent::Missing) => {
            let problem = format!("there is no secret `{key}`");
            return Err(Lack { problem, hint: None, unknown: Some(key.path.clone()) });
        }
        Err(absent) => {
            return Err(Lack { problem: format!("the secret `{key}`: {absent}"), hint: None, unknown: None });
        }
    };
    let field = reference.field_name();
    version.fields.get(field).map(|value| Found::of(version, value, basis)).ok_or_else(|| {
        let fields: Vec<&str> = version.fields.keys().map(FieldName::as_str).collect();
        let hint = match nearest(field, &fields) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has: {}", fields.join(", ")),
        };
        Lack {
            problem: format!("the secret `{key}` has no field `{field}`"),
            hint: Some(hint),
            unknown: None,
        }
    })
}

/// Names what was perhaps meant, here and in the errors that go with it.
fn with_nearest(mut error: TemplateError, names: &[String]) -> TemplateError {
    if let Kind::Missing(reference) = &error.kind
        && let Some(hint) = did_you_mean(&reference.key.path, names)
    {
        error.hint = Some(hint.into());
    }
    error.also = error.also.into_iter().map(|also| with_nearest(also, names)).collect();
    error
}

/// Nothing for a name that is there: then a field or a version is what is missing.
fn did_you_mean(name: &str, names: &[String]) -> Option<String> {
    if names.iter().any(|known| known == name) {
        return None;
    }
    nearest(name, names).map(|near| format!("did you mean `{near}`?"))
}
