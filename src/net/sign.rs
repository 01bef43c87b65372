//! A signature that somebody else's server can check: RSA with SHA-256 (RS256), by the cryptography that TLS has
//! brought along. Uses rustls.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// What is there is no key to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no private key of RSA (PEM, without a passphrase)")]
pub struct NoRsaKey;

/// `key` is PEM, as PKCS #8 or of RSA's own form.
pub fn rs256(key: &[u8], message: &[u8]) -> Result<Vec<u8>, NoRsaKey> {
    let (label, der) = block(key).ok_or(NoRsaKey)?;
    let der = match label {
        "PRIVATE KEY" => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(&der[..])),
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(&der[..])),
        _ => return Err(NoRsaKey),
    };
    let key = aws_lc_rs::sign::any_supported_type(&der).map_err(|_| NoRsaKey)?;
    let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or(NoRsaKey)?;
    signer.sign(message).map_err(|_| NoRsaKey)
}

/// The first block of PEM, decoded into memory that is wiped.
fn block(pem: &[u8]) -> Option<(&str, Zeroizing<Vec<u8>>)> {
    let text = std::str::from_utf8(pem).ok()?;
    let (label, rest) = text.split_once("-----BEGIN ")?.1.split_once("-----")?;
    let inside = rest.split_once("-----END ")?.0;
    // In one piece, so that no smaller copy stays behind.
    let mut digits = Zeroizing::new(Vec::with_capacity(inside.len()));
    digits.extend(inside.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let mut der = Zeroizing::new(vec![0; digits.len()]);
    let length = STANDARD.decode_slice(&digits, &mut der).ok()?;
    der.truncate(length);
    Some((label, der))
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData};

    use super::*;

    #[test]
    fn what_is_signed_can_be_checked() {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let signature = rs256(pair.serialize_pem().as_bytes(), b"what is said").unwrap();
        let is_of = |message: &[u8]| {
            let algorithm = webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256;
            algorithm.verify_signature(pair.der_bytes(), message, &signature).is_ok()
        };
        assert!(is_of(b"what is said") && !is_of(b"what is not"));
    }

    #[test]
    fn another_key_is_none_and_is_not_shown() {
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        let broken = "-----BEGIN PRIVATE KEY-----\n31337\n-----END PRIVATE KEY-----\n";
        for key in [&other, "", "31337", broken, "-----BEGIN PRIVATE KEY-----31337"] {
            let error = rs256(key.as_bytes(), b"m").unwrap_err();
            assert!(!error.to_string().contains("31337"), "{error}");
        }
    }
}
