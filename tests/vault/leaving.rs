//! What stays at the server of who has gone, counted there; what an edit of the config leaves alone; and whom our own
//! credentials reach.

use std::fs;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::common::bao::Bao;
use crate::common::http::{pass_on, serve_tcp};
use crate::common::programmed::eventually;
use crate::common::{TestDaemon, TestMount, stdout_of};
use crate::login::{FILE, by_approle, role, served, wrapped};
use crate::written;

/// Runs a command where `secretfs.yaml` and `templates` are; with the secret id in its environment.
pub(crate) fn run(place: &TestMount, secret_id: &str, args: &[&str]) -> Output {
    let all = [&["--config", "secretfs.yaml"], args].concat();
    place.command_of(&all).env("SECRET_ID", secret_id).output().unwrap()
}

pub(crate) fn place(bao: &Bao, role_id: &str, more: &str) -> TestMount {
    let place = TestMount::new().template("f.tpl", FILE);
    let config = format!(
        "providers:\n  vault: {{type: vault, address: \"{}\", auth: {{method: approle, role_id: '{role_id}', \
         secret_id: '${{SECRET_ID}}'}}{more}}}\nmounts: [{{at: mnt, templates: templates}}]\n",
        bao.address()
    );
    fs::write(place.folder().join("secretfs.yaml"), config).unwrap();
    place
}

#[test]
fn a_command_leaves_no_token_behind_and_hands_none_on() {
    let bao = served();
    let (role_id, secret_id) = role(&bao, json!({}));
    let (place, before) = (place(&bao, &role_id, ""), bao.tokens());
    let reference = "X=vault:secret/app";
    let said = run(&place, &secret_id, &["exec", "--env", reference, "--", "sh", "-c", "echo $X; env"]);
    let said = stdout_of(&said);
    assert!(said.starts_with("v\n"), "{said}");
    assert!(!said.contains(&secret_id) && !said.contains("SECRET_ID"), "{said}");
    assert_eq!(bao.tokens(), before, "exec");
    let masked =
        run(&place, &secret_id, &["exec", "--mask", "--env", reference, "--", "sh", "-c", "echo a$X"]);
    assert!(stdout_of(&masked).starts_with('a'));
    assert_eq!(bao.tokens(), before, "exec --mask");
    assert_eq!(stdout_of(&run(&place, &secret_id, &["render", "templates/f.tpl"])), "v");
    assert_eq!(bao.tokens(), before, "render");
    stdout_of(&run(&place, &secret_id, &["check"]));
    assert_eq!(bao.tokens(), before, "check");
    stdout_of(&run(&place, &secret_id, &["provider", "test", "vault"]));
    assert_eq!(bao.tokens(), before, "provider test");
    let missing = run(&place, &secret_id, &["exec", "--env", "X=vault:secret/none", "--", "true"]);
    assert!(!missing.status.success());
    assert_eq!(bao.tokens(), before, "and one that fails");
    // The control: who is there has one.
    let _mount = by_approle(&bao, &role_id, &secret_id, "").start();
    fs::read(_mount.path("f")).unwrap();
    assert_eq!(bao.tokens(), before + 1);
}

/// The leases of a token end with it: who goes on with what was lent keeps both.
#[test]
fn what_a_command_goes_on_with_is_not_taken_away() {
    let bao = written::authority();
    let (role_id, secret_id) = role(&bao, json!({"token_policies": ["app", "pki"]}));
    let writes = "writes: {pki/issue/leased: {common_name: a.example, ttl: 10m}}";
    let (place, before) = (place(&bao, &role_id, &format!(", {writes}")), bao.tokens());
    let reference = "X=vault:pki/issue/leased#serial_number";
    let issued = |options: &[&str]| {
        let args = [&["exec", "--env", reference], options, &["--", "sh", "-c", "echo $X"]].concat();
        stdout_of(&run(&place, &secret_id, &args)).trim().to_owned()
    };
    let serial = issued(&[]);
    assert_eq!(bao.tokens(), before + 1, "it has become the command: nobody is there to end it");
    assert!(!written::is_revoked(&bao, &serial));
    let serial = issued(&["--watch=off", "--mask=false"]);
    assert!(!written::is_revoked(&bao, &serial));
    // The control: where we outlive the command, what was lent for it ends with it.
    let before = bao.tokens();
    let options = ["exec", "--mask", "--env", reference, "--", "sh", "-c", "printf %s \"$X\" > serial"];
    stdout_of(&run(&place, &secret_id, &options));
    assert_eq!(bao.tokens(), before);
    let serial = fs::read_to_string(place.folder().join("serial")).unwrap();
    eventually("it is revoked", || written::is_revoked(&bao, &serial));
}

