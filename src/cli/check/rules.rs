//! What the rules of a config say that cannot be meant, and what their writer should know: rules
//! that never decide, programs that anybody can be, names that nobody has. May use every layer.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::finding::{Finding, Kind, Place};
use super::report::Report;
use super::used::Used;
use crate::cli::policy::wanted::Served;
use crate::config::{AccessRule, Config, Exe, Matcher, Wanted};
use crate::daemon::rules;
use crate::policy::{Action, Door, Pattern, Shadowed, Verdict, shadowed, shadowed_on_secrets};
use crate::sys::identity;

/// Programs that do what a script says: a rule for one is a rule for every script.
const INTERPRETERS: [&str; 53] = [
    "ash", "awk", "bash", "bun", "busybox", "csh", "dash", "deno", "dotnet", "ed", "emacs", "env", "expect",
    "find", "fish", "gawk", "gdb", "git", "guile", "java", "julia", "ksh", "ld.so", "less", "lua", "luajit",
    "make", "mawk", "mksh", "mono", "nano", "nice", "node", "nodejs", "nohup", "nvim", "perl", "php", "pwsh",
    "python", "rpm", "rsync", "ruby", "sed", "sh", "ssh", "sudo", "tar", "tclsh", "vi", "vim", "xargs",
    "zsh",
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
    linter.unasked(report);
    linter.roles(report);
    if is_known {
        linter.order(report);
        linter.files(report);
    }
}

/// Patterns on secrets that fit none of these: what was meant is free.
pub(super) fn judge_names(config: &Config, used: &Used, report: &mut Report) {
    let Ok(policy) = rules::policy(config) else { return };
    let linter = Linter { config };
    for (index, rule) in config.policy.iter().enumerate() {
        for (value, pattern) in rule.secrets.iter().enumerate() {
            let at = ["policy".to_owned(), index.to_string(), "secrets".to_owned(), value.to_string()];
            match used.judge(&policy, pattern) {
                None => {}
                Some((Kind::Note, message, near)) => report.add(linter.note(&at, message).hint(near)),
                Some((_, message, near)) => report.add(linter.fault(&at, message).hint(near)),
            }
        }
    }
}

