//! `secretfs audit verify`: whether the log is what was written. May use every layer.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::audit::{self, Finding, Seeds, Verifier};
use crate::cli::report::{Failure, note};
use crate::cli::{Common, config, exit, open, output};
use crate::store::Access;

#[derive(clap::Args)]
pub(super) struct Args {
    /// What journald has kept of it: only against that can it be seen that the end is missing
    #[arg(long, value_name = "NUMBER:HASH", value_parser = parse_checkpoint)]
    checkpoint: Vec<(u64, String)>,
}

#[derive(Serialize)]
struct Told {
    sound: bool,
    records: u64,
    /// How many are sealed with the key that lies beside the log, although there is a store.
    beside: u64,
    first: Option<u64>,
    last: Option<u64>,
    head: Option<String>,
    findings: Vec<ToldFinding>,
}

#[derive(Serialize)]
struct ToldFinding {
    file: Option<PathBuf>,
    line: u64,
    problem: String,
    harmless: bool,
}

pub(super) fn run(args: &Args, log: Option<&Path>, common: &Common) -> Result<u8, Failure> {
    let path = super::log(log, common)?;
    let mut verifier = Verifier::new(Some(seeds(&path, common)?));
    args.checkpoint.iter().for_each(|(seq, hash)| verifier.witness(*seq, hash));
    let failed = |error| super::unreadable(&path, &error);
    let mut files = Vec::new();
    for part in audit::parts(&path).map_err(failed)? {
        files.push(part.path.clone());
        verifier.begin_file();
        part.read(|line| verifier.take(line)).map_err(failed)?;
    }
    let report = verifier.finish();
    let finding = |it: &Finding| ToldFinding {
        file: files.get(it.place.file).cloned(),
        line: it.place.line,
        problem: it.trouble.to_string(),
        harmless: it.is_harmless(),
    };
    let told = Told {
        sound: report.is_sound(),
        records: report.records,
        beside: report.beside,
        first: report.first,
        last: report.last.as_ref().map(|head| head.seq),
        head: report.last.as_ref().map(|head| head.text()),
        findings: report.findings.iter().map(finding).collect(),
    };
    match common.json {
        true => output::print_json(&told)?,
        false => tell(&told, args.checkpoint.is_empty())?,
    }
    Ok(if told.sound { exit::OK } else { exit::NO })
}

fn tell(told: &Told, is_open: bool) -> Result<(), Failure> {
    let lines: String = told.findings.iter().map(line).collect();
    let count = output::counted_of(told.records, "record");
    let verdict = if told.sound { "as they were written" } else { "NOT as they were written" };
    let head = told.last.zip(told.head.as_ref()).map(|(seq, hash)| format!("head {seq}:{hash}\n"));
    output::print(format!("{lines}{count}, {verdict}\n{}", head.unwrap_or_default()))?;
    if told.beside > 0 {
        let count = output::counted_of(told.beside, "record");
        note(format_args!(
            "{count} before the store's: sealed with the key beside the log, by whoever can write there"
        ));
    }
    if told.sound && is_open {
        note("whether records are missing at the end, only a --checkpoint tells");
    }
    Ok(())
}

/// `audit.log.1:5: record 5 was changed`
fn line(of: &ToldFinding) -> String {
    let file = of.file.as_ref().and_then(|file| file.file_name()).unwrap_or_default();
    let file = output::in_line(&file.to_string_lossy());
    format!("{file}:{}: {}\n", of.line, output::in_line(&of.problem))
}

/// That of the store, if there is one, and that of the file beside the log.
fn seeds(log: &Path, common: &Common) -> Result<Seeds, Failure> {
    let config = config::load(common)?.store;
    let beside = audit::beside_now(log);
    match open::open_store(common, &config, Access::Read) {
        Ok(store) => Ok(Seeds { store: vec![store.audit_seed()?], beside }),
        Err(_) if beside.is_some() => Ok(Seeds { store: Vec::new(), beside }),
        Err(failure) => Err(failure),
    }
}

fn parse_checkpoint(text: &str) -> Result<(u64, String), String> {
    let parts = text.split_once(':').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash)));
    match parts {
        Some((seq, hash)) if hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok((seq, hash.to_owned()))
        }
        _ => Err("it has the form NUMBER:HASH, as journald shows it".to_owned()),
    }
}
