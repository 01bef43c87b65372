//! Bytes that must not be told: no `Debug`, `Display`, `Serialize` or `Clone`, wiped on drop,
//! and one visible way to look at them. Uses zeroize, subtle, base64 and serde.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Visitor};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret value, or text made from one. Compare with [`SecretBytes::same_as`].
pub struct SecretBytes(Zeroizing<Box<[u8]>>);

impl SecretBytes {
    /// Takes the bytes over. A vector with spare room is moved once, and the old place wiped.
    pub fn new(bytes: Vec<u8>) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self::copy_of(&bytes)
    }

    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// What a text of base64 stands for, if it is one.
    pub fn of_base64(text: &[u8]) -> Option<Self> {
        let mut bytes = Zeroizing::new(vec![0; text.len()]);
        let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
        Some(Self::copy_of(&bytes[..length]))
    }

    /// The one way to the bytes: a search for `expose` lists every place that looks.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares in a time that depends on the lengths only.
    pub fn same_as(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

/// A text, which goes from the document into its own memory and nowhere else.
impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = SecretBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<SecretBytes, E> {
                Ok(SecretBytes::copy_of(text.as_bytes()))
            }
        }
        from.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_byte() {
        let mut bytes = Vec::with_capacity(100);
        bytes.extend_from_slice(b"a\0\xff");
        assert_eq!(SecretBytes::new(bytes).expose(), b"a\0\xff");
    }

    #[test]
    fn base64_is_decoded_whole_or_not_at_all() {
        let decoded = |text: &str| SecretBytes::of_base64(text.as_bytes());
        for (text, bytes) in [("", &b""[..]), ("QQ==", b"A"), ("AP8=", b"\0\xff"), ("QUJD", b"ABC")] {
            assert!(decoded(text).is_some_and(|it| it.same_as(bytes)), "{text}");
        }
        for wrong in ["QQ", "QQ=", "QQ==\n", "QUJD!", "_w=="] {
            assert!(decoded(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn compares_by_content() {
        assert!(SecretBytes::copy_of(b"same").same_as(b"same"));
        assert!(!SecretBytes::copy_of(b"same").same_as(b"sama"));
        assert!(!SecretBytes::copy_of(b"same").same_as(b"sam"));
    }
}
