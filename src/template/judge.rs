//! Decides what of a template may run: walks the engine's tree and writes the program that the engine is
//! given. What is not understood here is refused, so nothing else can run. A program has no text of the
//! template: literals, secrets and places are numbers in it (`s[3]`), operators are filters of ours.

use minijinja::machinery::ast::{Expr, ForLoop, IfCond, Stmt};

use super::error::{Fault, Span};
use super::slot::{Slot, What};
use super::source::Source;

type Result<T> = std::result::Result<T, Box<Fault>>;

/// A loop variable that is in scope. `literals` are all it can be, if that is known.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) literals: Option<Vec<String>>,
}

pub(super) struct Judge<'s> {
    pub(super) source: &'s Source<'s>,
    pub(super) scope: Vec<Variable>,
    lazy: bool,
    optional: bool,
    found: Program,
}

/// What the engine runs, and what the numbers in it mean.
#[derive(Default)]
pub(super) struct Program {
    pub(super) code: String,
    pub(super) slots: Vec<Slot>,
    /// Where in the template an operator, a filter, a text or a value stands.
    pub(super) places: Vec<Span>,
    /// Every use of `| raw`.
    pub(super) raws: Vec<Span>,
}

pub(super) fn judge(source: &Source<'_>) -> Result<Program> {
    let tree = source.parse()?;
    let (scope, found) = (Vec::new(), Program::default());
    let mut judge = Judge { source, scope, lazy: false, optional: false, found };
    judge.statements(std::slice::from_ref(&tree))?;
    let mut found = judge.found;
    // It stays for as long as somebody reads the file.
    found.slots.shrink_to_fit();
    found.places.shrink_to_fit();
    Ok(found)
}

