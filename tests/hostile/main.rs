//! Templates that want to harm, read from a real daemon with little memory: it answers each within two
//! seconds, is the same process afterwards, and as small as before. The control is the same daemon
//! without its bounds.

#[path = "../common/mod.rs"]
mod common;
mod grammar;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use common::{Daemon, TestDaemon, hostile, long};
use grammar::{ANGLE, Dice, JINJA, template};

const ANSWER: Duration = Duration::from_secs(2);
const GROWTH: u64 = 32 << 20;
/// What the worker may have beyond what it begins with.
const ROOM: u64 = 512 << 20;
/// How a rendering is refused, or a template that is too large: never by its deadline.
const REFUSALS: [i32; 4] = [libc::EIO, libc::ENOKEY, libc::EFBIG, libc::EACCES];

struct Stage {
    daemon: Daemon,
    processes: [u32; 2],
    begun_with: u64,
}

/// A figure of `/proc/PID/status`, in bytes.
fn figure(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches([':', '\t', ' ']).trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

impl Stage {
    /// A daemon with these files, whose worker gets little more memory than it has.
    fn new(files: &[(String, String)], env: Option<(&str, &str)>) -> Self {
        let mut daemon = TestDaemon::new().secret("v", "value").secret("large", vec![b'x'; 1 << 20]);
        daemon = daemon.secret("n", "0\n".repeat(9_000)).secret("json", "{\"a\": [1, {\"b\": null}]}");
        daemon = daemon.secret("bytes", b"\xff\x00\xfe").template("good.txt.tpl", "{{ secrets.v }}\n");
        for (name, text) in files {
            daemon = daemon.template(&format!("{name}.tpl"), text);
        }
        let angle = files.iter().filter(|(name, _)| name.starts_with("angle"));
        let angle: String = angle.map(|(name, _)| format!("    {name}: {{syntax: angle}}\n")).collect();
        let files = if angle.is_empty() { String::new() } else { format!("  files:\n{angle}") };
        daemon =
            daemon.config(&format!("mounts:\n- at: mnt\n  templates: templates\n  syntax: jinja\n{files}"));
        daemon = daemon.env("SECRETFS_LOG", "error");
        if let Some((name, value)) = env {
            daemon = daemon.env(name, value);
        }
        let daemon = daemon.start();
        assert_eq!(daemon.read("good.txt"), "value\n");
        let worker = daemon.worker_pid();
        limit(worker, figure(worker, "VmSize") + ROOM);
        Self { processes: [daemon.pid(), worker], begun_with: figure(worker, "VmRSS"), daemon }
    }

    /// What is wrong with the answer, if anything is.
    fn read(&self, name: &str) -> Result<(), String> {
        let (took, outcome) = self.timed(name);
        // A machine that is busy with something else may be slow once.
        let took = if took > ANSWER { self.timed(name).0 } else { took };
        match outcome {
            _ if took > ANSWER => Err(format!("{took:?}")),
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error().is_some_and(|errno| REFUSALS.contains(&errno)) => Ok(()),
            Err(error) => Err(format!("{error}: {}", self.reason(name))),
        }
    }

    fn reason(&self, name: &str) -> String {
        let told = self.daemon.run(&["explain", &format!("mnt/{name}")]);
        String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned()
    }

    fn timed(&self, name: &str) -> (Duration, std::io::Result<Vec<u8>>) {
        let begin = Instant::now();
        let outcome = fs::read(self.daemon.path(name));
        (begin.elapsed(), outcome)
    }

    /// What is different from before.
    fn harm(&self) -> Result<(), String> {
        if [self.daemon.pid(), self.daemon.worker_pid()] != self.processes {
            return Err(format!("another process: {}", self.daemon.stderr()));
        }
        let grown = || figure(self.processes[1], "VmRSS").saturating_sub(self.begun_with);
        let until = Instant::now() + Duration::from_secs(5);
        // What it gave away it keeps for a second.
        while grown() > GROWTH && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(200));
        }
        if grown() > GROWTH { Err(format!("grown by {} KiB", grown() / 1024)) } else { Ok(()) }
    }

    fn peak(&self) -> u64 {
        figure(self.processes[1], "VmHWM").saturating_sub(self.begun_with)
    }
}

