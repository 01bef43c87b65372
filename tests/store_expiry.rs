//! What goes on in the store without anybody asking is known in time: a secret that is about to expire is
//! told in the log, and labels are learnt before the first open.

mod common;

use common::{TestDaemon, TestMount, TestStore, eventually, stdout_of};

#[test]
fn the_log_warns_in_the_week_before_a_secret_expires() {
    let store = TestStore::new();
    for (name, end) in [("soon", "3d"), ("later", "30d"), ("gone", "1s"), ("late", "6d")] {
        stdout_of(&store.run_with(&["set", name, "--expires", end], "v"));
    }
    store.set("never", "v");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let mut daemon = TestDaemon::on(store).template("f.tpl", "<< secrets.never >>").start();
    daemon.await_log("a secret expires soon: rotate it before", 2);
    assert!(daemon.stop().success());
    let log = daemon.stderr();
    let told = |name: &str| log.contains(&format!("secret={name} "));
    assert_eq!(
        ["soon", "late", "later", "gone", "never"].map(told),
        [true, true, false, false, false],
        "{log}"
    );
    assert_eq!(log.matches("expires soon").count(), 2, "each once a day:\n{log}");
}

#[test]
fn labels_are_learnt_before_somebody_asks_and_only_then() {
    let known = "the labels of all secrets are known";
    for (text, is_expected) in [("<< secret(label='web') >>\n", true), ("<< secrets.a >>\n", false)] {
        let store = TestStore::new();
        stdout_of(&store.run_with(&["set", "a", "--label", "web"], "v"));
        let mount = TestMount::on(store).env("SECRETFS_LOG", "debug").template("f.tpl", text);
        let mut mounted = mount.template("g.tpl", "plain\n").start();
        match is_expected {
            true => eventually("they are known", || mounted.stderr().contains(known).then_some(())),
            false => std::thread::sleep(std::time::Duration::from_secs(3)),
        }
        assert_eq!(mounted.stderr().contains(known), is_expected);
        assert_eq!(mounted.read("f"), "v\n");
        assert!(mounted.stop().success());
    }
}
