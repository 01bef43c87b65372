//! The scalars of the config: what each may be, and what is said of one that may not be. Pure; uses
//! the words of `secret` and the names of `template`.

use core::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::word::Scalar;
use super::{Account, StoreBackend};
use crate::nearest::nearest;
use crate::secret::{Namespace, Reference, SecretName};
use crate::template::{Dialect, Format, Syntax};

/// Permission bits, written in octal and in quotes.
pub(super) struct Mode(pub(super) u32);

impl Scalar for Mode {
    const EXPECTED: &'static str = "permission bits in quotes, like \"0400\"";

    fn judge(text: &str) -> Result<Self, String> {
        let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let mode = if is_octal { u32::from_str_radix(text, 8).ok() } else { None };
        match mode {
            None => Err(format!("`{text}` is not {}", Self::EXPECTED)),
            Some(mode) if mode & !0o666 != 0 => {
                Err(format!("mode \"{text}\" has more than read and write bits; no file here is executable"))
            }
            Some(mode) => Ok(Self(mode)),
        }
    }

    fn number(number: u64) -> Result<Self, String> {
        Err(format!("the mode is the number {number}, not text: put it in quotes, like \"0400\""))
    }
}

impl Scalar for Duration {
    const EXPECTED: &'static str = "a time like 500ms, 5s or 1m";

    fn judge(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let milliseconds = match unit.trim_start() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(format!("`{text}` is not {}", Self::EXPECTED)),
        };
        let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds));
        match total {
            None | Some(0) => Err(format!("`{text}` is not {}", Self::EXPECTED)),
            Some(total) => Ok(Self::from_millis(total)),
        }
    }
}

impl Scalar for bool {
    const EXPECTED: &'static str = "true or false";

    fn judge(text: &str) -> Result<Self, String> {
        Err(format!("`{text}` is not {}", Self::EXPECTED))
    }

    fn boolean(value: bool) -> Result<Self, String> {
        Ok(value)
    }
}

impl Scalar for Account {
    const EXPECTED: &'static str = "a name or a number";

    fn judge(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) if text.is_empty() => Err(format!("expected {}", Self::EXPECTED)),
            Err(_) => Ok(Self::Name(text.to_owned())),
        }
    }
}

impl Scalar for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn judge(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            return Err(format!("expected {}", Self::EXPECTED));
        }
        Ok(text.into())
    }
}

/// Words that know themselves what they can be.
macro_rules! named_scalars {
    ($($name:ident: $expected:literal),*) => {$(
        impl Scalar for $name {
            const EXPECTED: &'static str = $expected;

            fn judge(text: &str) -> Result<Self, String> {
                Self::parse(text).map_err(|error| error.to_string())
            }
        }
    )*};
}
named_scalars!(
    Format: "the name of a format",
    Dialect: "the name of a dialect",
    Syntax: "the name of a syntax",
    SecretName: "a secret's name"
);

const DEPLOY_FILES: &[u8] = Namespace::DEPLOY_FILES.as_bytes();

/// A file's path inside a mount.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FilePath(pub(super) PathBuf);

impl Scalar for FilePath {
    const EXPECTED: &'static str = "a file's path inside the mount";

    fn judge(text: &str) -> Result<Self, String> {
        let is_plain = |part| matches!(part, Component::Normal(_));
        // Compared as text: components() would pass over `a//b`, `a/./b` and `a/`.
        let rebuilt = Path::new(text).components().filter(|&part| is_plain(part)).collect::<PathBuf>();
        if text.is_empty() || text.contains('\0') || rebuilt.as_os_str() != text {
            return Err(format!("`{text}` is not {} (no `..`, no leading `/`)", Self::EXPECTED));
        }
        if rebuilt.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(DEPLOY_FILES)) {
            return Err(format!("`{text}` is for deployments and never served; use secretfs exec --deploy"));
        }
        Ok(Self(rebuilt))
    }
}

/// The name of an environment variable.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Variable(pub(super) String);

impl Scalar for Variable {
    const EXPECTED: &'static str = "the name of an environment variable";

