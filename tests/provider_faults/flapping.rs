//! A provider that is up and down at random, with readers that never pause and a secret that changes all the while:
//! seconds, ten minutes in the long form. No read has what is older than its time to live allows, none goes back, none
//! waits past its deadline, and each time that the provider is back it is found.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common;
use crate::harness::Fault;
use crate::scene::{BUSY, DEADLINE, Scene};
use crate::servers::{Etcds, Server, Vaults};
use crate::trouble::Trouble;

const TTL: Duration = Duration::from_millis(200);
const READERS: usize = 4;

/// Each value is a number, one more than the one before; when the writing of it began and was over.
#[derive(Default)]
struct Written(Mutex<Vec<(Instant, Instant)>>);

impl Written {
    fn write(&self, put: impl FnOnce(usize)) {
        let (number, begin) = (self.0.lock().unwrap().len(), Instant::now());
        // Somebody may read it before the writer hears that it is written.
        self.0.lock().unwrap().push((begin, begin + Duration::from_secs(3600)));
        put(number);
        self.0.lock().unwrap()[number].1 = Instant::now();
    }

    /// Whether this may be read by an open of that time.
    fn is_right(&self, number: usize, (begin, end): (Instant, Instant)) -> bool {
        let written = self.0.lock().unwrap();
        let is_out = written.get(number).is_some_and(|(out, _)| *out <= end);
        let next = written.get(number + 1);
        is_out && next.is_none_or(|(_, over)| *over + TTL + BUSY / 3 >= begin)
    }
}

/// Numbers that look like chance, the same from the same seed (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[derive(Default, Debug)]
struct Tally {
    right: usize,
    failed: usize,
    longest: Duration,
}

fn up_and_down<S: Server>(seed: u64) {
    let (server, trouble) = (S::start(), Trouble::Answers(Fault::Refuse));
    let scene = Scene::with_cache(&server, 0, &trouble, "cache: {ttl: 200ms}");
    let (written, is_over, mut chance) = (Written::default(), AtomicBool::new(false), Chance(seed));
    let put = || written.write(|number| server.put("of-0", &number.to_string()));
    put();
    let limit = if common::long() { Duration::from_secs(600) } else { Duration::from_secs(12) };
    let number = || fs::read_to_string(scene.daemon.path("f")).ok()?.parse::<usize>().ok();
    common::eventually("the first", number);
    let (mut rounds, mut slowest) = (0, Duration::ZERO);
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|_| scope.spawn(|| read_on(&scene.daemon.path("f"), &written, &is_over)))
            .collect();
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                put();
                thread::sleep(Duration::from_millis(150));
            }
        });
        let end = Instant::now() + limit;
        while Instant::now() < end {
            let fault = match chance.below(6) {
                0 => Fault::Refuse,
                1 => Fault::Silent,
                2 => Fault::Reset,
                3 => Fault::HalfBody,
                4 => Fault::Status(503, None),
                _ => Fault::Garbage,
            };
            let down = Duration::from_millis(50 + chance.below(2500));
            scene.proxy.set(fault);
            thread::sleep(down);
            scene.proxy.mend();
            let back = Instant::now();
            // Who has failed is asked again after a second, and after twice the time each time it fails.
            common::eventually("it is found", || {
                let begin = Instant::now();
                written.is_right(number()?, (begin, Instant::now())).then_some(())
            });
            slowest = slowest.max(back.elapsed());
            assert!(back.elapsed() < down * 2 + Duration::from_secs(1) + BUSY, "{:?}", back.elapsed());
            rounds += 1;
            thread::sleep(Duration::from_millis(chance.below(1500)));
        }
        is_over.store(true, Ordering::SeqCst);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    println!("{}: {rounds} times down, seed {seed}; found within {slowest:?}; {tallies:?}", S::NAME);
    assert!(tallies.iter().all(|tally| tally.right > 20 && tally.failed > 0), "too little happened");
    assert!(rounds > 3);
}

fn read_on(path: &std::path::Path, written: &Written, is_over: &AtomicBool) -> Tally {
    let (mut tally, mut last) = (Tally::default(), 0);
    while !is_over.load(Ordering::SeqCst) {
        let begin = Instant::now();
        let told = fs::read_to_string(path);
        let end = Instant::now();
        tally.longest = tally.longest.max(end - begin);
        assert!(end - begin < DEADLINE + BUSY, "{:?}", end - begin);
        match told {
            Ok(text) => {
                let number: usize = text.parse().unwrap_or_else(|_| panic!("a wrong byte: {text:?}"));
                assert!(written.is_right(number, (begin, end)), "{number} is older than it may be");
                assert!(number >= last, "{number} after {last}");
                (last, tally.right) = (number, tally.right + 1);
            }
            Err(_) => tally.failed += 1,
        }
        thread::sleep(Duration::from_millis(5));
    }
    tally
}

#[test]
fn a_vault_that_is_up_and_down() {
    up_and_down::<Vaults>(20261123);
}

#[test]
fn an_etcd_that_is_up_and_down() {
    up_and_down::<Etcds>(4711);
}

/// The control: what is judged as wrong.
#[test]
fn an_old_value_is_found_out() {
    let written = Written::default();
    (0..3).for_each(|_| written.write(|_| ()));
    let now = Instant::now();
    assert!(written.is_right(2, (now, now)) && written.is_right(1, (now, now)));
    let later = now + TTL + BUSY;
    assert!(!written.is_right(1, (later, later)) && written.is_right(2, (later, later)));
    assert!(!written.is_right(3, (later, later)), "nobody has written it");
}
