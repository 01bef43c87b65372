//! Any program as a provider (`type: exec`): it gets a secret's path as its last argument and prints
//! the value. Uses `sys` to run it. What it says on stderr is shown to nobody: it may hold a value.
//!
//! | the program | the answer |
//! |---|---|
//! | ends with status 0 | what it printed; one final newline of a single line is dropped |
//! | ends with `not_found_status` (44) | there is no such secret |
//! | ends otherwise, or cannot be started | it has failed |
//!
//! By `protocol: summon` the program is one of summon's: a bare name lies in summon's folder, white space around the
//! value is dropped, and every status but 0 is a failure.
//!
//! With `fields: json` it prints one object, `{"field": "value", …}`. Cutting it off kills it and
//! all of its process group.

use std::borrow::Cow;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Instant;

use nix::unistd::{AccessFlags, access};

use super::fields;
use super::versions::Versions;
use super::{AsOf, Batch, BoxFuture, Provider, ProviderError, Step};
use crate::config::Program;
use crate::secret::{Absent, Answer, SecretBytes, SecretKey, SecretType, SecretVersion};
use crate::sys::leftover;
use crate::sys::program::{self, Ended};

/// The most bytes that a program may print.
const LARGEST: usize = 1 << 20;
/// Where the path goes, if not behind all other arguments.
const PATH: &str = "{path}";
/// What a program finds of the daemon's environment: nothing that could hold a key.
const INHERITED: [&str; 9] =
    ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR"];
/// Where summon has its providers.
const SUMMON: &str = "/usr/local/lib/summon";
const SUMMON_VARIABLE: &str = "SUMMON_PROVIDER_PATH";
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub struct ExecProvider {
    program: Program,
    versions: Versions,
}

/// What is wrong with a path that a program may take for an option, or for another name of what has
/// one already: a rule is about one name. Where names begin with `/`, the command says that.
fn roundabout(path: &str) -> Option<&'static str> {
    let inside = path.split_once("://").map_or(path, |(_, inside)| inside);
    let is_step = |part: &str| matches!(part, "." | "..");
    match () {
        () if path.starts_with('-') => Some("begins with `-`"),
        () if path.starts_with('/') => {
            Some("begins with `/`; if all its names do, write `/{path}` in its `command`")
        }
        () if path.contains('/') && (inside.is_empty() || inside.ends_with('/')) => Some("ends with `/`"),
        () if inside.starts_with('/') || inside.contains("//") => Some("has `//` in it"),
        () if path.contains('/') && inside.split('/').any(is_step) => Some("has `.` or `..` for a part"),
        () if path.trim() != path || path.contains(char::is_control) => Some("has white space at an end"),
        () => None,
    }
}

/// A program that finds nothing of the daemon's environment but this.
pub(super) fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", DEFAULT_PATH);
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

impl ExecProvider {
    pub fn new(program: Program, version_key: SecretBytes) -> Self {
        Self { program, versions: Versions::new(version_key) }
    }

    async fn ask(&self, key: &SecretKey) -> Result<Answer, ProviderError> {
        if let Some(wrong) = roundabout(&key.path) {
            return Err(ProviderError::Invalid(self.says(&format!("is not asked for a name that {wrong}"))));
        }
        // A program knows no versions.
        if key.version.is_some() {
            return Ok(Err(Absent::Missing));
        }
        let ended = program::run(&mut self.command(&key.path), LARGEST).await;
        match ended.map_err(|error| self.failed(format!("cannot be run: {error}")))? {
            Ended::TooLarge => Err(ProviderError::TooLarge(self.says("printed more than 1 MiB"))),
            Ended::With(status, _) if self.says_not_found(status) => Ok(Err(Absent::Missing)),
            Ended::With(status, printed) if status.success() => {
                leftover::wiped(|| self.answer(&key.path, &printed)).map(Ok)
            }
            Ended::With(status, _) => Err(self.failed(how_it_ended(status))),
        }
    }

