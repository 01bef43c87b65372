//! Changes reach the mount by themselves: whatever becomes of the connection, of the server, or of the object.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ASKED, Cluster, Fake, KEPT, Real, listening, mount_at, mount_of, reason, with_both};
use crate::common::etcd::Relay;
use crate::common::kubernetes::Rights;
use crate::common::programmed::eventually;
use crate::common::{Mounted, TestDaemon, tool};

const FILE: (&str, &str) = ("f", "<< secret('p:db#password') >>");

with_both!(a_change_reaches_the_mount, what_is_deleted_and_made_anew_is_never_missing, a_watch_speaks_so);

fn reads(mount: &Mounted, text: &str) -> bool {
    fs::read(mount.path("f")).is_ok_and(|it| it == text.as_bytes())
}

/// By somebody who may not list.
fn a_change_reaches_the_mount(cluster: &impl Cluster) {
    cluster.put("watched", "db", &[("password", b"one"), ("user", b"u")]);
    cluster.put("watched", "other", &[("password", b"x")]);
    let mount = mount_of(cluster, "watched", &["db"], KEPT, &[FILE]);
    assert_eq!(mount.read("f"), "one");
    listening(&mount, 1);
    for round in 0..3 {
        let new = format!("new-{round}");
        cluster.put("watched", "db", &[("password", new.as_bytes()), ("user", b"u")]);
        let start = Instant::now();
        eventually("the change", || reads(&mount, &new));
        println!("heard of after {:?}", start.elapsed());
    }
    assert!(!mount.stderr().contains("new-1"), "{}", mount.stderr());
}

/// Whoever deletes and creates at once has replaced it; a deletion alone is one.
fn what_is_deleted_and_made_anew_is_never_missing(cluster: &impl Cluster) {
    cluster.put("anew", "db", &[("password", b"one")]);
    let mount = mount_of(cluster, "anew", &["db"], KEPT, &[FILE]);
    assert_eq!(mount.read("f"), "one");
    listening(&mount, 1);
    cluster.delete("secrets", "anew", "db");
    // Shorter than a deletion is waited for.
    cluster.put("anew", "db", &[("password", b"two")]);
    eventually("the new one, and never none", || {
        let told = fs::read_to_string(mount.path("f"))
            .unwrap_or_else(|error| panic!("{error}: {}", reason(&mount, "f")));
        assert!(told == "one" || told == "two", "{told}");
        told == "two"
    });
    cluster.delete("secrets", "anew", "db");
    eventually("it is gone", || {
        fs::read(mount.path("f")).is_err_and(|error| error.raw_os_error() == Some(libc::ENOKEY))
    });
    cluster.put("anew", "db", &[("password", b"three")]);
    eventually("that it is back is told, too", || reads(&mount, "three"));
}

/// Its answers have their ordinary time, and it is tried again after pauses that grow.
#[test]
fn one_watch_that_fails_ends_no_other() {
    let fake = Fake::start();
    fake.put("n", "db", &[("password", b"one")]);
    fake.put("n", "bad", &[("password", b"one")]);
    let files = [FILE, ("bad", "<< secret('p:bad#password') >>")];
    let mount = mount_of(&fake, "n", &["db", "bad"], "cache: {ttl: 1s}", &files);
    assert_eq!((mount.read("f"), mount.read("bad")), ("one".to_owned(), "one".to_owned()));
    listening(&mount, 1);
    let about = |verb: &str, name: &str| fake.routes(verb).iter().filter(|it| it.contains(name)).count();
    eventually("both are watched", || fake.watches().0 == 2);
    fake.spoil(Some("bad"));
    let tried = about("watch", "bad");
    eventually("it is given up", || mount.stderr().contains("watch: answers have their ordinary time"));
    fake.put("n", "bad", &[("password", b"two")]);
    eventually("its time is over", || mount.read("bad") == "two");
    fake.put("n", "db", &[("password", b"two")]);
    eventually("the other is heard of", || reads(&mount, "two"));
    let asked = (about("get", "/db"), about("get", "/bad"));
    for _ in 0..5 {
        sleep(Duration::from_millis(1100));
        assert_eq!((mount.read("f"), mount.read("bad")), ("two".to_owned(), "two".to_owned()));
    }
    assert_eq!(about("get", "/db"), asked.0, "nobody has to ask for it");
    assert!(about("get", "/bad") > asked.1, "the control");
    let tried = about("watch", "bad") - tried;
    assert!((5..15).contains(&tried), "{tried} times");
    fake.spoil(None);
    eventually("it is watched again", || fake.watches().0 == 2);
    assert!(!mount.stderr().contains("watch: lost"), "{}", mount.stderr());
    // The control: nobody is there.
    fake.stop();
    eventually("it is lost", || mount.stderr().contains("watch: lost"));
}

