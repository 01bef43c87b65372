//! The command tree and its dispatch. One file per command beside this one, each with its
//! arguments (`clap`) and a `run` that returns a [`report::Failure`]. May use every layer.

pub mod audit;
pub mod audited;
pub mod backup;
pub mod check;
pub mod client;
pub mod completions;
pub mod config;
pub mod confirm;
pub mod daemon;
pub mod demo;
pub mod destroy;
pub mod disable;
pub mod doctor;
pub mod edit;
pub mod exec;
pub mod exists;
pub mod exit;
pub mod explain;
pub mod export;
pub mod get;
pub mod import;
pub mod init;
pub mod inside;
pub mod json_values;
pub mod key;
pub mod list;
pub mod log;
pub mod man;
pub mod mount;
pub mod named;
pub mod namespace;
pub mod open;
pub mod output;
pub mod policy;
pub mod progress;
pub mod provider;
pub mod prune;
pub mod readers;
pub mod reload;
pub mod render;
pub mod report;
pub mod rm;
pub mod rollback;
pub mod rotate;
pub mod schema;
pub mod session;
pub mod set;
pub mod show;
pub mod source;
pub mod status;
pub mod store;
pub mod sync;
pub mod template;
pub mod test;
pub mod unmount;
mod unseen;
pub mod upgrade;
pub mod usage;
pub mod values;
pub mod versions;
pub mod when;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use report::Failure;

/// Config and env files that exist only when they are opened.
#[derive(Parser)]
#[command(name = "secretfs", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// The same for who starts other programs all day: to build the grammar of all commands takes longer than to read
/// its line. What this one refuses, the whole one reads.
#[derive(Parser)]
#[command(name = "secretfs")]
struct ExecCli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: ExecCommand,
}

#[derive(Subcommand)]
enum ExecCommand {
    #[command(alias = "run")]
    Exec(exec::Args),
}

/// Options that every command takes.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Common {
    /// The store's folder (else SECRETFS_STORE, the config, ./.secretfs)
    #[arg(long, global = true, value_name = "DIR")]
    pub store: Option<std::path::PathBuf>,
    /// A file with the master key
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<std::path::PathBuf>,
    /// The config, and conf.d beside it (else secretfs.yaml found upwards, /etc/secretfs/config.yaml)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
    /// The namespace of the store
    #[arg(long, global = true, value_name = "NAME", add = completions::namespaces())]
    pub namespace: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What SECRETFS_MASTER_KEY held
    #[arg(skip)]
    pub env_key: crate::store::EnvKey,
    /// For a passphrase
    #[arg(skip)]
    pub ask: Option<crate::store::Ask>,
}

#[derive(Subcommand)]
enum Command {
    /// Make an empty store and its key
    Init(init::Args),
    /// Add secrets, or versions to those that are there
    #[command(aliases = ["add", "put"])]
    Set(set::Args),
    /// Take over secrets from files, the environment or another store
    Import(import::Args),
    /// Print a value
    Get(get::Args),
    /// Show what is known of a secret, without its values
    Show(show::Args),
    /// List the secrets
    #[command(alias = "ls")]
    List(list::Args),
    /// Change what is known of a secret beside its values: label, tags, description, expiry
    Edit(edit::Args),
    /// Say whether a secret does what it is for: a login, a key that belongs to its certificate
    Test(test::Args),
    /// Keep secrets, and give their values to nobody
    Disable(disable::Args),
    /// Give out again what was disabled
    Enable(disable::Args),
    /// Remove secrets
    #[command(aliases = ["delete", "remove", "unset"])]
    Rm(rm::Args),
    /// Say by the exit status whether there is a secret
    Exists(exists::Args),
    /// Add a version and activate it
    Rotate(rotate::Args),
    /// List the versions of a secret
    Versions(versions::Args),
    /// Make an older version the active one again
    Rollback(rollback::Args),
    /// Destroy a version of a secret
    Destroy(destroy::Args),
    /// Destroy old versions of secrets
    Prune(prune::Args),
    /// Make, list and remove namespaces
    Namespace(namespace::Args),
    /// Rotate the keys of the store, and say which there are
    Key(key::Args),
    /// Write what there is into a manifest, without the values
    Export(export::Args),
    /// Write the store into one file, sealed as it is
    Backup(backup::BackupArgs),
    /// Make a store of a backup
    Restore(backup::RestoreArgs),
    /// Check the store, save what is left of a damaged one, move it to another backend
    Store(store::Args),
    /// Serve templates as files that exist only when they are opened
    Mount(mount::Args),
    /// Serve all mounts of the config, through restarts and upgrades
    Daemon(daemon::Args),
    /// Say what the daemon does, and whether it is well
    Status(status::Args),
    /// Make the daemon take the config as it is now
    Reload(reload::Args),
    /// Have the daemon ask providers anew for all that it holds
    Sync(sync::Args),
    /// Make the daemon go on with the program that is now on the disk
    Upgrade(upgrade::Args),
    /// Show who read what and who changed what, and check that nothing of it was changed
    Audit(audit::Args),
    /// List which processes hold which version of which file
    Readers(readers::Args),
    /// Say where a file of a mount comes from, and why it can or cannot be read
    Explain(explain::Args),
    /// Run a command with secrets in its environment
    #[command(visible_alias = "run")]
    Exec(exec::Args),
    /// Print a template with its secrets filled in
    Render(render::Args),
    /// Check templates: syntax, references, and what could surprise
    Check(check::Args),
    /// Say what the rules allow to whom, without reading anything
    Policy(policy::Args),
    /// Print ready templates for common programs
    Template(template::Args),
    /// List the providers that the config names, and say step by step whether they work
    Provider(provider::Args),
    /// Take a tour: a throw-away store, a real mount, real programs
    Demo(demo::Args),
    /// Say what works here, what does not, and what to do about it
    Doctor(doctor::Args),
    /// Print what makes a shell complete our command lines
    Completions(completions::Args),
    /// Print the manual page
    Man(man::Args),
    /// Print the JSON Schema of the config
    Schema(schema::Args),
    /// Take a mount away, or say who uses it
    #[command(alias = "umount")]
    Unmount(unmount::Args),
}

