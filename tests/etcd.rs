//! A real etcd as a provider, through the real mount: keys, users, certificates, and the watch that tells of
//! changes whatever happens to the line or the server. What holds for every provider is in
//! `provider_contract.rs`.

mod common;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use common::etcd::{Etcd, Relay};
use common::programmed::{attribute, eventually};
use common::{Mounted, TestMount, is_judged_good, stdout_of};
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// Only what tells of a change can make an answer new.
const KEPT: &str = "cache: {ttl: 1h, negative_ttl: 1h}";
const ASKED: &str = "cache: {ttl: 1ms, negative_ttl: 1ms}";

fn mount(address: &str, settings: &str, files: &[(&str, &str)]) -> Mounted {
    let provider = format!("{{type: etcd, address: '{address}', prefix: /secrets/, {settings}}}");
    let config = format!("providers: {{p: {provider}}}\nmounts: [{{at: mnt, templates: templates}}]\n");
    let with = |mount: TestMount, (name, text): &(&str, &str)| mount.template(&format!("{name}.tpl"), text);
    let told = TestMount::new().env("SECRETFS_LOG", "info");
    files.iter().fold(told, with).config(&config).start()
}

fn listening(mount: &Mounted, times: usize) {
    eventually("it hears of changes", || mount.stderr().matches("changes are heard of").count() >= times);
}

fn reason(mount: &Mounted, file: &str) -> String {
    attribute(mount, file, "error").expect("a reason")
}

#[test]
fn a_version_is_the_revision_of_a_change() {
    let etcd = Etcd::start();
    let first = etcd.put("/secrets/a", "one");
    let other = etcd.put("/secrets/b", "b");
    let unread = etcd.put("/secrets/c", "one");
    etcd.put("/secrets/c", "two");
    let second = etcd.put("/secrets/a", "two");
    let of =
        |key: &str, version: u64| format!("<< secret('p:{key}', version={version}) | default('none') >>");
    let (old, no, future) = (of("a", first), of("a", other), of("a", second + 1_000_000));
    let unread_text = of("c", unread);
    let files = [
        ("now", "<< secret('p:a') >> << secret('p:a').version >>"),
        ("old", &old),
        ("no", &no),
        ("future", &future),
        ("unread", &unread_text),
        ("outside", "<< secret('p:../a') | default('none') >>"),
    ];
    let mount = mount(&etcd.url(), ASKED, &files);
    assert_eq!(mount.read("now"), format!("two {second}"));
    assert_eq!(mount.read("old"), "one");
    for file in ["no", "future", "outside"] {
        assert_eq!(mount.read(file), "none", "{file}");
    }
    etcd.compact(second);
    assert_eq!(mount.errno("unread"), libc::EIO, "it was there: that is no reason for a default");
    let said = reason(&mount, "unread");
    assert!(said.contains(&format!("has compacted version {unread} of `c` away")), "{said}");
    assert_eq!(mount.read("now"), format!("two {second}"));
    // Deleted and made anew: the version goes on.
    etcd.delete("/secrets/a");
    let third = etcd.put("/secrets/a", "three");
    eventually("the new one", || mount.read("now") == format!("three {third}"));
}

