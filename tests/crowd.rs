//! Many users at once: each gets what is right, and nobody's reads wait much longer than another's,
//! however much the other reads.

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Daemon, TestDaemon, TestStore, Writer, become_user, long};
use secretfs::secret::SecretType;

const USERS: usize = 50;
const SECRETS: usize = 50;
/// Files that each reader reads, one after the other.
const EACH: usize = 5;

fn user(number: usize) -> u32 {
    64_800 + number as u32
}

fn text(file: usize) -> String {
    format!("{file}: value {}", file % SECRETS)
}

fn serve(files: usize) -> (Daemon, Vec<PathBuf>) {
    let store = TestStore::new();
    let writer = Writer::of(&store);
    for secret in 0..SECRETS {
        let fields = [("value", &*format!("value {secret}"))];
        writer.put(&[(&format!("s{secret}"), SecretType::Plain, &fields)]);
    }
    let config = "mounts:\n- {at: mnt, templates: templates, mode: \"0444\"}\n";
    let mut daemon = TestDaemon::on(store).config(config);
    for file in 0..files {
        let secret = file % SECRETS;
        daemon = daemon.template(&format!("f{file}.tpl"), format!("{file}: << secrets.s{secret} >>"));
    }
    let daemon = daemon.start();
    let paths = (0..files).map(|file| daemon.path(&format!("f{file}"))).collect();
    (daemon, paths)
}

/// How long the read took, from the open to the end.
fn read(paths: &[PathBuf], file: usize) -> Duration {
    let (file, start) = (file % paths.len(), Instant::now());
    let read = fs::read_to_string(&paths[file]);
    let took = start.elapsed();
    assert_eq!(read.expect("it can be read"), text(file));
    took
}

fn mean(times: &[Duration]) -> Duration {
    times.iter().sum::<Duration>() / times.len() as u32
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// All of them at the same moment, of files that nobody has read before.
#[test]
fn a_crowd_of_many_users_is_served_and_each_user_as_well_as_the_others() {
    let (readers, files) = if long() { (10_000, 1_000) } else { (1_000, 100) };
    let (daemon, paths) = serve(files);
    let worker = daemon.worker_pid();
    let (barrier, paths) = (&Barrier::new(readers), &paths);
    let start = Instant::now();
    let times: Vec<Vec<Duration>> = thread::scope(|scope| {
        let reader = |number: usize| {
            let read_each = move || {
                become_user(user(number % USERS));
                barrier.wait();
                (0..EACH).map(|step| read(paths, number * EACH + step)).collect()
            };
            thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, read_each).expect("a thread")
        };
        let readers: Vec<_> = (0..readers).map(reader).collect();
        readers.into_iter().map(|it| it.join().expect("what it read is right")).collect()
    });
    let of_user = |user| mean(&times.iter().skip(user).step_by(USERS).flatten().copied().collect::<Vec<_>>());
    let means: Vec<Duration> = (0..USERS).map(of_user).collect();
    let (best, worst) = (means.iter().min().unwrap(), means.iter().max().unwrap());
    let longest = times.iter().flatten().max().unwrap();
    println!(
        "{readers} readers of {files} files, {USERS} users: {} reads in {:?}, longest {longest:?}, \
         a user's mean {best:?} to {worst:?}",
        readers * EACH,
        start.elapsed()
    );
    assert!(*worst < *best * 3, "{best:?} to {worst:?}");
    assert_eq!(daemon.worker_pid(), worker, "who has much to do is not taken for one that hangs");
}

/// One with very many readers, and the others with one each.
#[test]
fn a_user_who_reads_with_all_might_makes_the_others_wait_no_longer_than_itself() {
    let (_daemon, paths) = serve(100);
    let (is_over, paths) = (&AtomicBool::new(false), &paths);
    let (greedy, others) = thread::scope(|scope| {
        let greedy = |number| {
            scope.spawn(move || {
                become_user(user(0));
                let reads = (number..).take_while(|_| !is_over.load(Ordering::Relaxed));
                reads.map(|file| read(paths, file)).collect::<Vec<_>>()
            })
        };
        let greedy: Vec<_> = (0..200).map(greedy).collect();
        let other = |number| {
            scope.spawn(move || {
                become_user(user(number));
                (0..40).map(|step| read(paths, number + step)).collect::<Vec<_>>()
            })
        };
        let others: Vec<_> = (1..USERS).map(other).collect();
        let others: Vec<_> = others.into_iter().flat_map(|it| it.join().expect("all is right")).collect();
        is_over.store(true, Ordering::Relaxed);
        let greedy = greedy.into_iter().flat_map(|it| it.join().expect("all is right"));
        (greedy.collect::<Vec<_>>(), others)
    });
    let reads = (greedy.len(), others.len());
    let (greedy, others) = (median(greedy), median(others));
    println!("{} reads of one user, each {greedy:?}; {} of the others, {others:?}", reads.0, reads.1);
    assert!(others < greedy * 2, "{others:?} against {greedy:?}");
}
