//! How a command finds the daemon that it asks.

mod common;

use common::{TestDaemon, stdout_of};

/// With a mistake elsewhere in it the config still says where its daemon is; one that says nothing
/// leads to no other daemon.
#[test]
fn a_mistake_in_the_config_leads_to_the_same_daemon_or_to_none() {
    let daemon = TestDaemon::new().secret("k", "v1").template("f.tpl", "<< secrets.k >>").start();
    let sound = "mounts:\n- {at: mnt, templates: templates}\n";
    daemon.config(&format!("{sound}oops: 1\n"));
    let ask = |command: &str| daemon.run(&[command, "--json"]);
    let told = ask("status");
    assert!(stdout_of(&told).contains(&format!("\"worker\": {},", daemon.worker_pid())), "{told:?}");
    assert!(String::from_utf8_lossy(&told.stderr).contains("unknown key `oops`"));
    let reload = daemon.run(&["reload"]);
    assert_eq!(reload.status.code(), Some(78), "{reload:?}");
    assert!(String::from_utf8_lossy(&reload.stderr).contains("unknown key `oops`"), "{reload:?}");
    daemon.config("control: {socket: run/control.sock}\nmounts: [\n");
    let refused = daemon.run(&["status"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert!(said.contains("secretfs.yaml:") && said.contains("--socket FILE"), "{said}");
}
