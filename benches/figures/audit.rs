//! What it costs to write down who reads: the same warm read with a log and without, and how many
//! lines a second one daemon takes.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Mounted, TestMount};
use crate::idle;
use crate::measure::{Samples, in_turn, on_one_cpu};
use crate::reads::{IdleMount, read, store, template};
use crate::table::{Row, Table};

const ROUNDS: usize = 15;
const TIMES: u32 = 1000;
const THREADS: usize = 4;
const TIME: Duration = Duration::from_secs(5);

/// A mount, and what its config says of the log.
const LOGS: [(&str, &str); 3] = [
    ("no log", ""),
    ("a log", "audit: {file: audit.log}\n"),
    ("a log, not required", "audit: {file: audit.log, required: false}\n"),
];

fn mount(audit: &str) -> Mounted {
    let config = format!("mounts: [{{at: mnt, templates: templates}}]\n{audit}");
    TestMount::on(store()).template("f.txt.tpl", template()).config(&config).start()
}

fn samples() -> Vec<Samples> {
    let mounts = LOGS.map(|(_, audit)| mount(audit));
    let nothing = IdleMount::start();
    let files = mounts.iter().map(|mount| mount.path("f.txt"));
    let files = files.chain([nothing.folder.path().join(idle::NAME)]);
    let mut readers: Vec<_> = files.map(|file| move || read(&file)).collect();
    let mut subjects: Vec<&mut dyn FnMut()> = readers.iter_mut().map(|it| it as &mut dyn FnMut()).collect();
    in_turn(ROUNDS, TIMES, &mut subjects)
}

/// Lines that are there after so many threads have read for so long, in a second.
fn sustained() -> (f64, usize) {
    let mount = mount(LOGS[1].1);
    let (file, reads, start) = (mount.path("f.txt"), AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while start.elapsed() < TIME {
                    read(&file);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let took = start.elapsed().as_secs_f64();
    let folder = mount.store().folder();
    let logs = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let logs = logs
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("audit.log")));
    let text: Vec<u8> = logs.flat_map(|path| fs::read(path).expect("a log")).collect();
    let lines =
        text.split(|byte| *byte == b'\n').filter(|line| line.windows(6).any(|it| it == b"\"read\"")).count();
    assert_eq!(lines as u64, reads.into_inner(), "a line for each read");
    (lines as f64 / took, text.len() / lines)
}

pub(crate) fn audit(table: &mut Table) {
    for (place, samples) in [("", samples()), (", one CPU", on_one_cpu(samples))] {
        let title = format!("open+fstat+read 4 KiB+close{place}");
        let (nothing, ours) = samples.split_last().expect("the idle one is last");
        table.row(Row::new(&title, "do-nothing fuser", nothing));
        for ((name, audit), samples) in LOGS.iter().zip(ours) {
            let row = Row::new(&title, &format!("secretfs, {name}"), samples);
            table.row(if audit.is_empty() { row.times(nothing, 1.0) } else { row.over(&ours[0], None) });
        }
    }
    let (rate, length) = sustained();
    let title = format!("lines a second, {THREADS} readers");
    table.row(Row::note(
        &title,
        &format!("secretfs, {length} bytes each"),
        format!("{rate:.0}"),
        String::new(),
    ));
}
