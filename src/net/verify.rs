//! The server's certificate, judged by the authorities that are believed and by the pins. A pin counts only
//! for a certificate that the verified chain needs: what a server sends beside it proves nothing. Uses webpki.

use std::cell::Cell;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::tls::TlsError;
use crate::config::Pin;
use crate::visible::in_line;

#[derive(Debug)]
pub(super) struct Verifier {
    roots: RootCertStore,
    pins: Vec<Pin>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(roots: RootCertStore, pins: Vec<Pin>, crypto: &CryptoProvider) -> Self {
        Self { roots, pins, algorithms: crypto.signature_verification_algorithms }
    }

    fn verify(
        &self,
        end: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let certificate = EndEntityCert::try_from(end).map_err(|error| told(&error, end, sent, name))?;
        // Of several chains, one that has the pin will do.
        let is_unpinned = Cell::new(false);
        let judge = |path: &VerifiedPath<'_>| match self.has_pin(path) {
            true => Ok(()),
            false => {
                is_unpinned.set(true);
                Err(webpki::Error::UnknownIssuer)
            }
        };
        let (all, usage) = (self.algorithms.all, KeyUsage::server_auth());
        let chain =
            certificate.verify_for_usage(all, &self.roots.roots, sent, now, usage, None, Some(&judge));
        match chain {
            Ok(_) => {}
            Err(_) if is_unpinned.get() => {
                let seen = Pin(hash(&certificate.subject_public_key_info()));
                return Err(TlsError::Pin { seen: seen.to_string() });
            }
            Err(error) => return Err(told(&error, end, sent, name)),
        }
        certificate.verify_is_valid_for_subject_name(name).map_err(|error| told(&error, end, sent, name))
    }

    fn has_pin(&self, path: &VerifiedPath<'_>) -> bool {
        let is_pin = |hash: [u8; 32]| self.pins.iter().any(|pin| pin.0 == hash);
        self.pins.is_empty()
            || is_pin(hash(&path.end_entity().subject_public_key_info()))
            || path.intermediate_certificates().any(|it| is_pin(hash(&it.subject_public_key_info())))
            || is_pin(hash(&key_of(path.anchor())))
    }
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// An anchor keeps what is inside of its SubjectPublicKeyInfo.
fn key_of(anchor: &TrustAnchor<'_>) -> Vec<u8> {
    let inside = anchor.subject_public_key_info.as_ref();
    let length = (inside.len() as u32).to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let head = match inside.len() {
        short @ ..0x80 => vec![0x30, short as u8],
        _ => [&[0x30, 0x80 | length.len() as u8], length].concat(),
    };
    [&head, inside].concat()
}

/// What is wrong with a certificate, in words that somebody can act on.
fn told(
    error: &webpki::Error,
    end: &CertificateDer<'_>,
    sent: &[CertificateDer<'_>],
    name: &ServerName<'_>,
) -> TlsError {
    match error {
        webpki::Error::CertExpired { not_after, .. } => TlsError::Expired { on: date(*not_after) },
        webpki::Error::CertNotValidYet { not_before, .. } => TlsError::NotYet { from: date(*not_before) },
        webpki::Error::CertNotValidForName(context) => {
            TlsError::OtherName { wanted: name.to_str().into_owned(), names: names(&context.presented) }
        }
        webpki::Error::UnknownIssuer => TlsError::UnknownCa { issuer: issuer(sent.last().unwrap_or(end)) },
        webpki::Error::CaUsedAsEndEntity => {
            TlsError::Certificate("it is that of an authority, and not of a server".to_owned())
        }
        webpki::Error::RequiredEkuNotFoundContext(_) => {
            TlsError::Certificate("it is for something else than a server".to_owned())
        }
        other => TlsError::Certificate(format!("{other:?}")),
    }
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok().and_then(|it| Timestamp::from_second(it).ok());
    seconds
        .map_or_else(|| "a day far away".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// `DnsName("a")` is how they are written there.
fn names(presented: &[String]) -> String {
    const MOST: usize = 5;
    let bare = |name: &String| {
        let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        printable(inside.unwrap_or(name).trim_matches('"'))
    };
    match presented.len() {
        0 => "no name".to_owned(),
        count => {
            let some: Vec<_> = presented.iter().take(MOST).map(bare).collect();
            format!("{}{}", some.join(", "), if count > MOST { ", …" } else { "" })
        }
    }
}

fn issuer(last: &CertificateDer<'_>) -> String {
    match Certificate::from_der(last) {
        Ok(read) => printable(&read.tbs_certificate().issuer().to_string()),
        Err(_) => "whose name cannot be read".to_owned(),
    }
}

/// Words of a stranger, for a log or a terminal.
fn printable(text: &str) -> String {
    in_line(text).chars().take(200).collect()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.verify(end_entity, intermediates, server_name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => Err(CertificateError::Other(OtherError(Arc::new(error))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
