//! A block scalar (`|`, `>`): a value stands there as it is, each of its lines as deep as the block. What no
//! line can carry is refused.

use super::super::{Emitted, Refusal};
use crate::template::error::Span;
use crate::template::output::Output;

#[derive(Clone, Copy)]
pub(super) struct Block {
    is_folded: bool,
    chomp: Chomp,
    in_comment: bool,
    /// The number in its header.
    deeper_by: Option<usize>,
    /// What its lines are deeper than.
    parent: Option<usize>,
    /// How deep its lines are, once that is known.
    depth: Option<usize>,
    /// Nothing but blanks in this line so far.
    at_line_start: bool,
    /// A value ended with a line break: what comes next begins a line.
    owes_depth: bool,
    /// The line breaks of a value since the last other character.
    breaks: usize,
    last_value: Option<Span>,
}

/// What becomes of the line breaks at the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chomp {
    One,
    None,
    All,
}

const OUTSIDE: &str = "write it after the key, without a block";

impl Block {
    pub(super) fn new(is_folded: bool) -> Self {
        Self {
            is_folded,
            chomp: Chomp::One,
            in_comment: false,
            deeper_by: None,
            parent: None,
            depth: None,
            at_line_start: true,
            owes_depth: false,
            breaks: 0,
            last_value: None,
        }
    }

    /// The header with one more byte; none if the line has ended.
    pub(super) fn header(mut self, byte: u8) -> Option<Self> {
        match byte {
            b'\n' => return None,
            b'#' => self.in_comment = true,
            _ if self.in_comment => {}
            b'-' => self.chomp = Chomp::None,
            b'+' => self.chomp = Chomp::All,
            b'1'..=b'9' => self.deeper_by = Some(usize::from(byte - b'0')),
            _ => {}
        }
        Some(self)
    }

    pub(super) fn begin(mut self, parent: Option<usize>) -> Self {
        self.parent = parent;
        self.depth = self.deeper_by.map(|deeper| parent.unwrap_or(0) + deeper);
        self
    }

    /// Whether the block is over, with this byte at the line's beginning.
    pub(super) fn ends_before(&self, byte: u8, column: usize) -> bool {
        let is_within = match self.depth {
            Some(depth) => column >= depth,
            None => self.parent.is_none_or(|parent| column > parent),
        };
        self.at_line_start && !self.owes_depth && !is_within && !matches!(byte, b' ' | b'\r' | b'\n')
    }

    pub(super) fn text(&mut self, byte: u8, column: usize, out: &mut Output) -> Result<(), Refusal> {
        if byte == b'\n' {
            self.at_line_start = true;
            self.owes_depth = false;
            return Ok(out.put(b"\n")?);
        }
        if self.at_line_start && matches!(byte, b' ' | b'\r') && !self.owes_depth {
            return Ok(out.put(&[byte])?);
        }
        self.begin_content(column, out)?;
        (self.breaks, self.last_value) = (0, None);
        Ok(out.put(&[byte])?)
    }

    /// There is something else than blanks in this line.
    fn begin_content(&mut self, column: usize, out: &mut Output) -> Result<(), Refusal> {
        if self.at_line_start && !self.owes_depth {
            self.depth.get_or_insert(column);
        }
        if self.owes_depth {
            self.indent(out)?;
        }
        (self.at_line_start, self.owes_depth) = (false, false);
        Ok(())
    }

    fn indent(&self, out: &mut Output) -> Result<(), Refusal> {
        Ok((0..self.depth.unwrap_or(0)).try_for_each(|_| out.put(b" "))?)
    }

    pub(super) fn value(
        &mut self,
        value: Emitted<'_>,
        at: Span,
        column: usize,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let text = std::str::from_utf8(value.bytes()).unwrap_or_default();
        self.judge(text)?;
        for (place, line) in text.split('\n').enumerate() {
            if place > 0 {
                out.put(b"\n")?;
                self.owes_depth = true;
            }
            if !line.is_empty() {
                self.begin_content(column, out)?;
                out.put(line.as_bytes())?;
            }
        }
        let content = text.trim_end_matches('\n');
        self.breaks = text.len() - content.len() + if content.is_empty() { self.breaks } else { 0 };
        self.last_value = Some(at);
        Ok(())
    }

    fn judge(&self, text: &str) -> Result<(), Refusal> {
        let begins_line = self.at_line_start && !self.owes_depth;
        let (reason, hint) = if self.parent.is_none() {
            ("a value in a block that is the whole document", "give it a key")
        } else if text.contains(|c: char| !is_carried(c)) {
            ("the value has characters that no block can carry", OUTSIDE)
        } else if self.is_folded && text.contains('\n') {
            ("the value has a line break, which a `>` block turns into a blank", "use `|`")
        } else if begins_line && (text.is_empty() || text.starts_with([' ', '\t', '\n'])) {
            ("the value is empty or begins with a blank, which its line in a block cannot", OUTSIDE)
        } else {
            return Ok(());
        };
        Err(Refusal::here(reason, hint))
    }

    /// Whether the line breaks that the last value ends with are still there when the block has ended.
    pub(super) fn end(&self) -> Result<(), Refusal> {
        let kept = match self.chomp {
            Chomp::All => usize::MAX,
            Chomp::One => 1,
            Chomp::None => 0,
        };
        match self.last_value {
            Some(at) if self.breaks > kept => Err(Refusal::at(
                at,
                "the value ends with line breaks that the block does not keep",
                "use `|+`, or trim it: `| trim`",
            )),
            _ => Ok(()),
        }
    }
}

/// What all readers take for a character, and for no line break.
fn is_carried(c: char) -> bool {
    match c {
        '\t' | '\n' | ' '..='~' => true,
        '\u{2028}' | '\u{2029}' | '\u{feff}' => false,
        _ => matches!(c, '\u{a0}'..='\u{fffd}' | '\u{10000}'..),
    }
}
