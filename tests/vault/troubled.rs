//! What stands before a server fails where something is made, lent or given back: nothing is made twice, nothing that is
//! good is taken away, nothing stays behind.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::bao::{BY_TOKEN, Bao};
use crate::common::http::{Request, Response, pass_on, serve_tcp};
use crate::common::programmed::{attribute, eventually};
use crate::common::{Mounted, TestMount};
use crate::login::{FILE, role, served};
use crate::written::{PAIR, authority, is_a_pair, is_revoked, issued};
use crate::{fails, reason};

#[derive(Clone, Copy, PartialEq)]
enum Way {
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
    /// The clock of what answers is two hours ahead.
    Ahead,
}

/// Between us and the server.
struct Front {
    way: Arc<Mutex<Way>>,
    asked: Arc<AtomicUsize>,
    address: String,
}

impl Front {
    fn before(bao: &Bao) -> Self {
        let (way, asked, port) =
            (Arc::new(Mutex::new(Way::Through)), Arc::new(AtomicUsize::new(0)), bao.port);
        let (its, count) = (way.clone(), asked.clone());
        let address = serve_tcp(move |request| {
            count.fetch_add(1, Ordering::SeqCst);
            let way = *its.lock().unwrap();
            answer(way, request, port)
        });
        Self { way, asked, address: format!("http://{address}") }
    }

