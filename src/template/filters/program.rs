//! What a judged program is made of besides filters: texts and values that are written, operators, what a
//! condition or a loop needs. Templates cannot name them.

use minijinja::Value;
use minijinja::value::ValueKind;

use super::{Apply, Result, Use, bare, items, kind, text, text_of};
use crate::template::escape::Emitted;
use crate::template::gap::Gap;
use crate::template::run::How;

pub(in crate::template) const OPERATORS: [(&str, Apply); 19] = [
    ("text", Apply::Gap(|used, _| used.literal())),
    ("emit", Apply::Gap(|used, value| used.emit(&value, How::Encoded))),
    ("raw", Apply::Gap(|used, value| used.emit(&value, How::Raw))),
    ("quote", Apply::Gap(|used, value| used.emit(&value, How::Quoted))),
    ("sure", Apply::Gap(|used, value| used.sure(value))),
    ("items", Apply::Gap(|used, value| used.items(value))),
    ("defined", Apply::Gap(|used, value| used.defined(value, true))),
    ("undefined", Apply::Gap(|used, value| used.defined(value, false))),
    ("part", Apply::Gap(|used, value| used.part(value))),
    ("list", Apply::Value(|used, value| used.list(value))),
    ("is_none", Apply::Value(|_, value| Ok(value.is_none().into()))),
    ("concat", Apply::Text(|used, text| used.concat(text))),
    ("eq", Apply::Value(|used, left| Ok(used.equals(left)?.into()))),
    ("ne", Apply::Value(|used, left| Ok((!used.equals(left)?).into()))),
    ("lt", Apply::Value(|used, left| used.compare(left, |order| order.is_lt()))),
    ("le", Apply::Value(|used, left| used.compare(left, |order| order.is_le()))),
    ("gt", Apply::Value(|used, left| used.compare(left, |order| order.is_gt()))),
    ("ge", Apply::Value(|used, left| used.compare(left, |order| order.is_ge()))),
    ("in_", Apply::Value(|used, value| used.contained(value))),
];

impl Use<'_> {
    fn literal(&mut self) -> Result<Value> {
        let literal = self.span.of(self.run.text());
        self.state.text(literal.as_bytes(), self.span)?;
        Ok(Value::from(()))
    }

    fn emit(&mut self, value: &Value, how: How) -> Result<Value> {
        if let Some(gap) = Gap::of(value) {
            self.state.note(&gap)?;
            return Ok(Value::from(()));
        }
        let written = bare(value);
        let emitted = match (value.as_bytes(), &written, how) {
            (Some(bytes), _, How::Quoted) => Emitted::Quoted(bytes),
            (Some(bytes), ..) if value.is_safe() => Emitted::Json(bytes),
            (Some(bytes), ..) => Emitted::Text(bytes),
            (None, Some(text), How::Quoted) => Emitted::Text(text.as_bytes()),
            (None, Some(text), _) => Emitted::Bare(text),
            (None, None, _) => {
                let fault = self.fault(format!("{} cannot be written", kind(value)));
                return Err(fault.hint("use `| tojson`, `| join(\",\")`, or name a part"));
            }
        };
        self.state.value(emitted, how, self.span)?;
        Ok(Value::from(()))
    }

    /// What a condition needs: without it nothing can go on.
    fn sure(&mut self, value: Value) -> Result<Value> {
        match Gap::of(&value) {
            Some(gap) => Err(self.state.stop(&gap, self.span)),
            None => Ok(value),
        }
    }

    /// What a loop goes over, for so many loop variables.
    fn items(&mut self, value: Value) -> Result<Value> {
        let value = self.sure(value)?;
        let targets = self.arguments.first().and_then(Value::as_usize).unwrap_or(1);
        let found = match value.kind() {
            ValueKind::Seq => items(&value),
            ValueKind::Map => value.try_iter().ok().map(Iterator::collect),
            _ => None,
        };
        let found = found.ok_or_else(|| {
            self.fault(format!("{} cannot be looped over", kind(&value)))
                .hint("make a list of it: `| lines`, `| split(\",\")` or `| from_json`")
        })?;
        if targets > 1
            && !found.iter().all(|item| item.kind() == ValueKind::Seq && item.len() == Some(targets))
        {
            return Err(self.fault(format!("an item of this list does not have {targets} parts")));
        }
        Ok(Value::from(found))
    }

    fn defined(&mut self, value: Value, wanted: bool) -> Result<Value> {
        Ok(match Gap::of(&value).as_deref() {
            Some(Gap::Missing(_)) => (!wanted).into(),
            Some(_) => value,
            None => wanted.into(),
        })
    }

    /// A part of what `from_json` gave.
    fn part(&mut self, base: Value) -> Result<Value> {
        if Gap::of(&base).is_some() {
            return Ok(base);
        }
        let name = &self.arguments[0];
        let fits = match base.kind() {
            ValueKind::Map => name.as_str().is_some(),
            ValueKind::Seq => name.is_integer(),
            _ => false,
        };
        if !fits {
            let fault = self.fault(format!("{} has no such parts", kind(&base)));
            return Err(fault.hint("read JSON with `| from_json` first"));
        }
        let found = base.get_item(name).unwrap_or_default();
        if !found.is_undefined() {
            return Ok(found);
        }
        let message = match name.as_str() {
            Some(key) => format!("the map has no `{key}`"),
            None => format!("the list has no item {name} (they count from 0)"),
        };
        Ok(Gap::undefined(self.span, message).into())
    }

    /// A literal list, whose items may be missing.
    fn list(&mut self, list: &Value) -> Result<Value> {
        let gap = items(list).into_iter().flatten().find_map(|item| Gap::of(&item));
        Ok(gap.map_or_else(|| list.clone(), |gap| gap.firm().into()))
    }

    fn concat(&mut self, left: &[u8]) -> Result<Value> {
        let right = text_of(&self.arguments[0], self.span)?.into_owned();
        let mut joined = self.buffer(left.len() + right.len())?;
        joined.extend_from_slice(left);
        joined.extend_from_slice(&right);
        Ok(text(&joined))
    }
}
