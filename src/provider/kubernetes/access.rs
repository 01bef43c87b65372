//! The way into a cluster as the files say it at that moment: those that change are read again. Uses `plan`, which says
//! what they come to, and `door`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::apart::Apart;
use super::super::{Provider, ProviderError};
use super::door::Door;
use super::plan::{self, Plan};
use crate::config::{Cluster, Kubernetes};
use crate::poison::EvenPoisoned;
use crate::sys::leftover;
use crate::sys::uptime::Uptime;

pub(super) struct Access {
    cluster: Cluster,
    namespace: Option<String>,
    store: Option<Arc<dyn Provider>>,
    /// In milliseconds.
    timeout: AtomicU64,
    apart: Apart,
    /// Held while files are read: the others need the same.
    turn: tokio::sync::Mutex<()>,
    open: Mutex<Option<Opened>>,
}

/// What the files have come to.
#[derive(Clone)]
struct Opened {
    door: Arc<Door>,
    prints: Prints,
    looked: Uptime,
}

/// Of all files that were looked at, taken before they were read.
type Prints = Vec<(PathBuf, Option<Print>)>;

/// Tells a file from the one that was there before.
type Print = (u64, u64, i64, i64, u64);

/// After which files are looked at again.
const LOOK: Duration = Duration::from_secs(1);
/// For so long a look at files keeps those who have a way in already: they may lie on what does not answer.
const MOMENT: Duration = Duration::from_secs(1);
/// How often files are read again that have changed meanwhile.
const ROUNDS: usize = 3;

impl Access {
    pub(super) fn new(settings: Kubernetes, timeout: Duration, store: Option<Arc<dyn Provider>>) -> Self {
        let Kubernetes { cluster, namespace } = settings;
        let (apart, turn, open) = (Apart::new(), tokio::sync::Mutex::default(), Mutex::default());
        let access = Self { cluster, namespace, store, timeout: AtomicU64::default(), apart, turn, open };
        access.allow(timeout);
        access
    }

    pub(super) fn allow(&self, timeout: Duration) {
        self.timeout.store(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(door) = self.before() {
            door.client.allow(timeout);
        }
    }

    pub(super) fn sweep(&self) {
        if let Some(door) = self.before() {
            door.client.sweep();
        }
    }

    /// The number of the way that is open; 0: none is.
    pub(super) fn way(&self) -> u64 {
        self.before().map_or(0, |door| door.number)
    }

    /// As the files are now, or were a moment ago. Files that cannot be used, or not be looked at for now, leave those
    /// before in force.
    pub(super) async fn door(&self) -> Result<Arc<Door>, ProviderError> {
        if let Some(door) = self.known() {
            return Ok(door);
        }
        let Some(before) = self.before() else { return self.looked().await };
        tokio::time::timeout(MOMENT, self.looked()).await.unwrap_or_else(|_| {
            if let Some(open) = &mut *self.open.lock().even_poisoned() {
                open.looked = Uptime::now();
            }
            Ok(before)
        })
    }

    fn before(&self) -> Option<Arc<Door>> {
        self.open.lock().even_poisoned().as_ref().map(|open| open.door.clone())
    }

    fn known(&self) -> Option<Arc<Door>> {
        let open = self.open.lock().even_poisoned();
        let is_good = |it: &&Opened| it.prints.is_empty() || Uptime::now().since(it.looked) < LOOK;
        open.as_ref().filter(is_good).map(|it| it.door.clone())
    }

    async fn looked(&self) -> Result<Arc<Door>, ProviderError> {
        let _turn = self.turn.lock().await;
        if let Some(door) = self.known() {
            return Ok(door);
        }
        let before = self.open.lock().even_poisoned().clone();
        let (cluster, known) = (self.cluster.clone(), before.as_ref().map(|it| it.prints.clone()));
        let read = self.apart.does(move || leftover::wiped(|| read(&cluster, known))).await;
        let (prints, plan) =
            read.map_err(|error| ProviderError::Unavailable(format!("no thread reads its files: {error}")))?;
        let door = match (plan, before) {
            (Some(Ok(plan)), _) => Arc::new(self.door_of(plan)),
            (Some(Err(why)), None) => return Err(ProviderError::Unavailable(why)),
            (Some(Err(why)), Some(before)) => {
                tracing::warn!(
                    error = why,
                    "the new way into the cluster cannot be used: the one before stays in force"
                );
                before.door
            }
            (None, before) => before.expect("nothing has changed since").door,
        };
        let opened = Opened { door: door.clone(), prints, looked: Uptime::now() };
        *self.open.lock().even_poisoned() = Some(opened);
        Ok(door)
    }

    fn door_of(&self, plan: Plan) -> Door {
        let timeout = Duration::from_millis(self.timeout.load(Ordering::Relaxed));
        Door::of(plan, self.namespace.clone(), self.way() + 1, timeout, self.store.clone())
    }
}

/// Blocks while it reads. No plan: nothing has changed since `known`.
fn read(cluster: &Cluster, known: Option<Prints>) -> (Prints, Option<Result<Plan, String>>) {
    let mut prints = known.iter().flatten().map(|(path, _)| printed(path)).collect::<Prints>();
    if known.is_some_and(|known| known == prints) {
        return (prints, None);
    }
    let mut round = 1;
    loop {
        let (files, plan) = plan::read(cluster);
        if round == ROUNDS || prints.iter().map(|(path, _)| path).eq(&files) {
            return (prints, Some(plan));
        }
        // What was read was not looked at before: it may have changed between.
        prints = files.iter().map(|path| printed(path)).collect();
        round += 1;
    }
}

fn printed(path: &Path) -> (PathBuf, Option<Print>) {
    let print = |it: fs::Metadata| (it.dev(), it.ino(), it.mtime(), it.mtime_nsec(), it.size());
    (path.to_owned(), fs::metadata(path).ok().map(print))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "{current-context: a, contexts: [{name: a, context: {cluster: c}}], \
        clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1', CA}}]}";

    #[tokio::test]
    async fn files_that_come_later_are_seen_and_those_before_are_in_force_until_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let write = |ca: &str| fs::write(&path, FILE.replace("CA", ca)).unwrap();
        write("");
        let cluster = Cluster::Kubeconfig { path: path.clone(), context: None };
        let access = Access::new(Kubernetes { cluster, namespace: None }, Duration::from_secs(4), None);
        let number = async || {
            if let Some(open) = &mut *access.open.lock().even_poisoned() {
                open.looked = Uptime::START;
            }
            access.door().await.unwrap().number
        };
        assert_eq!((number().await, number().await), (1, 1), "it is the same");
        write("certificate-authority: ca.pem");
        assert_eq!(number().await, 1, "there is no such file");
        fs::write(folder.path().join("ca.pem"), "x").unwrap();
        assert_eq!(number().await, 2);
        let turn = access.turn.lock().await;
        assert_eq!(number().await, 2, "a look that does not end keeps nobody");
        drop(turn);
        fs::write(folder.path().join("ca.pem"), "y, and more").unwrap();
        assert_eq!(number().await, 3);
    }
}
