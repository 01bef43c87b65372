//! `secretfs man`: the manual pages, made from the same text as the help. Uses clap_mangen.

use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::report::Failure;
use super::{Cli, exit, output};
use crate::clock::RELEASED;

#[derive(clap::Args)]
pub struct Args {
    /// Write a page per command into this folder, instead of printing the one of secretfs
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

const ENVIRONMENT: [(&str, &str); 5] = [
    ("SECRETFS_STORE", "the store's folder"),
    (
        "SECRETFS_MASTER_KEY",
        "the key, as 64 hexadecimal digits or base64; taken out of the environment at once",
    ),
    ("SECRETFS_LOG", "what is logged to stderr: error, warn, info, debug, or a filter by module"),
    ("CREDENTIALS_DIRECTORY", "set by systemd; a `secretfs.key` in it is a key"),
    ("NO_COLOR", "no colour, even on a terminal"),
];

const FILES: [(&str, &str); 4] = [
    ("secretfs.yaml", "the config, looked for in the working directory and upwards"),
    ("/etc/secretfs/config.yaml", "the config of the system"),
    (".secretfs", "the store, if nothing else is said"),
    ("~/.config/secretfs/keys, for root /etc/secretfs/keys", "the keys that `secretfs init` makes"),
];

pub fn run(args: &Args) -> Result<u8, Failure> {
    let Some(dir) = &args.dir else {
        let page = page(&Cli::command()).map_err(|error| Failure::new(exit::SOFTWARE, error))?;
        output::print(page)?;
        return Ok(exit::OK);
    };
    write_all(dir).map_err(|error| {
        let problem = format!("cannot write the pages into {}: {error}", dir.display());
        Failure::new(exit::CANNOT_CREATE, problem)
    })?;
    Ok(exit::OK)
}

fn write_all(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    // Without the generated `help`, which would have a page for each command of its own.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    write_page(&command, dir)
}

fn write_page(command: &clap::Command, dir: &Path) -> io::Result<()> {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.into_iter().try_for_each(|command| write_page(command, dir))?;
    std::fs::write(dir.join(format!("{}.1", name(command))), page(command)?)
}

fn name(command: &clap::Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

/// One page; the program's own has what holds for all commands.
fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let source = concat!("secretfs ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone())
        .title(name(command).to_uppercase())
        .date(RELEASED)
        .source(source)
        .manual("secretfs");
    let mut page = Vec::new();
    man.render(&mut page)?;
    if name(command) == "secretfs" {
        table("EXIT STATUS", &exit::TABLE).to_writer(&mut page)?;
        table("ENVIRONMENT", &ENVIRONMENT).to_writer(&mut page)?;
        table("FILES", &FILES).to_writer(&mut page)?;
    }
    Ok(page)
}

fn table(title: &str, rows: &[(&str, &str)]) -> Roff {
    let mut section = Roff::new();
    section.control("SH", [title]);
    for (left, right) in rows {
        section.control("TP", []).text([bold(*left)]).text([roman(right.replace('`', ""))]);
    }
    section
}
