//! `yaml`: follows the output as a YAML reader would, as far as it takes to know what a value stands in. A plain
//! or single-quoted scalar with a value is held back and written in double quotes, with escapes for all that
//! is not printable ASCII: what every reader reads alike. Block scalars are in `block`.

mod block;
mod place;
mod scalar;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Emitted, Encoder, Refusal, comment};
use crate::template::error::Span;
use crate::template::output::Output;
use block::Block;
use place::{Place, after_in_double, is_blank};
use scalar::Scalar;

pub(super) struct Yaml {
    place: Place,
    /// How many `[` and `{` are open.
    flow: usize,
    column: usize,
    /// Where the node that is being read began.
    node: Option<usize>,
    /// The column of the innermost `key:`, `- ` or `? `, which is what its lines are deeper than.
    parent: Option<usize>,
    /// A plain scalar ended with its line, and goes on in a deeper one.
    after_plain: bool,
    /// The last byte of text; a space after a value's place began, 0 after a value.
    last: u8,
    scalar: Scalar,
    /// Readers no longer agree about what is a line.
    doubt: bool,
}

impl Yaml {
    pub(super) fn new(cap: usize) -> Self {
        Self {
            place: Place::LineStart,
            flow: 0,
            column: 0,
            node: None,
            parent: None,
            after_plain: false,
            last: b'\n',
            scalar: Scalar::new(cap),
            doubt: false,
        }
    }

    fn byte(&mut self, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        self.follow(byte, out)?;
        // A lone carriage return is a line's end to some.
        self.doubt |= self.last == b'\r' && byte != b'\n';
        self.last = byte;
        self.column = if byte == b'\n' { 0 } else { self.column + 1 };
        Ok(())
    }

    fn follow(&mut self, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        match self.place {
            Place::LineStart => self.begin_line(byte, out),
            Place::Node => self.begin(byte, out),
            Place::Indicator(indicator) => self.after_indicator(indicator, byte, out),
            Place::Plain { colon } => self.byte_of_plain(colon, byte, out),
            Place::Single { closed } => self.byte_of_single(closed, byte, out),
            Place::Double { escape, broken } => {
                self.place = after_in_double(escape, broken, byte);
                Ok(out.put(&[byte])?)
            }
            Place::Property => self.byte_of_property(byte, out),
            Place::Continued => self.byte_of_continued(byte, out),
            Place::AfterScalar => self.after_scalar(byte, out),
            Place::Comment | Place::Reserved => {
                self.end_line_at(byte);
                Ok(out.put(&[byte])?)
            }
            Place::Header(block) => {
                self.place = match block.header(byte) {
                    Some(block) => Place::Header(block),
                    None => Place::Block(block.begin(self.parent)),
                };
                Ok(out.put(&[byte])?)
            }
            Place::Block(block) => self.byte_of_block(block, byte, out),
        }
    }

    fn end_line_at(&mut self, byte: u8) {
        if byte == b'\n' {
            self.place = Place::LineStart;
            self.node = None;
        }
    }

