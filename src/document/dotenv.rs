//! Reads a rendered env file back into names and values: what templates write in the dialect
//! `Exec`. No expansion, and whatever readers of env files disagree about is refused. Pure.

use crate::secret::SecretBytes;

/// What is wrong with a line; says the variable's name at most, never a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct DotenvError {
    pub line: usize,
    pub problem: &'static str,
}

/// A name, its value, and where it stands.
pub struct Assignment {
    pub line: usize,
    pub name: String,
    pub value: SecretBytes,
}

/// The assignments in their order.
pub fn parse(text: &[u8]) -> Result<Vec<Assignment>, DotenvError> {
    let mut reader = Reader { text, at: 0, line: 1 };
    let mut variables = Vec::new();
    while reader.skip_to_assignment() {
        let line = reader.line;
        let name = reader.name()?;
        let value = reader.value()?;
        variables.push(Assignment { line, name, value });
    }
    Ok(variables)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    fn skip_while(&mut self, fits: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&fits) {
            self.next();
        }
    }

    fn skip_blanks(&mut self) {
        self.skip_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn error<T>(&self, problem: &'static str) -> Result<T, DotenvError> {
        Err(DotenvError { line: self.line, problem })
    }

    /// Passes over blank lines and comments.
    fn skip_to_assignment(&mut self) -> bool {
        loop {
            self.skip_while(|byte| byte.is_ascii_whitespace());
            match self.peek() {
                None => return false,
                Some(b'#') => self.skip_while(|byte| byte != b'\n'),
                Some(_) => return true,
            }
        }
    }

    fn word(&mut self) -> &str {
        let start = self.at;
        self.skip_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        std::str::from_utf8(&self.text[start..self.at]).expect("ASCII")
    }

    fn name(&mut self) -> Result<String, DotenvError> {
        let mut name = self.word().to_owned();
        self.skip_blanks();
        if name == "export" && self.peek() != Some(b'=') {
            name = self.word().to_owned();
            self.skip_blanks();
        }
        if name.is_empty() || self.peek() != Some(b'=') {
            return self.error("expected NAME=value");
        }
        self.next();
        Ok(name)
    }

    fn value(&mut self) -> Result<SecretBytes, DotenvError> {
        self.skip_blanks();
        match self.peek() {
            Some(b'\'') => self.single_quoted(),
            Some(b'"') => self.double_quoted(),
            Some(b'`') => self.error("backquotes are read differently by different programs"),
            _ => self.bare(),
        }
    }

    fn single_quoted(&mut self) -> Result<SecretBytes, DotenvError> {
        self.next();
        let start = self.at;
        self.skip_while(|byte| byte != b'\'');
        let value = SecretBytes::copy_of(&self.text[start..self.at]);
        self.close(value)
    }

    fn double_quoted(&mut self) -> Result<SecretBytes, DotenvError> {
        self.next();
        // As large as it can get, so that no smaller copy stays behind unwiped.
        let mut value = Vec::with_capacity(self.until_quote());
        loop {
            match self.peek() {
                None | Some(b'"') => break,
                Some(b'$') => {
                    return self.error("`$` in double quotes is read differently by different programs");
                }
                Some(b'\\') => {
                    self.next();
                    value.push(self.escaped()?);
                }
                Some(byte) => {
                    self.next();
                    value.push(byte);
                }
            }
        }
        self.close(SecretBytes::new(value))
    }

    /// The bytes up to the closing quote.
    fn until_quote(&self) -> usize {
        let mut is_escaped = false;
        let closes = |&byte: &u8| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        };
        let rest = &self.text[self.at..];
        rest.iter().position(closes).unwrap_or(rest.len())
    }

    fn escaped(&mut self) -> Result<u8, DotenvError> {
        match self.next() {
            Some(b'n') => Ok(b'\n'),
            Some(b'r') => Ok(b'\r'),
            Some(b't') => Ok(b'\t'),
            Some(byte @ (b'"' | b'\\' | b'$' | b'`')) => Ok(byte),
            _ => self.error("this backslash is read differently by different programs"),
        }
    }

    /// The closing quote, and nothing behind it but a comment.
    fn close(&mut self, value: SecretBytes) -> Result<SecretBytes, DotenvError> {
        if self.next().is_none() {
            return self.error("a quote is not closed");
        }
        self.skip_blanks();
        match self.peek() {
            None | Some(b'\n' | b'\r') => Ok(value),
            Some(b'#') => {
                self.skip_while(|byte| byte != b'\n');
                Ok(value)
            }
            Some(_) => self.error("something follows the closing quote"),
        }
    }

    fn bare(&mut self) -> Result<SecretBytes, DotenvError> {
        let start = self.at;
        self.skip_while(|byte| byte != b'\n');
        let line = self.text[start..self.at].trim_ascii_end();
        let end = comment_start(line);
        let value = line[..end].trim_ascii_end();
        if value.iter().any(|byte| matches!(byte, b'"' | b'\'' | b'`' | b'\\' | b'$' | b'#' | b'\r')) {
            return self.error("put this value in quotes: it has a character with a meaning");
        }
        Ok(SecretBytes::copy_of(value))
    }
}

/// Where a comment begins: at a `#` with a blank before it, or at the line's beginning.
fn comment_start(line: &[u8]) -> usize {
    let is_comment = |at: usize| line[at] == b'#' && (at == 0 || line[at - 1].is_ascii_whitespace());
    (0..line.len()).find(|&at| is_comment(at)).unwrap_or(line.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, DotenvError> {
        let text_of = |value: SecretBytes| String::from_utf8(value.expose().to_vec()).unwrap();
        Ok(parse(text.as_bytes())?.into_iter().map(|it| (it.name, text_of(it.value))).collect())
    }

    fn value(text: &str) -> String {
        let mut all = read(text).unwrap();
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0).1
    }

    #[test]
    fn every_form_of_a_value() {
        for (text, expected) in [
            ("A=", ""),
            ("A=b", "b"),
            ("  export A = b c \t\r\n", "b c"),
            ("A=b # comment", "b"),
            ("A=# comment", ""),
            ("A='it is $HOME \"and\" \\ #no'", "it is $HOME \"and\" \\ #no"),
            ("A='two\nlines' # and a comment", "two\nlines"),
            ("A=\"a\\\"b\\\\c\\nd\"", "a\"b\\c\nd"),
            ("A=\"'\"\n", "'"),
            ("# A=1\n\nA=2\n", "2"),
            ("A=a=b", "a=b"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn several_in_their_order() {
        let all = parse(b"B=1\nA='x\ny'\nC=3").unwrap();
        let places: Vec<_> = all.iter().map(|it| (it.name.as_str(), it.line)).collect();
        assert_eq!(places, [("B", 1), ("A", 2), ("C", 4)]);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (text, line) in [
            ("A", 1),
            ("\n=x", 2),
            ("A B=c", 1),
            ("A='b", 1),
            ("A='b'c", 1),
            ("A=\"${HOME}\"", 1),
            ("A=\"\\x\"", 1),
            ("A=b\"c", 1),
            ("A=it's", 1),
            ("A=a#b", 1),
            ("A=$B", 1),
            ("A=`id`", 1),
        ] {
            assert_eq!(read(text).unwrap_err().line, line, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn wild_text_never_panics(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            let _ = parse(&text);
        }
    }
}
