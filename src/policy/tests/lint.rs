//! Rules that never decide are found, and only those.

use super::*;

#[test]
fn a_rule_that_never_decides_is_found() {
    use Verdict::{Deny, Real};
    let unit = |name: &str| Test::Unit(pattern(name));
    let role = |name: &str, who: Who| Test::Role { name: name.to_owned(), who: Arc::new(who) };
    let found = |list: [Who; 2]| {
        let rules = Rules::new(list.into_iter().map(|who| rule(Deny, who)).collect());
        !shadowed(&rules).is_empty()
    };
    let user = Test::User { uid: 5, name: "u".to_owned() };
    for list in [
        [Who::anyone(), uid(5)],
        [uid(5), all([user.clone(), unit("a.service")])],
        [all([unit("*.service")]), all([unit("a.service"), Test::Uid(5)])],
        [all([role("r", uid(5))]), uid(5)],
        [all([role("r", uid(5))]), all([role("s", uid(5))])],
        [uid(5), uid(5)],
    ] {
        assert!(found(list.clone()), "{list:?}");
    }
    for list in [
        [uid(5), Who::anyone()],
        [uid(5), uid(6)],
        [all([user, unit("a.service")]), uid(5)],
        [all([unit("a.service")]), all([unit("*.service")])],
        [all([Test::Gid(5)]), uid(5)],
    ] {
        assert!(!found(list.clone()), "{list:?}");
    }
    let reads = Rules::new(vec![rule(Real, Who::anyone()), rule(Deny, uid(5))]);
    assert!(shadowed(&reads).is_empty(), "the deny is of other actions, too");
    let secrets = |one: (&str, Option<&str>), other: (&str, Option<&str>)| {
        let list = [one, other].map(|(secrets, files)| on(secrets, files, rule(Deny, uid(5))));
        shadowed_on_secrets(&list).len()
    };
    assert_eq!(secrets(("a*", None), ("ab", Some("x"))), 1);
    assert_eq!(secrets(("a*", Some("x*")), ("ab", Some("xy"))), 1);
    assert_eq!(secrets(("a*", Some("x")), ("ab", None)) + secrets(("ab", None), ("a*", None)), 0);
}

proptest! {
    /// Without a rule that never decides, all is as it was.
    #[test]
    fn who_leaves_out_a_rule_that_never_decides_changes_nothing(
        rules in prop::collection::vec(any_rule(), 2..6),
        uid in 9..12_u32,
        action in prop::sample::select(Action::ALL.to_vec()),
    ) {
        let list = Rules::new(rules.clone());
        let found: Vec<_> = shadowed(&list).iter().map(|it| Arc::as_ptr(&it.rule.origin)).collect();
        let fewer = rules.iter().filter(|rule| !found.contains(&Arc::as_ptr(&rule.origin))).cloned();
        // An allow closes the file, whether it ever decides or not.
        prop_assume!(rules.iter().all(|rule| rule.verdict != Verdict::Real));
        let fewer = Case { action, ..Case::file(fewer) };
        prop_assert_eq!(fewer.verdict(&known(uid)), Case { action, ..Case::file(rules) }.verdict(&known(uid)));
    }
}
