//! `secretfs schema`: the JSON Schema of the config, for editors. Uses `config`.

use super::report::Failure;
use super::{exit, output};

#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Result<u8, Failure> {
    output::print_json(&crate::config::schema())?;
    Ok(exit::OK)
}
