//! What the rules of a config say that cannot be meant, and what their writer should know: rules
//! that never decide, programs that anybody can be, names that nobody has. May use every layer.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::finding::{Finding, Kind, Place};
use super::report::Report;
use crate::cli::policy::wanted::Served;
use crate::config::{Config, Exe, Matcher, Wanted};
use crate::daemon::rules;
use crate::policy::{Door, Pattern, Shadowed, Verdict, shadowed, shadowed_on_secrets};

/// Programs that do what a script says: a rule for one is a rule for every script.
const INTERPRETERS: [&str; 26] = [
    "ash", "awk", "bash", "bun", "busybox", "csh", "dash", "deno", "dotnet", "env", "fish", "gawk", "guile",
    "java", "ksh", "lua", "mono", "node", "nodejs", "perl", "php", "python", "ruby", "sh", "tclsh", "zsh",
];

pub(super) fn judge(config: &Config, report: &mut Report) {
    let unknown = rules::unknown(config);
    let is_known = unknown.is_empty();
    unknown.into_iter().for_each(|error| report.add(error.into()));
    let linter = Linter { config };
    for list in config.matchers() {
        for (index, matcher) in list.matchers.iter().enumerate() {
            let place = [&list.path[..], &[index.to_string()]].concat();
            linter.matcher(&place, matcher, report);
        }
    }
    linter.doors(report);
    if is_known {
        linter.order(report);
        linter.files(report);
    }
}

/// Whether all whom the rules name are there.
pub(super) fn are_known(config: &Config) -> bool {
    rules::unknown(config).is_empty()
}

struct Linter<'a> {
    config: &'a Config,
}

impl Linter<'_> {
    fn note(&self, place: &[String], message: impl std::fmt::Display) -> Finding {
        Finding::on(self.place(place), Kind::Note, message.to_string())
    }

    fn fault(&self, place: &[String], message: impl std::fmt::Display) -> Finding {
        Finding::on(self.place(place), Kind::Config, message.to_string())
    }

    fn place(&self, place: &[String]) -> Place {
        let place: Vec<_> = place.iter().map(String::as_str).collect();
        Place::from(&self.config.error_at(&place, ""))
    }

    fn matcher(&self, place: &[String], matcher: &Matcher, report: &mut Report) {
        let has = |keys: &[&str]| matcher.0.iter().any(|wanted| keys.contains(&wanted.key()));
        for wanted in &matcher.0 {
            let at = [place, &[wanted.key().to_owned()]].concat();
            match wanted {
                Wanted::Exe(programs) => {
                    if !has(&["uid", "user", "unit"]) {
                        report.add(self.note(&at, "a program alone: whoever may run it can make it do what they like; add `user` or `unit`"));
                    }
                    for (index, program) in programs.iter().enumerate() {
                        self.program(&[&at[..], &[index.to_string()]].concat(), program, report);
                    }
                }
                Wanted::UserUnit(_) if !has(&["uid", "user"]) => {
                    report.add(self.note(&at, "every user can have a unit of this name; add `user`"));
                }
                Wanted::Cgroup(patterns) if patterns.iter().any(|it| it.as_str().starts_with('*')) => {
                    report.add(
                        self.note(
                            &at,
                            "users make control groups below their own: begin with `/system.slice/`",
                        ),
                    );
                }
                _ => {}
            }
        }
        if let Some(problem) = contradiction(matcher) {
            report.add(self.fault(place, problem));
        }
    }

    fn program(&self, place: &[String], Exe { path, .. }: &Exe, report: &mut Report) {
        if is_interpreter(path) {
            report
                .add(self.note(place, "this program does what a script says: the rule is for every script"));
        }
        if let Some(problem) = unfit(path) {
            report.add(self.note(place, format!("{}: {problem}", path.display())));
        }
    }

    /// The rule of a file whose door leads to none.
    fn doors(&self, report: &mut Report) {
        for (place, list) in self.config.access_lists() {
            for (index, rule) in list.iter().enumerate() {
                let never = |matcher: &Matcher| {
                    matcher.0.iter().any(|wanted| *wanted == Wanted::Door(vec![Door::Exec]))
                };
                if rule.who.iter().all(never) {
                    let at = [&place[..], &[index.to_string()]].concat();
                    report.add(self.fault(
                        &at,
                        "never decides: exec reads no files of a mount; `policy:` has rules for its secrets",
                    ));
                }
            }
        }
    }

    fn order(&self, report: &mut Report) {
        let policy = rules::policy(self.config);
        let on_secrets = policy.as_ref().map_or(&[][..], |policy| policy.rules());
        shadowed_on_secrets(on_secrets).iter().for_each(|found| report.add(told(found)));
        for (place, list) in self.config.access_lists() {
            if let Ok(rules) = rules::access(self.config, &place, list) {
                shadowed(&rules).iter().for_each(|found| report.add(told(found)));
            }
        }
    }

    /// Patterns on files that fit none: what was meant is open, or closed.
    fn files(&self, report: &mut Report) {
        let Ok(served) = Served::of_config(self.config) else { return };
        for (index, rule) in self.config.policy.iter().enumerate() {
            for (value, pattern) in rule.files.iter().enumerate() {
                if !served.files.iter().any(|file| file.asked().is_like(pattern)) {
                    let at = ["policy".to_owned(), index.to_string(), "files".to_owned(), value.to_string()];
                    report.add(self.note(&at, format!("no file of the mounts is like `{pattern}`")));
                }
            }
        }
    }
}

