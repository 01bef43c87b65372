//! One operation on one store, from the same beginning as often as wanted. What is judged is what
//! another process finds afterwards. Uses `disk`, `image`, `state` and `strace`.

use std::process::Command;

use tempfile::TempDir;

use super::common::{TestStore, tool};
use super::disk::{self, Disk, Event, Loss};
use super::image::Image;
use super::operations::Operation;
use super::state::State;
use super::strace::{self, Ended, Fate, Point, Record};

pub(crate) struct Trial<'a> {
    pub(crate) operation: &'static Operation,
    pub(crate) backend: &'static str,
    pub(crate) record: Record,
    store: &'a TestStore,
    begin: Image,
    before: State,
    after: State,
    /// The folder as it is after it.
    end: TempDir,
}

/// Which of its states a store is found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Before,
    OnItsWay,
    After,
}

/// What is tried at each moment. Chance has a seed of its own at each.
const LOSSES: [Loss; 5] =
    [Loss::All, Loss::Data, Loss::Some(0), Loss::Some(1_000_000), Loss::Some(2_000_000)];

/// So many of them at most, from the first to the last.
pub(crate) fn sample<T: Clone>(all: &[T], most: usize) -> Vec<T> {
    let most = most.min(all.len());
    (0..most).map(|n| all[n * (all.len() - 1) / (most - 1).max(1)].clone()).collect()
}

/// What a death led to; an error says what is wrong with it.
pub(crate) type Verdict = Result<Stage, String>;

/// The same rows as an operation writes, written without care.
pub(crate) struct Control(Command, Record);

impl Control {
    pub(crate) fn points(&self) -> &[Point] {
        &self.1.points
    }
}

impl<'a> Trial<'a> {
    pub(crate) fn points(&self) -> &[Point] {
        &self.record.points
    }

    /// Runs the operation once as it should be, and puts the store back.
    pub(crate) fn prepare(
        store: &'a TestStore,
        backend: &'static str,
        operation: &'static Operation,
    ) -> Self {
        let begin = Image::take(store.folder());
        let before = State::read(store).expect("sound");
        let record = strace::record(&command(store, operation, backend), operation.stdin, store.folder());
        let after = State::read(store).expect("sound").beside(&before);
        assert_ne!(after, before, "{}: it does nothing", operation.name);
        let end = tempfile::tempdir().expect("a folder");
        Image::take(store.folder()).put(end.path());
        begin.put(store.folder());
        Self { operation, backend, record, store, begin, before, after, end }
    }

    /// `None` if it never comes to that point.
    pub(crate) fn kill(&self, point: &Point) -> Option<Verdict> {
        let ended = self.disturb(point, Fate::Killed);
        let verdict = ended.status.is_none().then(|| {
            let verdict = self.judge(ended.said);
            let about = |why: String| self.about(&format!("killed at {point}"), &why);
            verdict.and_then(|stage| self.go_on(stage)).map_err(about)
        });
        self.begin.put(self.store.folder());
        verdict
    }

    /// The call fails once, or is not done and said to be. Then it is not told to be done, or it is.
    pub(crate) fn fail(&self, point: &Point, fate: Fate) -> Verdict {
        let ended = self.disturb(point, fate);
        let verdict = self.judge_failure(point, &ended);
        let verdict = verdict.and_then(|stage| self.go_on(stage));
        self.begin.put(self.store.folder());
        verdict.map_err(|why| self.about(&format!("{fate:?} at {point}"), &why))
    }

    fn judge_failure(&self, point: &Point, ended: &Ended) -> Verdict {
        let is_done = ended.status == Some(0);
        let is_ours = ended.complained.contains("\n  try: ");
        // What comes after the change, and is no promise of it.
        let is_warned = ended.complained.contains("warning: sealed bytes of what was removed");
        // SQLite syncs its folder, and does not care what came of it.
        let rows = point.path.join("store.db");
        let rows = rows.strip_prefix(self.store.folder()).expect("below it");
        let may_be_done = self.begin.files.contains_key(rows) || self.end.path().join(rows).exists();
        match (is_done, is_ours) {
            (true, _) if point.is_sync() && point.is_before_word && !may_be_done && !is_warned => {
                Err("it was not synced, and told to be done".into())
            }
            (false, false) => Err(format!("it says nothing useful: {:?} {}", ended.status, ended.complained)),
            _ => self.judge(is_done || ended.said),
        }
    }

