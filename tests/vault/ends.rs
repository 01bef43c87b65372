//! Ends that come at a bad moment: what was lent is given back all the same. Counted at the server.

use std::fs;

use serde_json::json;

use crate::common::bao::Bao;
use crate::common::programmed::eventually;
use crate::common::{Daemon, TestDaemon, stdout_of};
use crate::leaving::{place, run};
use crate::login::{FILE, role, served};

/// A daemon with a login of its own; `more` is of its provider.
fn logged_in(bao: &Bao, more: &str) -> Daemon {
    let (role_id, secret_id) = role(bao, json!({}));
    let config = format!(
        "providers:\n  vault: {{type: vault, address: \"{}\", auth: {{method: approle, role_id: '{role_id}', \
         secret_id: '${{SECRET_ID}}'}}{more}}}\nmounts: [{{at: mnt, templates: templates}}]\n",
        bao.address()
    );
    let daemon = TestDaemon::new().env("SECRET_ID", &secret_id).template("f.tpl", FILE);
    daemon.config(&config).start()
}

/// Which it had left to its last readers.
#[test]
fn a_stop_just_after_a_reload_gives_back_what_was_removed() {
    let bao = served();
    let before = bao.tokens();
    let mut daemon = logged_in(&bao, "");
    assert_eq!(daemon.read("f"), "v");
    fs::remove_file(daemon.folder().join("templates/f.tpl")).unwrap();
    daemon.config("mounts: [{at: mnt, templates: templates}]\n");
    daemon.await_log("config_reloaded", 1);
    assert_eq!(bao.tokens(), before + 1, "the control: it is there still");
    assert!(daemon.stop().success());
    assert_eq!(bao.tokens(), before);
}

#[test]
fn a_stop_while_the_store_is_busy_gives_back_and_comes_to_its_end() {
    let bao = served();
    let before = bao.tokens();
    let mut daemon = logged_in(&bao, ", cache: {mirror: true, ttl: 1ms}");
    assert_eq!(daemon.read("f"), "v");
    eventually("a copy", || daemon.store().copies("vault") == 1);
    let sequence = fs::File::open(daemon.store().path().join("sequence")).unwrap();
    sequence.lock().unwrap();
    bao.set("app", json!({"value": "another"}));
    assert_eq!(daemon.read("f"), "another");
    assert_eq!(bao.tokens(), before + 1, "the control: it is there still");
    assert!(daemon.stop().success());
    assert_eq!(bao.tokens(), before);
    assert!(!daemon.stderr().contains("does not end"), "{}", daemon.stderr());
    assert!(!daemon.folder().join("run/control.sock").exists(), "it came to its end");
}

/// The values are there, and then something is wrong with the rest.
#[test]
fn a_parent_that_does_not_begin_its_command_keeps_nothing() {
    let bao = served();
    let (role_id, secret_id) = role(&bao, json!({}));
    let (place, before) = (place(&bao, &role_id, ""), bao.tokens());
    for way in [&["exec", "--mask"][..], &["exec", "--watch"]] {
        let refused = [way, &["--env", "LD_PRELOAD=vault:secret/app", "--", "true"]].concat();
        let said = run(&place, &secret_id, &refused);
        let told = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(!said.status.success() && told.contains("LD_PRELOAD"), "{told}");
        assert_eq!(bao.tokens(), before, "{way:?}");
        let good = [way, &["--env", "X=vault:secret/app", "--", "true"]].concat();
        stdout_of(&run(&place, &secret_id, &good));
        assert_eq!(bao.tokens(), before, "{way:?}, to its end");
    }
}
