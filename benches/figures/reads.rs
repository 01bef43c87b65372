//! What a read costs: a rendering that is ready against a filesystem that does nothing and against
//! tmpfs, and what one adds that must be rendered first.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::common::{Daemon, Mounted, TestDaemon, TestMount, TestStore};
use crate::idle;
use crate::measure::{Samples, in_turn, on_one_cpu, time};
use crate::table::{Row, Table};

pub(crate) const SIZE: usize = 4096;
const ROUNDS: usize = 15;
const TIMES: u32 = 2000;
const COLD_READS: usize = 300;
const SECRETS: usize = 10;
const COLD_AIM: Duration = Duration::from_micros(200);

/// open + fstat + read + close, with every byte count checked.
pub(crate) fn read(file: &Path) {
    let file = File::open(file).expect("opened");
    let size = file.metadata().expect("fstat").len();
    let mut bytes = [0; SIZE];
    let got = (&file).read(&mut bytes).expect("read");
    assert_eq!((size, got), (SIZE as u64, SIZE));
}

pub(crate) fn store() -> TestStore {
    let store = TestStore::new();
    for secret in 0..SECRETS {
        store.set(&format!("key{secret}"), value(0));
    }
    store
}

/// Ten secrets, and text around them so that the rendering has its 4 KiB.
pub(crate) fn template() -> String {
    let uses: String =
        (0..SECRETS).map(|secret| format!("KEY{secret}=<< secrets.key{secret} >>\n")).collect();
    let rendered = SECRETS * ("KEY0=".len() + value(0).len() + 1);
    format!("{uses}{}\n", "#".repeat(SIZE - rendered - 1))
}

fn mount() -> Mounted {
    TestMount::on(store()).template("file.txt.tpl", template()).start()
}

/// The same, with all that a successor and `readers` need to know kept of each open.
fn daemon() -> Daemon {
    TestDaemon::on(store()).template("file.txt.tpl", template()).start()
}

/// Always as long, so that the rendering is too.
fn value(number: usize) -> String {
    format!("value-{number:026}")
}

/// The do-nothing filesystem in a process of its own, as the real one is.
pub(crate) struct IdleMount {
    pub(crate) folder: TempDir,
    child: Child,
}

impl IdleMount {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let own = std::env::current_exe().expect("this program");
        let mut command = Command::new(own);
        command.arg("serve-idle").arg(folder.path()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program again");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("its line");
        assert_eq!(line, "ready\n");
        Self { folder, child }
    }
}

impl Drop for IdleMount {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.folder.path(), nix::mount::MntFlags::MNT_DETACH);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Samples of ours, of the daemon's, of the idle one and of tmpfs. All is started inside, so that with
/// `on_one_cpu` all of it is there.
fn warm_samples() -> Vec<Samples> {
    let (mounted, daemon, idle) = (mount(), daemon(), IdleMount::start());
    let memory = TempDir::new_in("/dev/shm").expect("a tmpfs at /dev/shm");
    fs::write(memory.path().join("file"), [b'x'; SIZE]).expect("written");
    let files = [
        mounted.path("file.txt"),
        daemon.path("file.txt"),
        idle.folder.path().join(idle::NAME),
        memory.path().join("file"),
    ];
    let [mut ours, mut daemons, mut nothing, mut tmpfs] = files.each_ref().map(|file| move || read(file));
    in_turn(ROUNDS, TIMES, &mut [&mut ours, &mut daemons, &mut nothing, &mut tmpfs])
}

pub(crate) fn warm(table: &mut Table) {
    for (place, samples) in [("", warm_samples()), (", one CPU", on_one_cpu(warm_samples))] {
        let [ours, daemon, nothing, tmpfs] = samples.try_into().ok().expect("four subjects");
        let title = format!("open+fstat+read 4 KiB+close{place}");
        table.row(Row::new(&title, "tmpfs", &tmpfs));
        table.row(Row::new(&title, "do-nothing fuser", &nothing));
        table.row(Row::new(&title, "secretfs mount, ready", &ours).times(&nothing, 1.0));
        table.row(Row::new(&title, "secretfs daemon, ready", &daemon).times(&nothing, 1.0));
    }
}

/// Each read follows a change by another process; the next one is warm.
fn cold_samples() -> (Samples, Samples) {
    let mounted = mount();
    let (file, mut cold, mut warm) = (mounted.path("file.txt"), Samples::default(), Samples::default());
    read(&file);
    for number in 1..=COLD_READS {
        mounted.store().set("key0", value(number));
        cold.push(time(|| read(&file)));
        warm.push(time(|| read(&file)));
    }
    assert!(mounted.read("file.txt").contains(&value(COLD_READS)), "the last change is not served");
    (cold, warm)
}

pub(crate) fn cold(table: &mut Table) {
    for (place, (cold, warm)) in [("", cold_samples()), (", one CPU", on_one_cpu(cold_samples))] {
        let title = format!("the same, {SECRETS} secrets, one changed{place}");
        table.row(Row::new(&title, "the read after it", &warm));
        table.row(Row::new(&title, "rendered", &cold).over(&warm, Some(COLD_AIM)));
    }
}
