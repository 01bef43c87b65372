//! What a name on the command line means. A dot may part a secret from its field or belong to its
//! name: `a.b` is field `b` of `a`, else the secret `a.b`, and both is an error. May use every layer.

use super::report::Failure;
use super::{exit, open};
use crate::nearest::nearest;
use crate::secret::{FieldName, Namespace, Reference, SecretKey, SecretName};
use crate::store::{SecretInfo, Store};

/// The readings of one text, in the order in which they are tried.
pub struct Readings {
    pub text: String,
    pub references: Vec<Reference>,
}

impl Readings {
    pub fn of(text: &str) -> Result<Self, Failure> {
        let parsed = Reference::parse(text).map_err(|error| {
            Failure::new(exit::USAGE, error).hint("NAME, NAME.FIELD or provider:path#field@version")
        })?;
        let references = parsed.dot_as_field().into_iter().chain([parsed]).collect();
        Ok(Self { text: text.to_owned(), references })
    }

    /// The outcome of all readings: the one that hits, or why none does. Two hits are an error.
    pub fn settle<T, E>(&self, outcomes: Vec<Result<T, E>>) -> Result<Result<T, Vec<E>>, Failure> {
        let mut hit = None;
        let mut misses = Vec::new();
        for outcome in outcomes {
            match outcome {
                Ok(_) if hit.is_some() => return Err(self.ambiguous()),
                Ok(value) => hit = Some(value),
                Err(error) => misses.push(error),
            }
        }
        Ok(hit.ok_or(misses))
    }

    fn ambiguous(&self) -> Failure {
        let forms: Vec<String> = self.references.iter().map(explicit).collect();
        let problem = format!("`{}` is a field of one secret and the name of another", self.text);
        Failure::new(exit::USAGE, problem).hint(forms.join(" or "))
    }
}

/// The form that has one reading only.
fn explicit(reference: &Reference) -> String {
    let field = Some(reference.field.clone().unwrap_or_else(FieldName::value));
    format!("`{}`", Reference { field, ..reference.clone() })
}

/// A secret of the store that a name means.
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

/// That no other provider is meant.
pub fn of_store(reference: &Reference) -> Result<(), Failure> {
    let Some(provider) = &reference.key.provider else { return Ok(()) };
    let problem = format!("`{reference}` names the provider {provider}; only the store is looked into here");
    let hint = format!("secretfs exec --env NAME={reference} -- COMMAND");
    Err(Failure::new(exit::DATA, problem).hint(hint))
}

/// Finds a secret for a command that is about all of it.
pub fn find_whole(store: &Store, namespace: &Namespace, text: &str) -> Result<SecretInfo, Failure> {
    let name = whole(text)?;
    store.describe(namespace, &name)?.ok_or_else(|| missing(store, namespace, name.as_str()))
}

/// The name of a whole secret, as it has to be given where one is made, changed or removed.
pub fn whole(text: &str) -> Result<SecretName, Failure> {
    if let Ok(Reference { key: SecretKey { path, version, provider: None }, field }) = Reference::parse(text)
        && (version.is_some() || field.is_some())
    {
        let part = if version.is_some() { "version" } else { "field" };
        return Err(Failure::new(
            exit::USAGE,
            format!("`{text}` names a {part}; this command is about whole secrets"),
        )
        .hint(format!("leave it at `{path}`; `secretfs get {text}` prints a single value")));
    }
    SecretName::parse(text).map_err(|error| {
        let failure = Failure::new(exit::DATA, error);
        match text.split_once('=').filter(|(name, _)| SecretName::parse(name).is_ok()) {
            Some((name, _)) => {
                failure.hint(format!("secretfs set {name} asks for the value, or takes it from stdin"))
            }
            None => failure,
        }
    })
}

