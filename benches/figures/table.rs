//! The figures as they are printed: a row per subject, and beside it how it stands to its aim.

use std::io::Write;
use std::time::Duration;

use crate::measure::Samples;

pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn new() -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::ASCII_MARKDOWN);
        table.set_header(["what", "who", "least", "median", "against its measure", "aim"]);
        Self(table)
    }

    /// Also said at once, so that it is not lost with those that are still to come.
    pub(crate) fn row(&mut self, row: Row) {
        let filled: Vec<_> = row.0.iter().filter(|text| !text.is_empty()).map(String::as_str).collect();
        let _ = writeln!(std::io::stderr(), "{}", filled.join(" | "));
        self.0.add_row(row.0);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

pub(crate) struct Row([String; 6], Duration);

impl Row {
    pub(crate) fn new(what: &str, who: &str, samples: &Samples) -> Self {
        let median = samples.median();
        let [what, who] = [what, who].map(str::to_owned);
        Self([what, who, micros(samples.least()), micros(median), String::new(), String::new()], median)
    }

    /// A plain figure, such as a size.
    pub(crate) fn note(what: &str, who: &str, figure: String, aim: String) -> Self {
        let [what, who] = [what, who].map(str::to_owned);
        Self([what, who, String::new(), figure, String::new(), aim], Duration::ZERO)
    }

    /// Held against a multiple of another subject's median.
    pub(crate) fn times(mut self, other: &Samples, aim: f64) -> Self {
        let times = self.1.as_secs_f64() / other.median().as_secs_f64();
        self.0[4] = format!("{times:.2} x");
        self.0[5] = verdict(&format!("{aim:.1} x"), times <= aim);
        self
    }

    /// Held against an aim of its own.
    pub(crate) fn aim(mut self, aim: Option<String>) -> Self {
        self.0[5] = aim.unwrap_or_default();
        self
    }

    /// Held against another subject's median, and what may come on top.
    pub(crate) fn over(mut self, other: &Samples, aim: Option<Duration>) -> Self {
        let over = self.1.saturating_sub(other.median());
        self.0[4] = format!("+ {}", micros(over));
        self.0[5] = aim.map(|aim| verdict(&format!("+ {}", micros(aim)), over <= aim)).unwrap_or_default();
        self
    }
}

pub(crate) fn verdict(aim: &str, met: bool) -> String {
    format!("<= {aim}: {}", if met { "met" } else { "missed" })
}

fn micros(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    if micros < 1000.0 { format!("{micros:.1} us") } else { format!("{:.2} ms", micros / 1000.0) }
}
