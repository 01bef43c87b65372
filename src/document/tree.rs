//! JSON and YAML as a tree of values, each name with its line. Values go straight into
//! `SecretBytes`; errors say where, never what. Uses serde.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::secret::SecretBytes;

pub enum Node {
    Text(SecretBytes),
    /// As JSON writes it.
    Number(SecretBytes),
    Bool(bool),
    Nothing,
    List(Vec<Node>),
    Object(Vec<(Key, Node)>),
}

impl Node {
    /// What it is, in words.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::Nothing => "nothing",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// The text of a single value: `true` and `5432`, too. A file that is filled in has nothing else.
    pub fn into_value(self) -> Option<SecretBytes> {
        match self {
            Self::Text(value) | Self::Number(value) => Some(value),
            Self::Bool(is) => Some(SecretBytes::copy_of(if is { b"true" } else { b"false" })),
            _ => None,
        }
    }

    fn number<E>(number: impl ToString) -> Result<Self, E> {
        Ok(Self::Number(SecretBytes::new(number.to_string().into_bytes())))
    }
}

pub struct Key {
    pub name: String,
    pub line: usize,
}

/// Why a document cannot be read; of constant words.
#[derive(Debug)]
pub struct Unreadable {
    pub line: usize,
    pub problem: &'static str,
}

pub fn json(text: &[u8]) -> Result<Node, Unreadable> {
    let reading = Reading::of(text);
    let mut from = serde_json::Deserializer::from_slice(text);
    let node = NodeOf(&reading).deserialize(&mut from).and_then(|node| from.end().map(|()| node));
    node.map_err(|error| reading.unreadable(Some(error.line()), "it is no JSON"))
}

pub fn yaml(text: &[u8]) -> Result<Node, Unreadable> {
    let reading = Reading::of(text);
    reading.yaml(serde_yaml::Deserializer::from_slice(text))
}

/// Each document of a text that may have several.
pub fn yaml_documents(text: &[u8]) -> Result<Vec<Node>, Unreadable> {
    let reading = Reading::of(text);
    serde_yaml::Deserializer::from_slice(text).map(|document| reading.yaml(document)).collect()
}

/// How far a text has been read.
struct Reading<'a> {
    text: &'a [u8],
    /// A byte, and the line that it is on.
    seen: Cell<(usize, usize)>,
    /// In our words, as the parser's own may quote what it found.
    problem: Cell<Option<&'static str>>,
    /// How many bytes it takes so far: an alias repeats what it stands for.
    size: Cell<usize>,
}

/// What a node takes beside its value.
const NODE: usize = 32;
/// The most bytes of all nodes, for each byte of a text and beside them: more has only what repeats itself.
const MOST_TIMES: usize = 4;
const MOST_BESIDE: usize = 4 << 20;

impl<'a> Reading<'a> {
    fn of(text: &'a [u8]) -> Self {
        Self { text, seen: Cell::new((0, 1)), problem: Cell::new(None), size: Cell::new(0) }
    }

    fn yaml(&self, document: serde_yaml::Deserializer<'_>) -> Result<Node, Unreadable> {
        let node = NodeOf(self).deserialize(document);
        node.map_err(|error| self.unreadable(error.location().map(|at| at.line()), "it is no YAML"))
    }

    fn unreadable(&self, line: Option<usize>, otherwise: &'static str) -> Unreadable {
        let line = line.filter(|line| *line > 0).unwrap_or(self.seen.get().1);
        Unreadable { line, problem: self.problem.get().unwrap_or(otherwise) }
    }