/// A new cache before the same cluster listens in the place of the one before it.
#[test]
fn a_reload_of_the_cache_alone_goes_on_listening() {
    let fake = Fake::start();
    fake.put("n", "db", &[("password", b"one")]);
    let kubeconfig = fake.kubeconfig("k", "n", json!({ "token": fake.admin() }));
    let config = |ttl: &str| {
        let provider =
            format!("type: kubernetes, kubeconfig: '{}', cache: {{ttl: {ttl}}}", kubeconfig.display());
        format!("providers: {{p: {{{provider}}}}}\nmounts: [{{at: mnt, templates: templates}}]\n")
    };
    let daemon = TestDaemon::new().template("f.tpl", FILE.1).config(&config("1h"));
    let daemon = daemon.env("SECRETFS_LOG", "debug").start();
    let reads = |text: &str| fs::read(daemon.path("f")).is_ok_and(|it| it == text.as_bytes());
    for (round, ttl) in ["2h", "3h", "4h"].iter().enumerate() {
        let (old, new) = (format!("old-{round}"), format!("new-{round}"));
        fake.put("n", "db", &[("password", old.as_bytes())]);
        eventually("what there is", || reads(&old));
        let heard = || daemon.stderr().matches("changes are heard of").count();
        eventually("it hears of changes", || heard() > round);
        fake.put("n", "db", &[("password", new.as_bytes())]);
        eventually("the change", || reads(&new));
        eventually("nobody else listens", || fake.watches().0 == 1);
        daemon.config(&config(ttl));
        assert!(daemon.run(&["reload", "--socket", "run/control.sock"]).status.success());
        assert!(reads(&new));
    }
}

/// The server ends each watch after a while: what happens meanwhile is told by the next.
#[test]
fn a_watch_goes_on_where_it_was_ended() {
    let fake = Fake::start();
    fake.put("n", "db", &[("password", b"0")]);
    let mount = mount_of(&fake, "n", &["db"], KEPT, &[FILE]);
    assert_eq!(mount.read("f"), "0");
    listening(&mount, 1);
    for round in 1..5 {
        sleep(Duration::from_millis(1200));
        fake.end_watches();
        fake.put("n", "db", &[("password", round.to_string().as_bytes())]);
        eventually("the change", || reads(&mount, &round.to_string()));
    }
    assert_eq!(mount.stderr().matches("watch: lost").count(), 0, "{}", mount.stderr());
    let watches = fake.routes("watch");
    assert!(watches.len() >= 5 && watches.iter().all(|it| it.contains("resourceVersion=")), "{watches:?}");
    assert_eq!(fake.asked("metadata"), 0, "it need not look what has happened");
}

/// A version that is forgotten: the server says 410 in an answer of 200. What has changed meanwhile is found, and what
/// has not is not asked for.
#[test]
fn what_is_forgotten_is_looked_at_anew() {
    let fake = Fake::start();
    fake.put("n", "db", &[("password", b"one")]);
    let mount = mount_of(&fake, "n", &["db"], KEPT, &[FILE]);
    assert_eq!(mount.read("f"), "one");
    listening(&mount, 1);
    let asked = fake.asked("get");
    fake.stop();
    eventually("it is lost", || mount.stderr().contains("watch: lost"));
    fake.compact();
    fake.start_again();
    listening(&mount, 2);
    assert_eq!((mount.read("f"), fake.asked("get")), ("one".to_owned(), asked), "it is the same");
    fake.stop();
    eventually("it is lost", || mount.stderr().matches("watch: lost").count() >= 2);
    fake.put("n", "db", &[("password", b"two")]);
    fake.compact();
    fake.start_again();
    eventually("it is found", || reads(&mount, "two"));
    listening(&mount, 3);
    fake.put("n", "db", &[("password", b"three")]);
    eventually("and heard of again", || reads(&mount, "three"));
}

