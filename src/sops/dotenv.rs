//! Env files as sops reads and writes them: a name, `=`, and all the rest of the line, in which `\n` stands for a new
//! line. What sops adds is more variables, whose names tell where they belong. Uses `document`.

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::metadata::Metadata;
use super::{Sealed, SopsError};
use crate::document::{Key, Node, dotenv};
use crate::secret::SecretBytes;

const PART: &str = "sops_";

/// `None` if sops has not encrypted it.
pub fn of_dotenv(text: &[u8]) -> Result<Option<Sealed>, SopsError> {
    let is_part = |line: &[u8]| line.starts_with(b"sops_mac=") || line.starts_with(b"sops_lastmodified=");
    if !text.split(|&byte| byte == b'\n').any(is_part) {
        return Ok(None);
    }
    let (mut entries, mut part) = (Vec::new(), Vec::new());
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let parted = line.iter().position(|&byte| byte == b'=').map(|at| (&line[..at], &line[at + 1..]));
        let named = parted.and_then(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)));
        let Some((name, value)) = named else {
            return Err(SopsError::Unfit(format!("line {}: expected NAME=value", index + 1)));
        };
        let key = |name: &str| Key { name: name.to_owned(), line: index + 1 };
        let value = Node::Text(unescaped(value));
        match name.strip_prefix(PART) {
            Some(name) => part.push((key(name), value)),
            None => entries.push((key(name), value)),
        }
    }
    Ok(Some(Sealed { documents: vec![entries], metadata: Metadata::of(unflattened(part)?)? }))
}

fn unescaped(value: &[u8]) -> SecretBytes {
    let mut said = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        let is_line = rest.starts_with(b"\\n");
        said.push(if is_line { b'\n' } else { byte });
        rest = if is_line { &after[1..] } else { after };
    }
    SecretBytes::new(said)
}

/// `age__list_0__map_enc` is `enc` of the first of `age`.
fn unflattened(part: Vec<(Key, Node)>) -> Result<Node, SopsError> {
    let mut entries = Vec::new();
    let mut lists = BTreeMap::<String, BTreeMap<usize, Vec<(Key, Node)>>>::new();
    for (key, node) in part {
        let Some((list, inside)) = key.name.split_once("__list_") else {
            entries.push((key, node));
            continue;
        };
        let (index, name) = inside.split_once("__map_").unwrap_or((inside, ""));
        let index = index
            .parse()
            .map_err(|_| SopsError::Changed(format!("`{PART}{}` is no name of sops'", key.name)))?;
        let item = lists.entry(list.to_owned()).or_default().entry(index).or_default();
        item.push((Key { name: name.to_owned(), line: key.line }, node));
    }
    let list = |(name, items): (String, BTreeMap<usize, Vec<_>>)| {
        (Key { name, line: 1 }, Node::List(items.into_values().map(Node::Object).collect()))
    };
    entries.extend(lists.into_iter().map(list));
    Ok(Node::Object(entries))
}

/// The variables of an opened file, as its readers have them. sops takes a value as it stands, with its quotes.
pub fn variables(opened: Node) -> Result<Vec<dotenv::Assignment>, SopsError> {
    let Node::Object(entries) = opened else { return Ok(Vec::new()) };
    let mut seen = BTreeSet::new();
    let mut variable = |(key, node): (Key, Node)| {
        let name = key.name.trim();
        let name = name.strip_prefix("export ").map_or(name, str::trim_start).to_owned();
        // The last one would count, and an empty one is in no sum.
        if !seen.insert(name.clone()) {
            return Err(SopsError::Changed(format!("`{name}` is given twice")));
        }
        let refused = || {
            SopsError::Unfit(format!("`{name}`: programs disagree about this value: put all of it in quotes"))
        };
        let value = node.into_value().ok_or_else(refused)?;
        let value = as_read(&value).ok_or_else(refused)?;
        Ok(dotenv::Assignment { line: key.line, name, value })
    };
    entries.into_iter().map(&mut variable).collect()
}

/// What stands in quotes is what is in them; anything else is taken as it is, unless readers of env files would
/// cut it.
fn as_read(value: &SecretBytes) -> Option<SecretBytes> {
    let exact = value.expose();
    match exact.first() {
        Some(b'"' | b'\'') => {
            let line = SecretBytes::new([&b"A="[..], &in_one_line(exact)].concat());
            let mut read = dotenv::parse(line.expose()).ok()?;
            read.pop().filter(|_| read.is_empty()).map(|it| it.value)
        }
        Some(b'#') => None,
        _ if exact.trim_ascii() != exact => None,
        _ if exact.windows(2).any(|it| it[0].is_ascii_whitespace() && it[1] == b'#') => None,
        _ => Some(SecretBytes::copy_of(exact)),
    }
}

/// As it stands in the file between double quotes, where all readers agree on what `\n` is.
fn in_one_line(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut line = Zeroizing::new(Vec::with_capacity(value.len() * 2));
    for byte in value {
        match byte {
            b'\n' if value[0] == b'"' => line.extend_from_slice(b"\\n"),
            byte => line.push(*byte),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second one may be empty, which no sum of sops' knows of.
    #[test]
    fn a_name_that_is_given_twice_is_refused() {
        let node = |names: &[&str]| {
            let entry = |name: &&str| {
                let value = Node::Text(SecretBytes::copy_of(b"v"));
                (Key { name: (*name).to_owned(), line: 1 }, value)
            };
            Node::Object(names.iter().map(entry).collect())
        };
        assert_eq!(variables(node(&["A", "B"])).unwrap().len(), 2, "the control");
        for twice in [["A", "A"], ["A", "A "], ["export A", "A"]] {
            let Err(SopsError::Changed(why)) = variables(node(&twice)) else { panic!("{twice:?}") };
            assert_eq!(why, "`A` is given twice");
        }
    }

    #[test]
    fn a_value_is_as_readers_have_it_or_refused() {
        let read = |text: &str| {
            let value = as_read(&SecretBytes::copy_of(text.as_bytes()))?;
            Some(String::from_utf8(value.expose().to_vec()).unwrap())
        };
        for (value, expected) in [
            ("b", "b"),
            ("", ""),
            ("pa$$w\\rd'\"#1", "pa$$w\\rd'\"#1"),
            ("two\nlines", "two\nlines"),
            ("x\nB=3", "x\nB=3"),
            ("\"b c\"", "b c"),
            ("'b # $c'", "b # $c"),
            ("\"two\nlines\"", "two\nlines"),
            ("'two\nlines'", "two\nlines"),
        ] {
            assert_eq!(read(value).as_deref(), Some(expected), "{value}");
        }
        for value in [" b", "b\r", "b # c", "#b", "\"b", "\"b\"c", "\"$b\"", "\"a\"\nB=c"] {
            assert_eq!(read(value), None, "{value}");
        }
    }
}
