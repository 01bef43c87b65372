//! Login of a machine of Azure: a token of it, and where it stands. Uses `azure` and `api`.

use super::api::{Ask, Member};
use crate::config;
use crate::net::Route;
use crate::provider::ProviderError;
use crate::provider::azure::Machine;
use crate::secret::SecretBytes;

pub(super) struct Azure {
    settings: config::Azure,
    machine: Machine,
}

impl Azure {
    pub(super) fn new(settings: config::Azure) -> Self {
        Self { machine: Machine::new(settings.metadata.clone()), settings }
    }

    pub(super) async fn ask(&self, route: Route) -> Result<Ask, ProviderError> {
        let config::Azure { role, resource, client_id, .. } = &self.settings;
        let jwt = self.machine.token(resource, client_id.as_deref()).await?.secret;
        let instance = self.machine.instance().await?;
        // A machine may be told another token each time. In one line: none of it is a secret.
        let as_whom =
            format!("a machine as {role} {} for {resource}", client_id.as_deref().unwrap_or_default());
        let ask = Ask::put(route)
            .standing_for(SecretBytes::copy_of(as_whom.as_bytes()))
            .with("jwt", Member::Secret(jwt))
            .with("subscription_id", Member::Text(instance.subscription))
            .with("resource_group_name", Member::Text(instance.group))
            .with("vm_name", Member::Text(instance.name));
        let scale_set = instance.scale_set.into_iter();
        let ask = scale_set.fold(ask, |ask, name| ask.with("vmss_name", Member::Text(name)));
        Ok(with_role(ask, Some(role)))
    }
}

pub(super) fn with_role(ask: Ask, role: Option<&str>) -> Ask {
    role.into_iter().fold(ask, |ask, role| ask.with("role", Member::Text(role.to_owned())))
}
