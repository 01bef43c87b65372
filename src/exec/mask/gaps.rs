//! What may lie between the bytes of a form without being of it: colours, backslashes of quotes, ends
//! of lines, and what a dump writes around its digits. Pure.

use std::ops::Range;

/// In what a form is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Quoted once more than the form is.
    Text,
    /// Base64 and Base32, in lines.
    Base,
    /// Digits in lines, or with something between the bytes.
    Hex,
    /// Digits in lines that begin with where they are, and may end with the bytes as text.
    Dump,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    None,
    Of(usize),
    /// The text ends before it is known.
    Undecided,
}

/// What begins a colour.
pub(super) const ESCAPE: u8 = 0x1b;
/// No gap is longer.
const LONGEST: usize = 96;
/// The fewest digits in a line.
const LEAST_IN_LINE: usize = 4;
/// Two blanks, sixteen bytes and what stands around them.
const COLUMN: usize = 22;
/// Digits of a place in a dump.
const OFFSET: Range<usize> = 6..17;
/// The rest of a line of a dump: fifteen bytes more, and the column.
const REST: usize = 72;

impl Manner {
    /// Between what was read of a form, `depth` bytes of it, and what follows.
    pub(super) fn gap(self, before: &[u8], rest: &[u8], depth: usize) -> Gap {
        let is_whole_byte = depth.is_multiple_of(2);
        match colour(rest) {
            Gap::None => {}
            gap => return gap,
        }
        match self {
            Self::Text => quotes(before, rest),
            Self::Base if depth >= LEAST_IN_LINE => line_end(rest),
            Self::Hex if is_whole_byte => between_digits(rest),
            Self::Dump if is_whole_byte => in_dump(rest),
            _ => Gap::None,
        }
    }

    /// What follows a form and tells of it, too.
    pub(super) fn tail(self, rest: &[u8]) -> Gap {
        if self != Self::Dump {
            return Gap::None;
        }
        let Some(end) = rest.iter().take(REST).position(|&byte| byte == b'\n') else {
            return if rest.len() < REST { Gap::Undecided } else { Gap::None };
        };
        let line = &rest[..end];
        let digits = line.windows(2).position(|pair| pair == b"  ");
        match digits {
            Some(digits) if line[..digits].iter().all(|&it| it == b' ' || it.is_ascii_hexdigit()) => {
                Gap::Of(end)
            }
            _ => Gap::None,
        }
    }
}

/// Where colours are in this.
pub(super) fn colours(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += text[at..].iter().position(|&byte| byte == ESCAPE)?;
            let start = at;
            at += 1;
            if let Gap::Of(length) = colour(&text[start..]) {
                at = start + length;
                return Some(start..at);
            }
        }
    })
}

/// Where the next may be, or the end.
pub(super) fn next_colour(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    // Most text has none, and this is quicker than to look for the place.
    let place = rest.contains(&ESCAPE).then(|| rest.iter().position(|&byte| byte == ESCAPE)).flatten();
    place.map_or(text.len(), |place| from + place)
}

/// `ESC [ … m`; what `grep` writes with it, that the rest of the line is cleared; and what `tput` does.
fn colour(rest: &[u8]) -> Gap {
    match rest {
        [ESCAPE] | [ESCAPE, b'('] => Gap::Undecided,
        [ESCAPE, b'(', b'B', ..] => Gap::Of(3),
        [ESCAPE, b'[', rest @ ..] => match rest.iter().position(|byte| !matches!(byte, b'0'..=b';')) {
            Some(length) if matches!(rest[length], b'm' | b'K') => Gap::Of(length + 3),
            None if rest.len() < LONGEST => Gap::Undecided,
            Some(_) | None => Gap::None,
        },
        _ => Gap::None,
    }
}

/// Backslashes before a character that has one in more quotes than the form knows, and percent
/// signs that were encoded again.
fn quotes(before: &[u8], rest: &[u8]) -> Gap {
    if rest[0] == b'\\' {
        return run(rest, |byte| byte == b'\\');
    }
    // `%25` for `%`: of `%2520`, the form has `%2` already when it is apart from it.
    let more = match before {
        [.., b'%'] | [.., b'%', b'2', b'5'] => b"25",
        [.., b'%', b'2'] => b"52",
        _ => return Gap::None,
    };
    match rest.chunks(2).take_while(|pair| pair == more).count() {
        0 if rest.len() == 1 && rest[0] == more[0] => Gap::Undecided,
        0 => Gap::None,
        times => Gap::Of(2 * times),
    }
}

/// All that is so, if there is some of it and not too much.
fn run(rest: &[u8], is_so: impl Fn(u8) -> bool) -> Gap {
    match rest.iter().take(LONGEST).position(|&byte| !is_so(byte)) {
        Some(0) => Gap::None,
        Some(length) => Gap::Of(length),
        None if rest.len() < LONGEST => Gap::Undecided,
        None => Gap::None,
    }
}

/// With the blanks that the next line begins with.
fn line_end(rest: &[u8]) -> Gap {
    match rest {
        [b'\n', ..] | [b'\r', b'\n', ..] => run(rest, |byte| matches!(byte, b'\r' | b'\n' | b' ' | b'\t')),
        [b'\r'] => Gap::Undecided,
        _ => Gap::None,
    }
}

/// Of `68 75`, `68:75`, `0x68, 0x75` and `\x68\x75`, in lines too.
fn between_digits(rest: &[u8]) -> Gap {
    let apart = match run(rest, |byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b':' | b',')) {
        Gap::Undecided => return Gap::Undecided,
        Gap::None => 0,
        Gap::Of(apart) => apart,
    };
    match &rest[apart..] {
        [b'0' | b'\\', b'x', ..] => Gap::Of(apart + 2),
        [b'\\'] => Gap::Undecided,
        _ if apart == 0 => Gap::None,
        _ => Gap::Of(apart),
    }
}

