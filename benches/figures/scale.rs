//! What many files and many secrets cost: the start, the memory, listings, an open, one change, and
//! a minute in which nobody asks for anything.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Mounted, TestMount, TestStore, stdout_of};
use crate::measure::{Samples, in_turn, time};
use crate::table::{Row, Table, verdict};

/// Secrets of one file.
const USES: usize = 10;
/// Files of one folder.
const FOLDER: usize = 10_000;
/// Secrets of one `set --from-json`.
const BATCH: usize = 100_000;
const ROUNDS: usize = 15;
const STARTS: usize = 7;
const IDLE: Duration = Duration::from_secs(10);

/// How much there is.
#[derive(Clone, Copy)]
struct Scale {
    files: usize,
    secrets: usize,
}

const SMALLEST: Scale = Scale { files: 1, secrets: 10 };
const SMALL: Scale = Scale { files: 100, secrets: 100 };
const USUAL: Scale = Scale { files: 1_000, secrets: 10_000 };
const FOLDERFUL: Scale = Scale { files: 10_000, secrets: 10_000 };
const MILLION: Scale = Scale { files: 100_000, secrets: 1_000_000 };

/// What a start may take, and the memory after it, in KiB.
struct Aim {
    start: Duration,
    rss: u64,
}

pub(crate) fn scale(table: &mut Table) {
    start(table, SMALLEST, Some(Aim { start: Duration::from_millis(10), rss: 10 * 1024 }));
    start(table, USUAL, Some(Aim { start: Duration::from_millis(50), rss: 30 * 1024 }));
    many(table, FOLDERFUL);
}

pub(crate) fn million(table: &mut Table) {
    many(table, MILLION);
}

fn many(table: &mut Table, scale: Scale) {
    let world = start(table, scale, None);
    // Before the first snapshots are a minute old and are wiped.
    idle(table, &world);
    opens(table, &world);
    changes(table, &world);
    listings(table, &world);
}

/// A mount of so many files over so many secrets.
struct World {
    scale: Scale,
    mounted: Mounted,
}

impl Scale {
    fn title(self, what: &str) -> String {
        format!("{what}, {} files, {} secrets", self.files, self.secrets)
    }

    /// Where a file lies below the mount or, with the suffix, below the templates.
    fn file(self, number: usize) -> PathBuf {
        format!("{}/app{number}.conf", number / FOLDER).into()
    }

    fn secret(self, file: usize, number: usize) -> String {
        format!("team/key{}", (file * USES + number) % self.secrets)
    }

    fn template(self, file: usize) -> String {
        (0..USES).fold(String::new(), |mut text, number| {
            let secret = self.secret(file, number);
            let _ = writeln!(text, "KEY{number}=<< secrets[\"{secret}\"] >>");
            text
        })
    }

    /// What every file has: the values are of one length.
    fn size(self) -> u64 {
        (USES * ("KEY0=\n".len() + value(0).len())) as u64
    }

    fn prepare(self) -> TestMount {
        let store = TestStore::new();
        for first in (0..self.secrets).step_by(BATCH) {
            let last = (first + BATCH).min(self.secrets);
            let pairs = (first..last).map(|n| (format!("team/key{n}"), value(n).into()));
            let batch = serde_json::Value::Object(pairs.collect());
            stdout_of(&store.run_with(&["set", "--from-json"], batch.to_string()));
        }
        let mount = TestMount::on(store);
        let templates = mount.folder().join("templates");
        for file in 0..self.files {
            let path = templates.join(self.file(file)).with_extension("conf.tpl");
            if file % FOLDER == 0 {
                fs::create_dir_all(path.parent().expect("below a folder")).expect("a folder");
            }
            fs::write(path, self.template(file)).expect("a template");
        }
        mount
    }
}

fn value(number: usize) -> String {
    format!("value-{number:010}")
}

impl World {
    fn file(&self, number: usize) -> PathBuf {
        self.mounted.path(self.scale.file(number).to_str().expect("UTF-8"))
    }

    /// Reads a file as programs do, and checks it.
    fn read(&self, number: usize) {
        let file = File::open(self.file(number)).expect("opened");
        let size = file.metadata().expect("fstat").len();
        let mut bytes = [0; 512];
        let got = (&file).read(&mut bytes).expect("read") as u64;
        assert_eq!((size, got), (self.scale.size(), self.scale.size()));
    }

