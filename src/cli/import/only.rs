//! Which names are wanted: patterns with `*` for any text and `?` for one character. Pure.

/// Whether a name is wanted; without a pattern each is.
pub(super) fn is_wanted(patterns: &[String], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| fits(pattern.as_bytes(), name.as_bytes()))
}

/// Tries the last `*` with one character more each time something behind it does not fit.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of) = (0, 0);
    let mut star = None;
    while at < name.len() {
        match pattern.get(of) {
            Some(b'*') => {
                star = Some((of + 1, at));
                of += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[at] => (at, of) = (at + 1, of + 1),
            _ => match star {
                Some((behind, from)) => {
                    star = Some((behind, from + 1));
                    (at, of) = (from + 1, behind);
                }
                None => return false,
            },
        }
    }
    pattern[of..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("A", "A", true),
            ("A", "AB", false),
            ("A*", "A", true),
            ("A*", "ABC", true),
            ("*B", "AB", true),
            ("*B", "ABC", false),
            ("A?C", "ABC", true),
            ("A?C", "AC", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "abab", true),
            ("*a*b", "aba", false),
            ("app/*", "app/db/url", true),
            ("", "", true),
            ("", "A", false),
            ("**", "", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
        assert!(is_wanted(&[], "A") && is_wanted(&["B".into(), "A".into()], "A"));
        assert!(!is_wanted(&["B".into()], "A"));
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!fits("*a".repeat(1000).as_bytes(), "b".repeat(100_000).as_bytes()));
    }
}