/// Of what `xxd`, `hexdump -C` and `od -tx1` write.
fn in_dump(rest: &[u8]) -> Gap {
    match rest {
        [b' '] => return Gap::Undecided,
        [b' ', next, ..] if *next != b' ' => return Gap::Of(1),
        [b' ' | b'\n', ..] => {}
        _ => return Gap::None,
    }
    match rest.iter().take(COLUMN).position(|&byte| byte == b'\n') {
        Some(end) => match offset(&rest[end + 1..]) {
            Gap::Of(length) => Gap::Of(end + 1 + length),
            gap => gap,
        },
        None if rest.len() < COLUMN => Gap::Undecided,
        // In the middle of a line.
        None => Gap::Of(2),
    }
}

/// Where a line of a dump is, as it says by itself.
fn offset(line: &[u8]) -> Gap {
    let digits = match run(line, |byte| byte.is_ascii_hexdigit()) {
        Gap::Of(digits) if OFFSET.contains(&digits) => digits,
        Gap::Undecided => return Gap::Undecided,
        _ => return Gap::None,
    };
    let colon = usize::from(line[digits] == b':');
    match run(&line[digits + colon..], |byte| byte == b' ') {
        Gap::Of(blanks) => Gap::Of(digits + colon + blanks),
        gap => gap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn gaps(manner: Manner, before: &str, cases: &[(&str, Gap)]) {
        for (rest, gap) in cases {
            assert_eq!(manner.gap(before.as_bytes(), rest.as_bytes(), 8), *gap, "{rest:?}");
        }
    }

    #[test]
    fn colour_lies_in_everything_and_nothing_else_of_a_terminal_does() {
        for manner in [Manner::Text, Manner::Base, Manner::Hex, Manner::Dump] {
            let cases = [
                ("\x1b[mx", Gap::Of(3)),
                ("\x1b[01;38:5:1mx", Gap::Of(12)),
                ("\x1b[K", Gap::Of(3)),
                ("\x1b(B\x1b[m", Gap::Of(3)),
                ("\x1b[01;3", Gap::Undecided),
                ("\x1b", Gap::Undecided),
                ("\x1b[2J", Gap::None),
                ("\x1b[5;1H", Gap::None),
                ("\x1b]0;title\x07", Gap::None),
            ];
            gaps(manner, "", &cases);
        }
        assert_eq!(Manner::Text.gap(b"", &[&b"\x1b["[..], &[b'1'; 200]].concat(), 8), Gap::None);
        assert_eq!(colours(b"a\x1b[1mb\x1b[2Jc\x1b[m").collect::<Vec<_>>(), [2 - 1..5, 11..14]);
    }

    #[test]
    fn quotes_add_backslashes_and_percent_signs_are_encoded_again() {
        gaps(Manner::Text, "", &[("\\\\\"x", Gap::Of(2)), ("\\", Gap::Undecided), ("25x", Gap::None)]);
        gaps(Manner::Text, "%", &[("2540", Gap::Of(2)), ("2", Gap::Undecided), ("40", Gap::None)]);
        gaps(Manner::Text, "%25", &[("2540", Gap::Of(2))]);
        gaps(Manner::Text, "%2", &[("5252520", Gap::Of(6)), ("5", Gap::Undecided), ("50", Gap::None)]);
        gaps(Manner::Base, "", &[("\\\"x", Gap::None)]);
    }

    #[test]
    fn digits_stand_in_lines() {
        gaps(Manner::Base, "", &[("\nx", Gap::Of(1)), ("\r\n  x", Gap::Of(4)), (" x", Gap::None)]);
        gaps(Manner::Base, "", &[("\n", Gap::Undecided), ("\r", Gap::Undecided), ("\rx", Gap::None)]);
        let cases =
            [(" 75", Gap::Of(1)), (":\n   75", Gap::Of(5)), (", 0x75", Gap::Of(4)), ("\\x75", Gap::Of(2))];
        gaps(Manner::Hex, "", &cases);
        assert_eq!(Manner::Hex.gap(b"", b" 75", 7), Gap::None, "not inside of a byte");
        assert_eq!(Manner::Base.gap(b"", b"\nx", 3), Gap::None, "no line is so short");
    }

    #[test]
    fn a_dump_says_where_it_is_and_what_it_is() {
        let cases = [
            (" 75 6e", Gap::Of(1)),
            ("  hunter2-and-more\n00000010: 2d6d", Gap::Of(29)),
            ("  |hunter2-and-more|\n00000010  2d", Gap::Of(31)),
            ("\n0000020 2d", Gap::Of(9)),
            ("  2d 6d 6f 72 65 2d 6d 6f  |hunter2", Gap::Of(2)),
            ("  |hunter2-and", Gap::Undecided),
            ("\n00000", Gap::Undecided),
            ("\nplain", Gap::None),
            ("\n2d6d", Gap::Undecided),
            ("\n2d6d ", Gap::None),
        ];
        gaps(Manner::Dump, "", &cases);
        assert_eq!(Manner::Dump.tail(b" 0a 0b        |-more..|\nnext"), Gap::Of(23));
        assert_eq!(Manner::Dump.tail(b" is it\nnext"), Gap::None);
        assert_eq!(Manner::Dump.tail(b"  |-more"), Gap::Undecided);
        assert_eq!(Manner::Hex.tail(b"  |-more..|\n"), Gap::None);
    }
}