    /// The line of a name that the parser has left where it was. One that it had to copy is on the
    /// line of the name before it, or after.
    fn line_of(&self, name: &str) -> usize {
        let (from, line) = self.seen.get();
        let at = (name.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        if at < from || at > self.text.len() {
            return line;
        }
        let line = line + self.text[from..at].iter().filter(|&&byte| byte == b'\n').count();
        self.seen.set((at, line));
        line
    }

    /// Counts what is about to be made or copied.
    fn count<E: Error>(&self, bytes: usize) -> Result<(), E> {
        self.size.set(self.size.get() + bytes);
        match self.size.get() > self.text.len() * MOST_TIMES + MOST_BESIDE {
            true => Err(self.fail("it is too large once its aliases are followed")),
            false => Ok(()),
        }
    }

    fn fail<E: Error>(&self, problem: &'static str) -> E {
        self.problem.set(Some(problem));
        E::custom(problem)
    }
}

/// Reads a node, whatever it is.
#[derive(Clone, Copy)]
struct NodeOf<'a>(&'a Reading<'a>);

impl<'de> DeserializeSeed<'de> for NodeOf<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.0.count(NODE)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeOf<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a list or an object")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        self.0.count(text.len())?;
        Ok(Node::Text(SecretBytes::copy_of(text.as_bytes())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Node, E> {
        self.0.count(text.len())?;
        Ok(Node::Text(SecretBytes::new(text.into_bytes())))
    }

    fn visit_bool<E: Error>(self, is: bool) -> Result<Node, E> {
        Ok(Node::Bool(is))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        Node::number(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        Node::number(number)
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Node, E> {
        Node::number(number)
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<Node, E> {
        Node::number(number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        Node::number(number)
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(self)? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(KeyOf(self.0))? {
            entries.push((key, map.next_value_seed(self)?));
        }
        Ok(Node::Object(entries))
    }
}

/// Reads a name.
struct KeyOf<'a>(&'a Reading<'a>);

impl<'de> DeserializeSeed<'de> for KeyOf<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        let reading = self.0;
        deserializer.deserialize_str(self).map_err(|error| match reading.problem.get() {
            Some(_) => error,
            None => reading.fail("a name is no text"),
        })
    }
}

impl<'de> Visitor<'de> for KeyOf<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
        self.0.count(name.len())?;
        Ok(Key { name: name.to_owned(), line: self.0.line_of(name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        match node {
            Node::Text(value) => format!("{:?}", std::str::from_utf8(value.expose()).unwrap()),
            Node::List(nodes) => format!("[{}]", nodes.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Node::Object(entries) => {
                let entry = |(key, node): &(Key, Node)| format!("{}:{}={}", key.line, key.name, shown(node));
                format!("({})", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
            other => other.what().to_owned(),
        }
    }

    #[test]
    fn names_have_their_lines() {
        let text = b"{\"a\": \"x\",\n \"b\": {\n\n\"c\": \"\\u0041\"}, \"d\":\n\"e\", \"f\": [\"g\"]}";
        assert_eq!(shown(&json(text).unwrap()), r#"(1:a="x" 2:b=(4:c="A") 4:d="e" 5:f=["g"])"#);
        let text = b"# one\na: x\nb:\n  c: |\n    two\n    lines\n\"d\": 'e'\nf: [g]\n";
        assert_eq!(shown(&yaml(text).unwrap()), r#"(2:a="x" 3:b=(4:c="two\nlines\n") 7:d="e" 8:f=["g"])"#);
    }

    #[test]
    fn what_is_no_text_is_told_apart() {
        let text = br#"{"a": 1, "b": -1, "c": 1.5, "d": true, "e": null}"#;
        let expected = "(1:a=a number 1:b=a number 1:c=a number 1:d=true or false 1:e=nothing)";
        assert_eq!(shown(&json(text).unwrap()), expected);
        assert_eq!(shown(&yaml(text).unwrap()), expected);
        assert_eq!(shown(&yaml(b"a: 0x1F\nb: yes\nc: ~\nd: 1e999999\n").unwrap()).matches("1f").count(), 0);
    }

    #[test]
    fn what_is_wrong_is_located_and_never_quoted() {
        for (text, line) in [("{\"a\": \"31337\"\n\"b\"}", 2), ("{\"31337\": ", 1), ("{} {}", 1), ("", 1)] {
            let Err(error) = json(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(error.line, line.min(error.line), "{text}");
            assert!(!error.problem.contains("31337"), "{text}");
        }
        for text in ["a: 'x\n", "a: *b\n", "a: !secret 31337\n", "? [a]\n: b\n", "a: b\n---\nc: d\n", "{"] {
            let Err(error) = yaml(text.as_bytes()) else { panic!("{text}") };
            assert!(!error.problem.contains("31337"), "{text}: {}", error.problem);
        }
    }

    /// Texts of less than a mebibyte that would be gigabytes: by their values, their names, or how many they are.
    #[test]
    fn an_alias_is_no_way_to_grow() {
        let (long, many) = ("x".repeat(1 << 18), |what: &str, count| vec![what; count].join(","));
        let bombs = [
            format!("a: &a {long}\nb: [{}]\n", many("*a", 1 << 16)),
            format!("a: &a\n  ? {long}\n  : 1\nb: [{}]\n", many("*a", 1 << 16)),
            format!("a: &a [{}]\nb: [{}]\n", many("1", 25_000), many("*a", 12_000)),
        ];
        for bomb in bombs {
            let problem = yaml(bomb.as_bytes()).err().unwrap().problem;
            assert_eq!(problem, "it is too large once its aliases are followed");
        }
        let few = format!("a: &a {}\nb: [*a, *a]\n", "x".repeat(1 << 18));
        assert!(yaml(few.as_bytes()).is_ok(), "the control");
    }

    proptest::proptest! {
        #[test]
        fn wild_text_never_panics(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            let _ = (json(&text), yaml(&text));
        }
    }
}
