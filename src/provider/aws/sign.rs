//! A request signed as AWS wants it (Signature Version 4), by AWS' own library. Nothing of it gets into a log. Pure.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;

use crate::net::NetErrorKind;
use crate::secret::SecretBytes;

/// What of a request is signed: a POST to the root of a server.
pub(in crate::provider) struct ToSign<'a> {
    pub(in crate::provider) url: &'a str,
    /// Beside the host's, which the URL says.
    pub(in crate::provider) headers: &'a [(&'static str, &'a str)],
    pub(in crate::provider) body: &'a [u8],
}

/// For when and where a signature is good.
pub(in crate::provider) struct Scope<'a> {
    pub(in crate::provider) at: SystemTime,
    pub(in crate::provider) region: &'a str,
    pub(in crate::provider) service: &'a str,
}

impl ToSign<'_> {
    /// The headers to be added: the moment, the signature, and a session's token. For some minutes they are as good as
    /// the keys.
    pub(in crate::provider) fn signed(
        &self,
        keys: &Credentials,
        scope: &Scope<'_>,
    ) -> Result<Vec<(&'static str, SecretBytes)>, NetErrorKind> {
        // It would tell what it signs to who listens to all.
        let quiet = tracing::subscriber::NoSubscriber::default();
        let signed = tracing::subscriber::with_default(quiet, || self.headers_of(keys, scope));
        // What it says might quote what it was given.
        signed
            .ok_or_else(|| NetErrorKind::Protocol("the request cannot be signed with these keys".to_owned()))
    }

    fn headers_of(&self, keys: &Credentials, scope: &Scope<'_>) -> Option<Vec<(&'static str, SecretBytes)>> {
        let identity = keys.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(scope.region)
            .name(scope.service)
            .time(scope.at)
            .settings(SigningSettings::default());
        let params = params.build().ok()?.into();
        let body = SignableBody::Bytes(self.body);
        let request = SignableRequest::new("POST", self.url, self.headers.iter().copied(), body).ok()?;
        let (headers, _) = sign(request, &params).ok()?.into_parts().0.into_parts();
        let secret = |text: &str| SecretBytes::copy_of(text.as_bytes());
        Some(headers.iter().map(|header| (header.name(), secret(header.value()))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As botocore 1.43 signs it (`tests/vault` asks it anew, with the keys of the day).
    #[test]
    fn it_is_the_one_that_botocore_makes() {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let keys = Credentials::new("AKIDEXAMPLE", secret, None, None, "test");
        let at: jiff::Timestamp = "2015-08-30T12:36:00Z".parse().unwrap();
        let scope = Scope { at: at.into(), region: "us-east-1", service: "sts" };
        let to_sign = ToSign {
            url: "https://sts.amazonaws.com/",
            headers: &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")],
            body: b"Action=GetCallerIdentity&Version=2011-06-15",
        };
        let header = |scope: &Scope<'_>, name: &str| {
            let headers = to_sign.signed(&keys, scope).unwrap();
            let found = headers.into_iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| String::from_utf8(value.expose().to_vec()).unwrap())
        };
        assert_eq!(header(&scope, "x-amz-date").as_deref(), Some("20150830T123600Z"));
        assert_eq!(header(&scope, "authorization").as_deref(), Some(SIGNED));
        assert_eq!(header(&scope, "x-amz-security-token"), None);
        let other = Scope { region: "eu-central-1", ..scope };
        assert_ne!(header(&other, "authorization").as_deref(), Some(SIGNED), "the control");
    }

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/sts/aws4_request, \
        SignedHeaders=content-type;host;x-amz-date, \
        Signature=6fb20d31f734d876c5682fdd2678d194cf68b862755f83b7ba1373c0874be25c";
}
