//! Evaluates expressions. A missing value is an ordinary value here until something needs it, which is how
//! `default` and `fallback` can stand in for it, and nothing else.

use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::Number;
use zeroize::Zeroizing;

use crate::secret::{Absent, Reference, SecretVersion};

use super::error::{Fault, Kind, Span};
use super::filters;
use super::format::nearest;
use super::run::{Run, Stop};
use super::syntax::{Comparison, Expr, ExprKind, Filter, Filtering, Lookup, LoopField, Meta, PartName};
use super::syntax::{ReaderField, SecretPart, Test, Which};
use super::value::{Text, Value};

type Result<T> = std::result::Result<T, Stop>;

impl<'a> Run<'a> {
    /// The value of the expression, which must be there.
    pub(super) fn present(&mut self, expr: &'a Expr) -> Result<Value<'a>> {
        match self.evaluate(expr)? {
            Value::Absent(fault) => Err(Stop::Fault(Rc::unwrap_or_clone(fault).into())),
            value => Ok(value),
        }
    }

    fn evaluate(&mut self, expr: &'a Expr) -> Result<Value<'a>> {
        self.spend(1, expr.span)?;
        let span = expr.span;
        match &expr.kind {
            ExprKind::Null => Ok(Value::Null),
            ExprKind::Bool(yes) => Ok(Value::Bool(*yes)),
            ExprKind::Integer(number) => Ok(Value::Number((*number).into())),
            ExprKind::Float(number) => Ok(Number::from_f64(*number).map_or(Value::Null, Value::Number)),
            ExprKind::Text(text) => Ok(Value::Text(Text::Borrowed(text.as_bytes()))),
            ExprKind::List(items) => self.list(items),
            ExprKind::Secret(lookup) => self.secret(lookup, span),
            ExprKind::Variable(variable) => Ok(self.scope[*variable].clone()),
            ExprKind::Loop(field) => Ok(self.loop_field(*field)),
            ExprKind::Env(name) => Ok(self.env(name, span)),
            ExprKind::Reader(field) => Ok(self.reader_field(*field, span)),
            ExprKind::Not(inner) => Ok(Value::Bool(!self.present(inner)?.is_true())),
            ExprKind::And(pair) => self.either(pair, false),
            ExprKind::Or(pair) => self.either(pair, true),
            ExprKind::Compare(comparison, pair) => self.compare(*comparison, pair, span),
            ExprKind::Concat(pair) => self.concat(pair, span),
            ExprKind::Conditional(choice) => {
                let holds = self.present(&choice.condition)?.is_true();
                self.evaluate(if holds { &choice.then } else { &choice.otherwise })
            }
            ExprKind::Filter(filtering) => self.filter(filtering, span),
            ExprKind::Is(test, inner) => self.test(*test, inner),
            ExprKind::Part(base, name) => self.part(base, name, span),
        }
    }

    fn list(&mut self, items: &'a [Expr]) -> Result<Value<'a>> {
        let items = items.iter().map(|item| self.present(item)).collect::<Result<_>>()?;
        Ok(Value::List(Rc::new(items)))
    }

    /// The first side if its truth is `wanted`, else the second.
    fn either(&mut self, pair: &'a [Expr; 2], wanted: bool) -> Result<Value<'a>> {
        let left = self.present(&pair[0])?;
        if left.is_true() == wanted { Ok(left) } else { self.present(&pair[1]) }
    }

    fn secret(&mut self, lookup: &'a Lookup, span: Span) -> Result<Value<'a>> {
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

    fn which(&self, which: &'a Which, span: Span) -> Result<&'a Reference> {
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
            None => {
                fault.hint(format!("`secretfs set {}` adds it; `| default(\"…\")` does without", key.path))
            }
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

    fn env(&self, name: &str, span: Span) -> Value<'a> {
        match (self.inputs.env)(name) {
            Some(value) => Value::text(value),
            None => undefined(span, format!("the environment has no `{name}`")),
        }
    }

    fn loop_field(&self, field: LoopField) -> Value<'a> {
        let (place, length) = self.loops.last().copied().unwrap_or_default();
        match field {
            LoopField::Index => Value::Number((place + 1).into()),
            LoopField::Index0 => Value::Number(place.into()),
            LoopField::First => Value::Bool(place == 0),
            LoopField::Last => Value::Bool(place + 1 == length),
            LoopField::Length => Value::Number(length.into()),
        }
    }

    fn reader_field(&self, field: ReaderField, span: Span) -> Value<'a> {
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

    fn concat(&mut self, pair: &'a [Expr; 2], span: Span) -> Result<Value<'a>> {
        let left = self.present(&pair[0])?;
        let right = self.present(&pair[1])?;
        let (left, right) = (filters::text_of(&left, span)?, filters::text_of(&right, span)?);
        let length = left.bytes().len() + right.bytes().len();
        filters::check_size(length, span)?;
        self.spend(length / 1024, span)?;
        let mut joined = Zeroizing::new(Vec::with_capacity(length));
        joined.extend_from_slice(left.bytes());
        joined.extend_from_slice(right.bytes());
        Ok(Value::Text(joined.into()))
    }

    fn compare(&mut self, comparison: Comparison, pair: &'a [Expr; 2], span: Span) -> Result<Value<'a>> {
        let left = self.present(&pair[0])?;
        let right = self.present(&pair[1])?;
        self.spend((size(&left) + size(&right)) / 1024, span)?;
        let order = |holds: fn(Ordering) -> bool| order(&left, &right, span).map(holds);
        let holds = match comparison {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Less => order(Ordering::is_lt)?,
            Comparison::LessOrEqual => order(Ordering::is_le)?,
            Comparison::Greater => order(Ordering::is_gt)?,
            Comparison::GreaterOrEqual => order(Ordering::is_ge)?,
            Comparison::In => contains(&right, &left, span)?,
            Comparison::NotIn => !contains(&right, &left, span)?,
        };
        Ok(Value::Bool(holds))
    }

    fn filter(&mut self, filtering: &'a Filtering, span: Span) -> Result<Value<'a>> {
        let Filtering { base, filter, arguments } = filtering;
        match filter {
            Filter::Default | Filter::Fallback => self.stand_in(base, arguments),
            Filter::Required => self.required(base, arguments, span),
            _ => {
                let base = self.present(base)?;
                let arguments: Vec<_> =
                    arguments.iter().map(|item| self.present(item)).collect::<Result<_>>()?;
                Ok(filters::apply(self, *filter, base, &arguments, span)?)
            }
        }
    }

    /// `default(x)`, `default(x, true)` (also for an empty value), `fallback(x)`.
    fn stand_in(&mut self, base: &'a Expr, arguments: &'a [Expr]) -> Result<Value<'a>> {
        let value = self.evaluate(base)?;
        let also_empty = match arguments.get(1) {
            Some(argument) => self.present(argument)?.is_true(),
            None => false,
        };
        let is_wanting = matches!(value, Value::Absent(_)) || (also_empty && !value.is_true());
        if is_wanting { self.evaluate(&arguments[0]) } else { Ok(value) }
    }

    /// Missing or empty is an error with the template's own words.
    fn required(&mut self, base: &'a Expr, arguments: &'a [Expr], span: Span) -> Result<Value<'a>> {
        let value = self.evaluate(base)?;
        let is_empty = matches!(&value, Value::Text(text) if text.bytes().is_empty());
        let mut fault = match value {
            Value::Absent(fault) => Rc::unwrap_or_clone(fault),
            _ if is_empty => *Fault::new(Kind::Filter, span, "the value is required, and empty"),
            value => return Ok(value),
        };
        // Only words that the template's author wrote: anything computed might hold a value.
        if let Some(ExprKind::Text(why)) = arguments.first().map(|argument| &argument.kind) {
            fault.message = format!("{}: {why}", fault.message);
        }
        Err(Stop::Fault(fault.into()))
    }

    fn test(&mut self, test: Test, inner: &'a Expr) -> Result<Value<'a>> {
        let holds = match test {
            Test::Defined => !matches!(self.evaluate(inner)?, Value::Absent(_)),
            Test::Undefined => matches!(self.evaluate(inner)?, Value::Absent(_)),
            Test::Null => matches!(self.present(inner)?, Value::Null),
            Test::NotNull => !matches!(self.present(inner)?, Value::Null),
        };
        Ok(Value::Bool(holds))
    }

    fn part(&mut self, base: &'a Expr, name: &PartName, span: Span) -> Result<Value<'a>> {
        let base = match self.evaluate(base)? {
            Value::Absent(fault) => return Ok(Value::Absent(fault)),
            base => base,
        };
        let found = match (&base, name) {
            (Value::Map(entries), PartName::Key(key)) => entries
                .iter()
                .rev()
                .find(|(known, _)| known.bytes() == key.as_bytes())
                .map(|(_, value)| value),
            (Value::List(items), PartName::Index(index)) => items.get(*index),
            _ => {
                let fault = Fault::new(Kind::Filter, span, format!("{} has no such parts", base.kind()));
                return Err(fault.hint("JSON in a text is read with `| from_json`").into());
            }
        };
        Ok(found.cloned().unwrap_or_else(|| {
            undefined(
                span,
                match name {
                    PartName::Key(key) => format!("the map has no `{key}`"),
                    PartName::Index(index) => format!("the list has no item {index} (they count from 0)"),
                },
            )
        }))
    }
}

fn absent<'a>(fault: Fault) -> Value<'a> {
    Value::Absent(Rc::new(fault))
}

fn undefined<'a>(span: Span, message: String) -> Value<'a> {
    absent(*Fault::new(Kind::Undefined, span, message).hint("`| default(\"…\")` does without"))
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
        Absent::Expired => format!("`secretfs rotate {}` gives it a new version", reference.key.path),
        _ => format!("`secretfs show {}` tells more", reference.key.path),
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
        None => fault.hint(format!("it has: {}", fields().collect::<Vec<_>>().join(", "))),
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

fn size(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) => text.bytes().len(),
        Value::List(items) => items.iter().map(|item| 64 + size(item)).sum(),
        Value::Map(entries) => entries.iter().map(|(key, item)| 64 + key.bytes().len() + size(item)).sum(),
        _ => 0,
    }
}

fn order(left: &Value<'_>, right: &Value<'_>, span: Span) -> Result<Ordering> {
    let order = match (left, right) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64().partial_cmp(&b.as_f64()),
        },
        (Value::Text(a), Value::Text(b)) => Some(a.bytes().cmp(b.bytes())),
        _ => None,
    };
    order.ok_or_else(|| {
        let message = format!("{} and {} have no order", left.kind(), right.kind());
        Fault::new(Kind::Filter, span, message).hint("compare two numbers or two texts").into()
    })
}

fn contains(whole: &Value<'_>, item: &Value<'_>, span: Span) -> Result<bool> {
    match (whole, item) {
        (Value::List(items), _) => Ok(items.contains(item)),
        (Value::Map(entries), Value::Text(key)) => {
            Ok(entries.iter().any(|(known, _)| known.bytes() == key.bytes()))
        }
        (Value::Text(whole), Value::Text(part)) => Ok(filters::find(whole.bytes(), part.bytes()).is_some()),
        _ => {
            let message = format!("`in` cannot look for {} in {}", item.kind(), whole.kind());
            Err(Fault::new(Kind::Filter, span, message).into())
        }
    }
}
