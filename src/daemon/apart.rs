//! That nothing which the daemon reads lies in one of its mounts, where it would wait for itself.
//! Looks at no place at or below a mount point. Uses `plan`.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::assemble::Choice;
use super::plan::{Plan, PlanError};
use crate::config::Config;
use crate::control::socket;

/// What a daemon has besides its plans.
#[derive(Default)]
pub struct Own {
    /// Where it has mounts already.
    pub mounts: Vec<PathBuf>,
    /// What it opens: its config, the store and its key, the control socket.
    pub files: Vec<PathBuf>,
}

impl Own {
    pub fn of(path: &Path, choice: &Choice, config: &Config, mounts: Vec<PathBuf>) -> Self {
        let key = choice.key_file.clone().or_else(|| config.store.key_file.clone());
        let socket = config.control.socket.clone().or_else(|| socket::default_path(socket::CONTROL));
        let files = [Some(path.to_owned()), Some(choice.store_path(&config.store)), key, socket];
        Self { mounts, files: files.into_iter().flatten().collect() }
    }
}

/// As many as the kernel follows.
const MOST_LINKS: u32 = 40;

/// Places of mounts, free of links and of `..`.
struct Mounts(Vec<PathBuf>);

pub(super) fn judge(plans: &[Plan], own: &Own) -> Result<(), PlanError> {
    let mounts = Mounts::of(plans.iter().map(|plan| &plan.at).chain(&own.mounts))?;
    own.files.iter().try_for_each(|file| mounts.outside(file, true).map(drop))?;
    for plan in plans {
        let files = plan.layout.files.values().filter_map(|(_, template)| template.as_ref());
        files.into_iter().try_for_each(|file| mounts.outside(file, true).map(drop))?;
    }
    let templates = plans.iter().filter_map(|plan| plan.layout.templates.as_ref());
    for templates in templates {
        let folder = match mounts.outside(templates, true) {
            Err(PlanError::InMount { path, at }) if path == at => {
                return Err(PlanError::InTemplates { at, folder: path });
            }
            outcome => outcome?,
        };
        // A mount below a folder of templates would be read by its own server.
        if let Some(at) = mounts.0.iter().find(|at| at.starts_with(&folder)) {
            return Err(PlanError::InTemplates { at: at.clone(), folder });
        }
    }
    Ok(())
}

impl Mounts {
    /// None of them lies in another.
    fn of<'a>(places: impl Iterator<Item = &'a PathBuf>) -> Result<Self, PlanError> {
        let mut places: Vec<_> = places.cloned().collect();
        // The outer ones first: as long as they are as they are written, nothing in them is looked at.
        places.sort_by_key(|at| at.components().count());
        places.dedup();
        let mut mounts = Self(places.clone());
        for at in &places {
            let at = mounts.outside(at, false)?;
            if !mounts.0.contains(&at) {
                mounts.0.push(at);
            }
        }
        Ok(mounts)
    }

    /// What the path leads to, without a step into a mount. The last name of a mount point is not
    /// looked at: to ask what is mounted there would be to ask ourselves.
    fn outside(&self, path: &Path, is_looked_at: bool) -> Result<PathBuf, PlanError> {
        let absolute =
            std::path::absolute(path).map_err(|error| PlanError::Path { path: path.to_owned(), error })?;
        let mut ahead: VecDeque<OsString> = absolute.iter().map(OsString::from).collect();
        let (mut reached, mut links) = (PathBuf::from("/"), 0);
        while let Some(step) = ahead.pop_front() {
            if step == ".." {
                reached.pop();
                continue;
            }
            let next = reached.join(step);
            let is_end = ahead.is_empty() && !is_looked_at;
            if let Some(at) = self.0.iter().find(|at| **at == next && !is_end) {
                return Err(PlanError::InMount { path: path.to_owned(), at: at.clone() });
            }
            let target = (!is_end && links < MOST_LINKS).then(|| next.read_link().ok()).flatten();
            match target {
                Some(target) => {
                    links += 1;
                    target.iter().rev().for_each(|step| ahead.push_front(step.to_owned()));
                }
                None => reached = next,
            }
        }
        Ok(reached)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mounts(places: &[&Path]) -> Result<Mounts, PlanError> {
        let places: Vec<_> = places.iter().map(|it| it.to_path_buf()).collect();
        Mounts::of(places.iter())
    }

    #[test]
    fn no_way_leads_into_a_mount() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let at = root.join("mnt");
        std::fs::create_dir_all(root.join("other")).unwrap();
        symlink("other/../mnt/x", root.join("file")).unwrap();
        symlink(&root, root.join("self")).unwrap();
        let mounts = mounts(&[&at]).unwrap();
        for inside in ["mnt", "mnt/x", "other/../mnt/x", "file", "self/self/mnt/a/b", "self/file"] {
            assert!(mounts.outside(&root.join(inside), true).is_err(), "{inside}");
        }
        for outside in ["other", "mnt2", "other/mnt", "nowhere/else", "self/other"] {
            assert!(mounts.outside(&root.join(outside), true).is_ok(), "{outside}");
        }
    }

    #[test]
    fn no_mount_lies_in_another() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        symlink(&root, root.join("self")).unwrap();
        let (at, beside) = (root.join("mnt"), root.join("mnt2"));
        assert!(mounts(&[&at, &beside, &at, &root.join("self/mnt")]).is_ok());
        assert!(mounts(&[&at, &root.join("mnt/sub")]).is_err());
        assert!(mounts(&[&root.join("self/mnt/sub"), &at]).is_err());
        assert!(mounts(&[&root.join("self/mnt"), &root.join("mnt/a/b")]).is_err());
    }
}
