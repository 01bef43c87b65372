//! By which names a secret goes: as it is written, as the config maps it, as its provider has it. A
//! rule on one of them is a rule on the secret, whichever a template uses. Uses the words only.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::pattern::Pattern;
use crate::secret::{Reference, SecretKey, Selector};

/// Where names lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The provider of names that name none.
    pub default: String,
    /// Providers that are the same one, each by the name that stands for all of them.
    pub same: BTreeMap<String, String>,
    /// Providers that are others as one, with those.
    pub several: BTreeMap<String, Vec<String>>,
    /// The secrets that live elsewhere: a whole one there, one field of it or one version.
    pub mapped: BTreeMap<String, Reference>,
}

/// A secret on its way out.
pub(super) struct Goes<'a> {
    pub(super) secret: Called<'a>,
    pub(super) file: Option<InMount<'a>>,
}

/// All names of one secret.
pub(super) struct Called<'a> {
    names: Vec<Cow<'a, str>>,
    /// Names of less than all of it, or of what may be other than it.
    near: Vec<Cow<'a, str>>,
    /// Whether it has a name beside these that nobody knows: it is asked for by its label.
    pub(super) has_unknown: bool,
}

/// A file, by its path in the mount and from the root, which may be spelled in two ways.
#[derive(Clone, Copy)]
pub(super) struct InMount<'a> {
    pub(super) mounts: [&'a Path; 2],
    pub(super) path: &'a Path,
}

impl Names {
    pub(super) fn of<'a>(&'a self, key: &'a SecretKey) -> Called<'a> {
        let mapped = key.provider.is_none().then(|| self.mapped.get(&key.path)).flatten();
        let leads_to = mapped.map_or(key, |target| &target.key);
        let (provider, path) = (self.provider_of(leads_to), leads_to.path.as_str());
        let (field, version) = (mapped.and_then(|it| it.field.as_ref()), key.version.or(leads_to.version));
        let mut names: Vec<Cow<'a, str>> = Vec::new();
        if key.provider.is_none() {
            names.push(key.path.as_str().into());
        }
        let mut near: Vec<Cow<'a, str>> = Vec::new();
        for (name, to) in self.mapped.iter().filter(|(_, to)| to.key.path == path) {
            let is_there = self.is_asked(self.provider_of(&to.key), provider);
            match [is_there, is_all_of(&to.field, &field.cloned()), is_all_of(&to.key.version, &version)] {
                [Some(true), Some(true), Some(true)] => names.push(name.as_str().into()),
                [Some(false), ..] | [_, Some(false), _] | [.., Some(false)] => {}
                _ => near.push(name.as_str().into()),
            }
        }
        if !self.mapped.contains_key(path) {
            match self.is_asked(self.one(&self.default), provider) {
                Some(true) => names.push(path.into()),
                Some(false) => {}
                None => near.push(path.into()),
            }
        }
        let twins = self.same.iter().filter(|(_, one)| *one == provider).map(|(name, _)| name.as_str());
        let providers = twins.chain([provider]);
        names.extend(providers.map(|provider| Cow::from(format!("{provider}:{path}"))));
        let several = self.several.keys().chain(self.several.values().flatten());
        let related = several.chain(self.same.keys()).chain(self.same.values()).collect::<BTreeSet<_>>();
        let related = related.into_iter();
        let related = related.filter(|other| self.is_asked(self.one(other), provider).is_none());
        near.extend(related.map(|other| Cow::from(format!("{other}:{path}"))));
        Called { names, near, has_unknown: Selector::of_path(path).is_some() }
    }

    /// Whether who asks the one asks the other. `None`: perhaps, as one of several.
    fn is_asked(&self, one: &str, other: &str) -> Option<bool> {
        if one == other {
            return Some(true);
        }
        let [some, others] = [one, other].map(|name| self.asked_by(name));
        match some.iter().any(|name| others.contains(name)) {
            true => None,
            false => Some(false),
        }
    }

    /// A provider, or those that it is made of.
    fn asked_by<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        match self.several.get(name) {
            Some(of) => of.iter().map(|member| self.one(member)).collect(),
            None => vec![name],
        }
    }

    fn provider_of<'a>(&'a self, key: &'a SecretKey) -> &'a str {
        self.one(key.provider.as_deref().unwrap_or(&self.default))
    }

    fn one<'a>(&'a self, provider: &'a str) -> &'a str {
        self.same.get(provider).map_or(provider, String::as_str)
    }
}

