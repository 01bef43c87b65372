//! Who an application is, signed with the key of a certificate that the authority knows it by (RFC 7523).
//! Uses `net`'s signatures.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::net::{certificate_of, ps256};
use crate::provider::ProviderError;
use crate::secret::SecretBytes;

/// In seconds: it is used at once.
const GOOD_FOR: i64 = 600;

/// `pem` has the certificate and its key; the statement is for this endpoint.
pub(super) fn signed(pem: &SecretBytes, client: &str, endpoint: &str) -> Result<SecretBytes, ProviderError> {
    let unfit = |why: &str| ProviderError::Unavailable(format!("the certificate of `auth` {why}"));
    let certificate = certificate_of(pem.expose()).ok_or_else(|| unfit("is none (PEM, with its key)"))?;
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| unfit(&format!("cannot be used: {error}")))?;
    let now = Timestamp::now().as_second();
    let print = URL_SAFE_NO_PAD.encode(Sha256::digest(&*certificate));
    let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": print});
    let claims = json!({"aud": endpoint, "iss": client, "sub": client, "jti": URL_SAFE_NO_PAD.encode(id),
        "nbf": now, "iat": now, "exp": now + GOOD_FOR});
    let part = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let text = format!("{}.{}", part(&header), part(&claims));
    let signature = ps256(pem.expose(), text.as_bytes()).map_err(|error| unfit(&format!("has {error}")))?;
    Ok(SecretBytes::new(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes()))
}
