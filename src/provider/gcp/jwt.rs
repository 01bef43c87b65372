//! A token that a service account signs for itself: no other server is asked, and the key is sent to nobody. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;
use zeroize::Zeroizing;

use crate::net::{NoRsaKey, rs256};
use crate::secret::SecretBytes;

/// How long it is good, in seconds: the longest that Google takes.
pub(super) const LIFE: i64 = 3600;
/// So much may our clock be ahead of theirs.
const SKEW: i64 = 10;

pub(super) fn signed(
    email: &str,
    key_id: &str,
    key: &SecretBytes,
    scope: &str,
    now: Timestamp,
) -> Result<SecretBytes, NoRsaKey> {
    let begin = now.as_second() - SKEW;
    let head = json!({"alg": "RS256", "typ": "JWT", "kid": key_id});
    let claims = json!({"iss": email, "sub": email, "scope": scope, "iat": begin, "exp": begin + LIFE});
    let part = |it: serde_json::Value| URL_SAFE_NO_PAD.encode(it.to_string());
    let said = format!("{}.{}", part(head), part(claims));
    // Without it, what is said is nobody's word.
    let signature = Zeroizing::new(rs256(key.expose(), said.as_bytes())?);
    let signature = Zeroizing::new(URL_SAFE_NO_PAD.encode(&*signature));
    Ok(SecretBytes::new([said.as_bytes(), b".", signature.as_bytes()].concat()))
}
