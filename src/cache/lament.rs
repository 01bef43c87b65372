//! How often it is told that an old answer is served. Part of `table`.

use std::time::Duration;

use super::table::Table;
use crate::secret::SecretKey;
use crate::sys::uptime::Uptime;

/// How it is told that an old answer is served.
#[derive(PartialEq, Eq)]
pub(super) enum Lament {
    ByName,
    /// There are more than anybody reads.
    ForMany,
    Silent,
}

const MINUTE: Duration = Duration::from_secs(60);
/// Old answers that are told by name in a minute.
const MOST_BY_NAME: u32 = 10;

impl Table {
    /// Once since the provider has answered, and of so many in a minute.
    pub(super) fn tell_stale(&mut self, key: &SecretKey, now: Uptime) -> Lament {
        let record = self.records.get_mut(key).filter(|record| !record.is_told_stale);
        let Some(record) = record else { return Lament::Silent };
        record.is_told_stale = true;
        let (since, count) = &mut self.lament;
        if *count == 0 || now.since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        match *count {
            1..=MOST_BY_NAME => Lament::ByName,
            count if count == MOST_BY_NAME + 1 => Lament::ForMany,
            _ => Lament::Silent,
        }
    }
}
