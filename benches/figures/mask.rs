//! What masking takes of a command's output: a log through a pipe by `cat` alone, and by `exec --mask`
//! with one secret and with 1,000.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{TestStore, stdout_of};
use crate::measure::in_turn;
use crate::table::{Row, Table};

const BYTES: usize = 64 << 20;
const MANY: usize = 1_000;
const ROUNDS: usize = 7;

pub(crate) fn mask(table: &mut Table) {
    let store = TestStore::new();
    let text = store.folder().join("text.log");
    write_log(&text);
    let values: String = (0..MANY).map(|number| format!("KEY{number}={}\n", value(number))).collect();
    fs::write(store.folder().join("all.env"), &values).expect("written");
    stdout_of(&store.run(&["import", "all.env"]));
    let cat = vec!["cat".to_owned(), text.display().to_string()];
    let lines = [cat.clone(), masked(&store, 1, &cat), masked(&store, MANY, &cat)];
    let nothing = [masked(&store, 1, &["true".to_owned()]), masked(&store, MANY, &["true".to_owned()])];
    let [mut a, mut b, mut c] = lines.each_ref().map(|line| move || assert_eq!(drain(line), BYTES));
    let [mut d, mut e] = nothing.each_ref().map(|line| move || assert_eq!(drain(line), 0));
    let samples = in_turn(ROUNDS, 1, &mut [&mut a, &mut b, &mut c, &mut d, &mut e]);
    let title = format!("{} MiB through a pipe", BYTES >> 20);
    let names = ["cat", "exec --mask, 1 secret", "exec --mask, 1,000 secrets"];
    for (name, samples_of) in names.iter().zip(&samples) {
        table.row(Row::new(&title, name, samples_of).over(&samples[0], None));
        let rate = BYTES as f64 / 1e6 / samples_of.median().as_secs_f64();
        table.row(Row::note("its rate", name, format!("{rate:.0} MB/s"), String::new()));
    }
    for (name, samples) in names[1..].iter().zip(&samples[3..]) {
        table.row(Row::new("nothing through a pipe", name, samples));
    }
}

/// As servers write it: nothing of it is a value, much of it looks like one.
fn write_log(path: &Path) {
    let mut file = std::io::BufWriter::new(fs::File::create(path).expect("a file"));
    let mut written = 0;
    for number in 0u64.. {
        let id = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let line =
            format!("2026-11-22 INFO request id={id:016x} path=/api/users/{} status=200\n", number % 9973);
        let line = &line.as_bytes()[..line.len().min(BYTES - written)];
        file.write_all(line).expect("written");
        written += line.len();
        if written == BYTES {
            break;
        }
    }
}

fn value(number: usize) -> String {
    format!("sk_live_{:016x}{number:04}", (number as u64 + 1).wrapping_mul(0xD1B5_4A32_D192_ED03))
}

fn masked(store: &TestStore, count: usize, words: &[String]) -> Vec<String> {
    let variables: Vec<_> = (0..count).map(|number| format!("--env=KEY{number}=KEY{number}")).collect();
    let variables: Vec<_> = variables.iter().map(String::as_str).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let command = store.command(&[&["exec", "--mask"], &variables[..], &["--"], &words].concat());
    let argv = [command.get_program()].into_iter().chain(command.get_args());
    argv.map(|arg| arg.to_str().expect("UTF-8").to_owned()).collect()
}

/// Reads all that it prints; answers how much that was.
fn drain(argv: &[String]) -> usize {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("started");
    let mut stdout = child.stdout.take().expect("a pipe");
    let (mut piece, mut count) = (vec![0; 64 * 1024], 0);
    while let Ok(length @ 1..) = stdout.read(&mut piece) {
        count += length;
    }
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{}: {status}", argv[0]);
    count
}
