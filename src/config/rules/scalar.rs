//! The scalars of rules: what each may be, and what is said of one that may not be. Pure; uses the
//! words of `policy`.

use std::path::{Component, Path, PathBuf};

use crate::config::scalar::choice;
use crate::config::word::Scalar;
use crate::nearest::nearest;
use crate::policy::{Action, Door, Pattern};
use crate::secret::Selector;

/// A user's or a group's number.
pub(in crate::config) struct Id(pub(super) u32);
pub(in crate::config) struct UserName(pub(super) String);
pub(in crate::config) struct GroupName(pub(super) String);
pub(in crate::config) struct ProgramPath(pub(super) PathBuf);
pub(in crate::config) struct Sha256(pub(super) [u8; 32]);
pub(in crate::config) struct UnitPattern(pub(super) Pattern);
pub(in crate::config) struct CgroupPattern(pub(super) Pattern);
/// On names of secrets.
pub(in crate::config) struct SecretPattern(pub(super) Pattern);

impl Scalar for Id {
    const EXPECTED: &'static str = "a number from 0 to 4294967295";

    fn judge(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("`{text}` is not a number; names go with `user` and `group`"))
    }
}

impl Scalar for UserName {
    const EXPECTED: &'static str = "a user's name";

    fn judge(text: &str) -> Result<Self, String> {
        name(text, "uid").map(Self)
    }
}

impl Scalar for GroupName {
    const EXPECTED: &'static str = "a group's name";

    fn judge(text: &str) -> Result<Self, String> {
        name(text, "gid").map(Self)
    }
}

fn name(text: &str, key: &str) -> Result<String, String> {
    match () {
        () if text.parse::<u32>().is_ok() => {
            Err(format!("{text} is a number, not a name: write `{key}: {text}`"))
        }
        () if text.is_empty() || text.contains(['*', '?', '\0', ':']) => {
            Err(format!("`{text}` is not a name"))
        }
        () => Ok(text.to_owned()),
    }
}

impl Scalar for ProgramPath {
    const EXPECTED: &'static str = "the whole path of a program";

    fn judge(text: &str) -> Result<Self, String> {
        let rebuilt: PathBuf =
            Path::new(text).components().filter(|part| !matches!(part, Component::ParentDir)).collect();
        match () {
            () if !text.starts_with('/') || rebuilt.as_os_str() != text || text.contains('\0') => {
                Err(format!("`{text}` is not {} (no `..`, from `/` on)", Self::EXPECTED))
            }
            () if text.contains(['*', '?']) => {
                Err(format!("`{text}`: a program has no pattern, but one path"))
            }
            () => Ok(Self(rebuilt)),
        }
    }
}

impl Scalar for Sha256 {
    const EXPECTED: &'static str = "64 hexadecimal digits, as sha256sum prints them";

    fn judge(text: &str) -> Result<Self, String> {
        digest(text).map(Self).ok_or_else(|| format!("expected {}", Self::EXPECTED))
    }
}

/// As sha256sum prints it.
pub fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    for (index, byte) in digest.iter_mut().enumerate().filter(|_| is_hex) {
        *byte = u8::from_str_radix(&text[2 * index..][..2], 16).ok()?;
    }
    is_hex.then_some(digest)
}

impl UnitPattern {
    /// Of the units that have processes.
    pub(in crate::config) const SUFFIXES: [&'static str; 2] = [".service", ".scope"];
}

/// One that has processes, or a pattern of them.
pub fn unit(text: &str) -> Result<Pattern, String> {
    UnitPattern::judge(text).map(|it| it.0)
}

impl Scalar for UnitPattern {
    const EXPECTED: &'static str = "the name of a unit, like app.service or worker@*.service";

    fn judge(text: &str) -> Result<Self, String> {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || r":_.\@-*?".contains(c);
        let has_suffix =
            Self::SUFFIXES.iter().any(|suffix| text.len() > suffix.len() && text.ends_with(suffix));
        if text.chars().all(is_fit) && (has_suffix || text == "*") && !text.starts_with('-') {
            return Pattern::parse(text).map(Self);
        }
        let (stem, suffix) = text.rsplit_once('.').map_or((text, ""), |(stem, suffix)| (stem, suffix));
        let meant = match suffix {
            "" => Some(".service"),
            _ => nearest(&format!(".{suffix}"), Self::SUFFIXES),
        };
        Err(match meant.filter(|_| !stem.is_empty() && stem.chars().all(is_fit)) {
            Some(meant) => format!("`{text}` is no unit that has processes; did you mean `{stem}{meant}`?"),
            None if suffix.is_empty() => format!("`{text}` is not {}", Self::EXPECTED),
            None => format!("`{text}` is no unit that has processes: those end in .service or .scope"),
        })
    }
}

impl Scalar for CgroupPattern {
    const EXPECTED: &'static str = "the path of a control group, like /system.slice/*";

    fn judge(text: &str) -> Result<Self, String> {
        match text.starts_with(['/', '*']) {
            true => Pattern::parse(text).map(Self),
            false => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }
}

impl SecretPattern {
    /// The secret's name without a field and version behind it, and what those are called.
    fn whole(text: &str) -> Option<(&str, &'static str)> {
        if Selector::of_path(text).is_some() {
            return None;
        }
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match (text.split_once('#'), text.rsplit_once('@')) {
            (Some((whole, _)), _) => Some((whole, "field")),
            (None, Some((whole, version))) if is_number(version) => Some((whole, "version")),
            _ => None,
        }
    }
}

impl Scalar for SecretPattern {
    const EXPECTED: &'static str = "a pattern on names of secrets, like stripe/*";

    fn judge(text: &str) -> Result<Self, String> {
        match Self::whole(text) {
            Some(("", _)) => Err(format!("`{text}` names no secret")),
            None => Pattern::parse(text).map(Self),
            Some((whole, part)) => Err(format!(
                "`{text}` names a {part}, and rules are about whole secrets: write `{whole}`, \
                 or give the {part} a name of its own under `secrets:`"
            )),
        }
    }
}

impl Scalar for Pattern {
    const EXPECTED: &'static str = "a pattern, like stripe/*";

    fn judge(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl Scalar for Action {
    const EXPECTED: &'static str = "the name of an action";

    fn judge(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|action| action.name() == text);
        found.ok_or_else(|| choice(text, "action", &Self::ALL.map(Self::name), &[]))
    }
}

impl Scalar for Door {
    const EXPECTED: &'static str = "the name of a door";

    fn judge(text: &str) -> Result<Self, String> {
        let found = Self::RULED.into_iter().find(|door| door.name() == text);
        found.ok_or_else(|| choice(text, "door", &Self::RULED.map(Self::name), &[]))
    }
}
