//! The store answers as any provider does, on every kind of runtime.

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::secret::SecretBytes;
use crate::store::{BackendKind, Edit, MasterKey, NewVersion, Stamp, StoreId};

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(100).unwrap()
    }
}

fn filled() -> (TempDir, LocalStore) {
    let folder = tempfile::tempdir().unwrap();
    let key = MasterKey::generate().unwrap();
    let store = Store::create(
        &folder.path().join("store"),
        BackendKind::Sqlite,
        StoreId::generate().unwrap(),
        &key,
        None,
    )
    .unwrap();
    let provider = LocalStore::new(Arc::new(store), Namespace::default(), Arc::new(FixedClock));
    for (name, expires) in [("a", None), ("b/c", None), ("old", Some(100))] {
        put(&provider, name, expires);
    }
    (folder, provider)
}

fn put(provider: &LocalStore, name: &str, expires: Option<i64>) {
    let stamp = Stamp { now: Timestamp::from_second(1).unwrap(), by: "tester".into() };
    let value = SecretBytes::copy_of(format!("value of {name}").as_bytes());
    let expires_at = expires.map(|second| Timestamp::from_second(second).unwrap());
    let new = NewVersion { expires_at, ..NewVersion::of_value(value) };
    let name = SecretName::parse(name).unwrap();
    let put = |change: &mut crate::store::Change<'_>| change.put(&name, new, &Edit::default());
    provider.store.change(&Namespace::default(), stamp, put).unwrap();
}

async fn answers(provider: LocalStore) {
    let mut keys: Vec<_> = ["a", "no name!", "missing", "b/c", "old", "a"].map(SecretKey::named).into();
    keys[5].version = Some(2);
    let batch = provider.fetch(&keys).await.unwrap();
    let said: Vec<_> = batch
        .answers
        .iter()
        .map(|answer| {
            answer.as_ref().map(|found| found.fields["value"].expose().to_vec()).map_err(Clone::clone)
        })
        .collect();
    assert_eq!(
        said,
        [
            Ok(b"value of a".to_vec()),
            Err(Absent::Missing),
            Err(Absent::Missing),
            Ok(b"value of b/c".to_vec()),
            Err(Absent::Expired),
            Err(Absent::Missing),
        ]
    );
    assert_eq!(provider.pulse(), Pulse::Still(batch.as_of.moment));
    assert_eq!(provider.names().await.unwrap(), ["a", "b/c", "old"]);
    provider.health().await.unwrap();
    put(&provider, "b/c", None);
    assert_ne!(provider.pulse(), Pulse::Still(batch.as_of.moment));
    // A name that is missing may share its leaf of the index with the one that came.
    let unchanged = provider.unchanged(&keys[..2], batch.as_of.moment).await.unwrap();
    assert_eq!(unchanged.map(|as_of| Pulse::Still(as_of.moment)), Some(provider.pulse()));
    assert_eq!(provider.unchanged(&keys, batch.as_of.moment).await.unwrap(), None);
}

#[test]
fn answers_on_one_thread() {
    let (_folder, provider) = filled();
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answers(provider));
}

#[test]
fn answers_on_many_threads() {
    let (_folder, provider) = filled();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap()
        .block_on(answers(provider));
}

#[test]
fn failures_say_what_to_do() {
    let corrupt = ProviderError::from(StoreError::Corrupt("a record does not authenticate".into()));
    assert!(matches!(corrupt, ProviderError::Corrupt(text) if text.contains("store verify")));
    let sealed = ProviderError::from(StoreError::from(crate::store::KeyError::Variable));
    assert!(matches!(sealed, ProviderError::Sealed(text) if text.contains("SECRETFS_MASTER_KEY")));
    let busy = ProviderError::from(StoreError::Busy(5));
    assert!(matches!(busy, ProviderError::Unavailable(text) if text.contains("try again")));
}
