//! Listens to the changes of one object, from one connection to the next: goes on where the last one ended, and where
//! that is not known any more, looks what has become of it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::Shared;
use super::access::Door;
use super::cluster::Refusal;
use super::heard::Ear;
use super::object::{strange, version};
use super::watch::{Said, Word};
use crate::net::{Json, Lines, NetErrorKind};
use crate::provider::ProviderError;
use crate::secret::SecretBytes;
use crate::sys::leftover;

/// How long the server is asked to keep one connection, and how much longer it is waited for: one that has died
/// without a word is noticed then.
const LIFE: Duration = Duration::from_secs(290);
const GRACE: Duration = Duration::from_secs(30);
/// How long a first line is waited for: one that says that it cannot begin, and one that says how it stands.
const AT_ONCE: Duration = Duration::from_millis(50);
const FIRST: Duration = Duration::from_secs(2);
/// What is deleted may be made anew at once: that is one change.
const ANEW: Duration = Duration::from_secs(2);
/// Who may not watch may do so later: twice as long after each time. A server that has just been started knows
/// nobody's rights for a moment.
const NO_RIGHT: Duration = Duration::from_secs(1);
const NO_RIGHT_MOST: Duration = Duration::from_secs(60);
/// A connection that ends sooner was none, and after so many of them there is a pause.
const SHORT: Duration = Duration::from_secs(1);
const MOST_SHORT: u32 = 5;

/// What one line says.
enum Line {
    Changed(String),
    Deleted(String),
    At(String),
    Expired,
    Failed,
}

struct Listener {
    shared: Arc<Shared>,
    ear: Ear,
    say: mpsc::Sender<Said>,
}

/// Until it fails.
pub(super) async fn listen(shared: Arc<Shared>, ear: Ear, say: mpsc::Sender<Said>) {
    let mut listener = Listener { shared, ear, say };
    let error = listener.go_on().await;
    listener.say(Word::Failed(error)).await;
}

impl Listener {
    async fn go_on(&mut self) -> ProviderError {
        let (mut short, mut pause, mut has_failed) = (0, NO_RIGHT, false);
        loop {
            let start = Instant::now();
            let outcome = self.once().await;
            if start.elapsed() >= SHORT {
                has_failed = false;
            }
            match outcome {
                Ok(()) if start.elapsed() >= SHORT => (short, pause) = (0, NO_RIGHT),
                Ok(()) if short >= MOST_SHORT => {
                    tracing::debug!(
                        secret = self.ear.path,
                        "watch: each is ended as soon as it has begun: answers have their ordinary time"
                    );
                    short = 0;
                    self.rest(&mut pause).await;
                }
                Ok(()) => {
                    short += 1;
                    sleep(SHORT / 4 * short).await;
                }
                Err(Refusal::Expired) => self.ear.from = None,
                Err(Refusal::Error(ProviderError::Throttled { after, .. })) => {
                    self.say(Word::Deaf).await;
                    sleep(after.unwrap_or_default().min(NO_RIGHT_MOST)).await;
                    self.rest(&mut pause).await;
                }
                // It may be one of several servers.
                Err(Refusal::Error(ProviderError::Unavailable(_))) if !has_failed => {
                    has_failed = true;
                    sleep(SHORT / 4).await;
                }
                // Of this object it cannot tell.
                Err(Refusal::Error(error @ ProviderError::Invalid(_))) => {
                    tracing::debug!(secret = self.ear.path, %error, "watch: answers have their ordinary time");
                    self.rest(&mut pause).await;
                }
                Err(Refusal::Error(error)) => return error,
                Err(Refusal::NoRight | Refusal::Missing | Refusal::Token) => {
                    tracing::debug!(
                        secret = self.ear.path,
                        "watch: we have no right to (verb `watch`): answers have their ordinary time"
                    );
                    self.rest(&mut pause).await;
                }
            }
        }
    }

    async fn rest(&self, pause: &mut Duration) {
        self.say(Word::Deaf).await;
        sleep(*pause).await;
        *pause = (*pause * 2).min(NO_RIGHT_MOST);
    }

