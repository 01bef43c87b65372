//! The filters, and the operators, which are filters for the engine too. Each takes texts as bytes, bounds
//! its result before it allocates it, and pays for its work.

mod compare;
mod digest;
mod encode;
mod program;
mod text;

use std::borrow::Cow;

use minijinja::Value;
use minijinja::value::ValueKind;
use zeroize::Zeroizing;

use super::error::{Fault, Kind, Span};
use super::gap::Gap;
use super::json::{self, Unwritable};
use super::output::Output;
use super::run::{Run, State};

pub(super) use program::OPERATORS;

/// The largest value that a filter or `~` makes, in bytes.
const LARGEST_VALUE: usize = 4 * 1024 * 1024;

type Result<T> = std::result::Result<T, Box<Fault>>;

/// A filter with the fewest and the most arguments it takes.
pub(super) struct Filter {
    pub(super) name: &'static str,
    pub(super) fewest: usize,
    pub(super) most: usize,
    pub(super) apply: Apply,
}

#[derive(Clone, Copy)]
pub(super) enum Apply {
    /// Works on what is there; a gap passes through.
    Value(fn(&mut Use<'_>, &Value) -> Result<Value>),
    /// Works on texts, and what can be written as one.
    Text(fn(&mut Use<'_>, &[u8]) -> Result<Value>),
    /// Is there for gaps.
    Gap(fn(&mut Use<'_>, Value) -> Result<Value>),
}

const fn filter(name: &'static str, fewest: usize, most: usize, apply: Apply) -> Filter {
    Filter { name, fewest, most, apply }
}

pub(super) const ALL: [Filter; 17] = [
    filter("default", 1, 2, Apply::Gap(|used, value| used.stand_in(value))),
    filter("fallback", 1, 1, Apply::Gap(|used, value| used.stand_in(value))),
    filter("required", 0, 1, Apply::Gap(|used, value| used.required(value))),
    filter("hash", 1, 1, Apply::Text(|used, text| used.hash(text))),
    filter("bcrypt", 0, 1, Apply::Text(|used, text| used.bcrypt(text))),
    filter("b64encode", 0, 0, Apply::Text(|used, text| used.b64encode(text))),
    filter("b64decode", 0, 0, Apply::Text(|used, text| used.b64decode(text))),
    filter("urlencode", 0, 0, Apply::Text(|used, text| used.urlencode(text))),
    filter("tojson", 0, 0, Apply::Value(|used, value| used.write_json(value))),
    filter("indent", 0, 2, Apply::Text(|used, text| used.indent(text))),
    filter("trim", 0, 0, Apply::Text(|used, text| Ok(used.trim(text)))),
    filter("lower", 0, 0, Apply::Text(|used, text| used.with_case(text, str::to_lowercase))),
    filter("upper", 0, 0, Apply::Text(|used, text| used.with_case(text, str::to_uppercase))),
    filter("join", 0, 1, Apply::Value(|used, value| used.join(value))),
    filter("split", 1, 1, Apply::Text(|used, text| used.split(text))),
    filter("lines", 0, 0, Apply::Text(|used, text| used.lines(text))),
    filter("from_json", 0, 0, Apply::Text(|used, text| used.read_json(text))),
];

/// All that a template can write after a `|`. The last two say how a value is emitted.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|filter| filter.name).chain(["raw", "quote"])
}

pub(super) fn is_known(name: &str) -> bool {
    names().any(|known| known == name)
}

/// One use of a filter.
pub(super) struct Use<'r> {
    pub(super) run: &'r Run,
    pub(super) state: &'r mut State,
    pub(super) arguments: &'r [Value],
    pub(super) span: Span,
}

impl<'r> Use<'r> {
    pub(super) fn apply(&mut self, apply: Apply, base: Value) -> Result<Value> {
        let work = match apply {
            Apply::Gap(work) => return work(self, base),
            Apply::Value(_) | Apply::Text(_) => apply,
        };
        if let Some(gap) = std::iter::once(&base).chain(self.arguments).find_map(Gap::of) {
            return Ok(gap.firm().into());
        }
        match work {
            Apply::Value(work) => work(self, &base),
            Apply::Text(work) => {
                let text = text_of(&base, self.span)?;
                self.spend(text.len() / 1024)?;
                work(self, &text)
            }
            Apply::Gap(work) => work(self, base),
        }
    }

    fn spend(&mut self, steps: usize) -> Result<()> {
        self.state.spend(steps, self.span)
    }

    fn fault(&self, message: impl Into<String>) -> Box<Fault> {
        Fault::new(Kind::Filter, self.span, message)
    }

    /// A buffer for a result of a known size, so that it never moves and leaves nothing behind.
    fn buffer(&mut self, size: usize) -> Result<Zeroizing<Vec<u8>>> {
        if size > LARGEST_VALUE {
            return Err(too_large(self.span));
        }
        self.spend(size / 1024)?;
        Ok(Zeroizing::new(Vec::with_capacity(size)))
    }

    fn argument_text(&self, place: usize) -> Result<Option<Cow<'r, [u8]>>> {
        self.arguments.get(place).map(|argument| text_of(argument, self.span)).transpose()
    }

    fn argument_number(&self, place: usize, least: usize, most: usize, usual: usize) -> Result<usize> {
        let Some(argument) = self.arguments.get(place) else { return Ok(usual) };
        let number = argument.as_usize().filter(|_| argument.is_integer());
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.fault(format!("the argument must be a number from {least} to {most}")))
    }

    /// `default(x)`, `default(x, true)` (also for an empty value), `fallback(x)`.
    fn stand_in(&mut self, base: Value) -> Result<Value> {
        if let Some(gap) = self.arguments.get(1).and_then(Gap::of) {
            return Ok(gap.firm().into());
        }
        let also_empty = self.arguments.get(1).is_some_and(Value::is_true);
        let is_wanting = match Gap::of(&base).as_deref() {
            Some(gap) => matches!(gap, Gap::Missing(_)),
            None => also_empty && !base.is_true(),
        };
        Ok(if is_wanting { self.arguments[0].clone() } else { base })
    }

    /// Missing or empty is an error with the template's own words.
    fn required(&mut self, base: Value) -> Result<Value> {
        let mut fault = match Gap::of(&base).as_deref() {
            Some(Gap::Missing(fault) | Gap::Firm(fault)) => fault.clone(),
            None if base.as_bytes().is_some_and(<[u8]>::is_empty) => {
                *self.fault("the value is required, and empty")
            }
            _ => return Ok(base),
        };
        if let Some(why) = self.arguments.first() {
            fault.message = format!("{}: {why}", fault.message);
        }
        Ok(Gap::Firm(fault).into())
    }

    fn read_json(&mut self, bytes: &[u8]) -> Result<Value> {
        // A value in memory is many times as large as what is written for it.
        self.spend(bytes.len() / 64)?;
        json::read(bytes).ok_or_else(|| {
            self.fault("the value is not JSON, or has a number of more digits than can be kept exactly")
        })
    }

    fn write_json(&mut self, value: &Value) -> Result<Value> {
        let mut out = Output::new(LARGEST_VALUE);
        match json::write(value, &mut out) {
            Ok(()) => {
                self.spend(out.bytes().len() / 1024)?;
                Ok(Value::from_safe_string(String::from_utf8_lossy(out.bytes()).into_owned()))
            }
            Err(Unwritable::Full) => Err(too_large(self.span)),
            Err(Unwritable::Kind(kind)) => Err(self.fault(format!("{kind} cannot be written as JSON"))),
            Err(Unwritable::NotUtf8) => {
                let message = "the value is not UTF-8, and JSON is";
                Err(Fault::new(Kind::Unencodable, self.span, message).hint("encode it first: `| b64encode`"))
            }
        }
    }
}

/// A text of the engine; bytes if it is not UTF-8.
pub(super) fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => Value::from_bytes(bytes.to_vec()),
    }
}

