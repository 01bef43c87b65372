//! A Kubernetes cluster, judged: where it is, and as whom it is asked. Pure.

use std::path::PathBuf;

use super::auth;
use super::network::{Refused, transport_or};
use super::source::SecretSource;
use crate::config::base::Base;
use crate::config::raw;
use crate::config::transport::Transport;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    pub cluster: Cluster,
    /// Of names that say none.
    pub namespace: Option<String>,
}

/// Where it is and who we are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// We run in it.
    Around,
    Kubeconfig {
        path: PathBuf,
        context: Option<String>,
    },
    At {
        transport: Box<Transport>,
        token: Option<SecretSource>,
    },
}

impl Kubernetes {
    /// Whether the server takes it as one.
    pub fn is_namespace(text: &str) -> bool {
        text.len() <= 63 && Self::is_label(text)
    }

    /// A part of a name, as DNS has it (RFC 1123).
    pub fn is_label(text: &str) -> bool {
        let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        text.bytes().all(|byte| is_fit(byte) || byte == b'-')
            && text.bytes().next().is_some_and(is_fit)
            && text.bytes().last().is_some_and(is_fit)
    }

    pub(super) fn place(&self) -> (String, String) {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let cluster = match &self.cluster {
            Cluster::Around => String::new(),
            // Two of its contexts may be one cluster, and none may be the one that another names.
            Cluster::Kubeconfig { path, context } => {
                let context = context.as_deref().unwrap_or_default();
                return (format!("kubernetes {}", path.display()), format!("{context} {namespace}/"));
            }
            Cluster::At { transport, .. } => transport.address.to_string(),
        };
        (format!("kubernetes {cluster}"), format!("{namespace}/"))
    }

    pub(super) fn asker(&self) -> Vec<String> {
        match &self.cluster {
            Cluster::Around => Vec::new(),
            Cluster::Kubeconfig { path, context } => {
                vec![path.display().to_string(), context.clone().unwrap_or_default()]
            }
            Cluster::At { transport, token } => {
                let identity = transport.tls.identity.iter().map(|it| it.cert.display().to_string());
                token.iter().map(SecretSource::to_string).chain(identity).collect()
            }
        }
    }

    pub(super) fn secrets(&self) -> Vec<&SecretSource> {
        match &self.cluster {
            Cluster::At { token, .. } => token.iter().collect(),
            _ => Vec::new(),
        }
    }
}

