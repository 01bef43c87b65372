//! Fills slots: secrets with their fields and metadata, the environment, the reader. What is not there
//! becomes a gap that knows what to say.

use std::collections::HashMap;

use minijinja::Value;

use crate::secret::{Absent, Reference, SecretVersion, Selector};

use super::Inputs;
use super::error::{Fault, Kind, Span};
use super::filters::text;
use super::gap::Gap;
use super::slot::{Meta, Part, ReaderField, Slot, What};
use crate::nearest::nearest;

/// Looks things up for one rendering.
pub(super) struct Lookup<'i> {
    inputs: &'i Inputs<'i>,
    /// The engine's copy of each text, by where that lives: one copy, however often it is named.
    copies: HashMap<(*const u8, usize), Value>,
    variables: HashMap<&'i str, Value>,
}

impl<'i> Lookup<'i> {
    pub(super) fn new(inputs: &'i Inputs<'i>) -> Self {
        Self { inputs, copies: HashMap::new(), variables: HashMap::new() }
    }

    pub(super) fn fill(&mut self, slot: &'i Slot) -> Value {
        match &slot.what {
            What::Literal(value) => value.clone(),
            What::Secret(reference, part) => self.secret(reference, part, slot.span),
            What::Named { names, part, .. } => Value::from_pairs(
                names
                    .iter()
                    .map(|(name, reference)| (name.as_str(), self.secret(reference, part, slot.span))),
            ),
            What::Env(name) => self.variable(name, slot.span),
            What::Reader(field) => reader(*field, slot.span, self.inputs),
        }
    }

    /// Every secret of the slot that cannot be had.
    pub(super) fn unmet(&mut self, slot: &Slot) -> Vec<Fault> {
        let gaps = slot.what.references().filter_map(|(reference, part)| {
            match Gap::of(&self.secret(reference, part, slot.span))?.as_ref() {
                Gap::Missing(fault) | Gap::Firm(fault) => Some(finish(fault.clone(), self.inputs)),
                Gap::Needs(_) => None,
            }
        });
        gaps.collect()
    }

    fn secret(&mut self, reference: &Reference, part: &Part, span: Span) -> Value {
        match self.inputs.values.get(&reference.key) {
            None => Gap::Needs(reference.key.clone()).into(),
            Some(Ok(version)) => self.part_of(version, reference, part, span),
            Some(Err(Absent::Missing)) => Gap::Missing(no_secret(reference, part, span)).into(),
            Some(Err(reason)) => Gap::Firm(*gone(reason, reference, span)).into(),
        }
    }

    fn part_of(&mut self, version: &SecretVersion, reference: &Reference, part: &Part, span: Span) -> Value {
        let name = match part {
            Part::Default => reference.field_name(),
            Part::Field(field) | Part::FieldOrMeta(field, _) => field.as_str(),
            Part::Meta(meta) => return metadata(version, *meta, span),
        };
        match (version.fields.get(name), part) {
            (Some(value), _) => {
                let bytes = value.expose();
                self.copies.entry((bytes.as_ptr(), bytes.len())).or_insert_with(|| text(bytes)).clone()
            }
            (None, Part::FieldOrMeta(_, meta)) => metadata(version, *meta, span),
            (None, _) => Gap::Missing(*no_field(version, reference, part, name, span)).into(),
        }
    }

    fn variable(&mut self, name: &'i str, span: Span) -> Value {
        if let Some(value) = self.variables.get(name) {
            return value.clone();
        }
        let Some(bytes) = (self.inputs.env)(name) else {
            return Gap::undefined(span, format!("the environment has no `{name}`")).into();
        };
        self.variables.entry(name).or_insert(text(&bytes)).clone()
    }
}

