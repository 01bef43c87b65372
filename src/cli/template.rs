//! `secretfs template`: the ready templates of the folder `templates/`, which the program carries
//! with it. What is said of one is the first line of its own head comment.

use clap_complete::{ArgValueCandidates, CompletionCandidate};
use serde::Serialize;

use super::report::Failure;
use super::{Common, exit, output};
use crate::nearest::nearest;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List the ready templates
    List,
    /// Print one, to be saved as FILE.tpl among your own
    Show {
        /// Its name, as `template list` has it
        #[arg(add = ArgValueCandidates::new(candidates))]
        name: String,
    },
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    match &args.action {
        Action::List => list(common)?,
        Action::Show { name } => show(name, common)?,
    }
    Ok(exit::OK)
}

struct Ready {
    /// Its path in the folder, without the suffix.
    name: &'static str,
    text: &'static str,
}

macro_rules! ready {
    ($($name:literal)*) => {
        &[$(Ready {
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $name, ".tpl")),
        }),*]
    };
}

/// Sorted. `tests/ready_templates.rs` compares it with the folder.
const READY: &[Ready] = ready! {
    "borg/passphrase"
    "curl/netrc"
    "docker/app.env"
    "dotenv/app.env"
    "git/credentials"
    "gpg/passphrase"
    "haproxy/bundle.pem"
    "haproxy/users.cfg"
    "json/config.json"
    "mariadb/my.cnf"
    "nginx/cert.pem"
    "nginx/htpasswd"
    "nginx/key.pem"
    "openssl/key.pem"
    "openssl/passphrase"
    "postgres/pgpass"
    "postgres/server.crt"
    "postgres/server.key"
    "redis/users.acl"
    "restic/password"
    "shell/app.env"
    "ssh/id_ed25519"
    "sshd/authorized_keys"
    "sshd/host_key"
    "systemd/app.env"
    "systemd/credential"
    "tls/key.pem"
    "yaml/application.yaml"
};

/// What the head comment says in its first line: `PROGRAM, PROGRAM: what it is`.
#[derive(Serialize)]
struct About {
    name: &'static str,
    programs: &'static str,
    description: &'static str,
}

impl Ready {
    fn about(&self) -> About {
        let line = self.text.lines().next().unwrap_or_default().trim_start_matches("<# ");
        let (programs, description) = line.split_once(": ").unwrap_or(("", line));
        About { name: self.name, programs, description }
    }
}

fn list(common: &Common) -> Result<(), Failure> {
    let all = READY.iter().map(Ready::about);
    if common.json {
        return output::print_json(&all.collect::<Vec<_>>());
    }
    let row = |about: About| [about.name, about.programs, about.description].map(str::to_owned).to_vec();
    output::print_table(&["NAME", "PROGRAM", "WHAT IT IS"], all.map(row))
}

fn show(name: &str, common: &Common) -> Result<(), Failure> {
    let name = name.strip_suffix(".tpl").unwrap_or(name);
    let ready = READY.iter().find(|ready| ready.name == name).ok_or_else(|| unknown(name))?;
    if !common.json {
        return output::print(ready.text);
    }
    #[derive(Serialize)]
    struct Shown {
        #[serde(flatten)]
        about: About,
        text: &'static str,
    }
    output::print_json(&Shown { about: ready.about(), text: ready.text })
}

/// What a shell offers.
fn candidates() -> Vec<CompletionCandidate> {
    let candidate = |about: About| CompletionCandidate::new(about.name).help(Some(about.description.into()));
    READY.iter().map(Ready::about).map(candidate).collect()
}

/// A word without a slash is a program or a file, and may mean several.
fn unknown(name: &str) -> Failure {
    let failure = Failure::new(exit::NO_INPUT, format!("there is no ready template `{name}`"));
    let names = || READY.iter().map(|ready| ready.name);
    let meant: Vec<_> = if name.contains('/') {
        nearest(name, names()).into_iter().collect()
    } else {
        let words = || names().flat_map(|known| known.split('/'));
        let word = words().find(|word| *word == name).or_else(|| nearest(name, words()));
        names().filter(|known| known.split('/').any(|own| Some(own) == word)).collect()
    };
    match meant.is_empty() {
        true => failure.hint("secretfs template list"),
        false => failure.hint(format!("did you mean `{}`?", meant.join("` or `"))),
    }
}
