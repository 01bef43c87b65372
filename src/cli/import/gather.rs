//! Which secrets a document holds: a text is a value, an object is a part of names, or a secret
//! with its type and fields. Uses `document`.

use std::collections::BTreeSet;
use std::rc::Rc;

use jiff::Timestamp;

use super::found::{Content, Found, Place};
use crate::cli::json_values::Entry;
use crate::cli::set::parse_type;
use crate::cli::values::Fields;
use crate::cli::when;
use crate::document::{Key, Node};
use crate::secret::{FieldName, SecretBytes, SecretType};
use crate::store::Edit;

/// How a document is understood.
pub(super) struct Gather<'a> {
    pub(super) source: Rc<str>,
    /// The type of secrets that do not say theirs.
    pub(super) edit: &'a Edit,
    pub(super) now: Timestamp,
}

const TYPE: &str = "type";
const FIELDS: &str = "fields";

impl Gather<'_> {
    /// The secrets of an object of names, in its order.
    pub(super) fn all(&self, entries: Vec<(Key, Node)>) -> Vec<Found> {
        let mut found = Vec::new();
        self.entries("", entries, &mut found);
        found
    }

    fn entries(&self, before: &str, entries: Vec<(Key, Node)>, found: &mut Vec<Found>) {
        let mut seen = BTreeSet::new();
        for (Key { name, line }, node) in entries {
            let whole = format!("{before}{name}");
            match seen.insert(name) {
                true => self.node(whole, line, node, found),
                false => found.push(self.found(whole, line, Err("it is given twice".to_owned()))),
            }
        }
    }

    fn node(&self, name: String, line: usize, node: Node, found: &mut Vec<Found>) {
        let content = match node {
            Node::Text(value) => Ok(Content::of_value(value, self.edit)),
            Node::Object(entries) if is_secret(&entries) => self.secret(entries),
            Node::Object(entries) if self.is_of_type(&entries) => {
                fields(entries).map(|fields| Content::new(Entry::Fields(fields), self.edit.clone()))
            }
            Node::Object(entries) if !entries.is_empty() => {
                return self.entries(&format!("{name}/"), entries, found);
            }
            Node::Object(_) | Node::Nothing => Err("it has no value".to_owned()),
            Node::List(_) => Err("it is a list, no text".to_owned()),
            other => Err(format!("it is {}, no text: put it in quotes", other.what())),
        };
        found.push(self.found(name, line, content));
    }

    fn found(&self, name: String, line: usize, content: Result<Content, String>) -> Found {
        Found { name, place: Place { source: self.source.clone(), line: Some(line) }, content }
    }

    /// Whether these are the fields of a secret of the type that was named.
    fn is_of_type(&self, entries: &[(Key, Node)]) -> bool {
        let Some(kind) = self.edit.kind else { return false };
        let has = |field: &&str| entries.iter().any(|(key, _)| key.name == **field);
        let is_known = |key: &Key| {
            kind == SecretType::Custom
                || kind.required().iter().chain(kind.optional()).any(|field| key.name == *field)
        };
        let are_texts = entries.iter().all(|(key, node)| is_known(key) && matches!(node, Node::Text(_)));
        are_texts && !entries.is_empty() && kind.required().iter().all(has)
    }

    /// `{type: …, fields: {…}}`, with what else is known of it.
    fn secret(&self, entries: Vec<(Key, Node)>) -> Result<Content, String> {
        let mut content = Content::new(Entry::Fields(Fields::new()), self.edit.clone());
        let mut seen = BTreeSet::new();
        for (Key { name, .. }, node) in entries {
            if !seen.insert(name.clone()) {
                return Err(format!("its `{name}` is given twice"));
            }
            let edit = &mut content.edit;
            match (name.as_str(), node) {
                (TYPE, node) => edit.kind = Some(parse_type(&text(TYPE, node)?)?),
                (FIELDS, Node::Object(entries)) => content.entry = Entry::Fields(fields(entries)?),
                ("description", node) => edit.description = Some(text("description", node)?),
                ("label", node) => edit.label = Some(text("label", node)?),
                ("owner", node) => edit.owner = Some(text("owner", node)?),
                ("tags", Node::List(tags)) => {
                    edit.tags =
                        Some(tags.into_iter().map(|tag| text("tags", tag)).collect::<Result<_, _>>()?);
                }
                ("expires", node) => content.expires_at = Some(self.end(&text("expires", node)?)?),
                (FIELDS | "tags", _) => return Err(format!("its `{name}` is not what it should be")),
                _ => return Err(format!("a secret with `{TYPE}` and `{FIELDS}` has no `{name}`")),
            }
        }
        Ok(content)
    }

    fn end(&self, text: &str) -> Result<Timestamp, String> {
        when::parse_future(text, self.now).map_err(|failure| format!("its expiry: {}", failure.problem))
    }
}

fn is_secret(entries: &[(Key, Node)]) -> bool {
    [TYPE, FIELDS].iter().all(|name| entries.iter().any(|(key, _)| key.name == *name))
}

fn fields(entries: Vec<(Key, Node)>) -> Result<Fields, String> {
    let mut fields = Fields::new();
    for (Key { name, .. }, node) in entries {
        let field = FieldName::parse(&name).map_err(|error| error.to_string())?;
        let value = value(&name, node)?;
        if fields.insert(field, value).is_some() {
            return Err(format!("its field `{name}` is given twice"));
        }
    }
    Ok(fields)
}

fn value(field: &str, node: Node) -> Result<SecretBytes, String> {
    match node {
        Node::Text(value) => Ok(value),
        _ => Err(format!("its field `{field}` is no text: put it in quotes")),
    }
}

/// What is known of a secret is no secret.
fn text(what: &str, node: Node) -> Result<String, String> {
    let text = match &node {
        Node::Text(text) => std::str::from_utf8(text.expose()).ok(),
        _ => None,
    };
    text.map(str::to_owned).ok_or_else(|| format!("its `{what}` is no text"))
}
