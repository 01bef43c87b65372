//! What is unknown of a caller gives it no more than it would have, whatever the rules are.

use super::*;

#[test]
fn what_is_unknown_fits_no_allow_and_every_deny_and_no_more_than_a_placeholder() {
    use Verdict::{Deny, Placeholder, Real};
    for (test, hide, facts) in each_fact() {
        let key = test.key();
        let mut hidden = known(10);
        hide(&mut hidden);
        let case = |verdict| Case::file([rule(verdict, all([test.clone()]))]);
        for verdict in Verdict::ALL {
            assert_eq!(case(verdict).verdict(&known(10)), verdict, "the control: {key} is known");
        }
        assert_eq!(case(Real).verdict(&hidden), Deny, "{key}");
        assert_eq!(case(Deny).verdict(&hidden), Deny, "{key}");
        assert_eq!(case(Placeholder).verdict(&hidden), Placeholder, "{key}: the mode would have given more");
        let then = |later| Case::file([rule(Placeholder, all([test.clone()])), rule(later, Who::anyone())]);
        assert_eq!(then(Deny).verdict(&hidden), Deny, "{key}: a later rule may give less");
        assert_eq!(then(Real).verdict(&hidden), Placeholder, "{key}: and never more");
        let case = case(Real);
        assert!(
            case.with(|access| case.policy.facts(&hidden.caller, access.file.as_ref())).has(facts),
            "{key}"
        );
        let told = case.with(|access| case.policy.unknown(&hidden, access));
        assert_eq!(told, BTreeSet::from([if key == "role" { "unit" } else { key }]));
        assert!(case.with(|access| case.policy.unknown(&known(10), access)).is_empty());
    }
}

#[test]
fn of_a_caller_who_has_no_unit_it_is_known_that_it_is_another() {
    let outside = Identity { unit: Fact::Absent, ..known(10) };
    let case = Case::file([rule(Verdict::Deny, all([Test::Unit(pattern("backup.service"))]))]);
    assert_eq!(case.verdict(&outside), Verdict::Real);
}

proptest! {
    /// Hiding something of a caller never gives it more.
    #[test]
    fn who_hides_gains_nothing(
        rules in prop::collection::vec(any_rule(), 0..4),
        secrets in prop::collection::vec(any_secret_rule(), 0..4),
        uid in 9..12_u32,
        hidden in prop::collection::vec(0..13_usize, 0..5),
        action in prop::sample::select(Action::ALL.to_vec()),
    ) {
        let keys = ["a", "b", "label=x"].map(SecretKey::named);
        let policy = Policy::new(secrets, Names::default());
        let case = Case { policy, keys: &keys, action, ..Case::file(rules) };
        let mut less = known(uid);
        hidden.into_iter().for_each(|index| (each_fact()[index].1)(&mut less));
        prop_assert!(case.verdict(&less) >= case.verdict(&known(uid)));
    }

    /// Of whom everything is known, the list is gone through as it is written.
    #[test]
    fn a_list_is_read_from_the_top(rules in prop::collection::vec(any_rule(), 0..5), uid in 9..12_u32) {
        let who = known(uid);
        let asker = Asker { who: &who, door: Door::Mount };
        let found = rules.iter().find(|rule| rule.who.fits(&asker) == Some(true)).map(|rule| rule.verdict);
        let is_closed = rules.iter().any(|rule| rule.verdict == Verdict::Real);
        let by_mode = if uid == 10 { Verdict::Real } else { Verdict::Deny };
        let expected = found.unwrap_or(if is_closed { Verdict::Deny } else { by_mode });
        prop_assert_eq!(Case::file(rules).verdict(&who), expected);
    }

    /// What is not among the facts that are asked for has no say.
    #[test]
    fn what_nobody_asks_for_changes_nothing(rules in prop::collection::vec(any_rule(), 0..4), uid in 9..12_u32) {
        let case = Case::file(rules);
        let facts = case.with(|access| case.policy.facts(&known(uid).caller, access.file.as_ref()));
        let mut less = known(uid);
        for (_, hide, _) in each_fact().into_iter().filter(|(_, _, fact)| !facts.has(*fact)) {
            hide(&mut less);
        }
        prop_assert_eq!(case.verdict(&less), case.verdict(&known(uid)));
    }
}
