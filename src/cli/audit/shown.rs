//! A record as a person reads it: when, what, by whom, and what came of it. Uses `audit`.

use crate::audit::{Event, Record};
use crate::cli::output;

pub(super) fn line(record: &Record) -> String {
    let event = &record.event;
    let parts = [
        output::time(record.time),
        record.seq.to_string(),
        event.kind.to_string(),
        result(event),
        who(event),
        event.file.clone().or_else(|| event.door.clone()).unwrap_or_default(),
        secrets(event),
        event.rule.as_ref().map(|rule| format!("({rule})")).unwrap_or_default(),
        event.detail.clone().unwrap_or_default(),
        times(event),
    ];
    let parts: Vec<_> =
        parts.iter().map(|part| output::visible(part)).filter(|part| !part.is_empty()).collect();
    parts.join("  ").replace('\n', " ")
}

/// How many accesses the line stands for.
fn times(event: &Event) -> String {
    let count = event.log.count.filter(|_| event.verdict.is_some());
    count.map(|count| format!("{count} times")).unwrap_or_default()
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

fn who(event: &Event) -> String {
    let who = &event.who;
    let exe = who.exe.iter().map(|exe| format!(" {exe}"));
    let unit = who.unit.iter().chain(&who.user_unit).map(|unit| format!(" in {unit}"));
    let login = who.login_uid.filter(|uid| *uid != who.uid).map(|uid| format!(" logged in as {uid}"));
    format!("uid {} pid {}", who.uid, who.pid) + &exe.chain(unit).chain(login).collect::<String>()
}

fn secrets(event: &Event) -> String {
    let secret = |it: &crate::audit::Named| {
        let provider = it.provider.iter().filter(|it| *it != "store").map(|it| format!("{it}:"));
        let version = it.version.map(|version| format!("@{version}")).unwrap_or_default();
        format!("{}{}{version}", provider.collect::<String>(), it.name)
    };
    event.secrets.iter().map(secret).collect::<Vec<_>>().join(" ")
}
