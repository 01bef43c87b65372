//! What is to be mounted, by the command line or the config, judged before anything is made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Group, User, getegid, geteuid};

use super::Args;
use crate::cli::exit;
use crate::cli::report::{Failure, warn};
use crate::config::{Account, Config, FileOptions, Mount};
use crate::fs::tree::{Layout, Spec, TreeError};
use crate::policy::Ownership;
use crate::template::Syntax;

/// One mount, judged and ready to be made.
pub(super) struct Plan {
    pub(super) at: PathBuf,
    pub(super) layout: Layout,
}

const DEADLINE: Duration = Duration::from_secs(5);

/// What the command line or the config wants mounted.
pub(super) fn plan(config: &Config, args: &Args) -> Result<Vec<Plan>, Failure> {
    let plans = wanted(config, args)?;
    warn_of_owners(config, args);
    plans.iter().try_for_each(|plan| refuse_own_templates(&plan.at, &plans))?;
    Ok(plans)
}

/// Whose the files are is shown to everybody, but only who mounts can get at them.
fn warn_of_owners(config: &Config, args: &Args) {
    let of_config = config.mounts.iter().filter(|_| args.templates.is_none());
    let options = of_config.flat_map(|it| it.files.values().map(|file| &file.options).chain([&it.defaults]));
    let is_given = args.owner.is_some() || args.group.is_some();
    if !geteuid().is_root()
        && (is_given || options.into_iter().any(|it| it.owner.is_some() || it.group.is_some()))
    {
        warn("owner and group give nobody else access: a mount that root has not made is its user's alone");
    }
}

/// A mount below a folder of templates would be read by its own server, which waits for itself.
fn refuse_own_templates(at: &Path, plans: &[Plan]) -> Result<(), Failure> {
    let Ok(at) = at.canonicalize() else { return Ok(()) };
    let folders = plans.iter().filter_map(|plan| plan.layout.templates.as_ref());
    let within = |folder: &&PathBuf| folder.canonicalize().is_ok_and(|folder| at.starts_with(folder));
    match folders.into_iter().find(within) {
        None => Ok(()),
        Some(folder) => Err(Failure::new(
            exit::CONFIG,
            format!("the mount point {} lies in the folder of templates {}", at.display(), folder.display()),
        )
        .hint("mount elsewhere")),
    }
}

fn wanted(config: &Config, args: &Args) -> Result<Vec<Plan>, Failure> {
    if let (Some(templates), Some(at)) = (&args.templates, &args.mountpoint) {
        let options = args.options()?;
        let spec = spec(&options).map_err(|Unknown { option, problem }| {
            Failure::new(exit::USAGE, format!("--{option}: {problem}"))
        })?;
        let layout = layout(templates, spec, BTreeMap::new())?;
        return Ok(vec![Plan { at: absolute(at)?, layout }]);
    }
    if config.mounts.is_empty() {
        return Err(Failure::new(exit::USAGE, "nothing to mount: the config names no mounts")
            .hint("secretfs mount TEMPLATES MOUNTPOINT"));
    }
    let numbered = config.mounts.iter().enumerate();
    numbered.map(|(index, mount)| plan_mount(config, &index.to_string(), mount)).collect()
}

fn plan_mount(config: &Config, index: &str, mount: &Mount) -> Result<Plan, Failure> {
    let in_config = |place: &[&str], unknown: Unknown| {
        Failure::from(
            config.error_at(&[&["mounts", index], place, &[unknown.option]].concat(), unknown.problem),
        )
    };
    let defaults = spec(&mount.defaults).map_err(|unknown| in_config(&[], unknown))?;
    let mut files = BTreeMap::new();
    for (path, file) in &mount.files {
        let place = ["files", &path.to_string_lossy()];
        let spec =
            spec(&file.options.merged_over(&mount.defaults)).map_err(|unknown| in_config(&place, unknown))?;
        let template = file.template.as_deref().map(absolute).transpose()?;
        files.insert(path.clone(), (spec, template));
    }
    Ok(Plan { at: absolute(&mount.at)?, layout: layout(&mount.templates, defaults, files)? })
}

fn layout(
    templates: &Path,
    spec: Spec,
    files: BTreeMap<PathBuf, (Spec, Option<PathBuf>)>,
) -> Result<Layout, Failure> {
    let folders = Ownership { mode: 0o555, ..spec.ownership };
    Ok(Layout { templates: Some(absolute(templates)?), spec, files, folders })
}

/// An option that names somebody whom this machine does not know.
pub(in crate::cli) struct Unknown {
    pub(in crate::cli) option: &'static str,
    pub(in crate::cli) problem: String,
}

pub(in crate::cli) fn spec(options: &FileOptions) -> Result<Spec, Unknown> {
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
        format: options.format,
        dialect: options.dialect,
        syntax: options.syntax.unwrap_or(Syntax::Angle),
        verify: options.verify.unwrap_or(true),
        deadline: options.deadline.unwrap_or(DEADLINE),
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

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::new(exit::NO_INPUT, format!("{}: {error}", path.display())))
}

pub(super) fn cannot_plan(error: TreeError) -> Failure {
    match error {
        TreeError::Unreadable { .. } => Failure::new(exit::NO_INPUT, error),
        TreeError::Twice(_) | TreeError::NoTemplate { .. } => Failure::new(exit::CONFIG, error),
    }
}

impl Args {
    fn options(&self) -> Result<FileOptions, Failure> {
        let account = |text: &String| text.parse().map_or_else(|_| Account::Name(text.clone()), Account::Id);
        let mode = |text: &String| {
            u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o666 == 0).ok_or_else(|| {
                Failure::new(exit::USAGE, format!("--mode {text} is not a file's mode")).hint("--mode 0440")
            })
        };
        Ok(FileOptions {
            owner: self.owner.as_ref().map(account),
            group: self.group.as_ref().map(account),
            mode: self.mode.as_ref().map(mode).transpose()?,
            syntax: self.syntax,
            ..FileOptions::default()
        })
    }
}
