//! What somebody without a key does to the log while nobody looks: it is found, and moves nothing.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::log::BETWEEN;
use super::*;

fn text(place: &Place) -> String {
    String::from_utf8(fs::read(place.path()).unwrap()).unwrap()
}

/// Changes the last line.
fn change(place: &Place, change: impl Fn(&str) -> String) {
    let whole = text(place);
    let at = whole[..whole.len() - 1].rfind('\n').unwrap() + 1;
    fs::write(place.path(), format!("{}{}", &whole[..at], change(&whole[at..]))).unwrap();
}

fn with_seed(place: &Place, byte: u8, keep: usize, size: usize) -> Audit {
    let config = AuditConfig {
        file: Some(place.path()),
        size: Some(size),
        keep: Some(keep),
        ..AuditConfig::default()
    };
    let seed = move || Some(SecretBytes::copy_of(&[byte; 32]));
    Audit::with_clock(config, Seed::from(seed), Box::new(place.clock.clone()))
}

#[test]
fn a_made_up_last_line_says_nothing_of_where_to_go_on() {
    let high = u64::MAX.to_string();
    let forged = [
        ("\"seq\":6", format!("\"seq\":{high}")),
        ("\"epoch\":0", format!("\"epoch\":{high}")),
        ("\"epoch\":0", format!("\"epoch\":{}", 1 << 24)),
        ("\"uid\":1000", "\"uid\":1001".to_owned()),
    ];
    for (from, to) in forged {
        let place = Place::new();
        write(&place.audit(1 << 30), 0..5);
        change(&place, |line| {
            assert!(line.contains(from), "the control: {line}");
            line.replacen(from, &to, 1)
        });
        let start = Instant::now();
        for number in 0..3 {
            let audit = place.audit(1 << 30);
            write(&audit, number..number + 1);
            let head = audit.head().unwrap();
            assert!(head.seq < 12 && head.epoch == 0, "{to}: {head:?}");
        }
        assert!(start.elapsed() < Duration::from_secs(2), "{to}: {:?}", start.elapsed());
        assert!(!place.report().is_sound(), "{to}");
        assert_eq!(text(&place).matches("\"log-lost\"").count(), 1, "{to}");
    }
}

#[test]
fn what_was_cut_off_is_missed_also_if_another_process_has_written_since() {
    for cuts in [false, true] {
        let place = Place::new();
        let daemon = place.audit(1 << 30);
        write(&daemon, 0..5);
        if cuts {
            change(&place, |_| String::new());
        }
        write(&place.audit(1 << 30), 5..6);
        write(&daemon, 6..8);
        assert_eq!(text(&place).matches("\"log-lost\"").count(), usize::from(cuts));
        assert_eq!(place.report().is_sound(), !cuts, "{:?}", place.report());
    }
}

#[test]
fn who_has_not_written_for_so_long_that_its_file_is_gone_misses_nothing() {
    let place = Place::new();
    let daemon = place.audit(8 << 10);
    write(&daemon, 0..5);
    write(&place.audit(8 << 10), 5..200);
    write(&daemon, 200..205);
    assert_eq!(place.report().findings, []);
    assert!(place.report().first > Some(10), "the control: it was let go");
}

#[test]
fn a_whole_line_that_is_made_no_record_is_no_crash() {
    for (from, to) in [("{\"seq\"", "{\"sXq\""), ("\"}\n", "\n"), ("\"event\"", "\"evXnt\"")] {
        let place = Place::new();
        write(&place.audit(1 << 30), 0..5);
        change(&place, |line| line.replacen(from, to, 1));
        write(&place.audit(1 << 30), 5..8);
        let troubles = place.troubles();
        assert!(matches!(troubles[..], [Trouble::NoRecord, Trouble::Missing { .. }]), "{to}: {troubles:?}");
    }
}

