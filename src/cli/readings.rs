//! What a reference means on the command line, where a dot may part a secret from its field or
//! belong to its name: `a.b` is field `b` of `a`, else the secret `a.b`, and both is an error.
//! Uses the words of `secret`.

use super::exit;
use super::report::Failure;
use crate::secret::{FieldName, Reference, SecretKey};

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
        let references = as_field(&parsed).into_iter().chain([parsed]).collect();
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

/// The reading with a field, if the text leaves room for it.
fn as_field(reference: &Reference) -> Option<Reference> {
    if reference.field.is_some() || reference.key.provider.is_some() {
        return None;
    }
    let (name, field) = reference.key.path.rsplit_once('.')?;
    let field = FieldName::parse(field).ok()?;
    let key = SecretKey { path: name.to_owned(), ..reference.key.clone() };
    (!name.is_empty()).then_some(Reference { key, field: Some(field) })
}

/// The form that has one reading only.
fn explicit(reference: &Reference) -> String {
    let field = Some(reference.field.clone().unwrap_or_else(FieldName::value));
    format!("`{}`", Reference { field, ..reference.clone() })
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
