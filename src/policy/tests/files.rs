//! The list of a file: its order, what all keys of a rule say together, and the mode where no rule is.

use super::*;

#[test]
fn without_rules_the_mode_decides_and_no_fact_is_asked_for_that_it_does_not_hang_on() {
    let plain = Case::default();
    assert_eq!(plain.verdict(&known(10)), Verdict::Real);
    assert_eq!(plain.verdict(&known(11)), Verdict::Deny);
    assert_eq!(*plain.decision(&known(10)).rule(), RuleId::Mode);
    let facts = |caller| plain.with(|access| plain.policy.facts(&caller, access.file.as_ref()));
    assert_eq!(facts(Caller { uid: 10, gid: 1, pid: 1 }), Facts::NONE);
    assert_eq!(facts(Caller { uid: 11, gid: 1, pid: 1 }), Facts::GROUPS);
}

#[test]
fn who_is_unknown_reads_nothing() {
    let nobody = Identity::of(Caller { uid: 10, gid: 20, pid: 0 });
    let case = Case::file([rule(Verdict::Real, Who::anyone())]);
    assert_eq!(*case.decision(&nobody).rule(), RuleId::Refused(Refusal::ForeignPidNamespace));
}

#[test]
fn the_first_rule_of_a_file_that_fits_decides() {
    use Verdict::{Deny, Placeholder, Real};
    let rules =
        |list: &[(Verdict, u32)]| Case::file(list.iter().map(|(verdict, it)| rule(*verdict, uid(*it))));
    for verdict in Verdict::ALL {
        for later in Verdict::ALL {
            assert_eq!(rules(&[(verdict, 5), (later, 5)]).verdict(&known(5)), verdict, "{verdict} {later}");
        }
    }
    assert_eq!(rules(&[(Real, 5)]).verdict(&known(10)), Deny, "an allow closes the file for all others");
    assert_eq!(rules(&[(Real, 5)]).verdict(&known(0)), Deny, "for root, too");
    assert_eq!(rules(&[(Deny, 5)]).verdict(&known(10)), Real, "without an allow, the mode decides");
    assert_eq!(rules(&[(Placeholder, 5), (Deny, 6)]).verdict(&known(11)), Deny, "and says no, too");
    assert_eq!(rules(&[(Placeholder, 5)]).verdict(&known(5)), Placeholder, "a rule goes before the mode");
    let closed = rules(&[(Real, 5)]);
    let Decision::Denied(denial) = closed.decision(&known(10)) else { panic!("it is closed") };
    assert_eq!(
        denial.reason,
        "the lack of a rule that allows it; others may, by the one at c.yaml:1:1: allow uid 5"
    );
}

#[test]
fn all_keys_of_a_matcher_hold_and_any_value_of_a_key() {
    let either = Condition::new(vec![Test::Uid(5), Test::Uid(6)]);
    let unit = Condition::new(vec![Test::Unit(pattern("app.service"))]);
    let who = Who::new(vec![Matcher::new(vec![either, unit])]);
    assert_eq!(who.to_string(), "uid 5|6, unit app.service");
    let case = Case::file([rule(Verdict::Real, who)]);
    assert_eq!(case.verdict(&known(6)), Verdict::Real);
    assert_eq!(case.verdict(&known(7)), Verdict::Deny);
    let other = Identity { unit: Fact::Is("b.service".to_owned()), ..known(6) };
    assert_eq!(case.verdict(&other), Verdict::Deny);
    let elsewhere = Identity { unit: Fact::Unknown, ..known(7) };
    let deny = Case {
        rules: Some(Rules::new(vec![rule(
            Verdict::Deny,
            all([Test::Uid(6), Test::Unit(pattern("x.service"))]),
        )])),
        ..Case::default()
    };
    assert_eq!(
        deny.verdict(&Identity { caller: Caller { uid: 10, ..elsewhere.caller }, ..elsewhere }),
        Verdict::Real,
        "one key that does not hold is enough"
    );
}
