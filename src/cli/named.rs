//! Which secret, field and version a name on the command line means: `a.b` is field `b` of the
//! secret `a`, or the secret `a.b`; two hits are an error. `a#b` and `a@3` say it outright.

use super::exit;
use super::report::Failure;
use crate::secret::{FieldName, Namespace, Reference, SecretName};
use crate::store::{SecretInfo, Store};

/// What a name means.
pub struct Named {
    pub name: SecretName,
    pub field: Option<FieldName>,
    pub version: Option<u64>,
    pub info: SecretInfo,
}

/// Finds the one secret that is meant.
pub fn find(store: &Store, namespace: &Namespace, text: &str) -> Result<Named, Failure> {
    let reference = Reference::parse(text).map_err(|error| Failure::new(exit::DATA, error))?;
    if let Some(provider) = &reference.key.provider {
        let problem = format!("`{text}` names the provider {provider}; only the store is looked into here");
        return Err(Failure::new(exit::DATA, problem));
    }
    let mut hits = Vec::new();
    for (name, field) in candidates(&reference)? {
        if let Some(info) = store.describe(namespace, &name)?
            && field.as_ref().is_none_or(|field| info.fields.iter().any(|known| known == field.as_str()))
        {
            hits.push(Named { name, field, version: reference.key.version, info });
        }
    }
    match (hits.pop(), hits.pop()) {
        (Some(only), None) => Ok(only),
        (Some(second), Some(first)) => Err(two_hits(&first, &second)),
        (None, _) => Err(missing(store, namespace, &reference)),
    }
}

/// The readings of a reference, the one with a field first.
fn candidates(reference: &Reference) -> Result<Vec<(SecretName, Option<FieldName>)>, Failure> {
    let path = &reference.key.path;
    let whole = SecretName::parse(path).map_err(|error| Failure::new(exit::DATA, error))?;
    let dotted = match (&reference.field, path.rsplit_once('.')) {
        (None, Some((name, field))) => SecretName::parse(name).ok().zip(FieldName::parse(field).ok()),
        _ => None,
    };
    let dotted = dotted.map(|(name, field)| (name, Some(field)));
    Ok(dotted.into_iter().chain([(whole, reference.field.clone())]).collect())
}

fn two_hits(first: &Named, second: &Named) -> Failure {
    let (name, field) = (&first.name, first.field.as_ref().map_or("", FieldName::as_str));
    let problem = format!("`{}` is a secret, and `{name}` has a field `{field}`: which one?", second.name);
    Failure::new(exit::DATA, problem)
        .hint(format!("{name}#{field} for the field; {}#value for the secret", second.name))
}

fn missing(store: &Store, namespace: &Namespace, reference: &Reference) -> Failure {
    let path = &reference.key.path;
    // The secret may be there, and only the field be wrong.
    for (name, field) in candidates(reference).unwrap_or_default() {
        if let Some(field) = field
            && let Ok(Some(info)) = store.describe(namespace, &name)
        {
            return no_field(&info, field.as_str());
        }
    }
    let failure = Failure::new(exit::NO_INPUT, format!("there is no secret `{path}`"));
    match nearest(store, namespace, path) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("secretfs list shows what there is"),
    }
}

pub fn no_field(info: &SecretInfo, field: &str) -> Failure {
    Failure::new(exit::NO_INPUT, format!("`{}` has no field `{field}`", info.name))
        .hint(format!("its fields are {}", info.fields.join(", ")))
}

/// A name that could have been meant.
pub fn nearest(store: &Store, namespace: &Namespace, wrong: &str) -> Option<String> {
    let names = store.list(namespace).ok()?.into_iter().map(|secret| secret.name);
    let distance = |name: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &wrong.to_lowercase());
    let close = names.map(|name| (distance(&name), name)).filter(|(far, name)| *far <= name.len().max(3) / 3);
    close.min().map(|(_, name)| name)
}