    /// CPU time of the serving process.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.mounted.pid())).expect("its stat");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("after its name").split(' ').collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// A line of its `/proc/PID/status`, in KiB.
    fn memory(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.mounted.pid())).expect("its status");
        let line = status.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(':')).expect("the line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

/// Starts it several times; the last one stays.
fn start(table: &mut Table, scale: Scale, aim: Option<Aim>) -> World {
    let mut mounted = None;
    let mut samples = Samples::default();
    let prepared = scale.prepare();
    let mut prepared = Some(prepared);
    for _ in 0..STARTS {
        let before = mounted.take();
        let took = match before {
            None => {
                let prepared = prepared.take().expect("once");
                time(|| mounted = Some(prepared.start()))
            }
            Some(running) => {
                let mut running: Mounted = running;
                running.stop();
                time(|| mounted = Some(running.restart()))
            }
        };
        samples.push(took);
    }
    let world = World { scale, mounted: mounted.expect("started") };
    let title = scale.title("start to mounted");
    let met = |aim: &Aim| verdict(&format!("{:?}", aim.start), samples.median() <= aim.start);
    table.row(Row::new(&title, "secretfs mount", &samples).aim(aim.as_ref().map(met)));
    memory(table, &world, aim);
    world
}

fn memory(table: &mut Table, world: &World, aim: Option<Aim>) {
    let mut row = |when: &str, aim: String| {
        let figure = format!("{} KiB, most {} KiB", world.memory("VmRSS"), world.memory("VmHWM"));
        table.row(Row::note(&world.scale.title("resident size"), when, figure, aim));
    };
    let met = |aim: &Aim| verdict(&format!("{} MiB", aim.rss / 1024), world.memory("VmHWM") <= aim.rss);
    row("when it answers", aim.as_ref().map(met).unwrap_or_default());
    let first = time(|| (0..world.scale.files).for_each(|file| world.read(file)));
    row("each file read once", String::new());
    let mean = Samples::of([first / world.scale.files as u32]);
    table.row(Row::new(&world.scale.title("first read of a file, mean"), "secretfs mount", &mean));
}

fn listings(table: &mut Table, world: &World) {
    for (name, argv) in
        [("find", "find . -type f -printf '%s\\n'"), ("ls -lR", "ls -lR . | awk '/^-/{print $5}'")]
    {
        let mut samples = Samples::default();
        for _ in 0..3 {
            let mut sizes = String::new();
            samples.push(time(|| sizes = output(argv, &world.mounted.point())));
            let size = world.scale.size().to_string();
            let right = sizes.lines().filter(|line| *line == size).count();
            assert_eq!((right, sizes.lines().count()), (world.scale.files, world.scale.files), "{name}");
        }
        table.row(Row::new(&world.scale.title("all files listed, with their sizes"), name, &samples));
    }
    let mut samples = Samples::default();
    for _ in 0..3 {
        samples.push(time(|| {
            let names = output("find . -type f -name '*.conf'", &world.mounted.point());
            assert_eq!(names.lines().count(), world.scale.files);
        }));
    }
    table.row(Row::new(&world.scale.title("all names"), "find", &samples));
}

fn output(script: &str, folder: &Path) -> String {
    let output = Command::new("sh").args(["-c", script]).current_dir(folder).output();
    stdout_of(&output.expect("sh can be started"))
}

/// A read of a file that is ready, here and where there is little.
fn opens(table: &mut Table, big: &World) {
    let small = World { scale: SMALL, mounted: SMALL.prepare().start() };
    let [mut few, mut many] = [(&small, 0), (big, 0)].map(|(world, mut next): (&World, usize)| {
        move || {
            next = (next + 7) % SMALL.files;
            world.read(next * (world.scale.files / SMALL.files));
        }
    });
    let samples = in_turn(ROUNDS, 2_000, &mut [&mut few, &mut many]);
    let [few, many] = samples.try_into().ok().expect("two subjects");
    let title = "open+fstat+read+close, ready";
    table.row(Row::new(&small.scale.title(title), "secretfs mount", &few));
    table.row(Row::new(&big.scale.title(title), "secretfs mount", &many).times(&few, 1.2));
}

/// One secret changes: what the file pays that uses it, what another pays, and the process as a whole.
fn changes(table: &mut Table, world: &World) {
    let (mut used, mut other, mut set) = (Samples::default(), Samples::default(), Samples::default());
    let rounds = 10;
    let (start, cpu) = (Instant::now(), world.cpu());
    for round in 0..rounds {
        let secret = world.scale.secret(0, 0);
        set.push(time(|| _ = world.mounted.store().set(&secret, value(round))));
        used.push(time(|| world.read(0)));
        other.push(time(|| world.read(world.scale.files / 2 + round)));
        thread::sleep(Duration::from_millis(1200));
    }
    let (cpu, wall) = (world.cpu() - cpu, start.elapsed());
    table.row(Row::new(&world.scale.title("one secret is set"), "secretfs set", &set));
    table.row(Row::new(&world.scale.title("the read after it"), "a file with it", &used));
    table.row(Row::new(&world.scale.title("the read after it"), "a file without", &other));
    let cpu = format!("{:.1} ms", cpu.as_secs_f64() * 1e3 / rounds as f64);
    let title = world.scale.title("CPU per change, every file ready");
    table.row(Row::note(&title, "secretfs mount", cpu, format!("{:.1} s", wall.as_secs_f64())));
}

fn idle(table: &mut Table, world: &World) {
    let before = world.cpu();
    thread::sleep(IDLE);
    let spent = (world.cpu() - before).as_secs_f64() * 60.0 / IDLE.as_secs_f64();
    let title = world.scale.title("CPU in an idle minute");
    table.row(Row::note(&title, "secretfs mount", format!("{spent:.2} s"), String::new()));
}