/// The control reads key by key.
#[test]
fn all_secrets_of_a_file_are_of_one_revision() {
    const KEYS: usize = 300;
    let etcd = Etcd::start_with("http", &["--max-txn-ops", "1000"]);
    let put = |value: u64| {
        let pair = |number| (format!("/secrets/{number}"), value.to_string());
        etcd.put_all(&Vec::from_iter((0..KEYS).map(pair)));
    };
    put(0);
    let text: String = (0..KEYS).map(|number| format!("<< secret('p:{number}') >> ")).collect();
    let (first, last) = ("<< secret('p:0') >>", "<< secret('p:299') >>");
    let mount = mount(&etcd.url(), ASKED, &[("all", &text), ("first", first), ("last", last)]);
    let is_over = AtomicBool::new(false);
    let (mut seen, mut mixed) = (std::collections::BTreeSet::new(), 0);
    thread::scope(|scope| {
        scope.spawn(|| (1..).take_while(|_| !is_over.load(Ordering::Relaxed)).for_each(put));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5)
            || (mixed == 0 && start.elapsed() < Duration::from_secs(60))
        {
            let all = mount.read("all");
            let values: Vec<_> = all.split_whitespace().collect();
            assert_eq!(values.len(), KEYS);
            assert!(values.iter().all(|value| *value == values[0]), "{all}");
            seen.insert(values[0].to_owned());
            mixed += usize::from(mount.read("first") != mount.read("last"));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    println!("{} revisions seen whole; read one by one, {mixed} were mixed", seen.len());
    assert!(seen.len() > 3 && mixed > 0, "the control: {} {mixed}", seen.len());
}

#[test]
fn a_user_is_logged_in_and_again_when_the_token_is_void() {
    let etcd = Etcd::start();
    etcd.put("/secrets/a", "one");
    etcd.enable_auth("right", "/secrets/");
    let password = etcd.file("password", "right\n");
    let auth = format!("{ASKED}, auth: {{username: app, password: 'file:{password}'}}");
    let mount = mount(&etcd.url(), &auth, &[("f", "<< secret('p:a') >>")]);
    assert_eq!(mount.read("f"), "one");
    let logins = etcd.calls("Authenticate");
    for _ in 0..20 {
        sleep(Duration::from_millis(3));
        mount.read("f");
    }
    assert_eq!(etcd.calls("Authenticate"), logins, "once is enough");
    // A change of users makes all tokens void, and so does a restart.
    stdout_of(&etcd.ctl(&["--user", "root:root", "user", "add", "other:x"], b""));
    sleep(Duration::from_millis(10));
    assert_eq!(mount.read("f"), "one");
    assert!(etcd.calls("Authenticate") > logins, "the control: it was void");
    etcd.stop();
    etcd.run();
    eventually("it heals", || fs::read(mount.path("f")).is_ok_and(|it| it == b"one"));
    assert!(!mount.stderr().contains("right"), "{}", mount.stderr());
}

#[test]
fn what_a_user_may_not_is_told() {
    let etcd = Etcd::start();
    etcd.put("/secrets/a", "one");
    etcd.put("/other/a", "hunter2");
    etcd.enable_auth("right", "/other/");
    let password = etcd.file("password", "right\n");
    let auth = format!("{ASKED}, auth: {{username: app, password: 'file:{password}'}}");
    let file = [("f", "<< secret('p:a') | default('d') >>")];
    let mounted = mount(&etcd.url(), &auth, &file);
    assert_eq!(mounted.errno("f"), libc::EIO);
    assert!(reason(&mounted, "f").contains("gives the user `app` no right"), "{}", reason(&mounted, "f"));
    let nobody = mount(&etcd.url(), ASKED, &file);
    assert_eq!(nobody.errno("f"), libc::EIO);
    assert!(reason(&nobody, "f").contains("name a user and a password"), "{}", reason(&nobody, "f"));
    let open = Etcd::start();
    open.put("/secrets/a", "one");
    let needless = mount(&open.url(), &auth, &file);
    assert_eq!(needless.errno("f"), libc::EIO);
    assert!(reason(&needless, "f").contains("leave `auth` out"), "{}", reason(&needless, "f"));
}

/// However many secrets are asked for: it is what costs a server most, and what it may lock out for.
#[test]
fn a_password_that_is_refused_is_tried_once() {
    let etcd = Etcd::start();
    etcd.enable_auth("right", "/secrets/");
    let password = etcd.file("password", "wrong\n");
    let auth = format!("{ASKED}, auth: {{username: app, password: 'file:{password}'}}");
    let text: String = (0..60).map(|number| format!("<< secret('p:s{number}') >>\n")).collect();
    let mount = mount(&etcd.url(), &auth, &[("f", &text)]);
    let before = etcd.calls("Authenticate");
    assert_eq!(mount.errno("f"), libc::EIO);
    assert!(reason(&mount, "f").contains("refuses the user `app`"), "{}", reason(&mount, "f"));
    let logins = etcd.calls("Authenticate") - before;
    assert!((1..8).contains(&logins), "{logins} logins, for 60 secrets");
    fs::write(&password, "right\n").unwrap();
    eventually("the right one is tried at once", || mount.errno("f") == libc::ENOKEY);
}

#[test]
fn it_knows_us_by_our_certificate() {
    let folder = tempfile::TempDir::new().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "the authority");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ca = write("ca.pem", &authority.self_signed(&key).unwrap().pem());
    let authority = Issuer::new(authority, key);
    let sign = |name: &str, hosts: &[&str]| {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(Vec::from_iter(hosts.iter().map(|it| (*it).to_owned()))).unwrap();
        // etcd comes to itself with the certificate that it has as a server.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &authority).unwrap().pem();
        (write(&format!("{name}.pem"), &certificate), write(&format!("{name}.key"), &key.serialize_pem()))
    };
    let ((cert, key), (our_cert, our_key)) = (sign("server", &["127.0.0.1"]), sign("client", &[]));
    let options = ["--cert-file", &cert, "--key-file", &key, "--client-cert-auth", "--trusted-ca-file", &ca];
    let etcd = Etcd::start_with("https", &options);
    let us = ["--cacert", &ca, "--cert", &our_cert, "--key", &our_key];
    let put = |value: &str| etcd.ctl(&[&us[..], &["put", "/secrets/a", value]].concat(), b"");
    eventually("it is ready", || put("one").status.success());
    let file = [("f", "<< secret('p:a') >>")];
    let known =
        mount(&etcd.url(), &format!("{KEPT}, tls: {{ca: {ca}, cert: {our_cert}, key: {our_key}}}"), &file);
    assert_eq!(known.read("f"), "one");
    listening(&known, 1);
    stdout_of(&put("two"));
    eventually("a change", || known.read("f") == "two");
    let stranger = mount(&etcd.url(), &format!("{KEPT}, tls: {{ca: {ca}}}"), &file);
    assert_eq!(stranger.errno("f"), libc::EIO);
    assert!(reason(&stranger, "f").contains("certificate"), "{}", reason(&stranger, "f"));
    let blind = mount(&etcd.url(), KEPT, &file);
    assert_eq!(blind.errno("f"), libc::EIO);
    assert!(reason(&blind, "f").contains("tls.ca"), "{}", reason(&blind, "f"));
}

#[test]
fn a_name_that_is_wrong_is_told_the_right_one() {
    let etcd = Etcd::start();
    for number in 0..1_500 {
        etcd.put(&format!("/secrets/n{number}"), "x");
    }
    etcd.put("/secrets/password", "hunter2");
    let provider = format!("{{type: etcd, address: '{}', prefix: /secrets/}}", etcd.url());
    let config = format!(
        "providers: {{p: {provider}}}\nsecrets: {{from: p}}\nmounts: [{{at: mnt, templates: templates}}]\n"
    );
    let test = TestMount::new().template("f.tpl", "<< secrets.pasword >>");
    fs::write(test.folder().join("c.yaml"), config).unwrap();
    let rendered = test.command_of(&["--config", "c.yaml", "render", "templates/f.tpl"]).output().unwrap();
    let said = String::from_utf8_lossy(&rendered.stderr).into_owned();
    assert!(!rendered.status.success() && said.contains("did you mean `password`"), "{said}");
}

/// The control may not watch, and its answers age as they do elsewhere.
#[test]
fn a_change_is_heard_of_and_nobody_asks_meanwhile() {
    let etcd = Etcd::start();
    etcd.put("/secrets/a", "one");
    etcd.put("/secrets/b", "b");
    let texts = [
        ("f", "<< secret('p:a') >>"),
        ("g", "<< secret('p:b') >>"),
        ("none", "<< secret('p:none') | default('none') >>"),
    ];
    let mounted = mount(&etcd.url(), "cache: {ttl: 300ms, negative_ttl: 300ms}", &texts);
    let read = || (mounted.read("f"), mounted.read("g"), mounted.read("none"));
    assert_eq!(read(), ("one".into(), "b".into(), "none".into()));
    listening(&mounted, 1);
    read();
    let asked = etcd.calls("Txn") + etcd.calls("Range");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        assert_eq!(read(), ("one".into(), "b".into(), "none".into()));
        sleep(Duration::from_millis(20));
    }
    assert_eq!(etcd.calls("Txn") + etcd.calls("Range") - asked, 0, "questions in 4 s");
    etcd.put("/secrets/none", "there");
    eventually("what was missing", || mounted.read("none") == "there");
    etcd.delete("/secrets/none");
    eventually("what was deleted", || mounted.read("none") == "none");
    // Many changes are few questions: of who holds the old one, at most one each second.
    let asked = etcd.calls("Txn");
    for number in 0..500 {
        etcd.put("/secrets/a", number.to_string());
    }
    eventually("the last of them", || mounted.read("f") == "499");
    let asked = etcd.calls("Txn") - asked;
    println!("500 changes: {asked} questions");
    assert!(asked < 100, "{asked}");

    // The control: of a single key.
    stdout_of(&etcd.ctl(&["user", "add", "root:root"], b""));
    stdout_of(&etcd.ctl(&["user", "grant-role", "root", "root"], b""));
    stdout_of(&etcd.ctl(&["role", "add", "one"], b""));
    stdout_of(&etcd.ctl(&["role", "grant-permission", "one", "read", "/secrets/a"], b""));
    stdout_of(&etcd.ctl(&["user", "add", "app:right"], b""));
    stdout_of(&etcd.ctl(&["user", "grant-role", "app", "one"], b""));
    stdout_of(&etcd.ctl(&["auth", "enable"], b""));
    let password = etcd.file("password", "right");
    let auth = format!("auth: {{username: app, password: 'file:{password}'}}");
    let control = mount(&etcd.url(), &format!("{KEPT}, {auth}"), &[("f", "<< secret('p:a') >>")]);
    let aging =
        mount(&etcd.url(), &format!("cache: {{ttl: 300ms}}, {auth}"), &[("f", "<< secret('p:a') >>")]);
    assert_eq!((control.read("f"), aging.read("f")), ("499".into(), "499".into()));
    sleep(Duration::from_secs(1));
    stdout_of(&etcd.ctl(&["--user", "root:root", "put", "/secrets/a", "new"], b""));
    eventually("its time is over", || aging.read("f") == "new");
    sleep(Duration::from_secs(2));
    assert_eq!(control.read("f"), "499", "an hour");
}

