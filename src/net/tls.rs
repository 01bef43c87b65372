//! Whom we believe to be the server, and who we are: made of the system's authorities and the files of the
//! config, read before the first connection and again when one of them changes. Uses rustls and `verify`.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore, SignatureScheme, version};
use zeroize::Zeroizing;

use super::verify::Verifier;
use crate::config::{Identity, Tls, TlsVersion};
use crate::secret::SecretBytes;

/// Why there is no TLS with a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    #[error(
        "its certificate has expired on {on}: it needs a new one (or the clock of this machine is wrong)"
    )]
    Expired { on: String },
    #[error("its certificate is not valid before {from}: is the clock of this machine right?")]
    NotYet { from: String },
    #[error("its certificate is for {names}, not for {wanted}: check `address`, or say `tls.server_name`")]
    OtherName { wanted: String, names: String },
    #[error(
        "its certificate is from an authority that is not known here ({issuer}): \
         name the file with that authority's certificate as `tls.ca`"
    )]
    UnknownCa { issuer: String },
    #[error("none of `tls.pins` is in the chain of its certificate, whose own key is {seen}")]
    Pin { seen: String },
    #[error("its certificate cannot be used ({0})")]
    Certificate(String),
    #[error("it speaks no version of TLS that is wanted here (`tls.min`: {0})")]
    Version(&'static str),
    #[error("it asks for a certificate of ours: name the files as `tls.cert` and `tls.key`")]
    AsksForOurs,
    #[error("it does not take our certificate ({0}): check `tls.cert`")]
    RefusesOurs(String),
    #[error("it does not speak TLS: is it http://, or another port?")]
    NotTls,
    /// What is wrong here, not there.
    #[error("{0}")]
    Files(String),
    #[error("the TLS handshake has failed ({0})")]
    Other(String),
}

impl TlsError {
    pub(super) fn of(error: &rustls::Error) -> Self {
        use AlertDescription as Alert;
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(inner)) => {
                let ours = inner.0.downcast_ref::<Self>().cloned();
                ours.unwrap_or_else(|| Self::Certificate(inner.to_string()))
            }
            rustls::Error::InvalidCertificate(error) => Self::Certificate(error.to_string()),
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(Alert::ProtocolVersion | Alert::InsufficientSecurity) => {
                Self::Version("")
            }
            rustls::Error::AlertReceived(Alert::CertificateRequired) => Self::AsksForOurs,
            rustls::Error::AlertReceived(
                alert @ (Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied),
            ) => Self::RefusesOurs(format!("{alert:?}")),
            other => Self::Other(other.to_string()),
        }
    }

    /// Says which version was wanted, and that it was ours that was missing.
    pub(super) fn under(self, trust: &Trust) -> Self {
        match self {
            Self::Version(_) => Self::Version(trust.least().name()),
            Self::RefusesOurs(_) if !trust.has_identity() => Self::AsksForOurs,
            other => other,
        }
    }
}

/// What was handed over and lies in no file that is named in the config.
#[derive(Default)]
pub struct Given {
    /// The only authorities that are believed (PEM), if there are some.
    pub ca: Option<Vec<u8>>,
    /// What the server knows us by: a certificate with its chain, and its key (PEM).
    pub identity: Option<(Vec<u8>, SecretBytes)>,
}

/// The files of one provider, and what they came to.
pub(super) struct Trust {
    tls: Tls,
    given: Given,
    is_asked: Arc<AtomicBool>,
    /// Held while files are read: who comes meanwhile needs them, too.
    loaded: Mutex<Option<Loaded>>,
}

struct Loaded {
    config: Arc<ClientConfig>,
    prints: Vec<Option<Print>>,
}

/// Tells a file from the one that was there before.
type Print = (u64, u64, i64, i64, u64);

/// What to make a connection with.
pub(super) struct Offer {
    pub(super) config: Arc<ClientConfig>,
    /// Connections from before were made with other files.
    pub(super) is_new: bool,
}

impl Trust {
    pub(super) fn new(tls: Tls, given: Given) -> Self {
        Self { tls, given, is_asked: Arc::default(), loaded: Mutex::default() }
    }

    /// Blocks while it reads. Files that cannot be used leave those before in force: a certificate and its
    /// key are not replaced in one moment.
    pub(super) fn offer(&self) -> Result<Offer, TlsError> {
        let mut loaded = self.loaded();
        let prints: Vec<_> = self.tls.files().map(print_of).collect();
        if let Some(known) = loaded.as_ref().filter(|known| known.prints == prints) {
            return Ok(Offer { config: known.config.clone(), is_new: false });
        }
        match (load(&self.tls, &self.given), loaded.as_ref()) {
            (Ok(mut config), _) => {
                let (own, is_asked) = (config.client_auth_cert_resolver, self.is_asked.clone());
                config.client_auth_cert_resolver = Arc::new(Asked { own, is_asked });
                let config = Arc::new(config);
                *loaded = Some(Loaded { config: config.clone(), prints });
                Ok(Offer { config, is_new: true })
            }
            (Err(error), Some(known)) => {
                tracing::warn!(%error, "the new files of TLS cannot be used: those before stay in force");
                Ok(Offer { config: known.config.clone(), is_new: false })
            }
            (Err(error), None) => Err(error),
        }
    }

