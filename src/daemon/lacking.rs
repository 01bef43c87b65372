//! What a running daemon lacks, and tells: secrets that it waits for, and mounts that it had before
//! and cannot have now, whose place is covered, taken or gone. Such a mount costs its own readers
//! alone, and comes back by itself. Uses `reload`.

use std::path::{Path, PathBuf};

use super::plan::Plan;
use super::reload::{Current, Mounted, ReloadError, Reloader};
use crate::fs::SecretFs;
use crate::fs::mountpoint;
use crate::poison::EvenPoisoned;

/// One that is not there, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub at: PathBuf,
    pub problem: String,
}

impl Lost {
    pub fn new(at: &Path, error: &ReloadError) -> Self {
        let lost = Self { at: at.to_owned(), problem: error.in_brief() };
        tracing::error!(at = %at.display(), error = lost.problem, "mount_lost: the others are served");
        lost
    }
}

impl Reloader {
    /// Makes what is lost, where it can be made now. May wait for a disk.
    pub(super) fn restore(&self) {
        let _turn = self.turn();
        let before = self.current();
        if before.lost.is_empty() {
            return;
        }
        let Ok(plans) = self.plans(&before, &before.config) else { return };
        let (mut mounts, mut lost) = (before.mounts.clone(), Vec::new());
        for old in &before.lost {
            let Some(plan) = plans.iter().find(|plan| plan.at == old.at) else { continue };
            match self.restore_one(plan, &before) {
                Ok(mounted) => mounts.push(mounted),
                Err(error) if error.in_brief() == old.problem => lost.push(old.clone()),
                Err(error) => lost.push(Lost::new(&old.at, &error)),
            }
        }
        mounts.sort_by(|one, other| one.at.cmp(&other.at));
        self.replace(&before, Current { mounts, lost, ..Current::clone(&before) });
        self.tell_status();
    }

    fn restore_one(&self, plan: &Plan, before: &Current) -> Result<Mounted, ReloadError> {
        self.mounts.prepare(&plan.at)?;
        let fs = SecretFs::new(before.broker.clone(), plan.layout.clone())?;
        let mounted = self.mounts.mount(&plan.at, &fs)?;
        tracing::info!(at = %plan.at.display(), "mount_restored");
        Ok(mounted)
    }

    /// What is not there of what the config names under `ready:` and of its mounts, a line each.
    pub fn lacks(&self) -> Vec<String> {
        [self.lacking_secrets(), self.unseen_mounts()].concat()
    }

    fn lacking_secrets(&self) -> Vec<String> {
        self.lacks.lock().even_poisoned().clone()
    }

    /// `is_news`: others than before, and not only for another reason.
    pub fn found_lacking(&self, lacks: Vec<String>, is_news: bool) {
        let count = lacks.len();
        *self.lacks.lock().even_poisoned() = lacks;
        if is_news {
            if count > 0 {
                tracing::warn!(lacks = count, "not_ready: secretfs status says what is not there");
            }
            self.tell_status();
        }
    }

    pub(super) fn tell_status(&self) {
        let (current, lacks) = (self.current(), self.lacking_secrets());
        let files: usize = current.mounts.iter().map(|it| it.fs.files()).sum();
        let mounts = format!("mounts: {}, files: {files}", current.mounts.len());
        let lacks = match lacks.len() {
            0 => String::new(),
            count => {
                let all = current.config.ready.len();
                format!("; not ready: {count} of {all} not there; secretfs status says which")
            }
        };
        let lost = match current.lost.len() {
            0 => String::new(),
            count => format!("; lost: {count}; secretfs status says why"),
        };
        self.mounts.tell(&(mounts + &lost + &lacks));
    }

    /// A line for each mount of the config that nobody can read where it should be.
    pub fn unseen_mounts(&self) -> Vec<String> {
        let current = self.current();
        let places = current.config.mounts.iter().filter_map(|mount| std::path::absolute(&mount.at).ok());
        let unseen = |at: PathBuf| Some(format!("the mount {}: {}", at.display(), current.problem_at(&at)?));
        places.filter_map(unseen).collect()
    }
}

impl Current {
    /// Why nobody can read what should be mounted there, if that is so.
    fn problem_at(&self, at: &Path) -> Option<String> {
        if let Some(lost) = self.lost.iter().find(|lost| lost.at == at) {
            return Some(lost.problem.clone());
        }
        let Some(mounted) = self.mounts.iter().find(|mounted| mounted.at == at) else {
            return Some("it was taken away; `secretfs reload` mounts it again".to_owned());
        };
        let (device, place) = (&mounted.device, mountpoint::canonical(at));
        match mountpoint::places_of(device) {
            places if places.is_empty() => Some("it is mounted nowhere any more".to_owned()),
            places if !places.contains(&place) => Some(format!("it is at {} now", places[0].display())),
            _ if !mountpoint::is_uncovered(&place, device) => {
                Some("something else is mounted over it".to_owned())
            }
            _ => None,
        }
    }
}
