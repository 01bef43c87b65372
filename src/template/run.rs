//! Renders: walks the nodes, evaluates each value (`evaluate`) and hands text and values in order to the
//! format's encoder. What is missing is collected, so that one error names all of it.

use std::rc::Rc;

use crate::secret::{SecretBytes, SecretKey};

use super::error::{Fault, Kind, Span};
use super::escape::{self, Emitted, Encoder, Refusal};
use super::output::Output;
use super::survey;
use super::syntax::{Emit, Expr, For, How, Node};
use super::value::Value;
use super::{Inputs, Rendered, Template};

/// Steps of one rendering: a node, an operator, a filter, a KiB that a filter works on. Bounds time and,
/// with the cap on each value, memory.
const FUEL: usize = 50_000;

/// So many missing references are named.
const MOST_MISSING: usize = 100;

pub(super) struct Faults {
    pub(super) first: Fault,
    pub(super) also: Vec<Fault>,
}

/// Why an evaluation does not go on.
pub(super) enum Stop {
    /// A value has to be fetched first; which one is in `Run::needs`.
    Needs,
    Fault(Box<Fault>),
}

impl From<Box<Fault>> for Stop {
    fn from(fault: Box<Fault>) -> Self {
        Self::Fault(fault)
    }
}

pub(super) struct Run<'a> {
    pub(super) text: &'a str,
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) scope: Vec<Value<'a>>,
    /// The place and the length of each loop that runs.
    pub(super) loops: Vec<(usize, usize)>,
    pub(super) needs: Vec<SecretKey>,
    fuel: usize,
    encoder: Box<dyn Encoder>,
    out: Output,
    missing: Vec<Fault>,
}

pub(super) fn render(template: &Template, inputs: &Inputs<'_>) -> Result<Rendered, Faults> {
    let mut run = Run::new(template, inputs);
    let end = run.nodes(&template.nodes).and_then(|()| run.finish());
    if !run.needs.is_empty() {
        return Ok(Rendered::Needs(run.needs));
    }
    let mut faults = run.missing.into_iter();
    if let Some(first) = faults.next() {
        return Err(Faults { first, also: faults.collect() });
    }
    if let Err(Stop::Fault(first)) = end {
        return Err(Faults { first: *first, also: Vec::new() });
    }
    verify(template, run.out.bytes()).map_err(|first| Faults { first: *first, also: Vec::new() })?;
    Ok(Rendered::Done(SecretBytes::copy_of(&run.out.into_bytes())))
}

fn verify(template: &Template, output: &[u8]) -> Result<(), Box<Fault>> {
    if !template.options.verify {
        return Ok(());
    }
    escape::verify(template.options.format, output).map_err(|message| {
        Fault::new(Kind::Verify, Span::new(0, 0), message)
            .hint("mend the template; `verify: false` serves it as it is")
    })
}

/// Every required reference that `inputs` has no value for.
pub(super) fn missing(template: &Template, inputs: &Inputs<'_>) -> Vec<Fault> {
    let mut lookups = Vec::new();
    survey::required(&template.nodes, &mut lookups);
    let run = Run::new(template, inputs);
    lookups.into_iter().flat_map(|(lookup, span)| run.unmet(lookup, span)).take(MOST_MISSING).collect()
}

impl<'a> Run<'a> {
    fn new(template: &'a Template, inputs: &'a Inputs<'a>) -> Self {
        let options = &template.options;
        Self {
            text: &template.text,
            inputs,
            scope: Vec::new(),
            loops: Vec::new(),
            needs: Vec::new(),
            fuel: FUEL,
            encoder: escape::encoder(options.format, options.output_cap),
            out: Output::new(options.output_cap),
            missing: Vec::new(),
        }
    }

    pub(super) fn spend(&mut self, steps: usize, span: Span) -> Result<(), Box<Fault>> {
        self.fuel = self.fuel.checked_sub(steps).ok_or_else(|| {
            Fault::new(Kind::Limit, span, "the template does too much: one rendering has 50,000 steps")
        })?;
        Ok(())
    }

    /// Once something is missing there will be no output, and the rest is only looked through.
    fn is_failing(&self) -> bool {
        !self.missing.is_empty() || !self.needs.is_empty()
    }

    fn nodes(&mut self, nodes: &'a [Node]) -> Result<(), Stop> {
        nodes.iter().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &'a Node) -> Result<(), Stop> {
        match node {
            Node::Text(span) => self.literal(*span),
            Node::Emit(emit) => self.emit(emit),
            Node::If { arms, otherwise } => self.conditional(arms, otherwise),
            Node::For(repetition) => self.repeat(repetition),
        }
    }

