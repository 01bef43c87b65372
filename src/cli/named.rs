//! Which secret of the store a name on the command line means, by the rules of `readings`, and
//! what is said if it means none. May use every layer.

use super::exit;
use super::readings::Readings;
use super::report::Failure;
use crate::nearest::nearest;
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
    let readings = Readings::of(text)?;
    let mut outcomes = Vec::new();
    for reference in &readings.references {
        outcomes.push(look_up(store, namespace, reference)?.ok_or(()));
    }
    readings.settle(outcomes)?.map_err(|_| {
        // The secret may be there, and only the field be wrong: that says more.
        let lacks_field =
            readings.references.iter().find_map(|reference| no_such_field(store, namespace, reference));
        let whole = readings.references.last().map_or(text, |reference| &reference.key.path);
        lacks_field.unwrap_or_else(|| missing(store, namespace, whole))
    })
}

fn look_up(store: &Store, namespace: &Namespace, reference: &Reference) -> Result<Option<Named>, Failure> {
    let Reference { key, field } = reference;
    if let Some(provider) = &key.provider {
        let problem =
            format!("`{reference}` names the provider {provider}; only the store is looked into here");
        return Err(Failure::new(exit::DATA, problem));
    }
    let name = SecretName::parse(&key.path).map_err(|error| Failure::new(exit::DATA, error))?;
    let info = store.describe(namespace, &name)?.filter(|info| has_field(info, field.as_ref()));
    Ok(info.map(|info| Named { name, field: field.clone(), version: key.version, info }))
}

fn has_field(info: &SecretInfo, field: Option<&FieldName>) -> bool {
    field.is_none_or(|field| info.fields.iter().any(|known| known == field.as_str()))
}

fn no_such_field(store: &Store, namespace: &Namespace, reference: &Reference) -> Option<Failure> {
    let field = reference.field.as_ref()?;
    let name = SecretName::parse(&reference.key.path).ok()?;
    Some(no_field(&store.describe(namespace, &name).ok()??, field.as_str()))
}

pub fn no_field(info: &SecretInfo, field: &str) -> Failure {
    Failure::new(exit::NO_INPUT, format!("`{}` has no field `{field}`", info.name))
        .hint(format!("its fields are {}", info.fields.join(", ")))
}

fn missing(store: &Store, namespace: &Namespace, path: &str) -> Failure {
    let failure = Failure::new(exit::NO_INPUT, format!("there is no secret `{path}`"));
    let names = store.list(namespace).unwrap_or_default().into_iter().map(|secret| secret.name);
    match nearest(path, names) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("secretfs list shows what there is"),
    }
}
