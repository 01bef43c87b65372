//! Whether the secrets are there that the config names under `ready:`, without which the daemon
//! does not say that it is ready. Uses the broker.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::reload::Current;
use crate::broker::Broker;
use crate::caller::Caller;
use crate::policy::Door;
use crate::secret::Reference;
use std::sync::Arc;

/// How long a provider is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What cannot be had now, by its number in the config, a line each. All are asked at once.
pub async fn lacks(current: &Current) -> Vec<(usize, String)> {
    let mut asked = JoinSet::new();
    for (index, reference) in current.config.ready.iter().enumerate() {
        let (broker, reference) = (current.broker.clone(), reference.clone());
        asked.spawn(async move { (index, lack(&broker, reference).await) });
    }
    let mut lacks: Vec<_> = asked.join_all().await;
    lacks.sort_by_key(|(index, _)| *index);
    lacks.into_iter().filter_map(|(index, lack)| Some((index, lack?))).collect()
}

/// A dot may part a secret from its field or belong to its name, as on the command line.
async fn lack(broker: &Arc<Broker>, reference: Reference) -> Option<String> {
    let readings: Vec<_> = reference.dot_as_field().into_iter().chain([reference]).collect();
    let caller = Caller { uid: 0, gid: 0, pid: std::process::id() };
    // The daemon asks for itself: nobody is given anything.
    match timeout(PATIENCE, broker.values(&caller, Door::Command, &readings)).await {
        Err(_) => Some(format!("`{}`: no answer within {PATIENCE:?}", readings[readings.len() - 1])),
        Ok(Err(error)) => Some(format!("`{}`: {error}", readings[readings.len() - 1])),
        Ok(Ok(outcomes)) if outcomes.iter().any(Result::is_ok) => None,
        Ok(Ok(outcomes)) => outcomes.into_iter().filter_map(Result::err).next_back().map(|lack| lack.problem),
    }
}
