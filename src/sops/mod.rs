//! Documents that sops has encrypted for age: opened in memory, or refused with the name of what is wrong and never
//! a value. Pure; uses `document`. What a document means is what sops itself makes of it: there is no other standard.

mod age;
mod dotenv;
mod metadata;
mod value;

use std::collections::BTreeMap;

use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

pub use age::Identities;
pub use dotenv::{of_dotenv, variables};
use metadata::Metadata;
use value::Cipher;

use crate::document::{Key, Node};
use crate::secret::SecretBytes;

/// Why a document is not opened.
#[derive(Debug, thiserror::Error)]
pub enum SopsError {
    /// It is not as sops has left it.
    #[error("{0}")]
    Changed(String),
    /// It is for others.
    #[error("{0}")]
    NoKey(String),
    /// It asks for what is not done here.
    #[error("{0}")]
    Unfit(String),
}

/// What a document turns out to be.
pub enum Document {
    Plain(Node),
    Sealed(Box<Sealed>),
}

/// A document with encrypted values, and what sops has added.
pub struct Sealed {
    /// Of each document of the text.
    documents: Vec<Vec<(Key, Node)>>,
    metadata: Metadata,
}

/// Where sops keeps what it adds.
const PART: &str = "sops";
const HEX: &[u8; 16] = b"0123456789ABCDEF";
/// How a value begins that sops has encrypted.
const MARK: &[u8] = b"ENC[AES256_GCM,";
/// What a sum over encrypted values only begins with, so that it is never one over all (`sha256("sops")`).
const ENCRYPTED_ONLY: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b,
    0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Whether there is a value in it that sops has encrypted. Every document of sops' has one.
pub fn is_marked(text: &[u8]) -> bool {
    text.iter().enumerate().any(|(at, byte)| *byte == MARK[0] && text[at..].starts_with(MARK))
}

/// Of the documents of one text, YAML's or JSON's.
pub fn look(mut documents: Vec<Node>) -> Result<Document, SopsError> {
    let is_sealed = documents.first().is_some_and(is_sealed);
    if !is_sealed {
        return match documents.len() {
            1 => Ok(Document::Plain(documents.remove(0))),
            0 => Err(SopsError::Unfit("it is empty".to_owned())),
            _ => Err(SopsError::Unfit("it is several documents".to_owned())),
        };
    }
    let mut metadata = None;
    let mut all = Vec::new();
    for document in documents {
        let Node::Object(entries) = document else {
            return Err(SopsError::Unfit("it is no object of names".to_owned()));
        };
        let (part, entries): (Vec<_>, _) = entries.into_iter().partition(|(key, _)| key.name == PART);
        // That of the first counts.
        let mut part = part.into_iter().map(|(_, node)| node);
        if metadata.is_none() {
            metadata = part.next();
        }
        if part.len() > usize::from(!all.is_empty()) {
            return Err(SopsError::Changed("it has two parts `sops`".to_owned()));
        }
        all.push(entries);
    }
    let metadata = Metadata::of(metadata.expect("the first has one"))?;
    Ok(Document::Sealed(Box::new(Sealed { documents: all, metadata })))
}

/// A secret may have that name, too.
fn is_sealed(node: &Node) -> bool {
    let Node::Object(entries) = node else { return false };
    entries.iter().filter(|(key, _)| key.name == PART).any(|(_, node)| match node {
        Node::Object(part) => part.iter().any(|(key, _)| matches!(&*key.name, "mac" | "lastmodified")),
        _ => false,
    })
}

impl Sealed {
    /// All its values, if every one of them is as it was. Names that several documents have are all there.
    pub fn open(self, identities: &Identities) -> Result<Node, SopsError> {
        let key = self.metadata.data_key(identities)?;
        let mut walk = Walk {
            cipher: Cipher::new(&key)?,
            metadata: &self.metadata,
            sum: Sha512::new(),
            path: Vec::new(),
            joined: BTreeMap::new(),
        };
        if self.metadata.sums_encrypted_only {
            walk.sum.update(ENCRYPTED_ONLY);
        }
        let mut opened = Vec::new();
        for entries in self.documents {
            opened.extend(walk.entries(entries)?);
        }
        walk.verify()?;
        Ok(Node::Object(opened))
    }
}

