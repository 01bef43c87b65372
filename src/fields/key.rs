//! Private keys in every form that OpenSSL and ssh-keygen write, reduced to the public key that
//! belongs to them, so that two things can be compared. Pure; uses the crates that read them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pkcs8::PrivateKeyInfoRef;
use sec1::{EcParameters, EcPrivateKey};
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef};
use x509_cert::der::{Decode, Encode};
use zeroize::Zeroizing;

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

/// Of a modulus in bytes: far more than any program takes.
const MODULUS_LIMIT: usize = 4096;

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
        "EC PRIVATE KEY" => of_sec1(&block.content, None),
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
            of_sec1(key, Some(curve))
        }
        ED25519 => {
            let seed = <&OctetStringRef>::from_der(key).ok()?;
            Some(Some(of_seed(seed.as_bytes())?))
        }
        _ => Some(None),
    }
}

fn of_pkcs1(der: &[u8]) -> Option<PublicKey> {
    let key = pkcs1::RsaPrivateKeyRef::from_der(der).ok()?;
    Some(PublicKey::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes()))
}

fn of_seed(seed: &[u8]) -> Option<PublicKey> {
    let key = ed25519_dalek::SigningKey::from_bytes(seed.try_into().ok()?);
    Some(PublicKey::Ed25519(key.verifying_key().to_bytes().to_vec()))
}

/// Made from the secret number where we know the curve; else as it stands beside it, if it does.
fn of_sec1(der: &[u8], curve: Option<ObjectIdentifier>) -> Option<Option<PublicKey>> {
    let key = EcPrivateKey::from_der(der).ok()?;
    let curve = curve.or(key.parameters.map(|EcParameters::NamedCurve(curve)| curve))?;
    let curve = curve_name(&curve);
    match CURVES.iter().any(|(_, known)| *known == curve) {
        true => of_number(&curve, key.private_key).map(Some),
        false => Some(key.public_key.map(|point| PublicKey::Ec { curve, point: point.to_vec() })),
    }
}

fn of_number(curve: &str, number: &[u8]) -> Option<PublicKey> {
    let point = match curve {
        "nistp256" => p256::SecretKey::from_slice(number).ok()?.public_key().to_sec1_bytes(),
        "nistp384" => p384::SecretKey::from_slice(number).ok()?.public_key().to_sec1_bytes(),
        "nistp521" => p521::SecretKey::from_slice(number).ok()?.public_key().to_sec1_bytes(),
        _ => return None,
    };
    Some(PublicKey::Ec { curve: curve.to_owned(), point: point.into() })
}

fn curve_name(id: &ObjectIdentifier) -> String {
    let known = CURVES.iter().find(|(known, _)| known == id);
    known.map_or_else(|| id.to_string(), |(_, name)| (*name).to_owned())
}

/// The public key stands in front of the private one, in the clear. What is not encrypted has to
/// belong to it.
fn of_openssh(content: &[u8]) -> Option<PublicKey> {
    let mut rest = content.strip_prefix(b"openssh-key-v1\0")?;
    let [cipher, _kdf, _options] = [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?];
    let (count, after) = rest.split_first_chunk()?;
    rest = after;
    (u32::from_be_bytes(*count) == 1).then_some(())?;
    let public = PublicKey::of_ssh(take(&mut rest)?)?;
    let private = take(&mut rest)?;
    let belongs = cipher != b"none" || fits(private, &public)?;
    (rest.is_empty() && belongs).then_some(public)
}

/// Whether a secret part, as ssh-keygen writes it, is that of this public key. What only SSH knows is
/// believed.
fn fits(private: &[u8], public: &PublicKey) -> Option<bool> {
    let (checks, mut rest) = private.split_at_checked(8)?;
    if checks[..4] != checks[4..] {
        return Some(false);
    }
    let made = match take(&mut rest)? {
        b"ssh-rsa" => {
            let [modulus, exponent, _d, _inverse] =
                [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?, take(&mut rest)?];
            let [p, q] = [take(&mut rest)?, take(&mut rest)?];
            match is_product(modulus, p, q) {
                true => PublicKey::rsa(modulus, exponent),
                false => return Some(false),
            }
        }
        b"ssh-ed25519" => {
            let [_public, pair] = [take(&mut rest)?, take(&mut rest)?];
            of_seed(pair.get(..32)?)?
        }
        kind if kind.starts_with(b"ecdsa-sha2-") => {
            let [curve, _point, number] = [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?];
            of_ssh_number(std::str::from_utf8(curve).ok()?, number)?
        }
        _ => return Some(true),
    };
    Some(made == *public)
}

/// Numbers as SSH and ASN.1 write them, the greatest byte first.
fn is_product(number: &[u8], left: &[u8], right: &[u8]) -> bool {
    if left.len() + right.len() > MODULUS_LIMIT {
        return false;
    }
    let mut product = Zeroizing::new(vec![0; left.len() + right.len()]);
    for (at, &digit) in left.iter().rev().enumerate() {
        let mut carry = 0;
        for (place, &other) in product[at..].iter_mut().zip(right.iter().rev()) {
            let sum = u32::from(*place) + u32::from(digit) * u32::from(other) + carry;
            *place = sum as u8;
            carry = sum >> 8;
        }
        product[at + right.len()] = carry as u8;
    }
    product.reverse();
    bare(&product) == bare(number)
}

/// Without the zeros in front, which only say that it is positive.
fn bare(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[start..]
}

/// SSH writes a number without zeros in front, or with one that says that it is positive.
fn of_ssh_number(curve: &str, number: &[u8]) -> Option<PublicKey> {
    let length = match curve {
        "nistp256" => 32,
        "nistp384" => 48,
        _ => 66,
    };
    let mut whole = Zeroizing::new(vec![0; length]);
    let bare = bare(number);
    whole.get_mut(length.checked_sub(bare.len())?..)?.copy_from_slice(bare);
    of_number(curve, &whole)
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

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self::Rsa { modulus: bare(modulus).to_vec(), exponent: bare(exponent).to_vec() }
    }
}