    pub(super) fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.tls.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned())
            .map_err(|_| TlsError::Files(format!("`{name}` is no name that a certificate can be for")))
    }

    /// What it means that the server has closed a connection before it has said anything: it may have had
    /// no time to say that it wants another certificate of ours.
    pub(super) fn closed(&self) -> Option<TlsError> {
        let refused = || match self.has_identity() {
            true => TlsError::RefusesOurs("it closes the connection".to_owned()),
            false => TlsError::AsksForOurs,
        };
        self.is_asked.load(Ordering::Relaxed).then(refused)
    }

    pub(super) fn least(&self) -> TlsVersion {
        self.tls.min
    }

    pub(super) fn has_identity(&self) -> bool {
        self.tls.identity.is_some() || self.given.identity.is_some()
    }

    fn loaded(&self) -> MutexGuard<'_, Option<Loaded>> {
        self.loaded.lock().expect("nothing panics while it holds this")
    }
}

/// Notes that the server has asked who we are.
#[derive(Debug)]
struct Asked {
    own: Arc<dyn ResolvesClientCert>,
    is_asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.is_asked.store(true, Ordering::Relaxed);
        self.own.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.own.has_certs()
    }
}

impl Tls {
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let identity = self.identity.iter().flat_map(|it| [&it.cert, &it.key]);
        self.ca.iter().chain(identity)
    }
}

fn print_of(path: &PathBuf) -> Option<Print> {
    let it = fs::metadata(path).ok()?;
    Some((it.dev(), it.ino(), it.mtime(), it.mtime_nsec(), it.size()))
}

fn load(tls: &Tls, given: &Given) -> Result<ClientConfig, TlsError> {
    let crypto = Arc::new(aws_lc_rs::default_provider());
    let versions = match tls.min {
        TlsVersion::Tls12 => vec![&version::TLS13, &version::TLS12],
        TlsVersion::Tls13 => vec![&version::TLS13],
    };
    let roots = match &given.ca {
        Some(text) => only(text)?,
        None => roots(tls.ca.as_deref())?,
    };
    let verifier = Verifier::new(roots, tls.pins.clone(), &crypto);
    let config = ClientConfig::builder_with_provider(crypto.clone())
        .with_protocol_versions(&versions)
        .map_err(|error| TlsError::Other(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let own = match (&given.identity, &tls.identity) {
        (Some((chain, key)), _) => Some(handed(chain, key, &crypto)?),
        (None, Some(identity)) => Some(own(identity, &crypto)?),
        (None, None) => None,
    };
    let Some((chain, key)) = own else { return Ok(config.with_no_client_auth()) };
    let whose =
        if given.identity.is_some() { "our certificate and its key" } else { "`tls.cert` and `tls.key`" };
    let unfit = |error| TlsError::Files(format!("{whose} cannot be used: {error}"));
    config.with_client_auth_cert(chain, key).map_err(unfit)
}

/// The authorities of this text, and no others.
fn only(text: &[u8]) -> Result<RootCertStore, TlsError> {
    let unfit = || TlsError::Files("the authority's certificate that was given is none (PEM)".to_owned());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        roots.add(certificate.map_err(|_| unfit())?).map_err(|_| unfit())?;
    }
    if roots.is_empty() { Err(unfit()) } else { Ok(roots) }
}

fn handed(chain: &[u8], key: &SecretBytes, crypto: &CryptoProvider) -> Result<Own, TlsError> {
    let unfit = |what: &str| TlsError::Files(format!("our {what} that was given is none (PEM)"));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| unfit("certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(key.expose()).map_err(|_| unfit("private key"))?;
    crypto.key_provider.load_private_key(key.clone_key()).map_err(|_| unfit("private key"))?;
    Ok((chain, key))
}

/// The authorities of the system, and those of the file. Of the system's, what cannot be read is none.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca {
        let certificates = certificates(file, "tls.ca")?;
        for certificate in certificates {
            let unfit =
                |error| unusable("tls.ca", file, format!("holds no certificate of an authority: {error}"));
            roots.add(certificate).map_err(unfit)?;
        }
    }
    match roots.is_empty() {
        true => Err(TlsError::Files(
            "this machine knows no authorities: install its ca-certificates, or name a file as `tls.ca`"
                .to_owned(),
        )),
        false => Ok(roots),
    }
}

/// A certificate with its chain, and its key.
type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn own(identity: &Identity, crypto: &CryptoProvider) -> Result<Own, TlsError> {
    let chain = certificates(&identity.cert, "tls.cert")?;
    let text = Zeroizing::new(read(&identity.key, "tls.key")?);
    let unfit =
        || unusable("tls.key", &identity.key, "holds no private key (PEM, without a passphrase)".to_owned());
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| unfit())?;
    crypto.key_provider.load_private_key(key.clone_key()).map_err(|_| unfit())?;
    Ok((chain, key))
}

fn certificates(file: &Path, setting: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(file, setting)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(unusable(setting, file, "holds no certificate (PEM)".to_owned())),
    }
}

fn read(file: &Path, setting: &str) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|error: io::Error| unusable(setting, file, format!("cannot be read: {error}")))
}

fn unusable(setting: &str, file: &Path, why: String) -> TlsError {
    TlsError::Files(format!("`{setting}` ({}) {why}", file.display()))
}
