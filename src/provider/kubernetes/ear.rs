//! Listens to the changes of one object, from one connection to the next: goes on where the last one ended, and where
//! that is not known any more, looks what has become of it. One that fails is no matter to the others: answers for its
//! object have their ordinary time, and it tries again after a while that grows.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Shared;
use super::cluster::Refusal;
use super::heard::Ear;
use super::object::version;
use crate::net::{Json, Lines, NetErrorKind};
use crate::provider::{News, ProviderError, Tell};
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
/// A connection that ends sooner was none.
const SHORT: Duration = Duration::from_secs(1);
/// So often it is tried again before anything is said: there may be several servers, of which one has just ended.
const TRIES: u32 = 4;
/// Between two of those, once more after each; and after them, twice as long after each.
const STEP: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What one line says.
#[derive(Debug)]
enum Line {
    Changed(String),
    Deleted(String),
    At(String),
}

struct Listener<'a> {
    shared: &'a Shared,
    tell: &'a Tell<'a>,
    ear: &'a Ear,
    /// Since when changes are told.
    open: Option<Instant>,
}

/// Until nobody is there, and no other object is heard of, either.
pub(super) async fn listen(shared: &Shared, tell: &Tell<'_>, ear: Ear) -> ProviderError {
    let mut listener = Listener { shared, tell, ear: &ear, open: None };
    let (mut tries, mut pauses) = (0, 0);
    loop {
        let ended = listener.once().await;
        if listener.open.take().is_some_and(|open| open.elapsed() >= SHORT) {
            (tries, pauses) = (0, 0);
        }
        if matches!(ended, Err(Refusal::Expired)) {
            shared.heard.reach(&ear, None);
        }
        if is_passing(&ended) && tries < TRIES {
            sleep(STEP * tries).await;
            tries += 1;
            continue;
        }
        tracing::debug!(secret = ear.path, why = why(&ended), "watch: answers have their ordinary time");
        listener.say(shared.heard.deafen(&ear));
        let least = match ended {
            Err(Refusal::Error(error)) if error.is_outage() && !shared.heard.hears() => return error,
            Err(Refusal::Error(ProviderError::Throttled { after, .. })) => after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        sleep((PAUSE * (1 << pauses)).max(least).min(LONGEST_PAUSE)).await;
        pauses = (pauses + 1).min(6);
    }
}

fn is_passing(ended: &Result<(), Refusal>) -> bool {
    match ended {
        Ok(()) | Err(Refusal::Expired) => true,
        Err(Refusal::Error(error)) => error.is_passing(),
        Err(_) => false,
    }
}

fn why(ended: &Result<(), Refusal>) -> String {
    match ended {
        Ok(()) | Err(Refusal::Expired) => "each is ended as soon as it has begun".to_owned(),
        Err(Refusal::Error(error)) => error.to_string(),
        Err(_) => "we have no right to (verb `watch`)".to_owned(),
    }
}

impl Listener<'_> {
    /// One connection to its end.
    async fn once(&mut self) -> Result<(), Refusal> {
        let (shared, ear) = (self.shared, self.ear);
        let door = shared.access.door().await?;
        let from = shared.heard.from(ear);
        let mut lines = door.watch(&ear.place, from.as_deref(), LIFE).await?;
        let end = Instant::now() + LIFE + GRACE;
        // If it cannot begin there, it says so at once.
        let patience = if from.is_some() { AT_ONCE } else { FIRST };
        let mut ahead = timeout(patience, next(&mut lines)).await.ok().transpose()?;
        if matches!(ahead, Some(None)) {
            return Ok(());
        }
        if from.is_none() {
            // It may have changed before this connection was there: then nobody tells of it.
            self.say(shared.heard.found(ear, &shared.state(&ear.place).await?));
        }
        shared.heard.open(ear);
        self.open = Some(Instant::now());
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = match ahead.take() {
                Some(line) => line,
                None => timeout(left, next(&mut lines)).await.unwrap_or(Ok(None))?,
            };
            match line {
                None => return Ok(()),
                Some(Line::Changed(state)) => self.say(shared.heard.changed(ear, &state, state.clone())),
                Some(Line::At(at)) => shared.heard.reach(ear, Some(at)),
                Some(Line::Deleted(at)) => {
                    let then = timeout(ANEW, next(&mut lines)).await.ok();
                    if !matches!(then, Some(Ok(Some(Line::Changed(_))))) {
                        self.say(shared.heard.changed(ear, "", at));
                    }
                    ahead = then.transpose()?;
                }
            }
        }
    }

    fn say(&self, news: Option<News>) {
        news.into_iter().for_each(self.tell);
    }
}

/// `None`: the connection is over. Who stops waiting may go on later.
async fn next(lines: &mut Lines) -> Result<Option<Line>, Refusal> {
    let line = match lines.next().await {
        Ok(Some(line)) => line,
        Ok(None) => return Ok(None),
        Err(error) if error.kind == NetErrorKind::Reset => return Ok(None),
        Err(error) => return Err(ProviderError::from(error).into()),
    };
    leftover::wiped(|| read(&line))?.map(Some).ok_or(Refusal::Expired)
}

/// `None`: it cannot go on from where it was asked to.
fn read(line: &SecretBytes) -> Result<Option<Line>, NetErrorKind> {
    let event = Json::read(line.expose())?;
    let object = event.at(&["object"])?;
    Ok(match &*event.at(&["type"])?.text()? {
        "ADDED" | "MODIFIED" => Some(Line::Changed(version(object)?)),
        "DELETED" => Some(Line::Deleted(version(object)?)),
        "BOOKMARK" => Some(Line::At(version(object)?)),
        "ERROR" => None,
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
        assert!(matches!(read(&event("ADDED")), Ok(Some(Line::Changed(at))) if at == "7"));
        assert!(matches!(read(&event("MODIFIED")), Ok(Some(Line::Changed(at))) if at == "7"));
        assert!(matches!(read(&event("DELETED")), Ok(Some(Line::Deleted(at))) if at == "7"));
        assert!(matches!(read(&event("BOOKMARK")), Ok(Some(Line::At(at))) if at == "7"));
        for code in [410, 500] {
            let error = format!(r#"{{"type": "ERROR", "object": {{"kind": "Status", "code": {code}}}}}"#);
            assert!(matches!(read(&error), Ok(None)), "{error}");
        }
        for wrong in [event("31337"), r#"{"type": "ADDED", "object": {}}"#.to_owned(), "31337".to_owned()] {
            let error = read(&wrong).expect_err(&wrong);
            assert!(!error.to_string().contains("31337"), "{error}");
        }
    }
}
