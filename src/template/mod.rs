//! Templates: compiled once, judged as a whole, rendered as a pure function of values. Uses the words of
//! `secret`; no I/O, no time, no environment.
//!
//! The engine is minijinja. `source` makes a template's text ready for it, with `scan`, which knows what is
//! ours in a text. `judge` walks the engine's tree and writes the program that the engine is given, which can
//! only hold what may run. `survey` lists all that it can ask for, `run` renders, and `escape` writes each
//! value so that it cannot break its place in the output. What the engine and its values leave behind is
//! wiped by the process's allocator.

mod error;
mod escape;
mod expression;
mod filters;
mod format;
mod gap;
mod json;
mod judge;
mod lookup;
mod names;
mod output;
mod run;
mod scan;
mod slot;
mod source;
mod survey;
mod tag;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use crate::secret::{Answer, Reference, SecretBytes, SecretKey};

pub use error::{Kind, TemplateError};
pub use format::{Dialect, Format, Syntax, UnknownName};
pub use survey::{Located, ReaderUse};

/// The largest template, in bytes.
pub const LARGEST_TEMPLATE: usize = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    pub syntax: Syntax,
    pub format: Format,
    /// Whether the output is parsed once as a whole, where the format has a parser.
    pub verify: bool,
    /// The largest output, in bytes.
    pub output_cap: usize,
    /// How much work a rendering may be: a filter, or a KiB that a filter works on, is one step. Bounds
    /// time and, with the cap on each value, memory.
    pub steps: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            syntax: Syntax::Angle,
            format: Format::Text,
            verify: true,
            output_cap: 4 * 1024 * 1024,
            steps: 50_000,
        }
    }
}

/// A compiled template. To be shared, in an `Arc`, by all who render it.
pub struct Template {
    name: Arc<str>,
    compiled: Arc<run::Compiled>,
    survey: survey::Survey,
}

/// What the providers said, by what was asked.
pub type Values = HashMap<SecretKey, Answer>;

/// All that a rendering depends on besides its template.
pub struct Inputs<'a> {
    pub values: &'a Values,
    /// The environment, as far as the template may see it.
    pub env: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    pub reader: Option<&'a Reader>,
    /// For `bcrypt`: the same for the same file, so that a rendering can be repeated.
    pub salt: &'a [u8; 32],
    /// The existing secret whose name is most like the given one. Asked only for an error's hint.
    pub nearest: &'a dyn Fn(&str) -> Option<String>,
    /// The provider that a secret is asked of, if that is not the store. Asked only for an error's hint.
    pub elsewhere: &'a dyn Fn(&SecretKey) -> Option<String>,
}

/// The reading process, as far as a template may see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reader {
    pub uid: u32,
    pub gid: u32,
    pub exe: Option<String>,
    pub unit: Option<String>,
}

pub enum Rendered {
    Done(SecretBytes),
    /// These have to be fetched; then it is rendered anew.
    Needs(Vec<SecretKey>),
}

impl Template {
    pub fn compile(name: &str, text: &str, options: Options) -> Result<Self, TemplateError> {
        let name: Arc<str> = name.into();
        let faulty = |fault: Box<error::Fault>| TemplateError::locate(*fault, &name, text);
        if text.len() > LARGEST_TEMPLATE {
            let message = format!("the template has {} bytes; {LARGEST_TEMPLATE} are the most", text.len());
            let fault = error::Fault::new(Kind::TooLarge, error::Span::new(0, 0), message);
            return Err(TemplateError::locate(*fault, &name, ""));
        }
        let mut source = source::Source::new(text, options.syntax).map_err(faulty)?;
        let doubtful = std::mem::take(&mut source.doubtful);
        let judged = judge::judge(&source);
        let program = source.verdict(judged).map_err(faulty)?;
        let survey = survey::survey(text, &program, doubtful);
        let compiled = run::Compiled::new(text, options, program).map_err(faulty)?;
        Ok(Self { name, compiled: Arc::new(compiled), survey })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn options(&self) -> &Options {
        self.compiled.options()
    }

    /// Every place that names a secret. What may be metadata (`secrets.K.version`) has no field here.
    pub fn references(&self) -> &[Located<Reference>] {
        &self.survey.references
    }

    /// The secrets that every rendering asks for: outside of branches, loops and filters' arguments.
    pub fn eager(&self) -> &[SecretKey] {
        &self.survey.eager
    }

    /// The secrets that any rendering can ask for.
    pub fn keys(&self) -> &[SecretKey] {
        &self.survey.keys
    }

    /// The same, for who keeps them.
    pub fn shared_keys(&self) -> &Arc<[SecretKey]> {
        &self.survey.keys
    }

    pub fn reader_use(&self) -> ReaderUse {
        self.survey.reader
    }

    pub fn env_names(&self) -> &[Located<String>] {
        &self.survey.env_names
    }

    /// Every use of `| raw`.
    pub fn raws(&self) -> &[Located<()>] {
        &self.survey.raws
    }

    /// Text that may have been meant as a value (`<< api_key >>`), each with what to write then.
    pub fn left_as_text(&self) -> &[Located<String>] {
        &self.survey.left_as_text
    }

    /// Renders, or says what else has to be fetched. An error names every reference that is missing.
    pub fn render(&self, inputs: &Inputs<'_>) -> Result<Rendered, TemplateError> {
        self.compiled.render(inputs).map_err(|faults| self.locate_all(faults))
    }

    /// Every reference without a stand-in for which `values` has nothing, also in branches that a
    /// rendering would not take.
    pub fn missing(&self, inputs: &Inputs<'_>) -> Vec<TemplateError> {
        self.compiled.missing(inputs).into_iter().map(|fault| self.locate(fault)).collect()
    }

    fn locate(&self, fault: error::Fault) -> TemplateError {
        TemplateError::locate(fault, &self.name, self.compiled.text())
    }

    fn locate_all(&self, faults: run::Faults) -> TemplateError {
        let mut first = self.locate(faults.first);
        first.also = faults.also.into_iter().map(|fault| self.locate(fault)).collect();
        first
    }
}
