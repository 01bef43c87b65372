//! Two views of one path, real values and placeholders, read by several users in every way that the
//! kernel knows, while the rules change: nobody ever gets a byte of the view that is not his.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{self, SharedNode, TestDaemon, long, stdout_of};
use crate::stage::placed;

const REAL: u32 = 64_751;
const MASKED: u32 = 64_752;
const FLIPPING: u32 = 64_753;
/// Several pages.
const LENGTH: usize = 9_000;

fn real() -> String {
    "R".repeat(LENGTH)
}

/// The rules of a moment: who gets placeholders, and who the values.
fn config(masked: &[u32], shown: &[u32]) -> String {
    format!(
        "mounts:\n- {{at: mnt, templates: templates, mode: \"0444\", \
         access: [{{placeholder: {{uid: {masked:?}}}}}, {{allow: {{uid: {shown:?}}}}}]}}\n"
    )
}

/// One reader: reads, foreign ones, failed ones.
struct Soak(Child);

impl Soak {
    fn start(folder: &Path, file: &Path, uid: u32, seconds: u64, right: &[&Path]) -> Self {
        let mut command = Command::new(placed(folder, "soak"));
        let most = if long() { 2_500_000 } else { u32::MAX };
        command.arg(file).arg(seconds.to_string()).arg(most.to_string()).args(right).uid(uid).gid(uid);
        Self(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    fn counts(self) -> [u64; 3] {
        let said = stdout_of(&self.0.wait_with_output().unwrap());
        let counts: Vec<u64> = said.split_whitespace().map(|count| count.parse().unwrap()).collect();
        counts.try_into().expect("three")
    }
}

fn kept(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn nobody_gets_a_byte_of_another_view_while_the_rules_change() {
    let daemon = TestDaemon::new().secret("long", real()).template("f.tpl", "<< secrets.long >>");
    let rules = [config(&[MASKED, FLIPPING], &[0, REAL]), config(&[MASKED], &[0, REAL, FLIPPING])];
    let daemon = daemon.config(&rules[0]).start();
    let (file, folder) = (daemon.path("f"), daemon.folder());
    let mut read = Command::new("cat");
    let masked = stdout_of(&read.arg(&file).uid(MASKED).gid(MASKED).output().unwrap());
    assert!(masked.len() >= LENGTH && !masked.contains("RRRR"), "{masked:.80}");
    assert!(daemon.read("f") == real());
    let (real, masked) = (kept(folder, "real", real().as_bytes()), kept(folder, "masked", masked.as_bytes()));
    let seconds = if long() { 3_600 } else { 5 };
    let soak = |uid, right: &[&Path]| Soak::start(folder, &file, uid, seconds, right);
    let mut readers = [
        soak(0, &[&real]),
        soak(REAL, &[&real]),
        soak(MASKED, &[&masked]),
        soak(FLIPPING, &[&real, &masked]),
    ];
    let (start, mut flips) = (Instant::now(), 0);
    while !readers.iter_mut().all(Soak::is_over) {
        assert!(start.elapsed() < Duration::from_secs(seconds + 60));
        flips += 1;
        daemon.config(&rules[flips % 2]);
        stdout_of(&daemon.run(&["reload"]));
        thread::sleep(Duration::from_millis(50));
    }
    let counts = readers.map(Soak::counts);
    let reads: u64 = counts.iter().map(|[reads, ..]| reads).sum();
    println!("{reads} reads, {flips} flips; reads, foreign, failed of each: {counts:?}");
    assert!(reads > 2_000 && flips > 10, "too little happened to mean anything");
    assert_eq!(counts.map(|[_, foreign, _]| foreign), [0; 4], "foreign bytes");
    assert_eq!(counts[..3].iter().map(|[.., failed]| failed).sum::<u64>(), 0, "whose rules stay, reads on");
}

/// The control: the same with one node for both views.
#[test]
fn one_node_for_two_views_hands_out_foreign_bytes() {
    let control = SharedNode::start("views::serve_one_node_for_two_views");
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let [real, masked] = [0, MASKED].map(|uid| kept(folder.path(), &uid.to_string(), text(uid).as_bytes()));
    let file = control.file();
    let soak = |uid, right: &Path| Soak::start(folder.path(), &file, uid, 2, &[right]);
    let counts = [soak(0, &real), soak(REAL, &real), soak(MASKED, &masked)].map(Soak::counts);
    println!("the control: reads, foreign, failed of each: {counts:?}");
    assert!(counts.iter().any(|[_, foreign, _]| *foreign > 0), "the control found nothing: {counts:?}");
}

#[test]
#[ignore = "the control of the other tests, which run it in a process of its own"]
fn serve_one_node_for_two_views() {
    common::serve(Box::new(|uid| text(uid).into_bytes()));
}

fn text(uid: u32) -> String {
    if uid == MASKED { "p".repeat(LENGTH) } else { real() }
}
