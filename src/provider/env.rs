//! The environment of this process as a provider, for development (`secrets: {from: env}`).
//! Uses std. Nobody writes this process's environment once it has threads, so it never changes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use jiff::Timestamp;

use super::constant::Constant;
use crate::secret::{Absent, Answer, FieldName, SecretBytes, SecretKey, SecretType, SecretVersion};

pub struct EnvProvider {
    /// What the names of variables begin with, and those of secrets do not.
    prefix: String,
    /// When the process began.
    since: Timestamp,
    /// What other providers are asked with: nobody's but theirs.
    hidden: BTreeSet<String>,
}

impl EnvProvider {
    pub fn new(prefix: &str, since: Timestamp, hidden: BTreeSet<String>) -> Self {
        Self { prefix: prefix.to_owned(), since, hidden }
    }
}

impl Constant for EnvProvider {
    /// The variable, copied only when somebody asks for it. What can be no name is none.
    fn answer(&self, key: &SecretKey) -> Answer {
        let can_be = matches!(key.version, None | Some(1)) && !key.path.contains(['=', '\0']);
        let name = format!("{}{}", self.prefix, key.path);
        if self.hidden.contains(&name) {
            return Err(Absent::Revoked);
        }
        let value = can_be.then(|| std::env::var_os(name)).flatten().ok_or(Absent::Missing)?;
        Ok(Arc::new(SecretVersion {
            turned_out: None,
            kind: SecretType::Plain,
            fields: BTreeMap::from([(FieldName::value(), SecretBytes::new(value.into_vec()))]),
            version: 1,
            created_at: self.since,
            updated_at: self.since,
            expires_at: None,
            uses: None,
        }))
    }

    /// Names that are not text cannot be named in a template and are left out.
    fn names(&self) -> Vec<String> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let names = names.filter(|name| !self.hidden.contains(name));
        names.filter_map(|name| name.strip_prefix(&self.prefix).map(str::to_owned)).collect()
    }
}
