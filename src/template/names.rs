//! Reads what a template names: `secrets.KEY.field`, `secret("KEY", version=3)`, `env.NAME`, `reader.uid`.
//! Only literals and loop variables over literals can name a secret, so that all are known beforehand.

use minijinja::machinery::ast::{Call, CallArg, Expr};

use crate::secret::{FieldName, NameError, Reference, SecretKey, SecretName, SecretType, Selector};

use super::error::{Fault, Span};
use super::judge::Judge;
use super::slot::{Meta, Part, ReaderField, What};
use crate::nearest::nearest;

/// The names that a value may begin with.
pub(super) const NAMES: [&str; 4] = ["secrets", "secret", "env", "reader"];

type Result<T> = std::result::Result<T, Box<Fault>>;

/// `.name`, `["name"]` or `[variable]`.
struct Step<'e> {
    name: Name<'e>,
    span: Span,
}

enum Name<'e> {
    Text(String),
    Variable(&'e str),
    Other,
}

/// The names that a literal or a loop variable stands for: one, or each with the literal's text.
enum Names {
    One(Reference),
    Each { variable: String, names: Vec<(String, Reference)> },
}

impl Judge<'_> {
    /// What the expression names, if its first word is one of [`NAMES`].
    pub(super) fn named(&self, expr: &Expr<'_>) -> Option<Result<What>> {
        let mut steps = Vec::new();
        let mut base = expr;
        loop {
            let step = match base {
                Expr::GetAttr(part) => {
                    Step { name: Name::Text(part.name.to_owned()), span: self.tail(base, part.name) }
                }
                Expr::GetItem(part) => self.step(&part.subscript_expr),
                _ => break,
            };
            steps.push(step);
            base = match base {
                Expr::GetAttr(part) => &part.expr,
                Expr::GetItem(part) => &part.expr,
                other => other,
            };
        }
        steps.reverse();
        match base {
            Expr::Var(var) => self.named_by(var.id, self.span(base), &steps),
            Expr::Call(call) if matches!(&call.expr, Expr::Var(var) if var.id == "secret") => {
                Some(self.secret(call, &steps))
            }
            _ => None,
        }
    }

    fn named_by(&self, word: &str, at: Span, steps: &[Step<'_>]) -> Option<Result<What>> {
        Some(match word {
            _ if self.variable(word).is_some() => return None,
            "secrets" => self.secrets(at, steps),
            "secret" => Err(Fault::syntax(at, "`secret` is a function: `secret(\"NAME\", version=3)`")
                .hint("write `secrets.NAME` for the active version")),
            "env" => member("env", at, steps).map(|(name, _)| What::Env(name.to_owned())),
            "reader" => member("reader", at, steps)
                .and_then(|(name, at)| choose(name, at, "reader", &ReaderField::WORDS))
                .map(What::Reader),
            _ => return None,
        })
    }

    fn step<'e>(&self, subscript: &'e Expr<'_>) -> Step<'e> {
        let name = match subscript {
            Expr::Const(text) => text.value.as_str().map_or(Name::Other, |text| Name::Text(text.to_owned())),
            Expr::Var(var) => Name::Variable(var.id),
            _ => Name::Other,
        };
        Step { name, span: self.span(subscript) }
    }

    fn secrets(&self, at: Span, steps: &[Step<'_>]) -> Result<What> {
        let Some((first, rest)) = steps.split_first() else {
            let message = "`secrets` as a whole cannot be used: not printed, listed or passed on";
            let fault = Fault::refused(at, message);
            return Err(fault.hint("name one: `secrets.NAME` or `secrets[\"some/name\"]`"));
        };
        what(self.names(first, plain)?, rest)
    }

    /// `secret("KEY", version=3)`.
    fn secret(&self, call: &Call<'_>, steps: &[Step<'_>]) -> Result<What> {
        let at = self.span(&call.expr);
        let mut arguments = call.args.iter();
        let mut names = match arguments.next() {
            Some(CallArg::Pos(name)) => self.names(&self.step(name), explicit)?,
            _ => return what(Names::One(self.like(call)?), steps),
        };
        for argument in arguments {
            match argument {
                CallArg::Kwarg("version", version) => pin(&mut names, version, self.span(version))?,
                CallArg::Kwarg(name, value) => {
                    let fault = Fault::refused(self.span(value), format!("`secret` takes no `{name}`"));
                    return Err(fault.did_you_mean(nearest(name, ["version"])));
                }
                _ => return Err(Fault::refused(at, "`secret` takes a name and `version=`, no more")),
            }
        }
        what(names, steps)
    }

    /// `secret(label="openai", type="api-key")`: of the store, since nobody else knows labels.
    fn like(&self, call: &Call<'_>) -> Result<Reference> {
        let (mut label, mut kind) = (None, None);
        for argument in &call.args {
            let CallArg::Kwarg(name, value) = argument else {
                let message = "`secret` takes a name, or a label and a type";
                return Err(Fault::refused(self.span(&call.expr), message));
            };
            let at = self.span(value);
            let Name::Text(text) = self.step(value).name else {
                return Err(Fault::refused(at, "a text in quotes should stand here"));
            };
            match *name {
                "label" => label = Some(text).filter(|label| !label.is_empty()),
                "type" => {
                    kind = Some(choose(&text, at, "type", &SecretType::ALL.map(|it| (it.as_str(), it)))?)
                }
                _ => {
                    let fault = Fault::refused(at, format!("`secret` takes no `{name}` beside a label"));
                    return Err(fault.did_you_mean(nearest(name, ["label", "type"])));
                }
            }
        }
        let Some(label) = label else {
            let fault = Fault::refused(self.span(&call.expr), "secrets are found by name or by label");
            return Err(
                fault.hint("write `secret(\"NAME\")` or `secret(label=\"openai\", type=\"api-key\")`")
            );
        };
        let path = Selector { label, kind }.to_path();
        let key = SecretKey { provider: Some("store".to_owned()), path, version: None };
        Ok(Reference { key, field: None })
    }

    fn names(&self, step: &Step<'_>, parse: fn(&str, Span) -> Result<Reference>) -> Result<Names> {
        let word = match &step.name {
            Name::Text(text) => return parse(text, step.span).map(Names::One),
            Name::Variable(word) => word,
            Name::Other => return Err(not_a_literal(step.span)),
        };
        let Some(variable) = self.variable(word) else {
            return Err(not_a_literal(step.span).hint(format!("write `\"{word}\"`")));
        };
        let Some(literals) = &variable.literals else {
            let message = format!("`{word}` can be anything; a secret's name must be known beforehand");
            return Err(Fault::refused(step.span, message)
                .hint("loop over names that are written out: `for name in [\"a\", \"b\"]`"));
        };
        let names = literals.iter().map(|name| Ok((name.clone(), parse(name, step.span)?)));
        Ok(Names::Each { variable: (*word).to_owned(), names: names.collect::<Result<_>>()? })
    }
}

