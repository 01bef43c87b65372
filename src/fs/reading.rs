//! Which readers hold what is not current any more, found out each second without keeping a value
//! for it, and what is to be done for them. Uses `readers` and `reactions`.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use super::judging::Judging;
use super::nodes::{Place, View};
use super::snapshot::Snapshot;
use super::tree::{File, FileId};
use super::whom::Whom;
use super::{Generation, SecretFs};
use crate::broker::Broker;
use crate::caller::Caller;
use crate::ledger::Ledger;
use crate::provider::Pulse;
use crate::reactions::{Due, Reacted, Reactions, Subject};
use crate::readers::{Edition, Readers, Reading};
use crate::resolver::{Asker, Basis};
use crate::sys::peer::ProcessId;
use crate::template::Template;

/// What a mount needs to know its readers.
pub(super) struct Watching {
    at: PathBuf,
    readers: Arc<Readers>,
    reactions: Arc<Reactions>,
    /// Guards what is current, as far as somebody has read it.
    known: Mutex<HashMap<Place, Known>>,
    judging: Judging,
}

enum Known {
    Current(Current),
    /// It cannot be rendered. Asked again when a provider has moved, or after a while.
    Failed {
        pulses: Vec<Pulse>,
        at: Instant,
    },
}

/// What a file is now for one view, and what that rests on.
struct Current {
    edition: Arc<Edition>,
    file: Arc<File>,
    template: Arc<Template>,
    broker: Arc<Broker>,
    basis: Basis,
}

/// A reader, what it would get now if that is known, and what was done last for its file.
pub struct Told {
    pub reading: Reading,
    pub current: Option<Arc<Edition>>,
    pub reacted: Option<Reacted>,
}

const RETRY: Duration = Duration::from_secs(10);

impl SecretFs {
    /// From the start on, who reads the mount at this place is known. Before it is served.
    pub fn watch_readers(&self, at: &Path, reactions: &Arc<Reactions>) {
        // A second place would mean a second mount of one filesystem.
        let _ = self.watched.set((at.to_owned(), reactions.clone()));
    }

    pub(super) fn begin_watching(&self, ledger: &Ledger) {
        if let Some((at, reactions)) = self.watched.get() {
            let (at, reactions) = (at.clone(), reactions.clone());
            let readers = Readers::start(ledger);
            let (known, judging) = (Mutex::default(), Judging::new());
            let _ = self.watching.set(Watching { at, readers, reactions, known, judging });
        }
    }

    /// The caller gets this snapshot, and not the current one if that is given. To be called while its
    /// OPEN is unanswered.
    pub(super) fn note_reader(
        &self,
        now: &Generation,
        caller: &Caller,
        place: &Place,
        (snapshot, current): (&Snapshot, Option<&Snapshot>),
    ) {
        let Some(watching) = self.watching.get() else { return };
        // Our own look at whether the mount answers is by a process that reads, too.
        let Some(file) = now.tree.file(place.file).filter(|file| !file.source.is_fixed()) else { return };
        let edition = self.edition(file, place, snapshot);
        match current.filter(|_| !file.is_told_itself()) {
            // Who keeps it open could have as many read it as he likes.
            Some(current) => {
                let current = self.edition(file, place, current);
                watching.readers.opened_older(caller, &edition, current.print);
            }
            None => watching.readers.opened(caller, &edition),
        }
    }

    fn edition(&self, file: &File, place: &Place, snapshot: &Snapshot) -> Arc<Edition> {
        snapshot.edition(self.ledger().key(), file.id, &file.path, place.view.name())
    }

    pub fn has_readers(&self, file: FileId) -> bool {
        self.watching.get().is_some_and(|watching| watching.readers.has(file))
    }

    /// Everybody who has read something and still runs. What is current is unknown of a file whose
    /// provider lets wait.
    pub async fn readers(self: &Arc<Self>) -> Vec<Told> {
        self.judge_readers().await;
        let Some(watching) = self.watching.get() else { return Vec::new() };
        let told = |reading: Reading| Told {
            current: watching.confirmed(&reading),
            reacted: watching.reactions.last(&watching.at.join(&reading.edition.path)),
            reading,
        };
        watching.readers.list().into_iter().map(told).collect()
    }

