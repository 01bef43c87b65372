//! Hears from etcd what has changed below the prefix, by key, without a gap between one connection and the
//! next. Values that come along are let go of with their line.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::EtcdProvider;
use super::gateway::Refusal;
use super::keys::{self, Range};
use crate::net::{Json, Lines, NetErrorKind};
use crate::provider::{News, ProviderError, Tell};
use crate::secret::SecretBytes;
use crate::sys::leftover;

/// After so long without a word it is asked whether it is well.
const QUIET: Duration = Duration::from_secs(20);
/// etcd tells what has happened before every tenth of a second. Once it is quiet for so long, that is over.
const SETTLED: Duration = Duration::from_millis(500);

/// What one line says.
enum Word {
    Created { revision: u64 },
    Events { paths: Vec<String>, last: u64, is_whole: bool },
    Compacted,
    Failed(ProviderError),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    /// What has happened before is being told.
    Behind,
    Listening,
}

/// One connection.
struct Ear<'a> {
    provider: &'a EtcdProvider,
    tell: &'a Tell<'a>,
    stage: Stage,
    /// The revision after which this connection tells everything.
    since: u64,
    /// Of events that come in pieces.
    pieces: Vec<String>,
}

impl EtcdProvider {
    /// Until it cannot go on.
    pub(super) async fn keep_listening(&self, tell: &Tell<'_>) -> ProviderError {
        loop {
            match self.listen(tell).await {
                Ok(()) => {}
                Err(Refusal::Compacted) => {
                    if let Err(error) = self.begin_anew(tell).await {
                        return error;
                    }
                }
                Err(refusal) => return self.gateway.error(refusal),
            }
        }
    }

    /// What has happened since is not to be had any more: everything has to be asked for.
    async fn begin_anew(&self, tell: &Tell<'_>) -> Result<(), ProviderError> {
        let range = Range { keys_only: true, limit: Some(1), ..Range::under(&self.prefix) };
        let response = self.gateway.ask("/v3/kv/range", &range.body()).await;
        let response = response.map_err(|refusal| self.gateway.error(refusal))?;
        let revision = keys::revision(response.json()?)?;
        tracing::info!(
            revision,
            "watch: what has changed is not known any more, everything is asked for anew"
        );
        tell(News::All);
        self.told.store(revision, Ordering::Relaxed);
        Ok(())
    }

    /// `Ok`: to be begun again at once, on a new connection.
    async fn listen(&self, tell: &Tell<'_>) -> Result<(), Refusal> {
        let mut request = Range::under(&self.prefix).place();
        let told = self.told.load(Ordering::Relaxed);
        if told == 0 {
            // All of its history is of no use.
            return Err(Refusal::Compacted);
        }
        request.insert("start_revision".to_owned(), (told + 1).to_string().into());
        request.insert("fragment".to_owned(), true.into());
        let body = json!({ "create_request": request }).to_string().into_bytes();
        let lines = self.gateway.stream("/v3/watch", &body).await?;
        let (stage, pieces) = (Stage::Opening, Vec::new());
        let ear = Ear { provider: self, tell, stage, since: told, pieces };
        ear.hear(lines).await
    }
}

impl Ear<'_> {
    async fn hear(mut self, mut lines: Lines) -> Result<(), Refusal> {
        loop {
            let patience = if self.stage == Stage::Behind { SETTLED } else { QUIET };
            let line = match timeout(patience, pin!(lines.next())).await {
                Ok(line) => line,
                Err(_) if self.stage == Stage::Opening => return Err(self.failed("does not begin to watch")),
                Err(_) if self.stage == Stage::Behind => {
                    self.settle();
                    continue;
                }
                // Another connection may go to another member: only a new one knows that it is told everything.
                Err(_) => return Ok(()),
            };
            let line = match line {
                Ok(Some(line)) => line,
                Ok(None) => return Err(self.failed("has ended the watch")),
                Err(error) if matches!(error.kind, NetErrorKind::TooLarge(_)) => {
                    return Err(Refusal::Compacted);
                }
                Err(error) => return Err(ProviderError::from(error).into()),
            };
            self.heed(&line)?;
        }
    }

    fn heed(&mut self, line: &SecretBytes) -> Result<(), Refusal> {
        match leftover::wiped(|| self.word(line)).map_err(ProviderError::from)? {
            Word::Created { revision } => {
                // A store that was restored has gone back in time.
                if revision < self.since {
                    return Err(Refusal::Compacted);
                }
                (self.tell)(News::Still);
                match self.since == revision {
                    true => self.settle(),
                    false => self.stage = Stage::Behind,
                }
            }
            Word::Events { paths, last, is_whole } => {
                self.pieces.extend(paths);
                if is_whole {
                    let paths = std::mem::take(&mut self.pieces);
                    (self.tell)(News::Changed { paths, at: last });
                    self.provider.told.fetch_max(last, Ordering::Relaxed);
                }
            }
            Word::Compacted => return Err(Refusal::Compacted),
            Word::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// All that has happened before is told.
    fn settle(&mut self) {
        self.stage = Stage::Listening;
        (self.tell)(News::Listening { since: self.since });
    }

    fn word(&self, line: &SecretBytes) -> Result<Word, NetErrorKind> {
        let Some(result) = Json::read(line.expose())?.get("result")? else {
            return Ok(Word::Failed(self.error("has broken the watch off")));
        };
        let is = |name: &str| -> Result<bool, NetErrorKind> {
            Ok(result.get(name)?.is_some_and(|it| it.flag() == Ok(true)))
        };
        if is("canceled")? {
            return Ok(match keys::number(result, "compact_revision")? {
                0 => Word::Failed(self.error("does not let us watch these keys, or cannot now")),
                _ => Word::Compacted,
            });
        }
        if is("created")? {
            return Ok(Word::Created { revision: keys::revision(result)? });
        }
        let (mut paths, mut last) = (Vec::new(), self.told());
        for event in result.get("events")?.map_or(Ok(Vec::new()), Json::items)? {
            let kv = event.at(&["kv"])?;
            last = last.max(keys::number(kv, "mod_revision")?);
            paths.extend(self.provider.path_of(&keys::key(kv)?));
        }
        Ok(Word::Events { paths, last, is_whole: !is("fragment")? })
    }

    fn told(&self) -> u64 {
        self.provider.told.load(Ordering::Relaxed)
    }

    fn error(&self, what: &str) -> ProviderError {
        ProviderError::Unavailable(self.provider.gateway.says(what))
    }

    fn failed(&self, what: &str) -> Refusal {
        self.error(what).into()
    }
}
