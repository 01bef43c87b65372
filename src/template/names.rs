//! Reads what names a secret: `secrets.KEY.field`, `secrets["db/prod"]`, `secret("KEY", version=3)`.
//! Only literals and loop variables over literals can, so that all references are known beforehand.

use crate::secret::{FieldName, NameError, Reference, SecretKey, SecretName};

use super::error::{Fault, Span};
use super::lexer::Token;
use super::syntax::{ExprKind, Lookup, Meta, SecretPart, Which};
use super::tokens::{Tokens, unexpected};
use crate::nearest::nearest;

type Result<T> = std::result::Result<T, Box<Fault>>;

/// After the word `secrets`.
pub(super) fn secrets(tokens: &mut Tokens<'_, '_>, start: Span) -> Result<ExprKind> {
    let which = if tokens.takes(".")? {
        let (name, at) = tokens.expect_word("a secret's name after `secrets.`")?;
        Which::Fixed(named(&name, at)?)
    } else if tokens.takes("[")? {
        let which = which(tokens, named)?;
        tokens.expect("]")?;
        which
    } else {
        return Err(Fault::refused(
            start,
            "`secrets` as a whole cannot be used: not printed, listed or passed on",
        )
        .hint("name one: `secrets.NAME` or `secrets[\"some/name\"]`"));
    };
    lookup(tokens, which)
}

/// After the word `secret`.
pub(super) fn secret(tokens: &mut Tokens<'_, '_>, start: Span) -> Result<ExprKind> {
    if !matches!(tokens.peek(), Token::Sign("(")) {
        return Err(Fault::syntax(start, "`secret` is a function: `secret(\"NAME\", version=3)`")
            .hint("write `secrets.NAME` for the active version"));
    }
    tokens.advance()?;
    let mut which = which(tokens, explicit)?;
    while tokens.takes(",")? && !matches!(tokens.peek(), Token::Sign(")")) {
        argument(tokens, &mut which)?;
    }
    tokens.expect(")")?;
    lookup(tokens, which)
}

/// A literal, or a loop variable that can only be one of some literals.
fn which(tokens: &mut Tokens<'_, '_>, parse: fn(&str, Span) -> Result<Reference>) -> Result<Which> {
    match tokens.advance()? {
        (Token::Text(name), at) => parse(&name, at).map(Which::Fixed),
        (Token::Word(word), at) => {
            let found = tokens.scope.iter().rposition(|variable| variable.name == word);
            let Some(variable) = found else { return Err(not_a_literal(tokens, &word, at)) };
            let Some(literals) = &tokens.scope[variable].literals else {
                return Err(Fault::refused(
                    at,
                    format!("`{word}` can be anything; a secret's name must be known beforehand"),
                )
                .hint("loop over names that are written out: `for name in [\"a\", \"b\"]`"));
            };
            let names = literals.iter().map(|name| Ok((name.clone(), parse(name, at)?)));
            Ok(Which::Loop { variable, names: names.collect::<Result<_>>()? })
        }
        (token, at) => Err(unexpected(&token, at, "a secret's name in quotes")),
    }
}

fn not_a_literal(tokens: &Tokens<'_, '_>, word: &str, at: Span) -> Box<Fault> {
    if matches!(tokens.peek(), Token::Sign("=")) {
        return Fault::refused(at, "secrets are found by name only").hint("write `secret(\"NAME\")`");
    }
    let fault = Fault::refused(at, "a secret's name is a text in quotes, or a loop variable over such texts");
    match tokens.peek() {
        Token::Sign("]" | ")" | ",") => fault.hint(format!("write `\"{word}\"`")),
        _ => fault,
    }
}

/// `version=3`.
fn argument(tokens: &mut Tokens<'_, '_>, which: &mut Which) -> Result<()> {
    let (name, at) = tokens.expect_word("`version=`")?;
    tokens.expect("=")?;
    if name != "version" {
        let fault = Fault::refused(at, format!("`secret` takes no `{name}`"));
        return Err(fault.did_you_mean(nearest(&name, ["version"])));
    }
    let (token, at) = tokens.advance()?;
    let Token::Integer(version @ 1..) = token else {
        return Err(Fault::refused(at, "a version is a number from 1"));
    };
    let pin = |reference: &mut Reference| match reference.key.version.replace(version as u64) {
        None => Ok(()),
        Some(_) => Err(Fault::refused(at, "the reference already names a version after its `@`")),
    };
    match which {
        Which::Fixed(reference) => pin(reference),
        Which::Loop { names, .. } => names.iter_mut().try_for_each(|(_, reference)| pin(reference)),
    }
}

fn named(name: &str, at: Span) -> Result<Reference> {
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

fn lookup(tokens: &mut Tokens<'_, '_>, which: Which) -> Result<ExprKind> {
    let part = match part_name(tokens)? {
        None => SecretPart::Default,
        Some((word, at)) if word == "meta" && matches!(tokens.peek(), Token::Sign("." | "[")) => {
            let (word, _) = part_name(tokens)?.unwrap_or((word, at));
            SecretPart::Meta(meta(&word, at)?)
        }
        Some((word, at)) => field_or_meta(&word, at, &which)?,
    };
    Ok(ExprKind::Secret(Box::new(Lookup { which, part })))
}

fn field_or_meta(word: &str, at: Span, which: &Which) -> Result<SecretPart> {
    let field = FieldName::parse(word).map_err(|error| Fault::refused(at, error.to_string()))?;
    let names_field = match which {
        Which::Fixed(reference) => reference.field.is_some(),
        Which::Loop { names, .. } => names.iter().any(|(_, reference)| reference.field.is_some()),
    };
    if names_field {
        return Err(Fault::refused(at, "the reference already names a field after its `#`"));
    }
    Ok(match Meta::named(word) {
        Some(meta) => SecretPart::FieldOrMeta(field, meta),
        None => SecretPart::Field(field),
    })
}

fn meta(word: &str, at: Span) -> Result<Meta> {
    let words = Meta::WORDS.iter().map(|(word, _)| *word);
    Meta::named(word).ok_or_else(|| {
        Fault::refused(at, format!("there is no metadata `{word}`")).did_you_mean(nearest(word, words))
    })
}

/// `.name` or `["name"]`, if one follows.
fn part_name(tokens: &mut Tokens<'_, '_>) -> Result<Option<(String, Span)>> {
    if tokens.takes(".")? {
        return tokens.expect_word("a field's name").map(Some);
    }
    if !tokens.takes("[")? {
        return Ok(None);
    }
    match tokens.advance()? {
        (Token::Text(name), at) => tokens.expect("]").map(|_| Some((name, at))),
        (token, at) => Err(unexpected(&token, at, "a field's name in quotes")),
    }
}
