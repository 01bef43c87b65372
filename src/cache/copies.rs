//! The store's copies of a provider's answers (`cache.mirror`), as the cache keeps and uses them: written down off
//! every reader's path, and looked for when the provider has failed. Uses `provider::Mirror`.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::table::{Record, Table, Told, print_of};
use super::{Inner, Need};
use crate::poison::EvenPoisoned;
use crate::provider::{Batch, Fresh, Mirror, ProviderError, unhurried};
use crate::secret::{Answer, SecretKey, SecretVersion};
use crate::sys::leftover;
use crate::sys::uptime::Uptime;

pub(super) struct Copies {
    mirror: Arc<Mirror>,
    /// What is to be written down.
    news: Mutex<HashMap<SecretKey, Fresh>>,
    wake: Arc<Notify>,
    writer: OnceLock<AbortHandle>,
    /// A command that asks once and ends writes nothing.
    is_at_work: AtomicBool,
    /// It was said that nothing can be written down.
    is_lamented: AtomicBool,
}

const BEGIN: Duration = Duration::from_millis(250);
/// What comes within this time is one transaction.
const GATHER: Duration = Duration::from_millis(100);
/// Before the next try to take away what could not be taken away, at first and at most.
const RETRY: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// For what is not written down at the end.
const LAST: Duration = Duration::from_secs(1);
/// Copies that are too old go once in so long.
const SWEEP: Duration = Duration::from_secs(24 * 3600);

/// A copy of the store's that nobody has used for so long is wiped: it can be read again.
const HELD: Duration = Duration::from_secs(60);

/// How long a copy of the store's may be served, and how long it is held in memory for that.
#[derive(Clone, Copy)]
pub(super) struct Term {
    pub(super) end: Uptime,
    pub(super) held: Uptime,
}

impl Term {
    pub(super) fn use_at(&mut self, now: Uptime) {
        self.held = now + HELD;
    }
}

impl Copies {
    pub(super) fn new(mirror: Mirror) -> Self {
        Self {
            mirror: Arc::new(mirror),
            news: Mutex::default(),
            wake: Arc::default(),
            writer: OnceLock::new(),
            is_at_work: AtomicBool::new(false),
            is_lamented: AtomicBool::new(false),
        }
    }
}

impl Drop for Copies {
    /// What must not be served any more is taken away all the same, by a thread of its own: a disk may let wait.
    fn drop(&mut self) {
        let Some(writer) = self.writer.get() else { return };
        writer.abort();
        let mut left: Vec<Fresh> =
            self.news.get_mut().even_poisoned().drain().map(|(_, fresh)| fresh).collect();
        left.retain(|fresh| fresh.version.is_none());
        if !left.is_empty() && self.is_at_work.load(Ordering::Acquire) {
            let mirror = self.mirror.clone();
            let _ = thread::Builder::new().name("mirror".to_owned()).spawn(move || mirror.put(&left));
        }
    }
}

impl Inner {
    /// Takes note of an answer for the store: of one that is lent, and of one that says that there is none, that no
    /// copy is to be kept.
    pub(super) fn note_answers(self: &Arc<Self>, keys: &[SecretKey], batch: &Batch) {
        let Some(copies) = &self.copies else { return };
        let (now, at) = (Uptime::now(), Timestamp::now());
        let is_lent = is_lent(batch);
        let refresh = copies.mirror.refresh();
        let mut table = self.table();
        let worth: Vec<_> =
            keys.iter().zip(&batch.answers).filter(|(key, _)| table.wants_copy(key, refresh, now)).collect();
        drop(table);
        let kept = |answer: &Answer| answer.as_ref().ok().filter(|_| !is_lent).cloned();
        let fresh =
            |(key, answer): (&SecretKey, &Answer)| Fresh { key: key.clone(), version: kept(answer), at };
        self.note(copies, worth.into_iter().map(fresh));
    }

