//! What is to be mounted, judged before anything is made: from a config's mounts, or one folder of
//! templates, to layouts. Uses every layer below.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Group, User, getegid, geteuid};

use super::apart::{self, Own};
use super::rules;
use crate::config::{Account, Config, ConfigError, FileOptions, Mount};
use crate::fs::mountpoint;
use crate::fs::tree::{Layout, Spec};
use crate::policy::{Door, Ownership};
use crate::template::Syntax;

/// One mount, judged and ready to be made.
pub struct Plan {
    pub at: PathBuf,
    pub layout: Layout,
}

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("nothing to mount: the config names no mounts")]
    Nothing,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the mount point {} lies in the folder of templates {}", at.display(), folder.display())]
    InTemplates { at: PathBuf, folder: PathBuf },
    #[error("{} lies in the mount {}: who serves that would wait for itself", path.display(), at.display())]
    InMount { path: PathBuf, at: PathBuf },
    #[error("{}: {error}", path.display())]
    Path { path: PathBuf, error: io::Error },
}

const DEADLINE: Duration = Duration::from_secs(5);

/// What the config wants mounted, by who has this of its own.
pub fn of_config(config: &Config, own: &Own) -> Result<Vec<Plan>, PlanError> {
    if config.mounts.is_empty() {
        return Err(PlanError::Nothing);
    }
    let numbered = config.mounts.iter().enumerate();
    let plans = numbered.map(|(index, mount)| plan_mount(config, &index.to_string(), mount));
    let plans: Vec<_> = plans.collect::<Result<_, _>>()?;
    judge_places(config, &plans)?;
    apart::judge(&plans, own).map_err(|misplaced| misplaced.in_config(config))?;
    Ok(plans)
}

/// What is wrong with it that nothing has to be looked up for but places and users.
pub fn fault(config: &Config, own: &Own) -> Option<ConfigError> {
    match of_config(config, own) {
        Err(PlanError::Config(error)) => Some(error),
        _ => None,
    }
}

/// The same place may be spelled in several ways.
fn judge_places(config: &Config, plans: &[Plan]) -> Result<(), PlanError> {
    let mut seen = BTreeSet::new();
    for (index, plan) in plans.iter().enumerate() {
        let place = mountpoint::canonical(&plan.at);
        if seen.contains(&place) {
            let problem = format!("two mounts at {}", place.display());
            return Err(config.error_at(&["mounts", &index.to_string(), "at"], problem).into());
        }
        seen.insert(place);
    }
    Ok(())
}

/// One folder of templates, all of whose files are served alike.
pub fn of_folder(templates: &Path, at: &Path, spec: Spec, own: &Own) -> Result<Vec<Plan>, PlanError> {
    let at = absolute(at)?;
    let plans = vec![Plan { layout: layout(&at, templates, spec, BTreeMap::new())?, at }];
    apart::judge(&plans, own).map_err(|misplaced| *misplaced.error)?;
    Ok(plans)
}

/// Whether some file shall belong to somebody else than its reader's default.
pub fn names_owners(config: &Config) -> bool {
    let options = |mount: &Mount| mount.files.values().map(|file| file.options.clone()).collect::<Vec<_>>();
    let mut all = config.mounts.iter().flat_map(|it| [options(it), vec![it.defaults.clone()]].concat());
    all.any(|it| it.owner.is_some() || it.group.is_some())
}

/// Whether something is wanted that only a daemon does.
pub fn needs_daemon(config: &Config) -> bool {
    let mut files = config.mounts.iter().flat_map(|mount| mount.files.values());
    !config.ready.is_empty() || files.any(|file| file.on_change.is_some())
}

fn plan_mount(config: &Config, index: &str, mount: &Mount) -> Result<Plan, PlanError> {
    let in_config = |place: &[&str], unknown: Unknown| {
        config.error_at(&[&["mounts", index], place, &[unknown.option]].concat(), unknown.problem)
    };
    let defaults = spec(&mount.defaults).map_err(|unknown| in_config(&[], unknown))?;
    let at = ["mounts", index].map(str::to_owned);
    let rules = |place: &[&str], options: &FileOptions| {
        let place = [&at[..], &place.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()].concat();
        let list = options.access.as_deref();
        list.map(|list| rules::access(config, &place, list).map(Arc::new)).transpose()
    };
    let of_all = rules(&["access"], &mount.defaults)?;
    let defaults = Spec { rules: of_all.clone(), ..defaults };
    let mut files = BTreeMap::new();
    for (path, file) in &mount.files {
        let place = ["files", &path.to_string_lossy()];
        let own = rules(&[&place[..], &["access"]].concat(), &file.options)?;
        let spec =
            spec(&file.options.merged_over(&mount.defaults)).map_err(|unknown| in_config(&place, unknown))?;
        let rules = own.or_else(|| of_all.clone());
        let spec = Spec { on_change: file.on_change.clone(), rules, ..spec };
        let template = file.template.as_deref().map(absolute).transpose()?;
        files.insert(path.clone(), (spec, template));
    }
    let at = absolute(&mount.at)?;
    Ok(Plan { layout: layout(&at, &mount.templates, defaults, files)?, at })
}

fn layout(
    at: &Path,
    templates: &Path,
    spec: Spec,
    files: BTreeMap<PathBuf, (Spec, Option<PathBuf>)>,
) -> Result<Layout, PlanError> {
    let folders = Ownership { mode: 0o555, ..spec.ownership };
    let (spelled, templates) = (at.to_owned(), Some(absolute(templates)?));
    Ok(Layout { at: mountpoint::canonical(at), spelled, door: Door::Mount, templates, spec, files, folders })
}

/// An option that names somebody whom this machine does not know.
pub struct Unknown {
    pub option: &'static str,
    pub problem: String,
}

pub fn spec(options: &FileOptions) -> Result<Spec, Unknown> {
    let (uid, own_gid) = match &options.owner {
        None => (geteuid().as_raw(), getegid().as_raw()),
        Some(Account::Id(uid)) => (*uid, group_of(*uid)),
        Some(Account::Name(name)) => user(name)?,
    };
    let gid = match &options.group {
        None => own_gid,
        Some(Account::Id(gid)) => *gid,
        Some(Account::Name(name)) => group(name)?,
    };
    let mode = options.mode.unwrap_or(0o400) as u16;
    Ok(Spec {
        ownership: Ownership { uid, gid, mode },
        rules: None,
        format: options.format,
        dialect: options.dialect,
        syntax: options.syntax.unwrap_or(Syntax::Angle),
        verify: options.verify.unwrap_or(true),
        set: options.set.as_deref().map(Arc::from),
        deadline: options.deadline.unwrap_or(DEADLINE),
        on_change: None,
    })
}

fn user(name: &str) -> Result<(u32, u32), Unknown> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok((user.uid.as_raw(), user.gid.as_raw())),
        _ => Err(Unknown { option: "owner", problem: format!("there is no user `{name}`") }),
    }
}

/// The group of a user who has a name; nobody else's group for one who has none.
fn group_of(uid: u32) -> u32 {
    match User::from_uid(uid.into()) {
        Ok(Some(user)) => user.gid.as_raw(),
        _ => getegid().as_raw(),
    }
}

fn group(name: &str) -> Result<u32, Unknown> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err(Unknown { option: "group", problem: format!("there is no group `{name}`") }),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, PlanError> {
    std::path::absolute(path).map_err(|error| PlanError::Path { path: path.to_owned(), error })
}
