//! The proof of escaping: wild values, rendered into every kind of place and read back by the programs
//! that such files are for. What comes back is the value, and nothing else in the file has changed;
//! or the rendering was refused. A floor on how many get through keeps refusing from being an answer,
//! and plain substitution, which must fail, shows that the test can.

mod common;
mod consumers;
mod wild;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use consumers::{
    BASH, COMPOSE, CURL, Consumer, DASH, DOCKER, DOTENVY, GODOTENV, JQ, LIBPQ, NODE_DOTENV, NODE_ENV_FILE,
    PYTHON_DOTENV, PYTHON_INNER_JSON, PYTHON_JSON, PYTHON_NETRC, RUBY_DOTENV, SYSTEMD, ZSH,
};
use secretfs::template::{Dialect, Format};
use serde_json::{Value, json};
use wild::proof::{Place, mislead, prove};

/// An env file with `K` at the place; `K` is as `expected` says.
fn place_of(template: &'static str, floor: usize, expected: fn(&[u8]) -> Vec<u8>) -> Place {
    let in_base64 = |value: &[u8]| STANDARD.encode(value);
    Place::new(
        template,
        floor,
        move |value| json!({"FIRST": in_base64(b"1"), "K": in_base64(&expected(value)), "END": in_base64(b"1")}),
    )
}

fn place(template: &'static str, floor: usize) -> Place {
    place_of(template, floor, <[u8]>::to_vec)
}

fn around(value: &[u8]) -> Vec<u8> {
    [b"pre-", value, b"/post"].concat()
}

fn twice(value: &[u8]) -> Vec<u8> {
    [b"a ", value, b" ", value].concat()
}

fn one(_: &[u8]) -> Vec<u8> {
    b"1".to_vec()
}

const URL: &str = "FIRST=1\nK=\"postgres://u:<< secrets.v >>@host/db?x=y\"\nEND=1\n";

fn url(value: &[u8]) -> Vec<u8> {
    [b"postgres://u:", value, b"@host/db?x=y"].concat()
}

/// Ruby's older dotenv is in `ruby_runs_nothing`: it reads no value of several lines.
const DOTENV: [Consumer; 5] = [PYTHON_DOTENV, NODE_DOTENV, NODE_ENV_FILE, GODOTENV, DOTENVY];
const SHELLS: [Consumer; 3] = [BASH, DASH, ZSH];

#[test]
fn dotenv() {
    prove(
        Format::Env(Dialect::Dotenv),
        &DOTENV,
        &[
            place("FIRST=1\nK=<< secrets.v >>\nEND=1\n", 45),
            place("FIRST=1\nK=\"<< secrets.v >>\"\nEND=1\n", 45),
            place("FIRST=1\nK='<< secrets.v >>'\nEND=1\n", 45),
            place("FIRST=1\nexport K=<< secrets.v >>   \nEND=1\n", 45),
            place("FIRST=1\nK=<< secrets.v >> # a comment\nEND=1\n", 45),
            place("FIRST=1\nK='<< secrets.v >>' # a 'comment'\nEND=1", 45),
            place("FIRST=1\r\nK=<< secrets.v >>\r\nEND=1\r\n", 45),
            place("FIRST=1\nK=<< secrets.v | quote >>\nEND=1\n", 45),
            place_of("FIRST=1\nK=pre-<< secrets.v >>/post\nEND=1\n", 45, around),
            place_of("FIRST=1\nK=\"a << secrets.v >> << secrets.v >>\"\nEND=1\n", 45, twice),
            place_of(URL, 45, url),
            place_of("FIRST=1\n# << secrets.v >>\nK=1 # << secrets.v >>\nEND=1\n", 35, one),
        ],
    );
}

/// Where both compose and shells know what a value is, and how many get through at least.
fn shared() -> Vec<Place> {
    vec![
        place("FIRST=1\nK=<< secrets.v >>\nEND=1\n", 85),
        place("FIRST=1\nK=\"<< secrets.v >>\"\nEND=1\n", 85),
        place("FIRST=1\nK='<< secrets.v >>'\nEND=1\n", 85),
        place_of("FIRST=1\nK=pre-<< secrets.v >>/post\nEND=1\n", 85, around),
        place_of(URL, 85, url),
        place_of("FIRST=1\n# << secrets.v >>\nK=1 # << secrets.v >>\nEND=1\n", 35, one),
    ]
}

