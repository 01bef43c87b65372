//! What is done for the readers of a file when its content changes, as the config says it: not at
//! once, not twice, and only while somebody holds the old content. Never waited for by any request.
//! Uses `readers`' words and `sys`.

mod run;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::{Action, Reaction};
use crate::metrics;
use crate::readers::Print;
use crate::sys::peer::ProcessId;
use run::{Problem, Running};

/// Readers of one file, for whom something is to be done.
pub trait Subject: Send + Sync {
    /// Those who hold other content than there is now, and for whom nothing was done since.
    fn due(&self) -> Vec<Due>;

    /// Something was done for them.
    fn done(&self, due: &[Due]);
}

/// A reader that holds other content than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub process: ProcessId,
    pub content: Print,
}

/// What was done last.
#[derive(Clone, Debug)]
pub struct Reacted {
    pub at: Timestamp,
    pub action: String,
    pub outcome: Outcome,
    pub problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Running,
    Done,
    Failed,
    /// It took longer than it may.
    Late,
    /// Nobody held the old content any more.
    Gone,
}

pub struct Reactions {
    /// Guards the plan; held for no call.
    plan: Mutex<Plan>,
    news: Condvar,
    /// Guards what was done last, by file.
    last: Mutex<BTreeMap<PathBuf, Reacted>>,
}

type Subjects = BTreeMap<PathBuf, Arc<dyn Subject>>;

#[derive(Default)]
struct Plan {
    wanted: Vec<Wanted>,
    running: Vec<Action>,
}

/// One action, for all files that want it.
struct Wanted {
    reaction: Reaction,
    due: Instant,
    subjects: Subjects,
}

/// The thread looks up from its wait this often, to see whether it is still needed.
const PERIOD: Duration = Duration::from_secs(1);

impl Reactions {
    pub fn start() -> Arc<Self> {
        let reactions =
            Arc::new(Self { plan: Mutex::default(), news: Condvar::new(), last: Mutex::default() });
        let weak = Arc::downgrade(&reactions);
        let work = move || {
            while let Some(reactions) = weak.upgrade() {
                reactions.begin_due();
            }
        };
        let thread = thread::Builder::new().name("secretfs-react".to_owned());
        thread.spawn(work).expect("one thread at the start");
        reactions
    }

    /// Somebody holds old content of this file. Told again and again, it is done once; told while
    /// it is being done, it is not heard: whoever still holds old content afterwards is told of anew.
    pub fn want(&self, reaction: &Reaction, file: &Path, subject: Arc<dyn Subject>) {
        let mut plan = self.plan();
        if plan.running.contains(&reaction.action) {
            return;
        }
        let known = plan.wanted.iter().position(|it| it.reaction.action == reaction.action);
        let at = known.unwrap_or_else(|| {
            let due = Instant::now() + reaction.debounce;
            plan.wanted.push(Wanted { reaction: reaction.clone(), due, subjects: Subjects::new() });
            plan.wanted.len() - 1
        });
        plan.wanted[at].subjects.insert(file.to_owned(), subject);
        self.news.notify_one();
    }

    pub fn last(&self, file: &Path) -> Option<Reacted> {
        self.last.lock().expect("nothing panics while it holds this").get(file).cloned()
    }

    /// Waits for what is due next, and begins it.
    fn begin_due(self: &Arc<Self>) {
        let mut plan = self.plan();
        let now = Instant::now();
        let next = plan.wanted.iter().map(|it| it.due).min();
        let wait = next.map_or(PERIOD, |due| due.saturating_duration_since(now).min(PERIOD));
        if !wait.is_zero() {
            drop(self.news.wait_timeout(plan, wait));
            return;
        }
        let Some(at) = plan.wanted.iter().position(|it| it.due <= now) else { return };
        let wanted = plan.wanted.swap_remove(at);
        plan.running.push(wanted.reaction.action.clone());
        drop(plan);
        let this = self.clone();
        let react = move || {
            this.react(&wanted);
            this.plan().running.retain(|action| *action != wanted.reaction.action);
        };
        // Without threads there is no reaction now; the next look at the readers wants it again.
        if let Err(error) = thread::Builder::new().name("secretfs-reaction".to_owned()).spawn(react) {
            tracing::error!(%error, "a reaction could not be begun");
            self.plan().running.clear();
        }
    }

    fn react(&self, Wanted { reaction, subjects, .. }: &Wanted) {
        let due: Vec<(&PathBuf, &Arc<dyn Subject>, Vec<Due>)> = subjects
            .iter()
            .map(|(file, subject)| (file, subject, run::concerned(&reaction.action, subject.due())))
            .filter(|(.., due)| !due.is_empty())
            .collect();
        let files: Vec<&Path> = due.iter().map(|(file, ..)| file.as_path()).collect();
        let mut processes: Vec<_> = due.iter().flat_map(|(.., due)| due).map(|it| it.process).collect();
        processes.sort_unstable();
        processes.dedup();
        if processes.is_empty() {
            let files: Vec<_> = subjects.keys().map(PathBuf::as_path).collect();
            return self.record(&reaction.action, &files, 0, Outcome::Gone, None);
        }
        self.note(&reaction.action, &files, Outcome::Running, None);
        let begun = run::begin(reaction, &files, &processes);
        // Also if it failed: what failed once would fail each second. And before it has ended, so
        // that whoever serves after us does not do it again.
        due.iter().for_each(|(_, subject, due)| subject.done(due));
        let ended = begun.and_then(|running| running.map_or(Ok(()), Running::finish));
        let (outcome, problem) = match ended {
            Ok(()) => (Outcome::Done, None),
            Err(Problem::Late) => (Outcome::Late, Some(format!("ended after {:?}", reaction.timeout))),
            Err(Problem::Failed(why)) => (Outcome::Failed, Some(why)),
        };
        self.record(&reaction.action, &files, processes.len(), outcome, problem);
    }

    fn record(
        &self,
        action: &Action,
        files: &[&Path],
        readers: usize,
        outcome: Outcome,
        problem: Option<String>,
    ) {
        metrics::get().reactions.of([kind(action), outcome.name()]).inc();
        let (action_text, outcome_name) = (describe(action), outcome.name());
        for file in files {
            let file = file.display();
            match &problem {
                None => {
                    tracing::info!(%file, action = action_text, readers, outcome = outcome_name, "reacted")
                }
                Some(problem) => {
                    tracing::error!(%file, action = action_text, readers, outcome = outcome_name, problem, "reacted");
                }
            }
        }
        self.note(action, files, outcome, problem);
    }

    fn note(&self, action: &Action, files: &[&Path], outcome: Outcome, problem: Option<String>) {
        let reacted = Reacted { at: Timestamp::now(), action: describe(action), outcome, problem };
        let mut last = self.last.lock().expect("nothing panics while it holds this");
        for file in files {
            last.insert((*file).to_owned(), reacted.clone());
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("nothing panics while it holds this")
    }
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "ok",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Gone => "gone",
        }
    }
}

/// As the config says it. A command's arguments are its own affair.
pub fn describe(action: &Action) -> String {
    match action {
        Action::Signal(signal) => format!("signal {}", signal.name()),
        Action::Reload(unit) => format!("reload {}", unit.as_str()),
        Action::Restart(unit) => format!("restart {}", unit.as_str()),
        Action::Command(words) => format!("command {}", words.first().map_or("", String::as_str)),
    }
}

fn kind(action: &Action) -> &'static str {
    match action {
        Action::Signal(_) => "signal",
        Action::Reload(_) => "reload",
        Action::Restart(_) => "restart",
        Action::Command(_) => "command",
    }
}
