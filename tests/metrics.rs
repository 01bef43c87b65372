//! The figures: what is counted is what is shown, in the text that Prometheus reads, and
//! `docs/metrics.md` says of each what it means.

use std::time::{Duration, Instant};

use secretfs::metrics::{self, Operation, Pace};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
const HEAD: &str = "# Metrics

What `GET /metrics` on the control socket (and, by choice, on a loopback address) shows, in the
OpenMetrics text format. Labels are outcomes and names of the config: never a value, and never a
secret's name. Counters begin at 0 with each worker.

";

#[test]
fn every_figure_is_documented() {
    let text = format!("{HEAD}{}", metrics::get().documentation());
    if std::env::var_os("SECRETFS_BLESS").is_some() {
        std::fs::write(DOCUMENT, &text).unwrap();
    }
    let kept = std::fs::read_to_string(DOCUMENT).unwrap_or_default();
    assert!(text == kept, "SECRETFS_BLESS=1 cargo test --test metrics writes {DOCUMENT} anew");
    assert!(text.contains("| `secretfs_requests_total` | counter | operation, outcome |"), "{text}");
}

/// One test, because the figures are the process's.
#[test]
fn what_is_counted_is_shown() {
    let metrics = metrics::get();
    metrics.answered(Operation::Open, 0);
    metrics.answered(Operation::Open, libc::ENOKEY);
    metrics.answered(Operation::Open, libc::ENOKEY);
    metrics.answered(Operation::Read, libc::EXDEV);
    metrics.took(Operation::Open, Pace::Waited, Instant::now() - Duration::from_millis(30));
    metrics.took(Operation::Lookup, Pace::Ready, Instant::now() - Duration::from_secs(3600));
    metrics.provider_errors.of(["vault", "timeout"]).inc();
    metrics.breaker_state.of(["vault"]).set(2);
    assert_eq!(metrics.requests(Operation::Open), 3);
    let text = metrics.text();
    for line in [
        "# TYPE secretfs_requests counter",
        "secretfs_requests_total{operation=\"open\",outcome=\"ok\"} 1",
        "secretfs_requests_total{operation=\"open\",outcome=\"ENOKEY\"} 2",
        "secretfs_requests_total{operation=\"read\",outcome=\"other\"} 1",
        "secretfs_request_seconds_bucket{le=\"0.01\",operation=\"open_waited\"} 0",
        "secretfs_request_seconds_bucket{le=\"0.05\",operation=\"open_waited\"} 1",
        "secretfs_request_seconds_bucket{le=\"30.0\",operation=\"lookup_ready\"} 0",
        "secretfs_request_seconds_bucket{le=\"+Inf\",operation=\"lookup_ready\"} 1",
        "secretfs_request_seconds_count{operation=\"open_waited\"} 1",
        "secretfs_provider_errors_total{provider=\"vault\",kind=\"timeout\"} 1",
        "secretfs_breaker_state{provider=\"vault\"} 2",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains("getattr"), "what never happened takes no line");
}
