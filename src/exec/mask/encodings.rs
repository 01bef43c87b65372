//! How programs write bytes: hex, Base64, percent signs, JSON and quotes, in the variants that are
//! about. Pure. All buffers are wiped.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

pub(super) type Buffer = Zeroizing<Vec<u8>>;

const DIGITS: [&[u8; 16]; 2] = [b"0123456789abcdef", b"0123456789ABCDEF"];

/// The digits for both cases.
pub(super) fn hex(value: &[u8]) -> impl Iterator<Item = Buffer> {
    DIGITS.into_iter().map(move |digits| {
        let mut out = buffer(value.len() * 2);
        value.iter().for_each(|&byte| out.extend_from_slice(&two_digits(byte, digits)));
        out
    })
}

fn two_digits(byte: u8, digits: &[u8; 16]) -> [u8; 2] {
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

fn buffer(size: usize) -> Buffer {
    Zeroizing::new(Vec::with_capacity(size))
}

/// Base64 without its padding, of both alphabets.
pub(super) fn base64(value: &[u8]) -> impl Iterator<Item = Buffer> {
    [STANDARD_NO_PAD, URL_SAFE_NO_PAD].into_iter().map(move |engine| {
        let mut out = Zeroizing::new(vec![0; value.len().div_ceil(3) * 4]);
        let length = engine.encode_slice(value, &mut out).expect("it has room");
        out.truncate(length);
        out
    })
}

/// Base32, made up to whole groups.
pub(super) fn base32(value: &[u8]) -> Buffer {
    let mut out = buffer(value.len().div_ceil(5) * 8);
    for group in value.chunks(5) {
        let mut bytes = Zeroizing::new([0; 8]);
        bytes[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(*bytes);
        let digits = (group.len() * 8).div_ceil(5);
        let digit = |place| BASE32[(bits >> (35 - 5 * place) & 31) as usize];
        out.extend((0..8).map(|place| if place < digits { digit(place) } else { b'=' }));
    }
    out
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What stays in a URL beside letters and digits, and whether a blank becomes a plus sign.
const KEPT: [(&[u8], bool); 8] = [
    (b"-._~", false),
    (b"-._~/", false),
    (b"-._~!*'()", false),
    (b"-._~!*'();,/?:@&=+$#", false),
    (b"", false),
    (b"-._~", true),
    (b"-._", true),
    (b"-._*", true),
];

pub(super) fn percent(value: &[u8]) -> impl Iterator<Item = Buffer> {
    let ways = KEPT.into_iter().flat_map(|kept| DIGITS.map(|digits| (kept, digits)));
    ways.map(move |((kept, has_plus), digits)| {
        let mut out = buffer(value.len() * 3);
        for &byte in value {
            match byte {
                b' ' if has_plus => out.push(b'+'),
                _ if byte.is_ascii_alphanumeric() || kept.contains(&byte) => out.push(byte),
                _ => {
                    out.push(b'%');
                    out.extend_from_slice(&two_digits(byte, digits));
                }
            }
        }
        out
    })
}

/// What a writer of JSON escapes beyond what it must, but for what gets a backslash alone.
#[derive(Clone, Copy)]
struct Json {
    /// All but ASCII, as Python does.
    wide: bool,
    /// `<`, `>` and `&`, as Go does.
    html: bool,
    digits: &'static [u8; 16],
}

/// The inside of a JSON string.
pub(super) fn json(value: &[u8]) -> impl Iterator<Item = Buffer> {
    let ways = (0..8).map(|bits: usize| Json {
        wide: bits & 1 != 0,
        html: bits & 2 != 0,
        digits: DIGITS[bits >> 2],
    });
    ways.map(move |way| {
        let mut out = buffer(value.len() * 6);
        for chunk in value.utf8_chunks() {
            chunk.valid().chars().for_each(|char| way.put(char, &mut out));
            out.extend_from_slice(chunk.invalid());
        }
        out
    })
}

impl Json {
    fn put(self, char: char, out: &mut Buffer) {
        match char {
            '"' | '\\' => out.extend_from_slice(&[b'\\', char as u8]),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\x08' => out.extend_from_slice(b"\\b"),
            '\x0c' => out.extend_from_slice(b"\\f"),
            _ if self.escapes(char) => {
                for &mut unit in char.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(b"\\u");
                    unit.to_be_bytes()
                        .iter()
                        .for_each(|&byte| out.extend_from_slice(&two_digits(byte, self.digits)));
                }
            }
            _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    fn escapes(self, char: char) -> bool {
        char < ' ' || (self.wide && !char.is_ascii()) || (self.html && "<>&\u{2028}\u{2029}".contains(char))
    }
}

/// How strings are written that are no JSON: by Python and JavaScript, and by shells between `$'` and `'`.
#[derive(Clone, Copy)]
struct Escapes {
    /// All but ASCII, byte by byte.
    wide: bool,
    put: fn(u8, &mut Buffer),
}

/// What of a string is not seen through the backslashes of quotes: bytes that become digits.
pub(super) fn strings(value: &[u8]) -> impl Iterator<Item = Buffer> {
    const PUTS: [fn(u8, &mut Buffer); 3] = [
        |byte, out| out.extend_from_slice(&[&b"\\x"[..], &two_digits(byte, DIGITS[0])].concat()),
        |byte, out| out.extend_from_slice(&[&b"\\x"[..], &two_digits(byte, DIGITS[1])].concat()),
        |byte, out| {
            out.extend_from_slice(&[b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)])
        },
    ];
    let ways = PUTS.into_iter().flat_map(|put| [false, true].map(|wide| Escapes { wide, put }));
    ways.map(move |way| {
        let mut out = buffer(value.len() * 4);
        for &byte in value {
            match byte {
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                _ if byte < b' ' || byte == 0x7f || way.wide && !byte.is_ascii() => (way.put)(byte, &mut out),
                _ => out.push(byte),
            }
        }
        out
    })
}

/// Between single quotes of SQL, YAML and a shell, a word of zsh; and in XML and HTML.
pub(super) fn quoted(value: &[u8]) -> impl Iterator<Item = Buffer> {
    type Escape = fn(u8) -> Option<&'static [u8]>;
    const WAYS: [Escape; 6] = [
        |byte| (byte == b'\'').then_some(b"''"),
        |byte| (byte == b'\'').then_some(b"'\\''"),
        |byte| (byte == b'\n').then_some(b"$'\\n'"),
        |byte| match byte {
            b'&' => Some(b"&amp;"),
            b'<' => Some(b"&lt;"),
            b'>' => Some(b"&gt;"),
            _ => None,
        },
        |byte| match byte {
            b'&' => Some(b"&amp;"),
            b'<' => Some(b"&lt;"),
            b'>' => Some(b"&gt;"),
            b'"' => Some(b"&quot;"),
            b'\'' => Some(b"&#39;"),
            _ => None,
        },
        |byte| match byte {
            b'&' => Some(b"&amp;"),
            b'<' => Some(b"&lt;"),
            b'>' => Some(b"&gt;"),
            b'"' => Some(b"&quot;"),
            b'\'' => Some(b"&apos;"),
            _ => None,
        },
    ];
    WAYS.into_iter().map(move |escape| {
        let mut out = buffer(value.len() * 6);
        value.iter().for_each(|&byte| out.extend_from_slice(escape(byte).unwrap_or(&[byte])));
        out
    })
}

/// Made up to whole groups.
pub(super) fn pad(encoded: &mut Buffer) {
    let length = encoded.len().next_multiple_of(4);
    encoded.resize(length, b'=');
}

/// Ends each line in its own way.
pub(super) fn with_line_ends(value: &[u8], end: &[u8]) -> Buffer {
    let mut out = buffer(value.len() * 2);
    for (number, line) in value.split(|&byte| byte == b'\n').enumerate() {
        if number > 0 {
            out.extend_from_slice(end);
        }
        out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
    }
    out
}
