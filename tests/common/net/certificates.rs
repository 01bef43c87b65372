//! Certificates for tests: an authority, and what it signs, good or bad in one way.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PublicKeyData, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, crypto::aws_lc_rs, version};
use sha2::{Digest, Sha256};

/// Signs. Known to nobody until its file is named.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    /// What is between it and the authority that is known.
    above: Vec<CertificateDer<'static>>,
    pub pem: String,
    pub pin: String,
}

/// A certificate with its key.
pub struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    pub pem: String,
    pub pin: String,
}

fn pin(key: &KeyPair) -> String {
    format!("sha256/{}", STANDARD.encode(Sha256::digest(key.subject_public_key_info())))
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let (params, key) = (authority_params(name), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap();
        let (pem, pin, der) = (certificate.pem(), pin(&key), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), der, above: Vec::new(), pem, pin }
    }

    /// An authority below this one.
    pub fn below(&self, name: &str) -> Self {
        let (params, key) = (authority_params(name), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (pem, pin, der) = (certificate.pem(), pin(&key), certificate.der().clone());
        let above = [std::slice::from_ref(&der), &*self.above].concat();
        Self { issuer: Issuer::new(params, key), der, above, pem, pin }
    }

    pub fn file(&self, folder: &Path) -> PathBuf {
        write(folder, &format!("{}.pem", &self.pin[7..].replace('/', "_")), &self.pem)
    }

    fn sign(&self, params: CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = [std::slice::from_ref(certificate.der()), &*self.above].concat();
        Leaf { chain, pem: certificate.pem(), pin: pin(&key), key }
    }

    /// Names are hosts or addresses.
    pub fn server(&self, names: &[&str]) -> Leaf {
        self.sign(server_params(names))
    }

    pub fn expired(&self, names: &[&str]) -> Leaf {
        let mut params = server_params(names);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 2, 3));
        self.sign(params)
    }

    pub fn not_yet(&self, names: &[&str]) -> Leaf {
        let mut params = server_params(names);
        (params.not_before, params.not_after) = (date_time_ymd(2090, 1, 2), date_time_ymd(2091, 1, 1));
        self.sign(params)
    }

    pub fn client(&self, name: &str) -> Leaf {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        self.sign(params)
    }
}

fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    params
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

impl Leaf {
    /// Sends this one, too, though it has no part in the chain.
    pub fn with_stranger(mut self, stranger: &Authority) -> Self {
        self.chain.push(stranger.der.clone());
        self
    }

    /// The files of the certificate (with its chain) and of its key.
    pub fn files(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = write(folder, &format!("{name}.key"), &self.key.serialize_pem());
        (write(folder, &format!("{name}.pem"), &self.pem), key)
    }

    /// A server with it.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.configured(None, &[&version::TLS13, &version::TLS12])
    }

    pub fn config_of(&self, version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
        self.configured(None, &[version])
    }

    /// A server that wants a certificate of this authority from whoever comes.
    pub fn config_asking(&self, clients: &Authority) -> Arc<ServerConfig> {
        self.configured(Some(clients), &[&version::TLS13, &version::TLS12])
    }

    fn configured(
        &self,
        clients: Option<&Authority>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let crypto = Arc::new(aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let config =
            ServerConfig::builder_with_provider(crypto.clone()).with_protocol_versions(versions).unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.der.clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        Arc::new(config.with_single_cert(self.chain.clone(), key).unwrap())
    }
}
