//! Signatures on who we are (JWT), with an RSA key of PEM: rustls signs so in every handshake. Uses rustls.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use zeroize::Zeroize;

/// With what something is signed.
pub struct RsaKey(Arc<dyn SigningKey>);

/// As RFC 7518 names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Ps256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("has no private key (PEM, without a passphrase)")]
    NoKey,
    #[error("has a key that is none of RSA, which is what is wanted there")]
    NotRsa,
    #[error("has a key that does not sign")]
    Broken,
}

impl RsaKey {
    pub fn of_pem(pem: &[u8]) -> Result<Self, SignError> {
        let mut key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| SignError::NoKey)?;
        let found = any_supported_type(&key).map(Self).map_err(|_| SignError::NoKey);
        key.zeroize();
        found
    }

    pub fn sign(&self, how: Algorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let scheme = match how {
            Algorithm::Rs256 => SignatureScheme::RSA_PKCS1_SHA256,
            Algorithm::Ps256 => SignatureScheme::RSA_PSS_SHA256,
        };
        let signer = self.0.choose_scheme(&[scheme]).ok_or(SignError::NotRsa)?;
        signer.sign(message).map_err(|_| SignError::Broken)
    }
}

/// The first certificate in there (DER).
pub fn certificate_of(pem: &[u8]) -> Option<Vec<u8>> {
    CertificateDer::from_pem_slice(pem).ok().map(|it| it.as_ref().to_vec())
}