    fn set(&self, way: Way) {
        *self.way.lock().unwrap() = way;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn mount(&self, bao: &Bao, more: &str) -> TestMount {
        self.mount_keeping("", bao, more)
    }

    /// The same with more settings of the cache.
    fn mount_keeping(&self, cache: &str, bao: &Bao, more: &str) -> TestMount {
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
        Way::Foreign(status) => Response::new(status, "<html>default backend</html>"),
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

fn writes(ttl: &str) -> String {
    format!("{BY_TOKEN}, writes: {{pki/issue/web: {{common_name: a.example, ttl: {ttl}}}}}")
}

fn with_pair(front: &Front, bao: &Bao, ttl: &str) -> Mounted {
    let mount = front.mount(bao, &writes(ttl)).template("pair.pem.tpl", PAIR);
    mount.template("f.tpl", FILE).start()
}

#[test]
fn what_may_have_been_made_is_not_asked_for_again() {
    let bao = authority();
    for way in [Way::Bad, Way::Lost] {
        let front = Front::before(&bao);
        let mount = with_pair(&front, &bao, "1h");
        let before = issued(&bao);
        front.set(way);
        let reader = fs::read(mount.path("pair.pem"));
        assert!(reader.is_err());
        assert!(
            reason(&mount, "pair.pem").contains("whether it was made is not known"),
            "{:?}",
            reason(&mount, "pair.pem")
        );
        assert_eq!(issued(&bao), before + 1, "it was made, and nobody has it");
        // The control: what is only read is asked for again.
        let other = with_pair(&front, &bao, "1h");
        let asked = front.asked();
        assert!(fs::read(other.path("f")).is_err());
        assert!(front.asked() >= asked + 3, "{} {asked}", front.asked());
        front.set(Way::Through);
        eventually("another one is made", || fs::read(mount.path("pair.pem")).is_ok());
        is_a_pair(&mount.read("pair.pem"));
        assert_eq!(issued(&bao), before + 2);
    }
}

/// There is a third of its time left. Nobody is kept waiting for more than a moment, and nobody is refused it.
#[test]
fn what_is_good_is_served_while_the_server_is_silent_or_wants_to_be_left_alone() {
    let bao = authority();
    let front = Front::before(&bao);
    let mount = with_pair(&front, &bao, "40s");
    let (pair, start) = (mount.read("pair.pem"), Instant::now());
    front.set(Way::Silent);
    std::thread::sleep(Duration::from_secs(29).saturating_sub(start.elapsed()));
    let asked = Instant::now();
    for _ in 0..2 {
        assert_eq!(mount.read("pair.pem"), pair, "{:?}", start.elapsed());
        std::thread::sleep(Duration::from_millis(150));
    }
    // Each waits a second; four were the provider's own limit.
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    front.set(Way::Throttled);
    assert_eq!(mount.errno("f"), libc::EIO, "the control: what has to be asked for is not to be had");
    assert!(reason(&mount, "f").contains("rate limit"), "{}", reason(&mount, "f"));
    assert_eq!(mount.read("pair.pem"), pair, "{:?}", start.elapsed());
    std::thread::sleep(Duration::from_secs(41).saturating_sub(start.elapsed()));
    assert_eq!(mount.errno("pair.pem"), libc::EIO, "and never longer");
}

#[test]
fn one_that_has_ended_when_it_comes_is_refused_and_no_other_is_made_at_once() {
    let bao = authority();
    let front = Front::before(&bao);
    let mount = with_pair(&front, &bao, "1h");
    let before = issued(&bao);
    front.set(Way::Ahead);
    for _ in 0..5 {
        fails(&mount, "pair.pem", libc::EIO, "is the server's clock right");
        std::thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(issued(&bao), before + 1);
    // The control: who has not asked yet has a good one when the clock is right.
    front.set(Way::Through);
    is_a_pair(&with_pair(&front, &bao, "1h").read("pair.pem"));
}

/// As an ingress without a backend or a firewall does: that is no word of the server on our rights.
#[test]
fn what_stands_before_the_server_refuses_nothing_in_its_name() {
    let bao = authority();
    let front = Front::before(&bao);
    for status in [401, 403, 404] {
        let mount = front.mount(&bao, BY_TOKEN).template("f.tpl", FILE).start();
        assert_eq!(mount.read("f"), "v");
        front.set(Way::Foreign(status));
        std::thread::sleep(Duration::from_millis(150));
        fails(&mount, "f", libc::EIO, "something before it answers in its place");
        mount.await_log("kind=\"unavailable\"", 1);
        assert!(!mount.stderr().contains("kind=\"auth\""), "{}", mount.stderr());
        front.set(Way::Through);
    }
    // The control: the server's own.
    let token = bao.make_token(json!({"policies": ["none"]}));
    let mount =
        front.mount(&bao, BY_TOKEN).env("SECRETFS_TEST_TOKEN", &token).template("f.tpl", FILE).start();
    fails(&mount, "f", libc::EIO, "refuses the read");
    mount.await_log("kind=\"auth\"", 1);
}

/// Of a gateway, a refusal is an outage: what the store has a copy of is served, and marked. The control: of the server
/// itself it is an answer, in whose place no copy is served, then or later.
#[test]
fn a_copy_stands_in_for_who_is_refused_on_the_way_and_for_nobody_whom_the_server_refuses() {
    let bao = served();
    let token = bao.make_token(json!({"policies": ["app"]}));
    let front = Front::before(&bao);
    let mount = front.mount_keeping(", mirror: true", &bao, BY_TOKEN).env("SECRETFS_TEST_TOKEN", &token);
    let mount = mount.template("f.tpl", FILE).start();
    let copies = || mount.store().copies("vault");
    let stale = || attribute(&mount, "f", "stale").filter(|mark| mark.contains("vault: not confirmed"));
    assert_eq!(mount.read("f"), "v");
    eventually("a copy", || copies() == 1);
    for status in [401, 403, 404] {
        front.set(Way::Foreign(status));
        eventually("it is marked", || mount.read("f") == "v" && stale().is_some());
        assert_eq!(copies(), 1, "{status}");
        front.set(Way::Through);
        eventually("it is new", || mount.read("f") == "v" && stale().is_none());
    }
    mount.await_log("mirror: the store's copy is served", 1);
    bao.policy("app", "path \"secret/data/*\" { capabilities = [\"deny\"] }");
    eventually("it is refused", || fs::read(mount.path("f")).is_err());
    assert!(
        reason(&mount, "f").contains("refuses the read of `secret/app` (403)"),
        "{}",
        reason(&mount, "f")
    );
    eventually("and the copy goes", || copies() == 0);
    front.set(Way::Foreign(403));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(mount.errno("f"), libc::EIO, "nothing is left to be served");
}

#[test]
fn the_token_is_given_back_even_if_certificates_cannot_be() {
    let bao = authority();
    let front = Front::before(&bao);
    let (role_id, secret_id) = role(&bao, json!({"token_policies": ["app", "pki"]}));
    for (way, is_revoked_then) in [(Way::SilentOnRevoke, false), (Way::Through, true)] {
        let before = bao.tokens();
        let auth = format!("auth: {{method: approle, role_id: '{role_id}', secret_id: '${{SECRET_ID}}'}}");
        let more = format!("{auth}, revoke: true, writes: {{pki/issue/web: {{common_name: a.example}}}}");
        let mount = front.mount(&bao, &more).env("SECRET_ID", &secret_id);
        let mut mount =
            mount.template("serial.tpl", "<< secret('vault:pki/issue/web#serial_number') >>").start();
        let serial = mount.read("serial");
        assert_eq!(bao.tokens(), before + 1);
        front.set(way);
        assert!(mount.stop().success());
        assert_eq!(bao.tokens(), before, "{:?}", attribute(&mount, "serial", "error"));
        assert_eq!(is_revoked(&bao, &serial), is_revoked_then);
    }
}