/// The value as a text: texts, numbers, and what is true, false or null.
fn text_of(value: &Value, span: Span) -> Result<Cow<'_, [u8]>> {
    if let Some(bytes) = value.as_bytes() {
        return Ok(Cow::Borrowed(bytes));
    }
    match bare(value) {
        Some(text) => Ok(Cow::Owned(text.into_bytes())),
        None => {
            let message = format!("a text is needed here, and this is {}", kind(value));
            Err(Fault::new(Kind::Filter, span, message)
                .hint("use `| tojson`, `| join(\",\")`, or name a part"))
        }
    }
}

/// A number, `true`, `false` or `null`, as configs write them.
fn bare(value: &Value) -> Option<String> {
    match value.kind() {
        ValueKind::None => Some("null".to_owned()),
        ValueKind::Bool => Some(value.is_true().to_string()),
        ValueKind::Number => Some(value.to_string()),
        _ => None,
    }
}

/// What it is, for an error.
pub(super) fn kind(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::None => "null",
        ValueKind::Bool => "a true or false",
        ValueKind::Number => "a number",
        ValueKind::String | ValueKind::Bytes => "a text",
        ValueKind::Seq => "a list",
        ValueKind::Map => "a map",
        _ => "nothing",
    }
}

/// The items of a list.
fn items(value: &Value) -> Option<Vec<Value>> {
    (value.kind() == ValueKind::Seq).then(|| value.try_iter().into_iter().flatten().collect())
}

fn too_large(span: Span) -> Box<Fault> {
    Fault::new(Kind::Limit, span, "the result would have more than 4 MiB")
}

/// Where `part` begins in `whole`.
fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    let first = part[0];
    let mut from = 0;
    while let Some(at) = whole[from..].iter().position(|&byte| byte == first) {
        if whole[from + at..].starts_with(part) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}
