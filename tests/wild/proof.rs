//! Renders wild values at places, has all readers read the files, and compares.

use secretfs::template::{Format, Kind};
use serde_json::Value;

use super::portions;
use crate::common::template::{Rendering, render};
use crate::consumers::Consumer;

/// What a reader finds in the file that is rendered from this value.
type Expected = Box<dyn Fn(&[u8]) -> Value>;

/// A kind of place in a file: the template, and what readers find in it.
pub struct Place {
    pub template: &'static str,
    pub expected: Expected,
    /// How many of the wild values must get through, in percent. The values are other ones in each run: a floor
    /// lies far enough (four standard deviations of 250 values) below what is seen on average.
    pub floor: usize,
}

struct Outcome<'p> {
    place: &'p Place,
    value: Vec<u8>,
    file: Vec<u8>,
}

/// What a reader read otherwise than it was meant.
struct Misread<'o> {
    outcome: &'o Outcome<'o>,
    found: Value,
}

impl Place {
    pub fn new(template: &'static str, floor: usize, expected: impl Fn(&[u8]) -> Value + 'static) -> Self {
        Self { template, floor, expected: Box::new(expected) }
    }
}

/// Every value comes back as it was, or is refused with a reason; and none runs.
pub fn prove(format: Format, consumers: &[Consumer], places: &[Place]) {
    prove_with(format, consumers, places, portions());
}

pub fn prove_with(
    format: Format,
    consumers: &[Consumer],
    places: &[Place],
    portions: impl IntoIterator<Item = Vec<Vec<u8>>>,
) {
    let mut counts = vec![(0, 0); places.len()];
    for values in portions {
        let mut outcomes = Vec::new();
        for (place, (accepted, all)) in places.iter().zip(&mut counts) {
            let rendered = render_all(place, format, &values);
            *accepted += rendered.len();
            *all += values.len();
            outcomes.extend(rendered);
        }
        for consumer in consumers {
            let (wrong, has_run) = misread(consumer, &outcomes);
            if let Some(first) = wrong.first() {
                panic!(
                    "{} of {} misread by {}\n{}",
                    wrong.len(),
                    outcomes.len(),
                    consumer.name,
                    first.told()
                );
            }
            assert!(!has_run, "a value has run in {}", consumer.name);
        }
    }
    for (place, (accepted, all)) in places.iter().zip(counts) {
        println!("{accepted:6} accepted, {:6} refused, 0 wrong at {:?}", all - accepted, place.template);
        assert!(accepted * 100 >= place.floor * all, "too few accepted at {:?}", place.template);
    }
}

/// Plain substitution, which `| raw` is, misleads every reader; if not, `prove` sees nothing. If `runs`,
/// some value has even run.
pub fn mislead(format: Format, consumers: &[Consumer], raw: &Place, runs: bool) {
    for values in portions().take(1) {
        let outcomes = render_all(raw, format, &values);
        for consumer in consumers {
            let (wrong, has_run) = misread(consumer, &outcomes);
            println!("{} of {} misread by {}, run: {has_run}", wrong.len(), outcomes.len(), consumer.name);
            assert!(wrong.len() * 100 > outcomes.len() * raw.floor, "{} is not misled", consumer.name);
            assert!(has_run || !runs, "nothing has run in {}", consumer.name);
        }
    }
}

/// Refusals must have their reason.
fn render_all<'p>(place: &'p Place, format: Format, values: &[Vec<u8>]) -> Vec<Outcome<'p>> {
    let mut outcomes = Vec::new();
    for value in values {
        match render(place.template, format, &[("v", value)]) {
            Rendering::Done(file) => outcomes.push(Outcome { place, value: value.clone(), file }),
            Rendering::Failed(error) => {
                let is_refusal = error.kind == Kind::Unencodable || error.kind == Kind::Verify;
                assert!(is_refusal, "{:?} {value:?}: {error}", place.template);
                assert!(error.hint.is_some(), "{error}");
            }
        }
    }
    outcomes
}

fn misread<'o>(consumer: &Consumer, outcomes: &'o [Outcome<'o>]) -> (Vec<Misread<'o>>, bool) {
    let files: Vec<_> = outcomes.iter().map(|outcome| outcome.file.clone()).collect();
    let answers = consumer.answers(&files);
    let pairs = outcomes.iter().zip(answers.answers);
    let wrong = pairs.filter(|(outcome, found)| *found != (outcome.place.expected)(&outcome.value));
    (wrong.map(|(outcome, found)| Misread { outcome, found }).collect(), answers.has_run)
}

impl Misread<'_> {
    fn told(&self) -> String {
        let text = |bytes| String::from_utf8_lossy(bytes).chars().take(2000).collect::<String>();
        let Outcome { place, value, file } = self.outcome;
        let expected = (place.expected)(value);
        format!(
            "template {:?}\nvalue    {:?}\nfile     {:?}\nexpected {expected}\nfound    {}",
            place.template,
            text(value),
            text(file),
            self.found
        )
    }
}
