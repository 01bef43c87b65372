//! A caller cannot get away from its request: it neither ends, nor runs another program, nor is its
//! number given to another process, until it is answered.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{STRANGER, USER, stdout_of, tool};
use crate::stage::{Stage, VALUE};

/// What `/proc` says of a process: its state and when it began.
fn state(pid: u32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// The mount is in the same pid namespace, which has room for few processes; meanwhile as many as
/// can be are started there. However slow that is, its number has to come up once.
#[test]
fn case_05_a_killed_reader_s_number_is_not_reused_until_it_is_answered() {
    let stage = Stage::new();
    let script = format!(
        "echo 330 > /proc/sys/kernel/pid_max; exec {} storm {}",
        stage.program("reader").display(),
        stage.file("slow")
    );
    let mut storm = Command::new(tool("unshare"));
    storm.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script]);
    let said = stdout_of(&storm.output().expect("unshare can be started"));
    let numbers: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [waited, while_held, past, later] = numbers[..] else { panic!("{said}") };
    println!(
        "held for {waited} ms after SIGKILL; {past} times past its number meanwhile, {while_held} of it"
    );
    assert!(waited > 300, "it ended at once: {said}");
    assert!(past > 0, "its turn has not come: {said}");
    assert_eq!(while_held, 0, "{said}");
    assert!(later > 0, "the control: its number is free now, and taken again: {said}");
}

#[test]
fn case_06_another_thread_cannot_run_another_program_meanwhile() {
    let stage = Stage::new();
    let said = stage.run("reader", &["sibling", &stage.file("slow")]);
    let stalled = |said: &str| -> u64 {
        let line = said.lines().find_map(|line| line.strip_prefix("ran after ")).expect("it ran");
        line.strip_suffix(" ms").unwrap().parse().unwrap()
    };
    println!("it was held for {} ms", stalled(&said));
    assert!(stalled(&said) > 400, "{said}");
    let said = stage.run("reader", &["sibling", &stage.file("all")]);
    assert!(stalled(&said) < 300, "the control: nobody waits: {said}");
}

#[test]
fn case_20_a_thread_whose_process_has_lost_its_first_one_is_known() {
    let stage = Stage::new();
    let by = |uid: u32| {
        let mut command = stage.command("reader", &["leader", &stage.file("own")]);
        String::from_utf8(command.uid(uid).gid(uid).output().unwrap().stdout).unwrap()
    };
    assert_eq!(by(USER), format!("thread: {VALUE}\n"));
    assert_eq!(by(STRANGER), "thread: errno EACCES\n", "the control");
}

#[test]
fn case_05_a_killed_reader_stays_until_it_is_answered() {
    let stage = Stage::new();
    let mut reader = stage.command("reader", &["read", &stage.file("slow")]);
    let mut reader = reader.stdout(Stdio::null()).spawn().unwrap();
    let pid = reader.id();
    thread::sleep(Duration::from_millis(300));
    let (_, began) = state(pid).unwrap();
    reader.kill().unwrap();
    let killed = Instant::now();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(state(pid), Some(('D', began)), "it waits, and nothing wakes it");
    reader.wait().unwrap();
    assert!(killed.elapsed() > Duration::from_millis(300), "{:?}", killed.elapsed());
}

/// Who cannot be known at once is waited for, also where many of his threads come between.
#[test]
fn who_is_in_many_groups_is_kept_waiting_and_not_sent_away() {
    let rules = format!(
        "    only: {{mode: \"0444\", access: [{{deny: {{gid: 199999}}}}, {{allow: {{uid: {USER}}}}}]}}\n"
    );
    let stage = Stage::with(&rules);
    let opens = |groups: &str, threads: &str| {
        let file = stage.file("only");
        stage.run("crowd", &[&file, &USER.to_string(), groups, threads, "100"])
    };
    assert_eq!(opens("5", "40"), "opened 4000, failed 0\n", "the control");
    assert_eq!(opens("5000", "40"), "opened 4000, failed 0\n");
}