/// Goes through a document in its order, and sums up what is there.
struct Walk<'a> {
    cipher: Cipher,
    metadata: &'a Metadata,
    sum: Sha512,
    path: Vec<String>,
    /// The paths so far as sops and as readers join them, with what they are of.
    joined: BTreeMap<String, Vec<String>>,
}

impl Walk<'_> {
    fn entries(&mut self, entries: Vec<(Key, Node)>) -> Result<Vec<(Key, Node)>, SopsError> {
        let mut opened = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            self.path.push(key.name.clone());
            self.has_one_name()?;
            let node = self.node(node)?;
            self.path.pop();
            opened.push((key, node));
        }
        Ok(opened)
    }

    fn node(&mut self, node: Node) -> Result<Node, SopsError> {
        match node {
            Node::Object(entries) => self.entries(entries).map(Node::Object),
            Node::List(nodes) => {
                nodes.into_iter().map(|node| self.node(node)).collect::<Result<_, _>>().map(Node::List)
            }
            // Never encrypted, and not in the sum.
            Node::Nothing => Ok(Node::Nothing),
            value => self.value(value),
        }
    }

    fn value(&mut self, value: Node) -> Result<Node, SopsError> {
        let is_encrypted = self.metadata.rule.encrypts(&self.path, &value);
        let value = if is_encrypted { self.opened(&value)? } else { value };
        if is_encrypted || !self.metadata.sums_encrypted_only {
            match &value {
                Node::Text(value) | Node::Number(value) => self.sum.update(value.expose()),
                Node::Bool(is) => self.sum.update(if *is { "True" } else { "False" }),
                Node::Nothing | Node::List(_) | Node::Object(_) => {}
            }
        }
        Ok(value)
    }

    /// To sops `"a:b"` is the same as `b` in `a`, and to who reads by a path `"a/b"` is: where both are there, one could
    /// stand in for the other.
    fn has_one_name(&mut self) -> Result<(), SopsError> {
        for sign in [":", "/"] {
            let known = self.joined.entry(self.path.join(sign)).or_insert_with(|| self.path.clone());
            if *known != self.path {
                let name = self.path.join("/");
                return Err(SopsError::Changed(format!(
                    "`{name}` is there twice, in two ways of writing it"
                )));
            }
        }
        Ok(())
    }

    fn opened(&self, value: &Node) -> Result<Node, SopsError> {
        let refused = |why: &str| Err(SopsError::Changed(format!("`{}` {why}", self.path.join("/"))));
        match value {
            Node::Text(text) if text.is_empty() => Ok(Node::Text(SecretBytes::copy_of(b""))),
            Node::Text(text) if !text.expose().starts_with(MARK) => {
                refused("should be encrypted, and is not")
            }
            // The path is what keeps a value from being moved to another name.
            Node::Text(text) => match self.cipher.open(text.expose(), &(self.path.join(":") + ":")) {
                Some(value) => Ok(value),
                None => {
                    refused("is not as sops has encrypted it: it was changed, or stood under another name")
                }
            },
            _ => refused("should be encrypted, and is not"),
        }
    }

    /// sops keeps the sum as upper case hex, encrypted with the time of the last change for its name.
    fn verify(self) -> Result<(), SopsError> {
        let mut sum = Zeroizing::new(String::with_capacity(2 * 64));
        for byte in self.sum.finalize() {
            sum.extend([byte >> 4, byte & 15].map(|digit| char::from(HEX[usize::from(digit)])));
        }
        let said = self.cipher.open(self.metadata.mac.as_bytes(), &self.metadata.last_modified);
        match said {
            Some(Node::Text(said)) if said.same_as(sum.as_bytes()) => Ok(()),
            Some(_) => Err(SopsError::Changed(
                "its MAC does not fit: a value was changed, added, taken out or moved since sops wrote it"
                    .to_owned(),
            )),
            None => Err(SopsError::Changed(
                "its `sops.mac` or `sops.lastmodified` is not as sops has written it".to_owned(),
            )),
        }
    }
}
