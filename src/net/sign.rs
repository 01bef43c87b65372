//! A signature that somebody else's server can check: RSA with SHA-256 (RS256, PS256), by the cryptography that TLS has
//! brought along. Uses rustls.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

const PKCS8: &str = "PRIVATE KEY";
const PKCS1: &str = "RSA PRIVATE KEY";

/// What is there is no key to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no private key of RSA (PEM, without a passphrase)")]
pub struct NoRsaKey;

/// `key` is PEM, as PKCS #8 or of RSA's own form.
pub fn rs256(key: &[u8], message: &[u8]) -> Result<Vec<u8>, NoRsaKey> {
    sign(key, SignatureScheme::RSA_PKCS1_SHA256, message)
}

/// The same, with the padding that has a proof.
pub fn ps256(key: &[u8], message: &[u8]) -> Result<Vec<u8>, NoRsaKey> {
    sign(key, SignatureScheme::RSA_PSS_SHA256, message)
}

/// The first certificate in there, as it is hashed (DER).
pub fn certificate_of(pem: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    block(pem, &["CERTIFICATE"]).map(|(_, der)| der)
}

fn sign(key: &[u8], scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, NoRsaKey> {
    let (label, der) = block(key, &[PKCS8, PKCS1]).ok_or(NoRsaKey)?;
    let der = match label {
        PKCS8 => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(&der[..])),
        _ => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(&der[..])),
    };
    let key = aws_lc_rs::sign::any_supported_type(&der).map_err(|_| NoRsaKey)?;
    let signer = key.choose_scheme(&[scheme]).ok_or(NoRsaKey)?;
    signer.sign(message).map_err(|_| NoRsaKey)
}

/// The first block of PEM with one of these labels, decoded into memory that is wiped.
fn block<'a>(pem: &'a [u8], labels: &[&str]) -> Option<(&'a str, Zeroizing<Vec<u8>>)> {
    let text = std::str::from_utf8(pem).ok()?;
    let blocks = text.split("-----BEGIN ").skip(1).filter_map(|block| block.split_once("-----"));
    let (label, rest) = blocks.into_iter().find(|(label, _)| labels.contains(label))?;
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
    fn a_key_is_found_beside_its_certificate() {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&pair).unwrap();
        for pem in [certificate.pem() + &pair.serialize_pem(), pair.serialize_pem() + &certificate.pem()] {
            let signature = ps256(pem.as_bytes(), b"what is said").unwrap();
            let algorithm = webpki::aws_lc_rs::RSA_PSS_2048_8192_SHA256_LEGACY_KEY;
            assert!(algorithm.verify_signature(pair.der_bytes(), b"what is said", &signature).is_ok());
            assert_eq!(certificate_of(pem.as_bytes()).unwrap()[..], certificate.der()[..]);
        }
        assert!(certificate_of(pair.serialize_pem().as_bytes()).is_none());
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
