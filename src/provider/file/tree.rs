//! A document whose names are secrets: what a path leads to, part by part. Pure; uses `document`.

use std::collections::BTreeMap;

use crate::document::{Node, dotenv};
use crate::provider::fields::{Fields, MOST};
use crate::secret::{FieldName, SecretBytes};

pub(super) enum Tree {
    Object(BTreeMap<String, Self>),
    Value(SecretBytes),
    /// Neither, in words.
    Other(&'static str),
}

impl Tree {
    pub(super) fn of(node: Node) -> Result<Self, &'static str> {
        match Self::from(node)? {
            tree @ Self::Object(_) => Ok(tree),
            _ => Err("it is no object of names"),
        }
    }

    /// A variable that is given twice has its last value, as readers of such files have it.
    pub(super) fn of_variables(all: Vec<dotenv::Assignment>) -> Self {
        Self::Object(all.into_iter().map(|it| (it.name, Self::Value(it.value))).collect())
    }

    fn from(node: Node) -> Result<Self, &'static str> {
        let what = node.what();
        let Node::Object(entries) = node else {
            return Ok(node.into_value().map_or(Self::Other(what), Self::Value));
        };
        let mut object = BTreeMap::new();
        for (key, node) in entries {
            if object.insert(key.name, Self::from(node)?).is_some() {
                return Err("a name is given twice");
            }
        }
        Ok(Self::Object(object))
    }

    /// The same, where this path leads to.
    pub(super) fn below(self, path: &str) -> Self {
        path.rsplit('/').fold(self, |tree, part| Self::Object(BTreeMap::from([(part.to_owned(), tree)])))
    }

    /// The secret at this path; `None` if there is none. `Err` says what is there instead.
    pub(super) fn fields(&self, path: &str) -> Result<Option<Fields>, String> {
        let Some((tree, above)) = self.at(path) else { return Ok(None) };
        let object = match tree {
            // It has one name, so that a rule on the whole holds for it.
            Self::Value(_) if above > 0 && path.get(above..).is_some_and(is_field) => {
                return Err(format!("is a field: write `{}#{}`", &path[..above - 1], &path[above..]));
            }
            Self::Value(value) => {
                return Ok(Some(Fields::from([(FieldName::value(), SecretBytes::copy_of(value.expose()))])));
            }
            Self::Other(what) => return Err(format!("is {what}, no text")),
            Self::Object(object) => object,
        };
        let mut fields = Fields::new();
        for (name, tree) in object {
            // What can be no field is not one.
            if let (Self::Value(value), Ok(name)) = (tree, FieldName::parse(name)) {
                fields.insert(name, SecretBytes::copy_of(value.expose()));
            }
        }
        match fields.len() {
            0 => Ok(None),
            1..=MOST => Ok(Some(fields)),
            _ => Err(format!("has more than {MOST} fields")),
        }
    }

    /// What is there, and how long the path of the object is that has it, with the slash behind. A name with
    /// slashes in it goes before the parts that it could be made of.
    fn at(&self, path: &str) -> Option<(&Self, usize)> {
        let Self::Object(object) = self else { return None };
        if let Some(tree) = object.get(path) {
            return Some((tree, 0));
        }
        let (first, rest) = path.split_once('/')?;
        let (tree, above) = object.get(first)?.at(rest)?;
        Some((tree, first.len() + 1 + above))
    }

    pub(super) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.gather("", &mut names);
        names
    }

    fn gather(&self, before: &str, names: &mut Vec<String>) {
        let Self::Object(object) = self else { return };
        let has_fields = object.iter().any(|(name, tree)| matches!(tree, Self::Value(_)) && is_field(name));
        if has_fields && !before.is_empty() {
            names.push(before.trim_end_matches('/').to_owned());
        }
        for (name, tree) in object {
            match tree {
                Self::Object(_) => tree.gather(&format!("{before}{name}/"), names),
                Self::Value(_) if !before.is_empty() && is_field(name) => {}
                _ => names.push(format!("{before}{name}")),
            }
        }
    }
}

fn is_field(name: &str) -> bool {
    FieldName::parse(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;

    fn tree(text: &str) -> Tree {
        Tree::of(document::yaml(text.as_bytes()).unwrap()).unwrap()
    }

    fn shown(tree: &Tree, path: &str) -> String {
        match tree.fields(path) {
            Err(why) => why,
            Ok(None) => "none".to_owned(),
            Ok(Some(fields)) => {
                let field = |(name, value): (&FieldName, &SecretBytes)| {
                    format!("{name}={}", std::str::from_utf8(value.expose()).unwrap())
                };
                fields.iter().map(field).collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn a_path_leads_to_a_value_or_to_fields() {
        let tree = tree(
            "db: {user: app, port: 5432, tls: true, deep: {x: y}, no field: z}\na/b: c\nnothing: ~\nlist: [1]\n",
        );
        for (path, expected) in [
            ("db", "port=5432 tls=true user=app"),
            ("db/user", "is a field: write `db#user`"),
            ("db/deep", "x=y"),
            ("db/deep/x", "is a field: write `db/deep#x`"),
            ("db/no field", "value=z"),
            ("a/b", "value=c"),
            ("a", "none"),
            ("db/", "none"),
            ("db/user/x", "none"),
            ("", "none"),
            ("nothing", "is nothing, no text"),
            ("list", "is a list, no text"),
        ] {
            assert_eq!(shown(&tree, path), expected, "{path}");
        }
        assert_eq!(tree.names().join(" "), "a/b db db/deep db/no field list nothing");
    }

    #[test]
    fn a_name_that_is_given_twice_is_refused() {
        assert!(Tree::of(document::json(br#"{"a": {"b": "1", "b": "2"}}"#).unwrap()).is_err());
        assert!(Tree::of(document::json(b"[]").unwrap()).is_err());
    }
}
