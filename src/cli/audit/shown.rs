//! A record as a person reads it: when, what, by whom, and what came of it. Uses `audit`.

use std::collections::HashMap;

use nix::unistd::User;

use crate::audit::{Event, Kind, Named, Record};
use crate::cli::output;

/// The users of this machine by their numbers, each looked up once.
#[derive(Default)]
pub(super) struct Names(HashMap<u32, Option<String>>);

pub(super) fn line(record: &Record, names: &mut Names) -> String {
    let event = &record.event;
    let parts = [
        output::time(record.time),
        record.seq.to_string(),
        event.kind.to_string(),
        result(event),
        who(event, names),
        event.file.clone().or_else(|| event.door.clone()).unwrap_or_default(),
        event.program.as_ref().map(|program| format!("for {program}")).unwrap_or_default(),
        secrets(event),
        event.rule.as_ref().map(|rule| format!("({rule})")).unwrap_or_default(),
        event.detail.clone().unwrap_or_default(),
        count(event),
    ];
    let parts: Vec<_> =
        parts.iter().map(|part| output::in_line(part)).filter(|part| !part.is_empty()).collect();
    parts.join("  ")
}

/// How many of what the line stands for.
fn count(event: &Event) -> String {
    let Some(count) = event.log.count else { return String::new() };
    match event.kind {
        Kind::LogMissed => output::counted_of(count, "event"),
        Kind::LogRecovered => output::counted_of(count, "byte"),
        _ => output::counted_of(count, "time"),
    }
}

fn result(event: &Event) -> String {
    match (&event.verdict, &event.outcome) {
        (Some(verdict), Some(outcome)) if outcome != "ok" && outcome != verdict => {
            format!("{verdict}/{outcome}")
        }
        (Some(verdict), _) => verdict.clone(),
        (None, outcome) => outcome.clone().unwrap_or_default(),
    }
}

fn who(event: &Event, names: &mut Names) -> String {
    let who = &event.who;
    let exe = who.exe.iter().map(|exe| format!(" {exe}"));
    let unit = who.unit.iter().chain(&who.user_unit).map(|unit| format!(" in {unit}"));
    let login = who.login_uid.filter(|uid| *uid != who.uid);
    let login = login.map(|uid| format!(" logged in as {}", names.of(uid)));
    format!("uid {} pid {}", names.of(who.uid), who.pid) + &exe.chain(unit).chain(login).collect::<String>()
}

fn secrets(event: &Event) -> String {
    event.secrets.iter().map(secret).collect::<Vec<_>>().join(" ")
}

/// `name@1`, `vault:name@1`, or `name=store:place@1` if it is another one there.
fn secret(of: &Named) -> String {
    let Named { name, provider, path, version } = of;
    let version = version.map(|version| format!("@{version}")).unwrap_or_default();
    match (provider.as_deref(), path) {
        (provider, Some(path)) => format!("{name}={}:{path}{version}", provider.unwrap_or("-")),
        (None | Some("store"), None) => format!("{name}{version}"),
        (Some(provider), None) => format!("{provider}:{name}{version}"),
    }
}

impl Names {
    /// `0 (root)`, or the number alone.
    fn of(&mut self, uid: u32) -> String {
        let name = || User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
        match self.0.entry(uid).or_insert_with(name) {
            Some(name) => format!("{uid} ({name})"),
            None => uid.to_string(),
        }
    }
}
