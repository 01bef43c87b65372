//! Every way to fail for who renders: templates that are wrong for a value that nobody else has, and
//! providers that fail with it on their lips.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Parts of it are searched for, so each of its bytes counts. What the formats cannot carry is in it.
pub const VALUE: &str = "Vk7qXw2Rz9Lm\"\\ $(id) `'{<%>}é\u{2028}\n\tHt4bNc8Ys6Jd%0aQp3Fg5Tv1Ku";
/// By name: the value, what is no text with it, and so much of it that nothing takes it.
pub fn secrets() -> [(&'static str, Vec<u8>); 3] {
    let bytes = [VALUE.as_bytes(), b"\xff\0"].concat();
    [("v", VALUE.into()), ("bytes", bytes), ("big", VALUE.repeat(9_000).into())]
}

pub const FORMATS: [&str; 6] = ["text", "json", "yaml", "env", "pgpass", "netrc"];
const DIALECTS: [&str; 4] = ["systemd", "shell", "docker", "compose"];
/// Each is wrong for the value, or may be.
pub const EXPRESSIONS: [&str; 30] = [
    "secrets.v | hash('crc')",
    "secrets.v | hash",
    "secrets.v | bcrypt(99)",
    "secrets.v | b64decode",
    "secrets.v | from_json",
    "secrets.v | from_json | tojson",
    "secrets.v | indent(secrets.v)",
    "secrets.v | indent(-1)",
    "secrets.v | split('')",
    "secrets.v | split(secrets.v) | hash('md5')",
    "secrets.v | lines | upper",
    "secrets.v | lines | b64decode | join",
    "secrets.v | join(1)",
    "secrets.v | trim(2)",
    "secrets.v | nosuch",
    "secrets.v | required('why')",
    "(secrets.v | from_json)['a']",
    "secrets.v.nosuch",
    "secrets.v + 1",
    "secrets.v * 2",
    "secrets.v - secrets.v",
    "secrets.v ~ secrets.gone",
    "secrets.v < 3",
    "-secrets.v",
    "secrets[secrets.v]",
    "secret(secrets.v)",
    "secrets.v[secrets.v]",
    "secrets.v if secrets.v > 1 else 0",
    "secrets.bytes ~ secrets.v | tojson",
    "secrets.big ~ secrets.big ~ secrets.v",
];

/// Each expression in each format: in a value's place, amid quotes and alone.
fn combined() -> Vec<(String, String, String)> {
    let formats = FORMATS.map(|name| format!("format: {name}"));
    let formats = formats.into_iter().chain(DIALECTS.map(|name| format!("dialect: {name}")));
    let mut files = Vec::new();
    for (number, options) in formats.enumerate() {
        for (at, expression) in EXPRESSIONS.iter().enumerate() {
            let text = match at % 3 {
                0 => format!("A=\"<< {expression} >>\"\n<< secrets.v >>"),
                1 => format!("{{\"a\": '<< {expression} >>, << secrets.v >>: << secrets.v >>"),
                _ => format!("machine << secrets.v >>:<< {expression} >>:<< secrets.v | raw >>\n"),
            };
            files.push((format!("{number}-{at}"), options.clone(), text));
        }
    }
    files
}

/// Providers that fail in each way there is, with the value on their lips.
pub const PROGRAMS: [(&str, &str, &str); 8] = [
    ("stderr", "cat FOLDER/secret >&2; exit 1", ""),
    ("both", "cat FOLDER/secret; cat FOLDER/secret >&2; exit 3", ""),
    ("json", "echo '{\"a\":'; cat FOLDER/secret", ", fields: json"),
    ("shape", "printf '[\"'; cat FOLDER/secret; printf '\"]'", ", fields: json"),
    ("bytes", "cat FOLDER/secret; printf '\\377\\000'", ""),
    ("large", "cat FOLDER/secret; head -c 9000000 /dev/zero | tr '\\0' x", ""),
    ("slow", "cat FOLDER/secret; sleep 9", ", timeout: 300ms"),
    ("killed", "cat FOLDER/secret; cat FOLDER/secret >&2; kill -9 $$", ""),
];

fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The templates of all files, by the names of these.
pub fn templates() -> Vec<(String, String)> {
    let of_programs = PROGRAMS
        .iter()
        .map(|(name, ..)| (format!("p-{name}"), format!("{{\"k\": << secret('{name}:a') | from_json >>}}")));
    combined().into_iter().map(|(name, _, text)| (name, text)).chain(of_programs).collect()
}

/// What the mount in a config says of these files.
pub fn files() -> String {
    let own = combined().into_iter().map(|(name, options, _)| format!("    {name}: {{{options}}}\n"));
    let of_programs = PROGRAMS.iter().map(|(name, ..)| format!("    p-{name}: {{format: json}}\n"));
    format!("  files:\n{}", own.chain(of_programs).collect::<String>())
}

/// The providers of a config in this folder, with their programs.
pub fn providers(folder: &Path) -> String {
    fs::write(folder.join("secret"), VALUE).unwrap();
    let provider = |(name, script, options): (&str, &str, &str)| {
        program(folder, &format!("say-{name}"), &script.replace("FOLDER", &folder.display().to_string()));
        format!("  {name}: {{type: exec, command: [./say-{name}]{options}}}\n")
    };
    format!("providers:\n{}", PROGRAMS.map(provider).concat())
}
