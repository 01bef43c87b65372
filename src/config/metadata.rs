//! Where a cloud tells a machine about itself: near, and in the clear. Pure; uses `transport`.

use super::transport::{Address, METADATA};
use super::word::Scalar;

/// The address of what tells a machine about itself.
pub(super) struct Metadata(pub(super) Address);

impl Metadata {
    /// Where it usually is.
    pub(super) fn usual() -> Self {
        Self(Address { is_tls: false, host: METADATA[0].to_owned(), port: 80, prefix: String::new() })
    }
}

impl Scalar for Metadata {
    const EXPECTED: &'static str = "the address of a metadata service, like http://169.254.169.254";

    fn judge(text: &str) -> Result<Self, String> {
        let address = Address::read(text)?;
        match address.is_loopback() || address.is_metadata() {
            true => Ok(Self(address)),
            false => Err(format!("`{text}` is not {}, nor on this machine", Self::EXPECTED)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_asked_for_in_the_clear_where_they_are_and_nowhere_else() {
        for text in ["http://169.254.169.254", "http://[fd00:ec2::254]:80", "http://127.0.0.1:1338"] {
            assert!(Metadata::judge(text).is_ok(), "{text}");
            assert_eq!(Address::judge(text).is_ok(), text.contains("127"), "the control: {text}");
        }
        for text in ["http://169.254.169.253", "http://metadata.google.internal", "https://example.com"] {
            assert!(Metadata::judge(text).is_err(), "{text}");
        }
        assert!(Metadata::usual().0.is_metadata());
    }
}
