//! What a path names in a cluster: one Secret or ConfigMap, by exactly one name, since a rule is about a name.
//! What cannot be a name there is none. Pure.

use super::super::ProviderError;
use crate::config::Kubernetes;
use crate::net::{NetErrorKind, Route};

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
}

/// Stands before the name of a ConfigMap.
pub(super) const CONFIGMAP: &str = "configmap";
/// Only where a namespace has the name of that.
const SECRET: &str = "secret";

impl Kind {
    /// As objects say it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }

    /// As routes and rights say it.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
        }
    }
}

impl Place {
    /// `None`: there can be no such object. `own` is the namespace that names need not say.
    pub(super) fn of(path: &str, own: &str) -> Result<Option<Self>, ProviderError> {
        let parts: Vec<&str> = path.split('/').collect();
        let (kind, namespace, name) = match parts[..] {
            [name] => (Kind::Secret, None, name),
            [CONFIGMAP, name] => (Kind::ConfigMap, None, name),
            [namespace, name] => (Kind::Secret, Some(namespace), name),
            [namespace, CONFIGMAP, name] => (Kind::ConfigMap, Some(namespace), name),
            [CONFIGMAP, SECRET, name] => (Kind::Secret, Some(CONFIGMAP), name),
            _ => return Ok(None),
        };
        if !is_name(name) || namespace.is_some_and(|it| !Kubernetes::is_namespace(it)) {
            return Ok(None);
        }
        if namespace == Some(own) {
            let short = if kind == Kind::ConfigMap { format!("{CONFIGMAP}/{name}") } else { name.to_owned() };
            let why = format!("`{own}` is the namespace of this provider: write `{short}` for `{path}`");
            return Err(ProviderError::Invalid(why));
        }
        let namespace = namespace.unwrap_or(own).to_owned();
        Ok(Some(Self { kind, namespace, name: name.to_owned() }))
    }

    pub(super) fn route(&self) -> Result<Route, NetErrorKind> {
        collection(self.kind, &self.namespace)?.name(&self.name)
    }
}

/// All of a kind.
pub(super) fn collection(kind: Kind, namespace: &str) -> Result<Route, NetErrorKind> {
    Route::to("/api/v1/namespaces").name(namespace)?.name(kind.plural())
}

/// A DNS subdomain (RFC 1123), as the server takes it.
fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(Kubernetes::is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Option<String> {
        let place = Place::of(path, "prod").unwrap()?;
        Some(place.route().unwrap().as_str().to_owned())
    }

    #[test]
    fn a_path_names_one_object() {
        for (path, expected) in [
            ("db", "prod/secrets/db"),
            ("db.v1-2", "prod/secrets/db.v1-2"),
            ("configmap", "prod/secrets/configmap"),
            ("configmap/db", "prod/configmaps/db"),
            ("team/db", "team/secrets/db"),
            ("team/configmap/db", "team/configmaps/db"),
            ("configmap/secret/db", "configmap/secrets/db"),
            ("configmap/configmap/db", "configmap/configmaps/db"),
        ] {
            assert_eq!(route(path).as_deref(), Some(&*format!("/api/v1/namespaces/{expected}")), "{path}");
        }
    }

    #[test]
    fn what_can_be_no_name_leads_nowhere() {
        let long = "a".repeat(254);
        for path in [
            "",
            "..",
            ".",
            "../db",
            "a//b",
            "a/../b",
            "a b",
            "é",
            "%2e",
            "a%2fb",
            "a?b=c",
            "Db",
            "-a",
            "a-",
            "a..b",
            "a/b/c",
            "team/secret/db",
            "a.b/db",
            "a/b/c/d",
            "db/",
            "/db",
            "a&b",
            &long,
        ] {
            assert_eq!(route(path), None, "{path}");
        }
    }

    #[test]
    fn an_object_has_one_name() {
        for (path, short) in [("prod/db", "write `db`"), ("prod/configmap/db", "write `configmap/db`")] {
            let why = Place::of(path, "prod").unwrap_err();
            assert!(why.to_string().contains(short), "{why}");
        }
    }
}
