//! The members of an object of YAML, each of which is taken once, and what is said of those that are not as they
//! should be: names, and never what is there.

use super::plan::Files;
use crate::document::{Key, Node};
use crate::secret::SecretBytes;

pub(super) type Read<T> = Result<T, String>;

/// Those that nobody has taken yet.
pub(super) struct Members {
    pub(super) what: String,
    entries: Vec<(Key, Node)>,
}

/// What nobody needs to know.
const IDLE: [&str; 2] = ["extensions", "disable-compression"];

impl Members {
    pub(super) fn of(what: &str, node: Node) -> Read<Self> {
        match node {
            Node::Object(entries) => Ok(Self { what: what.to_owned(), entries }),
            other => Err(format!("{what} is {}, and no map of settings", other.what())),
        }
    }

    /// The object in the list whose `name` is this.
    pub(super) fn named(&mut self, list: &str, kind: &'static str, name: &str) -> Read<Self> {
        let place = self.entries.iter_mut().find(|(key, _)| key.name == list);
        let Some((_, Node::List(nodes))) = place else { return Err(format!("it has no list of `{list}`")) };
        let is_it = |node: &Node| match node {
            Node::Object(entries) => entries.iter().any(|(key, node)| {
                key.name == "name" && matches!(node, Node::Text(text) if text.same_as(name.as_bytes()))
            }),
            _ => false,
        };
        let at =
            nodes.iter().position(is_it).ok_or_else(|| format!("it has no {kind} of the name `{name}`"))?;
        let what = format!("its {kind} `{name}`");
        let mut entry = Self::of(&what, nodes.swap_remove(at))?;
        let inside = entry.take(kind).ok_or_else(|| format!("{what} has no settings"))?;
        Self::of(&what, inside)
    }

    /// Nothing is `null`, too.
    pub(super) fn take(&mut self, name: &str) -> Option<Node> {
        let at = self.entries.iter().position(|(key, _)| key.name == name)?;
        Some(self.entries.swap_remove(at).1).filter(|node| !matches!(node, Node::Nothing))
    }

    /// An empty text is none.
    pub(super) fn secret(&mut self, name: &str) -> Read<Option<SecretBytes>> {
        match self.take(name) {
            None => Ok(None),
            Some(Node::Text(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(_) => Err(self.says(&format!("has a `{name}` that is no text"))),
        }
    }

    /// One that may be shown.
    pub(super) fn text(&mut self, name: &str) -> Read<Option<String>> {
        let text = self.secret(name)?;
        let text = text.map(|it| String::from_utf8(it.expose().to_vec()));
        text.transpose().map_err(|_| self.says(&format!("has a `{name}` that is no text")))
    }

    pub(super) fn needed(&mut self, name: &str) -> Read<String> {
        self.text(name)?.ok_or_else(|| self.says(&format!("has no `{name}`")))
    }

    pub(super) fn flag(&mut self, name: &str) -> Read<bool> {
        match self.take(name) {
            None => Ok(false),
            Some(Node::Bool(is)) => Ok(is),
            Some(_) => Err(self.says(&format!("has a `{name}` that is neither true nor false"))),
        }
    }

    pub(super) fn list(&mut self, name: &str) -> Read<Vec<Node>> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Node::List(nodes)) => Ok(nodes),
            Some(_) => Err(self.says(&format!("has a `{name}` that is no list"))),
        }
    }

    /// Base64 in the file itself comes before another file.
    pub(super) fn file_or_data(&mut self, name: &str, files: &mut Files) -> Read<Option<SecretBytes>> {
        let (data, file) = (self.secret(&format!("{name}-data"))?, self.text(name)?);
        let bytes = match (data, file) {
            (Some(data), _) => SecretBytes::of_base64(data.expose())
                .ok_or_else(|| format!("has a `{name}-data` that is no base64")),
            (None, Some(file)) => {
                files.read(file).map_err(|why| format!("names as `{name}` a file that {why}"))
            }
            (None, None) => return Ok(None),
        };
        bytes.map(Some).map_err(|why| self.says(&why))
    }

    pub(super) fn nothing_else(&self) -> Read<()> {
        match self.entries.iter().find(|(key, _)| !IDLE.contains(&&*key.name)) {
            Some((key, _)) => Err(self.says(&format!("has `{}`, which is not known here", key.name))),
            None => Ok(()),
        }
    }

    pub(super) fn says(&self, what: &str) -> String {
        format!("{} {what}", self.what)
    }
}
