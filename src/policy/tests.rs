//! How rules are judged: their order, what is unknown, and which of them is the strictest.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::caller::{Exe, Fact, Namespace, UserUnit};

const FILE: Ownership = Ownership { uid: 10, gid: 20, mode: 0o440 };

fn origin(text: &str) -> Arc<Origin> {
    let place = Place { file: "c.yaml".into(), line: 1, column: 1 };
    Arc::new(Origin::new(text.to_owned(), move || place))
}

fn rule(verdict: Verdict, who: Who) -> Rule {
    let text = Rule::words(verdict, &who, verdict.usual_actions());
    Rule { verdict, who, actions: verdict.usual_actions(), origin: origin(&text) }
}

fn all(tests: impl IntoIterator<Item = Test>) -> Who {
    Who::new(vec![Matcher::new(tests.into_iter().map(|test| Condition::new(vec![test])).collect())])
}

fn uid(uid: u32) -> Who {
    all([Test::Uid(uid)])
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn on(secrets: &str, files: Option<&str>, rule: Rule) -> SecretRule {
    SecretRule { secrets: vec![pattern(secrets)], files: files.map(pattern).into_iter().collect(), rule }
}

/// Everything is known of it.
fn known(uid: u32) -> Identity {
    let exe = Exe { path: "/usr/bin/app".into(), dev: 1, ino: 2, is_fit: true, sha256: Some([7; 32]) };
    Identity {
        groups: Some(vec![30]),
        exe: Some(exe),
        unit: Fact::Is("app.service".to_owned()),
        user_unit: Fact::Is(UserUnit { uid, name: "own.service".to_owned() }),
        cgroup: Some("/system.slice/app.service".to_owned()),
        container: Fact::Is("abc".to_owned()),
        userns: Namespace::Own,
        ..Identity::of(Caller { uid, gid: 1, pid: 1 })
    }
}

type Hide = fn(&mut Identity);

/// One test each that fits [`known`], and how to make it unknown.
fn each_fact() -> Vec<(Test, Hide, Facts)> {
    let exe = |sha256| Test::Exe { path: "/usr/bin/app".into(), sha256 };
    let role = Test::Role { name: "r".to_owned(), who: Arc::new(all([Test::Unit(pattern("app.*"))])) };
    vec![
        (Test::Gid(30), |it| it.groups = None, Facts::GROUPS),
        (Test::Group { gid: 30, name: "g".to_owned() }, |it| it.groups = None, Facts::GROUPS),
        (exe(None), |it| it.exe = None, Facts::EXE),
        (exe(None), |it| it.traced = true, Facts::EXE),
        (exe(None), |it| it.userns = Namespace::Foreign, Facts::EXE),
        (exe(None), |it| it.userns = Namespace::Unknown, Facts::EXE),
        (exe(None), |it| it.exe.iter_mut().for_each(|exe| exe.is_fit = false), Facts::EXE),
        (exe(Some([7; 32])), |it| it.exe.iter_mut().for_each(|exe| exe.sha256 = None), Facts::DIGEST),
        (Test::Unit(pattern("app.service")), |it| it.unit = Fact::Unknown, Facts::UNIT),
        (Test::UserUnit(pattern("own.*")), |it| it.user_unit = Fact::Unknown, Facts::USER_UNIT),
        (Test::Cgroup(pattern("/system.slice/*")), |it| it.cgroup = None, Facts::CGROUP),
        (Test::Container(pattern("a*")), |it| it.container = Fact::Unknown, Facts::CONTAINER),
        (role, |it| it.unit = Fact::Unknown, Facts::UNIT),
    ]
}

struct Case<'a> {
    policy: Policy,
    rules: Option<Rules>,
    keys: &'a [SecretKey],
    action: Action,
    door: Door,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self { policy: Policy::by_mode(), rules: None, keys: &[], action: Action::Read, door: Door::Mount }
    }
}

impl Case<'_> {
    fn file(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self { rules: Some(Rules::new(rules.into_iter().collect())), ..Self::default() }
    }

    fn with<T>(&self, then: impl FnOnce(&Access<'_>) -> T) -> T {
        let (mount, path) = (Path::new("/run/app"), Path::new("billing/.env"));
        let file = FileRef { mount, path, ownership: FILE, rules: self.rules.as_ref() };
        let file = (self.door == Door::Mount).then_some(file);
        then(&Access { door: self.door, action: self.action, file, keys: self.keys })
    }

    fn decision(&self, who: &Identity) -> Decision {
        self.with(|access| self.policy.evaluate(who, access))
    }

    fn verdict(&self, who: &Identity) -> Verdict {
        self.decision(who).verdict()
    }
}

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

fn any_test() -> impl Strategy<Value = Test> {
    let program = |name: &str| Test::Exe { path: name.into(), sha256: None };
    prop_oneof![
        (9..12_u32).prop_map(Test::Uid),
        (29..31_u32).prop_map(Test::Gid),
        prop_oneof![Just("/usr/bin/app"), Just("/usr/bin/b")].prop_map(program),
        Just(Test::Exe { path: "/usr/bin/app".into(), sha256: Some([7; 32]) }),
        prop_oneof![Just("app.service"), Just("b.service")].prop_map(|it| Test::Unit(pattern(it))),
        prop_oneof![Just("own.*"), Just("b.service")].prop_map(|it| Test::UserUnit(pattern(it))),
        prop_oneof![Just("/system.slice/*"), Just("/x")].prop_map(|it| Test::Cgroup(pattern(it))),
        prop_oneof![Just("a*"), Just("b")].prop_map(|it| Test::Container(pattern(it))),
        prop_oneof![Just(Door::Mount), Just(Door::Exec)].prop_map(Test::Door),
    ]
}

fn any_who() -> impl Strategy<Value = Who> {
    let condition = prop::collection::vec(any_test(), 1..3).prop_map(Condition::new);
    let matcher = prop::collection::vec(condition, 0..3).prop_map(Matcher::new);
    prop::collection::vec(matcher, 1..3).prop_map(Who::new)
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let verdict = prop::sample::select(Verdict::ALL.to_vec());
    (verdict, any_who()).prop_map(|(verdict, who)| rule(verdict, who))
}

fn any_secret_rule() -> impl Strategy<Value = SecretRule> {
    let secrets = prop_oneof![Just("a"), Just("*"), Just("b*")];
    let files = prop_oneof![Just(None), Just(Some("billing/*")), Just(Some("x"))];
    (secrets, files, any_rule()).prop_map(|(secrets, files, rule)| on(secrets, files, rule))
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