fn look_up(store: &Store, namespace: &Namespace, reference: &Reference) -> Result<Option<Named>, Failure> {
    let Reference { key, field } = reference;
    of_store(reference)?;
    let name = SecretName::parse(&key.path).map_err(|error| Failure::new(exit::DATA, error))?;
    let Some(mut info) = store.describe(namespace, &name)? else { return Ok(None) };
    if let Some(version) = key.version {
        let versions = store.versions(namespace, &name)?.unwrap_or_default();
        let fields = versions.into_iter().find(|it| it.version == version).map(|it| it.fields);
        info.fields = fields.unwrap_or(info.fields);
    }
    let has_field = field.as_ref().is_none_or(|field| info.fields.iter().any(|it| it == field.as_str()));
    Ok(has_field.then(|| Named { name, field: field.clone(), version: key.version, info }))
}

fn no_such_field(store: &Store, namespace: &Namespace, reference: &Reference) -> Option<Failure> {
    let field = reference.field.as_ref()?;
    let name = SecretName::parse(&reference.key.path).ok()?;
    Some(no_field(&store.describe(namespace, &name).ok()??, field.as_str()))
}

pub fn no_field(info: &SecretInfo, field: &str) -> Failure {
    let failure = Failure::new(exit::NO_INPUT, format!("`{}` has no field `{field}`", info.name));
    match nearest(field, &info.fields) {
        Some(near) => failure.hint(format!("did you mean `{}.{near}`?", info.name)),
        None => failure.hint(format!("its fields are {}", info.fields.join(", "))),
    }
}

/// That there is no such secret, and which was perhaps meant.
pub fn missing(store: &Store, namespace: &Namespace, path: &str) -> Failure {
    if let Err(failure) = open::check_namespace(store, namespace) {
        return failure;
    }
    let failure = Failure::new(exit::NO_INPUT, format!("there is no secret `{path}`"));
    let known: Vec<_> =
        store.list(namespace).unwrap_or_default().into_iter().map(|secret| secret.name).collect();
    let of = path.rsplit_once('.').filter(|(name, _)| known.iter().any(|known| known == name));
    match (nearest(path, &known), of) {
        (_, Some((name, field))) => failure
            .hint(format!("`{name}` is there, and `{field}` may be a field of it: secretfs show {name}")),
        (Some(near), None) => failure.hint(format!("did you mean `{near}`?")),
        (None, None) => failure.hint("secretfs list shows what there is"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(text: &str) -> Vec<String> {
        Readings::of(text).map_err(|it| it.problem).unwrap().references.iter().map(explicit).collect()
    }

    #[test]
    fn a_dot_has_two_readings() {
        assert_eq!(readings("a.b"), ["`a#b`", "`a.b#value`"]);
        assert_eq!(readings("db/prod.x@2"), ["`db/prod#x@2`", "`db/prod.x#value@2`"]);
        assert_eq!(readings("a"), ["`a#value`"]);
        assert_eq!(readings("a.1"), ["`a.1#value`"]);
        assert_eq!(readings("env:A.b"), ["`env:A.b#value`"]);
        assert_eq!(readings("a.b#c"), ["`a.b#c`"]);
    }

    #[test]
    fn one_hit_wins_and_two_are_an_error() {
        let readings = Readings::of("a.b").map_err(|it| it.problem).unwrap();
        assert_eq!(readings.settle(vec![Err(1), Ok(2)]).map_err(|it| it.problem), Ok(Ok(2)));
        assert_eq!(readings.settle(vec![Ok(2), Err(1)]).map_err(|it| it.problem), Ok(Ok(2)));
        let both = readings.settle(vec![Err::<i32, _>(1), Err(2)]).map_err(|it| it.problem);
        assert_eq!(both, Ok(Err(vec![1, 2])));
        let failure = readings.settle::<_, i32>(vec![Ok(1), Ok(2)]).unwrap_err();
        assert_eq!(failure.hint.as_deref(), Some("`a#b` or `a.b#value`"));
    }
}
