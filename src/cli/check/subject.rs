//! Which templates `check` looks at: the ones it was given, or all that the config names.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::report::Report;
use crate::broker::Error;
use crate::cli::report::Failure;
use crate::cli::{exit, source};
use crate::config::{Config, FileOptions, Mount};
use crate::fs::source::{Source, Trusted};
use crate::template::{Dialect, Format, Options, Template};

const SUFFIX: &str = "tpl";

/// A template and what it is compiled as.
pub(super) struct Subject {
    pub(super) path: PathBuf,
    pub(super) options: Options,
    /// Neither its name nor the config says what it is.
    pub(super) is_format_unknown: bool,
    pub(super) is_mounted: bool,
    /// It lies where a mount would find it, so that a mount's demands on its file hold.
    is_in_folder: bool,
}

/// The templates that were named, and those in folders that were.
pub(super) fn given(paths: &[PathBuf]) -> Result<Vec<Subject>, Failure> {
    let mut subjects = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => {
                for found in below(path)? {
                    let subject = Subject::new(found.clone(), &found, &FileOptions::default(), false);
                    subjects.push(Subject { is_in_folder: true, ..subject });
                }
            }
            false if path.as_os_str() != "-" && path.symlink_metadata().is_err() => {
                return Err(Failure::new(exit::NO_INPUT, format!("there is no template {}", path.display())));
            }
            false => subjects.push(Subject::new(path.clone(), path, &FileOptions::default(), false)),
        }
    }
    Ok(subjects)
}

/// All that the config names, each once.
pub(super) fn of_config(config: &Config, report: &mut Report) -> Result<Vec<Subject>, Failure> {
    if config.mounts.is_empty() && config.profiles.is_empty() {
        return Err(Failure::new(exit::USAGE, "there is nothing to check: the config names no templates")
            .hint("secretfs check TEMPLATES"));
    }
    let mut subjects = Vec::new();
    for (index, mount) in config.mounts.iter().enumerate() {
        match of_mount(mount) {
            Ok(found) => subjects.extend(found),
            Err(failure) => {
                let place = ["mounts", &index.to_string(), "templates"];
                report.add(config.error_at(&place, failure.problem).into());
            }
        }
    }
    let env_files: BTreeSet<_> = config.profiles.values().flat_map(|profile| &profile.env_files).collect();
    for path in env_files {
        let options = Options { format: Format::Env(Dialect::Exec), ..Options::default() };
        let subject = Subject::new(path.clone(), path, &FileOptions::default(), false);
        subjects.push(Subject { options, is_format_unknown: false, ..subject });
    }
    let covers: BTreeSet<_> = config.profiles.values().flat_map(|profile| &profile.files).collect();
    for (path, template) in covers {
        let wanted = FileOptions { format: source::format_of(template), ..FileOptions::default() };
        // Held to the same rules as in a mount.
        let subject = Subject::new(template.clone(), path, &wanted, false);
        subjects.push(Subject { is_in_folder: true, ..subject });
    }
    let mut seen = HashSet::new();
    subjects.retain(|it| seen.insert((it.path.clone(), it.options, it.is_mounted)));
    Ok(subjects)
}

/// The folder's templates, and those that the config adds from elsewhere.
fn of_mount(mount: &Mount) -> Result<Vec<Subject>, Failure> {
    let mut subjects = Vec::new();
    for path in below(&mount.templates)? {
        let file = path.strip_prefix(&mount.templates).unwrap_or(&path).with_extension("");
        let entry = mount.files.get(&file);
        if entry.is_some_and(|entry| entry.template.is_some()) {
            continue;
        }
        let own = entry.map(|entry| entry.options.clone()).unwrap_or_default();
        subjects.push(Subject::new(path.clone(), &file, &own.merged_over(&mount.defaults), true));
    }
    for (file, entry) in &mount.files {
        if let Some(path) = &entry.template {
            subjects.push(Subject::new(
                path.clone(),
                file,
                &entry.options.merged_over(&mount.defaults),
                true,
            ));
        }
    }
    Ok(subjects)
}

/// All templates below a folder, in a stable order.
pub(super) fn below(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable =
        |error| Failure::new(exit::NO_INPUT, format!("cannot read {}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        match path.symlink_metadata().map_err(unreadable)?.is_dir() {
            true => found.extend(below(&path)?),
            false if path.extension().is_some_and(|extension| extension == SUFFIX) => found.push(path),
            false => {}
        }
    }
    found.sort();
    Ok(found)
}

impl Subject {
    /// `file` is what the output is called.
    fn new(path: PathBuf, file: &Path, wanted: &FileOptions, is_mounted: bool) -> Self {
        let is_format_unknown = wanted.format.is_none() && source::format_of(file).is_none();
        let options = source::options(file, wanted);
        Self { path, options, is_format_unknown, is_mounted, is_in_folder: is_mounted }
    }

    /// The template as its door reads it: a mount follows no link and waits for no pipe.
    pub(super) fn template(&self) -> Result<Arc<Template>, Error> {
        if self.is_in_folder {
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let place = Trusted::new(&self.path, folder.unwrap_or(Path::new(".")).into());
            return Source::new(place, self.options).load().template.clone();
        }
        let text = source::read(&self.path).map_err(|failure| Error::Source(failure.problem))?;
        Ok(Arc::new(Template::compile(&self.path.display().to_string(), &text, self.options)?))
    }
}
