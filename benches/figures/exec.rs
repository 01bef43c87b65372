//! What `exec` adds to a command: 20 secrets against none, and against what people write by hand,
//! `age -d FILE | sh`; and what a covered file adds to that.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use crate::common::{TestStore, stdout_of, tool};
use crate::measure::in_turn;
use crate::table::{Row, Table, verdict};

const SECRETS: usize = 20;
const ROUNDS: usize = 15;
const TIMES: u32 = 20;
const RSS_AIM_KIB: i64 = 8 * 1024;

/// The aim, over the command alone.
const AIM: Duration = Duration::from_millis(3);

/// A command line and how it is called in the table.
struct Subject {
    name: &'static str,
    argv: Vec<String>,
    has_aim: bool,
}

pub(crate) fn exec(table: &mut Table) {
    let store = TestStore::new();
    let subjects = [plain(), by_hand(store.folder()), ours(&store), with_a_file(&store)];
    let [mut a, mut b, mut c, mut d] = subjects.each_ref().map(|subject| move || run(&subject.argv));
    let samples = in_turn(ROUNDS, TIMES, &mut [&mut a, &mut b, &mut c, &mut d]);
    let title = format!("{SECRETS} secrets for one `true`");
    let [alone, by_hand, ours, with_a_file] = samples.try_into().ok().expect("four subjects");
    table.row(Row::new(&title, subjects[0].name, &alone));
    table.row(Row::new(&title, subjects[1].name, &by_hand).over(&alone, None));
    table.row(Row::new(&title, subjects[2].name, &ours).over(&alone, Some(AIM)));
    table.row(Row::new(&title, subjects[3].name, &with_a_file).over(&ours, None));
    for subject in &subjects {
        usage(&subject.argv).rows(subject, table);
    }
}

fn plain() -> Subject {
    Subject { name: "true", argv: vec!["true".into()], has_aim: false }
}

fn ours(store: &TestStore) -> Subject {
    for secret in 0..SECRETS {
        store.set(&format!("key{secret}"), value(secret));
    }
    Subject { name: "secretfs exec", argv: line(store, &[]), has_aim: true }
}

/// The same variables, and a file with the same secrets over one that is there.
fn with_a_file(store: &TestStore) -> Subject {
    let [template, file] = ["all.env.tpl", "all.env"].map(|name| store.folder().join(name));
    let lines = (0..SECRETS).map(|secret| format!("KEY{secret}=<< secrets.key{secret} >>\n"));
    fs::write(&template, lines.collect::<String>()).expect("written");
    fs::write(&file, "").expect("written");
    let cover = format!("{}={}", file.display(), template.display());
    Subject { name: "secretfs exec --file", argv: line(store, &["--file", &cover]), has_aim: false }
}

/// `secretfs exec` with all secrets as variables.
fn line(store: &TestStore, options: &[&str]) -> Vec<String> {
    let variables: Vec<_> = (0..SECRETS).map(|secret| format!("--env=KEY{secret}=key{secret}")).collect();
    let variables: Vec<_> = variables.iter().map(String::as_str).collect();
    let command = store.command(&[&["exec"], options, &variables, &["--", "true"]].concat());
    let argv = [command.get_program()].into_iter().chain(command.get_args());
    argv.map(|arg| arg.to_str().expect("UTF-8").to_owned()).collect()
}

/// The same values as lines of sh, encrypted with age.
fn by_hand(folder: &Path) -> Subject {
    let [key, sealed] = ["age.key", "env.age"].map(|name| folder.join(name).display().to_string());
    stdout_of(&Command::new(tool("age-keygen")).args(["-o", &key]).output().expect("age-keygen"));
    let recipient = fs::read_to_string(&key).expect("a key");
    let recipient = recipient.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("its line");
    let mut lines: String = (0..SECRETS).map(|n| format!("export KEY{n}='{}'\n", value(n))).collect();
    lines += "exec true\n";
    let plain = folder.join("env.sh");
    fs::write(&plain, lines).expect("written");
    let mut age = Command::new(tool("age"));
    age.args(["-r", recipient, "-o", &sealed]).arg(&plain);
    stdout_of(&age.output().expect("age"));
    let pipe = format!("age -d -i {key} {sealed} | sh");
    Subject { name: "age -d | sh", argv: vec!["sh".into(), "-c".into(), pipe], has_aim: false }
}

fn value(number: usize) -> String {
    format!("a-value-of-some-length-{number:04}")
}

fn run(argv: &[String]) {
    let mut command = Command::new(&argv[0]);
    let status = command.args(&argv[1..]).stdin(Stdio::null()).status().expect("started");
    assert!(status.success(), "{argv:?}: {status}");
}

struct Usage {
    cpu: String,
    rss_kib: i64,
}

impl Usage {
    fn rows(self, subject: &Subject, table: &mut Table) {
        table.row(Row::note("user + system time, a run", subject.name, self.cpu, String::new()));
        let met = verdict("8 MiB", self.rss_kib <= RSS_AIM_KIB);
        let aim = if subject.has_aim { met } else { String::new() };
        table.row(Row::note("largest resident size", subject.name, format!("{} KiB", self.rss_kib), aim));
    }
}

/// Asked of a process of its own, since the kernel sums children up and keeps their largest size.
fn usage(argv: &[String]) -> Usage {
    let own = std::env::current_exe().expect("this program");
    let said = stdout_of(&Command::new(own).arg("usage").args(argv).output().expect("this program again"));
    let (cpu, rss) = said.trim().split_once(' ').expect("two figures");
    Usage {
        cpu: format!("{:.2} ms", cpu.parse::<f64>().expect("a figure")),
        rss_kib: rss.parse().expect("a figure"),
    }
}

/// The other side of `usage`: prints the milliseconds of a run, and the largest size in KiB.
pub(crate) fn print_usage(argv: &[String]) {
    (0..TIMES).for_each(|_| run(argv));
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("our own usage");
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
    println!("{:.3} {}", micros as f64 / f64::from(TIMES) / 1000.0, usage.max_rss());
}
