//! The environment of a child: what it inherits, what is added, what is refused. Pure: the base
//! environment is an argument. Values stay in wiped memory until the program is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use zeroize::Zeroizing;

use crate::secret::SecretBytes;

/// The kernel's bound for one `NAME=value` with its final NUL.
const MOST_BYTES: usize = 128 * 1024;

/// What `--pristine` keeps, beside `LC_*`.
const KEPT: &[&str] = &["HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "TZ", "USER"];

/// Names that make a loader, a shell or an interpreter run something else.
const DANGEROUS: &[&str] = &[
    "BASHOPTS",
    "BASH_ENV",
    "CLASSPATH",
    "ENV",
    "GCONV_PATH",
    "GIT_SSH_COMMAND",
    "GLIBC_TUNABLES",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PROMPT_COMMAND",
    "PS4",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "RUBYLIB",
    "RUBYOPT",
    "SHELLOPTS",
    "_JAVA_OPTIONS",
];
const DANGEROUS_PREFIXES: &[&str] = &["BASH_FUNC_", "DYLD_", "LD_"];

/// How the child's environment is put together.
#[derive(Default)]
pub struct Rules {
    /// Inherit only the few names that a program needs to find its way.
    pub pristine: bool,
    /// Dangerous names that may be injected all the same, and our own that may be inherited.
    pub forced: BTreeSet<String>,
    /// Variables with secrets of our own, which providers are asked with: no child inherits them by itself.
    pub own: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    #[error("`{0}` is not a name for an environment variable")]
    Name(String),
    #[error("`{0}` changes which code a program runs; it is not injected")]
    Dangerous(String),
    #[error("`{0}` belongs to secretfs and is never handed to a child")]
    Own(String),
    #[error("the value for `{0}` has a NUL byte; an environment cannot carry it")]
    Nul(String),
    #[error("the value for `{name}` has {length} bytes; an environment variable takes {most} at most")]
    TooLong { name: String, length: usize, most: usize },
}

/// A finished environment: `NAME=value` entries, each name once, wiped on drop.
pub struct Environment(Vec<Entry>);

/// `NAME=value` and a NUL, as `execve` takes it.
pub struct Entry(Zeroizing<Vec<u8>>);

impl AsRef<CStr> for Entry {
    fn as_ref(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).expect("an entry ends with a NUL")
    }
}

impl Environment {
    /// The base, less what is ours, and the injected values over it.
    pub fn build(
        base: impl Iterator<Item = (OsString, OsString)>,
        injected: &BTreeMap<String, SecretBytes>,
        rules: &Rules,
    ) -> Result<Self, EnvironmentError> {
        let mut entries = Vec::new();
        for (name, value) in base {
            let is_replaced = name.to_str().is_some_and(|name| injected.contains_key(name));
            let value = Zeroizing::new(value.into_vec());
            if !is_replaced && is_inherited(&name, rules) {
                entries.push(Entry::new(name.as_bytes(), &value));
            }
        }
        for (name, value) in injected {
            check(name, value, rules)?;
            entries.push(Entry::new(name.as_bytes(), value.expose()));
        }
        Ok(Self(entries))
    }

    /// As [`Environment::read`] takes it: for a process that starts the program for us.
    pub fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.size()));
        self.0.iter().for_each(|entry| bytes.extend_from_slice(&entry.0));
        bytes
    }

    pub fn read(bytes: &[u8]) -> Self {
        let entries = bytes.split_inclusive(|&byte| byte == 0);
        Self(entries.map(|entry| Entry(Zeroizing::new(entry.to_vec()))).collect())
    }

    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    pub fn size(&self) -> usize {
        self.0.iter().map(|entry| entry.0.len() + size_of::<usize>()).sum()
    }
}

impl Entry {
    fn new(name: &[u8], value: &[u8]) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(name.len() + value.len() + 2));
        bytes.extend_from_slice(name);
        bytes.push(b'=');
        bytes.extend_from_slice(value);
        bytes.push(0);
        Self(bytes)
    }
}

/// Whether a child gets this variable of ours. What a process gets from systemd (NOTIFY_SOCKET,
/// LISTEN_FDS, CREDENTIALS_DIRECTORY) stays: with `execve` the child is that process.
fn is_inherited(name: &OsStr, rules: &Rules) -> bool {
    let Some(text) = name.to_str() else { return !rules.pristine };
    let is_kept = KEPT.contains(&text) || text.starts_with("LC_");
    let is_withheld = is_own(text) || (rules.own.contains(text) && !rules.forced.contains(text));
    !is_withheld && (is_kept || !rules.pristine)
}

/// The keys of secretfs itself: who has one reads every secret.
fn is_own(name: &str) -> bool {
    name == "SECRETFS_MASTER_KEY" || (name.starts_with("SECRETFS_") && name.contains("TOKEN"))
}