    fn begin_line(&mut self, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'#') {
            return self.begin(byte, out);
        }
        if self.is_continued(byte) {
            self.place = Place::Continued;
            return self.byte_of_continued(byte, out);
        }
        self.after_plain = false;
        self.begin(byte, out)
    }

    /// Whether what begins here goes on with the plain scalar of the line before.
    fn is_continued(&self, byte: u8) -> bool {
        let is_deeper = self.parent.is_none_or(|parent| self.column > parent);
        self.after_plain && if self.flow > 0 { !b",]}:".contains(&byte) } else { is_deeper }
    }

    fn begin(&mut self, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'#') {
            self.node.get_or_insert(self.column);
        }
        match byte {
            b'-' | b'?' | b':' => {
                self.place = Place::Indicator(byte);
                return Ok(());
            }
            b'\'' => {
                self.place = Place::Single { closed: false };
                return Ok(());
            }
            b' ' | b'\t' | b'\r' => {}
            b'\n' => self.end_line_at(byte),
            b'#' if is_blank(self.last) => self.place = Place::Comment,
            b'[' | b'{' | b']' | b'}' | b',' if self.flow > 0 || b"[{".contains(&byte) => self.bracket(byte),
            b'&' | b'*' | b'!' => self.place = Place::Property,
            b'|' | b'>' if self.flow == 0 => self.place = Place::Header(Block::new(byte == b'>')),
            b'"' => self.place = Place::Double { escape: 0, broken: false },
            b'%' | b'@' | b'`' | b',' | b']' | b'}' => self.place = Place::Reserved,
            _ => {
                self.place = Place::Plain { colon: false };
                return self.scalar.text(byte);
            }
        }
        Ok(out.put(&[byte])?)
    }

    fn bracket(&mut self, byte: u8) {
        self.place = Place::Node;
        match byte {
            b'[' | b'{' => self.flow += 1,
            b',' => {}
            _ => {
                self.flow -= 1;
                self.place = Place::AfterScalar;
            }
        }
    }

    fn after_indicator(&mut self, indicator: u8, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        if is_blank(byte) || (self.flow > 0 && b",[]{}".contains(&byte)) {
            out.put(&[indicator])?;
            self.enter();
            return self.follow(byte, out);
        }
        self.place = Place::Plain { colon: indicator == b':' };
        if indicator != b':' {
            self.scalar.text(indicator)?;
        }
        self.follow(byte, out)
    }

    /// After a key or an indicator.
    fn enter(&mut self) {
        if self.flow == 0 {
            self.parent = self.node;
        }
        self.node = None;
        self.place = Place::Node;
    }

    fn byte_of_plain(&mut self, colon: bool, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        let ends_in_flow = self.flow > 0 && b",[]{}".contains(&byte);
        if colon && (is_blank(byte) || ends_in_flow) {
            self.scalar.write_plain(out)?;
            out.put(b":")?;
            self.enter();
            return self.follow(byte, out);
        }
        if colon {
            self.scalar.text(b':')?;
        }
        self.place = Place::Plain { colon: byte == b':' };
        match byte {
            b':' => Ok(()),
            b' ' | b'\t' | b'\r' | b'\n' if self.scalar.is_marker() => {
                // Indented it is none, but to some.
                let is_marker = self.column == 3;
                self.after_plain = !is_marker;
                self.parent = self.parent.filter(|_| !is_marker);
                self.leave_plain(if is_marker { Place::Node } else { Place::Reserved }, byte, out)
            }
            b'\n' => {
                self.after_plain = true;
                self.leave_plain(Place::AfterScalar, byte, out)
            }
            b'#' if is_blank(self.last) => self.leave_plain(Place::AfterScalar, byte, out),
            _ if ends_in_flow => self.leave_plain(Place::Node, byte, out),
            _ => self.scalar.text(byte),
        }
    }

    fn leave_plain(&mut self, place: Place, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        self.scalar.write_plain(out)?;
        self.place = place;
        self.follow(byte, out)
    }

    fn byte_of_single(&mut self, closed: bool, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        match (closed, byte) {
            (false, b'\'') => self.place = Place::Single { closed: true },
            (true, b'\'') => {
                self.place = Place::Single { closed: false };
                self.scalar.text(b'\'')?;
            }
            (false, _) => self.scalar.text(byte)?,
            (true, _) => {
                self.scalar.write_single(out)?;
                self.place = Place::AfterScalar;
                return self.follow(byte, out);
            }
        }
        Ok(())
    }

    fn byte_of_property(&mut self, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        if is_blank(byte) || (self.flow > 0 && b",[]{}".contains(&byte)) {
            self.place = Place::Node;
            return self.begin(byte, out);
        }
        Ok(out.put(&[byte])?)
    }

    fn byte_of_continued(&mut self, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        match byte {
            b'#' if is_blank(self.last) => self.place = Place::Comment,
            b',' | b'[' | b']' | b'{' | b'}' if self.flow > 0 => self.bracket(byte),
            _ => self.end_line_at(byte),
        }
        Ok(out.put(&[byte])?)
    }

    fn after_scalar(&mut self, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        match byte {
            b':' => self.enter(),
            b'#' if is_blank(self.last) => self.place = Place::Comment,
            b',' | b'[' | b']' | b'{' | b'}' if self.flow > 0 => self.bracket(byte),
            _ => self.end_line_at(byte),
        }
        Ok(out.put(&[byte])?)
    }

    fn byte_of_block(&mut self, mut block: Block, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        if block.ends_before(byte, self.column) {
            block.end()?;
            self.place = Place::LineStart;
            self.node = None;
            return self.follow(byte, out);
        }
        block.text(byte, self.column, out)?;
        self.place = Place::Block(block);
        Ok(())
    }

    fn value_of_block(
        &mut self,
        mut block: Block,
        value: Emitted<'_>,
        at: Span,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        if block.ends_before(b'x', self.column) {
            block.end()?;
            self.place = Place::LineStart;
            self.node = None;
            return self.value(value, at, out);
        }
        block.value(value, at, self.column, out)?;
        self.place = Place::Block(block);
        Ok(())
    }

    fn value_of_scalar(&mut self, value: Emitted<'_>, at: Span) -> Result<(), Refusal> {
        self.place = match self.place {
            Place::Single { .. } => Place::Single { closed: false },
            Place::Plain { colon: true } | Place::Indicator(b':') => {
                self.scalar.text(b':')?;
                Place::Plain { colon: false }
            }
            Place::Indicator(indicator) => {
                self.scalar.text(indicator)?;
                Place::Plain { colon: false }
            }
            _ => Place::Plain { colon: false },
        };
        self.after_plain = false;
        self.node.get_or_insert(self.column);
        self.scalar.value(value, at)
    }
}

