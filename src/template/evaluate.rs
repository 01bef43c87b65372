//! Evaluates expressions. A missing value is an ordinary value here until something needs it, which is how
//! `default` and `fallback` can stand in for it, and nothing else.

use std::rc::Rc;

use serde_json::Number;
use zeroize::Zeroizing;

use super::compare;
use super::error::{Fault, Kind, Span};
use super::filters;
use super::lookup::undefined;
use super::run::{Run, Stop};
use super::syntax::{Comparison, Expr, ExprKind, Filter, Filtering, PartName, Test};
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
        self.spend((compare::size(&left) + compare::size(&right)) / 1024, span)?;
        Ok(Value::Bool(compare::holds(comparison, &left, &right, span)?))
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
                return Err(fault.hint("read JSON with `| from_json` first").into());
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