fn numbered<'a>(
    place: Vec<String>,
    rules: impl Iterator<Item = &'a AccessRule>,
) -> Vec<(Vec<String>, &'a AccessRule)> {
    let at = |(index, rule): (usize, _)| ([&place[..], &[index.to_string()]].concat(), rule);
    rules.enumerate().map(at).collect()
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
        if let Some(problem) = self.never_by_exec(matcher) {
            report.add(self.note(place, problem));
        }
        if let Some(problem) = contradiction(matcher) {
            report.add(self.fault(place, problem));
        }
    }

    fn program(&self, place: &[String], Exe { path, sha256 }: &Exe, report: &mut Report) {
        let real = fs::canonicalize(path);
        if is_interpreter(real.as_deref().unwrap_or(path)) {
            report
                .add(self.note(place, "this program does what a script says: the rule is for every script"));
        }
        let of_digest = || match identity::digest_of(path) {
            None => Some("can have no digest: it is too large, or its filesystem is served".to_owned()),
            found => (found != *sha256).then(|| "has another sha256 than that".to_owned()),
        };
        let unfit = || unfit(path).or_else(|| sha256.as_ref().and_then(|_| of_digest()));
        let problem = leading(path).or_else(|| Some(format!("{}: {}", path.display(), unfit()?)));
        if let Some(problem) = problem {
            report.add(self.note(place, problem));
        }
    }

    /// Who asks through `exec` is this program, whatever it starts.
    fn never_by_exec(&self, matcher: &Matcher) -> Option<String> {
        let own = std::env::current_exe().ok()?;
        let is_ours =
            |wanted: &Wanted| matches!(wanted, Wanted::Exe(all) if all.iter().any(|it| it.path == own));
        let has_exe = matcher.0.iter().any(|it| it.key() == "exe") && !matcher.0.iter().any(is_ours);
        let only_exec = matcher.0.contains(&Wanted::Door(vec![Door::Exec]));
        let what = "never fits: who asks at the door exec is secretfs itself, whatever it starts";
        (has_exe && only_exec).then(|| what.to_owned())
    }

    /// Sets of callers that nothing is about.
    fn roles(&self, report: &mut Report) {
        let all = self.config.matchers();
        let names = |it: &Wanted| match it {
            Wanted::Role(names) => names.clone(),
            _ => Vec::new(),
        };
        let used: BTreeSet<_> =
            all.iter().flat_map(|list| list.matchers).flat_map(|it| &it.0).flat_map(names).collect();
        for name in self.config.roles.keys().filter(|name| !used.contains(*name)) {
            report.add(self.note(&["roles".to_owned(), name.clone()], "no rule names this role"));
        }
    }

    /// What rules may say, and nobody asks them today.
    fn unasked(&self, report: &mut Report) {
        let files = self.config.access_lists().into_iter();
        let files = files.flat_map(|(place, list)| numbered(place, list.iter()));
        let secrets = numbered(vec!["policy".to_owned()], self.config.policy.iter().map(|it| &it.access));
        for (place, rule) in files.chain(secrets) {
            if !rule.actions.has(Action::Read) {
                report.add(self.note(&place, "about no reading: nothing else is asked of rules yet"));
            }
            let is_of_api = |Matcher(all): &Matcher| all.contains(&Wanted::Door(vec![Door::Api]));
            if rule.who.iter().all(is_of_api) {
                report.add(self.note(&place, "nobody comes through the door `api` yet"));
            }
        }
    }

    /// The rule of a file or credential whose door leads to none.
    fn doors(&self, report: &mut Report) {
        for (place, list) in self.config.access_lists() {
            for (index, rule) in list.iter().enumerate() {
                let (own, what) = match place[0].as_str() {
                    "credentials" => (Door::Systemd, "credentials are given through the door systemd alone"),
                    _ => (Door::Mount, "files of a mount are read through the door mount alone"),
                };
                let is_other = |it: &Wanted| matches!(it, Wanted::Door(doors) if !doors.contains(&own));
                if rule.who.iter().all(|Matcher(all)| all.iter().any(is_other)) {
                    let at = [&place[..], &[index.to_string()]].concat();
                    report.add(
                        self.fault(
                            &at,
                            format!("never decides: {what}; `policy:` has rules for its secrets"),
                        ),
                    );
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
                if !served.all.iter().any(|it| it.asked().is_some_and(|file| file.is_like(pattern))) {
                    let at = ["policy".to_owned(), index.to_string(), "files".to_owned(), value.to_string()];
                    report.add(self.note(&at, format!("no file and no credential is like `{pattern}`")));
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
    INTERPRETERS.contains(&stem) || name == "ld.so" || (name.starts_with("ld-") && name.contains(".so"))
}

/// Why nobody is known by this path.
fn leading(path: &Path) -> Option<String> {
    let real = fs::canonicalize(path).ok().filter(|real| real != path)?;
    Some(rules::behind_link(path, &real))
}

/// Why the rule cannot fit, as this machine is now.
fn unfit(path: &Path) -> Option<String> {
    let Ok(meta) = path.metadata() else { return Some("is not there".to_owned()) };
    match () {
        () if !meta.is_file() => Some("is no program".to_owned()),
        () if meta.uid() != 0 => {
            Some("does not belong to root, so it is taken for nobody's program".to_owned())
        }
        () if meta.mode() & 0o022 != 0 => {
            Some("can be written by others than root, so it is taken for nobody's program".to_owned())
        }
        () => {
            let open = path.ancestors().skip(1).find(|folder| is_open(folder))?;
            Some(format!(
                "lies below {}, where others than root can put another in its place",
                open.display()
            ))
        }
    }
}

/// Whether others than root can replace what is in this folder (inode(7)).
pub(super) fn is_open(folder: &Path) -> bool {
    let is_sticky = |mode: u32| mode & libc::S_ISVTX != 0;
    folder
        .metadata()
        .is_ok_and(|meta| meta.uid() != 0 || (meta.mode() & 0o022 != 0 && !is_sticky(meta.mode())))
}
