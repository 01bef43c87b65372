//! What stands before a server, and lets questions through, or does with them what balancers, firewalls and old servers do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::common::TestMount;
use crate::common::bao::Bao;
use crate::common::http::{Request, Response, pass_on, serve_tcp};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Through,
    /// The server is asked, and its answer is lost.
    Lost,
    /// The same, with a word of the balancer's own.
    Bad,
    Silent,
    /// Nothing is said to who takes certificates back.
    SilentOnRevoke,
    Throttled,
    /// An answer that is not the server's.
    Foreign(u16),
    /// One that may be.
    Says(u16, &'static str),
    /// All is refused in the same words, as of old.
    Vague,
    /// Our wrapping token was made at a place with a very long name.
    Long,
    /// The clock of what answers is two hours ahead.
    Ahead,
}

/// Between us and the server.
pub(crate) struct Front {
    way: Arc<Mutex<Way>>,
    asked: Arc<AtomicUsize>,
    logins: Arc<AtomicUsize>,
    address: String,
}

impl Front {
    pub(crate) fn before(bao: &Bao) -> Self {
        let (way, port) = (Arc::new(Mutex::new(Way::Through)), bao.port);
        let (asked, logins) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (its, count, entered) = (way.clone(), asked.clone(), logins.clone());
        let address = serve_tcp(move |request| {
            count.fetch_add(1, Ordering::SeqCst);
            entered.fetch_add(request.target.ends_with("/login").into(), Ordering::SeqCst);
            let way = *its.lock().unwrap();
            answer(way, request, port)
        });
        Self { way, asked, logins, address: format!("http://{address}") }
    }

    pub(crate) fn set(&self, way: Way) {
        *self.way.lock().unwrap() = way;
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }

    pub(crate) fn mount(&self, bao: &Bao, more: &str) -> TestMount {
        self.mount_keeping("", bao, more)
    }

    /// The same with more settings of the cache.
    pub(crate) fn mount_keeping(&self, cache: &str, bao: &Bao, more: &str) -> TestMount {
        TestMount::new().env("SECRETFS_TEST_TOKEN", &bao.token).config(&format!(
            "providers:\n  vault: {{type: vault, address: \"{}\", cache: {{ttl: 100ms, negative_ttl: 100ms{cache}}}, \
             {more}}}\nmounts: [{{at: mnt, templates: templates}}]\n",
            self.address
        ))
    }
}

fn answer(way: Way, request: &Request, port: u16) -> Response {
    let silent = || -> Response {
        std::thread::sleep(Duration::from_secs(60));
        Response::new(502, "")
    };
    match way {
        Way::Through => pass_on(request, port),
        Way::Lost => {
            drop(pass_on(request, port));
            // Ends this connection, and nothing else.
            std::panic::resume_unwind(Box::new(()))
        }
        Way::Bad => {
            drop(pass_on(request, port));
            Response::new(502, "<html>bad gateway</html>")
        }
        Way::Silent => silent(),
        Way::SilentOnRevoke if request.target.ends_with("pki/revoke") => silent(),
        Way::SilentOnRevoke => pass_on(request, port),
        Way::Throttled => Response::new(429, r#"{"errors": ["request path: rate limit quota exceeded"]}"#)
            .header("Retry-After: 3600"),
        Way::Foreign(status) => {
            Response::new(status, "<html>default backend</html>").header("Retry-After: 86400")
        }
        Way::Says(status, text) => Response::new(status, json!({"errors": [text]}).to_string()),
        Way::Vague => match pass_on(request, port) {
            refused if refused.status == 403 => Response::new(403, r#"{"errors": ["permission denied"]}"#),
            other => other,
        },
        Way::Long if request.target.ends_with("wrapping/lookup") => {
            Response::new(200, json!({"data": {"creation_path": "long/".repeat(20_000)}}).to_string())
        }
        Way::Long => pass_on(request, port),
        Way::Ahead => {
            let then = jiff::Zoned::now()
                .with_time_zone(jiff::tz::TimeZone::UTC)
                .checked_add(jiff::Span::new().hours(2))
                .unwrap();
            let date = then.strftime("%a, %d %b %Y %H:%M:%S GMT");
            pass_on(request, port).header(&format!("Date: {date}"))
        }
    }
}