    fn disturb(&self, point: &Point, fate: Fate) -> Ended {
        let command = command(self.store, self.operation, self.backend);
        strace::disturb(&command, self.operation.stdin, &self.record, point, fate)
    }

    pub(crate) fn control(&self) -> Control {
        let mut command = Command::new(tool("python3"));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store_kill/control.py"));
        command.arg(self.backend).arg(self.store.path()).arg(self.end.path().join("store"));
        let record = strace::record(&command, "", self.store.folder());
        self.judge(true).expect("the control leads to the same state");
        self.begin.put(self.store.folder());
        Control(command, record)
    }

    pub(crate) fn kill_control(&self, Control(command, record): &Control, point: &Point) -> Option<Verdict> {
        let ended = strace::disturb(command, "", record, point, Fate::Killed);
        let verdict = ended.status.is_none().then(|| self.judge(false));
        self.begin.put(self.store.folder());
        verdict
    }

    /// What the power leaves if it goes at each of so many moments, on a disk that obeys when it is told
    /// to sync, or on one that does not.
    pub(crate) fn lose_power(&self, most: usize, obeys: bool) -> Vec<Verdict> {
        let events = disk::events(&self.record.lines, self.store.folder());
        let moments = (1..=events.len()).flat_map(|moment| LOSSES.map(|loss| (moment, loss)));
        let moments = sample(&moments.collect::<Vec<_>>(), most);
        let mut disk = Disk::holding(&self.begin, obeys);
        let (mut taken, mut was_told) = (0, false);
        let verdict = |(moment, loss)| {
            for event in &events[taken..moment] {
                disk.take(event);
                was_told |= matches!(event, Event::Told);
            }
            taken = moment;
            let loss = if let Loss::Some(seed) = loss { Loss::Some(seed + moment as u64) } else { loss };
            disk.after(loss).put(self.store.folder());
            let verdict = self.judge(was_told);
            let verdict = if obeys { verdict.and_then(|stage| self.go_on(stage)) } else { verdict };
            let at = format!("no power after {moment} of {} calls, lost {loss:?}", events.len());
            verdict.map_err(|why| self.about(&at, &why))
        };
        let verdicts = moments.into_iter().map(verdict).collect();
        self.begin.put(self.store.folder());
        verdicts
    }

    /// Which state the store is in; it must be the last one if somebody was told that it is done.
    fn judge(&self, was_told: bool) -> Verdict {
        let now = State::read(self.store)?.beside(&self.before);
        let stage = if now == self.after {
            Stage::After
        } else if now == self.before {
            Stage::Before
        } else if (self.operation.may_stop_in)(&self.before, &now) {
            Stage::OnItsWay
        } else {
            return Err(format!("mixed: {}", now.difference(&self.before, &self.after)));
        };
        match was_told && stage != Stage::After {
            true => Err(format!("it was told to be done, and the store is in the state {stage:?}")),
            false => Ok(stage),
        }
    }

    /// Whoever comes next can do the same again, if it is not done, and something else.
    fn go_on(&self, stage: Stage) -> Verdict {
        if stage != Stage::After {
            let again = self
                .store
                .run_with(&as_strs(&self.operation.args(self.store, self.backend)), self.operation.stdin);
            let said = String::from_utf8_lossy(&again.stderr).into_owned();
            let done = if again.status.success() { self.judge(true) } else { Err(said) };
            done.map_err(|why| format!("in the state {stage:?}, and it cannot be done again: {why}"))?;
        }
        let new_key = self.store.folder().join("new.key");
        if new_key.exists() && self.after.has_another_master(&self.before) {
            std::fs::rename(new_key, self.store.key_file()).expect("in its place");
        }
        let next = self.store.run_with(&["set", "next"], "value");
        let got = self.store.run(&["get", "next"]);
        match got.stdout == b"value" {
            true => Ok(stage),
            false => Err(format!("the next change fails: {next:?}")),
        }
    }

    fn about(&self, what: &str, why: &str) -> String {
        format!("{} on {}, {what}: {why}", self.operation.name, self.backend)
    }
}

fn command(store: &TestStore, operation: &Operation, backend: &str) -> Command {
    store.command(&as_strs(&operation.args(store, backend)))
}

fn as_strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}