#[test]
fn a_token_of_few_uses_is_given_back() {
    let bao = served();
    let (role_id, secret_id) = role(&bao, json!({"token_num_uses": 4}));
    let before = bao.tokens();
    let mut mount = by_approle(&bao, &role_id, &secret_id, "").start();
    for _ in 0..12 {
        assert_eq!(mount.read("f"), "v");
        std::thread::sleep(Duration::from_millis(120));
    }
    assert!(mount.stop().success());
    // One that is used up is ended by the server, at once or a little later.
    eventually("none is left", || bao.tokens() <= before);
    assert!(!mount.stderr().contains("provider_error"), "{}", mount.stderr());
}

/// A wrapping token is good once: an edit of what is kept must not want another login.
#[test]
fn an_edit_of_the_cache_keeps_the_login() {
    let bao = served();
    let (role_id, _) = role(&bao, json!({}));
    let token = wrapped(&bao, "auth/approle/role/web/secret-id");
    let before = bao.tokens();
    let config = |address: &str, cache: &str| {
        format!(
            "providers:\n  vault: {{type: vault, address: \"{address}\", cache: {{{cache}}}, auth: {{method: approle, \
             role_id: '{role_id}', secret_id: '${{SECRET_ID}}', wrapped: true}}}}\n\
             mounts: [{{at: mnt, templates: templates}}]\n"
        )
    };
    let daemon = TestDaemon::new().env("SECRET_ID", &token).template("f.tpl", FILE);
    let daemon = daemon.config(&config(&bao.address(), "ttl: 1h")).start();
    assert_eq!(daemon.read("f"), "v");
    bao.set("app", json!({"value": "new"}));
    assert_eq!(daemon.read("f"), "v", "the control: it is kept for an hour");
    daemon.config(&config(&bao.address(), "ttl: 100ms, negative_ttl: 100ms"));
    daemon.await_log("config_reloaded", 1);
    eventually("it is kept for a moment only", || daemon.read("f") == "new");
    bao.set("app", json!({"value": "newer"}));
    eventually("and again", || daemon.read("f") == "newer");
    assert_eq!(bao.tokens(), before, "the wrapping token has gone, one login is there");
    // The control: another address is another server, to be logged in to anew.
    daemon.config(&config(&bao.address().replace("127.0.0.1", "localhost"), "ttl: 100ms"));
    daemon.await_log("config_reloaded", 2);
    assert_eq!(daemon.errno("f"), libc::EIO);
    daemon.await_log("not valid or was used before", 1);
}

/// Nor must one of the time that it has: it goes on with the same login, and has the new time. The control is the time before.
#[test]
fn an_edit_of_the_timeout_keeps_the_login() {
    let bao = served();
    let (role_id, _) = role(&bao, json!({}));
    let token = wrapped(&bao, "auth/approle/role/web/secret-id");
    let (is_slow, port) = (Arc::new(AtomicBool::new(false)), bao.port);
    let delays = is_slow.clone();
    let address = serve_tcp(move |request| {
        if delays.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_secs(2));
        }
        pass_on(request, port)
    });
    let config = |time: &str| {
        format!(
            "providers:\n  vault: {{type: vault, address: \"http://{address}\", timeout: {time}, cache: {{ttl: 100ms}}, \
             auth: {{method: approle, role_id: '{role_id}', secret_id: '${{SECRET_ID}}', wrapped: true}}}}\n\
             mounts: [{{at: mnt, templates: templates}}]\n"
        )
    };
    let daemon = TestDaemon::new().env("SECRET_ID", &token).template("f.tpl", FILE);
    let daemon = daemon.config(&config("1500ms")).start();
    assert_eq!(daemon.read("f"), "v");
    is_slow.store(true, Ordering::SeqCst);
    eventually("it has too little time", || fs::read(daemon.path("f")).is_err());
    daemon.config(&config("4500ms"));
    daemon.await_log("config_reloaded", 1);
    eventually("it has time", || fs::read(daemon.path("f")).is_ok_and(|it| it == b"v"));
}

/// Nobody has what a command was lent that never began.
#[test]
fn a_command_that_does_not_start_keeps_nothing() {
    let bao = written::authority();
    let (role_id, secret_id) = role(&bao, json!({"token_policies": ["app", "pki"]}));
    let writes = ", writes: {pki/issue/leased: {common_name: a.example, ttl: 10m}}";
    let place = place(&bao, &role_id, writes);
    let (before, tokens) = (written::serials(&bao), bao.tokens());
    let lent = "X=vault:pki/issue/leased#serial_number";
    for args in [
        &["exec", "--env", lent, "--env", "Y=vault:secret/none", "--", "true"][..],
        &["exec", "--env", lent, "--", "no-such-program-at-all"],
    ] {
        assert!(!run(&place, &secret_id, args).status.success());
        assert_eq!(bao.tokens(), tokens, "{args:?}");
    }
    let made: Vec<String> = written::serials(&bao).into_iter().filter(|it| !before.contains(it)).collect();
    assert!(!made.is_empty(), "the control: something was lent");
    for serial in made {
        eventually("it is revoked", || written::is_revoked(&bao, &serial));
    }
}