    fn says_not_found(&self, status: ExitStatus) -> bool {
        self.program.not_found_status.is_some_and(|not_found| status.code() == Some(not_found.into()))
    }

    fn command(&self, path: &str) -> Command {
        let words = &self.program.command;
        let mut command = bare(&self.name());
        command.args(words[1..].iter().map(|word| word.replace(PATH, path)));
        if !words.iter().any(|word| word.contains(PATH)) {
            command.arg(path);
        }
        command.envs(&self.program.env);
        command
    }

    fn answer(&self, path: &str, printed: &[u8]) -> Result<Arc<SecretVersion>, ProviderError> {
        let fields = match self.program.prints_json {
            true => fields::of_json(printed).map_err(|why| ProviderError::Invalid(self.says(&why)))?,
            false if self.program.is_of_summon => fields::of_value(trimmed(printed)),
            false => fields::of_text(printed),
        };
        let kind = if self.program.prints_json { SecretType::Custom } else { SecretType::Plain };
        Ok(Arc::new(self.versions.of(path, kind, fields)))
    }

    fn failed(&self, how: String) -> ProviderError {
        ProviderError::Unavailable(self.says(&how))
    }

    fn says(&self, how: &str) -> String {
        format!("`{}` {how}", self.name())
    }

    /// A name, or a path.
    fn name(&self) -> Cow<'_, str> {
        let name = &self.program.command[0];
        if !self.program.is_of_summon || name.contains('/') {
            return Cow::Borrowed(name);
        }
        let folder = std::env::var(SUMMON_VARIABLE).ok().filter(|folder| !folder.is_empty());
        Cow::Owned(format!("{}/{name}", folder.as_deref().unwrap_or(SUMMON)))
    }

    fn can_be_found(&self) -> bool {
        let name = &*self.name();
        let is_program = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
        if name.contains('/') {
            return is_program(Path::new(name));
        }
        let path = self.program.env.get("PATH").map(Into::into);
        let path = path.or_else(|| std::env::var_os("PATH")).unwrap_or_else(|| DEFAULT_PATH.into());
        std::env::split_paths(&path).any(|folder| is_program(&folder.join(name)))
    }
}

/// As summon takes it.
fn trimmed(printed: &[u8]) -> &[u8] {
    std::str::from_utf8(printed).map_or(printed.trim_ascii(), |text| text.trim().as_bytes())
}

pub(super) fn how_it_ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("ended with status {code} (what it says on stderr is not shown)"),
        None => format!("was ended by a {status}"),
    }
}

impl Provider for ExecProvider {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(keys.len());
            for key in keys {
                answers.push(self.ask(key).await?);
            }
            Ok(Batch { answers, as_of: AsOf::moment(0) })
        })
    }

    fn largest_batch(&self) -> usize {
        1
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async { Err(ProviderError::Invalid(self.says("cannot be asked which secrets there are"))) })
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async {
            match self.can_be_found() {
                true => Ok(()),
                false => Err(self.failed("is no program that can be run".to_owned())),
            }
        })
    }

    /// It is run for a secret only.
    fn steps(&self) -> BoxFuture<'_, Vec<Step>> {
        Box::pin(async {
            let start = Instant::now();
            let outcome = self.health().await.map(|()| self.name().into_owned());
            vec![Step::of("program", start, outcome)]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_one_name() {
        for plain in ["kv/x", "a", "a..b/c", ".env", "..", "op://a/b", "a b", "a:b/c", "op://a/.b"] {
            assert_eq!(roundabout(plain), None, "{plain}");
        }
        for other in [
            "/x",
            "/kv/x",
            "//x",
            "kv/x/",
            "/",
            "kv//x",
            "./kv/x",
            "kv/./x",
            "kv/../x",
            "x/..",
            "-kv",
            "a\0",
            " a",
            "a ",
            "a\n",
            "op://",
            "op:///a",
            "op://a/",
            "op://a//b",
            "op://a/./b",
            "op://../a",
            "op://a/http://b",
        ] {
            assert!(roundabout(other).is_some(), "{other:?}");
        }
    }
}
