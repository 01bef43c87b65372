//! The journal of a machine on which the daemon runs as a unit, told to log everything, and everything
//! fails: searched raw, as journald has written it, the value is in none of its files, in no form.

use std::fs::{self, OpenOptions};
use std::io::Write;

use super::app::{App, UNIT};
use super::common::Transcript;
use super::common::failing::{self, PROGRAMS, VALUE};
use super::scan::{Hits, Scan};

/// Without its sockets, which would be made in the /dev of us all; and without compression, which
/// would hide what it has.
const JOURNALD: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\nStandardOutput=null\n\
                        ExecStart=/lib/systemd/systemd-journald\n";
const SETTINGS: &str = "[Journal]\nStorage=volatile\nCompress=no\nReadKMsg=no\nRateLimitBurst=0\n\
                        RuntimeMaxUse=512M\nSplitMode=none\nForwardToSyslog=no\nForwardToWall=no\n";

/// A machine with a journal, whose daemon logs to it and serves what fails.
fn app(environment: &str) -> App {
    let mut app = App::new(UNIT);
    for (name, value) in failing::secrets() {
        app.store.set(name, value);
    }
    for (name, text) in failing::templates() {
        fs::write(app.store.folder().join(format!("templates/{name}.tpl")), text).expect("a template");
    }
    // Nothing is logged more finely than what comes of this.
    let labelled = app.store.folder().join("templates/labelled.tpl");
    fs::write(labelled, "<< secret(label='nosuch') >>").expect("a template");
    let folder = app.machine.folder().to_owned();
    let more = format!(
        "    mode: \"0444\"\n{}{}audit: {{journald: true}}\ncredentials: {{names: {{no: v.nosuch, bytes: bytes}}}}\n",
        failing::files(),
        failing::providers(&folder)
    );
    let mut config = OpenOptions::new().append(true).open(folder.join("config.yaml")).expect("the config");
    config.write_all(more.replace("\n  ", "\n    ").as_bytes()).expect("more of it");
    let unit = fs::read_to_string(folder.join("units/secretfs.service")).expect("our unit");
    let (before, after) = unit.split_once("StandardError=append:").expect("where it logs");
    let after = after.split_once('\n').expect("a line").1;
    let log =
        format!("StandardError=journal\nEnvironment=SECRETFS_LOG=trace RUST_BACKTRACE=1 {environment}\n");
    fs::write(folder.join("journald.conf"), SETTINGS).expect("a file");
    let asks = |name: &str| {
        format!(
            "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/true\n\
             LoadCredential={name}:/run/secretfs/credentials.sock\n"
        )
    };
    let told = format!(
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nStandardOutput=journal\n\
         ExecStart=/bin/cat {}/secret\n",
        folder.display()
    );
    app.machine = app
        .machine
        .unit("secretfs.service", &format!("{before}{log}{after}"))
        .unit("systemd-journald.service", JOURNALD)
        .unit("asks-no.service", &asks("no"))
        .unit("tells.service", &told);
    app
}

/// Reads all files, has systemd ask, and copies the journal to `journal`.
fn boot(app: &App, more: &str) -> Transcript {
    let folder = app.machine.folder().display();
    app.boot(&format!(
        "mkdir -p /run/systemd/journald.conf.d
         cp {folder}/journald.conf /run/systemd/journald.conf.d/
         systemctl start systemd-journald.service
         systemctl start secretfs.service
         for file in /run/secretfs/app/*; do cat $file > /dev/null 2>&1 || echo failed; done
         fails systemctl start asks-no.service
         {more}
         systemctl stop secretfs.service
         journalctl --sync
         cp -r /run/log/journal {folder}/journal",
    ))
}

/// What of the value is in the journal, and how much of a journal there is.
fn search(app: &App) -> (Hits, Vec<u8>) {
    let scan = Scan::of([("the value", VALUE.as_bytes())]);
    let mut all = Vec::new();
    for folder in fs::read_dir(app.machine.folder().join("journal")).expect("a journal") {
        for file in fs::read_dir(folder.expect("a folder").path()).expect("a folder") {
            all.extend(fs::read(file.expect("a file").path()).expect("a file"));
        }
    }
    (scan.bytes(&all), all)
}

#[test]
fn the_journal_has_no_value_whatever_fails() {
    let app = app("");
    let transcript = boot(&app, "");
    transcript.expect_success();
    let failed = transcript.output.matches("failed\n").count();
    assert!(failed > failing::templates().len() * 2 / 3, "only {failed} fail: {}", transcript.output);
    let (hits, journal) = search(&app);
    assert!(hits.is_empty(), "{hits:?}");
    // It is our log, to its finest, and the audit's.
    for (words, least) in [
        ("the labels of all secrets are known", 1),
        ("provider_error", PROGRAMS.len() - 2),
        ("credential_refused", 1),
        ("\"event\":\"read\"", failed),
    ] {
        let found = journal.windows(words.len()).filter(|it| *it == words.as_bytes()).count();
        assert!(found >= least, "{words}: {found} in {} bytes", journal.len());
    }
}

/// The same journal of a daemon that tells values, and of a unit that does.
#[test]
fn a_journal_that_has_a_value_is_noticed() {
    let talks = app("SECRETFS_TEST_WEAKNESS=talkative");
    boot(&talks, "").expect_success();
    assert!(!search(&talks).0.is_empty(), "the control: a daemon");
    let tells = app("");
    boot(&tells, "systemctl start tells.service").expect_success();
    assert!(!search(&tells).0.is_empty(), "the control: a unit");
}
