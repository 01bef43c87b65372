//! What somebody else has chosen, a name or a path, as it is shown to people: it tells a terminal
//! nothing, and hides nothing of itself. Uses std only.

/// A text may have several lines.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            _ if c.is_control() || is_unseen(c) => shown.extend(c.escape_unicode()),
            _ => shown.push(c),
        }
    }
    shown
}

/// The same within a line.
pub fn in_line(text: &str) -> String {
    visible(text).replace('\n', "\\u{a}").replace('\t', "\\u{9}")
}

/// Has no sign of its own: turns the direction of writing, joins, separates, or marks what is around
/// it (the format characters, separators and variation selectors of Unicode 16).
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
        | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_shown() {
        for (text, shown) in [
            ("a\u{202e}gpj.exe", "a\\u{202e}gpj.exe"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
            ("pay\u{200b}pal", "pay\\u{200b}pal"),
            ("\x1b[31m\u{9b}1m\x7f", "\\u{1b}[31m\\u{9b}1m\\u{7f}"),
            ("a\u{2028}b\u{feff}\u{e0041}", "a\\u{2028}b\\u{feff}\\u{e0041}"),
            ("ünï – 例 مرحبا 😀", "ünï – 例 مرحبا 😀"),
        ] {
            assert_eq!((visible(text).as_str(), in_line(text).as_str()), (shown, shown));
        }
        assert_eq!(
            (visible("a\n\tb\r"), in_line("a\n\tb")),
            ("a\n\tb\\u{d}".into(), "a\\u{a}\\u{9}b".into())
        );
    }
}
