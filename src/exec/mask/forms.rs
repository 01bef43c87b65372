//! The forms in which a value may appear in output: as it is, and as programs write it. Pure.

use super::LEAST;
use super::encodings::{self, Buffer};
use super::patterns::{Kind, Pattern};

/// A longer form is sought in pieces: it bounds what is held back.
const LONGEST: usize = 4096;

/// A line of a value is sought by itself from this length on.
const LEAST_OF_LINE: usize = 8;

/// The marks around a key.
const MARK: &[u8] = b"-----";

pub(super) struct Forms(Vec<Pattern>);

impl Forms {
    /// All of them. A value without blanks around it, as these get lost on many ways.
    pub(super) fn of(value: &[u8]) -> Vec<Pattern> {
        let mut forms = Self(Vec::new());
        forms.texts(value);
        if value.contains(&b'\n') {
            // A terminal ends lines with both; a file may have come from where that is usual.
            forms.texts(&encodings::with_line_ends(value, b"\r\n"));
            forms.texts(&encodings::with_line_ends(value, b"\n"));
            forms.lines(value);
            forms.body(value);
        }
        encodings::hex(value).for_each(|it| forms.add(Kind::Hex, &it));
        forms.base64(value);
        forms.base32(value);
        forms.0
    }

    fn texts(&mut self, text: &[u8]) {
        self.add(Kind::Text, text);
        // Nothing of these has anything to write in another way.
        if text.iter().all(u8::is_ascii_alphanumeric) {
            return;
        }
        let mut others: Vec<Buffer> = encodings::percent(text).collect();
        if !text.iter().all(|&byte| is_plain(byte)) {
            others
                .extend(encodings::json(text).chain(encodings::strings(text)).chain(encodings::quoted(text)));
        }
        others.sort_unstable_by(|one, other| one.as_slice().cmp(other));
        others.dedup();
        others.iter().filter(|it| ***it != *text).for_each(|it| self.add(Kind::Text, it));
    }

    /// Each line by itself, as it is seen with an indent or with a prefix of a log. Not the marks
    /// around a key: these are no secret.
    fn lines(&mut self, value: &[u8]) {
        let lines = value.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        for line in lines.filter(|line| line.len() >= LEAST_OF_LINE && !line.starts_with(MARK)) {
            self.texts(line);
        }
    }

    /// What stands between two marks, in lines of any length.
    fn body(&mut self, value: &[u8]) {
        let mut body = Buffer::default();
        for line in value.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
            if line.starts_with(MARK) {
                self.add(Kind::Base, &std::mem::take(&mut body));
            } else {
                body.extend_from_slice(line);
            }
        }
    }

    /// Inside of something longer a value begins at one of three places of a group of four digits;
    /// the digits that it shares with its neighbours are not known.
    fn base64(&mut self, value: &[u8]) {
        let line = Buffer::new([value, b"\n"].concat());
        for (before, shared) in [(0, 0), (1, 2), (2, 3)] {
            for bytes in [value, &line] {
                let padded = Buffer::new([&[0; 2][..before], bytes].concat());
                let is_shared_at_end = !padded.len().is_multiple_of(3);
                for mut encoded in encodings::base64(&padded) {
                    self.add(Kind::Base, &encoded[shared..encoded.len() - usize::from(is_shared_at_end)]);
                    self.add(Kind::Base, &encoded[shared..]);
                    encodings::pad(&mut encoded);
                    self.add(Kind::Base, &encoded[shared..]);
                }
            }
        }
    }

    /// Alone, padded or not, and at the beginning of something longer.
    fn base32(&mut self, value: &[u8]) {
        let line = Buffer::new([value, b"\n"].concat());
        for bytes in [value, &line] {
            let encoded = encodings::base32(bytes);
            self.add(Kind::Base, &encoded);
            let digits = encoded.iter().position(|&byte| byte == b'=').unwrap_or(encoded.len());
            self.add(Kind::Base, &encoded[..digits]);
            self.add(Kind::Base, &encoded[..bytes.len() * 8 / 5]);
        }
    }

    fn add(&mut self, kind: Kind, form: &[u8]) {
        for piece in form.chunks(LONGEST).filter(|piece| piece.len() >= LEAST) {
            self.0.push(Pattern::new(kind, piece));
        }
        if form.len() > LONGEST && form.len() % LONGEST < LEAST {
            self.0.push(Pattern::new(kind, &form[form.len() - LEAST..]));
        }
    }
}

/// No string and no quotes write it in another way than with a backslash before it.
fn is_plain(byte: u8) -> bool {
    byte == b' ' || byte.is_ascii_graphic() && !b"<>&\"'\\".contains(&byte)
}
