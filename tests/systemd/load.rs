//! What happens to readers while the service is killed, restarted and stopped: they notice a pause,
//! PID 1 among them.

use std::fs;

use super::app::{App, FILE, PASSWORD, UNIT};
use super::common::{Transcript, long};

/// Reads a file over and over until it is told to stop; then says what came of it.
const READER: &str = r#"
import signal, sys, time
path, out = sys.argv[1:]
over = []
signal.signal(signal.SIGTERM, lambda *_: over.append(1))
right = open(path, "rb").read()
reads, failures, longest = 0, {}, 0.0
while not over:
    start = time.monotonic()
    try:
        problem = None if open(path, "rb").read() == right else "another content"
    except OSError as error:
        problem = error.strerror
    longest = max(longest, time.monotonic() - start)
    reads += 1
    if problem:
        failures[problem] = failures.get(problem, 0) + 1
with open(out, "a") as file:
    print(f"reads={reads} failures={failures or 'none'} longest={longest * 1000:.0f}ms", file=file)
"#;

/// Until the service is active and its worker serves again.
const SETTLE: &str = "settle() {
    for try in $(seq 100); do
        systemctl is-active -q secretfs.service && return
        sleep 0.05
    done
}
";

/// Kills the main process, and waits until the manager has started another: until then there is none
/// to kill, and saying so is a failure of the command.
const KILL_MAIN: &str = "main() { systemctl show --property MainPID --value secretfs.service; }
kill_main() {
    killed=$(main)
    systemctl kill -s KILL --kill-who=main secretfs.service
    for try in $(seq 200); do
        now=$(main)
        test $now != 0 && test $now != $killed && return
        sleep 0.05
    done
}
";

/// An app whose readers loop, in four processes, while the script runs.
fn under_load(unit: &str, script: &str) -> (App, Transcript) {
    let app = App::new(unit);
    let folder = app.machine.folder().display().to_string();
    fs::write(app.machine.folder().join("reader.py"), READER).expect("a file");
    fs::create_dir(app.machine.folder().join("tally")).expect("a folder");
    let reader = format!(
        "[Unit]\nDefaultDependencies=no\n[Service]\nUser=app\n\
         ExecStart=/usr/bin/python3 {folder}/reader.py {FILE} {folder}/tally/%i\n"
    );
    let App { machine, store } = app;
    let app = App { machine: machine.unit("reader@.service", &reader), store };
    let readers = "reader@1 reader@2 reader@3 reader@4";
    let transcript = app.boot(&format!(
        "{SETTLE}{KILL_MAIN}chmod 0777 {folder}/tally
         systemctl start secretfs.service
         systemctl start {readers}
         sleep 0.5
         {script}
         systemctl stop {readers}
         systemctl stop secretfs.service
         fails mountpoint --quiet /run/secretfs/app"
    ));
    (app, transcript)
}

/// A line for each reader.
fn tallies(app: &App) -> Vec<String> {
    let files = fs::read_dir(app.machine.folder().join("tally")).expect("a folder").map_while(Result::ok);
    files.map(|file| fs::read_to_string(file.path()).expect("a file")).collect()
}

#[track_caller]
fn expect_no_failure((app, transcript): (App, Transcript)) -> App {
    transcript.expect_success();
    let tallies = tallies(&app);
    println!("{}", tallies.concat());
    assert_eq!(tallies.len(), 4, "{tallies:?}");
    assert!(tallies.iter().all(|it| it.contains("failures=none")), "{tallies:?}\n{}", transcript.journal);
    app
}

#[test]
fn a_killed_service_fails_no_read() {
    expect_no_failure(under_load(
        UNIT,
        "for kill in 1 2 3; do systemctl kill -s KILL secretfs.service; sleep 0.3; settle; sleep 0.5; done",
    ));
}

#[test]
fn a_killed_main_process_fails_no_read() {
    expect_no_failure(under_load(UNIT, "for kill in 1 2 3; do kill_main; settle; sleep 0.5; done"));
}

#[test]
fn a_restart_fails_no_read() {
    let app = expect_no_failure(under_load(
        UNIT,
        "for restart in 1 2 3; do systemctl restart secretfs.service; sleep 0.3; done
         systemctl show --property NRestarts secretfs.service",
    ));
    let said = app.machine.output_of("service");
    assert_eq!(said.matches("leaves the mounts to the next start").count(), 3, "{said}");
}

/// A config with a mistake fails the command, and changes nothing.
#[test]
fn a_reload_fails_no_read() {
    let (app, transcript) = under_load(
        UNIT,
        &format!(
            "config=$(systemctl show --property ExecStart --value secretfs.service | grep -o '[^ ]*config.yaml' | head -n 1)
             for mode in 0440 0400 0444; do
                 sed -i '/mode:/d' $config
                 echo \"    mode: \\\"$mode\\\"\" >> $config
                 systemctl reload secretfs.service
                 stat --format 'is now %a' {FILE}
                 sleep 0.3
             done
             echo 'stor: x' >> $config
             fails systemctl reload secretfs.service
             systemctl is-active secretfs.service
             stat --format 'stays %a' {FILE}"
        ),
    );
    for words in ["is now 440", "is now 400", "is now 444", "stays 444"] {
        assert!(transcript.output.contains(words), "{words}: {}", transcript.output);
    }
    let app = expect_no_failure((app, transcript));
    let said = app.machine.output_of("service");
    assert!(said.contains("config.yaml:8:1: unknown key `stor`"), "{said}");
    assert!(said.contains("try: did you mean `store`?"), "{said}");
}