/// Answers are kept for an hour: what is missed once stays missed.
#[test]
fn no_change_is_missed_while_the_line_is_cut_again_and_again() {
    let etcd = Etcd::start();
    let relay = Relay::to(etcd.port());
    let keys: Vec<String> = (0..4).map(|number| format!("k{number}")).collect();
    let put_all = |value: &str| {
        for key in &keys {
            etcd.put(&format!("/secrets/{key}"), value);
        }
    };
    put_all("begin");
    let texts: Vec<_> = keys.iter().map(|key| format!("<< secret('p:{key}') >>")).collect();
    let files: Vec<_> = keys.iter().zip(&texts).map(|(key, text)| (&**key, &**text)).collect();
    let mount = mount(&relay.url(), KEPT, &files);
    // The first change comes before the watch.
    keys.iter().for_each(|key| assert_eq!(mount.read(key), "begin"));
    put_all("early");
    keys.iter().for_each(|key| eventually("the early one", || mount.read(key) == "early"));
    let rounds = if common::long() { 200 } else { 12 };
    for round in 0..rounds {
        let put = |at: usize| etcd.put(&format!("/secrets/{}", keys[at]), round.to_string());
        put(0);
        relay.cut();
        put(1);
        sleep(Duration::from_millis(37 * (round % 10)));
        relay.mend();
        put(2);
        sleep(Duration::from_millis(53 * (round % 7)));
        put(3);
        for key in &keys {
            eventually(&format!("round {round} of {key}"), || mount.read(key) == round.to_string());
        }
    }
    println!("{rounds} cuts, {} connections", relay.connections());
}

