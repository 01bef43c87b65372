//! Azure: a Key Vault as a provider (`type: azure-kv`), and who a machine is there (`machine`). Uses `net`.

#[cfg(feature = "azure")]
mod key_vault;
mod machine;
mod token;

#[cfg(feature = "azure")]
pub use key_vault::AzureProvider;
pub(super) use machine::Machine;
#[cfg(feature = "azure")]
pub(super) use token::Token;
