//! What is left of a store when whoever changes it dies at one of its writes, or the power goes: the
//! state before or the state after, whole, and nothing else. `docs/crash-safety.md` has the figures.

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod figures;
mod image;
mod operations;
mod state;
mod strace;
mod trial;

use common::long;
use figures::Row;
use operations::{OPERATIONS, filled};
use strace::{Fate, Point};
use trial::{Trial, sample};

const BACKENDS: [&str; 2] = ["sqlite", "file"];

/// Points of one operation, spread evenly, when all of them would take too long.
const SAMPLE: usize = 4;
/// The control shows what it has to long before its last row.
const CONTROL: usize = 25;

/// Moments of a loss of power for one operation, in short and at length; the control needs fewer.
const MOMENTS: [usize; 2] = [4, 100];

#[test]
fn whoever_dies_while_writing_leaves_the_old_or_the_new() {
    check("kill -9", |trial| {
        let mut row = Row::new(trial.operation.name, trial.backend);
        let points = sample(trial.points(), if long() { usize::MAX } else { SAMPLE });
        points.iter().filter_map(|point| trial.kill(point)).for_each(|verdict| row.count(verdict));
        let control = trial.control();
        let points = sample(control.points(), if long() { CONTROL } else { SAMPLE });
        let verdicts = points.iter().filter_map(|point| trial.kill_control(&control, point));
        verdicts.for_each(|verdict| row.count_control(&verdict));
        row
    });
}

/// The disk is full, or broken: once, at one call.
#[test]
fn a_call_that_fails_leaves_the_old_or_the_new() {
    check("an error", |trial| {
        let mut row = Row::new(trial.operation.name, trial.backend);
        let fails = |point: &Point| match point.is_sync() {
            true => trial.fail(point, Fate::Fails("EIO")),
            false => trial.fail(point, Fate::Fails("ENOSPC")),
        };
        let most = if long() { usize::MAX } else { SAMPLE };
        let points = trial.points();
        sample(points, most).iter().map(fails).for_each(|verdict| row.count(verdict));
        let syncs: Vec<_> = points.iter().filter(|it| it.is_sync() && it.is_before_word).cloned().collect();
        let skips = sample(&syncs, 2).into_iter().map(|point| trial.fail(&point, Fate::Skipped));
        skips.for_each(|verdict| row.count_control(&verdict));
        row
    });
}

#[test]
fn a_loss_of_power_leaves_the_old_or_the_new() {
    check("loss of power", |trial| {
        let mut row = Row::new(trial.operation.name, trial.backend);
        let most = MOMENTS[usize::from(long())];
        trial.lose_power(most, true).into_iter().for_each(|verdict| row.count(verdict));
        let control = if long() { CONTROL } else { SAMPLE };
        trial.lose_power(control, false).iter().for_each(|verdict| row.count_control(verdict));
        row
    });
}

/// Tries all operations on both backends.
fn check(title: &str, row: impl Fn(&Trial<'_>) -> Row + Sync) {
    let rows = on_both(|backend| {
        let store = filled(backend);
        let wanted = OPERATIONS.iter().filter(|operation| is_wanted(operation.name));
        let trials = wanted.map(|operation| Trial::prepare(&store, backend, operation));
        trials.map(|trial| row(&trial)).collect::<Vec<_>>()
    });
    println!("{title}\n{}", figures::table(&rows));
    let violations: Vec<_> = rows.iter().flat_map(|row| &row.violations).cloned().collect();
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
    for backend in BACKENDS {
        let of_backend = rows.iter().filter(|row| row.backend == backend);
        let found = of_backend.map(|row| row.control_violations).sum::<usize>();
        let tried = rows.iter().filter(|row| row.backend == backend).count();
        assert!(found * 2 > tried, "{backend}: this test finds next to nothing in its control");
    }
    figures::keep(title, &rows);
}

/// All of them, or those that `SECRETFS_TEST_ONLY` names, with commas between them.
fn is_wanted(operation: &str) -> bool {
    let only = std::env::var("SECRETFS_TEST_ONLY").unwrap_or_default();
    only.is_empty() || only.split(',').any(|name| name == operation)
}

/// Both at once: what is timed is mostly waiting.
fn on_both<T: Send>(work: impl Fn(&'static str) -> Vec<T> + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads = BACKENDS.map(|backend| scope.spawn(move || work(backend)));
        threads.into_iter().flat_map(|thread| thread.join().expect("both backends")).collect()
    })
}