fn not_a_literal(at: Span) -> Box<Fault> {
    Fault::refused(at, "a secret's name is a text in quotes, or a loop variable over such texts")
}

fn pin(names: &mut Names, version: &Expr<'_>, at: Span) -> Result<()> {
    let number = match version {
        Expr::Const(number) => number.value.as_i64().and_then(|number| u64::try_from(number).ok()),
        _ => None,
    };
    let Some(number) = number.filter(|number| *number > 0) else {
        return Err(Fault::refused(at, "a version is a number from 1"));
    };
    let pin = |reference: &mut Reference| match reference.key.version.replace(number) {
        None => Ok(()),
        Some(_) => Err(Fault::refused(at, "the reference already names a version after its `@`")),
    };
    match names {
        Names::One(reference) => pin(reference),
        Names::Each { names, .. } => names.iter_mut().try_for_each(|(_, reference)| pin(reference)),
    }
}

fn what(names: Names, steps: &[Step<'_>]) -> Result<What> {
    let names_field = match &names {
        Names::One(reference) => reference.field.is_some(),
        Names::Each { names, .. } => names.iter().any(|(_, reference)| reference.field.is_some()),
    };
    let part = part(steps)?;
    if names_field && !matches!(part, Part::Default | Part::Meta(_)) {
        return Err(Fault::refused(steps[0].span, "the reference already names a field after its `#`"));
    }
    Ok(match names {
        Names::One(reference) => What::Secret(reference, part),
        Names::Each { variable, names } => What::Named { variable, names, part },
    })
}

fn part(steps: &[Step<'_>]) -> Result<Part> {
    let texts: Vec<_> =
        steps.iter().map(|step| text(step).map(|name| (name, step.span))).collect::<Result<_>>()?;
    match texts.as_slice() {
        [] => Ok(Part::Default),
        [("meta", _), (word, at)] => choose(word, *at, "meta", &Meta::WORDS).map(Part::Meta),
        [(word, at)] => {
            let field = FieldName::parse(word).map_err(|error| Fault::refused(*at, error.to_string()))?;
            Ok(match Meta::named(word) {
                Some(meta) => Part::FieldOrMeta(field, meta),
                None => Part::Field(field),
            })
        }
        [_, (_, at), ..] => Err(Fault::refused(*at, "a field has no parts")
            .hint("for JSON in a field write `(secrets.name.field | from_json).part`")),
    }
}

fn text<'s>(step: &'s Step<'_>) -> Result<&'s str> {
    match &step.name {
        Name::Text(text) => Ok(text),
        _ => Err(Fault::refused(step.span, "a name in quotes should stand here")),
    }
}

/// The one step after `env` or `reader`.
fn member<'s>(owner: &str, at: Span, steps: &'s [Step<'_>]) -> Result<(&'s str, Span)> {
    match steps {
        [step] => Ok((text(step)?, step.span)),
        [] => Err(Fault::refused(at, format!("`{owner}` as a whole cannot be used"))
            .hint(format!("name one: `{owner}.NAME`"))),
        [_, second, ..] => Err(Fault::refused(second.span, "this has no parts")),
    }
}

pub(super) fn choose<T: Copy>(name: &str, at: Span, owner: &str, table: &[(&'static str, T)]) -> Result<T> {
    let known = || table.iter().map(|(known, _)| *known);
    table.iter().find(|(known, _)| *known == name).map(|(_, item)| *item).ok_or_else(|| {
        let fault = Fault::refused(at, format!("there is no `{owner}.{name}`"));
        match nearest(name, known()) {
            Some(near) => fault.did_you_mean(Some(near)),
            None => fault.hint(format!("one of {}", known().collect::<Vec<_>>().join(", "))),
        }
    })
}

fn plain(name: &str, at: Span) -> Result<Reference> {
    SecretName::parse(name).map_err(|error| bad_name(&error, name, at))?;
    Ok(Reference { key: SecretKey::named(name), field: None })
}

fn bad_name(error: &NameError, name: &str, at: Span) -> Box<Fault> {
    let fault = Fault::refused(at, error.to_string());
    if name.contains([':', '#', '@']) {
        return fault.hint(format!("for an explicit reference write `secret(\"{name}\")`"));
    }
    fault
}

fn explicit(text: &str, at: Span) -> Result<Reference> {
    let reference = Reference::parse(text).map_err(|error| Fault::refused(at, error.to_string()))?;
    if reference.key.provider.is_none() {
        SecretName::parse(&reference.key.path).map_err(|error| Fault::refused(at, error.to_string()))?;
    }
    Ok(reference)
}
