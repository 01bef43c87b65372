//! Where everything in a text begins, found by going through it once: who asks for a thousand places
//! waits for one. Pure; the parser that judges the text is the one that is asked.

use std::sync::OnceLock;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor,
};

use super::place::{Place, locate};

/// Of one text, looked for when somebody wants to know the first of them.
#[derive(Clone, Default)]
pub(super) struct Places(OnceLock<Option<Node>>);

#[derive(Clone)]
struct Node {
    place: Place,
    inside: Inside,
}

#[derive(Clone)]
enum Inside {
    Nothing,
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
}

impl Places {
    /// As [`locate`] finds it in the same text.
    pub(super) fn find(&self, text: &str, path: &[&str]) -> Option<Place> {
        let all = self.0.get_or_init(|| Node::of_text(text));
        match all.as_ref().and_then(|node| node.find(path)) {
            Some(place) => Some(place),
            None => locate(text, path),
        }
    }
}

impl Node {
    /// `None`: what stands there is a name for what stands elsewhere, or no text of ours.
    fn of_text(text: &str) -> Option<Self> {
        let mut root = None;
        let reader = || serde_yaml::Deserializer::from_str(text);
        let place = Here.deserialize(reader()).err().map(|error| place_in(&error.to_string()))?;
        if !text.contains('&') {
            root = Inside::deserialize(reader()).ok();
        }
        Some(Self { place, inside: root? })
    }

    fn find(&self, path: &[&str]) -> Option<Place> {
        let Some((step, rest)) = path.split_first() else { return Some(self.place) };
        match &self.inside {
            Inside::Nothing => Some(self.place),
            Inside::List(items) => items.get(step.parse::<usize>().ok()?)?.find(rest),
            // What may be one thing or a list of them: the first one is this map.
            Inside::Map(_) if *step == "0" && rest.is_empty() => Some(self.place),
            Inside::Map(entries) => {
                let of = |key: &str| entries.iter().find(|(name, _)| name == key).map(|(_, node)| node);
                match (of(step), rest.split_first()) {
                    (Some(node), _) => node.find(rest),
                    (None, Some((next, rest))) if *step == "0" => of(next)?.find(rest),
                    _ => None,
                }
            }
        }
    }
}

/// Fails where a value begins, and leaves the value to be read.
struct Here;

impl<'de> DeserializeSeed<'de> for Here {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_enum("", &[], self)
    }
}

impl<'de> Visitor<'de> for Here {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this place")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom("here"))
    }
}

/// The parser tells no place that is the first of all.
fn place_in(message: &str) -> Place {
    let told = message.rsplit_once(" at line ").and_then(|(_, at)| at.split_once(" column "));
    let read =
        |(line, column): (&str, &str)| Some(Place { line: line.parse().ok()?, column: column.parse().ok()? });
    told.and_then(read).unwrap_or(Place { line: 1, column: 1 })
}

impl<'de> Deserialize<'de> for Inside {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(InsideVisitor)
    }
}

struct InsideVisitor;

impl<'de> Visitor<'de> for InsideVisitor {
    type Value = Inside;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Inside, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let place = map.next_value_seed(Here).err().map(|error| place_in(&error.to_string()));
            let node = Node { place: place.ok_or_else(lost)?, inside: map.next_value()? };
            entries.push((key, node));
        }
        Ok(Inside::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Inside, A::Error> {
        let mut items = Vec::new();
        loop {
            let place = match sequence.next_element_seed(Here) {
                Ok(None) => return Ok(Inside::List(items)),
                Ok(Some(())) => return Err(lost()),
                Err(error) => place_in(&error.to_string()),
            };
            let Some(inside) = sequence.next_element()? else { return Err(lost()) };
            items.push(Node { place, inside });
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_str<E>(self, _: &str) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_unit<E>(self) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }
}

fn lost<E: Error>() -> E {
    E::custom("the parser goes on where it has failed")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paths(node: &Node) -> Vec<Vec<String>> {
        let below = |step: String, node: &Node| {
            paths(node).into_iter().map(move |rest| [vec![step.clone()], rest].concat()).collect::<Vec<_>>()
        };
        let mut all = vec![Vec::new()];
        match &node.inside {
            Inside::Nothing => {}
            Inside::Map(entries) => {
                entries.iter().for_each(|(key, node)| all.extend(below(key.clone(), node)))
            }
            Inside::List(items) => {
                items.iter().enumerate().for_each(|(index, node)| all.extend(below(index.to_string(), node)));
            }
        }
        all
    }

    /// How many places there are, each of them found as by who looks for it alone.
    #[track_caller]
    fn compare(text: &str) -> usize {
        let all = paths(&Node::of_text(text).unwrap_or_else(|| panic!("{text}")));
        let places = Places::default();
        for path in &all {
            let path: Vec<_> = path.iter().map(String::as_str).collect();
            for path in [path.clone(), [&path[..], &["0"]].concat(), [&path[..], &["nosuch", "x"]].concat()] {
                assert_eq!(places.find(text, &path), locate(text, &path), "{path:?} in\n{text}");
            }
        }
        all.len()
    }

    #[test]
    fn it_is_as_if_looked_for_alone() {
        for (text, count) in [
            ("a: 1\n", 2),
            (
                "# first\n\npolicy:\n- {secrets: a, deny: anyone}\n-   secrets: [b, \"c\"]\n    allow:\n      uid: 7\n",
                11,
            ),
            ("a: {b: {c: [1, {d: ä}, ~, true, 1.5]}, \"e f\": |\n  text\n  more\n}\n", 0),
            ("ä: [x, {y: \"z\"}]\nempty: {}\nnone: []\nnil:\nlast: >\n  one\n  two\n", 9),
            ("policy:\n- secrets: \"*\"\n  deny:\n  - {user: [a, b]}\n  - role: c\n", 11),
        ] {
            match count {
                0 => assert!(Node::of_text(text).is_none() && locate(text, &["a"]).is_some(), "no YAML"),
                count => assert_eq!(compare(text), count, "{text}"),
            }
        }
        let named = "a: &x {b: 1}\nc: *x\nd: 2\n";
        assert!(Node::of_text(named).is_none(), "what has two places is looked for alone");
        assert_eq!(Places::default().find(named, &["d"]), Some(Place { line: 3, column: 4 }));
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            "[a-zä ,:#'\"*\\[{|-]{0,9}".prop_map(Into::into),
            Just(serde_json::Value::Null),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[a-z ]{1,5}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn so_it_is_in_any_text(value in value()) {
            let flow = serde_json::to_string(&value).unwrap();
            let block = serde_yaml::to_string(&value).unwrap();
            [flow, block].iter().filter(|text| !text.contains('&')).for_each(|text| assert!(compare(text) > 0));
        }
    }

    /// Only the first one is looked for in the text: the others are found where there is none.
    #[test]
    fn a_thousand_places_are_found_by_reading_once() {
        let rules: String = (0..1000).map(|n| format!("- {{secrets: s{n}, deny: {{uid: {n}}}}}\n")).collect();
        let text = format!("policy:\n{rules}");
        let places = Places::default();
        assert!(places.find(&text, &["policy", "999"]).is_some());
        for n in 0..1000 {
            let place = places.find("", &["policy", &n.to_string()]);
            assert_eq!(place, Some(Place { line: n + 2, column: 3 }));
        }
        let afresh = Places::default().find("", &["policy", "7"]);
        assert_ne!(afresh, Some(Place { line: 9, column: 3 }), "the control");
    }
}