#[test]
fn what_was_compacted_away_is_asked_for() {
    let etcd = Etcd::start();
    let relay = Relay::to(etcd.port());
    etcd.put("/secrets/a", "one");
    etcd.put("/secrets/b", "b");
    let files = [("f", "<< secret('p:a') >>"), ("g", "<< secret('p:b') | default('gone') >>")];
    let mount = mount(&relay.url(), KEPT, &files);
    assert_eq!((mount.read("f"), mount.read("g")), ("one".into(), "b".into()));
    listening(&mount, 1);
    relay.cut();
    etcd.put("/secrets/a", "two");
    etcd.delete("/secrets/b");
    etcd.compact(etcd.put("/elsewhere", "x"));
    relay.mend();
    eventually("the change", || mount.read("f") == "two");
    eventually("the deletion", || mount.read("g") == "gone");
    mount.await_log("everything is asked for anew", 1);
    listening(&mount, 2);
    etcd.put("/secrets/a", "three");
    eventually("the next one", || mount.read("f") == "three");
}

/// A restart costs readers nothing; one that is restored from nothing counts from the beginning.
#[test]
fn a_server_that_comes_back_is_listened_to_also_if_it_is_another_one() {
    let etcd = Etcd::start();
    for number in 0..50 {
        etcd.put("/secrets/a", number.to_string());
    }
    let mount = mount(&etcd.url(), KEPT, &[("f", "<< secret('p:a') >>")]);
    assert_eq!(mount.read("f"), "49");
    listening(&mount, 1);
    etcd.stop();
    assert_eq!(mount.read("f"), "49", "within its time");
    etcd.run();
    listening(&mount, 2);
    etcd.put("/secrets/a", "after");
    eventually("a change", || mount.read("f") == "after");
    etcd.run_empty();
    let revision = etcd.put("/secrets/a", "restored");
    assert!(revision < 10, "the control: {revision}");
    eventually("what the other one has", || fs::read(mount.path("f")).is_ok_and(|it| it == b"restored"));
    listening(&mount, 3);
    etcd.put("/secrets/a", "and changed");
    eventually("a change there", || mount.read("f") == "and changed");
}