    fn literal(&mut self, span: Span) -> Result<(), Stop> {
        self.spend(1, span)?;
        if self.is_failing() {
            return Ok(());
        }
        let written = self.encoder.text(span.of(self.text).as_bytes(), &mut self.out);
        Ok(written.map_err(|refusal| refused(refusal, span))?)
    }

    fn emit(&mut self, emit: &'a Emit) -> Result<(), Stop> {
        self.spend(1, emit.expr.span)?;
        match self.present(&emit.expr) {
            Ok(value) if !self.is_failing() => Ok(self.write(&value, emit)?),
            Ok(_) | Err(Stop::Needs) => Ok(()),
            Err(Stop::Fault(fault)) if matches!(fault.kind, Kind::Missing(_)) => {
                if self.missing.len() < MOST_MISSING {
                    self.missing.push(*fault);
                }
                Ok(())
            }
            Err(stop) => Err(stop),
        }
    }

    fn write(&mut self, value: &Value<'a>, emit: &Emit) -> Result<(), Box<Fault>> {
        let span = emit.expr.span;
        let number;
        let bare = |text| {
            if emit.how == How::Quoted { Emitted::Text(str::as_bytes(text)) } else { Emitted::Bare(text) }
        };
        let emitted = match value {
            Value::Text(text) if emit.how == How::Quoted => Emitted::Quoted(text.bytes()),
            Value::Text(text) => Emitted::Text(text.bytes()),
            Value::Json(text) => Emitted::Json(text.bytes()),
            Value::Null => bare("null"),
            Value::Bool(true) => bare("true"),
            Value::Bool(false) => bare("false"),
            Value::Number(found) => {
                number = found.to_string();
                bare(&number)
            }
            Value::List(_) | Value::Map(_) | Value::Absent(_) => {
                let fault = Fault::new(Kind::Filter, span, format!("{} cannot be written", value.kind()));
                return Err(fault.hint("use `| tojson`, `| join(\",\")`, or name a part"));
            }
        };
        self.encode(emitted, emit.how, span)
    }

    fn encode(&mut self, emitted: Emitted<'_>, how: How, span: Span) -> Result<(), Box<Fault>> {
        let bytes = match emitted {
            Emitted::Text(bytes) | Emitted::Quoted(bytes) | Emitted::Json(bytes) => bytes,
            Emitted::Bare(text) => text.as_bytes(),
        };
        let written = if how == How::Raw {
            self.encoder.text(bytes, &mut self.out)
        } else if bytes.contains(&0) {
            return Err(Fault::new(
                Kind::Unencodable,
                span,
                "the value has a NUL byte, which ends a text for most programs",
            )
            .hint("encode it (`| b64encode`), or write it as it is: `| raw`"));
        } else {
            self.encoder.value(emitted, span, &mut self.out)
        };
        written.map_err(|refusal| refused(refusal, span))
    }

    fn finish(&mut self) -> Result<(), Stop> {
        if self.is_failing() {
            return Ok(());
        }
        let end = Span::new(self.text.len(), self.text.len());
        Ok(self.encoder.finish(&mut self.out).map_err(|refusal| refused(refusal, end))?)
    }

    fn conditional(&mut self, arms: &'a [(Expr, Vec<Node>)], otherwise: &'a [Node]) -> Result<(), Stop> {
        for (condition, body) in arms {
            if self.present(condition)?.is_true() {
                return self.nodes(body);
            }
        }
        self.nodes(otherwise)
    }

    fn repeat(&mut self, repetition: &'a For) -> Result<(), Stop> {
        let span = repetition.over.span;
        let items = match self.present(&repetition.over)? {
            Value::List(items) => items,
            Value::Map(entries) => Rc::new(entries.iter().map(|(key, _)| Value::Text(key.clone())).collect()),
            other => {
                let fault = Fault::new(Kind::Filter, span, format!("{} cannot be looped over", other.kind()));
                return Err(fault
                    .hint("make a list of it: `| lines`, `| split(\",\")` or `| from_json`")
                    .into());
            }
        };
        if items.is_empty() {
            return self.nodes(&repetition.otherwise);
        }
        for (place, item) in items.iter().enumerate() {
            self.spend(1, span)?;
            let outer = self.scope.len();
            self.bind(item, repetition.targets, span)?;
            self.loops.push((place, items.len()));
            let result = self.nodes(&repetition.body);
            self.loops.pop();
            self.scope.truncate(outer);
            result?;
        }
        Ok(())
    }

    fn bind(&mut self, item: &Value<'a>, targets: usize, span: Span) -> Result<(), Box<Fault>> {
        match item {
            _ if targets == 1 => self.scope.push(item.clone()),
            Value::List(parts) if parts.len() == targets => self.scope.extend(parts.iter().cloned()),
            _ => {
                let message = format!("an item of this list does not have {targets} parts");
                return Err(Fault::new(Kind::Filter, span, message));
            }
        }
        Ok(())
    }
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