impl Encoder for Yaml {
    fn text(&mut self, text: &[u8], out: &mut Output) -> Result<(), Refusal> {
        // Line breaks in YAML 1.1 only, and a mark that shifts columns.
        let odd = |c: char| matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
        self.doubt |= std::str::from_utf8(text).is_ok_and(|text| text.contains(odd));
        text.iter().try_for_each(|&byte| self.byte(byte, out))
    }

    fn value(&mut self, value: Emitted<'_>, at: Span, out: &mut Output) -> Result<(), Refusal> {
        if self.doubt || self.last == b'\r' {
            return Err(Refusal::here(
                "the text before it has line breaks that only some readers take for such",
                "leave carriage returns, U+0085, U+2028 and U+2029 out of the template",
            ));
        }
        let Ok(text) = std::str::from_utf8(value.bytes()) else {
            return Err(Refusal::here("the value is not UTF-8, and YAML is", "encode it: `| b64encode`"));
        };
        let is_quoted = matches!(value, Emitted::Quoted(_));
        match self.place {
            Place::Single { .. } | Place::Double { .. } if is_quoted => {
                return Err(Refusal::here("`quote` within quotes", "leave one of them out"));
            }
            Place::LineStart if self.is_continued(b'x') => return Err(self.place.refusal()),
            Place::LineStart
            | Place::Node
            | Place::Indicator(_)
            | Place::Plain { .. }
            | Place::Single { closed: false } => self.value_of_scalar(value, at)?,
            Place::Double { escape: 0, broken: false } => scalar::write_escaped(text, out)?,
            Place::Comment => {
                comment::judge(value.bytes())?;
                out.put(value.bytes())?;
            }
            Place::Block(block) => self.value_of_block(block, value, at, out)?,
            _ => return Err(self.place.refusal()),
        }
        self.last = 0;
        self.column += 1;
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Refusal> {
        match self.place {
            Place::Plain { colon } => {
                self.scalar.write_plain(out)?;
                Ok(out.put(if colon { b":" } else { b"" })?)
            }
            Place::Single { closed: true } => self.scalar.write_single(out),
            Place::Single { closed: false } => self.scalar.write_unclosed(out),
            Place::Indicator(indicator) => Ok(out.put(&[indicator])?),
            Place::Block(block) => block.end(),
            _ => Ok(()),
        }
    }
}

pub(super) fn verify(output: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(output) else {
        return Err("the rendered file is not UTF-8, and YAML is".to_owned());
    };
    for document in serde_yaml::Deserializer::from_str(text) {
        IgnoredAny::deserialize(document).map_err(|error| match error.location() {
            Some(place) => {
                let (line, column) = (place.line(), place.column());
                format!("the rendered file is not valid YAML: broken at its line {line}, column {column}")
            }
            None => "the rendered file is not valid YAML".to_owned(),
        })?;
    }
    Ok(())
}
