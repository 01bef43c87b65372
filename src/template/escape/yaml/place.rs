//! Where in a YAML document a byte or a value stands.

use super::super::Refusal;
use super::block::Block;

#[derive(Clone, Copy)]
pub(super) enum Place {
    /// Where a node or a comment may begin.
    Node,
    /// The same at a line's beginning.
    LineStart,
    /// After a `-`, `?` or `:` that is one only if a blank follows.
    Indicator(u8),
    /// A tag, an anchor or an alias.
    Property,
    /// `colon`: after a `:` that ends a key if a blank follows.
    Plain {
        colon: bool,
    },
    /// A further line of a plain scalar.
    Continued,
    /// `closed`: after a `'` that is the last if no other follows.
    Single {
        closed: bool,
    },
    /// `escape` counts the characters that an escape sequence still wants.
    Double {
        escape: u8,
        broken: bool,
    },
    AfterScalar,
    Comment,
    /// `%YAML`, or what begins with another character that YAML reserves.
    Reserved,
    /// After the `|` or `>`, up to the line's end.
    Header(Block),
    Block(Block),
}

impl Place {
    /// The reason why nothing can be written here.
    pub(super) fn refusal(self) -> Refusal {
        let (reason, hint) = match self {
            Place::Property => ("a value in a tag, an anchor or an alias", "write it after that"),
            Place::Continued | Place::LineStart => (
                "the value would go on with the text of the line above",
                "put all of it on one line, in double quotes",
            ),
            Place::Double { broken: true, .. } => {
                ("a value in a text of several lines", "put all of it on one line")
            }
            Place::Double { .. } => {
                ("the value would go on with the escape sequence before it", "write the backslash as `\\\\`")
            }
            Place::Header(_) => ("a value beside the `|` or `>` of a block", "write it in the next line"),
            Place::Reserved => (
                "the text before this value begins with a character that YAML reserves",
                "put all of it into double quotes",
            ),
            _ => ("a value after a text that has ended", "put all of it into the quotes"),
        };
        Refusal::here(reason, hint)
    }
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

pub(super) fn after_in_double(escape: u8, broken: bool, byte: u8) -> Place {
    let escape = match (escape, byte) {
        (0, b'"') => return Place::AfterScalar,
        (0, b'\\') => 1,
        (1, b'x') => 2,
        (1, b'u') => 4,
        (1, b'U') => 8,
        (wanted, _) => wanted.saturating_sub(1),
    };
    Place::Double { escape, broken: broken || byte == b'\n' }
}
