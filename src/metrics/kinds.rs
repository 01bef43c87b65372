//! The kinds of figures: counters and gauges with and without labels, and times. What is counted
//! at every open is an atomic addition: no lock, no memory. Uses prometheus-client only.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry};

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::gauge::Gauge;

type Labels<const N: usize> = [(&'static str, String); N];

/// A figure for each combination of its labels, which are few: names of the config, never of
/// secrets.
#[derive(Clone)]
pub struct Labelled<M, const N: usize> {
    names: [&'static str; N],
    family: Family<Labels<N>, M>,
}

impl<M: Clone + Default, const N: usize> Labelled<M, N> {
    /// The figure of these labels, in the order of their names.
    pub fn of(&self, values: [&str; N]) -> M {
        self.family.get_or_create_owned(&self.labels(values))
    }

    fn labels(&self, values: [&str; N]) -> Labels<N> {
        let mut values = values.into_iter();
        self.names.map(|name| (name, values.next().unwrap_or_default().to_owned()))
    }

    /// The same, if there is one.
    pub fn known(&self, values: [&str; N]) -> Option<M> {
        self.family.get(&self.labels(values)).map(|metric| metric.clone())
    }

    /// Forgets all of them, for those that are measured anew.
    pub fn clear(&self) {
        self.family.clear();
    }
}

/// Counts by two labels that have few values, all known beforehand.
#[derive(Clone)]
pub struct Grid {
    names: [&'static str; 2],
    rows: &'static [&'static str],
    columns: &'static [&'static str],
    cells: Arc<[AtomicU64]>,
}

impl Grid {
    fn new(
        names: [&'static str; 2],
        rows: &'static [&'static str],
        columns: &'static [&'static str],
    ) -> Self {
        let cells = (0..rows.len() * columns.len()).map(|_| AtomicU64::new(0)).collect();
        Self { names, rows, columns, cells }
    }

    pub fn count(&self, row: usize, column: usize) {
        self.cells[row * self.columns.len() + column].fetch_add(1, Ordering::Relaxed);
    }

    /// Of one row, in all columns.
    pub fn of_row(&self, row: usize) -> u64 {
        let cells = &self.cells[row * self.columns.len()..][..self.columns.len()];
        cells.iter().map(|cell| cell.load(Ordering::Relaxed)).sum()
    }
}

impl TypedMetric for Grid {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Grid {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (index, cell) in self.cells.iter().enumerate() {
            let value = cell.load(Ordering::Relaxed);
            if value == 0 {
                continue;
            }
            let (row, column) = (index / self.columns.len(), index % self.columns.len());
            let labels = [(self.names[0], self.rows[row]), (self.names[1], self.columns[column])];
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// Upper bounds in microseconds, from a warm open to a missed deadline.
const BOUNDS: [u64; 16] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// How long something took, in buckets.
#[derive(Clone)]
pub struct Times {
    label: &'static str,
    rows: &'static [&'static str],
    tables: Arc<[Buckets]>,
}

#[derive(Default)]
struct Buckets {
    counts: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Times {
    fn new(label: &'static str, rows: &'static [&'static str]) -> Self {
        Self { label, rows, tables: rows.iter().map(|_| Buckets::default()).collect() }
    }

    pub fn took(&self, row: usize, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|&bound| bound < micros);
        let table = &self.tables[row];
        table.counts[bucket].fetch_add(1, Ordering::Relaxed);
        table.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl TypedMetric for Times {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Times {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (row, table) in self.rows.iter().zip(&*self.tables) {
            let bounds = BOUNDS.iter().map(|&bound| bound as f64 / 1e6).chain([f64::INFINITY]);
            let counts = table.counts.iter().map(|count| count.load(Ordering::Relaxed));
            let buckets: Vec<_> = bounds.zip(counts).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let sum = table.micros.load(Ordering::Relaxed) as f64 / 1e6;
            let labels = [(self.label, *row)];
            encoder.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// What the documentation says of a figure.
pub struct Described {
    pub name: String,
    pub kind: &'static str,
    pub labels: Vec<&'static str>,
    pub help: &'static str,
}

/// Makes figures and remembers what they are.
pub(super) struct Book {
    pub(super) registry: Registry,
    pub(super) described: Vec<Described>,
}

pub(super) const PREFIX: &str = "secretfs";

impl Book {
    pub(super) fn new() -> Self {
        Self { registry: Registry::with_prefix(PREFIX), described: Vec::new() }
    }

    pub(super) fn counter(&mut self, name: &str, help: &'static str) -> Counter {
        self.enter(name, help, &[], Counter::default())
    }

    pub(super) fn gauge(&mut self, name: &str, help: &'static str) -> Gauge {
        self.enter(name, help, &[], Gauge::default())
    }

    pub(super) fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &'static str,
        names: [&'static str; N],
    ) -> Labelled<Counter, N> {
        let family = self.enter(name, help, &names, Family::default());
        Labelled { names, family }
    }

    pub(super) fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &'static str,
        names: [&'static str; N],
    ) -> Labelled<Gauge, N> {
        let family = self.enter(name, help, &names, Family::default());
        Labelled { names, family }
    }

    pub(super) fn grid(
        &mut self,
        name: &str,
        help: &'static str,
        rows: (&'static str, &'static [&'static str]),
        columns: (&'static str, &'static [&'static str]),
    ) -> Grid {
        let names = [rows.0, columns.0];
        self.enter(name, help, &names, Grid::new(names, rows.1, columns.1))
    }

    pub(super) fn times(
        &mut self,
        name: &str,
        help: &'static str,
        rows: (&'static str, &'static [&'static str]),
    ) -> Times {
        self.enter(name, help, &[rows.0], Times::new(rows.0, rows.1))
    }

    fn enter<M>(&mut self, name: &str, help: &'static str, labels: &[&'static str], metric: M) -> M
    where
        M: Metric + TypedMetric + Clone,
    {
        self.registry.register(name, help, metric.clone());
        let (kind, suffix) = match M::TYPE {
            MetricType::Counter => ("counter", "_total"),
            MetricType::Histogram => ("histogram", ""),
            _ => ("gauge", ""),
        };
        let name = format!("{PREFIX}_{name}{suffix}");
        self.described.push(Described { name, kind, labels: labels.to_vec(), help });
        metric
    }
}

impl fmt::Debug for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grid").field("names", &self.names).finish_non_exhaustive()
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Times").field("label", &self.label).finish_non_exhaustive()
    }
}
