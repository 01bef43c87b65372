//! A JSON document with harmless values in the places of its own; names and layout stay. Pure; uses
//! serde_json for the grammar.

use serde::de::IgnoredAny;

use super::shape::{line, number};

/// `None` if the text is no object or list.
pub(super) fn like(text: &str) -> Option<String> {
    let is_document = text.trim_start().starts_with(['{', '[']);
    if !is_document || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return None;
    }
    let mut harmless = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => end_of_string(rest),
            '-' | '0'..='9' => rest.find(|c: char| !"+-.eE0123456789".contains(c)).unwrap_or(rest.len()),
            't' | 'f' => rest.find('e').map_or(rest.len(), |at| at + 1),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        match first {
            '"' if after.trim_start().starts_with(':') => harmless += token,
            '"' => harmless += &string(token),
            '-' | '0'..='9' => harmless += &number(token).unwrap_or_else(|| "1".to_owned()),
            't' | 'f' => harmless += "false",
            _ => harmless += token,
        }
        rest = after;
    }
    Some(harmless)
}

/// Behind its closing quote. The grammar was checked: there is one.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    let inside = text.char_indices().skip(1);
    let closing = inside.skip_while(|(_, c)| {
        let is_inside = is_escaped || *c != '"';
        is_escaped = !is_escaped && *c == '\\';
        is_inside
    });
    closing.map(|(at, _)| at + 1).next().unwrap_or(text.len())
}

fn string(token: &str) -> String {
    let value: String = serde_json::from_str(token).unwrap_or_default();
    serde_json::Value::String(line(&value)).to_string()
}
