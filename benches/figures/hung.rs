//! What a provider that hangs, and one that is slow, cost others: the reads of 99 files beside one
//! whose provider never answers, and many cold readers of one secret.

use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::programmed::{Programmed, calls};
use crate::measure::{Samples, time};
use crate::table::{Row, Table, verdict};

const FILES: usize = 99;
const ROUNDS: usize = 60;
const READERS: usize = 10_000;

pub(crate) fn hung(table: &mut Table) {
    let mut programmed = Programmed::new("sleep 4299").settings("timeout: 1s").secret("key", "value");
    programmed = programmed.file("hung", "<< secret('p:a') >>");
    for number in 0..FILES {
        programmed = programmed.file(&format!("f{number}"), &format!("{number} << secrets.key >>"));
    }
    let mount = programmed.start();
    let files: Vec<_> = (0..FILES).map(|number| mount.path(&format!("f{number}"))).collect();
    let read_all = || {
        let reads = (0..ROUNDS).flat_map(|_| &files);
        Samples::of(reads.map(|file| time(|| drop(fs::read(file).expect("read")))).collect::<Vec<_>>())
    };
    let (is_over, hung) = (AtomicBool::new(false), mount.path("hung"));
    let idle = read_all();
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert!(fs::read(&hung).is_err(), "it hangs");
            }
        });
        std::thread::sleep(Duration::from_millis(100));
        let beside = read_all();
        is_over.store(true, Ordering::Relaxed);
        beside
    });
    let title = format!("{FILES} files, p99 of a read");
    let micros = |samples: &Samples| format!("{:.0} us", samples.of_hundred(99).as_secs_f64() * 1e6);
    let times = beside.of_hundred(99).as_secs_f64() / idle.of_hundred(99).as_secs_f64();
    table.row(Row::note(&title, "idle", micros(&idle), String::new()));
    let aim = verdict(&format!("2.0 x ({times:.2} x)"), times <= 2.0);
    table.row(Row::note(&title, "beside a hung one", micros(&beside), aim));
}

pub(crate) fn crowd(table: &mut Table) {
    let mount = Programmed::new("echo x >> calls; sleep 2; echo value")
        .settings("timeout: 20s")
        .mounts("{at: mnt, templates: templates, deadline: 30s}")
        .file("f", "<< secret('p:a') >>")
        .start();
    let (path, barrier) = (mount.path("f"), Barrier::new(READERS));
    let right: usize = std::thread::scope(|scope| {
        let read = || {
            barrier.wait();
            fs::read(&path).is_ok_and(|bytes| bytes == b"value")
        };
        let threads: Vec<_> = (0..READERS)
            .map(|_| {
                std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, read).expect("a thread")
            })
            .collect();
        threads.into_iter().map(|thread| usize::from(thread.join().expect("a reader"))).sum()
    });
    let title = format!("{READERS} cold readers of one slow secret");
    table.row(Row::note(&title, "right answers", right.to_string(), verdict("all", right == READERS)));
    let asked = calls(&mount);
    table.row(Row::note(&title, "upstream calls", asked.to_string(), verdict("1", asked == 1)));
}
