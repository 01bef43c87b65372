//! A token of whoever has logged in with `az`, as that program prints it. Uses `sys`' programs.

use std::process::Command;

use crate::config::AzureResource;
use crate::net::Json;
use crate::provider::ProviderError;
use crate::provider::azure::Token;
use crate::provider::exec::bare;
use crate::sys::leftover;
use crate::sys::program::{self, Ended};

/// The most that it may print.
const LARGEST: usize = 64 << 10;
/// What it finds its logins by.
const FOLDER: &str = "AZURE_CONFIG_DIR";

pub(super) async fn token(tenant: Option<&str>, resource: &AzureResource) -> Result<Token, ProviderError> {
    let mut az = command(tenant, resource);
    let failed = |how: &str| ProviderError::Unavailable(format!("`az account get-access-token` {how}"));
    match program::run(&mut az, LARGEST).await {
        Err(error) => Err(failed(&format!(
            "cannot be run ({error}), and nothing else says who we are: name it as `auth`"
        ))),
        Ok(Ended::TooLarge) => Err(failed("prints too much")),
        Ok(Ended::With(status, printed)) if status.success() => leftover::wiped(|| {
            let token = Json::read(&printed).and_then(Token::printed);
            token.map_err(|_| failed("prints no token"))
        }),
        Ok(Ended::With(..)) => Err(failed("fails: has this user logged in with `az login`?")),
    }
}

fn command(tenant: Option<&str>, resource: &AzureResource) -> Command {
    let mut az = bare("az");
    az.args(["account", "get-access-token", "--output", "json", "--resource", &resource.to_string()]);
    az.args(tenant.into_iter().flat_map(|tenant| ["--tenant", tenant]));
    az.envs(std::env::var_os(FOLDER).map(|folder| (FOLDER, folder)));
    az
}
