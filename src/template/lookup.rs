//! Looks up what a template names: secrets with their fields and metadata, the environment, the reader.
//! What is not there becomes an absent value that knows what to say.

use std::rc::Rc;

use crate::secret::{Absent, Reference, SecretVersion};

use super::error::{Fault, Kind, Span};
use super::run::{Run, Stop};
use super::syntax::{Lookup, LoopField, Meta, ReaderField, SecretPart, Which};
use super::value::{Text, Value};
use crate::nearest::nearest;

impl<'a> Run<'a> {
    pub(super) fn secret(&mut self, lookup: &'a Lookup, span: Span) -> Result<Value<'a>, Stop> {
        let reference = self.which(&lookup.which, span)?;
        let Some(answer) = self.inputs.values.get(&reference.key) else {
            if !self.needs.contains(&reference.key) {
                self.needs.push(reference.key.clone());
            }
            return Err(Stop::Needs);
        };
        match answer {
            Ok(version) => Ok(self.part_of_secret(version, reference, &lookup.part, span)),
            Err(Absent::Missing) => Ok(absent(*self.no_secret(reference, &lookup.part, span))),
            Err(reason) => Err(gone(reason, reference, span).into()),
        }
    }

    fn which(&self, which: &'a Which, span: Span) -> Result<&'a Reference, Stop> {
        match which {
            Which::Fixed(reference) => Ok(reference),
            Which::Loop { variable, names } => {
                let found = match &self.scope[*variable] {
                    Value::Text(text) => names.iter().find(|(name, _)| name.as_bytes() == text.bytes()),
                    _ => None,
                };
                found.map(|(_, reference)| reference).ok_or_else(|| {
                    Fault::refused(span, "the loop variable is not one of the names that were written out")
                        .into()
                })
            }
        }
    }

    fn part_of_secret(
        &self,
        version: &'a SecretVersion,
        reference: &Reference,
        part: &SecretPart,
        span: Span,
    ) -> Value<'a> {
        let name = match part {
            SecretPart::Default => reference.field_name(),
            SecretPart::Field(field) | SecretPart::FieldOrMeta(field, _) => field.as_str(),
            SecretPart::Meta(meta) => return metadata(version, *meta, span),
        };
        match (version.fields.get(name), part) {
            (Some(value), _) => Value::Text(Text::Borrowed(value.expose())),
            (None, SecretPart::FieldOrMeta(_, meta)) => metadata(version, *meta, span),
            (None, _) => absent(*no_field(version, reference, part, name, span)),
        }
    }

    fn no_secret(&self, reference: &Reference, part: &SecretPart, span: Span) -> Box<Fault> {
        let key = &reference.key;
        let fault = Fault::new(
            missing(reference, part),
            span,
            match key.version {
                Some(version) => format!("there is no version {version} of the secret `{}`", key.path),
                None => format!("there is no secret `{key}`"),
            },
        );
        match (self.inputs.nearest)(&key.path).filter(|near| *near != key.path) {
            Some(near) => fault.did_you_mean(Some(near)),
            None if key.version.is_some() => fault,
            None => fault
                .hint(format!("`secretfs set {}` to add it, or `| default(\"…\")` to do without", key.path)),
        }
    }

    /// What cannot be had of all that the lookup can be.
    pub(super) fn unmet(&self, lookup: &'a Lookup, span: Span) -> Vec<Fault> {
        let unmet = |reference: &'a Reference| match self.inputs.values.get(&reference.key)? {
            Err(Absent::Missing) => Some(*self.no_secret(reference, &lookup.part, span)),
            Err(reason) => Some(*gone(reason, reference, span)),
            Ok(version) => match self.part_of_secret(version, reference, &lookup.part, span) {
                Value::Absent(fault) => Some(Rc::unwrap_or_clone(fault)),
                _ => None,
            },
        };
        lookup.references().filter_map(unmet).collect()
    }

    pub(super) fn env(&self, name: &str, span: Span) -> Value<'a> {
        match (self.inputs.env)(name) {
            Some(value) => Value::text(value),
            None => undefined(span, format!("the environment has no `{name}`")),
        }
    }

    pub(super) fn loop_field(&self, field: LoopField) -> Value<'a> {
        let (place, length) = self.loops.last().copied().unwrap_or_default();
        match field {
            LoopField::Index => Value::Number((place + 1).into()),
            LoopField::Index0 => Value::Number(place.into()),
            LoopField::First => Value::Bool(place == 0),
            LoopField::Last => Value::Bool(place + 1 == length),
            LoopField::Length => Value::Number(length.into()),
        }
    }

    pub(super) fn reader_field(&self, field: ReaderField, span: Span) -> Value<'a> {
        let Some(reader) = self.inputs.reader else {
            return undefined(span, "there is no reader here whose `reader` could be asked".to_owned());
        };
        let text = |known: &Option<String>, name| match known {
            Some(known) => Value::text(known.as_bytes()),
            None => undefined(span, format!("the reader's {name} is not known")),
        };
        match field {
            ReaderField::Uid => Value::Number(reader.uid.into()),
            ReaderField::Gid => Value::Number(reader.gid.into()),
            ReaderField::Unit => text(&reader.unit, "unit"),
            ReaderField::Exe => text(&reader.exe, "exe"),
        }
    }
}

fn absent<'a>(fault: Fault) -> Value<'a> {
    Value::Absent(Rc::new(fault))
}

pub(super) fn undefined<'a>(span: Span, message: String) -> Value<'a> {
    absent(*Fault::new(Kind::Undefined, span, message).hint("`| default(\"…\")` to do without"))
}

fn missing(reference: &Reference, part: &SecretPart) -> Kind {
    let mut reference = reference.clone();
    if let SecretPart::Field(field) | SecretPart::FieldOrMeta(field, _) = part {
        reference.field = Some(field.clone());
    }
    Kind::Missing(Box::new(reference))
}

fn gone(reason: &Absent, reference: &Reference, span: Span) -> Box<Fault> {
    let boxed = Box::new(reference.clone());
    let kind = match reason {
        Absent::Missing => Kind::Missing(boxed),
        Absent::Expired => Kind::Expired(boxed),
        Absent::Revoked => Kind::Revoked(boxed),
    };
    let hint = match reason {
        Absent::Expired => format!("`secretfs rotate {}`, which gives it a new version", reference.key.path),
        _ => format!("`secretfs show {}`, which tells more", reference.key.path),
    };
    Fault::new(kind, span, format!("the secret `{}` cannot be used: {reason}", reference.key)).hint(hint)
}

fn no_field(
    version: &SecretVersion,
    reference: &Reference,
    part: &SecretPart,
    name: &str,
    span: Span,
) -> Box<Fault> {
    let fault = Fault::new(
        missing(reference, part),
        span,
        format!("the secret `{}` has no field `{name}`", reference.key),
    );
    let fields = || version.fields.keys().map(|field| field.as_str());
    match nearest(name, fields()) {
        Some(near) => fault.did_you_mean(Some(near)),
        None => fault.hint(format!("one of its fields: {}", fields().collect::<Vec<_>>().join(", "))),
    }
}

fn metadata<'a>(version: &SecretVersion, meta: Meta, span: Span) -> Value<'a> {
    let time = match meta {
        Meta::Version => return Value::Number(version.version.into()),
        Meta::CreatedAt => version.created_at,
        Meta::UpdatedAt => version.updated_at,
        Meta::ExpiresAt => match version.expires_at {
            Some(time) => time,
            None => return undefined(span, "the secret never expires".to_owned()),
        },
    };
    Value::text(time.to_string())
}
