//! Harmless values in place of real ones: of the same kind and about as long, so that what reads a
//! file still can, and made of nothing but that. Whoever sees one should see that it is one. Pure.

mod json;
mod quantity;
mod shape;
#[cfg(test)]
mod tests;

use super::pem;
use crate::secret::{FieldName, SecretBytes, SecretType, SecretVersion};

/// A pair that belongs together, in the form in which programs expect it. Made for this, and known
/// to everybody.
const EC_CERT: &str = include_str!("ec.cert.pem");
const EC_KEY: &str = include_str!("ec.key.pem");
const EC_SEC1: &str = include_str!("ec.sec1.pem");
const EC_PUBLIC: &str = include_str!("ec.public.pem");
const RSA_CERT: &str = include_str!("rsa.cert.pem");
const RSA_KEY: &str = include_str!("rsa.key.pem");
const RSA_PUBLIC: &str = include_str!("rsa.public.pem");
const RSA_PKCS1: &str = include_str!("rsa.pkcs1.pem");
const SSH_KEY: &str = include_str!("ssh.key");
const SSH_PUBLIC: &str = include_str!("ssh.pub");

/// The same version with a harmless value in each field. It is nobody's use of the secret.
pub fn placeholder(of: &SecretVersion) -> SecretVersion {
    let is_rsa = of.fields.values().any(|value| is_rsa(value.expose()));
    let harmless = |name: &FieldName, value: &SecretBytes| {
        SecretBytes::new(of_field(of.kind, name.as_str(), value.expose(), is_rsa))
    };
    let fields = of.fields.iter().map(|(name, value)| (name.clone(), harmless(name, value)));
    SecretVersion { turned_out: of.turned_out.clone(), fields: fields.collect(), uses: None, ..*of }
}

fn of_field(kind: SecretType, field: &str, value: &[u8], is_rsa: bool) -> Vec<u8> {
    match (kind, field) {
        (SecretType::SshKey, "private") => SSH_KEY.into(),
        (SecretType::SshKey, "public") => SSH_PUBLIC.into(),
        _ => of_value(value, is_rsa),
    }
}

fn of_value(value: &[u8], is_rsa: bool) -> Vec<u8> {
    match keys(value, is_rsa) {
        Some(keys) => keys,
        None => shape::like(value),
    }
}

/// rsaEncryption, which a key says of itself, and a certificate of its key.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// What is said of the key of a secret is true of its certificate.
fn is_rsa(value: &[u8]) -> bool {
    let is_rsa = |block: &pem::Block<'_>| {
        block.label.starts_with("RSA ") || block.content.windows(RSA.len()).any(|it| it == RSA)
    };
    pem::blocks(value).is_some_and(|blocks| blocks.iter().any(is_rsa))
}

/// As many keys and certificates as there are; `None` if there is none.
fn keys(value: &[u8], is_rsa: bool) -> Option<Vec<u8>> {
    let blocks = pem::blocks(value)?;
    let texts: Vec<&str> = blocks.iter().filter_map(|block| of_label(block.label, is_rsa)).collect();
    (!texts.is_empty()).then(|| texts.concat().into())
}

fn of_label(label: &str, is_rsa: bool) -> Option<&'static str> {
    match label {
        "RSA PRIVATE KEY" => Some(RSA_PKCS1),
        "EC PRIVATE KEY" => Some(EC_SEC1),
        "OPENSSH PRIVATE KEY" => Some(SSH_KEY),
        label if label.ends_with("PRIVATE KEY") => Some(if is_rsa { RSA_KEY } else { EC_KEY }),
        label if label.ends_with("PUBLIC KEY") => Some(if is_rsa { RSA_PUBLIC } else { EC_PUBLIC }),
        label if label.ends_with("CERTIFICATE") => Some(if is_rsa { RSA_CERT } else { EC_CERT }),
        _ => None,
    }
}