    /// How many readers there are, and how many of them hold what is known not to be current.
    pub fn count_readers(&self) -> (usize, usize) {
        let Some(watching) = self.watching.get() else { return (0, 0) };
        let readings = watching.readers.list();
        let stale = readings.iter().filter(|reading| watching.is_stale(reading)).count();
        (readings.len(), stale)
    }

    /// The same of one file.
    pub(super) fn count_readers_of(&self, file: FileId) -> (usize, usize) {
        let Some(watching) = self.watching.get() else { return (0, 0) };
        let readings = watching.readers.of_file(file);
        let stale = readings.iter().filter(|reading| watching.is_stale(reading)).count();
        (readings.len(), stale)
    }

    pub(super) fn last_reaction(&self, path: &Path) -> Option<Reacted> {
        self.watching.get().and_then(|watching| watching.reactions.last(&watching.at.join(path)))
    }

    /// Finds out what is current of everything that somebody has read, and wants done what the
    /// config says for those who hold something else. What takes its time, here or for who came
    /// before, is left to itself.
    pub(super) async fn judge_readers(self: &Arc<Self>) {
        let Some(watching) = self.watching.get() else { return };
        let groups = watching.readers.groups();
        watching.forget_all_but(&groups);
        let now = self.now();
        for reading in &groups {
            let place = place_of(&reading.edition);
            if let Some(file) = now.tree.file(reading.edition.file)
                && !watching.stands(&place, &now, file)
                && watching.judging.begin(&place)
            {
                self.judge_aside(place, now.clone(), file.clone(), reading.clone());
            }
        }
        watching.judging.settle().await;
        let files: HashSet<FileId> = groups.iter().map(|reading| reading.edition.file).collect();
        for file in files.into_iter().filter_map(|file| now.tree.file(file)) {
            let Some(reaction) = &file.spec.on_change else { continue };
            let concerned = Concerned { fs: Arc::downgrade(self), file: file.id };
            if !concerned.due().is_empty() {
                watching.reactions.want(reaction, &watching.at.join(&file.path), Arc::new(concerned));
            }
        }
    }

    fn judge_aside(self: &Arc<Self>, place: Place, now: Arc<Generation>, file: Arc<File>, reading: Reading) {
        let this = self.clone();
        tokio::spawn(async move {
            let Some(watching) = this.watching.get() else { return };
            let judge = this.judge_file(watching, &place, &now, &file, &reading);
            watching.judging.judge(&place, judge).await;
        });
    }

    async fn judge_file(
        self: &Arc<Self>,
        watching: &Watching,
        place: &Place,
        now: &Arc<Generation>,
        file: &Arc<File>,
        reading: &Reading,
    ) {
        // Nobody waits for it: what has many secrets takes its time, and is not rendered for that.
        if self.renew_known(watching, place, now, file).await {
            return;
        }
        // Everybody's view is rendered for nobody in particular; another for one of its readers.
        let ProcessId { pid, .. } = reading.process;
        let whom = match place.view.is_common() {
            true => Whom::Nobody { shows_real: place.view.shows_real() },
            false => Whom::Caller(Caller { uid: reading.uid, gid: reading.gid, pid }),
        };
        let rendered = self.rendered_in_time(whom, now.clone(), file.clone()).await;
        let snapshot = match &rendered {
            Ok(Ok(wanted)) if wanted.place == *place => Some(&wanted.snapshot),
            _ => None,
        };
        let current = snapshot.and_then(|snapshot| {
            let template = snapshot.template()?;
            let (edition, basis) = (self.edition(file, place, snapshot), snapshot.basis(&template)?);
            Some(Current { edition, file: file.clone(), template, broker: now.broker.clone(), basis })
        });
        let failed = || Known::Failed { pulses: now.broker.pulses(), at: Instant::now() };
        watching.known().insert(place.clone(), current.map_or_else(failed, Known::Current));
    }

