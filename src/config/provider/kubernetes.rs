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
    pub(super) fn place(&self) -> (String, String) {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let cluster = match &self.cluster {
            Cluster::Around => String::new(),
            Cluster::Kubeconfig { path, context } => {
                format!("{} {}", path.display(), context.as_deref().unwrap_or_default())
            }
            Cluster::At { transport, .. } => transport.address.to_string(),
        };
        (format!("kubernetes {cluster} {namespace}"), String::new())
    }

    pub(super) fn asker(&self) -> Vec<String> {
        match &self.cluster {
            Cluster::Around => Vec::new(),
            Cluster::Kubeconfig { path, context } => {
                vec![path.display().to_string(), context.clone().unwrap_or_default()]
            }
            Cluster::At { token, .. } => token.iter().map(SecretSource::to_string).collect(),
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
    Ok(Kubernetes { cluster, namespace: given.namespace.0.take().map(|it| it.0) })
}
