//! `secretfs policy`: what the rules say of a caller that is described, and which rules a file has.
//! Reads the config and templates, and no secret. May use every layer.

pub mod asked;
mod explain;
pub mod told;
pub mod wanted;

use super::report::Failure;
use super::{Common, exit, output};
use crate::config::Config;
use crate::daemon::rules;
use crate::policy::{Access, Verdict};
use asked::{Asked, Caller};
use told::Told;
use wanted::{Served, Wanted};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Say what a caller would get, and by which rule: exit 0 is real, 1 denied, 2 a placeholder
    Test(Box<Test>),
    /// Say who gets what of a file: all rules that are about it, in their order
    Explain {
        /// A file of a mount of the config, or a credential by its name
        file: std::path::PathBuf,
    },
}

/// What is not said of the caller counts as unknown.
#[derive(clap::Args)]
struct Test {
    /// A file of a mount of the config, or a credential by its name
    #[arg(required_unless_present = "secret")]
    file: Option<std::path::PathBuf>,
    /// One secret, in this file or by itself
    #[arg(long, value_name = "NAME", add = super::completions::secrets())]
    secret: Option<String>,
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    caller: Caller,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let config = super::config::load(common)?;
    match &args.action {
        Action::Test(test) => run_test(test, &config, common),
        Action::Explain { file } => explain::run(&Served::of_config(&config)?, &config, file, common),
    }
}

fn run_test(test: &Test, config: &Config, common: &Common) -> Result<u8, Failure> {
    let policy = rules::policy(config)?;
    let served = match &test.file {
        Some(_) => Served::of_config(config)?.through(test.asked.door),
        None => Served::default(),
    };
    let wanted = Wanted::of(&served, &policy, test.file.as_deref(), test.secret.as_deref())?;
    let door = test.asked.door(wanted.target.as_ref());
    let who = test.caller.identity(door)?;
    let access = Access { door, action: test.asked.action(), file: wanted.file(), keys: &wanted.keys };
    let told = Told::of(&policy, &who, &access, &wanted.readings);
    match common.json {
        true => output::print_json(&told.as_json(&wanted, &access))?,
        false => output::print(told.as_text(&wanted, &access))?,
    }
    Ok(status(told.verdict))
}

/// The verdict, as scripts see it.
pub fn status(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Real => exit::OK,
        Verdict::Deny => exit::NO,
        Verdict::Placeholder => exit::PLACEHOLDER,
    }
}
