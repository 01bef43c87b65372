//! What a comment in a rendered file can carry, whoever reads it.

use super::Refusal;

/// Refuses what would not stay in its comment.
pub(super) fn judge(bytes: &[u8]) -> Result<(), Refusal> {
    if fits(bytes) {
        return Ok(());
    }
    Err(Refusal::here(
        "the value would not stay in its comment: it has a line break, a backslash or bytes that are not text",
        "take it out of the comment",
    ))
}

/// JavaScript also ends lines at U+2028 and U+2029, others at U+0085; a backslash may take a line's end
/// along; noncharacters make some readers reject the file.
fn fits(bytes: &[u8]) -> bool {
    let breaks = |c: char| {
        c.is_control() || matches!(c, '\\' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(breaks))
}
