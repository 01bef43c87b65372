//! The forms in which a value may appear in output: as it is, and as programs write it. Pure.

use super::LEAST;
use super::encodings::{self, Buffer};
use crate::secret::SecretBytes;

/// A longer form is sought in pieces: it bounds what is held back.
const LONGEST: usize = 4096;

/// A line of a value is sought by itself from this length on.
const LEAST_OF_LINE: usize = 8;

/// What `openssl base64` and `base64` make lines of.
const WIDTHS: [usize; 2] = [64, 76];

pub(super) struct Forms(Vec<SecretBytes>);

impl Forms {
    /// All of them. A value without blanks around it, as these get lost on many ways.
    pub(super) fn of(value: &[u8]) -> Vec<SecretBytes> {
        let mut forms = Self(Vec::new());
        forms.texts(value);
        if value.contains(&b'\n') {
            // A terminal ends lines with both; a file may have come from where that is usual.
            forms.texts(&encodings::with_line_ends(value, b"\r\n"));
            forms.texts(&encodings::with_line_ends(value, b"\n"));
            forms.lines(value);
        }
        encodings::hex(value).for_each(|it| forms.add(&it));
        forms.base64(value);
        forms.0
    }

    fn texts(&mut self, text: &[u8]) {
        self.add(text);
        let encoded = encodings::percent(text).chain(encodings::json(text)).chain(encodings::quoted(text));
        encoded.filter(|it| ***it != *text).for_each(|it| self.add(&it));
    }

    /// Each line by itself, as it is seen with an indent or with a prefix of a log. Not the marks
    /// around a key: these are no secret.
    fn lines(&mut self, value: &[u8]) {
        let lines = value.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        for line in lines.filter(|line| line.len() >= LEAST_OF_LINE && !line.starts_with(b"-----")) {
            self.texts(line);
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
                    self.add(&encoded[shared..encoded.len() - usize::from(is_shared_at_end)]);
                    self.add(&encoded[shared..]);
                    encodings::pad(&mut encoded);
                    self.add(&encoded[shared..]);
                }
            }
        }
        self.wrapped(value);
        self.wrapped(&line);
    }

    fn wrapped(&mut self, value: &[u8]) {
        for mut encoded in encodings::base64(value) {
            encodings::pad(&mut encoded);
            for width in WIDTHS.into_iter().filter(|width| encoded.len() > *width) {
                self.add(&encodings::wrapped(&encoded, width, b"\n"));
                self.add(&encodings::wrapped(&encoded, width, b"\r\n"));
            }
        }
    }

    fn add(&mut self, form: &[u8]) {
        for piece in form.chunks(LONGEST).filter(|piece| piece.len() >= LEAST) {
            self.0.push(SecretBytes::copy_of(piece));
        }
        if form.len() > LONGEST && form.len() % LONGEST < LEAST {
            self.0.push(SecretBytes::copy_of(&form[form.len() - LEAST..]));
        }
    }
}
