//! One value as sops encrypts it: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`, AES-256-GCM with a nonce of 32 bytes
//! and the path for its name. Uses aes-gcm.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce, Tag};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::SopsError;
use crate::document::Node;
use crate::secret::SecretBytes;

pub(super) struct Cipher(AesGcm<Aes256, U32>);

impl Cipher {
    pub(super) fn new(data_key: &[u8]) -> Result<Self, SopsError> {
        let cipher = AesGcm::new_from_slice(data_key);
        cipher.map(Self).map_err(|_| SopsError::Changed("its data key has not 32 bytes".to_owned()))
    }

    /// `None` if it is not what was encrypted under this name, or is nothing that sops encrypts.
    pub(super) fn open(&self, text: &[u8], name: &str) -> Option<Node> {
        let sealed = Encrypted::parse(text)?;
        let mut value = sealed.data;
        let (nonce, tag) = (Nonce::<U32>::from(sealed.nonce), Tag::from(sealed.tag));
        self.0.decrypt_inout_detached(&nonce, name.as_bytes(), value.as_mut_slice().into(), &tag).ok()?;
        typed(sealed.kind, &value)
    }
}

struct Encrypted<'a> {
    data: Zeroizing<Vec<u8>>,
    nonce: [u8; 32],
    tag: [u8; 16],
    kind: &'a str,
}

impl<'a> Encrypted<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let inside = text.strip_prefix("ENC[AES256_GCM,data:")?.strip_suffix(']')?;
        let (data, rest) = inside.split_once(",iv:")?;
        let (nonce, rest) = rest.split_once(",tag:")?;
        let (tag, kind) = rest.split_once(",type:")?;
        let bytes = |text: &str| STANDARD.decode(text).ok();
        Some(Self {
            data: Zeroizing::new(bytes(data)?),
            nonce: bytes(nonce)?.try_into().ok()?,
            tag: bytes(tag)?.try_into().ok()?,
            kind,
        })
    }
}

/// As it is in a document without encryption, so that it reads the same.
fn typed(kind: &str, value: &[u8]) -> Option<Node> {
    let text = || Some(Node::Text(SecretBytes::copy_of(value)));
    let said = || std::str::from_utf8(value).ok();
    let number = |number: String| Some(Node::Number(SecretBytes::new(number.into_bytes())));
    match kind {
        "str" | "bytes" | "time" => text(),
        "int" => number(said()?.parse::<i64>().ok()?.to_string()),
        "float" => number(said()?.parse::<f64>().ok().filter(|it| it.is_finite())?.to_string()),
        "bool" => match value {
            b"True" | b"true" => Some(Node::Bool(true)),
            b"False" | b"false" => Some(Node::Bool(false)),
            _ => None,
        },
        _ => None,
    }
}