fn told(found: &Shadowed<'_>) -> Finding {
    let [rule, by] = [found.rule, found.by].map(|rule| rule.origin.place());
    let place = Place::at(&rule.file.display().to_string(), rule.line as u32, rule.column as u32);
    let what = match (found.by.who.is_anyone(), found.by.verdict == Verdict::Deny) {
        (true, true) => "denies everybody",
        (true, false) => "is for anyone",
        (false, _) => "fits all that it fits",
    };
    Finding::on(place, Kind::Config, format!("never decides: the rule at {by}, before it, {what}"))
}

/// Two keys that cannot both hold.
fn contradiction(matcher: &Matcher) -> Option<String> {
    let values = |key: &str| matcher.0.iter().find(|wanted| wanted.key() == key);
    if let (Some(Wanted::Uid(uids)), Some(Wanted::User(names))) = (values("uid"), values("user")) {
        let named: Vec<_> = names.iter().filter_map(|name| rules::uid_of(name)).collect();
        if !named.is_empty() && !named.iter().any(|uid| uids.contains(uid)) {
            return Some(format!("fits nobody: the user {} has another `uid`", names.join(", ")));
        }
    }
    let is_of_users = |pattern: &Pattern| !pattern.is_plain() || pattern.as_str().starts_with("user@");
    match (values("unit"), values("user_unit")) {
        (Some(Wanted::Unit(units)), Some(_)) if !units.iter().any(is_of_users) => {
            Some("fits nobody: who is in a user's own unit is in the system unit user@UID.service".to_owned())
        }
        _ => None,
    }
}

/// `python3.11` is `python`.
fn is_interpreter(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    INTERPRETERS.contains(&stem) || name.starts_with("ld-linux")
}

/// Why the rule cannot fit, as this machine is now.
fn unfit(path: &Path) -> Option<String> {
    let Ok(meta) = path.metadata() else { return Some("is not there".to_owned()) };
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match () {
        () if real != path => Some(format!("is a link, and what runs is {}: name that", real.display())),
        () if !meta.is_file() => Some("is no program".to_owned()),
        () if meta.uid() != 0 => {
            Some("does not belong to root, so it is taken for nobody's program".to_owned())
        }
        () if meta.mode() & 0o022 != 0 => {
            Some("can be written by others than root, so it is taken for nobody's program".to_owned())
        }
        () => None,
    }
}
