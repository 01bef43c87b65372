//! How rules are judged; callers, rules and questions for the stories below.

mod files;
mod lint;
mod secrets;
mod unknown;

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
        let file = FileRef { mount, spelled: mount, path, ownership: FILE, rules: self.rules.as_ref() };
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