    /// One connection to its end.
    async fn once(&mut self) -> Result<(), Refusal> {
        let door = self.shared.cluster.access.door().await?;
        let (place, from) = (&self.ear.place, self.ear.from.as_deref());
        let mut lines = self.shared.cluster.watch(&door, place, from, LIFE).await?;
        let end = Instant::now() + LIFE + GRACE;
        // If it cannot begin there, it says so at once.
        let patience = if from.is_some() { AT_ONCE } else { FIRST };
        let mut first = match timeout(patience, self.next(&mut lines, LIFE)).await {
            Err(_) => None,
            Ok(line) => match line? {
                None => return Ok(()),
                Some(Line::Expired) => return Err(Refusal::Expired),
                Some(Line::Failed) if from.is_none() => {
                    let why = format!("{} cannot begin to tell of it", door.who());
                    return Err(ProviderError::Invalid(why).into());
                }
                // Perhaps not from there.
                Some(Line::Failed) => return Err(Refusal::Expired),
                line => line,
            },
        };
        let mut known = None;
        if from.is_none() {
            // It may have changed before this connection was there: then nobody tells of it.
            let state = self.shared.state(place).await?;
            self.say(Word::Found(state.clone())).await;
            known = Some(state);
        }
        self.say(Word::Open).await;
        loop {
            let line = match first.take() {
                Some(line) => line,
                None => match self.next(&mut lines, end.saturating_duration_since(Instant::now())).await? {
                    Some(line) => line,
                    None => return Ok(()),
                },
            };
            match line {
                // How it stands is told first.
                Line::Changed(state) if known.take().is_some_and(|known| known == state) => {}
                Line::Changed(state) => self.tell(state.clone(), state).await,
                Line::Deleted(at) => self.deleted(at, &mut lines).await?,
                Line::At(at) => self.reach(at).await,
                Line::Expired => return Err(Refusal::Expired),
                Line::Failed => return Err(broken_off(&door)),
            }
        }
    }

    async fn deleted(&mut self, at: String, lines: &mut Lines) -> Result<(), Refusal> {
        match timeout(ANEW, self.next(lines, LIFE)).await {
            Ok(Ok(Some(Line::Changed(state)))) => self.tell(state.clone(), state).await,
            other => {
                self.tell(String::new(), at).await;
                match other {
                    // It is begun with anew.
                    Ok(Ok(Some(Line::Expired | Line::Failed))) => return Err(Refusal::Expired),
                    Ok(Err(refusal)) => return Err(refusal),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// `None`: the connection is over.
    async fn next(&self, lines: &mut Lines, patience: Duration) -> Result<Option<Line>, Refusal> {
        let line = match timeout(patience, pin!(lines.next())).await {
            Err(_) | Ok(Ok(None)) => return Ok(None),
            Ok(Ok(Some(line))) => line,
            Ok(Err(error)) if error.kind == NetErrorKind::Reset => return Ok(None),
            Ok(Err(error)) => return Err(ProviderError::from(error).into()),
        };
        Ok(Some(leftover::wiped(|| read(&line))?))
    }

    async fn tell(&mut self, state: String, at: String) {
        self.say(Word::Changed(state)).await;
        self.reach(at).await;
    }

    async fn reach(&mut self, at: String) {
        self.ear.from = Some(at.clone());
        self.say(Word::At(Some(at))).await;
    }

    async fn say(&self, word: Word) {
        // Who listens may have gone.
        let _ = self.say.send((self.ear.path.clone(), self.ear.number, word)).await;
    }
}

fn broken_off(door: &Door) -> Refusal {
    ProviderError::Unavailable(format!("{} has broken a watch off", door.who())).into()
}

fn read(line: &SecretBytes) -> Result<Line, NetErrorKind> {
    let event = Json::read(line.expose()).map_err(strange)?;
    let kind = event.at(&["type"]).and_then(Json::text).map_err(strange)?;
    let object = event.at(&["object"]).map_err(strange)?;
    Ok(match &*kind {
        "ADDED" | "MODIFIED" => Line::Changed(version(object)?),
        "DELETED" => Line::Deleted(version(object)?),
        "BOOKMARK" => Line::At(version(object)?),
        "ERROR" => match object.get("code").map_err(strange)?.map(Json::whole) {
            Some(Ok(410)) => Line::Expired,
            _ => Line::Failed,
        },
        _ => return Err(NetErrorKind::Protocol("it tells of what is no change".to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_event() {
        let read = |text: &str| read(&SecretBytes::copy_of(text.as_bytes()));
        let event = |kind: &str| {
            format!(r#"{{"type": "{kind}", "object": {{"metadata": {{"resourceVersion": "7"}}}}}}"#)
        };
        assert!(matches!(read(&event("ADDED")), Ok(Line::Changed(at)) if at == "7"));
        assert!(matches!(read(&event("DELETED")), Ok(Line::Deleted(at)) if at == "7"));
        assert!(matches!(read(&event("BOOKMARK")), Ok(Line::At(at)) if at == "7"));
        let expired = r#"{"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}"#;
        assert!(matches!(read(expired), Ok(Line::Expired)));
        assert!(matches!(read(&expired.replace("410", "500")), Ok(Line::Failed)));
        for wrong in [event("31337"), r#"{"type": "ADDED", "object": {}}"#.to_owned(), "31337".to_owned()] {
            let Err(error) = read(&wrong) else { panic!("{wrong}") };
            assert!(!error.to_string().contains("31337"), "{error}");
        }
    }
}
