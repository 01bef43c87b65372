//! What the config says on the audit: where it is written, and what happens if it cannot be.
//! Pure; uses `raw`.

use std::path::PathBuf;

use super::base::Base;
use super::error::ConfigError;
use super::parts::Parts;
use super::raw;

/// Where it is written down who read what. Nowhere, if nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditConfig {
    /// There is such a section.
    pub is_said: bool,
    pub file: Option<PathBuf>,
    pub journald: Option<bool>,
    pub required: Option<bool>,
    pub size: Option<usize>,
    pub keep: Option<usize>,
}

const SIZE: usize = 64 << 20;
const KEEP: usize = 10;

impl AuditConfig {
    pub fn is_on(&self) -> bool {
        self.file.is_some() || self.is_to_journald()
    }

    pub fn is_to_journald(&self) -> bool {
        self.journald == Some(true)
    }

    /// Whether nothing is given away that cannot be written down.
    pub fn is_required(&self) -> bool {
        self.required != Some(false)
    }

    /// At how many bytes a file is full.
    pub fn size(&self) -> u64 {
        self.size.unwrap_or(SIZE) as u64
    }

    /// How many full files are kept.
    pub fn keep(&self) -> u32 {
        self.keep.unwrap_or(KEEP) as u32
    }

    pub(super) fn add(
        &mut self,
        said: Option<raw::Audit>,
        parts: &Parts,
        base: &Base<'_>,
    ) -> Result<(), ConfigError> {
        let Some(said) = said else { return Ok(()) };
        self.is_said = true;
        let file = said.file.0.map(|path| base.path(path));
        parts.set("audit", "file", &mut self.file, file)?;
        parts.set("audit", "journald", &mut self.journald, said.journald.0)?;
        parts.set("audit", "required", &mut self.required, said.required.0)?;
        parts.set("audit", "size", &mut self.size, said.size.0.map(|size| size.0))?;
        parts.set("audit", "keep", &mut self.keep, said.keep.0.map(|keep| keep.0))
    }

    /// Who wants one has to say where.
    pub(super) fn judge(&self, parts: &Parts) -> Result<(), ConfigError> {
        if self.is_said && !self.is_on() {
            let hint = "audit: {file: /var/log/secretfs/audit.log}, or {journald: true}";
            let error = parts.error_at(&["audit"], "the audit has no place: `file` or `journald`");
            return Err(error.hint(Some(hint.to_owned())));
        }
        Ok(())
    }
}
