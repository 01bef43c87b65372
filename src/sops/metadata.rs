//! What sops has added to a document: for whom it is, which values are encrypted, and their sum. Uses `document`
//! and regex.

use regex::bytes::{Regex, RegexBuilder};
use zeroize::Zeroizing;

use super::age::Identities;
use super::{MARK, SopsError};
use crate::document::{Key, Node};
use crate::visible;

pub(super) struct Metadata {
    /// Of age: each with the data key, for it alone.
    recipients: Vec<Recipient>,
    /// What else could open it, in words.
    others: Vec<&'static str>,
    pub(super) rule: Rule,
    /// The sum is over what is encrypted only.
    pub(super) sums_encrypted_only: bool,
    pub(super) mac: String,
    pub(super) last_modified: String,
}

struct Recipient {
    name: String,
    /// A file of age's, in its armour.
    key: String,
}

/// Which values are encrypted: it is said once for a document.
pub(super) enum Rule {
    /// Those with a part of their path that ends so, or all others.
    Suffix { suffix: String, encrypts: bool },
    /// Those with a part of their path that fits, or all others.
    Pattern { pattern: Regex, encrypts: bool },
    /// By the comment above them, which nothing vouches for: those that look so.
    Looks,
}

/// The keys of others, as sops names their lists.
const OTHERS: [(&str, &str); 6] = [
    ("pgp", "PGP"),
    ("kms", "AWS KMS"),
    ("gcp_kms", "GCP KMS"),
    ("azure_kv", "Azure Key Vault"),
    ("hc_vault", "Vault's transit"),
    ("hckms", "Huawei KMS"),
];
const RULES: [&str; 6] = [
    "unencrypted_suffix",
    "encrypted_suffix",
    "unencrypted_regex",
    "encrypted_regex",
    "unencrypted_comment_regex",
    "encrypted_comment_regex",
];
/// To try a key costs time.
const MOST: usize = 64;
const USUAL_SUFFIX: &str = "_unencrypted";

/// The part `sops`, from which settings are taken.
struct Part(Vec<(Key, Node)>);

impl Part {
    fn take(&mut self, name: &str) -> Option<Node> {
        let at = self.0.iter().position(|(key, _)| key.name == name)?;
        Some(self.0.remove(at).1)
    }

    /// `None` if it is not there, or empty.
    fn text(&mut self, name: &str) -> Option<String> {
        let value = self.take(name)?.into_value()?;
        let text = std::str::from_utf8(value.expose()).ok()?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn list(&mut self, name: &str) -> Vec<Node> {
        match self.take(name) {
            Some(Node::List(nodes)) => nodes,
            _ => Vec::new(),
        }
    }
}

impl Metadata {
    pub(super) fn of(part: Node) -> Result<Self, SopsError> {
        let changed = |why: &str| SopsError::Changed(format!("its part `sops` {why}"));
        let Node::Object(entries) = part else { return Err(changed("is no object")) };
        let mut part = Part(entries);
        if !part.list("key_groups").is_empty() {
            let why = "its key is split among groups of keys (Shamir), which is not put together here";
            return Err(SopsError::Unfit(why.to_owned()));
        }
        let recipients = part.list("age");
        if recipients.len() > MOST {
            return Err(SopsError::Unfit(format!("it is for more than {MOST} recipients")));
        }
        let recipients = recipients.into_iter().map(Recipient::of).collect::<Option<_>>();
        let others = OTHERS.iter().filter(|(list, _)| !part.list(list).is_empty()).map(|(_, words)| *words);
        Ok(Self {
            recipients: recipients.ok_or_else(|| changed("names an age key without its `enc`"))?,
            others: others.collect(),
            rule: Rule::of(&mut part)?,
            sums_encrypted_only: match part.text("mac_only_encrypted").as_deref() {
                None | Some("false") => false,
                Some("true") => true,
                Some(_) => return Err(changed("says neither true nor false of `mac_only_encrypted`")),
            },
            mac: part.text("mac").ok_or_else(|| changed("has no `mac`"))?,
            last_modified: part.text("lastmodified").ok_or_else(|| changed("has no `lastmodified`"))?,
        })
    }

    pub(super) fn data_key(&self, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, SopsError> {
        if self.recipients.is_empty() {
            let for_whom = if self.others.is_empty() { "nobody".to_owned() } else { self.others.join(", ") };
            return Err(SopsError::NoKey(format!(
                "it is encrypted for {for_whom}, which is not asked here: add an age key to it \
                 (`sops rotate -i --add-age age1…`)"
            )));
        }
        for recipient in &self.recipients {
            if let Some(key) = identities.open(&recipient.key)? {
                return Ok(key);
            }
        }
        let names: Vec<_> = self.recipients.iter().map(|it| shown(&it.name)).collect();
        Err(SopsError::NoKey(format!("it is encrypted for {}: {identities}", names.join(", "))))
    }
}

/// A name that anybody may have written.
fn shown(name: &str) -> String {
    const LONGEST: usize = 100;
    let name: String = name.chars().take(LONGEST).collect();
    visible::in_line(&name)
}

impl Recipient {
    fn of(node: Node) -> Option<Self> {
        let Node::Object(entries) = node else { return None };
        let mut part = Part(entries);
        Some(Self { name: part.text("recipient").unwrap_or_default(), key: part.text("enc")? })
    }
}

impl Rule {
    fn of(part: &mut Part) -> Result<Self, SopsError> {
        let mut said = RULES.iter().filter_map(|name| Some((*name, part.text(name)?)));
        let Some((name, text)) = said.next() else {
            return Ok(Self::Suffix { suffix: USUAL_SUFFIX.to_owned(), encrypts: false });
        };
        if said.next().is_some() {
            return Err(SopsError::Changed("it says twice which values are encrypted".to_owned()));
        }
        let encrypts = name.starts_with("encrypted");
        Ok(match name {
            _ if name.ends_with("comment_regex") => Self::Looks,
            _ if name.ends_with("suffix") => Self::Suffix { suffix: text, encrypts },
            // As in Go: `\d` and `\w` are of ASCII.
            _ => match RegexBuilder::new(&text).unicode(false).build() {
                Ok(pattern) => Self::Pattern { pattern, encrypts },
                Err(_) => return Err(SopsError::Unfit(format!("its `{name}` is not understood here"))),
            },
        })
    }

    pub(super) fn encrypts(&self, path: &[String], value: &Node) -> bool {
        match self {
            Self::Suffix { suffix, encrypts } => path.iter().any(|part| part.ends_with(suffix)) == *encrypts,
            Self::Pattern { pattern, encrypts } => {
                path.iter().any(|part| pattern.is_match(part.as_bytes())) == *encrypts
            }
            Self::Looks => matches!(value, Node::Text(text) if text.expose().starts_with(MARK)),
        }
    }
}