#[test]
fn two_crashes_one_after_the_other_are_told_as_torn() {
    let place = Place::new();
    write(&place.audit(1 << 30), 0..5);
    let whole = text(&place);
    for (after, is_sound) in [("\n{\"seq\":6,\"ti", true), ("\n{\"se\0\0\0", true), ("\njunk", false)] {
        fs::write(place.path(), format!("{}{after}", &whole[..whole.len() - 40])).unwrap();
        write(&place.audit(1 << 30), 5..8);
        let report = place.report();
        assert_eq!((report.is_sound(), report.findings.is_empty()), (is_sound, false), "{after}: {report:?}");
    }
}

#[test]
fn who_finds_the_new_file_begun_goes_on_in_it() {
    let place = Place::new();
    let audit = place.audit(4 << 10);
    write(&audit, 0..3);
    let other = place.audit(4 << 10);
    BETWEEN.set(Some(Box::new(move || write(&other, 100..102))));
    write(&audit, 3..20);
    assert!(BETWEEN.take().is_none(), "the control: a file was full");
    assert_eq!(place.report().findings, []);
}

#[test]
fn what_was_let_go_is_known_whoever_begins_the_next_file() {
    let place = Place::new();
    let log = || with_seed(&place, 7, 1, 4 << 10);
    write(&log(), 0..40);
    assert_eq!(files(&place.path()).len(), 2, "the control: some are gone");
    let (other, is_full) = (log(), Rc::new(Cell::new(false)));
    let seen = is_full.clone();
    BETWEEN.set(Some(Box::new(move || {
        write(&other, 100..102);
        seen.set(true);
    })));
    // No further: the next file that begins would tell it, too.
    (40..60).take_while(|_| !is_full.get()).for_each(|number| write(&log(), number..number + 1));
    assert!(is_full.get(), "the control");
    assert_eq!(place.report().findings, []);
}

#[test]
fn files_that_are_too_many_go_when_fewer_are_kept() {
    let place = Place::new();
    write(&with_seed(&place, 7, 8, 4 << 10), 0..100);
    assert!(files(&place.path()).len() > 5, "the control");
    write(&with_seed(&place, 7, 3, 4 << 10), 100..150);
    assert_eq!(files(&place.path()).len(), 4);
    assert_eq!(place.report().findings, []);
}

#[test]
fn another_key_goes_on_where_the_one_before_has_ended() {
    let place = Place::new();
    place.clock.skip(900);
    write(&with_seed(&place, 9, 3, 1 << 30), 0..5);
    place.clock.skip(900);
    write(&with_seed(&place, 9, 3, 1 << 30), 5..6);
    write(&place.audit(1 << 30), 6..9);
    let seeds = || vec![seed(), SecretBytes::copy_of(&[9; 32])];
    let report = |lines: &[Vec<u8>]| {
        let mut verifier = Verifier::new(Some(seeds()));
        lines.iter().for_each(|line| verifier.take(line));
        verifier.finish()
    };
    let mut lines = place.lines();
    assert_eq!(report(&lines).findings, []);
    lines.remove(6);
    assert!(!report(&lines).is_sound(), "the control: the last one of the key before");
}

#[test]
fn many_processes_that_write_at_once_wait_for_each_other() {
    let place = Place::new();
    let place = &place;
    let one = move |number: u64| {
        (0..60).for_each(|it| write(&place.audit(16 << 10), number * 100 + it..number * 100 + it + 1));
    };
    thread::scope(|scope| (0..6).for_each(|number| drop(scope.spawn(move || one(number)))));
    assert_eq!(place.report().findings, []);
}

