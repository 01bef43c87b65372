//! What the daemon counts, with every name and help text in this one place. Anybody may count;
//! labels are outcomes and names of the config, never a value and never a secret's name.
//! Uses prometheus-client only.

mod kinds;

use std::fmt::Write;
use std::sync::OnceLock;
use std::time::Instant;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use kinds::Book;
pub use kinds::{Counter, Described, Gauge, Grid, Labelled, Times};

/// The figures of this process.
pub fn get() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(Metrics::new)
}

/// What the kernel can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Lookup,
    Getattr,
    Open,
    Read,
    Opendir,
}

const OPERATIONS: [&str; 5] = ["lookup", "getattr", "open", "read", "opendir"];

/// The errnos that readers can see, by their numbers; `ok` first, all others last.
const ERRNOS: [(i32, &str); 13] = [
    (libc::EACCES, "EACCES"),
    (libc::ENOENT, "ENOENT"),
    (libc::ENOKEY, "ENOKEY"),
    (libc::EKEYEXPIRED, "EKEYEXPIRED"),
    (libc::EKEYREVOKED, "EKEYREVOKED"),
    (libc::EBADMSG, "EBADMSG"),
    (libc::ETIMEDOUT, "ETIMEDOUT"),
    (libc::EIO, "EIO"),
    (libc::EFBIG, "EFBIG"),
    (libc::ESTALE, "ESTALE"),
    (libc::EMFILE, "EMFILE"),
    (libc::EBADF, "EBADF"),
    (libc::EROFS, "EROFS"),
];
const OUTCOMES: [&str; ERRNOS.len() + 2] = {
    let mut outcomes = ["ok"; ERRNOS.len() + 2];
    let mut index = 0;
    while index < ERRNOS.len() {
        outcomes[index + 1] = ERRNOS[index].1;
        index += 1;
    }
    outcomes[ERRNOS.len() + 1] = "other";
    outcomes
};

/// How a request came to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At once, by a serving thread.
    Ready,
    /// By the pool: something had to be rendered, loaded or waited for.
    Waited,
}

const PACES: [&str; 4] = ["lookup_ready", "lookup_waited", "open_ready", "open_waited"];

pub struct Metrics {
    registry: Registry,
    described: Vec<Described>,

    requests: Grid,
    times: Times,
    pub deadline_hits: Counter,
    pub renderings: Labelled<Counter, 1>,
    pub in_flight: Gauge,
    pub coalesced: Counter,
    pub stale_handles: Counter,
    pub identity_changed: Counter,

    pub provider_calls: Labelled<Counter, 1>,
    pub provider_errors: Labelled<Counter, 2>,
    pub cache_answers: Labelled<Counter, 2>,
    pub cache_entries: Labelled<Gauge, 1>,
    pub cache_evictions: Labelled<Counter, 1>,
    pub breaker_state: Labelled<Gauge, 1>,
    pub breaker_opened: Labelled<Counter, 1>,
    pub divergences: Labelled<Counter, 2>,
    pub clock_jumps: Counter,

    pub mounts: Gauge,
    pub mounts_lost: Gauge,
    pub files: Labelled<Gauge, 1>,
    pub nodes: Labelled<Gauge, 1>,
    pub handles: Labelled<Gauge, 1>,
    pub secrets: Gauge,
    pub ledger_full: Counter,
    pub descriptors_free: Gauge,
    pub memory_locked: Gauge,

    pub worker_starts: Labelled<Counter, 1>,
    pub resumes: Labelled<Counter, 1>,
    pub resends: Counter,
    pub handles_lost: Counter,
    pub dead_mounts: Counter,
    pub aborted_mounts: Counter,
    pub watchdog_probes: Labelled<Counter, 1>,

    pub reloads: Labelled<Counter, 1>,
    pub generation: Gauge,
    pub rescans: Labelled<Counter, 1>,

    pub readers: Labelled<Gauge, 1>,
    pub readers_dropped: Counter,
    pub reactions: Labelled<Counter, 2>,

    pub control_requests: Labelled<Counter, 2>,
    pub control_refused: Counter,
    pub log_lines_lost: Counter,
    pub audit_events: Labelled<Counter, 1>,
    pub audit_blocked: Gauge,
}

