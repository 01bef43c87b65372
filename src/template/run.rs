//! Renders: fills the slots and lets the engine run the program. Everything that is written goes through
//! the format's encoder, in order. What is missing is collected, so that one error names all of it.

use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use minijinja::value::{Object, Rest};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

use crate::poison::EvenPoisoned;
use crate::secret::{SecretBytes, SecretKey};

use super::error::{Fault, Kind, Span};
use super::escape::{self, Emitted, Encoder, Refusal};
use super::filters::{self, Apply, OPERATORS, Use};
use super::gap::Gap;
use super::judge::Program;
use super::lookup::{self, Lookup};
use super::output::Output;
use super::{Inputs, Options, Rendered};

/// What the engine counts: a step of ours is half a dozen of its instructions.
const INSTRUCTIONS: u64 = 6;

/// So many missing references are named.
const MOST_MISSING: usize = 100;

/// The engine with our filters, and nothing else that a program could name.
static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::empty();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    // Texts and values are written by filters, which know their places.
    engine.set_formatter(|_, _, _| Ok(()));
    for (name, apply) in filters::ALL.iter().map(|filter| (filter.name, filter.apply)).chain(OPERATORS) {
        engine.add_filter(name, move |state: &minijinja::State<'_, '_>, base: Value, rest: Rest<Value>| {
            let run = state.lookup("run").and_then(|run| run.downcast_object::<Run>());
            run.ok_or(ErrorKind::InvalidOperation)?.apply(apply, base, &rest)
        });
    }
    engine
});

/// How an emitted value meets its place in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Encoded,
    /// `| raw`: as it is, whatever it breaks.
    Raw,
    /// `| quote`: in quotes even where the format needs none.
    Quoted,
}

pub(super) struct Faults {
    pub(super) first: Fault,
    pub(super) also: Vec<Fault>,
}

/// A template that can run.
pub(super) struct Compiled {
    text: String,
    options: Options,
    program: Program,
    engine: Environment<'static>,
}

/// One rendering, as the filters see it.
pub(super) struct Run {
    compiled: Arc<Compiled>,
    pub(super) salt: [u8; 32],
    state: Mutex<State>,
}

pub(super) struct State {
    fuel: usize,
    encoder: Box<dyn Encoder + Send>,
    out: Output,
    missing: Vec<Fault>,
    needs: Vec<SecretKey>,
    /// Why the engine had to stop: its own errors are never told.
    fault: Option<Box<Fault>>,
    place: Span,
}

impl Compiled {
    pub(super) fn new(text: &str, options: Options, mut program: Program) -> Result<Self, Box<Fault>> {
        let mut engine = ENGINE.clone();
        engine.set_fuel(Some(INSTRUCTIONS.saturating_mul(options.steps as u64)));
        engine
            .add_template_owned("", std::mem::take(&mut program.code))
            .map_err(|_| Fault::refused(Span::new(0, 0), "the template is nested too deeply"))?;
        Ok(Self { text: text.to_owned(), options, program, engine })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Every required reference that `inputs` has no value for.
    pub(super) fn missing(&self, inputs: &Inputs<'_>) -> Vec<Fault> {
        let required = self.program.slots.iter().filter(|slot| !slot.optional);
        let mut lookup = Lookup::new(inputs);
        required.flat_map(|slot| lookup.unmet(slot)).take(MOST_MISSING).collect()
    }

    pub(super) fn render(self: &Arc<Self>, inputs: &Inputs<'_>) -> Result<Rendered, Faults> {
        let options = &self.options;
        let state = State {
            fuel: options.steps,
            encoder: escape::encoder(options.format, options.output_cap),
            out: Output::new(options.output_cap),
            missing: Vec::new(),
            needs: Vec::new(),
            fault: None,
            place: Span::new(0, 0),
        };
        let run = Arc::new(Run { compiled: self.clone(), salt: *inputs.salt, state: Mutex::new(state) });
        let mut lookup = Lookup::new(inputs);
        let slots: Vec<Value> = self.program.slots.iter().map(|slot| lookup.fill(slot)).collect();
        let context =
            Value::from_pairs([("s", Value::from(slots)), ("run", Value::from_dyn_object(run.clone()))]);
        let template = self.engine.get_template("").expect("it has been added");
        let end = template.render_captured_to(context, io::sink()).map(drop).map_err(|error| error.kind());
        let mut state = run.state.lock().even_poisoned();
        let end = state.finish(end, self);
        state.outcome(end, inputs)
    }
}

impl Object for Run {}

/// Says nothing: the engine prints what it holds.
impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Run")
    }
}

impl Run {
    pub(super) fn text(&self) -> &str {
        &self.compiled.text
    }

