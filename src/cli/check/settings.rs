//! What a config says that can be known to be wrong only here: users that nobody knows, files
//! without a template, programs that are not there, and what would lie in our own mounts.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::report::Report;
use crate::config::{Action, Config, FileOptions, Mount, ProviderConfig, Reaction};
use crate::daemon::apart::Own;
use crate::daemon::assemble::Choice;
use crate::daemon::plan::{self, Unknown, spec};
use crate::nearest::nearest;

pub(super) fn judge(choice: &Choice, config: &Config, report: &mut Report) {
    let own = Own::of_daemon(choice, config, Vec::new());
    plan::fault(config, &own).into_iter().for_each(|error| report.add(error.into()));
    judge_mirrors(choice, config, report);
    for (index, mount) in config.mounts.iter().enumerate() {
        let at = index.to_string();
        let place = ["mounts", &at];
        judge_accounts(config, &place, &mount.defaults, report);
        for (path, entry) in &mount.files {
            let name = path.to_string_lossy();
            let place = [place[0], place[1], "files", &name];
            judge_accounts(config, &place, &entry.options, report);
            if entry.template.is_none() {
                judge_template(config, &place, mount, path, report);
            }
            if let Some(reaction) = &entry.on_change {
                judge_program(config, &place, reaction, report);
            }
        }
    }
}

/// Copies are kept in the store.
fn judge_mirrors(choice: &Choice, config: &Config, report: &mut Report) {
    let store = choice.store_path(&config.store);
    let mirrors = |kind: &ProviderConfig| matches!(kind, ProviderConfig::Remote(it) if it.keeping.mirror);
    for (name, _) in config.providers.iter().filter(|(_, kind)| mirrors(kind) && !store.exists()) {
        let problem = format!("there is no store at {} to keep copies in", store.display());
        let place = ["providers", name, "cache", "mirror"];
        report.add(config.error_at(&place, problem).hint(Some("secretfs init".to_owned())).into());
    }
}

fn judge_accounts(config: &Config, place: &[&str], options: &FileOptions, report: &mut Report) {
    let FileOptions { owner, group, .. } = options.clone();
    let each =
        [FileOptions { owner, ..FileOptions::default() }, FileOptions { group, ..FileOptions::default() }];
    for Unknown { option, problem } in each.iter().filter_map(|it| spec(it).err()) {
        report.add(config.error_at(&[place, &[option]].concat(), problem).into());
    }
}

/// What is run when the file changes can be run. One without a path is looked for when it is.
fn judge_program(config: &Config, place: &[&str], reaction: &Reaction, report: &mut Report) {
    let Action::Command(words) = &reaction.action else { return };
    let Some(program) = words.first().filter(|program| program.contains('/')) else { return };
    let is_fit = |meta: Metadata| meta.is_file() && meta.permissions().mode() & 0o111 != 0;
    if !Path::new(program).metadata().is_ok_and(is_fit) {
        let problem = format!("{program} is no program that can be run");
        report.add(config.error_at(&[place, &["on_change", "command"]].concat(), problem).into());
    }
}

/// A file that says no template of its own has one in the mount's folder.
fn judge_template(config: &Config, place: &[&str], mount: &Mount, path: &Path, report: &mut Report) {
    let template = with_suffix(&mount.templates.join(path));
    if template.exists() || !mount.templates.is_dir() {
        return;
    }
    let problem = format!("`{}` has no template: {} is not there", path.display(), template.display());
    let near = nearest(&path.to_string_lossy(), unnamed(mount));
    let hint = near.map(|near| format!("did you mean `{near}`?"));
    report.add(config.error_at(place, problem).hint(hint).into());
}

/// The files of the folder that the config says nothing about.
fn unnamed(mount: &Mount) -> BTreeSet<String> {
    let found = super::subject::below(&mount.templates).unwrap_or_default();
    let files = found.iter().filter_map(|path| path.strip_prefix(&mount.templates).ok());
    files
        .map(|path| path.with_extension(""))
        .filter(|path| !mount.files.contains_key(path))
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

fn with_suffix(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".tpl");
    path.into()
}
