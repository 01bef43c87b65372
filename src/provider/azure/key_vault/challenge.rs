//! What a key vault says to who comes without a token, or with one that is void: whom the token is to be for. Pure.

use crate::config::AzureResource;

/// As a `WWW-Authenticate` says it. `None`: it asks for something else than a token of this kind.
pub(super) fn wanted(header: &str) -> Option<AzureResource> {
    let (scheme, rest) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    // Nothing that is of interest has a comma in it.
    let pairs = rest.split(',').filter_map(|pair| pair.split_once('='));
    let pairs: Vec<_> = pairs.map(|(name, it)| (name.trim(), it.trim().trim_matches('"'))).collect();
    let of = |wanted: &str| pairs.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let (_, text) = of("resource").or_else(|| of("scope"))?;
    AzureResource::read(text)
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
            "Bearer authorization=\"x\", scope=\"https://other.example/.default\", resource=\"https://vault.azure.net\"",
            "Bearer error=\"invalid_token\", resource=\"https://vault.azure.net\"",
        ] {
            let found = wanted(header).unwrap();
            assert_eq!(found.to_string(), "https://vault.azure.net", "{header}");
        }
        for header in [
            "",
            "Bearer",
            "Basic realm=\"x\"",
            "Bearer error=\"invalid_token\"",
            "Bearer resource=\"http://vault.azure.net\"",
        ] {
            assert_eq!(wanted(header), None, "{header}");
        }
    }
}