    /// Applies a filter. The first of `rest` is its place.
    fn apply(&self, apply: Apply, base: Value, rest: &[Value]) -> Result<Value, minijinja::Error> {
        let mut state = self.state.lock().even_poisoned();
        let places = &self.compiled.program.places;
        let place = rest.first().and_then(Value::as_usize).and_then(|place| places.get(place));
        let span = place.copied().unwrap_or(state.place);
        state.place = span;
        let mut used =
            Use { run: self, state: &mut state, arguments: rest.get(1..).unwrap_or_default(), span };
        used.apply(apply, base).map_err(|fault| {
            state.fault = Some(fault);
            ErrorKind::InvalidOperation.into()
        })
    }
}

impl State {
    pub(super) fn spend(&mut self, steps: usize, span: Span) -> Result<(), Box<Fault>> {
        self.fuel = self.fuel.checked_sub(steps).ok_or_else(|| too_much(span))?;
        Ok(())
    }

    /// Once something is missing there will be no output, and the rest is only looked through.
    fn is_failing(&self) -> bool {
        !self.missing.is_empty() || !self.needs.is_empty()
    }

    pub(super) fn text(&mut self, text: &[u8], span: Span) -> Result<(), Box<Fault>> {
        if self.is_failing() {
            return Ok(());
        }
        self.encoder.text(text, &mut self.out).map_err(|refusal| refused(refusal, span))
    }

    pub(super) fn value(&mut self, emitted: Emitted<'_>, how: How, span: Span) -> Result<(), Box<Fault>> {
        let bytes = emitted.bytes();
        if how == How::Raw {
            return self.text(bytes, span);
        }
        if self.is_failing() {
            return Ok(());
        }
        if bytes.contains(&0) {
            let message = "the value has a NUL byte, which ends a text for most programs";
            let fault = Fault::new(Kind::Unencodable, span, message);
            return Err(fault.hint("encode it (`| b64encode`), or write it as it is: `| raw`"));
        }
        self.encoder.value(emitted, span, &mut self.out).map_err(|refusal| refused(refusal, span))
    }

    /// Takes note of a value that should have been written.
    pub(super) fn note(&mut self, gap: &Gap) -> Result<(), Box<Fault>> {
        match gap {
            Gap::Needs(key) if self.needs.contains(key) => {}
            Gap::Needs(key) => self.needs.push(key.clone()),
            Gap::Missing(fault) | Gap::Firm(fault) if matches!(fault.kind, Kind::Missing(_)) => {
                if self.missing.len() < MOST_MISSING {
                    self.missing.push(fault.clone());
                }
            }
            Gap::Missing(fault) | Gap::Firm(fault) => return Err(fault.clone().into()),
        }
        Ok(())
    }

    /// Takes note of what nothing can go on without.
    pub(super) fn stop(&mut self, gap: &Gap, span: Span) -> Box<Fault> {
        match self.note(gap) {
            Err(fault) => fault,
            Ok(()) => Fault::new(Kind::Undefined, span, "the value is not there"),
        }
    }

    fn finish(&mut self, end: Result<(), ErrorKind>, compiled: &Compiled) -> Result<(), Box<Fault>> {
        let place = self.place;
        end.map_err(|kind| match (self.fault.take(), kind) {
            (Some(fault), _) => fault,
            (None, ErrorKind::OutOfFuel) => too_much(place),
            (None, _) => Fault::new(Kind::Filter, place, "the template cannot go on from here"),
        })?;
        if self.is_failing() {
            return Ok(());
        }
        let end = Span::new(compiled.text.len(), compiled.text.len());
        self.encoder.finish(&mut self.out).map_err(|refusal| refused(refusal, end))?;
        verify(&compiled.options, self.out.bytes())
    }

    fn outcome(&mut self, end: Result<(), Box<Fault>>, inputs: &Inputs<'_>) -> Result<Rendered, Faults> {
        if !self.needs.is_empty() {
            return Ok(Rendered::Needs(std::mem::take(&mut self.needs)));
        }
        let mut faults =
            std::mem::take(&mut self.missing).into_iter().map(|fault| lookup::finish(fault, inputs));
        if let Some(first) = faults.next() {
            return Err(Faults { first, also: faults.collect() });
        }
        match end {
            Ok(()) => Ok(Rendered::Done(SecretBytes::copy_of(self.out.bytes()))),
            Err(fault) => Err(Faults { first: *fault, also: Vec::new() }),
        }
    }
}

fn verify(options: &Options, output: &[u8]) -> Result<(), Box<Fault>> {
    if !options.verify {
        return Ok(());
    }
    escape::verify(options.format, output).map_err(|message| {
        Fault::new(Kind::Verify, Span::new(0, 0), message)
            .hint("mend the template; `verify: false` serves it as it is")
    })
}

fn too_much(span: Span) -> Box<Fault> {
    Fault::new(Kind::Limit, span, "the template does too much: one rendering has 50,000 steps")
}

fn refused(refusal: Refusal, span: Span) -> Box<Fault> {
    match refusal {
        Refusal::Full => Fault::new(Kind::TooLarge, span, "the output is larger than its cap"),
        Refusal::Place { at, reason, hint } => {
            Fault::new(Kind::Unencodable, at.unwrap_or(span), format!("cannot be written here: {reason}"))
                .hint(hint)
        }
    }
}