#[test]
fn a_server_that_hangs_costs_its_own_files_a_deadline() {
    let etcd = Etcd::start();
    etcd.put("/secrets/a", "one");
    etcd.put("/secrets/b", "b");
    let files = [("f", "<< secret('p:a') >>"), ("g", "<< secret('p:b') >>"), ("own", "x")];
    let mount = mount(&etcd.url(), &format!("timeout: 1s, {KEPT}"), &files);
    assert_eq!(mount.read("f"), "one");
    etcd.signal(Signal::SIGSTOP);
    let start = Instant::now();
    assert_eq!(mount.errno("g"), libc::ETIMEDOUT);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!((mount.read("own"), mount.read("f")), ("x".into(), "one".into()));
    etcd.signal(Signal::SIGCONT);
    eventually("it heals", || fs::read(mount.path("g")).is_ok_and(|it| it == b"b"));
}

/// What values have gone through is let go of; a server that hangs is believed no longer than a while.
#[test]
fn a_quiet_watch_is_renewed_and_one_that_hangs_is_lost() {
    let etcd = Etcd::start();
    let relay = Relay::to(etcd.port());
    etcd.put("/secrets/a", "one");
    let settings = "timeout: 1s, cache: {ttl: 300ms}";
    let mount = mount(&relay.url(), settings, &[("f", "<< secret('p:a') >>")]);
    assert_eq!(mount.read("f"), "one");
    listening(&mount, 1);
    etcd.put("/secrets/a", "two");
    eventually("a change", || mount.read("f") == "two");
    let patience = Instant::now() + Duration::from_secs(90);
    while mount.stderr().matches("changes are heard of").count() < 2 {
        assert!(Instant::now() < patience, "it is not renewed: {}", mount.stderr());
        sleep(Duration::from_millis(100));
    }
    assert!(!mount.stderr().contains("watch: lost"), "{}", mount.stderr());
    etcd.put("/secrets/a", "three");
    eventually("a change", || mount.read("f") == "three");
    etcd.signal(Signal::SIGSTOP);
    sleep(Duration::from_secs(1));
    assert_eq!(mount.read("f"), "three", "the control: it is believed");
    while !mount.stderr().contains("watch: lost") {
        assert!(Instant::now() < patience + Duration::from_secs(90), "it is not lost: {}", mount.stderr());
        sleep(Duration::from_millis(100));
    }
    eventually("its time is over", || fs::read(mount.path("f")).is_err());
    etcd.signal(Signal::SIGCONT);
    etcd.put("/secrets/a", "four");
    eventually("it heals", || fs::read(mount.path("f")).is_ok_and(|it| it == b"four"));
}