impl Judge<'_> {
    fn statements(&mut self, statements: &[Stmt<'_>]) -> Result<()> {
        statements.iter().try_for_each(|statement| match statement {
            Stmt::Template(whole) => self.statements(&whole.children),
            Stmt::EmitRaw(text) => {
                let place = self.place(self.source.span_of(text.raw));
                self.write(&format!("{{{{0|text({place})}}}}"));
                Ok(())
            }
            Stmt::EmitExpr(emit) => self.emit(&emit.expr),
            Stmt::IfCond(condition) => self.branches(condition),
            Stmt::ForLoop(repetition) => self.repeat(repetition),
            _ => Err(Fault::refused(Span::new(0, 0), "templates have no tags but `if`, `for` and `raw`")),
        })
    }

    /// `raw` and `quote` are about the whole of what is emitted; else there would be values that some
    /// later step has to know about.
    fn emit(&mut self, expr: &Expr<'_>) -> Result<()> {
        let (expr, how) = match expr {
            Expr::Filter(last) if matches!(last.name, "raw" | "quote") => match &last.expr {
                Some(base) if last.args.is_empty() => (base, last.name),
                _ => return Err(self.not_last(last, expr)),
            },
            _ => (expr, "emit"),
        };
        let span = self.span(expr);
        if how == "raw" {
            self.found.raws.push(span);
        }
        let place = self.place(span);
        self.write("{{");
        self.value(expr)?;
        self.write(&format!("|{how}({place})}}}}"));
        Ok(())
    }

    fn branches(&mut self, condition: &IfCond<'_>) -> Result<()> {
        self.write("{%if ");
        self.condition(&condition.expr)?;
        self.write("%}");
        self.lazily(|judge| {
            judge.statements(&condition.true_body)?;
            judge.write("{%else%}");
            judge.statements(&condition.false_body)
        })?;
        self.write("{%endif%}");
        Ok(())
    }

    fn repeat(&mut self, repetition: &ForLoop<'_>) -> Result<()> {
        let span = self.span(&repetition.iter);
        if repetition.recursive || repetition.filter_expr.is_some() {
            return Err(
                Fault::refused(span, "a loop goes over all items, and once").hint("put an `if` into it")
            );
        }
        let targets = targets(&repetition.target)
            .ok_or_else(|| Fault::refused(span, "only names can be loop variables"))?;
        let names: Vec<_> = targets.iter().map(|name| format!("v_{name}")).collect();
        let place = self.place(span);
        self.write(&format!("{{%for {} in ", names.join(",")));
        self.value(&repetition.iter)?;
        self.write(&format!("|items({place},{})%}}", names.len()));
        let outer = self.scope.len();
        for (place, name) in targets.iter().enumerate() {
            let literals = literals(&repetition.iter, place, targets.len());
            self.scope.push(Variable { name: (*name).to_owned(), literals });
        }
        self.lazily(|judge| {
            judge.statements(&repetition.body)?;
            judge.scope.truncate(outer);
            judge.write("{%else%}");
            judge.statements(&repetition.else_body)
        })?;
        self.write("{%endfor%}");
        Ok(())
    }

    pub(super) fn lazily(&mut self, walk: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let before = std::mem::replace(&mut self.lazy, true);
        walk(self)?;
        self.lazy = before;
        Ok(())
    }

    pub(super) fn optionally(
        &mut self,
        optional: bool,
        walk: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let before = self.optional;
        self.optional |= optional;
        walk(self)?;
        self.optional = before;
        Ok(())
    }

    pub(super) fn slot(&mut self, what: What, span: Span) {
        let number = self.found.slots.len();
        self.write(&match &what {
            What::Named { variable, .. } => format!("s[{number}][v_{variable}]"),
            _ => format!("s[{number}]"),
        });
        self.found.slots.push(Slot { what, span, lazy: self.lazy, optional: self.optional });
    }

    pub(super) fn place(&mut self, span: Span) -> usize {
        self.found.places.push(span);
        self.found.places.len() - 1
    }

    pub(super) fn write(&mut self, code: &str) {
        self.found.code.push_str(code);
    }

    pub(super) fn variable(&self, name: &str) -> Option<&Variable> {
        self.scope.iter().rev().find(|variable| variable.name == name)
    }

    /// The expression's place. The engine's own spans begin anywhere within what is chained.
    pub(super) fn span(&self, expr: &Expr<'_>) -> Span {
        let end = expr.span().end_offset as usize;
        let mut first = expr;
        loop {
            first = match first {
                Expr::GetAttr(part) => &part.expr,
                Expr::GetItem(part) => &part.expr,
                Expr::Slice(slice) => &slice.expr,
                Expr::Call(call) => &call.expr,
                Expr::Filter(filter) if filter.expr.is_some() => filter.expr.as_ref().unwrap_or(first),
                Expr::Test(test) => &test.expr,
                Expr::BinOp(pair) => &pair.left,
                Expr::Compare(compare) => &compare.expr,
                Expr::IfExpr(choice) => &choice.true_expr,
                _ => break,
            };
        }
        self.source.span(first.span().start_offset as usize, end)
    }

    /// Where the last word of an expression stands.
    pub(super) fn tail(&self, expr: &Expr<'_>, word: &str) -> Span {
        let end = self.span(expr).end as usize;
        Span::new(end.saturating_sub(word.len()), end)
    }
}

fn targets<'e>(target: &Expr<'e>) -> Option<Vec<&'e str>> {
    let name = |expr: &Expr<'e>| match expr {
        Expr::Var(var) => Some(var.id),
        _ => None,
    };
    match target {
        Expr::List(list) => list.items.iter().map(name).collect(),
        other => name(other).map(|name| vec![name]),
    }
}

/// All texts that the loop variable at `place` can be, if the loop goes over literals.
fn literals(over: &Expr<'_>, place: usize, count: usize) -> Option<Vec<String>> {
    let pick = |item: &Expr<'_>| match item {
        Expr::Const(text) if count == 1 => text.value.as_str().map(str::to_owned),
        row if count > 1 => match items(row)?.get(place)? {
            Expr::Const(text) => text.value.as_str().map(str::to_owned),
            _ => None,
        },
        _ => None,
    };
    items(over)?.iter().map(pick).collect()
}

fn items<'e, 's>(list: &'e Expr<'s>) -> Option<&'e [Expr<'s>]> {
    match list {
        Expr::List(list) => Some(&list.items),
        Expr::Tuple(tuple) => Some(&tuple.items),
        _ => None,
    }
}
