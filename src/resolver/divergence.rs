//! Members of a `failover` that differ: told when one answers again that another has stood in for. Its value counts,
//! as the order says; that the other one gave another value is for somebody to look at. Uses `provider`.

use std::sync::Arc;

use tokio::time::timeout;

use super::Resolver;
use super::basis::{Ground, PATIENCE};
use crate::metrics;
use crate::provider::Batch;
use crate::secret::{Answer, SecretKey};

impl Resolver {
    /// Nobody waits for it.
    pub(super) fn compare(&self, back: usize, ground: &Ground, batch: &Batch) {
        let [back, stand_in] = [back, ground.provider].map(|index| &self.providers[index]);
        let Some(provider) = stand_in.one().cloned() else { return };
        let (back, other) = (back.name.clone(), stand_in.name.clone());
        let (keys, answers) = (ground.keys.clone(), batch.answers.clone());
        tokio::spawn(async move {
            let Ok(Ok(its)) = timeout(PATIENCE, provider.fetch(&keys)).await else { return };
            let differ: Vec<&SecretKey> = differing(&keys, &answers, &its.answers).collect();
            let Some(first) = differ.first() else { return };
            metrics::get().divergences.of([&*back, &*other]).inc_by(differ.len() as u64);
            let (secret, many) = (&first.path, differ.len());
            tracing::warn!(provider = back, other, secret, many, "divergence: they have different values");
        });
    }
}

fn differing<'a>(
    keys: &'a Arc<[SecretKey]>,
    one: &'a [Answer],
    other: &'a [Answer],
) -> impl Iterator<Item = &'a SecretKey> {
    let differ = |(one, other): &(&Answer, &Answer)| match (one, other) {
        (Ok(one), Ok(other)) => !one.has_values_of(other),
        // Who has less has only to be filled up.
        _ => false,
    };
    keys.iter().zip(one.iter().zip(other)).filter(move |(_, pair)| differ(pair)).map(|(key, _)| key)
}
