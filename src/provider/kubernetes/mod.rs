//! Secrets and ConfigMaps of a Kubernetes cluster as a provider (`type: kubernetes`). Uses `net`.
//!
//! | `kubernetes:PATH` | |
//! |---|---|
//! | `NAME`, `NAMESPACE/NAME` | a Secret |
//! | `configmap/NAME`, `NAMESPACE/configmap/NAME` | a ConfigMap |
//! | fields | its keys, decoded; `value` is another name of an only one |
//! | version | equal for equal values: what the cluster counts is good for equality only |
//!
//! Reads object by object, and watches each by its name: rights to `get` and `watch` are enough.

mod access;
mod cluster;
mod ear;
mod heard;
mod kubeconfig;
mod object;
mod place;
mod plugin;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::remote::way;
use super::versions::Versions;
use super::{AsOf, Batch, BoxFuture, Provider, ProviderError, Step, Tell, counted};
use crate::config::Kubernetes;
use crate::net::{NetErrorKind, Response};
use crate::secret::{Absent, Answer, SecretBytes, SecretKey};
use crate::sys::leftover;
use access::Access;
use cluster::{Cluster, Refusal};
use heard::Heard;
use place::{CONFIGMAP, Kind, Place};

pub struct KubernetesProvider {
    shared: Arc<Shared>,
    versions: Versions,
}

/// What those who listen need, too.
struct Shared {
    cluster: Cluster,
    heard: Heard,
}

impl Shared {
    /// Of an object; empty if it is not there.
    async fn state(&self, place: &Place) -> Result<String, Refusal> {
        let door = self.cluster.access.door().await?;
        match self.cluster.state(&door, place).await {
            Err(Refusal::Missing) => Ok(String::new()),
            state => state,
        }
    }
}

impl KubernetesProvider {
    /// `store` is where its own secrets may be.
    pub fn new(
        settings: Kubernetes,
        timeout: Duration,
        version_key: SecretBytes,
        store: Option<Arc<dyn Provider>>,
    ) -> Self {
        let cluster = Cluster { access: Access::new(settings, timeout, store) };
        let shared = Arc::new(Shared { cluster, heard: Heard::default() });
        Self { shared, versions: Versions::new(version_key) }
    }

    fn access(&self) -> &Access {
        &self.shared.cluster.access
    }

    /// With the moment as of which it is.
    async fn read(&self, key: &SecretKey) -> Result<(Answer, u64), ProviderError> {
        let missing = Ok((Err(Absent::Missing), 0));
        // There is only what is there now.
        if key.version.is_some() {
            return missing;
        }
        let door = self.access().door().await?;
        let Some(place) = Place::of(&key.path, &door.namespace)? else { return missing };
        let heard = &self.shared.heard;
        let began = heard.moment();
        let (answer, state) = match self.shared.cluster.get(&door, &place).await {
            Ok(response) => leftover::wiped(|| self.answer(&key.path, &place, &response))?,
            Err(Refusal::Missing) => (Err(Absent::Missing), String::new()),
            Err(refusal) => {
                let what = format!("get {} `{}` in `{}`", place.kind.plural(), place.name, place.namespace);
                return Err(cluster::error(&door, refusal, &what));
            }
        };
        Ok((answer, heard.note(&key.path, &place, &state, (door.number, began))))
    }

    fn answer(
        &self,
        path: &str,
        place: &Place,
        response: &Response,
    ) -> Result<(Answer, String), NetErrorKind> {
        let object = response.json()?;
        object::expect(object, place)?;
        let (kind, fields) = object::fields(object, place.kind)?;
        Ok((Ok(Arc::new(self.versions.of(path, kind, fields))), object::version(object)?))
    }

    async fn listed(&self) -> Result<Vec<String>, ProviderError> {
        let door = self.access().door().await?;
        let mut names = Vec::new();
        for kind in [Kind::Secret, Kind::ConfigMap] {
            let found = match self.shared.cluster.list(&door, kind).await {
                // Who may list the one and not the other knows some.
                Err(Refusal::NoRight) if kind == Kind::ConfigMap => Vec::new(),
                found => found.map_err(|refusal| {
                    let what = format!("list {} in `{}`", kind.plural(), door.namespace);
                    cluster::error(&door, refusal, &what)
                })?,
            };
            let named = |name: String| match kind {
                Kind::Secret => name,
                Kind::ConfigMap => format!("{CONFIGMAP}/{name}"),
            };
            names.extend(found.into_iter().map(named));
        }
        Ok(names)
    }

    /// Whether it knows us; what we may is another matter.
    async fn is_well(&self) -> Result<(), ProviderError> {
        let door = self.access().door().await?;
        let place = Place { kind: Kind::Secret, namespace: door.namespace.clone(), name: "none".to_owned() };
        match self.shared.cluster.state(&door, &place).await {
            Ok(_) | Err(Refusal::Missing | Refusal::NoRight) => Ok(()),
            Err(refusal) => Err(cluster::error(&door, refusal, "get secrets")),
        }
    }

    async fn tried(&self) -> Vec<Step> {
        let start = Instant::now();
        let door = match self.access().door().await {
            Ok(door) => door,
            Err(error) => return vec![Step::of("access", start, Err(error))],
        };
        let mut steps = vec![Step::of("access", start, Ok(format!("namespace {}", door.namespace)))];
        steps.extend(way(&door.client).await);
        if steps.iter().all(Step::is_fine) {
            let start = Instant::now();
            steps.push(Step::of("answers", start, self.is_well().await.map(|()| "yes".to_owned())));
        }
        if steps.iter().all(Step::is_fine) {
            let start = Instant::now();
            let listed = match self.listed().await {
                Err(ProviderError::Denied(_)) => {
                    Ok("not allowed, and not needed: the verbs `get` and `watch` are enough".to_owned())
                }
                listed => listed.map(|names| counted(names.len())),
            };
            steps.push(Step::of("list", start, listed));
        }
        steps
    }
}

impl Provider for KubernetesProvider {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(async move {
            let (mut answers, mut moment) = (Vec::with_capacity(keys.len()), None::<u64>);
            for key in keys {
                let (answer, as_of) = self.read(key).await?;
                answers.push(answer);
                moment = Some(moment.map_or(as_of, |moment| moment.min(as_of)));
            }
            Ok(Batch { answers, as_of: AsOf::moment(moment.unwrap_or(0)) })
        })
    }

    /// There is no question for several.
    fn largest_batch(&self) -> usize {
        1
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(self.listed())
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(self.is_well())
    }

    fn steps(&self) -> BoxFuture<'_, Vec<Step>> {
        Box::pin(self.tried())
    }

    fn sweep(&self) {
        self.access().sweep();
    }

    fn allow(&self, time: Duration) {
        self.access().allow(time);
    }

    fn watch<'a>(&'a self, tell: &'a Tell<'a>) -> Option<BoxFuture<'a, ProviderError>> {
        Some(Box::pin(watch::keep(&self.shared, tell)))
    }
}