    fn judge(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains(['=', '\0']) {
            return Err(format!("`{text}` is not {}", Self::EXPECTED));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A key of a free-form table: a profile's, a provider's or a set's name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label(pub(super) String);

/// The number of an account of AWS: it may begin with a 0.
pub(super) struct AwsAccount(pub(super) String);

impl Scalar for AwsAccount {
    const EXPECTED: &'static str = "an account of AWS: 12 digits in quotes, like '123456789012'";

    fn judge(text: &str) -> Result<Self, String> {
        match text.len() == 12 && text.bytes().all(|it| it.is_ascii_digit()) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }
}

impl Scalar for Label {
    const EXPECTED: &'static str = "a name of letters, digits, `_` and `-`";

    fn judge(text: &str) -> Result<Self, String> {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if text.is_empty() || !text.chars().all(is_fit) {
            return Err(format!("`{text}` is not {}", Self::EXPECTED));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A reference, parsed and as it is written: what a dot in it means is said elsewhere.
pub(super) struct ReferenceText {
    pub(super) text: String,
    pub(super) parsed: Reference,
}

impl Scalar for ReferenceText {
    const EXPECTED: &'static str = "a reference like NAME or provider:path#field";

    fn judge(text: &str) -> Result<Self, String> {
        let parsed = Reference::parse(text).map_err(|error| error.to_string())?;
        Ok(Self { text: text.to_owned(), parsed })
    }
}

/// Where who is on this machine may ask: nobody else.
pub(super) struct Loopback(pub(super) SocketAddr);

impl Scalar for Loopback {
    const EXPECTED: &'static str = "an address of this machine like 127.0.0.1:9464";

    fn judge(text: &str) -> Result<Self, String> {
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self(address)),
            Ok(_) => Err(format!("`{text}` can be reached from elsewhere; expected {}", Self::EXPECTED)),
            Err(_) => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }
}

/// How many of something.
pub(super) struct Count(pub(super) usize);

impl Count {
    pub(super) const MOST: usize = 1_000;
}

impl Scalar for Count {
    const EXPECTED: &'static str = "a number from 1 to 1000";

    fn judge(text: &str) -> Result<Self, String> {
        let count = text.parse().ok().filter(|count| (1..=Self::MOST).contains(count));
        count.map(Self).ok_or_else(|| format!("`{text}` is not {}", Self::EXPECTED))
    }
}

/// The exit status of a program that has not succeeded.
pub(super) struct Status(pub(super) u8);

impl Scalar for Status {
    const EXPECTED: &'static str = "an exit status from 1 to 255";

    fn judge(text: &str) -> Result<Self, String> {
        let status = text.parse().ok().filter(|status| *status > 0);
        status.map(Self).ok_or_else(|| format!("`{text}` is not {}", Self::EXPECTED))
    }
}

/// An amount of memory.
pub(super) struct Bytes(pub(super) usize);

impl Scalar for Bytes {
    const EXPECTED: &'static str = "a size like 64KiB or 16MiB";

    fn judge(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let bytes = match unit.trim_start() {
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => 0,
        };
        let total = number.parse::<usize>().ok().and_then(|number| number.checked_mul(bytes));
        total
            .filter(|total| *total > 0)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not {}", Self::EXPECTED))
    }
}

/// Words of which there is one so far, each with what it is a word for and those that are still to come.
macro_rules! lone_words {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $what:literal, $later:expr;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl $name {
            pub(super) const NAMES: [&str; 1] = [$word];
        }

        impl Scalar for $name {
            const EXPECTED: &'static str = concat!("the name of a ", $what);

            fn judge(text: &str) -> Result<Self, String> {
                match Self::NAMES.contains(&text) {
                    true => Ok(Self),
                    false => Err(choice(text, $what, &Self::NAMES, &$later)),
                }
            }
        }
    )*};
}
lone_words!(
    /// How a program prints more than one field.
    FieldsForm = "json", "form of fields", [];
    /// Whose rules a program goes by.
    Protocol = "summon", "protocol", [];
    /// A key source that takes settings; the others are tried without being named.
    KeySource = "file", "key source", ["keyring", "passphrase", "vault-transit", "aws-kms"];
);

impl StoreBackend {
    const ALL: [(&str, Self); 2] = [("sqlite", Self::Sqlite), ("file", Self::File)];

    pub(super) const NAMES: [&str; 2] = [Self::ALL[0].0, Self::ALL[1].0];
}

impl Scalar for StoreBackend {
    const EXPECTED: &'static str = "the name of a backend";

    fn judge(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, backend)| *backend).ok_or_else(|| choice(text, "backend", &Self::NAMES, &[]))
    }
}

/// Says what is wrong with a word that is none of `now`: not yet there, mistyped, or unheard of.
pub(super) fn choice(text: &str, what: &str, now: &[&str], later: &[&str]) -> String {
    if later.contains(&text) {
        return format!("the {what} `{text}` is not available in this version; there is {}", now.join(", "));
    }
    match nearest(text, now.iter().chain(later).copied()) {
        Some(name) => format!("unknown {what} `{text}`; did you mean `{name}`?"),
        None => format!("unknown {what} `{text}`; there is {}", now.join(", ")),
    }
}