impl Called<'_> {
    pub(super) fn has_name_of(&self, other: &Self) -> bool {
        self.names.iter().any(|name| other.names.contains(name))
    }

    pub(super) fn is_any_of(&self, patterns: &[Pattern]) -> Option<bool> {
        let fits = |pattern: &Pattern| self.names.iter().any(|name| pattern.fits(name));
        let may_fit = |pattern: &Pattern| self.near.iter().any(|name| pattern.fits(name));
        match () {
            () if patterns.iter().any(fits) => Some(true),
            () if self.has_unknown || patterns.iter().any(may_fit) => None,
            () => Some(false),
        }
    }
}

/// Whether what a name leads to (nothing said is all) holds all that is asked for. `None`: some of it,
/// or perhaps.
fn is_all_of<T: PartialEq>(named: &Option<T>, asked: &Option<T>) -> Option<bool> {
    match (named, asked) {
        (None, _) => Some(true),
        (Some(named), Some(asked)) => Some(named == asked),
        (Some(_), None) => None,
    }
}

impl InMount<'_> {
    /// A pattern that begins with a slash is about whole paths.
    pub(super) fn fits(&self, pattern: &Pattern) -> bool {
        match pattern.as_str().starts_with('/') {
            true => self.mounts.iter().any(|mount| pattern.fits(&mount.join(self.path).to_string_lossy())),
            false => pattern.fits(&self.path.to_string_lossy()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mapped = [
            ("stripe_key", "vault:kv/billing"),
            ("shadowed", "db"),
            ("public", "store:tls#cert"),
            ("shown", "tls#cert"),
            ("private", "store:tls#key"),
            ("old", "wifi@3"),
        ];
        let to = |(name, to): (&str, &str)| (name.to_owned(), Reference::parse(to).unwrap());
        Names {
            default: "store".to_owned(),
            same: [("other".to_owned(), "store".to_owned())].into(),
            several: [("both".to_owned(), vec!["vault".to_owned(), "other".to_owned()])].into(),
            mapped: mapped.map(to).into(),
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

    /// Who allows the certificate has not allowed the key; who denies the key has denied the whole.
    #[test]
    fn a_name_of_a_field_is_none_of_the_others() {
        for (text, pattern, expected) in [
            ("public", "public", Some(true)),
            ("public", "shown", Some(true)),
            ("public", "tls", Some(true)),
            ("public", "store:tls", Some(true)),
            ("public", "private", Some(false)),
            ("private", "public", Some(false)),
            ("tls", "tls", Some(true)),
            ("tls", "public", None),
            ("other:tls", "p*", None),
            ("tls", "p*c", None),
            ("tls", "q*", Some(false)),
            ("old", "old", Some(true)),
            ("old", "wifi", Some(true)),
            ("wifi@3", "old", Some(true)),
            ("wifi@4", "old", Some(false)),
            ("wifi", "old", None),
        ] {
            assert_eq!(is(text, pattern), expected, "{text} {pattern}");
        }
    }

    /// Who asks several as one may get what any of them has.
    #[test]
    fn a_secret_of_several_providers_may_be_that_of_each() {
        for (text, pattern, expected) in [
            ("both:db", "both:db", Some(true)),
            ("both:db", "db", None),
            ("both:db", "shadowed", None),
            ("both:db", "store:*", None),
            ("both:kv/billing", "stripe_key", None),
            ("vault:kv/billing", "both:*", None),
            ("stripe_key", "both:kv/*", None),
            ("db", "both:db", None),
            ("both:db", "third:*", Some(false)),
            ("third:db", "both:*", Some(false)),
        ] {
            assert_eq!(is(text, pattern), expected, "{text} {pattern}");
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
        let file =
            InMount { mounts: ["/run/app", "/var/run/app"].map(Path::new), path: Path::new("billing/.env") };
        let fits = |pattern| file.fits(&Pattern::parse(pattern).unwrap());
        assert!(
            fits("/var/run/app/*")
                && fits("billing/*")
                && fits("/run/app/billing/*")
                && fits("*.env")
                && fits("/run/*")
        );
        assert!(!fits("/billing/*") && !fits("run/*") && !fits(".env"));
    }
}
