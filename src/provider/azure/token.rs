//! A token of Azure, and for how long it is good. Uses `net`'s documents.

use std::time::Duration;

use jiff::Timestamp;

use crate::net::{Json, JsonError};
use crate::secret::SecretBytes;

pub(in crate::provider) struct Token {
    pub(in crate::provider) secret: SecretBytes,
    #[cfg_attr(not(feature = "azure"), allow(dead_code, reason = "a login of Vault needs it once"))]
    pub(in crate::provider) good_for: Duration,
}

/// Of one that does not say.
const UNKNOWN: Duration = Duration::from_secs(10 * 60);

impl Token {
    pub(in crate::provider) fn new(secret: SecretBytes, good_for: Option<Duration>) -> Self {
        Self { secret, good_for: good_for.unwrap_or(UNKNOWN) }
    }

    /// As the endpoints write it: numbers may be texts.
    pub(in crate::provider) fn read(answer: Json<'_>) -> Result<Self, JsonError> {
        let secret = answer.at(&["access_token"])?.secret()?;
        let good_for = match number(answer, "expires_in")? {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => number(answer, "expires_on")?.map(until),
        };
        Ok(Self::new(secret, good_for))
    }

    /// As the program `az` prints it.
    #[cfg(feature = "azure")]
    pub(in crate::provider) fn printed(answer: Json<'_>) -> Result<Self, JsonError> {
        let secret = answer.at(&["accessToken"])?.secret()?;
        Ok(Self::new(secret, number(answer, "expires_on")?.map(until)))
    }
}

/// A moment of the clock.
fn until(seconds: u64) -> Duration {
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
    Duration::from_secs(seconds.saturating_sub(now))
}

fn number(answer: Json<'_>, name: &str) -> Result<Option<u64>, JsonError> {
    let Some(json) = answer.get(name)? else { return Ok(None) };
    Ok(json.whole().ok().or_else(|| json.text().ok()?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(rest: &str) -> Token {
        let text = format!("{{\"access_token\": \"t\"{rest}}}");
        Token::read(Json::read(text.as_bytes()).unwrap()).ok().unwrap()
    }

    #[test]
    fn it_is_good_for_as_long_as_it_says_in_each_of_the_ways() {
        let soon = Timestamp::now().as_second() + 3600;
        for rest in [
            ", \"expires_in\": 3600".to_owned(),
            ", \"expires_in\": \"3599\"".to_owned(),
            format!(", \"expires_on\": \"{soon}\""),
            format!(", \"expires_on\": {soon}"),
        ] {
            let token = token(&rest);
            assert!((3590..=3600).contains(&token.good_for.as_secs()), "{rest}: {:?}", token.good_for);
        }
        assert_eq!(token("").good_for, UNKNOWN);
        assert_eq!(token(", \"expires_on\": \"11/23/2026 5:00:00 PM\"").good_for, UNKNOWN);
        for over in [", \"expires_in\": 0", ", \"expires_on\": 5"] {
            assert!(token(over).good_for.is_zero());
        }
    }
}
