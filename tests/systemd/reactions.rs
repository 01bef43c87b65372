//! What is done under a real systemd: units are reloaded if a process of theirs holds an old version,
//! and commands run as units of their own, outside the daemon's control group.

use std::fs;

use super::app::{App, ROTATED, UNIT, login};

/// Reads the file as it starts and as it is reloaded, by itself.
fn server_unit(output: &str) -> String {
    let read = format!("read line < /run/secretfs/app/credential; echo \\\"$0 $$line\\\" >> {output}");
    format!(
        "[Unit]\nDefaultDependencies=no\nAfter=secretfs.service\n[Service]\nUser=app\nType=exec\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         ExecStart=/bin/sh -c \"trap '{read}' HUP; {read}; while :; do sleep 0.1; done\" read\n"
    )
}

#[test]
fn a_unit_is_reloaded_and_a_command_is_a_unit_of_its_own() {
    let app = App::new(UNIT);
    let folder = app.machine.folder().to_owned();
    let place = |name: &str| folder.join(name).display().to_string();
    let command = format!(
        "cat /proc/self/cgroup > {0}; echo \\\"$0 $1 $SECRETFS_FILES\\\" >> {0}",
        place("ran.output")
    );
    let config = fs::read_to_string(folder.join("config.yaml")).unwrap()
        + &format!(
            "    files:\n\
             \x20     credential: {{on_change: {{reload: server.service, debounce: 100ms}}}}\n\
             \x20     app.env: {{on_change: {{command: [/bin/sh, -c, \"{command}\", first, \"a$b\"], debounce: 100ms}}}}\n"
        );
    fs::write(folder.join("config.yaml"), config).unwrap();
    for name in ["server.output", "other.output"] {
        fs::write(folder.join(name), "").unwrap();
        std::os::unix::fs::chown(folder.join(name), Some(super::common::USER), None).unwrap();
    }
    let app = App {
        machine: app
            .machine
            .unit("server.service", &server_unit(&place("server.output")))
            .unit("other.service", &server_unit(&place("other.output"))),
        ..app
    };
    let set = format!(
        "echo '{}' | {} --store {} --key-file {} set db --from-json",
        login(ROTATED),
        place("secretfs"),
        app.store.path().display(),
        place("key")
    );
    let transcript = app.boot(&format!(
        "systemctl start secretfs.service server.service other.service
         sh -c 'read line < /run/secretfs/app/app.env; sleep 30' &
         sleep 2
         {set}
         for i in $(seq 100); do grep -q {ROTATED} {server} && [ -s {ran} ] && break; sleep 0.1; done
         sleep 2
         {secretfs} --config {config} readers
         systemctl stop server.service other.service secretfs.service",
        server = place("server.output"),
        ran = place("ran.output"),
        secretfs = place("secretfs"),
        config = place("config.yaml"),
    ));
    transcript.expect_success();
    let seen = app.machine.output_of("server");
    assert!(
        seen.lines().count() == 2 && seen.ends_with(&format!("{ROTATED}\n")),
        "{seen}\n{}",
        transcript.output
    );
    assert_eq!(app.machine.output_of("other").lines().count(), 1, "no other unit is reloaded");
    let ran = app.machine.output_of("ran");
    assert!(ran.contains("secretfs-reaction-") && !ran.contains("secretfs.service"), "{ran}");
    assert!(ran.ends_with("first a$b /run/secretfs/app/app.env\n"), "{ran}");
}

/// PID 1 has read the file for a unit, and holds an old version for ever. A signal would have it read
/// all units again, as HUP does, or worse.
#[test]
fn pid_1_is_never_signalled() {
    let app = App::new(UNIT);
    let folder = app.machine.folder().to_owned();
    let place = |name: &str| folder.join(name).display().to_string();
    let config = fs::read_to_string(folder.join("config.yaml")).unwrap()
        + "    files:\n      app.env: {on_change: {signal: HUP, debounce: 100ms}}\n";
    fs::write(folder.join("config.yaml"), config).unwrap();
    let set = format!(
        "echo '{}' | {} --store {} --key-file {} set db --from-json",
        login(ROTATED),
        place("secretfs"),
        app.store.path().display(),
        place("key")
    );
    let transcript = app.boot(&format!(
        "is_unread() {{ systemctl show --property NeedDaemonReload --value secretfs.service; }}
         systemctl start secretfs.service
         systemctl start environment.service
         {secretfs} --config {config} readers
         echo '# more' >> /run/systemd/system/secretfs.service
         echo before: $(is_unread)
         {set}
         for i in $(seq 50); do grep -q 'outcome=\"ok\"' {log} && break; sleep 0.1; done
         sleep 0.5
         echo after: $(is_unread)
         kill -HUP 1
         for i in $(seq 50); do [ $(is_unread) = no ] && break; sleep 0.1; done
         echo control: $(is_unread)
         systemctl stop secretfs.service",
        secretfs = place("secretfs"),
        config = place("config.yaml"),
        log = place("service.output"),
    ));
    transcript.expect_success();
    let output = &transcript.output;
    for words in ["before: yes", "after: yes", "control: no"] {
        assert!(output.contains(words), "{words}: {output}\n{}", app.machine.output_of("service"));
    }
    let said = app.machine.output_of("service");
    assert!(said.contains("action=\"signal HUP\" readers=1 outcome=\"ok\""), "{said}\n{output}");
}
