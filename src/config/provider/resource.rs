//! Whom a token of Azure is for, as a config and a key vault say it: `https://vault.azure.net`. Pure.

use core::fmt;

use crate::config::transport::Address;

/// A cloud of one's own may have a port or a path in it: such a one is the domain of nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureResource(Address);

/// What the scope of a resource ends with.
const ALL: &str = "/.default";

impl AzureResource {
    /// `None`: it is no https:// address.
    pub fn read(text: &str) -> Option<Self> {
        let address = Address::read(text.strip_suffix(ALL).unwrap_or(text)).ok()?;
        address.is_tls.then_some(Self(address))
    }

    pub fn scope(&self) -> String {
        format!("{self}{ALL}")
    }

    /// Whether a host of this name is it, or below it.
    pub fn has(&self, host: &str) -> bool {
        let Address { host: domain, port, prefix, .. } = &self.0;
        let below = host.strip_suffix(domain.as_str());
        *port == 443 && prefix.is_empty() && below.is_some_and(|it| it.is_empty() || it.ends_with('.'))
    }
}

impl fmt::Display for AzureResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_one_form_however_it_is_written() {
        for (text, plain) in [
            ("https://vault.azure.net", "https://vault.azure.net"),
            ("https://Vault.Azure.net/", "https://vault.azure.net"),
            ("https://vault.azure.net/.default", "https://vault.azure.net"),
            ("https://localhost:8443", "https://localhost:8443"),
            ("https://vault.Example.com/Tenant", "https://vault.example.com/Tenant"),
        ] {
            let resource = AzureResource::read(text).unwrap();
            assert_eq!((resource.to_string(), resource.scope()), (plain.into(), format!("{plain}/.default")));
        }
        for text in
            ["", "https://", "https:///x", "http://vault.azure.net", "https://v@evil", "vault.azure.net"]
        {
            assert_eq!(AzureResource::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_host_is_below_it_or_is_none_of_its_own() {
        let resource = AzureResource::read("https://vault.azure.net").unwrap();
        for host in ["vault.azure.net", "app.vault.azure.net"] {
            assert!(resource.has(host), "{host}");
        }
        for host in ["evilvault.azure.net", "vault.azure.net.evil.example", "azure.net", "evil.example", ""] {
            assert!(!resource.has(host), "{host}");
        }
        for own in ["https://vault.azure.net/tenant", "https://vault.azure.net:8443"] {
            assert!(!AzureResource::read(own).unwrap().has("app.vault.azure.net"), "{own}");
        }
    }
}
