//! What the fake of a cluster is asked, and the words in which it answers.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::TcpStream;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::fake::Rights;
use crate::common::http::Request;

/// What is asked of it.
pub(super) struct Question {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: Option<String>,
    pub(super) query: HashMap<String, String>,
    pub(super) is_metadata: bool,
}

impl Question {
    pub(super) fn of(request: &Request) -> Option<Self> {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let mut parts = path.strip_prefix("/api/v1/namespaces/")?.split('/').map(decoded);
        let (namespace, kind, name) = (parts.next()?, parts.next()?, parts.next());
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let query = pairs.map(|(name, value)| (decoded(name), decoded(value))).collect();
        let is_metadata = request.header("accept").is_some_and(|it| it.contains("as=PartialObjectMetadata"));
        let is_known = matches!(&*kind, "secrets" | "configmaps") && parts.next().is_none();
        is_known.then_some(Self { kind, namespace, name, query, is_metadata })
    }

    pub(super) fn is_watch(&self) -> bool {
        self.query.get("watch").is_some_and(|it| it == "true")
    }

    /// The one object that it is about.
    pub(super) fn about(&self) -> Option<&str> {
        let selected = || self.query.get("fieldSelector")?.strip_prefix("metadata.name=");
        self.name.as_deref().or_else(selected)
    }

    /// In the words of a status.
    pub(super) fn named(&self) -> Option<(&str, &str)> {
        Some((&self.kind, self.about()?))
    }

    pub(super) fn verb(&self) -> &'static str {
        match (self.is_watch(), &self.name, self.is_metadata) {
            (true, ..) => "watch",
            (_, None, _) => "list",
            (_, _, true) => "metadata",
            _ => "get",
        }
    }

    pub(super) fn is_allowed(&self, rights: &Rights) -> bool {
        let (namespace, names, verbs) = match rights {
            Rights::All => return true,
            Rights::Names(namespace, names) => (namespace, names, &["get", "metadata", "watch"][..]),
            Rights::Get(namespace, names) => (namespace, names, &["get", "metadata"][..]),
        };
        let is_named = self.about().is_some_and(|about| names.iter().any(|name| name == about));
        *namespace == self.namespace && self.kind == "secrets" && is_named && verbs.contains(&self.verb())
    }
}

pub(super) fn shown(object: &Value, question: &Question) -> Value {
    match question.is_metadata {
        true => {
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
        }
        false => object.clone(),
    }
}

/// `about`: which kind of objects, and which of them.
pub(super) fn status(code: u16, reason: &str, about: Option<(&str, &str)>) -> Value {
    let details = about.map_or_else(|| json!({}), |(kind, name)| json!({"name": name, "kind": kind}));
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "31337",
        "reason": reason, "details": details, "code": code})
}

pub(super) fn answer(stream: &mut TcpStream, status: u16, body: &Value, headers: &str) -> io::Result<()> {
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} -\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

pub(super) fn line(stream: &mut TcpStream, event: &Value) -> io::Result<()> {
    let event = format!("{event}\n");
    write!(stream, "{:x}\r\n{event}\r\n", event.len())
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}