#[test]
fn compose() {
    let own = [
        place("FIRST=1\nexport K=<< secrets.v >>  # a comment\nEND=1\n", 85),
        place("FIRST=1\r\nK=<< secrets.v >>\r\nEND=1\r\n", 85),
        place_of("FIRST=1\nK=\"a << secrets.v >> << secrets.v >>\"\nEND=1\n", 85, twice),
        place_of("FIRST=1\nK=\"${X:-x}\\n<< secrets.v >> \\$\"\nEND=1\n", 85, |value| {
            [b"expanded\n", value, b" $"].concat()
        }),
    ];
    let places: Vec<_> = shared().into_iter().chain(own).collect();
    prove(Format::Env(Dialect::Compose), &[COMPOSE], &places);
}

#[test]
fn docker() {
    prove(
        Format::Env(Dialect::Docker),
        &[DOCKER],
        &[
            place("FIRST=1\nK=<< secrets.v >>\nEND=1\n", 60),
            place("FIRST=1\r\n  K=<< secrets.v >>\r\nEND=1", 60),
            place("FIRST=1\nEND=1\nK=<< secrets.v >>", 60),
            place_of("FIRST=1\nK=pre-<< secrets.v >>/post\nEND=1\n", 60, around),
            place_of("FIRST=1\nK=\"a\" # << secrets.v >>'\nEND=1\n", 60, |value| {
                [b"\"a\" # ", value, b"'"].concat()
            }),
            place_of("FIRST=1\n# << secrets.v >>\nK=1\n # << secrets.v >>\nEND=1\n", 35, one),
        ],
    );
}

#[test]
fn shell() {
    let own = [
        place("FIRST=1\nexport K=<< secrets.v >> # it's a \"comment\nEND=1\n", 85),
        place("FIRST=1 K=<< secrets.v | quote >>; END=1", 85),
        place("if true; then\n  readonly K=<< secrets.v >>\nfi\nFIRST=1 END=1\n", 85),
        place_of("FIRST=1\nK='a << secrets.v >> '\"<< secrets.v >>\"\nEND=1\n", 85, twice),
        place_of("FIRST=1\nK=\"${X}/<< secrets.v >>\\$\"\nEND=1\n", 85, |value| {
            [b"expanded/", value, b"$"].concat()
        }),
    ];
    let places: Vec<_> = shared().into_iter().chain(own).collect();
    prove(Format::Env(Dialect::Shell), &SHELLS, &places);
}

#[test]
fn systemd() {
    prove(
        Format::Env(Dialect::Systemd),
        &[SYSTEMD],
        &[
            place("FIRST=1\nK=<< secrets.v >>\nEND=1\n", 80),
            place("FIRST=1\nK=\"<< secrets.v >>\"\nEND=1\n", 80),
            place("FIRST=1\nK='<< secrets.v >>'\nEND=1\n", 80),
            place("FIRST=1\nK=<< secrets.v >>   \nEND=1", 80),
            place_of("FIRST=1\nK=\"a \\\"q\\\" << secrets.v >>\\\\\"\nEND=1\n", 80, |value| {
                [b"a \"q\" ", value, b"\\"].concat()
            }),
            place_of("FIRST=1\nK=\"a\"b<< secrets.v >>\nEND=1\n", 80, |value| [b"ab", value].concat()),
            place_of("FIRST=1\nK=\"a\" 'b\nL=<< secrets.v >>'\nEND=1\n", 80, |value| {
                [b"ab\nL=", value].concat()
            }),
            place_of("FIRST=1\nK='\"$X\\ << secrets.v >>'\nEND=1\n", 80, |value| {
                [b"\"$X\\ ", value].concat()
            }),
            place_of("FIRST=1\n# << secrets.v >>\n; << secrets.v >>\nK=1\nEND=1\n", 35, one),
        ],
    );
}

const PGPASS_RAW: &str = "*:*:*:first:1\n*:*:*:k:<< secrets.v | raw >>\n*:*:*:end:1\n";

#[test]
fn pgpass() {
    prove(
        Format::Pgpass,
        &[LIBPQ],
        &[
            place("*:*:*:first:1\n*:*:*:k:<< secrets.v >>\n*:*:*:end:1\n", 60),
            place("*:*:*:first:1\r\n/nowhere:*:*:k:<< secrets.v | quote >>\r\n*:*:*:end:1", 60),
            place_of("*:*:*:first:1\n# a:<< secrets.v >>\n*:*:*:end:1\n*:*:*:k:1", 35, one),
            place_of("*:*:*:end:1\n*:*:*:first:1\n*:*:*:k:pre-<< secrets.v >>/post", 60, around),
            place_of(
                "# << secrets.v | b64encode >>\n*:*:*:first:1\n*:*:*:<< secrets.v >>:1\n*:*:*:end:1\n",
                60,
                one,
            ),
            place_of(
                "*:*:*:first:1\n<< secrets.v >>:<< secrets.v >>:a:k:2\n*:*:*:k:1\n*:*:*:end:1\n",
                60,
                one,
            ),
        ],
    );
    mislead(Format::Pgpass, &[LIBPQ], &place(PGPASS_RAW, 10), false);
}