/// The control: without the manager's copies a restart is seen.
#[test]
fn without_kept_descriptors_a_restart_fails_reads() {
    let unit = UNIT.replace("FileDescriptorStoreMax=256", "FileDescriptorStoreMax=0");
    let unit = unit.replace("RestartKillSignal=SIGUSR1\n", "");
    let (app, transcript) = under_load(&unit, "systemctl restart secretfs.service; sleep 0.3");
    transcript.expect_success();
    assert!(tallies(&app).iter().any(|it| !it.contains("failures=none")), "{:?}", tallies(&app));
}

/// PID 1 itself reads the file, while the process is killed that would answer it.
#[test]
fn pid_1_reads_while_the_worker_is_killed() {
    let (app, transcript) = under_load(
        UNIT,
        "worker() { pgrep --full -- '--worker$'; }
         (for kill in $(seq 10); do kill -KILL $(worker); sleep 0.3; done) &
         for start in $(seq 20); do systemctl start environment.service; done
         wait",
    );
    let app = expect_no_failure((app, transcript));
    assert_eq!(app.machine.output_of("environment"), format!("{PASSWORD}\n").repeat(20));
}

/// PID 1 itself waits for a file that nobody serves: nobody could start anybody who would, and no
/// signal reaches it. The unit that watches from outside frees it.
#[test]
fn pid_1_is_freed_when_it_waits_for_nobody() {
    let app = App::new(UNIT);
    let transcript = app.boot(&format!(
        "{SETTLE}systemctl start secretfs.service
         systemctl start environment.service
         sleep 0.3
         systemctl kill -s STOP secretfs.service
         start=$(date +%s)
         fails systemctl start environment.service
         echo waited $(($(date +%s) - start)) seconds
         systemctl kill -s KILL secretfs.service
         sleep 0.5
         settle
         systemctl start environment.service
         systemctl stop secretfs.service
         fails mountpoint --quiet /run/secretfs/app"
    ));
    transcript.expect_success();
    println!("{}", transcript.output);
    assert_eq!(app.machine.output_of("environment"), format!("{PASSWORD}\n").repeat(2));
    let said = app.machine.output_of("probe");
    assert!(said.contains("a mount does not answer"), "{said}");
}

/// The key is gone: no start can succeed. Who serves goes on, however often the
/// manager has to start the main process, and whatever happens to that.
#[test]
fn a_restart_that_cannot_succeed_fails_no_read() {
    let (app, transcript) = under_load(
        UNIT,
        "key=/run/credstore/secretfs.key
         worker() { pgrep --full -- '--worker$' | head -n 1; }
         before=$(worker)
         mv $key $key.away
         systemctl restart secretfs.service
         systemctl show --property StatusText secretfs.service
         for kill in $(seq 8); do kill_main; sleep 0.2; done
         systemctl restart secretfs.service
         systemctl is-active secretfs.service
         test $(worker) = $before && echo the same serves on
         mv $key.away $key
         systemctl restart secretfs.service
         for try in $(seq 100); do test $(worker) != $before && break; sleep 0.1; done
         test $(worker) != $before && echo another serves",
    );
    let output = transcript.output.clone();
    let app = expect_no_failure((app, transcript));
    for words in ["StatusText=the worker of before serves on", "the same serves on", "another serves"] {
        assert!(output.contains(words), "{words}: {output}");
    }
    let said = app.machine.output_of("service");
    assert!(said.contains("the store is sealed"), "{said}");
}

/// A first start that is refused is told at once, and a mistake that is mended is noticed.
#[test]
fn a_refused_start_is_told_and_tried_again_without_end() {
    let app = App::new(UNIT);
    let transcript = app.boot(&format!(
        "{SETTLE}config=$(systemctl show --property ExecStart --value secretfs.service | grep -o '[^ ]*config.yaml' | head -n 1)
         echo 'stor: x' >> $config
         fails systemctl start secretfs.service
         sleep 1.5
         systemctl show --property StatusText,NRestarts,ActiveState secretfs.service
         sed -i /stor:/d $config
         for try in $(seq 80); do systemctl is-active -q secretfs.service && break; sleep 0.1; done
         systemctl start app-reads.service
         systemctl stop secretfs.service
         fails mountpoint --quiet /run/secretfs/app"
    ));
    transcript.expect_success();
    let output = &transcript.output;
    for words in ["NRestarts=1\n", "ActiveState=activating", "nobody serves; the next one cannot"] {
        assert!(output.contains(words), "{words}: {output}\n{}", app.machine.output_of("service"));
    }
}

/// The main process hangs: the worker serves meanwhile, and the manager starts another one.
#[test]
fn a_main_process_that_hangs_is_replaced_by_the_watchdog() {
    let hang = |seconds: u32| {
        let unit = UNIT.replace("WatchdogSec=30s", &format!("WatchdogSec={seconds}s"));
        under_load(
            &unit,
            "before=$(main)
             kill -STOP $before
             sleep 6
             settle
             test $(main) = $before && echo the same holds
             kill -CONT $before || true",
        )
    };
    let (app, transcript) = hang(4);
    assert!(!transcript.output.contains("the same holds"), "{}", transcript.output);
    expect_no_failure((app, transcript));
    if long() {
        let (app, transcript) = hang(30);
        assert!(transcript.output.contains("the same holds"), "the control: {}", transcript.output);
        expect_no_failure((app, transcript));
    }
}