    /// Who is refused something must not have it of us either. Of several nobody knows which was meant.
    pub(super) fn note_refusal(self: &Arc<Self>, keys: &[SecretKey], error: &ProviderError) {
        let Some(copies) = self.copies.as_ref().filter(|_| matches!(error, ProviderError::Denied(_))) else {
            return;
        };
        if keys.len() > 1 {
            return;
        }
        let at = Timestamp::now();
        self.note(copies, keys.iter().map(|key| Fresh { key: key.clone(), version: None, at }));
    }

    fn note(self: &Arc<Self>, copies: &Copies, fresh: impl Iterator<Item = Fresh>) {
        let mut news = copies.news.lock().even_poisoned();
        news.extend(fresh.map(|fresh| (fresh.key.clone(), fresh)));
        let is_quiet = news.is_empty();
        drop(news);
        let begin = || tokio::spawn(keep(Arc::downgrade(self), copies.wake.clone())).abort_handle();
        copies.writer.get_or_init(begin);
        if !is_quiet {
            copies.wake.notify_one();
        }
    }

    /// The copy that may be served in place of an answer, if the provider is down or has no time: never in place of a refusal, and
    /// never of something older than what is known.
    pub(super) fn copy_of(&self, key: &SecretKey, error: &ProviderError) -> Option<Told> {
        let copies = self.copies.as_ref().filter(|_| error.is_no_answer())?;
        if !self.table().may_have_copy(key) {
            return None;
        }
        let news = copies.news.lock().even_poisoned();
        if news.get(key).is_some_and(|fresh| fresh.version.is_none()) {
            return None;
        }
        drop(news);
        // Many may wait for the same.
        if let Some(found) = self.table().old(key, Need::Values, Uptime::now()).filter(|it| it.is_copy) {
            return Some(found);
        }
        match unhurried(|| leftover::wiped(|| copies.mirror.find(key))) {
            Ok(kept) => {
                let kept = kept?;
                self.table().land_copy(key, &kept.version, kept.age(), copies.mirror.oldest())
            }
            Err(error) => {
                let secret = &key.path;
                tracing::warn!(provider = self.name, secret, %error, "mirror: the store's copy cannot be read");
                None
            }
        }
    }

    /// At the orderly end, which waits for a busy store no longer than a moment. What a command has asked for that is
    /// over at once is not written down.
    pub(super) fn flush_copies(self: &Arc<Self>) {
        if !self.copies.as_ref().is_some_and(|it| it.is_at_work.load(Ordering::Acquire)) {
            return;
        }
        let (inner, (tell, told)) = (self.clone(), mpsc::channel());
        let write = move || {
            inner.copies.iter().for_each(|copies| {
                inner.write_copies(copies);
            });
            let _ = tell.send(());
        };
        if thread::Builder::new().name("mirror".to_owned()).spawn(write).is_ok() {
            let _ = told.recv_timeout(LAST);
        }
    }

    /// Whether all of it is written down, or need not be any more.
    fn write_copies(&self, copies: &Copies) -> bool {
        // What must not be served is known until it is written down.
        let news: Vec<Fresh> = copies.news.lock().even_poisoned().values().cloned().collect();
        if news.is_empty() {
            return true;
        }
        let put = unhurried(|| leftover::wiped(|| copies.mirror.put(&news)));
        let failed: HashSet<&SecretKey> = put.failed.iter().map(|&at| &news[at].key).collect();
        let tried: HashMap<_, _> = news.iter().map(|fresh| (&fresh.key, fresh.at)).collect();
        // No value waits here for the next try: that is made with the next answer.
        let is_left = |key: &SecretKey, fresh: &Fresh| {
            tried.get(key) != Some(&fresh.at) || failed.contains(key) && fresh.version.is_none()
        };
        let mut left = copies.news.lock().even_poisoned();
        left.retain(|key, fresh| is_left(key, fresh));
        drop(left);
        tracing::debug!(provider = self.name, written = put.written, "mirror: copies are written down");
        let Some(error) = put.error else {
            copies.is_lamented.store(false, Ordering::Relaxed);
            return true;
        };
        let keys: Vec<_> = failed.into_iter().cloned().collect();
        self.table().forget_copied(&keys);
        if !copies.is_lamented.swap(true, Ordering::Relaxed) {
            let (secret, many) = (&keys[0].path, keys.len());
            tracing::warn!(provider = self.name, secret, many, %error, "mirror: copies cannot be written down");
        }
        false
    }

