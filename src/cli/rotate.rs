//! `secretfs rotate`: adds a version to a secret that is there, and activates it.

use super::report::Failure;
use super::set::{Expected, put};
use super::values::ValueArgs;
use super::{Common, exit};
use crate::store::Edit;

#[derive(clap::Args)]
pub struct Args {
    /// The secret; its new value is asked for, or comes from stdin
    #[arg(add = super::completions::secrets())]
    name: String,
    #[command(flatten)]
    values: ValueArgs,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    put(common, std::slice::from_ref(&args.name), &args.values, &Edit::default(), Expected::Present)?;
    Ok(exit::OK)
}
