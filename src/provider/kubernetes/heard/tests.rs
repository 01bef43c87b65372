//! Readers that ask, a watch that tells, and what each may count on.

use super::super::place::Kind;
use super::*;

fn place() -> Place {
    Place { kind: Kind::Secret, namespace: "n".to_owned(), name: "a".to_owned() }
}

fn changed(at: u64) -> Option<News> {
    Some(News::Changed { paths: vec!["a".to_owned()], at })
}

impl Heard {
    /// Readers ask now, and are answered.
    fn answer(&self, path: &str, state: &str) -> u64 {
        self.note(path, &place(), state, (1, self.moment()))
    }

    fn change(&self, ear: &Ear, state: &str) -> Option<News> {
        self.changed(ear, state, state.to_owned())
    }
}

/// Listens to `a`, which readers have at the state `1`.
fn listening() -> (Heard, Ear) {
    let heard = Heard::default();
    assert_eq!(heard.answer("a", "1"), 1, "a watch will begin there");
    heard.begin();
    let ear = heard.wanted().remove(0);
    assert_eq!(heard.from(&ear).as_deref(), Some("1"));
    assert!(heard.wanted().is_empty() && heard.settled().is_none() && !heard.hears());
    heard.open(&ear);
    assert_eq!(heard.settled(), Some(News::Listening { since: 0 }));
    assert_eq!(heard.settled(), None, "once");
    assert!(heard.is_told() && heard.hears());
    (heard, ear)
}

#[test]
fn a_change_is_newer_than_what_was_asked_before_it() {
    let (heard, ear) = listening();
    let began = heard.moment();
    assert_eq!(heard.change(&ear, "2"), changed(2));
    assert_eq!(heard.change(&ear, "2"), None, "that was told");
    assert_eq!(heard.note("a", &place(), "1", (1, began)), 1, "older than the change");
    assert_eq!(heard.answer("a", "2"), 2);
    assert_eq!(heard.change(&Ear { number: 7, ..ear.clone() }, "3"), None, "nobody's ear");
    assert_eq!(heard.change(&ear, "3"), changed(3), "the control");
    assert_eq!(heard.from(&ear).as_deref(), Some("3"), "it goes on there");
}

#[test]
fn what_comes_later_or_is_not_told_of_is_not_certain() {
    let (heard, ear) = listening();
    assert_eq!(heard.answer("b", "1"), 0, "nobody listens yet");
    let other = heard.wanted().remove(0);
    heard.open(&other);
    assert_eq!(heard.answer("b", "1"), 1);
    assert!(heard.deafen(&ear).is_some());
    assert_eq!(heard.answer("a", "1"), 0);
    assert!(heard.wanted().is_empty());
    assert_eq!(heard.answer("a", "2"), 0);
    let again = heard.wanted().remove(0);
    assert_eq!(heard.from(&again).as_deref(), Some("2"), "from its new state on it may be told of");
    heard.open(&again);
    assert_eq!(heard.answer("a", "2"), 1);
    assert_eq!(heard.answer("none", ""), 0, "what is not there is not waited for");
}

/// What was found before anybody listened is told by whoever listens first, too.
#[test]
fn how_it_stands_is_no_change() {
    let (heard, ear) = listening();
    heard.reach(&ear, None);
    assert_eq!(heard.from(&ear), None);
    assert_eq!(heard.found(&ear, "1"), None, "readers have it");
    assert_eq!(heard.change(&ear, "1"), None);
    assert_eq!(heard.found(&ear, "2"), changed(2));
    assert_eq!(heard.change(&ear, "2"), None);
    assert_eq!(heard.change(&ear, "3"), changed(3), "the control");
}

#[test]
fn what_was_missed_is_found() {
    let (heard, ear) = listening();
    assert_eq!(heard.confirmed(&ear, "1"), None);
    heard.change(&ear, "2");
    assert_eq!(heard.confirmed(&ear, "2"), None, "it was told, and nobody has asked since");
    assert_eq!(heard.confirmed(&ear, "3"), changed(3));
    let again = heard.wanted().remove(0);
    assert!(heard.from(&again).is_none() && !heard.wants(&ear), "it is begun with anew");
}

#[test]
fn there_are_no_more_than_so_many() {
    let heard = Heard::default();
    for number in 0..MOST {
        assert_eq!(heard.answer(&number.to_string(), "1"), 1);
    }
    assert_eq!(heard.answer("one more", "1"), 0);
    heard.table().names.get_mut("7").unwrap().asked = Uptime::ago(IDLE);
    assert_eq!(heard.answer("one more", "1"), 1);
    assert!(!heard.table().names.contains_key("7") && heard.table().names.len() == MOST);
}

#[test]
fn each_has_its_turn() {
    let heard = Heard::default();
    for path in ["a", "b", "c"] {
        heard.answer(path, "1");
    }
    heard.wanted().iter().for_each(|ear| heard.open(ear));
    let mut seen: Vec<_> = (0..3).map(|_| heard.next().unwrap().path).collect();
    seen.sort();
    assert_eq!(seen, ["a", "b", "c"]);
}

#[test]
fn by_another_way_all_is_another() {
    let (heard, ear) = listening();
    assert_eq!(heard.follow(1), None, "the control");
    heard.change(&ear, "2");
    // The watch may have ended before: whoever asks finds the new way.
    assert_eq!(heard.note("a", &place(), "7", (2, heard.moment())), 2);
    assert!(!heard.wants(&ear), "nobody goes on from where the other one was");
    assert_eq!(heard.note("a", &place(), "2", (1, heard.moment())), 0, "it was asked the other one");
    heard.begin();
    assert_eq!(heard.follow(2), Some(News::All), "what readers have is of the other one");
    assert_eq!(heard.follow(2), None, "once");
    let again = heard.wanted().remove(0);
    assert_eq!(heard.from(&again).as_deref(), Some("7"));
    heard.open(&again);
    assert_eq!(heard.follow(3), Some(News::All));
    assert!(!heard.wants(&again) && heard.wanted().is_empty());
}

/// The others are heard of all the same.
#[test]
fn who_stays_deaf_is_no_news() {
    let (heard, ear) = listening();
    heard.answer("b", "1");
    let other = heard.wanted().remove(0);
    heard.open(&other);
    let unheard = Some(News::Unheard { paths: vec!["a".to_owned()] });
    assert_eq!(heard.deafen(&ear), unheard);
    assert_eq!(heard.deafen(&ear), None);
    assert!(heard.hears() && heard.is_told());
    heard.open(&ear);
    assert_eq!(heard.deafen(&ear), unheard, "the control");
    assert!(heard.deafen(&other).is_some() && !heard.hears());
}