#[test]
fn a_check_makes_nothing_and_finds_whether_it_could() {
    let bao = written::authority();
    let (role_id, secret_id) = role(&bao, json!({"token_policies": ["app", "pki"]}));
    let writes = ", writes: {pki/issue/web: {common_name: a.example}}";
    let place = place(&bao, &role_id, writes).template("pair.pem.tpl", written::PAIR);
    let (made, tokens) = (written::issued(&bao), bao.tokens());
    stdout_of(&run(&place, &secret_id, &["check"]));
    assert_eq!((written::issued(&bao), bao.tokens()), (made, tokens));
    // The controls: it is made where it is wanted, and the right to it is looked into.
    assert!(stdout_of(&run(&place, &secret_id, &["render", "templates/pair.pem.tpl"])).contains("BEGIN"));
    assert_eq!(written::issued(&bao), made + 1);
    let (_, secret_id) = role(&bao, json!({"token_policies": ["app"]}));
    let said = run(&place, &secret_id, &["check"]);
    let told = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && told.contains("may not write to `pki/issue/web`"), "{told}");
}

/// What a reload leaves behind gives its token back; what goes on keeps it.
#[test]
fn a_provider_that_was_replaced_gives_its_token_back() {
    let bao = served();
    let (role_id, secret_id) = role(&bao, json!({}));
    let before = bao.tokens();
    let config = |address: &str, ttl: &str| {
        format!(
            "providers:\n  vault: {{type: vault, address: \"{address}\", cache: {{ttl: {ttl}}}, auth: {{method: approle, \
             role_id: '{role_id}', secret_id: '${{SECRET_ID}}'}}}}\nmounts: [{{at: mnt, templates: templates}}]\n"
        )
    };
    let daemon = TestDaemon::new().env("SECRET_ID", &secret_id).template("f.tpl", FILE);
    let daemon = daemon.config(&config(&bao.address(), "1h")).start();
    assert_eq!(daemon.read("f"), "v");
    daemon.config(&config(&bao.address(), "100ms"));
    daemon.await_log("config_reloaded", 1);
    assert_eq!(daemon.read("f"), "v");
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(bao.tokens(), before + 1, "the control: it goes on behind another memory");
    daemon.config(&config(&bao.address().replace("127.0.0.1", "localhost"), "100ms"));
    daemon.await_log("config_reloaded", 2);
    assert_eq!(daemon.read("f"), "v");
    assert_eq!(bao.tokens(), before + 2, "readers that were on their way may still need the old one");
    eventually("one is left", || bao.tokens() == before + 1);
    assert_eq!(daemon.read("f"), "v");
}

/// Who is not in the config any more gives back its login and what was lent to it. The control stays in it.
#[test]
fn a_provider_that_was_removed_gives_all_back() {
    let bao = written::authority();
    let (role_id, secret_id) = role(&bao, json!({"token_policies": ["app", "pki"]}));
    let before = bao.tokens();
    let provider = |name: &str| {
        format!(
            "  {name}: {{type: vault, address: \"{}\", auth: {{method: approle, role_id: '{role_id}', \
             secret_id: '${{SECRET_ID}}'}}, writes: {{pki/issue/leased: {{common_name: {name}.example, ttl: 10m}}}}}}\n",
            bao.address()
        )
    };
    let config =
        |providers: &str| format!("providers:\n{providers}mounts: [{{at: mnt, templates: templates}}]\n");
    let serial = |name: &str| format!("<< secret('{name}:pki/issue/leased#serial_number') >>");
    let daemon = TestDaemon::new().env("SECRET_ID", &secret_id).template("stays.tpl", serial("stays"));
    let daemon = daemon.template("goes.tpl", serial("goes"));
    let daemon = daemon.config(&config(&(provider("stays") + &provider("goes")))).start();
    let (stays, goes) = (daemon.read("stays"), daemon.read("goes"));
    assert_eq!(bao.tokens(), before + 2);
    fs::remove_file(daemon.folder().join("templates/goes.tpl")).unwrap();
    daemon.config(&config(&provider("stays")));
    daemon.await_log("config_reloaded", 1);
    eventually("its login goes", || bao.tokens() == before + 1);
    eventually("its certificate goes", || written::is_revoked(&bao, &goes));
    assert!(!written::is_revoked(&bao, &stays), "the control");
    assert_eq!(daemon.read("stays"), stays);
}
