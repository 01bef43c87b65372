//! `secretfs render`: one template to stdout, as the mount would serve it to this user.
//! May use every layer.

use std::path::PathBuf;

use super::report::Failure;
use super::{Common, exit, output, session, source};
use crate::broker::Environment;
use crate::config::FileOptions;
use crate::daemon::assemble;
use crate::policy::Door;
use crate::provider::Given;
use crate::template::{Dialect, Format, Options, Syntax};

#[derive(clap::Args)]
pub struct Args {
    /// The template; `-` reads stdin
    template: PathBuf,
    #[arg(long, value_parser = Format::parse, help = one_of("What the output is, if its name does not tell", Format::names()))]
    format: Option<Format>,
    #[arg(long, value_parser = Dialect::parse, help = one_of("Who reads an env file", Dialect::names()))]
    dialect: Option<Dialect>,
    /// The template's syntax: angle (`<< >>`) or jinja (`{{ }}`)
    #[arg(long, value_parser = Syntax::parse)]
    syntax: Option<Syntax>,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let config = super::config::load(common)?;
    let template = source::compile(&args.template, args.options())?;
    let broker = assemble::broker(&common.choice(), &config, Environment::All)?;
    let rendering = session::wait_and_leave(&broker, Given::InUse, async {
        match session::rendering(&broker, &template, Door::Command).await {
            Ok(rendering) => Ok(rendering),
            Err(error) => Err(session::failure_in(&template, broker.explain(error).await)),
        }
    })?;
    session::count(&rendering.uses);
    let bytes = rendering.bytes;
    match common.json {
        true => {
            let head =
                serde_json::json!({"template": template.name(), "format": template.options().format.name()});
            output::print_value_json(&head, bytes.expose())?;
        }
        false => output::print(bytes.expose())?,
    }
    Ok(exit::OK)
}

impl Args {
    fn options(&self) -> Options {
        let Self { format, dialect, syntax, .. } = *self;
        source::options(&self.template, &FileOptions { format, dialect, syntax, ..FileOptions::default() })
    }
}

/// A line of help that ends with the names to choose from.
fn one_of(what: &str, names: impl Iterator<Item = &'static str>) -> String {
    format!("{what}: {}", names.collect::<Vec<_>>().join(", "))
}
