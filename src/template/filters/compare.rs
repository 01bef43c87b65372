//! `==`, `<`, `in` and their like. Values compare as the engine compares them, but only what has an order is
//! put in one.

use std::cmp::Ordering;

use minijinja::value::ValueKind;

use super::{Result, Use, Value, find, items, kind};

impl Use<'_> {
    pub(super) fn equals(&mut self, left: &Value) -> Result<bool> {
        self.pay(left)?;
        Ok(*left == self.arguments[0])
    }

    pub(super) fn compare(&mut self, left: &Value, holds: fn(Ordering) -> bool) -> Result<Value> {
        self.pay(left)?;
        let right = &self.arguments[0];
        let order = match (left.as_bytes(), right.as_bytes()) {
            (Some(left), Some(right)) => left.cmp(right),
            _ if left.is_number() && right.is_number() => left.cmp(right),
            _ => {
                let message = format!("{} and {} have no order", kind(left), kind(right));
                return Err(self.fault(message).hint("compare two numbers or two texts"));
            }
        };
        Ok(holds(order).into())
    }

    pub(super) fn contained(&mut self, item: &Value) -> Result<Value> {
        self.pay(item)?;
        let whole = &self.arguments[0];
        let found = match (whole.kind(), whole.as_bytes(), item.as_bytes()) {
            (ValueKind::Seq, ..) => items(whole).is_some_and(|items| items.contains(item)),
            (ValueKind::Map, _, Some(_)) => whole.get_item(item).is_ok_and(|found| !found.is_undefined()),
            (_, Some(whole), Some(item)) => find(whole, item).is_some(),
            _ => return Err(self.fault(format!("`in` cannot look for {} in {}", kind(item), kind(whole)))),
        };
        Ok(found.into())
    }

    fn pay(&mut self, left: &Value) -> Result<()> {
        self.spend((size(left) + size(&self.arguments[0])) / 1024)
    }
}

/// Roughly how many bytes a comparison has to look at.
fn size(value: &Value) -> usize {
    let parts = || value.try_iter().into_iter().flatten();
    match value.kind() {
        ValueKind::String | ValueKind::Bytes => value.as_bytes().map_or(0, <[u8]>::len),
        ValueKind::Seq => parts().map(|item| 64 + size(&item)).sum(),
        ValueKind::Map => {
            parts().map(|key| 64 + size(&key) + value.get_item(&key).map_or(0, |item| size(&item))).sum()
        }
        _ => 0,
    }
}
