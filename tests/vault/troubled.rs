//! What stands before a server fails where something is made, lent or given back: nothing is made twice, nothing that is
//! good is taken away, nothing stays behind.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::Mounted;
use crate::common::bao::{BY_TOKEN, Bao};
use crate::common::programmed::{attribute, eventually};
use crate::front::{Front, Way};
use crate::lease::{LOGIN, Postgres, lender};
use crate::login::{FILE, role, served};
use crate::written::{PAIR, authority, is_a_pair, is_revoked, issued};
use crate::{fails, reason};

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

fn by_role(id: &str) -> String {
    format!("auth: {{method: approle, role_id: '{id}', secret_id: '${{SECRET_ID}}'}}")
}

/// A token that may not even ask about itself is had once, whatever else it may not do. Where no word of the server tells
/// a void one from a right that is lacking, there is one try, and the token before is given back.
#[test]
fn a_right_that_is_lacking_makes_no_tokens() {
    let bao = authority();
    bao.policy("leave", "path \"auth/token/revoke-self\" { capabilities = [\"update\"] }");
    let before = bao.tokens();
    let of = |way: Way, policies: &[&str]| {
        let front = Front::before(&bao);
        front.set(way);
        let about = json!({"token_no_default_policy": true, "token_policies": policies});
        let (role_id, secret_id) = role(&bao, about);
        let mount = front.mount(&bao, &by_role(&role_id)).env("SECRET_ID", &secret_id);
        let mount = mount.template("f.tpl", FILE).template("no.tpl", "<< secret('vault:other/x') >>").start();
        assert_eq!(mount.read("f"), "v");
        (front, mount)
    };
    let (plain, mut mount) = of(Way::Through, &["app"]);
    let (vague, mut other) = of(Way::Vague, &["app", "leave"]);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(24) {
        for mount in [&mount, &other] {
            assert_eq!(mount.errno("no"), libc::EIO);
            assert_eq!(mount.read("f"), "v");
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let logins = [&plain, &vague].map(Front::logins);
    assert_eq!(logins, [1, 2], "{}", reason(&mount, "no"));
    assert_eq!(bao.tokens(), before + 2, "the one that was replaced has gone");
    assert!(mount.stop().success() && other.stop().success());
    mount.await_log("needs `update` on auth/token/revoke-self", 1);
    assert_eq!(bao.tokens(), before + 1, "the control: one has gone with its mount, the other one may not");
    assert!(!other.stderr().contains("revoke-self"), "{}", other.stderr());
}

/// Not to be asked again is nothing that the server has done.
#[test]
fn a_pause_of_ours_is_no_failure_of_the_server() {
    let bao = authority();
    let front = Front::before(&bao);
    let mount = with_pair(&front, &bao, "1h");
    let before = issued(&bao);
    front.set(Way::Bad);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(12) {
        assert!(fs::read(mount.path("pair.pem")).is_err());
        std::thread::sleep(Duration::from_millis(200));
    }
    let made = issued(&bao) - before;
    assert!((2..=3).contains(&made), "one in five seconds: {made}");
    assert!(reason(&mount, "pair.pem").contains("is not known"), "{}", reason(&mount, "pair.pem"));
    let log = mount.stderr();
    assert_eq!(log.matches("provider_error").count(), made, "{log}");
    assert!(!log.contains("breaker_state"), "{log}");
    front.set(Way::Through);
    eventually("another one is made", || fs::read(mount.path("pair.pem")).is_ok());
}

/// As what is written to: each answer is another login, and one that is lost is nobody's.
#[test]
fn what_may_have_been_lent_is_not_asked_for_again() {
    let postgres = Postgres::start();
    let bao = lender(&postgres, "1h", "24h");
    for way in [Way::Bad, Way::Lost] {
        let (front, before) = (Front::before(&bao), postgres.lent());
        let mount = front.mount(&bao, BY_TOKEN).template("f.tpl", LOGIN);
        let known = "<< secret('vault:database/config/main#plugin_name') >>";
        let mount = mount.template("known.tpl", known).start();
        assert!(mount.read("known").contains("postgresql"), "it is known what stands there");
        front.set(way);
        for _ in 0..5 {
            assert!(fs::read(mount.path("f")).is_err());
        }
        assert_eq!(postgres.lent(), before + 1, "{}", reason(&mount, "f"));
        assert!(reason(&mount, "f").contains("whether it was made is not known"), "{}", reason(&mount, "f"));
        front.set(Way::Through);
        eventually("another one is lent", || fs::read(mount.path("f")).is_ok());
        assert!(postgres.opens(&mount.read("f")));
        assert_eq!(postgres.lent(), before + 2);
    }
}

/// With a token all ends that was lent to it, also where nobody can be asked.
#[test]
fn what_was_lent_is_not_served_longer_than_its_token_lives() {
    let bao = authority();
    let front = Front::before(&bao);
    let about = json!({"token_policies": ["app", "pki"], "token_ttl": "8s", "token_max_ttl": "8s"});
    let (role_id, secret_id) = role(&bao, about);
    let writes = "writes: {pki/issue/leased: {common_name: a.example, ttl: 10m}, pki/issue/web: {common_name: a.example}}";
    let mount = front.mount(&bao, &format!("{}, {writes}", by_role(&role_id))).env("SECRET_ID", &secret_id);
    let mount = mount
        .template("f.tpl", "<< secret('vault:pki/issue/leased#serial_number') >>")
        .template("web.tpl", "<< secret('vault:pki/issue/web#serial_number') >>")
        .start();
    let (start, serial, other) = (Instant::now(), mount.read("f"), mount.read("web"));
    front.set(Way::Silent);
    std::thread::sleep(Duration::from_secs(1));
    if start.elapsed() < Duration::from_secs(6) {
        assert_eq!(mount.read("f"), serial, "the control: both are good");
    }
    std::thread::sleep(Duration::from_secs(9).saturating_sub(start.elapsed()));
    assert!(fs::read(mount.path("f")).is_err());
    assert_eq!(mount.read("web"), other, "the control: what ends by itself");
}

#[test]
fn an_upgrade_is_an_outage_and_the_pause_of_a_stranger_is_short() {
    let bao = authority();
    let front = Front::before(&bao);
    let start = || front.mount(&bao, BY_TOKEN).template("f.tpl", FILE).start();
    let mount = start();
    front.set(Way::Says(
        400,
        "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and will \
         resume service shortly.",
    ));
    fails(&mount, "f", libc::EIO, "answers again in a moment");
    mount.await_log("kind=\"unavailable\"", 1);
    for (way, shortest, longest) in [(Way::Foreign(429), 20, 30), (Way::Throttled, 3000, 3600)] {
        let mount = start();
        front.set(way);
        assert_eq!(mount.errno("f"), libc::EIO);
        assert_eq!(mount.errno("f"), libc::EIO);
        let why = reason(&mount, "f");
        let left =
            why.split("not asked for ").nth(1).and_then(|it| it.split(' ').next()?.parse::<u64>().ok());
        assert!(left.is_some_and(|left| (shortest..=longest).contains(&left)), "{why}");
    }
}

#[test]
fn what_a_server_says_is_cut() {
    let bao = authority();
    let front = Front::before(&bao);
    front.set(Way::Long);
    let (role_id, _) = role(&bao, json!({}));
    let auth = format!(
        "auth: {{method: approle, role_id: '{role_id}', secret_id: '${{SECRET_ID}}', wrapped: true}}"
    );
    let token = crate::login::wrapped(&bao, "auth/approle/role/web/secret-id");
    let mount = front.mount(&bao, &auth).env("SECRET_ID", &token).template("f.tpl", FILE).start();
    fails(&mount, "f", libc::EIO, "not made where secret ids are made, but at `long/long/");
    assert!(reason(&mount, "f").len() < 1_000 && mount.stderr().len() < 10_000);
}

/// What was lent with the one before ends with that, and a certificate may be more than the new one may have.
#[test]
fn a_new_token_is_taken_up_while_what_was_lent_is_good() {
    let bao = authority();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let put = |policies: &[&str]| {
        let token = bao.make_token(json!({"policies": policies}));
        fs::write(file.with_extension("new"), &token).unwrap();
        fs::rename(file.with_extension("new"), &file).unwrap();
    };
    put(&["app", "pki"]);
    let writes =
        "writes: {pki/issue/leased: {common_name: a.example}, pki/issue/web: {common_name: a.example}}";
    let mount = bao.mount(&format!("auth: {{token: 'file:{}'}}, {writes}", file.display()));
    let mount = mount
        .template("leased.tpl", "<< secret('vault:pki/issue/leased#serial_number') >>")
        .template("web.tpl", "<< secret('vault:pki/issue/web#serial_number') >>")
        .start();
    for name in ["leased", "web"] {
        put(&["app", "pki"]);
        let first = mount.read(name);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(mount.read(name), first, "the control: with the same token it is the same");
        put(&["app", "pki"]);
        eventually("there is another one", || mount.read(name) != first);
        put(&["app"]);
        eventually("the new one has not the right", || fs::read(mount.path(name)).is_err());
        fails(&mount, name, libc::EIO, "refuses what is written to");
    }
}
