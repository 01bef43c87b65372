//! What a key vault says to who comes without a token: whom the token is to be for. Believed only if that is the
//! service which this host belongs to: any other token is nothing that this host should have. Pure.

/// Whom a token is to be for, as `WWW-Authenticate` says it: `https://vault.azure.net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource(String);

/// What the scope of a resource ends with.
const ALL: &str = "/.default";

impl Resource {
    /// `None`: the header asks for something else than a token of this kind.
    pub(super) fn of_header(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        // Nothing that is of interest has a comma in it.
        let pairs = rest.split(',').filter_map(|pair| pair.split_once('='));
        let pairs: Vec<_> = pairs.map(|(name, it)| (name.trim(), it.trim().trim_matches('"'))).collect();
        let of = |wanted: &str| pairs.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let (_, text) = of("resource").or_else(|| of("scope"))?;
        let text = text.strip_suffix(ALL).unwrap_or(text).trim_end_matches('/');
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        let host = text.strip_prefix("https://")?;
        (!host.is_empty() && host.bytes().all(is_plain)).then(|| Self(text.to_ascii_lowercase()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn scope(&self) -> String {
        format!("{}{ALL}", self.0)
    }

    /// Whether a host of this name is one of the service.
    pub(super) fn fits(&self, host: &str) -> bool {
        let service = self.0.trim_start_matches("https://");
        let host = host.to_ascii_lowercase();
        host == service || host.strip_suffix(service).is_some_and(|rest| rest.ends_with('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_is_found_in_the_forms_that_there_are() {
        for header in [
            "Bearer authorization=\"https://login.example/t\", resource=\"https://vault.azure.net\"",
            "bearer resource=https://Vault.azure.net/, authorization=x",
            "Bearer authorization=\"x\",scope=\"https://vault.azure.net/.default\"",
            "Bearer error=\"invalid_token\", resource=\"https://vault.azure.net\"",
        ] {
            let found = Resource::of_header(header).unwrap();
            assert_eq!(found.as_str(), "https://vault.azure.net", "{header}");
            assert_eq!(found.scope(), "https://vault.azure.net/.default");
        }
        for header in [
            "",
            "Bearer",
            "Basic realm=\"x\"",
            "Bearer error=\"invalid_token\"",
            "Bearer resource=\"http://vault.azure.net\"",
            "Bearer resource=\"https://vault.azure.net@evil\"",
            "Bearer resource=\"https://\"",
        ] {
            assert_eq!(Resource::of_header(header), None, "{header}");
        }
    }

    #[test]
    fn a_host_is_of_the_service_or_gets_no_token() {
        let resource = Resource::of_header("Bearer resource=\"https://vault.azure.net\"").unwrap();
        for host in ["vault.azure.net", "app.vault.azure.net", "App.Vault.Azure.Net"] {
            assert!(resource.fits(host), "{host}");
        }
        for host in ["evilvault.azure.net", "vault.azure.net.evil.example", "azure.net", "evil.example", ""] {
            assert!(!resource.fits(host), "{host}");
        }
    }
}
