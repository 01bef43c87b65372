//! By which names a secret goes: as it is written, as the config maps it, as its provider has it. A
//! rule on one of them is a rule on the secret, whichever a template uses. Uses the words only.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use super::pattern::Pattern;
use crate::secret::{SecretKey, Selector};

/// Where names lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The provider of names that name none.
    pub default: String,
    /// Providers that are the same one, each by the name that stands for all of them.
    pub same: BTreeMap<String, String>,
    /// The secrets that live elsewhere: their provider, if it is not the default one, and path.
    pub mapped: BTreeMap<String, (Option<String>, String)>,
}

/// A secret on its way out.
pub(super) struct Goes<'a> {
    pub(super) secret: Called<'a>,
    pub(super) file: Option<InMount<'a>>,
}

/// All names of one secret.
pub(super) struct Called<'a> {
    names: Vec<Cow<'a, str>>,
    /// Whether it has a name beside these that nobody knows: it is asked for by its label.
    has_unknown: bool,
}

/// A file, by its path in the mount and from the root.
#[derive(Clone, Copy)]
pub(super) struct InMount<'a> {
    pub(super) mount: &'a Path,
    pub(super) path: &'a Path,
}

impl Names {
    pub(super) fn of<'a>(&'a self, key: &'a SecretKey) -> Called<'a> {
        let mapped = key.provider.is_none().then(|| self.mapped.get(&key.path)).flatten();
        let (provider, path) = match mapped {
            Some((provider, path)) => (provider.as_deref(), path.as_str()),
            None => (key.provider.as_deref(), key.path.as_str()),
        };
        let target = (self.one(provider.unwrap_or(&self.default)), path);
        let is_same = |(to, at): &&(Option<String>, String)| {
            (self.one(to.as_deref().unwrap_or(&self.default)), at.as_str()) == target
        };
        let mut names: Vec<Cow<'a, str>> = vec![key.path.as_str().into()];
        if key.provider.is_some() {
            names.clear();
        }
        names.extend(
            self.mapped.iter().filter(|(_, to)| is_same(to)).map(|(name, _)| Cow::from(name.as_str())),
        );
        if target.0 == self.one(&self.default) && !self.mapped.contains_key(path) {
            names.push(path.into());
        }
        let twins = self.same.iter().filter(|(_, one)| *one == target.0).map(|(name, _)| name.as_str());
        let providers = twins.chain([target.0]);
        names.extend(providers.map(|provider| Cow::from(format!("{provider}:{path}"))));
        Called { names, has_unknown: Selector::of_path(path).is_some() }
    }

    fn one<'a>(&'a self, provider: &'a str) -> &'a str {
        self.same.get(provider).map_or(provider, String::as_str)
    }
}

impl Called<'_> {
    pub(super) fn is_any_of(&self, patterns: &[Pattern]) -> Option<bool> {
        let fits = |pattern: &Pattern| self.names.iter().any(|name| pattern.fits(name));
        match patterns.iter().any(fits) {
            true => Some(true),
            false if self.has_unknown => None,
            false => Some(false),
        }
    }
}

impl InMount<'_> {
    /// A pattern that begins with a slash is about whole paths.
    pub(super) fn fits(&self, pattern: &Pattern) -> bool {
        match pattern.as_str().starts_with('/') {
            true => pattern.fits(&self.mount.join(self.path).to_string_lossy()),
            false => pattern.fits(&self.path.to_string_lossy()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Reference;

    fn names() -> Names {
        let mapped = [
            ("stripe_key", (Some("vault".to_owned()), "kv/billing".to_owned())),
            ("shadowed", (None, "db".to_owned())),
        ];
        Names {
            default: "store".to_owned(),
            same: [("other".to_owned(), "store".to_owned())].into(),
            mapped: mapped.map(|(name, to)| (name.to_owned(), to)).into(),
        }
    }

    fn is(text: &str, pattern: &str) -> Option<bool> {
        let key = Reference::parse(text).unwrap().key;
        names().of(&key).is_any_of(&[Pattern::parse(pattern).unwrap()])
    }

    #[test]
    fn a_rule_on_one_name_is_on_the_secret() {
        for (text, pattern) in [
            ("stripe_key", "stripe_key"),
            ("vault:kv/billing", "stripe_key"),
            ("stripe_key", "vault:kv/*"),
            ("store:db", "db"),
            ("other:db", "db"),
            ("other:db", "store:db"),
            ("store:db", "other:*"),
            ("db@3", "db"),
            ("shadowed", "db"),
            ("db", "shadowed"),
            ("vault:kv/other", "*"),
        ] {
            assert_eq!(is(text, pattern), Some(true), "{text} {pattern}");
        }
        for (text, pattern) in [
            ("store:shadowed", "shadowed"),
            ("vault:kv/other", "stripe_key"),
            ("vault:db", "db"),
            ("vault:kv/billing", "kv/billing"),
            ("db", "vault:db"),
        ] {
            assert_eq!(is(text, pattern), Some(false), "{text} {pattern}");
        }
    }

    #[test]
    fn who_asks_by_label_may_mean_any() {
        let key = SecretKey::named("type=api-key,label=openai");
        let names = names();
        let is = |pattern: &str| names.of(&key).is_any_of(&[Pattern::parse(pattern).unwrap()]);
        assert_eq!(is("stripe/*"), None);
        assert_eq!((is("*"), is("*label=openai")), (Some(true), Some(true)));
    }

    #[test]
    fn a_slash_in_front_means_the_whole_path() {
        let file = InMount { mount: Path::new("/run/app"), path: Path::new("billing/.env") };
        let fits = |pattern| file.fits(&Pattern::parse(pattern).unwrap());
        assert!(fits("billing/*") && fits("/run/app/billing/*") && fits("*.env") && fits("/run/*"));
        assert!(!fits("/billing/*") && !fits("run/*") && !fits(".env"));
    }
}
