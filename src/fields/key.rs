//! Private keys in every form that OpenSSL and ssh-keygen write, reduced to the public key that
//! belongs to them, so that two things can be compared. Pure; uses the crates that read them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pkcs8::PrivateKeyInfoRef;
use sec1::{EcParameters, EcPrivateKey};
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef};
use x509_cert::der::{Decode, Encode};

use super::pem::{self, Block};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Curves by their ids, as SSH calls them.
const CURVES: [(ObjectIdentifier, &str); 3] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), "nistp256"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), "nistp384"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), "nistp521"),
];

/// A public key in the one form in which it is compared.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    Ec {
        curve: String,
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
    /// A kind that only SSH knows, as it writes it.
    Ssh(Vec<u8>),
}

/// The public key of the first private key in a PEM text. `None` if there is none that can be
/// read; `Some(None)` if it is one that cannot be looked into: encrypted, or of a rare kind.
pub(super) fn private(text: &[u8]) -> Option<Option<PublicKey>> {
    let blocks = pem::blocks(text)?;
    let block = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY"))?;
    if block.is_encrypted {
        return Some(None);
    }
    match block.label {
        "RSA PRIVATE KEY" => of_pkcs1(&block.content).map(Some),
        "EC PRIVATE KEY" => of_sec1(&block.content, None).map(Some),
        "OPENSSH PRIVATE KEY" => of_openssh(&block.content).map(Some),
        "PRIVATE KEY" => of_pkcs8(block),
        _ => Some(None),
    }
}

fn of_pkcs8(block: &Block<'_>) -> Option<Option<PublicKey>> {
    let info = PrivateKeyInfoRef::from_der(&block.content).ok()?;
    let key = info.private_key.as_bytes();
    match info.algorithm.oid {
        RSA | RSA_PSS => of_pkcs1(key).map(Some),
        EC => {
            let curve = info.algorithm.parameters.and_then(|it| it.decode_as::<ObjectIdentifier>().ok())?;
            of_sec1(key, Some(curve)).map(Some)
        }
        ED25519 => {
            let seed = <&OctetStringRef>::from_der(key).ok()?;
            let key = ed25519_dalek::SigningKey::from_bytes(seed.as_bytes().try_into().ok()?);
            Some(Some(PublicKey::Ed25519(key.verifying_key().to_bytes().to_vec())))
        }
        _ => Some(None),
    }
}

fn of_pkcs1(der: &[u8]) -> Option<PublicKey> {
    let key = pkcs1::RsaPrivateKeyRef::from_der(der).ok()?;
    Some(PublicKey::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes()))
}

/// Made from the secret number where we know the curve; else as it stands beside it.
fn of_sec1(der: &[u8], curve: Option<ObjectIdentifier>) -> Option<PublicKey> {
    let key = EcPrivateKey::from_der(der).ok()?;
    let curve = curve.or(key.parameters.map(|EcParameters::NamedCurve(curve)| curve))?;
    let curve = curve_name(&curve);
    let point = match curve.as_str() {
        "nistp256" => p256::SecretKey::from_slice(key.private_key).ok()?.public_key().to_sec1_bytes().into(),
        "nistp384" => p384::SecretKey::from_slice(key.private_key).ok()?.public_key().to_sec1_bytes().into(),
        _ => key.public_key?.to_vec(),
    };
    Some(PublicKey::Ec { curve, point })
}

fn curve_name(id: &ObjectIdentifier) -> String {
    let known = CURVES.iter().find(|(known, _)| known == id);
    known.map_or_else(|| id.to_string(), |(_, name)| (*name).to_owned())
}

/// The public key stands in front of the private one, in the clear.
fn of_openssh(content: &[u8]) -> Option<PublicKey> {
    let mut rest = content.strip_prefix(b"openssh-key-v1\0")?;
    let [_cipher, _kdf, _options] = [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?];
    let (count, after) = rest.split_first_chunk()?;
    rest = after;
    (u32::from_be_bytes(*count) == 1).then_some(())?;
    let public = PublicKey::of_ssh(take(&mut rest)?)?;
    let _private = take(&mut rest)?;
    rest.is_empty().then_some(public)
}

/// A string as SSH writes it: its length, its bytes.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk()?;
    let (taken, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = after;
    Some(taken)
}

impl PublicKey {
    /// `None` for a kind of key that is not known here.
    pub(super) fn of_certificate(certificate: &Certificate) -> Option<Self> {
        let info = certificate.tbs_certificate().subject_public_key_info();
        let bytes = info.subject_public_key.as_bytes()?;
        match info.algorithm.oid {
            RSA | RSA_PSS => {
                let key = pkcs1::RsaPublicKeyRef::from_der(bytes).ok()?;
                Some(Self::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes()))
            }
            EC => {
                let parameters = info.algorithm.parameters.as_ref()?.to_der().ok()?;
                let curve = curve_name(&ObjectIdentifier::from_der(&parameters).ok()?);
                // A compressed one is as rare as it is hard to compare.
                (bytes.first() == Some(&4)).then(|| Self::Ec { curve, point: bytes.to_vec() })
            }
            ED25519 => Some(Self::Ed25519(bytes.to_vec())),
            _ => None,
        }
    }

    /// `ssh-ed25519 AAAA… comment`.
    pub(super) fn of_ssh_line(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let mut words = line.lines().next()?.split_ascii_whitespace();
        let (kind, blob) = (words.next()?, STANDARD.decode(words.next()?).ok()?);
        (take(&mut &*blob)? == kind.as_bytes()).then(|| Self::of_ssh(&blob))?
    }

    fn of_ssh(blob: &[u8]) -> Option<Self> {
        let mut rest = blob;
        let key = match take(&mut rest)? {
            b"ssh-rsa" => {
                let [exponent, modulus] = [take(&mut rest)?, take(&mut rest)?];
                Self::rsa(modulus, exponent)
            }
            b"ssh-ed25519" => Self::Ed25519(take(&mut rest)?.to_vec()),
            kind if kind.starts_with(b"ecdsa-sha2-") => {
                let curve = std::str::from_utf8(take(&mut rest)?).ok()?.to_owned();
                Self::Ec { curve, point: take(&mut rest)?.to_vec() }
            }
            _ => return Some(Self::Ssh(blob.to_vec())),
        };
        rest.is_empty().then_some(key)
    }

    /// Numbers without the zeros that only say that they are positive.
    fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        let bare = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
        Self::Rsa { modulus: bare(modulus), exponent: bare(exponent) }
    }
}
