//! Compares values: `==`, `<`, `in` and their like. Uses `value` only.

use std::cmp::Ordering;

use super::error::{Fault, Kind, Span};
use super::filters::find;
use super::syntax::Comparison;
use super::value::Value;

type Result<T> = std::result::Result<T, Box<Fault>>;

pub(super) fn holds(comparison: Comparison, left: &Value<'_>, right: &Value<'_>, span: Span) -> Result<bool> {
    let order = |holds: fn(Ordering) -> bool| order(left, right, span).map(holds);
    match comparison {
        Comparison::Equal => Ok(left == right),
        Comparison::NotEqual => Ok(left != right),
        Comparison::Less => order(Ordering::is_lt),
        Comparison::LessOrEqual => order(Ordering::is_le),
        Comparison::Greater => order(Ordering::is_gt),
        Comparison::GreaterOrEqual => order(Ordering::is_ge),
        Comparison::In => contains(right, left, span),
        Comparison::NotIn => contains(right, left, span).map(|contains| !contains),
    }
}

/// Roughly how many bytes a comparison has to look at.
pub(super) fn size(value: &Value<'_>) -> usize {
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
        Fault::new(Kind::Filter, span, message).hint("compare two numbers or two texts")
    })
}

fn contains(whole: &Value<'_>, item: &Value<'_>, span: Span) -> Result<bool> {
    match (whole, item) {
        (Value::List(items), _) => Ok(items.contains(item)),
        (Value::Map(entries), Value::Text(key)) => {
            Ok(entries.iter().any(|(known, _)| known.bytes() == key.bytes()))
        }
        (Value::Text(whole), Value::Text(part)) => Ok(find(whole.bytes(), part.bytes()).is_some()),
        _ => {
            let message = format!("`in` cannot look for {} in {}", item.kind(), whole.kind());
            Err(Fault::new(Kind::Filter, span, message))
        }
    }
}
