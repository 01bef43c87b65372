//! Rules on secrets: at which doors and for which actions, by label, and the strictest of all.

use super::*;

fn stripe() -> Policy {
    let unit = all([Test::Unit(pattern("app.service"))]);
    let rules = vec![
        on("stripe/test", None, rule(Verdict::Placeholder, uid(5))),
        on("stripe/*", Some("billing/*"), rule(Verdict::Real, unit)),
    ];
    Policy::new(rules, Names { default: "store".to_owned(), ..Names::default() })
}

#[test]
fn a_secret_that_is_allowed_to_some_is_closed_to_all_others_and_through_all_doors() {
    let keys = [SecretKey::named("stripe/live")];
    let stripe = |door| Case { policy: stripe(), keys: &keys, door, ..Case::default() };
    assert_eq!(stripe(Door::Mount).verdict(&known(10)), Verdict::Real);
    let other = Identity { unit: Fact::Absent, ..known(10) };
    for door in Door::RULED {
        assert_eq!(stripe(door).verdict(&other), Verdict::Deny, "{door}");
    }
    assert_eq!(stripe(Door::Exec).verdict(&known(10)), Verdict::Deny, "a variable is no file of billing");
    assert_eq!(stripe(Door::Command).verdict(&other), Verdict::Real, "who has the key has all");
    let free = [SecretKey::named("db")];
    let case = Case { policy: self::stripe(), keys: &free, ..Case::default() };
    assert_eq!(case.verdict(&other), Verdict::Real, "no rule is about it");
}

#[test]
fn the_strictest_of_all_counts() {
    let [live, test, free] = ["stripe/live", "stripe/test", "db"].map(SecretKey::named);
    let verdict = |keys: &[SecretKey], rules: &[Rule], who: &Identity| {
        Case { policy: stripe(), keys, ..Case::file(rules.iter().cloned()) }.verdict(who)
    };
    let may = [rule(Verdict::Real, uid(5))];
    assert_eq!(verdict(std::slice::from_ref(&free), &may, &known(5)), Verdict::Real);
    assert_eq!(verdict(&[free.clone(), live.clone()], &may, &known(5)), Verdict::Real);
    assert_eq!(verdict(&[free, live.clone(), test.clone()], &may, &known(5)), Verdict::Placeholder);
    let outside = Identity { unit: Fact::Absent, ..known(5) };
    assert_eq!(verdict(&[test.clone(), live.clone()], &may, &outside), Verdict::Deny);
    assert_eq!(verdict(&[live, test], &[rule(Verdict::Deny, uid(5))], &known(5)), Verdict::Deny);
}

#[test]
fn an_allow_opens_reading_and_a_deny_closes_everything_if_they_do_not_say() {
    let keys = [SecretKey::named("a")];
    let verdict = |rules: &[Rule], action| {
        let rules = rules.iter().map(|rule| on("a", None, rule.clone())).collect();
        let policy = Policy::new(rules, Names::default());
        Case { policy, keys: &keys, action, door: Door::Api, ..Case::default() }.verdict(&known(5))
    };
    let rotate = Rule { actions: Actions::of([Action::Rotate]), ..rule(Verdict::Real, uid(5)) };
    assert_eq!(verdict(&[rule(Verdict::Real, uid(5))], Action::Read), Verdict::Real);
    assert_eq!(verdict(&[rule(Verdict::Real, uid(5))], Action::Rotate), Verdict::Deny);
    assert_eq!(verdict(std::slice::from_ref(&rotate), Action::Rotate), Verdict::Real);
    assert_eq!(verdict(std::slice::from_ref(&rotate), Action::Read), Verdict::Deny);
    for action in Action::ALL {
        assert_eq!(
            verdict(&[rule(Verdict::Deny, uid(5)), rotate.clone()], action),
            Verdict::Deny,
            "{action}"
        );
        assert_eq!(verdict(&[], action), Verdict::Real, "{action}: no rule is about it");
    }
}

#[test]
fn who_asks_by_label_gets_no_more_than_by_any_name() {
    let keys = [SecretKey::named("label=openai")];
    let verdict = |list: Vec<SecretRule>, who: &Identity| {
        Case { policy: Policy::new(list, Names::default()), keys: &keys, ..Case::default() }.verdict(who)
    };
    assert_eq!(verdict(vec![on("x", None, rule(Verdict::Deny, uid(11)))], &known(10)), Verdict::Real);
    assert_eq!(verdict(vec![on("x", None, rule(Verdict::Deny, uid(10)))], &known(10)), Verdict::Deny);
    assert_eq!(verdict(vec![on("x", None, rule(Verdict::Real, uid(10)))], &known(10)), Verdict::Deny);
    assert_eq!(
        verdict(vec![on("label=openai", None, rule(Verdict::Real, uid(10)))], &known(10)),
        Verdict::Real
    );
    assert_eq!(verdict(vec![on("*", None, rule(Verdict::Real, uid(10)))], &known(10)), Verdict::Real);
}

#[test]
fn a_grant_names_what_was_asked_and_what_it_shows() {
    let keys = [SecretKey::named("a")];
    let case = |verdict| Case { keys: &keys, ..Case::file([rule(verdict, uid(1))]) };
    let Decision::Granted(real) = case(Verdict::Real).decision(&known(1)) else { panic!("it is allowed") };
    assert!(real.covers(&keys[0]) && !real.covers(&SecretKey::named("b")) && real.shows_real());
    let Decision::Placeholder(other) = case(Verdict::Placeholder).decision(&known(1)) else { panic!() };
    assert!(other.covers(&keys[0]) && !other.shows_real());
    assert!(!real.and(&other).shows_real(), "real values are shown by those alone that both show");
    assert_eq!(other.rule().to_string(), "c.yaml:1:1: placeholder uid 1");
}
