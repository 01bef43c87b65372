//! What rules on secrets want of the providers: that nothing has a second name for which the rule does not hold. Pure.

use super::{ProviderConfig, RemoteSource};
use crate::config::{Config, ConfigError};

/// Why nobody can say whether two have the same secrets, and what would tell.
pub(super) type Blur = (&'static str, &'static str);

impl Config {
    fn is_ruled(&self) -> bool {
        self.policy.iter().any(|rule| !rule.secrets.is_empty())
    }

    /// A rule on a name of one must not be gone round by a name of another that reaches the same.
    pub(in crate::config) fn judge_places(&self) -> Result<(), ConfigError> {
        if !self.is_ruled() {
            return Ok(());
        }
        let places: Vec<_> =
            self.providers.iter().filter_map(|(name, it)| Some((name, it.place()?))).collect();
        for (name, (place, inner)) in &places {
            let around = places.iter().find(|(other_name, (other, outer))| {
                let reaches = self.providers[*other_name].names_lead_elsewhere();
                other == place && outer != inner && (reaches || inner.starts_with(outer.as_str()))
            });
            if let Some((around, _)) = around {
                let problem = format!(
                    "what `{name}` has, `{around}` has under other names: a rule on one of them would not hold for the other"
                );
                let hint = "let one reach no more than the other, or take one out";
                return Err(self.error_at(&["providers", name], problem).hint(Some(hint.to_owned())));
            }
        }
        self.judge_blurs()
    }

    /// Where nothing but their settings tells where two are, these have to tell it.
    fn judge_blurs(&self) -> Result<(), ConfigError> {
        let all: Vec<_> = self.providers.iter().collect();
        for (index, (name, kind)) in all.iter().enumerate() {
            for (other_name, other) in &all[..index] {
                if let Some((why, hint)) = kind.blurs_with(other) {
                    let problem = format!(
                        "`{name}` and `{other_name}` {why}: a rule on one of them may hold for the other, or not"
                    );
                    return Err(self.error_at(&["providers", name], problem).hint(Some(hint.to_owned())));
                }
            }
        }
        Ok(())
    }

    /// Nor by a second name at the same provider, where it would give several.
    pub(in crate::config) fn judge_names(&mut self) {
        let is_ruled = self.is_ruled();
        for provider in self.providers.values_mut() {
            if let Some(has_one_name) = provider.has_one_name_mut() {
                *has_one_name = is_ruled;
            }
        }
    }
}

impl ProviderConfig {
    /// Whether a second name of what it has is refused.
    pub(super) fn has_one_name(&self) -> bool {
        let Self::Remote(remote) = self else { return false };
        match &remote.source {
            RemoteSource::Aws(aws) => aws.has_one_name,
            RemoteSource::Gcp(gcp) => gcp.has_one_name,
            RemoteSource::Azure(azure) => azure.has_one_name,
            RemoteSource::OnePassword(connect) => connect.has_one_name,
            _ => false,
        }
    }

    fn has_one_name_mut(&mut self) -> Option<&mut bool> {
        let Self::Remote(remote) = self else { return None };
        match &mut remote.source {
            RemoteSource::Aws(aws) => Some(&mut aws.has_one_name),
            RemoteSource::Gcp(gcp) => Some(&mut gcp.has_one_name),
            RemoteSource::Azure(azure) => Some(&mut azure.has_one_name),
            RemoteSource::OnePassword(connect) => Some(&mut connect.has_one_name),
            _ => None,
        }
    }

    fn blurs_with(&self, other: &Self) -> Option<Blur> {
        let (Self::Remote(one), Self::Remote(other)) = (self, other) else { return None };
        match (&one.source, &other.source) {
            (RemoteSource::Aws(one), RemoteSource::Aws(other)) => one.blurs_with(other),
            (RemoteSource::Gcp(one), RemoteSource::Gcp(other)) => one.blurs_with(other),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    /// Nobody has to write `env` down for it to be there.
    #[test]
    fn the_environment_has_two_names_for_a_variable_also_where_only_secrets_name_it() {
        let judge = |secrets: &str| {
            let text = format!(
                "providers: {{shell: {{type: env, prefix: APP_}}}}\n{secrets}policy: [{{secrets: 'shell:DB', deny: anyone}}]\n"
            );
            Config::parse(Path::new("/c.yaml"), &text).map(drop).map_err(|it| it.to_string())
        };
        assert!(judge("secrets: {home: env:HOME}\n").unwrap_err().contains("under other names"));
        assert_eq!(judge(""), Ok(()), "the control");
    }
}