/// Adds what might have been meant. Only now, since nobody asks for what has a stand-in.
pub(super) fn finish(mut fault: Fault, inputs: &Inputs<'_>) -> Fault {
    let Kind::Missing(reference) = &fault.kind else { return fault };
    let key = reference.key.clone();
    let is_named = Selector::of_path(&key.path).is_none();
    if !is_named || !matches!(inputs.values.get(&key), Some(Err(Absent::Missing))) {
        return fault;
    }
    match (inputs.nearest)(&key.path).filter(|near| *near != key.path) {
        Some(near) => fault.message.push_str(&format!("; did you mean `{near}`?")),
        None if key.version.is_some() => {}
        None => {
            let add = match (inputs.elsewhere)(&key) {
                None => format!("`secretfs set {}` to add it", key.path),
                Some(provider) => format!("add it where `{provider}` has its secrets"),
            };
            fault.hint = Some(format!("{add}, or `| default(\"…\")` to do without").into());
        }
    }
    fault
}

fn no_secret(reference: &Reference, part: &Part, span: Span) -> Fault {
    let key = &reference.key;
    if let Some(selector) = Selector::of_path(&key.path) {
        let message = format!("there is no secret {selector}");
        return *Fault::new(missing(reference, part), span, message).hint(list_of(&selector));
    }
    let message = match key.version {
        Some(version) => format!("there is no version {version} of the secret `{}`", key.path),
        None => format!("there is no secret `{key}`"),
    };
    *Fault::new(missing(reference, part), span, message)
}

/// The command that shows which secrets are like that.
fn list_of(selector: &Selector) -> String {
    let kind = selector.kind.map_or_else(String::new, |kind| format!(" --type {}", kind.as_str()));
    let label = selector.label.replace('\'', "'\\''");
    format!("`secretfs list --label '{label}'{kind}`, which shows those that are")
}

fn missing(reference: &Reference, part: &Part) -> Kind {
    let mut reference = reference.clone();
    if let Part::Field(field) | Part::FieldOrMeta(field, _) = part {
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
        Absent::Ambiguous(_) => Kind::Ambiguous(boxed),
    };
    if let Some(selector) = Selector::of_path(&reference.key.path) {
        let message = format!("the secret {selector} cannot be used: {reason}");
        return Fault::new(kind, span, message).hint(list_of(&selector));
    }
    let hint = match reason {
        Absent::Expired => format!("`secretfs rotate {}`, which gives it a new version", reference.key.path),
        _ => format!("`secretfs show {}`, which tells more", reference.key.path),
    };
    Fault::new(kind, span, format!("the secret `{}` cannot be used: {reason}", reference.key)).hint(hint)
}

fn no_field(
    version: &SecretVersion,
    reference: &Reference,
    part: &Part,
    name: &str,
    span: Span,
) -> Box<Fault> {
    let message = format!("the secret `{}` has no field `{name}`", reference.key);
    let fault = Fault::new(missing(reference, part), span, message);
    let fields = || version.fields.keys().map(|field| field.as_str());
    match nearest(name, fields()) {
        Some(near) => fault.did_you_mean(Some(near)),
        None => fault.hint(format!("one of its fields: {}", fields().collect::<Vec<_>>().join(", "))),
    }
}

fn metadata(version: &SecretVersion, meta: Meta, span: Span) -> Value {
    let time = match meta {
        Meta::Version => return Value::from(version.version),
        Meta::CreatedAt => version.created_at,
        Meta::UpdatedAt => version.updated_at,
        Meta::ExpiresAt => match version.expires_at {
            Some(time) => time,
            None => return Gap::undefined(span, "the secret never expires").into(),
        },
    };
    Value::from(time.to_string())
}

fn reader(field: ReaderField, span: Span, inputs: &Inputs<'_>) -> Value {
    let Some(reader) = inputs.reader else {
        return Gap::undefined(span, "there is no reader here whose `reader` could be asked").into();
    };
    let known = |known: &Option<String>, name| match known {
        Some(known) => Value::from(known.as_str()),
        None => Gap::undefined(span, format!("the reader's {name} is not known")).into(),
    };
    match field {
        ReaderField::Uid => Value::from(reader.uid),
        ReaderField::Gid => Value::from(reader.gid),
        ReaderField::Unit => known(&reader.unit, "unit"),
        ReaderField::Exe => known(&reader.exe, "exe"),
    }
}
