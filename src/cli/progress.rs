//! A bar on stderr for work that lasts: shown on a terminal only, after a second, and gone when the
//! work is done. Uses indicatif.

use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Common;

/// Whoever waits less than this wants no bar.
const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(200);

pub struct Progress {
    bar: ProgressBar,
    /// Its end tells the thread that shows the bar.
    _end: Option<Sender<()>>,
}

impl Progress {
    /// Of so many steps. Nothing is shown to machines.
    pub fn of(steps: usize, what: &'static str, common: &Common) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos} of {len}")
            .map(|it| it.progress_chars("=> "));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        let is_wanted = !common.json && std::io::stderr().is_terminal();
        Self { _end: is_wanted.then(|| show_later(bar.clone())), bar }
    }

    pub fn step(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The work itself may be waiting when the time has come.
fn show_later(bar: ProgressBar) -> Sender<()> {
    let (end, ended) = mpsc::channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) && !bar.is_finished() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            while !bar.is_finished() && ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                bar.tick();
            }
        }
    });
    end
}