/// The same with the real server: etcd is compacted, and the server started anew.
#[test]
fn what_the_real_server_has_forgotten_is_looked_at_anew() {
    let Some(real) = Real::start() else { return };
    real.put("n", "db", &[("password", b"one")]);
    let mount = mount_of(&real, "n", &["db"], KEPT, &[FILE]);
    assert_eq!(mount.read("f"), "one");
    listening(&mount, 1);
    real.stop();
    eventually("it is lost", || mount.stderr().contains("watch: lost"));
    real.compact();
    real.start_again();
    let route = "/api/v1/namespaces/n/secrets?watch=1&timeoutSeconds=2&resourceVersion=5";
    let (status, told) = real.call("GET", route, None);
    assert!(status == 200 && told["object"]["code"] == 410, "the control: {status} {told}");
    // It is tried in growing pauses while nobody is there.
    let start = Instant::now();
    while mount.stderr().matches("changes are heard of").count() < 2 {
        assert!(start.elapsed() < Duration::from_secs(90), "{}", mount.stderr());
        sleep(Duration::from_millis(50));
    }
    let lost = mount.stderr().matches("watch: lost").count();
    assert_eq!(mount.read("f"), "one");
    for round in 0..3 {
        let new = format!("new-{round}");
        real.put("n", "db", &[("password", new.as_bytes())]);
        eventually("it is heard of", || reads(&mount, &new));
        sleep(Duration::from_millis(300));
    }
    assert_eq!(mount.stderr().matches("watch: lost").count(), lost, "{}", mount.stderr());
}

/// A line that is cut, with a change while nobody hears.
#[test]
fn what_the_real_server_has_told_nobody_is_told_later() {
    let Some(real) = Real::shared() else { return };
    real.put("cut", "db", &[("password", b"one")]);
    let (relay, token) = (Relay::to(real.port()), real.token_for("cut", &["db"]));
    let kubeconfig = real.kubeconfig("cut.yaml", "cut", json!({ "token": token }));
    let text = fs::read_to_string(&kubeconfig).unwrap();
    fs::write(&kubeconfig, text.replace(&real.port().to_string(), &relay.port().to_string())).unwrap();
    let mount = mount_at(&kubeconfig, KEPT, &[FILE]);
    assert_eq!(mount.read("f"), "one");
    listening(&mount, 1);
    relay.cut();
    eventually("it is lost", || mount.stderr().contains("watch: lost"));
    real.put("cut", "db", &[("password", b"two")]);
    relay.mend();
    eventually("it is told", || reads(&mount, "two"));
}