/// How much address space this process may have from now on.
fn limit(pid: u32, bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: reads one struct.
    let set =
        unsafe { libc::prlimit(pid.cast_signed(), libc::RLIMIT_AS, &raw const limit, std::ptr::null_mut()) };
    assert_eq!(set, 0, "prlimit");
}

const HASTY: Option<(&str, &str)> = Some(("SECRETFS_TEST_WEAKNESS", "hasty"));

fn named(texts: impl IntoIterator<Item = String>) -> Vec<(String, String)> {
    texts.into_iter().enumerate().map(|(number, text)| (format!("{number}.txt"), text)).collect()
}

#[test]
fn a_daemon_refuses_what_wants_to_harm_it() {
    let files = named(hostile::templates());
    let stage = Stage::new(&files, HASTY);
    for (name, text) in &files {
        let shown: String = text.chars().take(80).collect();
        stage.read(name).unwrap_or_else(|wrong| panic!("{wrong}: {shown}"));
        assert!(fs::read(stage.daemon.path(name)).is_err(), "it was rendered: {shown}");
    }
    stage.harm().unwrap();
    println!("{} templates, at most {} MiB more for a moment", files.len(), stage.peak() >> 20);
    assert_eq!(stage.daemon.read("good.txt"), "value\n");
}

#[test]
fn without_bounds_a_template_takes_it_down() {
    let text = "{% for a in secrets.n | lines %}{{ secrets.large }}{% endfor %}".to_owned();
    let stage = Stage::new(&named([text]), Some(("SECRETFS_TEST_WEAKNESS", "hasty,unbounded")));
    let answer = stage.read("0.txt");
    let harm = stage.harm();
    assert!(answer.is_err() && harm.is_err(), "the control: {answer:?} {harm:?}");
    assert!(harm.unwrap_err().contains("another process"), "the control");
}

/// SECRETFS_TEST_SEED=N: the same templates again.
#[test]
fn no_template_of_the_grammar_harms_a_daemon() {
    let seed = std::env::var("SECRETFS_TEST_SEED").map_or(7, |seed| seed.parse().unwrap());
    let rounds = if long() { 40 } else { 1 };
    for seed in seed..seed + rounds {
        let files = grown(seed, if long() { 1_000 } else { 500 });
        let stage = Stage::new(&files, HASTY);
        let mut rendered = 0;
        for (name, text) in &files {
            let told =
                |wrong| panic!("seed {seed}, {name}: {wrong}\n{}\n{text:.4000}", stage.daemon.stderr());
            stage.read(name).unwrap_or_else(told);
            rendered += usize::from(fs::metadata(stage.daemon.path(name)).is_ok_and(|meta| meta.size() > 0));
        }
        stage.harm().unwrap_or_else(|harm| panic!("seed {seed}: {harm}"));
        let peak = stage.peak() >> 20;
        println!("seed {seed}: {} templates, {rendered} rendered, at most {peak} MiB more", files.len());
        // Else this would try little more than the parser.
        assert!(rendered > files.len() / 30, "{rendered} of {} can be rendered", files.len());
    }
}

/// In both syntaxes, for all kinds of places.
fn grown(seed: u64, count: usize) -> Vec<(String, String)> {
    let mut dice = Dice::new(seed);
    let endings = ["txt", "json", "yaml", "env", "sh", "pgpass"];
    let file = |number: usize| {
        let (kind, marks) = if number.is_multiple_of(2) { ("jinja", JINJA) } else { ("angle", ANGLE) };
        let name = format!("{kind}{number}.{}", endings[dice.below(endings.len())]);
        (name, template(&mut dice, marks))
    };
    (0..count).map(file).collect()
}
