//! Patterns on names, paths and the like: `*` is any text, `?` is any one character, all else is
//! itself. There is nothing more to them, so that who reads one knows what it fits. Uses std only.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// Refuses what would mean something to somebody else's patterns.
    pub fn parse(text: &str) -> Result<Self, String> {
        match () {
            () if text.is_empty() => Err("the pattern is empty; `*` fits everything".to_owned()),
            () if text.contains("**") => {
                let meant = text.replace("**/", "*").replace("**", "*");
                Err(format!("`*` fits any text, slashes too; did you mean `{meant}`?"))
            }
            () if text.contains(['[', ']', '{', '}']) => {
                Err(format!("`{text}` is no pattern: there is `*` and `?`; for more, give a list"))
            }
            () if text.chars().any(char::is_control) => Err("a pattern has no control characters".to_owned()),
            () => Ok(Self(text.to_owned())),
        }
    }

    pub fn fits(&self, text: &str) -> bool {
        fits(self.0.as_bytes(), text.as_bytes())
    }

    pub fn fits_everything(&self) -> bool {
        self.0 == "*"
    }

    /// Whether it fits one text only, which it then is.
    pub fn is_plain(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// Whether it certainly fits all that the other one fits: a star of it takes the other's signs
    /// like letters.
    pub fn covers(&self, other: &Self) -> bool {
        self == other || (!self.0.contains('?') && self.fits(&other.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Goes back to the last star only: what an earlier one took is as good as before.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(b'?') => {
                at += 1;
                read += width(text[read]);
            }
            Some(byte) if *byte == text[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((star_at, star_read)) = star else { return false };
                // A whole character, or a later `?` would take the rest of it.
                let next = star_read + width(text[star_read]);
                star = Some((star_at, next));
                at = star_at + 1;
                read = next;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Of the character that begins with this byte.
fn width(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern).unwrap().fits(text)
    }

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "a/b"),
            ("stripe/*", "stripe/live/key"),
            ("stripe/*", "stripe/"),
            ("*.service", "a.service"),
            ("a*b*c", "a-b-b-c"),
            ("a?c", "abc"),
            ("a?c", "aäc"),
            ("?", "€"),
            ("*a?", "aaab"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("stripe/*", "stripe"),
            ("stripe/*", "a/stripe/b"),
            ("a", "A"),
            ("a?c", "ac"),
            ("*??a*", "€ab"),
            ("a?c", "a--c"),
            ("a*b", "a-b-"),
            ("?", ""),
            ("a.c", "abc"),
        ] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn what_other_patterns_have_is_refused_and_told() {
        let problem = |text| Pattern::parse(text).unwrap_err();
        assert!(problem("a/**/b").contains("did you mean `a/*b`?"), "{}", problem("a/**/b"));
        assert!(problem("[ab]").contains("give a list"));
        assert!(problem("{a,b}").contains("give a list"));
        assert!(problem("").contains("empty"));
        assert!(problem("a\n").contains("control"));
    }

    /// As it is written in a book.
    fn by_the_book(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => (0..=text.len()).any(|taken| by_the_book(rest, &text[taken..])),
            (Some(('?', rest)), Some((_, left))) => by_the_book(rest, left),
            (Some((sign, rest)), Some((letter, left))) if sign == letter => by_the_book(rest, left),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_is_as_in_the_book(pattern in "[a*?ä€😀]{1,8}", text in "[abä€😀]{0,10}") {
            prop_assume!(!pattern.contains("**"));
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(fits(&pattern, &text), by_the_book(&chars(&pattern), &chars(&text)));
        }

        #[test]
        fn what_covers_fits_all_that_is_covered(one in "[ab*?]{1,5}", other in "[ab*?]{1,5}", text in "[ab]{0,7}") {
            prop_assume!(!one.contains("**") && !other.contains("**"));
            let (one, other) = (Pattern::parse(&one).unwrap(), Pattern::parse(&other).unwrap());
            if one.covers(&other) && other.fits(&text) {
                prop_assert!(one.fits(&text), "{} covers {}, but not {}", one, other, text);
            }
        }
    }
}
