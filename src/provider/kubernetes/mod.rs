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
mod door;
mod ear;
mod heard;
mod kubeconfig;
mod members;
mod object;
mod place;
mod plan;
mod plugin;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::remote::way;
use super::versions::Versions;
use super::{AsOf, Batch, BoxFuture, Provider, ProviderError, Step, Tell, tried};
use crate::config::Kubernetes;
use crate::net::{NetErrorKind, Response};
use crate::secret::{Absent, Answer, SecretBytes, SecretKey};
use crate::sys::leftover;
use access::Access;
use cluster::Refusal;
use heard::Heard;
use place::{CONFIGMAP, Kind, Place};

pub struct KubernetesProvider {
    shared: Shared,
    versions: Versions,
}

/// What those who listen need, too.
struct Shared {
    access: Access,
    heard: Heard,
}

impl Shared {
    /// Of an object; empty if it is not there.
    async fn state(&self, place: &Place) -> Result<String, Refusal> {
        match self.access.door().await?.state(place).await {
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
        let shared = Shared { access: Access::new(settings, timeout, store), heard: Heard::default() };
        Self { shared, versions: Versions::new(version_key) }
    }

    /// With the moment as of which it is.
    async fn read(&self, key: &SecretKey) -> Result<(Answer, u64), ProviderError> {
        let missing = Ok((Err(Absent::Missing), 0));
        // There is only what is there now.
        if key.version.is_some() {
            return missing;
        }
        let door = self.shared.access.door().await?;
        let Some(place) = Place::of(&key.path, &door.namespace)? else { return missing };
        let heard = &self.shared.heard;
        let began = heard.moment();
        let (answer, state) = match door.get(&place).await {
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

    /// Who may list Secrets and not ConfigMaps knows some.
    async fn listed(&self) -> Result<Vec<String>, ProviderError> {
        let door = self.shared.access.door().await?;
        let error =
            |refusal| cluster::error(&door, refusal, &format!("list secrets in `{}`", door.namespace));
        let mut names = door.list(Kind::Secret).await.map_err(error)?;
        let more = match door.list(Kind::ConfigMap).await {
            Err(Refusal::NoRight) => Vec::new(),
            more => more.map_err(error)?,
        };
        names.extend(more.into_iter().map(|name| format!("{CONFIGMAP}/{name}")));
        Ok(names)
    }

    /// Whether it knows us; what we may is another matter.
    async fn is_well(&self) -> Result<(), ProviderError> {
        let door = self.shared.access.door().await?;
        let place = Place { kind: Kind::Secret, namespace: door.namespace.clone(), name: "none".to_owned() };
        match door.state(&place).await {
            Ok(_) | Err(Refusal::Missing | Refusal::NoRight) => Ok(()),
            Err(refusal) => Err(cluster::error(&door, refusal, "get secrets")),
        }
    }

    async fn way_in(&self) -> Vec<Step> {
        let start = Instant::now();
        let door = match self.shared.access.door().await {
            Ok(door) => door,
            Err(error) => return vec![Step::of("access", start, Err(error))],
        };
        let mut steps = vec![Step::of("access", start, Ok(format!("namespace {}", door.namespace)))];
        steps.extend(way(&door.client).await);
        steps
    }

    async fn tried(&self) -> Vec<Step> {
        let mut steps = tried(self).await;
        for step in steps.iter_mut().filter(|it| it.name == "list") {
            if matches!(step.outcome, Err(ProviderError::Denied(_))) {
                let fine = "not allowed, and not needed: the verbs `get` and `watch` are enough";
                step.outcome = Ok(fine.to_owned());
            }
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

    fn way(&self) -> BoxFuture<'_, Vec<Step>> {
        Box::pin(self.way_in())
    }

    fn steps(&self) -> BoxFuture<'_, Vec<Step>> {
        Box::pin(self.tried())
    }

    fn sweep(&self) {
        self.shared.access.sweep();
    }

    fn allow(&self, time: Duration) {
        self.shared.access.allow(time);
    }

    fn watch<'a>(&'a self, tell: &'a Tell<'a>) -> Option<BoxFuture<'a, ProviderError>> {
        Some(Box::pin(watch::keep(&self.shared, tell)))
    }
}