#[test]
fn a_file_that_was_emptied_is_told_and_each_finding_has_its_place() {
    let place = Place::new();
    write(&place.audit(8 << 10), 0..100);
    let files = files(&place.path());
    assert_eq!(files.len(), 4, "the control");
    let findings = || {
        let mut verifier = Verifier::new(Some(vec![seed()]));
        for part in parts(&place.path()).unwrap() {
            verifier.begin_file();
            part.read(|line| verifier.take(line)).unwrap();
        }
        verifier.finish().findings
    };
    assert_eq!(findings(), []);
    let changed = fs::read_to_string(&files[1]).unwrap().replacen("\"uid\":1000", "\"uid\":1001", 2);
    let line = 1 + changed.lines().position(|line| line.contains("\"uid\":1001")).unwrap() as u64;
    fs::write(&files[1], changed).unwrap();
    let found = &findings()[0];
    assert!(found.place == super::super::Place { file: 1, line }, "{found:?}");
    assert!(matches!(found.trouble, Trouble::Changed { .. }), "{found:?}");
    fs::write(&files[2], "").unwrap();
    let found = findings().pop().unwrap();
    assert!(found.place.file == 3 && matches!(found.trouble, Trouble::Missing { .. }), "{found:?}");
    for file in files {
        fs::write(file, "").unwrap();
    }
    let findings = findings();
    assert!(findings.len() == 4 && findings.iter().all(|it| it.trouble == Trouble::Empty), "{findings:?}");
}

/// Who makes lines up, or puts true ones elsewhere, keeps nobody busy who checks.
#[test]
fn made_up_epochs_cost_no_more_than_a_moment() {
    let place = Place::new();
    let audit = place.audit(1 << 30);
    for number in 0..40 {
        write(&audit, number..number + 1);
        place.clock.skip(900);
    }
    let whole = place.lines();
    let with_epoch = |line: &[u8], epoch: u64| {
        let line = String::from_utf8(line.to_vec()).unwrap();
        let (head, rest) = line.split_once("\"epoch\":").unwrap();
        let (_, rest) = rest.split_once(',').unwrap();
        let (_, head) = head.split_once(',').unwrap();
        format!("{{\"seq\":{},{head}\"epoch\":{epoch},{rest}", 1_u64 << 40).into_bytes()
    };
    let forged = |number: u64| with_epoch(&whole[20], (1 << 18) + number % 2);
    let made_up: Vec<_> = (0..50).map(forged).collect();
    let epochs: Vec<_> = (0..50).map(|number| with_epoch(&whole[20], (1 << 24) - number)).collect();
    for lines in
        [[&whole[..30], &made_up, &whole[30..]].concat(), [&whole[..30], &epochs, &whole[30..]].concat()]
    {
        let start = Instant::now();
        let mut verifier = Verifier::new(Some(vec![seed()])).within(1 << 19);
        lines.iter().for_each(|line| verifier.take(line));
        let report = verifier.finish();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let changed = report.findings.iter().filter(|it| matches!(it.trouble, Trouble::Changed { .. }));
        let far = report.findings.iter().filter(|it| matches!(it.trouble, Trouble::Epoch { .. })).count();
        assert!(changed.count() <= 2 && far >= 48, "{far}");
        // What is true is still known to be.
        let of = |it: &Finding| it.place.line > 81;
        assert!(!report.findings.iter().any(of));
    }
}

/// However long it is, and however many there are.
#[test]
fn what_is_no_line_takes_little_room_and_time() {
    let place = Place::new();
    write(&place.audit(1 << 30), 0..3);
    let whole = fs::read(place.path()).unwrap();
    let cut = br#"{"seq":5,"ti"#.to_vec();
    let long = [cut.clone(), vec![b' '; 20 << 20]].concat();
    let many = b"{\"seq\":1\n".repeat(200_000);
    for (after, is_sound) in [(cut, true), (long, false), ([&*many, b"x"].concat(), false)] {
        fs::write(place.path(), [&*whole, &after].concat()).unwrap();
        let (start, mut longest) = (Instant::now(), 0);
        let mut verifier = Verifier::new(Some(vec![seed()]));
        read(&place.path(), |line| {
            longest = longest.max(line.len());
            verifier.take(line);
        })
        .unwrap();
        let report = verifier.finish();
        assert_eq!((report.is_sound(), report.records, report.findings.is_empty()), (is_sound, 4, false));
        assert!(longest <= 8 << 20 && start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
}