    fn sweep_copies(&self, copies: &Copies) {
        if let Err(error) = unhurried(|| copies.mirror.sweep()) {
            tracing::debug!(provider = self.name, %error, "mirror: old copies cannot be taken away");
        }
    }
}

impl Table {
    /// The store has a copy of that age. Not of something that is known to be another by now.
    pub(super) fn land_copy(
        &mut self,
        key: &SecretKey,
        version: &Arc<SecretVersion>,
        age: Duration,
        oldest: Duration,
    ) -> Option<Told> {
        let answer: Answer = Ok(version.clone());
        let print = leftover::wiped(|| print_of(&answer));
        let changed = match self.records.get(key) {
            Some(record) if record.print != print => return None,
            Some(record) => record.changed,
            None => {
                self.moment += 1;
                self.moment
            }
        };
        self.forget_answer(key);
        let (now, checked) = (Uptime::now(), Uptime::ago(age));
        let record = Record {
            answer: None,
            absent: None,
            print,
            changed,
            asked: checked,
            checked,
            moment: 0,
            limit: None,
            is_lent: false,
            // Only the provider can say that it is good.
            is_doubted: true,
            size: 0,
            last_use: 0,
            is_told_stale: false,
            copied: None,
            copy: Some(Term { end: checked + oldest, held: now + HELD }),
        };
        let told = Told { answer: Some(answer.clone()), ..record.told(checked) };
        self.records.insert(key.clone(), Box::new(record));
        self.keep(key, &answer);
        Some(told)
    }

    /// Whether the answer that has just come is one for the store to copy, and was not copied lately.
    pub(super) fn wants_copy(&mut self, key: &SecretKey, refresh: Duration, now: Uptime) -> bool {
        if !self.keeping.keeps(key) {
            return false;
        }
        let Some(record) = self.records.get_mut(key) else { return false };
        let is_new = record.copied.is_none_or(|copied| now.since(copied) >= refresh);
        if is_new {
            record.copied = Some(now);
        }
        is_new
    }

    /// Whether the store may have one of it: nothing is kept of what is asked for each time.
    pub(super) fn may_have_copy(&self, key: &SecretKey) -> bool {
        self.keeping.keeps(key)
    }

    /// They were not written down after all.
    pub(super) fn forget_copied(&mut self, keys: &[SecretKey]) {
        for key in keys {
            if let Some(record) = self.records.get_mut(key) {
                record.copied = None;
            }
        }
    }
}

fn is_lent(batch: &Batch) -> bool {
    batch.as_of.is_lent || batch.as_of.until.is_some()
}

async fn keep(inner: Weak<Inner>, wake: Arc<Notify>) {
    tokio::time::sleep(BEGIN).await;
    let (mut swept, mut pause): (Option<Uptime>, _) = (None, RETRY);
    loop {
        let Some(inner) = inner.upgrade() else { return };
        let Some(copies) = &inner.copies else { return };
        copies.is_at_work.store(true, Ordering::Release);
        pause = if inner.write_copies(copies) { RETRY } else { (pause * 2).min(LONGEST) };
        if swept.is_none_or(|last| Uptime::now().since(last) >= SWEEP) {
            swept = Some(Uptime::now());
            inner.sweep_copies(copies);
        }
        let is_done = copies.news.lock().even_poisoned().is_empty();
        drop(inner);
        let _ = tokio::time::timeout(if is_done { SWEEP } else { pause }, wake.notified()).await;
        tokio::time::sleep(GATHER).await;
    }
}
