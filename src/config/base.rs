//! From one file as serde saw it to the words of the config: relative paths begin at the file's
//! folder. Pure; uses `raw`.

use std::path::{Path, PathBuf};

use super::access::AccessRule;
use super::reaction::{Action, DEBOUNCE, Reaction, TIMEOUT};
use super::rules::FileRule;
use super::scalar::FilePath;
use super::{FileEntry, FileOptions, Mount, Profile, StoreConfig, raw};

/// The folder that relative paths begin at.
pub(super) struct Base<'a>(pub(super) &'a Path);

/// What is wrong with a part of the config, and where in it.
pub(super) struct Fault {
    pub(super) place: Vec<String>,
    pub(super) problem: String,
}

impl Base<'_> {
    pub(super) fn path(&self, path: PathBuf) -> PathBuf {
        // `./x` is how people write it, and no way to tell it.
        self.0.join(path.strip_prefix("./").unwrap_or(&path))
    }

    /// A program with a `/` in it is a path; any other is looked for where programs are.
    pub(super) fn program(&self, program: String) -> String {
        if !program.contains('/') {
            return program;
        }
        let path = self.path(program.into());
        // Where the folder has no name, it must not be looked for elsewhere.
        if path.components().count() == 1 {
            format!("./{}", path.display())
        } else {
            path.display().to_string()
        }
    }

    pub(super) fn store(&self, store: raw::Store) -> StoreConfig {
        StoreConfig {
            path: store.path.map(|path| self.path(path)),
            backend: store.backend,
            key_file: store.key.map(|key| self.path(key.path.0)),
        }
    }

    pub(super) fn mount(&self, mut mount: raw::Mount) -> Result<Mount, Fault> {
        let rules = mount.access.take();
        let defaults = FileOptions { access: access(rules, &[])?, ..mount.options() };
        let file = |(path, file): (FilePath, raw::File)| {
            let name = path.0.to_string_lossy().into_owned();
            let entry = self.file(file, &name)?;
            Ok((path.0, entry))
        };
        let files = mount.files.0.into_iter().map(file).collect::<Result<_, Fault>>()?;
        Ok(Mount { at: self.path(mount.at.0), templates: self.path(mount.templates.0), defaults, files })
    }

    fn file(&self, mut file: raw::File, name: &str) -> Result<FileEntry, Fault> {
        let rules = file.access.take();
        let options = FileOptions { access: access(rules, &["files", name])?, ..file.options() };
        let on_change = file.on_change.map(|it| self.reaction(it)).transpose();
        let on_change =
            on_change.map_err(|problem| Fault { place: steps(&["files", name, "on_change"]), problem })?;
        Ok(FileEntry { template: file.template.0.map(|path| self.path(path)), options, on_change })
    }

    fn reaction(&self, given: raw::OnChange) -> Result<Reaction, String> {
        let command = given.command.map(|words| words.into_iter().map(|word| word.0.0).collect());
        let actions = [
            given.signal.0.map(Action::Signal),
            given.reload.0.map(Action::Reload),
            given.restart.0.map(Action::Restart),
            command.map(|command| self.command(command)).transpose()?,
        ];
        let mut actions = actions.into_iter().flatten();
        let (Some(action), None) = (actions.next(), actions.next()) else {
            return Err("expected one of `signal`, `reload`, `restart` and `command`".to_owned());
        };
        let (debounce, timeout) = (given.debounce.0.unwrap_or(DEBOUNCE), given.timeout.0.unwrap_or(TIMEOUT));
        Ok(Reaction { action, debounce, timeout })
    }

    fn command(&self, mut words: Vec<String>) -> Result<Action, String> {
        match words.first_mut() {
            Some(program) if !program.is_empty() => *program = self.program(std::mem::take(program)),
            _ => return Err("`command` names no program".to_owned()),
        }
        Ok(Action::Command(words))
    }

    pub(super) fn profile(&self, profile: raw::Profile) -> Profile {
        Profile {
            env: profile.env.0.into_iter().map(|(name, reference)| (name.0, reference.0.text)).collect(),
            env_files: profile.env_files.into_iter().map(|path| self.path(path.0)).collect(),
            files: profile.files.0.into_iter().map(|(at, it)| (self.path(at), self.path(it.0))).collect(),
            mask: profile.mask.0,
            watch: profile.watch.0,
        }
    }
}

/// The rules of a file, of all files of a mount, or of a credential.
pub(super) fn access(rules: Option<Vec<FileRule>>, at: &[&str]) -> Result<Option<Vec<AccessRule>>, Fault> {
    let judged = |(index, rule): (usize, FileRule)| {
        let place = || steps(&[at, &["access", &index.to_string()]].concat());
        rule.judge().map_err(|problem| Fault { place: place(), problem })
    };
    rules.map(|rules| rules.into_iter().enumerate().map(judged).collect()).transpose()
}

fn steps(place: &[&str]) -> Vec<String> {
    place.iter().map(|step| (*step).to_owned()).collect()
}