/// Each is a connection: of many there are no more than so many. What is not watched has its ordinary time.
#[test]
fn many_secrets_are_no_more_than_so_many_watches() {
    const SECRETS: usize = 90;
    const MOST: usize = 64;
    let fake = Fake::start();
    let names: Vec<_> = (0..SECRETS).map(|number| format!("s{number}")).collect();
    names.iter().for_each(|name| fake.put("n", name, &[("password", b"one ")]));
    let text: String = names.iter().map(|name| format!("<< secret('p:{name}') >>")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mount = mount_of(&fake, "n", &names, "timeout: 10s, cache: {ttl: 2s}", &[("f", &text)]);
    eventually("all are there", || reads(&mount, &"one ".repeat(SECRETS)));
    listening(&mount, 1);
    for name in &names {
        fake.put("n", name, &[("password", b"two ")]);
    }
    eventually("all have changed", || reads(&mount, &"two ".repeat(SECRETS)));
    assert_eq!(fake.watches(), (MOST, MOST));
    // After their first time those that are watched are asked for no more.
    sleep(Duration::from_millis(2500));
    mount.read("f");
    let asked = fake.asked("get");
    sleep(Duration::from_millis(2500));
    mount.read("f");
    assert_eq!(fake.asked("get") - asked, SECRETS - MOST);
}

/// Who may get and not watch has answers for their ordinary time, and the others are heard of all the same.
#[test]
fn what_may_not_be_watched_is_asked_for() {
    let fake = Fake::start();
    fake.put("n", "db", &[("password", b"one")]);
    fake.know("hunter2-get", Rights::Get("n".to_owned(), vec!["db".to_owned()]));
    let kubeconfig = fake.kubeconfig("k", "n", json!({"token": "hunter2-get"}));
    let mount = mount_at(&kubeconfig, "cache: {ttl: 300ms}", &[FILE]);
    assert_eq!(mount.read("f"), "one");
    eventually("it is said", || mount.stderr().contains("verb `watch`"));
    fake.put("n", "db", &[("password", b"two")]);
    eventually("its time is over", || reads(&mount, "two"));
    assert!(!mount.stderr().contains("changes are heard of"), "{}", mount.stderr());
}

/// It is left alone for as long as it says.
#[test]
fn a_server_that_is_asked_too_often_is_left_alone() {
    let fake = Fake::start();
    fake.put("n", "db", &[("password", b"one")]);
    let mount = mount_of(&fake, "n", &["db"], ASKED, &[FILE]);
    assert_eq!(mount.read("f"), "one");
    listening(&mount, 1);
    fake.throttle(Some(3));
    fake.put("n", "db", &[("password", b"two")]);
    eventually("it says so", || fs::read(mount.path("f")).is_err());
    assert!(reason(&mount, "f").contains("asked too often"), "{}", reason(&mount, "f"));
    fake.throttle(None);
    let start = Instant::now();
    eventually("it is asked again", || reads(&mount, "two"));
    assert!(start.elapsed() > Duration::from_secs(1), "{:?}", start.elapsed());
}

/// A watch that tells nothing, as of a server that has lost touch with its cluster: one object after the other is
/// looked at.
#[test]
fn what_nobody_tells_is_found() {
    let fake = Fake::start();
    fake.put("n", "db", &[("password", b"one")]);
    let mount = mount_of(&fake, "n", &["db"], KEPT, &[FILE]);
    assert_eq!(mount.read("f"), "one");
    listening(&mount, 1);
    fake.mute();
    fake.put("n", "db", &[("password", b"two")]);
    let start = Instant::now();
    eventually("it is found", || reads(&mount, "two"));
    println!("found after {:?}", start.elapsed());
}

/// A server that takes connections and answers nobody: then answers have their ordinary time, and it fails.
#[test]
fn a_server_that_hangs_is_found_out() {
    let fake = Fake::start();
    fake.put("n", "db", &[("password", b"one")]);
    let mount = mount_of(&fake, "n", &["db"], "timeout: 2s, cache: {ttl: 1s}", &[FILE]);
    assert_eq!(mount.read("f"), "one");
    listening(&mount, 1);
    fake.hang();
    let start = Instant::now();
    eventually("it is found out", || fs::read(mount.path("f")).is_err());
    println!("found out after {:?}", start.elapsed());
    assert!(mount.stderr().contains("watch: lost"), "{}", mount.stderr());
}

/// The lines of a watch, as curl gets them: the fake's are judged by the real one's.
fn a_watch_speaks_so(cluster: &impl Cluster) {
    cluster.put("lines", "db", &[("password", b"hunter2")]);
    let token = cluster.token_for("lines", &["db"]);
    let server = cluster.server();
    let route = "api/v1/namespaces/lines/secrets?watch=true&fieldSelector=metadata.name%3Ddb&allowWatchBookmarks=true&timeoutSeconds=4&resourceVersion=0";
    let told = |route: &str| {
        let mut curl = Command::new(tool("curl"));
        curl.args(["--silent", "--max-time", "30", "-H", &format!("Authorization: Bearer {token}")]);
        curl.args(["-H", "Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"]);
        if let Some(ca) = server["certificate-authority"].as_str() {
            curl.args(["--cacert", ca]);
        }
        curl.arg(format!("{}/{route}", server["server"].as_str().unwrap()));
        let told = String::from_utf8(curl.output().unwrap().stdout).unwrap();
        assert!(
            !told.contains("aHVudGVyMg") && !told.contains("hunter2"),
            "nothing of what it holds: {told}"
        );
        let shape = |line: &str| {
            let event: Value = serde_json::from_str(line).unwrap();
            let object = &event["object"];
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            let is_number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
            (event["type"].clone(), object["kind"].clone(), is_number)
        };
        Vec::from_iter(told.lines().map(shape))
    };
    let object = |event: &str| (event.into(), "PartialObjectMetadata".into(), true);
    let mut seen = Vec::new();
    // Rights are known to the cluster a moment after they were given.
    eventually("it is told", || {
        seen = told(route);
        seen.first() == Some(&object("ADDED"))
    });
    assert_eq!(seen.last(), Some(&object("BOOKMARK")), "and ends by itself: {seen:?}");
    assert!(seen[1..].iter().all(|line| *line == object("BOOKMARK")), "{seen:?}");
}