fn check(name: &str, value: &SecretBytes, rules: &Rules) -> Result<(), EnvironmentError> {
    let is_word = name.starts_with(|c: char| c.is_ascii_graphic() && !c.is_ascii_digit())
        && !name.contains(|c: char| c == '=' || !c.is_ascii_graphic());
    if !is_word {
        return Err(EnvironmentError::Name(name.to_owned()));
    }
    if is_own(name) {
        return Err(EnvironmentError::Own(name.to_owned()));
    }
    if is_dangerous(name) && !rules.forced.contains(name) {
        return Err(EnvironmentError::Dangerous(name.to_owned()));
    }
    if value.expose().contains(&0) {
        return Err(EnvironmentError::Nul(name.to_owned()));
    }
    let most = MOST_BYTES.saturating_sub(name.len() + 2);
    if value.len() > most {
        return Err(EnvironmentError::TooLong { name: name.to_owned(), length: value.len(), most });
    }
    Ok(())
}

fn is_dangerous(name: &str) -> bool {
    DANGEROUS.contains(&name) || DANGEROUS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(
        base: &[(&str, &str)],
        injected: &[(&str, &[u8])],
        rules: &Rules,
    ) -> Result<Vec<String>, EnvironmentError> {
        let base = base.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let injected =
            injected.iter().map(|(name, value)| (name.to_string(), SecretBytes::copy_of(value))).collect();
        let environment = Environment::build(base, &injected, rules)?;
        Ok(environment.entries().iter().map(|entry| entry.as_ref().to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn an_injected_value_replaces_an_inherited_one() {
        let built = build(&[("A", "old"), ("B", "kept")], &[("A", b"new"), ("C", b"")], &Rules::default());
        assert_eq!(built.unwrap(), ["B=kept", "A=new", "C="]);
    }

    #[test]
    fn an_environment_survives_the_way() {
        let values = BTreeMap::from([
            ("A".to_owned(), SecretBytes::copy_of(b"a=\n\xff")),
            ("B".to_owned(), SecretBytes::copy_of(b"")),
        ]);
        let built = Environment::build(std::iter::empty(), &values, &Rules::default()).unwrap();
        let read = Environment::read(&built.bytes());
        let words = |it: &Environment| it.0.iter().map(|entry| entry.0.to_vec()).collect::<Vec<_>>();
        assert_eq!(words(&read), words(&built));
        assert_eq!(words(&read), [b"A=a=\n\xff\0".to_vec(), b"B=\0".to_vec()]);
    }

    #[test]
    fn our_keys_are_not_inherited() {
        let base = [("SECRETFS_MASTER_KEY", "k"), ("SECRETFS_API_TOKEN", "t"), ("SECRETFS_STORE", "s")];
        assert_eq!(build(&base, &[], &Rules::default()).unwrap(), ["SECRETFS_STORE=s"]);
    }

    #[test]
    fn what_providers_are_asked_with_is_inherited_by_force_alone() {
        let base = [("SECRETFS_MASTER_KEY", "k"), ("VAULT_TOKEN", "t"), ("OTHER", "o")];
        let [own, forced] = [["VAULT_TOKEN"], ["SECRETFS_MASTER_KEY"]].map(|it| it.map(str::to_owned).into());
        let rules = Rules { own, forced, ..Rules::default() };
        assert_eq!(build(&base, &[], &rules).unwrap(), ["OTHER=o"]);
        let rules = Rules { forced: rules.own.clone(), ..rules };
        assert_eq!(build(&base, &[], &rules).unwrap(), ["VAULT_TOKEN=t", "OTHER=o"]);
    }

    #[test]
    fn pristine_keeps_what_a_program_needs() {
        let base = [("PATH", "/bin"), ("LC_ALL", "C"), ("AWS_SECRET_ACCESS_KEY", "x"), ("HOME", "/h")];
        let rules = Rules { pristine: true, ..Rules::default() };
        assert_eq!(build(&base, &[], &rules).unwrap(), ["PATH=/bin", "LC_ALL=C", "HOME=/h"]);
    }

    #[test]
    fn dangerous_names_need_force() {
        for name in ["PATH", "LD_PRELOAD", "BASH_ENV", "BASH_FUNC_ls%%", "NODE_OPTIONS"] {
            let refused = build(&[], &[(name, b"x")], &Rules::default());
            assert_eq!(refused, Err(EnvironmentError::Dangerous(name.into())));
            let rules = Rules { forced: BTreeSet::from([name.to_owned()]), ..Rules::default() };
            assert_eq!(build(&[], &[(name, b"x")], &rules).unwrap(), [format!("{name}=x")]);
        }
    }

    #[test]
    fn what_execve_cannot_carry_is_refused_by_name() {
        let rules = Rules::default();
        assert_eq!(build(&[], &[("A", b"x\0y")], &rules), Err(EnvironmentError::Nul("A".into())));
        let most = MOST_BYTES - 3;
        assert!(build(&[], &[("A", &vec![b'x'; most])], &rules).is_ok());
        let long = build(&[], &[("A", &vec![b'x'; most + 1])], &rules);
        assert_eq!(long, Err(EnvironmentError::TooLong { name: "A".into(), length: most + 1, most }));
        for name in ["", "A=B", "A B", "A\n", "A\0", "1T", "é"] {
            assert_eq!(build(&[], &[(name, b"")], &rules), Err(EnvironmentError::Name(name.into())));
        }
        let own = build(&[], &[("SECRETFS_MASTER_KEY", b"")], &rules);
        assert_eq!(own, Err(EnvironmentError::Own("SECRETFS_MASTER_KEY".into())));
    }
}
