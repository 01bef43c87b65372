//! Denials are counted, and nothing else is.

use std::time::{Duration, Instant};

use super::super::denials::{Denials, FIRST, LONGEST};
use super::*;

fn denied(uid: u32, file: u64) -> Event {
    let denied = Some("denied".to_owned());
    let who = Who { uid, ..Who::default() };
    Event { who, verdict: denied.clone(), outcome: denied, door: Some("mount".into()), ..event(file) }
}

fn counts(events: &[Event]) -> Vec<(u32, Option<u64>)> {
    events.iter().map(|it| (it.who.uid, it.log.count)).collect()
}

#[test]
fn the_first_is_told_at_once_and_the_rest_counted() {
    let (mut denials, start) = (Denials::default(), Instant::now());
    assert_eq!(counts(&denials.take(denied(7, 1), start)), [(7, None)]);
    (0..50).for_each(|_| assert!(denials.take(denied(7, 1), start).is_empty()));
    assert_eq!(counts(&denials.take(denied(8, 1), start)), [(8, None)], "of another user");
    assert_eq!(counts(&denials.take(denied(7, 2), start)), [(7, None)], "of another file");
    assert!(denials.take_due(start + FIRST / 2).is_empty());
    assert_eq!(counts(&denials.take_due(start + FIRST)), [(7, Some(50))]);
    assert!(denials.take(denied(7, 1), start + 2 * FIRST).is_empty(), "it goes on as a count");
    assert_eq!(counts(&denials.take(denied(7, 1), start + 3 * FIRST)), [(7, Some(2))], "with no thread");
    let quiet = start + 3 * FIRST + LONGEST;
    assert!(denials.take_due(quiet).is_empty());
    assert_eq!(counts(&denials.take(denied(7, 1), quiet)), [(7, None)], "forgotten by then");
}

/// However somebody spreads them over the time.
#[test]
fn who_goes_on_has_ever_fewer_lines() {
    for (asks, rests) in [(1000, 0), (1, 0), (1, 1), (1, 9), (1, 10), (1, 11), (3, 11), (20, 10)] {
        let (mut denials, start) = (Denials::default(), Instant::now());
        let (mut lines, mut told, mut asked) = (0, 0, 0);
        for second in 0..1_000 {
            let now = start + Duration::from_secs(second);
            let mut due = denials.take_due(now);
            for _ in 0..if second % (asks + rests) < asks { 5 } else { 0 } {
                asked += 1;
                due.extend(denials.take(denied(7, 1), now));
            }
            lines += due.len();
            told += due.iter().map(|it| it.log.count.unwrap_or(1)).sum::<u64>();
        }
        let left = denials.take_all(start + Duration::from_secs(1_000));
        told += left.iter().map(|it| it.log.count.unwrap_or(1)).sum::<u64>();
        assert!(lines <= 250 && told == asked, "{asks} {rests}: {lines} lines, {told} of {asked}");
    }
}

#[test]
fn what_is_given_is_a_line_each_after_what_was_counted() {
    let (mut denials, now) = (Denials::default(), Instant::now());
    (0..4).for_each(|_| drop(denials.take(denied(1000, 1), now)));
    let given = Event { door: Some("mount".into()), ..event(1) };
    let told = denials.take(given.clone(), now);
    assert_eq!(counts(&told), [(1000, Some(3)), (1000, None)]);
    assert_eq!(told[1].verdict.as_deref(), Some("real"));
    (0..9).for_each(|_| assert_eq!(denials.take(given.clone(), now).len(), 1));
    drop(denials.take(denied(1000, 1), now));
    let stop = Event::new(Kind::Stop, Who::default());
    assert_eq!(counts(&denials.take(stop, now)), [(1000, None), (0, None)], "all before the end");
}

/// Nobody hides what a program does between denials of another one.
#[test]
fn programs_units_and_secrets_are_told_apart() {
    let (mut denials, now) = (Denials::default(), Instant::now());
    let of = |change: fn(&mut Event)| {
        let mut event = denied(7, 1);
        change(&mut event);
        event
    };
    let mut told = |event: Event| denials.take(event, now).len();
    assert_eq!((told(denied(7, 1)), told(denied(7, 1))), (1, 0), "the control");
    assert_eq!(told(of(|it| it.who.exe = Some("/usr/bin/evil".into()))), 1);
    assert_eq!(told(of(|it| it.who.unit = Some("web.service".into()))), 1);
    assert_eq!(told(of(|it| it.who.user_unit = Some("app.service of user:7".into()))), 1);
    assert_eq!(told(of(|it| it.who.container = Some("c1".into()))), 1);
    assert_eq!(told(of(|it| it.secrets[0].name = "other".into())), 0, "the file says it");
    assert_eq!(told(of(|it| it.file = None)), 1);
    let other = of(|it| (it.file, it.secrets[0].name) = (None, "other".into()));
    assert_eq!(told(other), 1);
}

#[test]
fn who_asks_for_ever_new_files_is_counted_too() {
    let (mut denials, now) = (Denials::default(), Instant::now());
    let told: usize = (0..5_000).map(|file| denials.take(denied(7, file), now).len()).sum();
    assert_eq!(told, 33, "32 files, and that there are more");
    assert_eq!(counts(&denials.take_due(now + FIRST)), [(7, Some(4_967))]);
    let told: usize = (0..50_000).map(|it| denials.take(denied(100 + it, it.into()), now).len()).sum();
    assert!(told < 1_100, "{told}");
    let later = now + LONGEST + Duration::from_secs(1);
    let all: u64 = denials.take_due(later).iter().map(|it| it.log.count.unwrap_or(1)).sum();
    assert_eq!(all + told as u64, 50_000, "none is left out");
}

#[test]
fn no_flood_of_denials_fills_the_log() {
    let place = Place::new();
    let audit = place.audit(64 << 10);
    write(&audit, 0..1);
    (0..20_000).for_each(|number| audit.record(denied(7, number % 100)).unwrap());
    drop(audit);
    let report = place.report();
    assert_eq!((report.first, report.findings.as_slice()), (Some(1), [].as_slice()), "nothing was let go");
    let all: u64 = place
        .lines()
        .iter()
        .filter_map(|line| Record::parse(line.trim_ascii_end()))
        .filter(|it| it.event.who.uid == 7)
        .map(|it| it.event.log.count.unwrap_or(1))
        .sum();
    assert_eq!(all, 20_000);
}