#[test]
fn two_hosts_see_one_rotation_soon() {
    let etcd = Etcd::start();
    etcd.put("/secrets/a", "begin");
    let hosts = [(); 2].map(|()| mount(&etcd.url(), KEPT, &[("f", "<< secret('p:a') >>")]));
    for host in &hosts {
        assert_eq!(host.read("f"), "begin");
        listening(host, 1);
    }
    let mut times = Vec::new();
    for round in 0..50 {
        etcd.put("/secrets/a", round.to_string());
        let start = Instant::now();
        for host in &hosts {
            while host.read("f") != round.to_string() {
                assert!(start.elapsed() < Duration::from_secs(10), "{}", host.read("f"));
            }
            times.push(start.elapsed());
        }
        sleep(Duration::from_millis(20));
    }
    times.sort();
    let (median, p90, longest) =
        (times[times.len() / 2], times[times.len() * 9 / 10], times[times.len() - 1]);
    println!(
        "from a put's return to an open that has it, on both of two hosts, 50 times: median {median:?}, p90 {p90:?}, at most {longest:?}"
    );
}

/// The blocks of the page: the first is served, the second is judged.
#[test]
fn the_page_says_what_is_so() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers/etcd.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks: Vec<_> =
        page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [served, judged] = blocks[..] else { panic!("{}", blocks.len()) };
    let etcd = Etcd::start();
    stdout_of(&etcd.ctl(&["put", "/secrets/db/password", "p@ss"], b""));
    stdout_of(&etcd.ctl(&["put", "/secrets/db/login", r#"{"user": "app", "port": 5432}"#], b""));
    let template =
        page.split("$ cat templates/app.conf.tpl\n").nth(1).and_then(|it| it.split("$ ").next()).unwrap();
    let config = served.replace("http://127.0.0.1:2379", &etcd.url());
    assert_ne!(config, served);
    let mount = TestMount::new().template("app.conf.tpl", template).config(&config).start();
    let shown = page.split("$ cat mnt/app.conf\n").nth(1).and_then(|it| it.split("$ ").next()).unwrap();
    assert_eq!(mount.read("app.conf"), shown);
    etcd.put("/secrets/db/password", "n3w");
    eventually("the change", || mount.read("app.conf") == shown.replace("p@ss", "n3w"));
    is_judged_good(judged, "prefix:");
}
