//! That nothing which we read or write lies in one of our mounts, where we would wait for ourselves.
//! Looks at no place at or below a mount point. Uses `plan`.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::assemble::Choice;
use super::plan::{Plan, PlanError};
use crate::config::Config;
use crate::control::socket;

/// What a process has besides its plans.
#[derive(Default)]
pub struct Own {
    /// Where it has mounts already.
    pub mounts: Vec<PathBuf>,
    files: Vec<Opened>,
}

/// Something that it opens or makes, and where the config names it; empty if that does not.
struct Opened {
    path: PathBuf,
    place: &'static [&'static str],
}

impl Own {
    /// Of who serves by this config: the config itself, the store and its key, the audit.
    pub fn of_config(choice: &Choice, config: &Config) -> Self {
        let key = choice.key_file.as_ref().map(|path| Opened::new(path, &[]));
        let key = key.or_else(|| {
            config.store.key_file.as_ref().map(|path| Opened::new(path, &["store", "key", "path"]))
        });
        let store = choice.store_path(&config.store);
        let place: &[_] = if config.store.path.as_ref() == Some(&store) { &["store", "path"] } else { &[] };
        let audit = config.audit.file.as_ref().map(|path| Opened::new(path, &["audit", "file"]));
        let texts = config.files().map(|path| Opened::new(path, &[]));
        let files = texts.chain([Opened::new(&store, place)]).chain(key).chain(audit).collect();
        Self { mounts: Vec::new(), files }
    }

    /// Of a daemon with these mounts: its sockets, too.
    pub fn of_daemon(choice: &Choice, config: &Config, mounts: Vec<PathBuf>) -> Self {
        let mut own = Self::of_config(choice, config);
        let mut add = |said: &Option<PathBuf>, usual: &str, place| match said {
            Some(path) => own.files.push(Opened::new(path, place)),
            None => own.files.extend(socket::default_path(usual).map(|path| Opened { path, place: &[] })),
        };
        add(&config.control.socket, socket::CONTROL, &["control", "socket"]);
        if config.credentials.is_served() {
            add(&config.credentials.socket, socket::CREDENTIALS, &["credentials", "socket"]);
        }
        Self { mounts, ..own }
    }
}

impl Opened {
    fn new(path: &Path, place: &'static [&'static str]) -> Self {
        Self { path: path.to_owned(), place }
    }
}

/// What lies where it must not, and where the config says that.
pub(super) struct Misplaced {
    place: Vec<String>,
    pub(super) error: Box<PlanError>,
}

impl Misplaced {
    fn at<'a>(place: impl IntoIterator<Item = &'a str>) -> impl FnOnce(PlanError) -> Self {
        let place = place.into_iter().map(str::to_owned).collect();
        |error| Self { place, error: Box::new(error) }
    }

    /// With file, line and column, if it is named there.
    pub(super) fn in_config(self, config: &Config) -> PlanError {
        let place: Vec<_> = self.place.iter().map(String::as_str).collect();
        match *self.error {
            error @ (PlanError::InMount { .. } | PlanError::InTemplates { .. }) if !place.is_empty() => {
                config.error_at(&place, error).hint(Some("mount elsewhere".to_owned())).into()
            }
            error => error,
        }
    }
}

/// As many as the kernel follows.
const MOST_LINKS: u32 = 40;

/// Places of mounts, free of links and of `..`.
struct Mounts(Vec<PathBuf>);

pub(super) fn judge(plans: &[Plan], own: &Own) -> Result<(), Misplaced> {
    let mounts = Mounts::of(plans, own)?;
    for Opened { path, place } in &own.files {
        mounts.outside(path, true).map_err(Misplaced::at(place.iter().copied()))?;
    }
    for (index, plan) in plans.iter().enumerate() {
        let index = index.to_string();
        for (file, (_, template)) in &plan.layout.files {
            let Some(template) = template else { continue };
            let place = ["mounts", &index, "files", &file.to_string_lossy(), "template"];
            mounts.outside(template, true).map_err(Misplaced::at(place))?;
        }
    }
    for (index, plan) in plans.iter().enumerate() {
        let Some(templates) = &plan.layout.templates else { continue };
        mounts.apart(templates).map_err(Misplaced::at(["mounts", &index.to_string(), "templates"]))?;
    }
    Ok(())
}

/// Where a path leads, if no way goes through a mount of the config.
pub(super) fn real(config: &Config, path: &Path) -> Option<PathBuf> {
    let places: Vec<_> = config.mounts.iter().filter_map(|it| std::path::absolute(&it.at).ok()).collect();
    Mounts::of_places(places.iter()).ok()?.outside(path, true).ok()
}

impl Mounts {
    fn of(plans: &[Plan], own: &Own) -> Result<Self, Misplaced> {
        Self::of_places(plans.iter().map(|plan| &plan.at).chain(&own.mounts)).map_err(|(at, error)| {
            match plans.iter().position(|plan| plan.at == at) {
                Some(index) => Misplaced::at(["mounts", &index.to_string(), "at"])(*error),
                None => Misplaced::at([])(*error),
            }
        })
    }

    /// None of them lies in another; or the one that does.
    fn of_places<'a>(places: impl Iterator<Item = &'a PathBuf>) -> Result<Self, (PathBuf, Box<PlanError>)> {
        let mut places: Vec<_> = places.cloned().collect();
        // The outer ones first: as long as they are as they are written, nothing in them is looked at.
        places.sort_by_key(|at| at.components().count());
        places.dedup();
        let mut mounts = Self(places.clone());
        for place in places {
            let at = mounts.outside(&place, false).map_err(|error| (place, Box::new(error)))?;
            if !mounts.0.contains(&at) {
                mounts.0.push(at);
            }
        }
        Ok(mounts)
    }

    /// That no mount is in a folder of templates, nor that in a mount: it would be read by its own server.
    fn apart(&self, templates: &Path) -> Result<(), PlanError> {
        let folder = match self.outside(templates, true) {
            Err(PlanError::InMount { path, at }) if path == at => {
                return Err(PlanError::InTemplates { at, folder: path });
            }
            outcome => outcome?,
        };
        match self.0.iter().find(|at| at.starts_with(&folder)) {
            Some(at) => Err(PlanError::InTemplates { at: at.clone(), folder }),
            None => Ok(()),
        }
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
        Mounts::of_places(places.iter()).map_err(|(_, error)| *error)
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
