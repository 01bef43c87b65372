//! The filters that work on a value that is there. Each takes texts as bytes, bounds its result before it
//! allocates it, and pays for its work. `default`, `fallback` and `required` are in `evaluate`.

mod digest;
mod encode;
mod text;

use zeroize::Zeroizing;

use super::error::{Fault, Kind, Span};
use super::json::{self, Unwritable};
use super::output::Output;
use super::run::Run;
use super::syntax::Filter;
use super::value::{Text, Value};

pub(super) use text::find;

/// The largest value that a filter or `~` makes, in bytes.
const LARGEST_VALUE: usize = 4 * 1024 * 1024;

type Result<T> = std::result::Result<T, Box<Fault>>;

/// One use of a filter.
struct Use<'r, 'a> {
    run: &'r mut Run<'a>,
    arguments: &'r [Value<'a>],
    span: Span,
}

pub(super) fn apply<'a>(
    run: &mut Run<'a>,
    filter: Filter,
    base: Value<'a>,
    arguments: &[Value<'a>],
    span: Span,
) -> Result<Value<'a>> {
    let mut used = Use { run, arguments, span };
    match filter {
        Filter::Join => return used.join(&base),
        Filter::ToJson => return used.write_json(&base),
        _ => {}
    }
    let text = text_of(&base, span)?;
    used.pay(text.bytes().len())?;
    match filter {
        Filter::Hash => used.hash(text.bytes()),
        Filter::Bcrypt => used.bcrypt(text.bytes()),
        Filter::B64Encode => used.b64encode(text.bytes()),
        Filter::B64Decode => used.b64decode(text.bytes()),
        Filter::UrlEncode => used.urlencode(text.bytes()),
        Filter::Indent => used.indent(text.bytes()),
        Filter::Trim => Ok(used.trim(text.bytes())),
        Filter::Lower => used.with_case(text.bytes(), str::to_lowercase),
        Filter::Upper => used.with_case(text.bytes(), str::to_uppercase),
        Filter::Split => used.split(text.bytes()),
        Filter::Lines => used.lines(text.bytes()),
        Filter::FromJson => used.read_json(text.bytes()),
        Filter::Default | Filter::Fallback | Filter::Required | Filter::Join | Filter::ToJson => Ok(base),
    }
}

impl<'a> Use<'_, 'a> {
    fn pay(&mut self, bytes: usize) -> Result<()> {
        self.run.spend(bytes / 1024, self.span)
    }

    fn fault(&self, message: impl Into<String>) -> Box<Fault> {
        Fault::new(Kind::Filter, self.span, message)
    }

    /// A buffer for a result of a known size, so that it never moves and leaves nothing behind.
    fn buffer(&mut self, size: usize) -> Result<Zeroizing<Vec<u8>>> {
        check_size(size, self.span)?;
        self.pay(size)?;
        Ok(Zeroizing::new(Vec::with_capacity(size)))
    }

    fn argument_text(&self, place: usize) -> Result<Option<Text<'a>>> {
        self.arguments.get(place).map(|argument| text_of(argument, self.span)).transpose()
    }

    fn argument_number(&self, place: usize, least: usize, most: usize, usual: usize) -> Result<usize> {
        let Some(argument) = self.arguments.get(place) else { return Ok(usual) };
        let number = match argument {
            Value::Number(number) => number.as_u64().and_then(|number| usize::try_from(number).ok()),
            _ => None,
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.fault(format!("the argument must be a number from {least} to {most}")))
    }

    fn read_json(&mut self, bytes: &[u8]) -> Result<Value<'a>> {
        // A value in memory is many times as large as what is written for it.
        self.run.spend(bytes.len() / 64, self.span)?;
        json::read(bytes).ok_or_else(|| {
            self.fault("the value is not JSON, or has a number of more digits than can be kept exactly")
        })
    }

    fn write_json(&mut self, value: &Value<'a>) -> Result<Value<'a>> {
        let mut out = Output::new(LARGEST_VALUE);
        match json::write(value, &mut out) {
            Ok(()) => {
                self.pay(out.bytes().len())?;
                Ok(Value::Json(out.into_bytes().into()))
            }
            Err(Unwritable::Full) => Err(too_large(self.span)),
            Err(Unwritable::NotUtf8) => {
                let message = "the value is not UTF-8, and JSON is";
                Err(Fault::new(Kind::Unencodable, self.span, message).hint("encode it first: `| b64encode`"))
            }
        }
    }
}

/// The value as a text: texts, numbers, and what is true, false or null.
pub(super) fn text_of<'a>(value: &Value<'a>, span: Span) -> Result<Text<'a>> {
    match value {
        Value::Text(text) | Value::Json(text) => Ok(text.clone()),
        Value::Null => Ok(Text::Borrowed(b"null")),
        Value::Bool(true) => Ok(Text::Borrowed(b"true")),
        Value::Bool(false) => Ok(Text::Borrowed(b"false")),
        Value::Number(number) => Ok(Zeroizing::new(number.to_string().into_bytes()).into()),
        Value::List(_) | Value::Map(_) | Value::Absent(_) => {
            let fault = Fault::new(
                Kind::Filter,
                span,
                format!("a text is needed here, and this is {}", value.kind()),
            );
            Err(fault.hint("use `| tojson`, `| join(\",\")`, or name a part"))
        }
    }
}

pub(super) fn check_size(size: usize, span: Span) -> Result<()> {
    if size > LARGEST_VALUE { Err(too_large(span)) } else { Ok(()) }
}

fn too_large(span: Span) -> Box<Fault> {
    Fault::new(Kind::Limit, span, "the result would have more than 4 MiB")
}
