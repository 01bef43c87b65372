//! Paths of a Vault that something is sent to, so that a secret is made of it: the words of `writes`. Pure.

use crate::config::word::Scalar;

/// `pki/issue/web`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) struct WritePath(pub(in crate::config) String);

/// What is sent: a text, a number, or true or false.
pub(in crate::config) struct Datum(pub(in crate::config) String);

impl Scalar for WritePath {
    const EXPECTED: &'static str = "a path that something is sent to, like pki/issue/web";

    fn judge(text: &str) -> Result<Self, String> {
        let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['#', '@', '\0']);
        // A namespace may stand before it.
        let places = text.rsplit_once('/').map_or("", |(places, _)| places);
        let is_of_system = places.split('/').any(|part| matches!(part, "sys" | "auth" | "cubbyhole"));
        match text.contains('/') && text.split('/').all(is_plain) {
            true if is_of_system => {
                Err(format!("`{text}` is of the server itself: nothing is written there"))
            }
            true => Ok(Self(text.to_owned())),
            false => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }
}

impl Scalar for Datum {
    const EXPECTED: &'static str = "a text, a number, or true or false";

    fn judge(text: &str) -> Result<Self, String> {
        match text.contains('\0') {
            true => Err(format!("expected {}", Self::EXPECTED)),
            false => Ok(Self(text.to_owned())),
        }
    }

    fn boolean(value: bool) -> Result<Self, String> {
        Ok(Self(value.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_to_the_server_itself_whatever_namespace_stands_before_it() {
        for path in ["pki/issue/web", "team/pki/issue/auth", "transit/decrypt/sys"] {
            assert!(WritePath::judge(path).is_ok(), "{path}");
        }
        for path in
            ["sys/policy/x", "team/auth/token/create", "a/b/sys/mounts/x", "pki", "pki//x", "pki/../sys/x"]
        {
            assert!(WritePath::judge(path).is_err(), "{path}");
        }
    }
}