/// A file of two hosts; each reader tells their logins.
fn netrc_place(template: &'static str, floor: usize, expected: fn(&str) -> String) -> Place {
    Place::new(template, floor, move |value| {
        let login = expected(&String::from_utf8_lossy(value));
        json!({"127.0.0.1": login, "localhost": "end:1"})
    })
}

#[test]
fn netrc() {
    let password = |v: &str| format!("u:{v}");
    prove(
        Format::Netrc,
        &[CURL, PYTHON_NETRC],
        &[
            netrc_place(
                "machine 127.0.0.1\nlogin u\npassword << secrets.v >>\nmachine localhost login end password 1\n",
                55,
                password,
            ),
            netrc_place(
                "machine localhost login end password 1 machine 127.0.0.1 password << secrets.v | quote >>\tlogin u",
                55,
                password,
            ),
            netrc_place(
                "machine 127.0.0.1\r\n  login << secrets.v >>\r\n  password << secrets.v >>\r\nmachine localhost login end password 1",
                55,
                |v| format!("{v}:{v}"),
            ),
            netrc_place(
                "machine localhost password 1 login end\nmachine 127.0.0.1 login u password \"a \\\" << secrets.v >>/\"",
                55,
                |v| format!("u:a \" {v}/"),
            ),
        ],
    );
    let raw = netrc_place(
        "machine 127.0.0.1\nlogin u\npassword << secrets.v | raw >>\nmachine localhost login end password 1\n",
        10,
        |v| format!("u:{v}"),
    );
    mislead(Format::Netrc, &[CURL, PYTHON_NETRC], &raw, false);
}

const RAW: &str = "FIRST=1\nK=<< secrets.v | raw >>\nEND=1\n";

#[test]
fn without_escaping_every_reader_is_misled() {
    // Of what is seen for the reader that is misled least (docker), about a third.
    let raw = || place(RAW, 4);
    mislead(Format::Env(Dialect::Dotenv), &DOTENV, &raw(), false);
    mislead(Format::Env(Dialect::Compose), &[COMPOSE], &raw(), false);
    mislead(Format::Env(Dialect::Docker), &[DOCKER], &raw(), false);
    mislead(Format::Env(Dialect::Systemd), &[SYSTEMD], &raw(), false);
    mislead(Format::Env(Dialect::Shell), &SHELLS, &raw(), true);
}

/// Ruby's dotenv runs `$(…)`. The version of Debian 12 reads values of one line only, so it is no judge of
/// what comes back.
#[test]
fn ruby_runs_nothing() {
    mislead(Format::Env(Dialect::Dotenv), &[RUBY_DOTENV], &place(RAW, 10), true);
    for values in wild::portions().take(1) {
        let one_line = |value: &Vec<u8>| !value.contains(&b'\n');
        let values: Vec<_> = values.into_iter().filter(one_line).collect();
        let place = place("FIRST=1\nK=<< secrets.v >>\nEND=1\n", 45);
        wild::proof::prove_with(Format::Env(Dialect::Dotenv), &[RUBY_DOTENV], &[place], [values]);
    }
}

#[test]
fn json() {
    let place = |template, expected: fn(&str) -> Value| {
        Place::new(template, 85, move |value| {
            expected(std::str::from_utf8(value).expect("JSON refuses what is not UTF-8"))
        })
    };
    let places = [
        place("{\"k\": << secrets.v >>, \"end\": 1}", |v| json!({"k": v, "end": 1})),
        place("{\"k\": \"<< secrets.v >>\", \"end\": 1}", |v| json!({"k": v, "end": 1})),
        place("{\"k\": \"a\\n<< secrets.v >>\\\"\"}", |v| json!({"k": format!("a\n{v}\"")})),
        place("{<< secrets.v >>: [<< secrets.v | quote >>]}", |v| json!({v: [v]})),
        place("{\"k\": << secrets.v | tojson >>}", |v| json!({"k": v})),
    ];
    prove(Format::Json, &[PYTHON_JSON, JQ], &places);
}

/// JSON in a JSON string may be written in several ways; what counts is what it says.
#[test]
fn json_in_a_json_string() {
    let place = Place::new(
        "{\"k\": \"<< secrets.v | tojson >>\"}",
        85,
        |value| json!({"k": std::str::from_utf8(value).unwrap()}),
    );
    prove(Format::Json, &[PYTHON_INNER_JSON], &[place]);
}
