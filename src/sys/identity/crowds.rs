//! Users with processes in thousands of groups: to ask for those takes the kernel milliseconds, which
//! nobody else shall wait for. Who was found to be in so many is asked by who may wait, for a while.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const WHILE: Duration = Duration::from_secs(60);
/// With more of them nobody is asked at once.
const MOST: usize = 1_024;

static KNOWN: LazyLock<Mutex<HashMap<u32, Instant>>> = LazyLock::new(Mutex::default);

pub(super) fn add(uid: u32) {
    let (mut known, now) = (known(), Instant::now());
    if known.len() >= MOST {
        known.retain(|_, at| now.saturating_duration_since(*at) < WHILE);
    }
    if known.len() < MOST {
        known.insert(uid, now);
    }
}

/// Whether it may take its time to ask this user.
pub(super) fn has(uid: u32) -> bool {
    let known = known();
    known.len() >= MOST || known.get(&uid).is_some_and(|at| at.elapsed() < WHILE)
}

fn known() -> MutexGuard<'static, HashMap<u32, Instant>> {
    KNOWN.lock().unwrap_or_else(|it| it.into_inner())
}
