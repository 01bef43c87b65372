//! Where in the config's text something stands, and how that is shown. Pure; the parser that
//! judges the text is the one that is asked for places, so that the two never disagree.

use std::fmt::Write;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A line and a column, both from 1; a column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// The line with a caret under the column. Tabs stay tabs, so that the caret fits.
    pub fn excerpt(self, text: &str) -> Option<String> {
        let line = text.lines().nth(self.line.checked_sub(1)?)?;
        let before = line.chars().take(self.column.saturating_sub(1));
        let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let number = self.line.to_string();
        let mut shown = String::new();
        let _ = write!(shown, "  {number} | {line}\n  {:width$} | {indent}^", "", width = number.len());
        Some(shown)
    }
}

/// Where the value at `path` begins; a step is a key or a number from 0.
pub(super) fn locate(text: &str, path: &[&str]) -> Option<Place> {
    let reader = serde_yaml::Deserializer::from_str(text);
    place_of(&Locate(path).deserialize(reader).err()?)
}

pub(super) fn place_of(error: &serde_yaml::Error) -> Option<Place> {
    let location = error.location()?;
    Some(Place { line: location.line(), column: location.column() })
}

/// Walks down to a value and fails there: the parser says where that was.
struct Locate<'a>(&'a [&'a str]);

impl<'de> DeserializeSeed<'de> for Locate<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Locate<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this place")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.0.split_first() else { return Err(A::Error::custom("here")) };
        // What may be one thing or a list of them: the first one is this map.
        let is_first = *step == "0";
        if is_first && rest.is_empty() {
            return Err(A::Error::custom("here"));
        }
        while let Some(key) = map.next_key::<String>()? {
            if key == *step {
                return map.next_value_seed(Locate(rest));
            }
            if is_first && rest.first().is_some_and(|next| *next == key) {
                return map.next_value_seed(Locate(&rest[1..]));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.0.split_first() else { return Err(A::Error::custom("here")) };
        let Ok(index) = step.parse::<usize>() else { return Ok(()) };
        for _ in 0..index {
            sequence.next_element::<IgnoredAny>()?;
        }
        sequence.next_element_seed(Locate(rest)).map(|_| ())
    }
}
