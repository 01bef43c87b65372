//! A request signed as AWS wants it (Signature Version 4). Nothing of a secret is copied to where it is not wiped.
//! Pure.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Keys;

/// What of a request is signed: a POST to the root of a host.
pub(in crate::provider) struct ToSign<'a> {
    /// In the order of their names, which are in lower case.
    pub(in crate::provider) headers: &'a [(&'static str, &'a [u8])],
    pub(in crate::provider) body: &'a [u8],
}

/// For when and where a signature is good.
pub(in crate::provider) struct Scope<'a> {
    pub(in crate::provider) at: Timestamp,
    pub(in crate::provider) region: &'a str,
    pub(in crate::provider) service: &'a str,
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const END: &str = "aws4_request";

impl Scope<'_> {
    /// As the header `x-amz-date` has it.
    pub(in crate::provider) fn moment(&self) -> String {
        self.at.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    fn day(&self) -> String {
        self.at.to_zoned(TimeZone::UTC).strftime("%Y%m%d").to_string()
    }

    fn text(&self) -> String {
        format!("{}/{}/{}/{END}", self.day(), self.region, self.service)
    }

    fn key(&self, keys: &Keys) -> Zeroizing<[u8; 32]> {
        let mut first = Zeroizing::new(Vec::with_capacity(4 + keys.secret.len()));
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(keys.secret.expose());
        let day = self.day();
        let parts = [day.as_str(), self.region, self.service, END];
        let mut key = Zeroizing::new([0; 32]);
        for (index, part) in parts.iter().enumerate() {
            *key = if index == 0 { mac(&first, part) } else { mac(&*key, part) };
        }
        key
    }
}

impl ToSign<'_> {
    /// The header `Authorization`: for some minutes it is as good as the keys.
    pub(in crate::provider) fn authorization(&self, keys: &Keys, scope: &Scope<'_>) -> Zeroizing<String> {
        let moment = scope.moment();
        let text = format!("{ALGORITHM}\n{moment}\n{}\n{}", scope.text(), hex(&self.digest()));
        let signature = Zeroizing::new(hex(&mac(&*scope.key(keys), &text)));
        let id = String::from_utf8_lossy(keys.id.expose());
        let (scope, names) = (scope.text(), self.names());
        let parts = [
            ALGORITHM,
            " Credential=",
            &id,
            "/",
            &scope,
            ", SignedHeaders=",
            &names,
            ", Signature=",
            &signature,
        ];
        Zeroizing::new(parts.concat())
    }

    fn names(&self) -> String {
        self.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
    }

    /// Of the canonical request: one of the headers may be a session's token.
    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(b"POST\n/\n\n");
        for (name, value) in self.headers {
            for part in [name.as_bytes(), b":", value.trim_ascii(), b"\n"] {
                digest.update(part);
            }
        }
        digest.update(format!("\n{}\n{}", self.names(), hex(&Sha256::digest(self.body).into())));
        digest.finalize().into()
    }
}

fn mac(key: &[u8], text: &str) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any length is a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretBytes;

    /// As botocore 1.43 signs it (`tests/vault/aws.rs` asks it anew, with the keys of the day).
    #[test]
    fn it_is_the_one_that_botocore_makes() {
        let keys = Keys {
            id: SecretBytes::copy_of(b"AKIDEXAMPLE"),
            secret: SecretBytes::copy_of(b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session: None,
        };
        let scope =
            Scope { at: "2015-08-30T12:36:00Z".parse().unwrap(), region: "us-east-1", service: "sts" };
        assert_eq!(scope.moment(), "20150830T123600Z");
        let moment = scope.moment();
        let headers: [(&'static str, &[u8]); 3] = [
            ("content-type", b"application/x-www-form-urlencoded; charset=utf-8"),
            ("host", b"sts.amazonaws.com"),
            ("x-amz-date", moment.as_bytes()),
        ];
        let body = b"Action=GetCallerIdentity&Version=2011-06-15";
        let signed = ToSign { headers: &headers, body }.authorization(&keys, &scope);
        assert_eq!(*signed, SIGNED);
        let other = Scope { region: "eu-central-1", ..scope };
        assert_ne!(*ToSign { headers: &headers, body }.authorization(&keys, &other), SIGNED, "the control");
    }

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/sts/aws4_request, \
        SignedHeaders=content-type;host;x-amz-date, \
        Signature=6fb20d31f734d876c5682fdd2678d194cf68b862755f83b7ba1373c0874be25c";
}
