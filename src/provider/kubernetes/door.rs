//! A way into a cluster that is open: a client that believes whom it should, and the tokens by which we are somebody.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::login::Login;
use super::super::{OwnSecret, Provider, ProviderError};
use super::plan::{Plan, Who};
use super::plugin::{Plugin, Told};
use crate::net::Client;
use crate::secret::SecretBytes;

pub(super) struct Door {
    pub(super) client: Client,
    /// Of names that say none.
    pub(super) namespace: String,
    /// Counts the ways in: names may mean something else by another one.
    pub(super) number: u64,
    tokens: Tokens,
}

enum Tokens {
    None,
    Fixed(Arc<SecretBytes>),
    /// Read each time: the kubelet writes a new one before the old one ends.
    Read(OwnSecret),
    Plugin(Arc<Plugin>, Login<Token>),
}

/// What is sent along.
pub(super) type Token = Arc<SecretBytes>;

const DEFAULT: &str = "default";
/// Of a token that says no end.
const UNTOLD: Duration = Duration::from_secs(12 * 3600);

impl Door {
    /// `namespace`: the one of the config. `store` is where its own secrets may be.
    pub(super) fn of(
        plan: Plan,
        namespace: Option<String>,
        number: u64,
        timeout: Duration,
        store: Option<Arc<dyn Provider>>,
    ) -> Self {
        let tokens = match plan.who {
            Who::Nobody => Tokens::None,
            Who::Token(token) => Tokens::Fixed(Arc::new(token)),
            Who::Source(source) => Tokens::Read(OwnSecret::new(source, store)),
            Who::Plugin(plugin) => Tokens::Plugin(Arc::new(plugin), Login::default()),
        };
        let namespace = namespace.or(plan.namespace).unwrap_or_else(|| DEFAULT.to_owned());
        Self { client: Client::given(plan.transport, plan.given, timeout), namespace, number, tokens }
    }

    /// `void`: that one was refused; the same one is not given again by who can get another one.
    pub(super) async fn token(&self, void: Option<&Token>) -> Result<Option<Token>, ProviderError> {
        match &self.tokens {
            Tokens::None => Ok(None),
            Tokens::Fixed(token) => Ok(Some(token.clone())),
            Tokens::Read(own) => Ok(Some(Arc::new(own.read().await?))),
            Tokens::Plugin(plugin, login) => {
                let run = || {
                    let plugin = plugin.clone();
                    async move { Ok(lent(plugin.run().await?)) }
                };
                let pass = login.pass(run).await?;
                if !void.is_some_and(|void| pass.same_as(void.expose())) {
                    return Ok(Some((**pass).clone()));
                }
                login.refuse(&pass, || {
                    ProviderError::Denied(format!("{} refuses the token of `{}`", self.who(), plugin.command))
                });
                Ok(Some((**login.pass(run).await?).clone()))
            }
        }
    }

    pub(super) fn who(&self) -> String {
        self.client.address().authority()
    }
}

/// With the time that it has left.
fn lent(told: Told) -> (Token, Duration) {
    let left =
        |until: Timestamp| Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
    (Arc::new(told.token), told.until.map_or(UNTOLD, left))
}
