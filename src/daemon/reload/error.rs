//! Why a config could not take the place of the one in force, and what to do about it. Uses the errors
//! of the layers below.

use super::super::assemble::AssembleError;
use super::super::load::LoadError;
use super::super::plan::PlanError;
use crate::fs::mountpoint::MountError;
use crate::fs::tree::TreeError;

/// Why the old config stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("a reload is under way")]
    Busy,
    #[error(transparent)]
    System(#[from] std::io::Error),
}

impl ReloadError {
    /// For a log, and for who has not asked: nothing of the config's text is shown.
    pub fn in_brief(&self) -> String {
        match self {
            Self::Load(error) => error.in_brief(),
            Self::Plan(PlanError::Config(error)) => error.in_brief(),
            Self::Assemble(AssembleError::Rules(error)) => error.in_brief(),
            error => error.to_string(),
        }
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Load(error) => error.hint(),
            Self::Plan(PlanError::Config(error)) => error.hint.clone(),
            Self::Assemble(AssembleError::Store(error)) => error.hint(),
            Self::Assemble(AssembleError::Rules(error)) => error.hint.clone(),
            _ => None,
        }
    }
}