    /// Asks the providers that moved, without rendering.
    async fn renew_known(
        &self,
        watching: &Watching,
        place: &Place,
        now: &Arc<Generation>,
        file: &Arc<File>,
    ) -> bool {
        let basis = match watching.known().get(place) {
            Some(Known::Current(current)) if current.is_of(now, file) => current.basis.clone(),
            _ => return false,
        };
        let rechecked = now.broker.recheck(&basis, Asker::Nobody).await;
        match (rechecked, watching.known().get_mut(place)) {
            (Ok(Some(basis)), Some(Known::Current(current))) => {
                current.basis = basis;
                true
            }
            // To render it would ask for more of who gives no answer.
            (Err(_), Some(known)) => {
                *known = Known::Failed { pulses: now.broker.pulses(), at: Instant::now() };
                true
            }
            _ => false,
        }
    }
}

impl Watching {
    /// What is known is certainly still so.
    fn stands(&self, place: &Place, now: &Generation, file: &Arc<File>) -> bool {
        match self.known().get(place) {
            Some(Known::Current(current)) => current.is_of(now, file) && now.broker.is_still(&current.basis),
            Some(Known::Failed { pulses, at }) => at.elapsed() < RETRY && *pulses == now.broker.pulses(),
            None => false,
        }
    }

    fn current(&self, reading: &Reading) -> Option<Arc<Edition>> {
        match self.known().get(&place_of(&reading.edition)) {
            Some(Known::Current(current)) => Some(current.edition.clone()),
            _ => None,
        }
    }

    /// The same, unless just now nobody can tell whether it still is.
    fn confirmed(&self, reading: &Reading) -> Option<Arc<Edition>> {
        let is_open = self.judging.is_under_way(&place_of(&reading.edition));
        self.current(reading).filter(|_| !is_open)
    }

    fn is_stale(&self, reading: &Reading) -> bool {
        self.current(reading).is_some_and(|current| current.print != reading.edition.print)
    }

    fn forget_all_but(&self, groups: &[Reading]) {
        let places: HashSet<Place> = groups.iter().map(|reading| place_of(&reading.edition)).collect();
        self.known().retain(|place, _| places.contains(place));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Place, Known>> {
        self.known.lock().expect("nothing panics while it holds this")
    }
}

impl Current {
    /// Neither file nor template nor rules are others by now, as far as can be told at once.
    fn is_of(&self, now: &Generation, file: &Arc<File>) -> bool {
        let is_loaded = |template: &Arc<Template>| Arc::ptr_eq(template, &self.template);
        Arc::ptr_eq(&self.file, file)
            && Arc::ptr_eq(&self.broker, &now.broker)
            && file.source.ready().is_some_and(|loaded| loaded.template.as_ref().is_ok_and(is_loaded))
    }
}

fn place_of(edition: &Edition) -> Place {
    Place { file: edition.file, view: View::named(&edition.view) }
}

/// The readers of one file, as reactions see them.
struct Concerned {
    fs: Weak<SecretFs>,
    file: FileId,
}

impl Subject for Concerned {
    fn due(&self) -> Vec<Due> {
        let Some(fs) = self.fs.upgrade() else { return Vec::new() };
        let Some(watching) = fs.watching.get() else { return Vec::new() };
        let due = |reading: Reading| {
            let content = watching.current(&reading)?.print;
            let is_due = content != reading.edition.print && reading.reacted_to != Some(content);
            is_due.then_some(Due { process: reading.process, content })
        };
        watching.readers.of_file(self.file).into_iter().filter_map(due).collect()
    }

    fn done(&self, due: &[Due]) {
        let Some(fs) = self.fs.upgrade() else { return };
        let Some(watching) = fs.watching.get() else { return };
        due.iter().for_each(|it| watching.readers.reacted(it.process, self.file, it.content));
    }
}