impl Command {
    /// Who serves others tells their failures in the log, and outlives a closed stderr. What a
    /// command gets from `exec` is its own affair.
    fn serves(&self) -> bool {
        matches!(self, Self::Mount(_) | Self::Daemon(_) | Self::Exec(_))
    }
}

/// Parses the command line, runs the command, turns its outcome into an exit status.
pub fn main() -> ExitCode {
    crate::sys::weakness::heed();
    report::keep_panics_short();
    if let Err(error) = crate::sys::hardening::keep_to_ourselves() {
        return report::report(&Failure::new(exit::OS, error), false);
    }
    crate::sys::group::mind_if_asked();
    exec::keep_if_asked();
    completions::answer();
    // First of all, while there is one thread: no child and no /proc file shall have it.
    let env_key = crate::store::EnvKey::take();
    let line: Vec<_> = std::env::args_os().collect();
    let mut cli = match read(&line) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &line),
    };
    cli.common.env_key = env_key;
    cli.common.ask = Some(crate::store::Ask::new(unseen::ask));
    let json = cli.common.json;
    report::speak_json(json);
    // These start their own log, once they have forked if they must.
    if !cli.command.serves() {
        crate::sys::signal::end_on_broken_pipe();
        log::start();
    }
    match dispatch(cli) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => report::report(&failure, json),
    }
}

fn read(line: &[OsString]) -> Result<Cli, clap::Error> {
    if line.iter().any(|word| word == "exec" || word == "run")
        && let Ok(ExecCli { common, command: ExecCommand::Exec(args) }) = ExecCli::try_parse_from(line)
    {
        return Ok(Cli { common, command: Command::Exec(args) });
    }
    Cli::try_parse_from(line)
}

fn dispatch(cli: Cli) -> Result<u8, Failure> {
    let common = &cli.common;
    match &cli.command {
        Command::Init(args) => init::run(args, common),
        Command::Set(args) => set::run(args, common),
        Command::Import(args) => import::run(args, common),
        Command::Get(args) => get::run(args, common),
        Command::Show(args) => show::run(args, common),
        Command::List(args) => list::run(args, common),
        Command::Edit(args) => edit::run(args, common),
        Command::Test(args) => test::run(args, common),
        Command::Disable(args) => disable::run(args, common, true),
        Command::Enable(args) => disable::run(args, common, false),
        Command::Rm(args) => rm::run(args, common),
        Command::Exists(args) => exists::run(args, common),
        Command::Rotate(args) => rotate::run(args, common),
        Command::Versions(args) => versions::run(args, common),
        Command::Rollback(args) => rollback::run(args, common),
        Command::Destroy(args) => destroy::run(args, common),
        Command::Prune(args) => prune::run(args, common),
        Command::Namespace(args) => namespace::run(args, common),
        Command::Key(args) => key::run(args, common),
        Command::Export(args) => export::run(args, common),
        Command::Backup(args) => backup::back_up(args, common),
        Command::Restore(args) => backup::restore(args, common),
        Command::Store(args) => store::run(args, common),
        Command::Mount(args) => mount::run(args, common),
        Command::Daemon(args) => daemon::run(args, common),
        Command::Status(args) => status::run(args, common),
        Command::Reload(args) => reload::run(args, common),
        Command::Sync(args) => sync::run(args, common),
        Command::Upgrade(args) => upgrade::run(args, common),
        Command::Audit(args) => audit::run(args, common),
        Command::Readers(args) => readers::run(args, common),
        Command::Explain(args) => explain::run(args, common),
        Command::Exec(args) => exec::run(args, common),
        Command::Render(args) => render::run(args, common),
        Command::Check(args) => check::run(args, common),
        Command::Policy(args) => policy::run(args, common),
        Command::Template(args) => template::run(args, common),
        Command::Provider(args) => provider::run(args, common),
        Command::Demo(args) => demo::run(args, common),
        Command::Doctor(args) => doctor::run(args, common),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Unmount(args) => unmount::run(args, common),
    }
}

/// Help and the version are asked for; everything else is a line that cannot be read. Without any
/// command a person gets the help.
fn refuse(error: &clap::Error, line: &[OsString]) -> ExitCode {
    let json = usage::wants_json(line);
    let is_help = error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if error.use_stderr() && (json || !is_help) {
        return report::report(&usage::failure(error, line), json);
    }
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK })
}