pub(super) fn judge(given: &mut raw::Provider, base: &Base<'_>) -> Result<Kubernetes, Refused> {
    let mut auth = given.auth.take().unwrap_or_default();
    let token = auth.token.0.take().map(|it| it.under(base));
    auth::refuse_rest(&auth, "a provider of this type")?;
    let context = given.context.0.take().map(|it| it.0);
    let cluster = match (given.kubeconfig.0.take(), given.address.0.is_some()) {
        (Some(_), true) => {
            return Err((
                "address",
                "a `kubeconfig` says where the cluster is: give one of the two".to_owned(),
            ));
        }
        (Some(_), false) if token.is_some() => {
            return Err(("auth", "a `kubeconfig` says who we are: give one of the two".to_owned()));
        }
        (Some(path), false) => Cluster::Kubeconfig { path: base.path(path), context },
        (None, _) if context.is_some() => {
            return Err(("context", "it needs a `kubeconfig`".to_owned()));
        }
        (None, true) => {
            let transport = transport_or(given, base, || unreachable!("it is given"))?;
            Cluster::At { transport: Box::new(transport), token }
        }
        (None, false) if token.is_some() => {
            return Err(("auth", "a `token` needs the `address` that it is for".to_owned()));
        }
        (None, false) => Cluster::Around,
    };
    // Of a kubeconfig and of a pod, files say whom to believe.
    if given.tls.is_some() {
        return Err(("tls", "it needs the `address` that it is for".to_owned()));
    }
    let namespace = given.namespace.0.take().map(|it| it.0);
    if namespace.as_deref().is_some_and(|it| !Kubernetes::is_namespace(it)) {
        return Err((
            "namespace",
            "that can be no namespace of a cluster (small letters, digits, `-`)".to_owned(),
        ));
    }
    Ok(Kubernetes { cluster, namespace })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, ProviderConfig, RemoteSource};

    fn parse(settings: &str) -> Result<Config, String> {
        let text = format!("providers:\n  k: {{type: kubernetes{settings}}}\n");
        Config::parse(Path::new("/etc/secretfs.yaml"), &text).map_err(|error| error.to_string())
    }

    fn kubernetes(settings: &str) -> Kubernetes {
        let config = parse(settings).unwrap();
        let ProviderConfig::Remote(remote) = &config.providers["k"] else { panic!("no remote") };
        let RemoteSource::Kubernetes(it) = &remote.source else { panic!("another") };
        (**it).clone()
    }

    #[test]
    fn it_is_around_us_or_somewhere() {
        assert_eq!(kubernetes(""), Kubernetes { cluster: Cluster::Around, namespace: None });
        let given = kubernetes(", kubeconfig: kube/config, context: prod, namespace: team");
        let cluster =
            Cluster::Kubeconfig { path: "/etc/kube/config".into(), context: Some("prod".to_owned()) };
        assert_eq!(given, Kubernetes { cluster, namespace: Some("team".to_owned()) });
        let at =
            kubernetes(", address: 'https://k.example:6443', auth: {token: 'file:/t'}, tls: {ca: ca.pem}");
        let Cluster::At { transport, token } = &at.cluster else { panic!("elsewhere") };
        assert_eq!(transport.tls.ca.as_deref(), Some(Path::new("/etc/ca.pem")));
        assert_eq!(token, &Some(SecretSource::File("/t".into())));
        assert_eq!(
            (at.place().0, at.asker()),
            ("kubernetes https://k.example:6443".into(), vec!["file:/t".to_owned()])
        );
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (settings, words) in [
            (", kubeconfig: c, address: 'https://k'", "give one of the two"),
            (", kubeconfig: c, auth: {token: 'file:/t'}", "give one of the two"),
            (", context: c", "needs a `kubeconfig`"),
            (", auth: {token: 'file:/t'}", "needs the `address`"),
            (", address: 'https://k', auth: {role: r}", "`role`"),
            (", tls: {ca: ca.pem}", "needs the `address`"),
            (", namespace: Prod", "can be no namespace"),
            (", namespace: -a", "can be no namespace"),
            (", namespace: ''", "can be no namespace"),
            (", prefix: x", "takes no `prefix`"),
        ] {
            let why = parse(settings).map(drop).unwrap_err();
            assert!(why.contains(words), "{settings}: {why}");
        }
    }

    #[test]
    fn a_rule_is_not_gone_round_by_another_namespace() {
        let two = |rules: &str| {
            let text = format!(
                "providers:\n  a: {{type: kubernetes, namespace: a}}\n  b: {{type: kubernetes, namespace: b}}\n{rules}"
            );
            Config::parse(Path::new("/etc/secretfs.yaml"), &text).map_err(|error| error.to_string())
        };
        assert!(two("").is_ok(), "the control");
        let why = two("policy: [{secrets: db, deny: {uid: 1}}]\n").map(drop).unwrap_err();
        assert!(why.contains("under other names"), "{why}");
    }

    #[test]
    fn nor_by_another_context_of_the_same_file() {
        let two = |first: &str, second: &str| {
            let rules = "policy: [{secrets: 'a:db', deny: {uid: 1}}]";
            let text = format!(
                "providers:\n  a: {{type: kubernetes, kubeconfig: {first}}}\n  b: {{type: kubernetes, kubeconfig: {second}}}\n{rules}\n"
            );
            Config::parse(Path::new("/etc/secretfs.yaml"), &text).map(drop).map_err(|error| error.to_string())
        };
        assert!(two("k", "other").is_ok() && two("k", "k").is_ok(), "the control");
        let why = two("k", "k, context: current").unwrap_err();
        assert!(why.contains("under other names"), "{why}");
    }
}