impl Metrics {
    fn new() -> Self {
        let mut book = Book::new();
        let requests = book.grid(
            "requests",
            "Requests of the kernel, by what it asked for and the errno of the answer; ESTALE is part of a \
             normal open whose file has changed",
            ("operation", &OPERATIONS),
            ("outcome", &OUTCOMES),
        );
        let times = book.times(
            "request_seconds",
            "Time to the answer of LOOKUP and OPEN: at once by a serving thread, or waited for in the pool",
            ("operation", &PACES),
        );
        let b = &mut book;
        Self {
            requests,
            times,
            deadline_hits: b.counter("deadline_hits", "Requests that were answered by their deadline (ETIMEDOUT)"),
            renderings: b.counters("renderings", "Renderings, by outcome: ok, or the class of the failure", ["outcome"]),
            in_flight: b.gauge("renderings_in_flight", "Renderings under way"),
            coalesced: b.counter("coalesced", "Requests that joined a rendering under way"),
            stale_handles: b.counter(
                "stale_handles",
                "Opens served the older snapshot that another handle of a bound file still used",
            ),
            identity_changed: b.counter(
                "identity_changed",
                "Opens refused because their process was not what it was when it asked; it should stay 0",
            ),

            provider_calls: b.counters("provider_calls", "Calls to a provider behind its cache", ["provider"]),
            provider_errors: b.counters(
                "provider_errors",
                "Calls that failed, by kind: connect, timeout, throttled, decode, too_large, auth, tls, sealed, \
                 corrupt, unavailable",
                ["provider", "kind"],
            ),
            cache_answers: b.counters(
                "cache_answers",
                "What became of a question to the cache: hit, joined (another's call under way), stale (older than \
                 its TTL, within max_stale), mirror (the store's copy), miss",
                ["provider", "answer"],
            ),
            cache_entries: b.gauges("cache_entries", "Answers that the cache holds", ["provider"]),
            cache_evictions: b.counters("cache_evictions", "Answers that the cache let go for want of room", ["provider"]),
            breaker_state: b.gauges(
                "breaker_state",
                "Circuit breaker of a provider: 0 closed, 1 trying again, 2 open",
                ["provider"],
            ),
            breaker_opened: b.counters("breaker_opened", "How often a circuit breaker has opened", ["provider"]),
            divergences: b.counters(
                "divergence",
                "Secrets of which a provider that answers again has another value than the one that stood in for it",
                ["provider", "other"],
            ),
            clock_jumps: b.counter("clock_jump", "How often the machine's clock was set by a second or more"),

            mounts: b.gauge("mounts", "Mounts that are served"),
            mounts_lost: b.gauge("mounts_lost", "Mounts of the config that nobody can read: their place is taken, covered or gone"),
            files: b.gauges("files", "Files of a mount", ["mount"]),
            nodes: b.gauges("nodes", "Nodes that are kept for a mount", ["mount"]),
            handles: b.gauges("open_handles", "Open handles of a mount", ["mount"]),
            secrets: b.gauge("secrets", "Secrets that the loaded templates refer to, counted for each mount"),
            ledger_full: b.counter("ledger_full", "Entries that found no room: those handles end with the worker"),
            descriptors_free: b.gauge("descriptors_free", "File descriptors that the worker may still open"),
            memory_locked: b.gauge("memory_locked", "1 if all memory is locked, 0 if values could be swapped out"),

            worker_starts: b.counters("worker_starts", "Starts of a worker, by cause: start, crash, upgrade", ["cause"]),
            resumes: b.counters("resumes", "Mounts taken over from a predecessor, by outcome: ok, remounted, failed", ["outcome"]),
            resends: b.counter("resends", "Times that the kernel was asked to send its open requests again"),
            handles_lost: b.counter("handles_lost", "Open handles that could not be taken over"),
            dead_mounts: b.counter("dead_mounts_replaced", "Dead mounts of ours that were found and replaced"),
            aborted_mounts: b.counter("mounts_aborted", "Connections ended because no worker served them in time"),
            watchdog_probes: b.counters("watchdog_probes", "Probe reads through the serving path, by outcome: ok, late, failed", ["outcome"]),

            reloads: b.counters("reloads", "Reloads of the config, by outcome: ok, or failed (the old config stays)", ["outcome"]),
            generation: b.gauge("generation", "Generation of the config, counted from 1"),
            rescans: b.counters("rescans", "Folders of templates read again, by cause: edit, overflow, lost, period", ["cause"]),

            readers: b.gauges("readers", "Processes that hold a version of a file: current or stale", ["state"]),
            readers_dropped: b.counter("readers_dropped", "Readers forgotten because there were too many"),
            reactions: b.counters(
                "reactions",
                "Reactions to a change, by kind and outcome: ok, failed, late, gone (nobody held the old version any more)",
                ["kind", "outcome"],
            ),

            control_requests: b.counters("control_requests", "Requests to the control socket, by route and status", ["route", "status"]),
            control_refused: b.counter("control_refused", "Connections to the control socket by users who may not"),
            log_lines_lost: b.counter("log_lines_lost", "Lines of the log that journald did not take at once"),

            audit_events: b.counters(
                "audit_events",
                "Events for the audit, by outcome: ok, or failed (no place took it)",
                ["outcome"],
            ),
            audit_blocked: b.gauge("audit_blocked", "1 if the last event could not be written down anywhere"),

            registry: book.registry,
            described: book.described,
        }
    }

    /// A request was answered. `errno` 0 is success.
    pub fn answered(&self, operation: Operation, errno: i32) {
        let outcome = match errno {
            0 => 0,
            errno => 1 + ERRNOS.iter().position(|(number, _)| *number == errno).unwrap_or(ERRNOS.len()),
        };
        self.requests.count(operation as usize, outcome);
    }

    /// How long a LOOKUP or an OPEN took; others are not timed.
    pub fn took(&self, operation: Operation, pace: Pace, since: Instant) {
        let row = match operation {
            Operation::Lookup => 0,
            Operation::Open => 2,
            _ => return,
        };
        self.times.took(row + pace as usize, since.elapsed());
    }

    /// Requests of one kind, whatever came of them.
    pub fn requests(&self, operation: Operation) -> u64 {
        self.requests.of_row(operation as usize)
    }

    /// All figures, as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }

    /// What each figure means, in Markdown.
    pub fn documentation(&self) -> String {
        let mut text = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
        for Described { name, kind, labels, help } in &self.described {
            let labels = labels.join(", ");
            writeln!(text, "| `{name}` | {kind} | {labels} | {help} |").expect("a string takes everything");
        }
        text
    }
}
